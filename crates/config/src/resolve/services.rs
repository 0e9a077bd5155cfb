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
                require_tls: false,
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
        let description = section.text(&key::DESCRIPTION, out).map(|text| text.value);
        let require_tls = section.flag(&key::REQUIRE_TLS, out);
        let portless = ports.is_empty() && out.errors() == errors;
        let known = match services.remove(&name.value).filter(|known| portless && known.place.is_none()) {
            Some(built_in) => KnownService {
                service: Service {
                    description: description.unwrap_or(built_in.service.description),
                    require_tls,
                    ..built_in.service
                },
                place: Some(name.place.clone()),
                exposes: built_in.exposes,
            },
            None => {
                if portless {
                    out.error(
                        &section.place,
                        format!("service `{}` has no port", name.value),
                        "add `tcp = [554, \"8000-8010\"]` or `udp = …`",
                    );
                }
                let service = Service {
                    name: name.value.clone(),
                    description: description.unwrap_or_default(),
                    ports,
                    encryption: Encryption::Unknown,
                    require_tls,
                };
                KnownService { service, place: Some(name.place.clone()), exposes: None }
            }
        };
        warn_of_udp(&known.service, &section.place_of(&key::REQUIRE_TLS), out);
        services.insert(name.value.clone(), known);
    }
    services
}

fn warn_of_udp(service: &Service, place: &Place, out: &mut Diagnostics) {
    let mut udp = service.ports.iter().filter(|ports| ports.protocol == Protocol::Udp);
    if let Some(ports) = udp.next().filter(|_| service.require_tls) {
        let message = format!(
            "`require-tls` of service `{}` leaves {ports} as it is: it is about TCP alone",
            service.name
        );
        out.warning(place, message, "take the UDP ports out, unless what they carry is encrypted by itself");
    }
}
