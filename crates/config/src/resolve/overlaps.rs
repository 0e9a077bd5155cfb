//! Addresses of different sections that must not meet.

use super::gateway::WrittenGateway;
use super::servers::WrittenServer;
use super::settings::WrittenProxy;
use crate::address::IpRange;
use crate::file::diagnostics::Diagnostics;
use crate::resolved::Egress;

/// Checks the tunnel ranges against everything else, and the source pool against the servers.
pub(super) fn check(
    gateway: &WrittenGateway,
    servers: &[WrittenServer],
    proxy: &WrittenProxy,
    out: &mut Diagnostics,
) {
    for range in gateway.tunnel.iter().map(|range| range.value) {
        for (server, address) in
            servers.iter().flat_map(|server| server.addresses.iter().map(move |one| (server, one)))
        {
            if range.contains(&address.value) {
                out.error(
                    &address.place,
                    format!(
                        "address `{}` of server `{}` is in tunnel range `{range}`",
                        address.value, server.name
                    ),
                    "tunnel ranges hold clients only: correct the address, or choose another range",
                );
            }
        }
        for listen in gateway.listen.iter().filter(|listen| range.contains(&listen.value.ip())) {
            out.error(
                &listen.place,
                format!("listen address `{}` is in tunnel range `{range}`", listen.value),
                "listen on an address that exists outside the tunnel, or on 0.0.0.0",
            );
        }
        for pool in proxy.source_pool.iter().filter(|pool| pool.value.overlaps(&range.into())) {
            out.error(
                &pool.place,
                format!("source pool `{}` overlaps tunnel range `{range}`", pool.value),
                "the pool holds this host's addresses on the recording network",
            );
        }
    }
    source_pool(servers, proxy, &gateway.egress, out);
}

fn source_pool(servers: &[WrittenServer], proxy: &WrittenProxy, egress: &Egress, out: &mut Diagnostics) {
    let mut earlier: Vec<IpRange> = Vec::new();
    if let (Some(pool), Egress::Tun(_)) = (proxy.source_pool.first(), egress) {
        out.warning(
            &pool.place,
            "`source-pool` has no effect with egress `tun`",
            "remove it; `masquerade = false` shows each client's own tunnel address to the servers",
        );
    }
    for pool in &proxy.source_pool {
        if let Some(other) = earlier.iter().find(|other| other.overlaps(&pool.value)) {
            out.error(
                &pool.place,
                format!("source pool `{}` overlaps `{other}`", pool.value),
                "remove one of the two",
            );
        }
        earlier.push(pool.value);
        for server in servers {
            if let Some(address) = server.addresses.iter().find(|address| pool.value.contains(address.value))
            {
                out.error(
                    &pool.place,
                    format!(
                        "source pool `{}` has the address `{}` of server `{}`",
                        pool.value, address.value, server.name
                    ),
                    "use addresses that belong to this host alone",
                );
            }
        }
    }
}
