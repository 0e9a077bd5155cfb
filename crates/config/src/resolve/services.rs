//! The services there are: the catalogue's, and `[service.NAME]` over it.

use std::collections::BTreeMap;

use crate::catalogue::{self, Encryption, NEVER_EXPOSE};
use crate::file::diagnostics::{At, Diagnostics, Place};
use crate::file::keys::service as key;
use crate::file::section::SectionValues;
use crate::ports::{PortRange, Protocol, ProtocolPorts};
use crate::resolved::{Exposure, Service};

/// A service, and what only the checks need to know of it.
#[derive(Debug)]
pub(super) struct KnownService {
    pub(super) service: Service,
    /// Where the file defines it, if it does.
    pub(super) place: Option<Place>,
    /// Why its ports may be on the never-expose list.
    pub(super) exposes: Option<&'static str>,
}

impl KnownService {
    /// The ports that the catalogue itself excepts from the never-expose list.
    pub(super) fn exposures(&self) -> impl Iterator<Item = Exposure> {
        let excepted =
            |ports: &&ProtocolPorts| NEVER_EXPOSE.iter().any(|entry| entry.ports.intersects(**ports));
        self.exposes.into_iter().flat_map(move |reason| {
            let ports = self.service.ports.iter().filter(excepted);
            ports.map(move |ports| Exposure { ports: *ports, reason: reason.to_owned() })
        })
    }
}

pub(super) fn read(
    written: &[(At<String>, SectionValues)],
    out: &mut Diagnostics,
) -> BTreeMap<String, KnownService> {
    let built_in = catalogue::services().map(|service| {
        let known = KnownService {
            service: Service {
                name: service.name.to_owned(),
                description: service.description.to_owned(),
                ports: service.ports.iter().chain(service.unconfirmed).copied().collect(),
                encryption: service.encryption,
            },
            place: None,
            exposes: service.exposes,
        };
        (service.name.to_owned(), known)
    });
    let mut services: BTreeMap<String, KnownService> = built_in.collect();
    for (name, section) in written {
        let (mut ports, errors) = (Vec::new(), out.errors());
        for (protocol, key) in [(Protocol::Tcp, &key::TCP), (Protocol::Udp, &key::UDP)] {
            let ranges = section.parsed(key, str::parse::<PortRange>, out);
            ports.extend(ranges.into_iter().map(|range| ProtocolPorts { protocol, ports: range.value }));
        }
        if ports.is_empty() && out.errors() == errors {
            out.error(
                &section.place,
                format!("service `{}` has no port", name.value),
                "add `tcp = [554, \"8000-8010\"]` or `udp = …`",
            );
        }
        let description = section.text(&key::DESCRIPTION, out).map(|text| text.value).unwrap_or_default();
        let service =
            Service { name: name.value.clone(), description, ports, encryption: Encryption::Unknown };
        let known = KnownService { service, place: Some(name.place.clone()), exposes: None };
        services.insert(name.value.clone(), known);
    }
    services
}
