//! The order of things, and what has to be kept.

use crate::capabilities::has_net_admin;
use crate::error::SetupError;
use crate::masquerade::{self, OwnedTable};
use crate::netlink::Netlink;
use crate::plan::Plan;
use crate::{interface, route, sysctl};

/// What lives as long as the gateway serves. Dropped, or gone with the process, it leaves no table behind.
#[must_use = "masquerading ends when this is dropped"]
#[derive(Debug)]
pub struct Kernel {
    /// Held for its end alone.
    _masquerade: Option<OwnedTable>,
}

/// Sets the kernel up around the interface; see the crate's description.
///
/// # Errors
/// All checks come before the first change. What was changed before a later error goes with the interface.
pub fn apply(plan: &Plan) -> Result<Kernel, SetupError> {
    if !has_net_admin() {
        return Err(SetupError::MissingCapability);
    }
    let mut netlink = Netlink::route().map_err(SetupError::at("open a netlink socket"))?;
    let index = interface::index(&netlink, &plan.interface)?;
    sysctl::check(plan)?;
    route::check(&mut netlink, index, &plan.routes)?;

    let masquerade = plan.masquerade.then(|| masquerade::set_up(&plan.interface)).transpose()?;
    interface::configure(&mut netlink, index, plan)?;
    route::add(&mut netlink, index, &plan.routes)?;
    Ok(Kernel { _masquerade: masquerade })
}
