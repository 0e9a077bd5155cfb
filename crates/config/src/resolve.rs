//! From sections to a [`Config`]: what the values mean, and the rules that hold between them.

mod exposure;
mod gateway;
mod overlaps;
mod roles;
mod servers;
mod services;
mod settings;
mod ship;

use std::collections::BTreeMap;

use crate::file::diagnostics::Diagnostics;
use crate::file::document::Document;
use crate::finding::ConfigErrors;
use crate::resolved::{Config, Server, Service};
use crate::version;

/// Reads every value of `document` and checks the whole.
pub(crate) fn resolve(document: Document, mut diagnostics: Diagnostics) -> Result<Config, ConfigErrors> {
    let out = &mut diagnostics;
    let gateway = gateway::read(&document.gateway, out);
    let services = services::read(&document.services, out);
    let servers = servers::read(&document.servers, &services, out);
    let proxy = settings::proxy(&document.proxy, out);
    let admin = settings::admin(&document.admin, out);
    let dns = settings::dns(&document.dns, out);
    let keys = settings::keys(&document.keys, out);
    let limits = settings::limits(&document.limits, out);
    let audit = settings::audit(&document.audit, out);
    let ships = ship::read(&document.ships, out);
    overlaps::check(&gateway, &servers, &proxy, out);
    let roles = roles::read(&document.roles, &servers, &services, out);

    let servers: Vec<Server> = servers.into_iter().map(|server| server.resolve(&dns, &services)).collect();
    let services: BTreeMap<String, Service> =
        services.into_iter().map(|(name, service)| (name, service.service)).collect();
    let gateway = gateway.resolve();
    let version = version::of_policy(&gateway, &servers, &roles);
    let proxy = proxy.resolve();
    let warnings = diagnostics.finish()?;
    let variables = document.variables;
    Ok(Config {
        gateway,
        servers,
        services,
        roles,
        proxy,
        keys,
        limits,
        audit,
        ships,
        admin,
        dns,
        version,
        hash: [0; 32],
        variables,
        warnings,
    })
}
