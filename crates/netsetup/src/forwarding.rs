//! Whether the kernel is a router. Only looked at: it concerns every interface of the machine.

use std::fs;

use crate::error::SetupError;
use crate::plan::Plan;

const IPV4: &str = "net.ipv4.ip_forward";
const IPV6: &str = "net.ipv6.conf.all.forwarding";

/// Succeeds when packets of all families in the plan are forwarded.
pub(crate) fn check(plan: &Plan) -> Result<(), SetupError> {
    let wanted = [(plan.has_ipv4(), IPV4), (plan.has_ipv6(), IPV6)];
    let mut keys = Vec::new();
    for (_, key) in wanted.into_iter().filter(|(used, _)| *used) {
        if !is_on(key)? {
            keys.push(key);
        }
    }
    if keys.is_empty() { Ok(()) } else { Err(SetupError::ForwardingOff { keys }) }
}

fn is_on(key: &'static str) -> Result<bool, SetupError> {
    let path = format!("/proc/sys/{}", key.replace('.', "/"));
    let value = fs::read_to_string(path).map_err(|source| SetupError::ForwardingUnknown { key, source })?;
    Ok(value.trim() != "0")
}
