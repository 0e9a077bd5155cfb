//! What people are told when the gateway does not accept them, or does not answer.

use vmsgate_exchange::refusal::Reason;
use vmsgate_shim::Report;

/// That the gateway does not accept the client any more, and why.
pub fn refused(reason: Reason) -> String {
    match reason {
        Reason::Revoked => "access with this profile was revoked".to_owned(),
        Reason::Suspended => "access with this profile is suspended".to_owned(),
        Reason::Expired => "access with this profile has expired".to_owned(),
    }
}

/// Whom to turn to.
pub fn ask(contact: Option<&str>) -> String {
    match contact {
        Some(contact) => format!("ask {contact}"),
        None => "ask your administrator".to_owned(),
    }
}

/// What may be the matter when there is silence.
pub fn no_answer_hint(report: &Report) -> String {
    let ask = ask(report.contact.as_deref());
    format!(
        "is this machine online, and does its network let UDP out? If another network does not help, {ask}"
    )
}
