//! What the person who uses a client should know.

use jiff::Timestamp;
use vmsgate_config::profile::EXPIRY_WARNING;

use super::caller::Caller;
use super::facts::ClientFacts;

/// Whether access ends at `expires` and soon.
pub fn expires_soon(expires: Option<Timestamp>, now: Timestamp) -> bool {
    expires
        .is_some_and(|expires| expires > now && expires.duration_since(now).unsigned_abs() <= EXPIRY_WARNING)
}

/// `newest`: the identity that profiles name now, base64.
pub(super) fn warnings(
    caller: &Caller,
    facts: &ClientFacts,
    newest: Option<&str>,
    now: Timestamp,
) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(expires) = caller.expires.filter(|expires| expires_soon(Some(*expires), now)) {
        warnings.push(format!("access ends on {}; ask the administrator to extend it", day(expires)));
    }
    if let Some(reused) = facts.invitation_reused {
        warnings.push(format!(
            "somebody else tried this client's invitation on {}: it was seen by others; tell the administrator",
            day(reused)
        ));
    }
    if newest.is_some_and(|newest| caller.identity.to_string() != newest) {
        warnings.push(format!(
            "the gateway has a new identity, and this client still uses the old one ({}); it will stop working when \
             the old one is retired",
            caller.identity.fingerprint()
        ));
    }
    warnings
}

fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}
