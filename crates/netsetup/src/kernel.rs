//! The order of things, and what has to be kept.

use ipnet::IpNet;

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
    sysctl::check_ipv6(plan)?;
    sysctl::check_forwarding(plan)?;
    route::check(&mut netlink, index, &plan.routes)?;

    let masquerade = plan.masquerade.then(|| masquerade::set_up(&plan.interface)).transpose()?;
    interface::configure(&mut netlink, index, plan)?;
    route::add(&mut netlink, index, &plan.routes)?;
    Ok(Kernel { _masquerade: masquerade })
}

/// Gives the interface MTU and addresses and brings it up, on a machine that routes for nobody else; what leads into
/// it is a matter of [`crate::HostRoutes`].
///
/// # Errors
/// As [`apply`].
pub fn bring_up(interface: &str, mtu: u32, addresses: Vec<IpNet>) -> Result<(), SetupError> {
    if !has_net_admin() {
        return Err(SetupError::MissingCapability);
    }
    let plan =
        Plan { interface: interface.to_owned(), mtu, addresses, routes: Vec::new(), masquerade: false };
    let mut netlink = Netlink::route().map_err(SetupError::at("open a netlink socket"))?;
    let index = interface::index(&netlink, interface)?;
    sysctl::check_ipv6(&plan)?;
    interface::configure(&mut netlink, index, &plan)
}
