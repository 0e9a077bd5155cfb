//! What people are told about keys and access.
use jiff::Timestamp;
use vmsgate_cli::human;
use vmsgate_config::profile::EXPIRY_WARNING;
use vmsgate_shim::Report;

/// The lines of `status`.
pub fn lines(report: &Report, now: Timestamp) -> Vec<(&'static str, String)> {
    let keys = &report.keys;
    let mut lines = Vec::new();
    if let Some(fingerprint) = &keys.fingerprint {
        let age = keys.created.map(|created| format!(", {} old", ago(created, now))).unwrap_or_default();
        lines.push(("key", format!("{fingerprint}{age}")));
    }
    if let Some(fingerprint) = &keys.gateway_fingerprint {
        lines.push(("identity", format!("{fingerprint} of the gateway")));
    }
    let post_quantum = match (keys.post_quantum, keys.agreed) {
        (true, Some(agreed)) => format!("yes, renewed {} ago", ago(agreed, now)),
        (true, None) => "yes".to_owned(),
        (false, _) if keys.post_quantum_required => "no, and the role requires it".to_owned(),
        (false, _) => "no".to_owned(),
    };
    lines.push(("post-quantum", post_quantum));
    lines
}

/// What is about to end, and what the gateway says.
pub fn warnings(report: &Report, now: Timestamp) -> Vec<String> {
    let mut warnings = Vec::new();
    let Some(site) = &report.site else { return warnings };
    warnings.extend(site.expires.and_then(|end| expiry(end, now)));
    if let Some(end) = report.keys.ends.filter(|end| *end < now) {
        warnings.push(format!("the key has been too old since {}", human::time(end)));
    }
    warnings.extend(site.warnings.iter().cloned());
    warnings
}

/// A word about the end of access, if it is near.
pub fn expiry(end: Timestamp, now: Timestamp) -> Option<String> {
    let left = end.duration_since(now);
    if !left.is_positive() {
        return Some("access has expired".to_owned());
    }
    (left.unsigned_abs() < EXPIRY_WARNING)
        .then(|| format!("access ends in {}", human::duration(left.unsigned_abs())))
}

fn ago(then: Timestamp, now: Timestamp) -> String {
    human::duration(now.duration_since(then).try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(keys: serde_json::Value, expires: &str) -> Report {
        serde_json::from_value(json!({
            "profile": "alice", "state": "connected", "since": "2026-11-24T10:00:00Z",
            "started": "2026-11-24T10:00:00Z", "trouble": null, "endpoint": null, "tunnel_addresses": [],
            "handshake_age_ms": null, "round_trip_ms": null, "bytes_received": 0, "bytes_sent": 0,
            "open_connections": 0, "last_failure": null, "forwards": [], "servers": [], "keys": keys,
            "site": {"gateway": "gw-1", "client": "a", "operator": "A", "role": "r", "expires": expires,
                     "clock_offset_ms": 0, "warnings": ["the gateway says so"]},
        }))
        .unwrap()
    }

    fn now() -> Timestamp {
        "2026-11-25T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn keys_are_told_with_their_ages() {
        let keys = json!({"fingerprint": "0011", "created": "2026-11-22T06:00:00Z", "gateway_fingerprint": "aabb",
                          "post_quantum": true, "agreed": "2026-11-25T09:18:00Z", "post_quantum_required": false});
        let lines = lines(&report(keys, "2027-11-25T10:00:00Z"), now());
        let expected = [
            ("key", "0011, 3d 4h old"),
            ("identity", "aabb of the gateway"),
            ("post-quantum", "yes, renewed 42m ago"),
        ];
        assert_eq!(lines, expected.map(|(name, text)| (name, text.to_owned())));
    }

    #[test]
    fn what_ends_within_fourteen_days_is_warned_about() {
        let none = || json!({"post_quantum": false, "post_quantum_required": true});
        let told = |expires| warnings(&report(none(), expires), now());
        assert_eq!(told("2026-12-09T10:00:00Z"), ["the gateway says so"]);
        assert_eq!(told("2026-12-09T09:59:59Z"), ["access ends in 13d 23h", "the gateway says so"]);
        assert_eq!(told("2026-11-25T10:00:00Z"), ["access has expired", "the gateway says so"]);
        let old =
            json!({"post_quantum": false, "post_quantum_required": true, "ends": "2026-11-25T09:00:00Z"});
        let told = warnings(&report(old, "2027-11-25T10:00:00Z"), now());
        assert_eq!(told[0], "the key has been too old since 2026-11-25 09:00:00 UTC");
    }
}
