//! Settings of the kernel that have to be right already. They are only read: most concern the whole machine.

use std::fs;
use std::io;

use crate::error::SetupError;
use crate::plan::Plan;

const FORWARD_IPV4: &str = "net.ipv4.ip_forward";
const FORWARD_IPV6: &str = "net.ipv6.conf.all.forwarding";

/// Succeeds when the interface, which must exist, has IPv6 if the plan does.
pub(crate) fn check_ipv6(plan: &Plan) -> Result<(), SetupError> {
    if plan.has_ipv6() && !has_ipv6(&plan.interface) {
        return Err(SetupError::Ipv6Off { interface: plan.interface.clone() });
    }
    Ok(())
}

/// Succeeds when the kernel is a router for all families in the plan.
pub(crate) fn check_forwarding(plan: &Plan) -> Result<(), SetupError> {
    let mut keys = Vec::new();
    for (used, key) in [(plan.has_ipv4(), FORWARD_IPV4), (plan.has_ipv6(), FORWARD_IPV6)] {
        let on = || is_on(key).map_err(|source| SetupError::ForwardingUnknown { key, source });
        if used && !on()? {
            keys.push(key);
        }
    }
    if keys.is_empty() { Ok(()) } else { Err(SetupError::ForwardingOff { keys }) }
}

/// Whether an interface may have IPv6 addresses. A kernel without IPv6 has no such setting.
pub fn has_ipv6(interface: &str) -> bool {
    fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"))
        .is_ok_and(|value| value.trim() == "0")
}

fn is_on(key: &str) -> io::Result<bool> {
    let value = fs::read_to_string(format!("/proc/sys/{}", key.replace('.', "/")))?;
    Ok(value.trim() != "0")
}
