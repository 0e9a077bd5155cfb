//! The roles there are, and what each may reach: rules compiled into permissions.

use std::collections::BTreeMap;

use super::exposure::{self, Opening};
use super::servers::{WrittenServer, unknown_service_hint};
use super::services::KnownService;
use crate::catalogue::BUILT_IN_ROLES;
use crate::file::diagnostics::{At, Diagnostics, Place};
use crate::file::keys::role as key;
use crate::file::section::SectionValues;
use crate::names::glob_matches;
use crate::ports::Protocol;
use crate::resolved::{Permission, Role, WrittenRole};

/// `*` as a rule's service: every service that the server runs.
const EVERY_SERVICE: &str = "*";

pub(super) fn read(
    written: &[(At<String>, SectionValues)],
    servers: &[WrittenServer],
    services: &BTreeMap<String, KnownService>,
    out: &mut Diagnostics,
) -> BTreeMap<String, Role> {
    let compiler = Compiler { servers, services };
    let mut roles = BTreeMap::new();
    for built_in in
        BUILT_IN_ROLES.iter().filter(|role| !written.iter().any(|(name, _)| name.value == role.name))
    {
        let rules: Vec<Rule> =
            built_in.allow.iter().filter_map(|rule| Rule::parse(rule, None).ok()).collect();
        let permissions = compiler.permissions(built_in.name, &rules, false, out);
        let role = Role {
            name: built_in.name.to_owned(),
            description: built_in.description.to_owned(),
            allow: rules.into_iter().map(|rule| rule.text).collect(),
            icmp: true,
            require_tls: false,
            expires: None,
            require_post_quantum: false,
            permissions,
            written: None,
        };
        roles.insert(role.name.clone(), role);
    }
    for (name, section) in written {
        let errors = out.errors();
        let rules = compiler.rules(section, out);
        let require_tls = section.flag(&key::REQUIRE_TLS, out);
        let permissions = compiler.permissions(&name.value, &rules, require_tls, out);
        if permissions.is_empty() && out.errors() == errors {
            let message = format!("role `{}` reaches nothing", name.value);
            out.warning(&name.place, message, "check `allow` against the names and services of the servers");
        }
        let written = line(&name.place).map(|line| WrittenRole {
            line,
            rules: rules
                .iter()
                .map(|rule| rule.place.as_ref().and_then(self::line).unwrap_or(line))
                .collect(),
        });
        let role = Role {
            name: name.value.clone(),
            description: section.text(&key::DESCRIPTION, out).map(|text| text.value).unwrap_or_default(),
            allow: rules.into_iter().map(|rule| rule.text).collect(),
            icmp: section.flag(&key::ICMP, out),
            require_tls,
            expires: section.optional_duration(&key::EXPIRES, out),
            require_post_quantum: section.flag(&key::REQUIRE_POST_QUANTUM, out),
            permissions,
            written,
        };
        roles.insert(role.name.clone(), role);
    }
    roles
}

fn line(place: &Place) -> Option<usize> {
    match place {
        Place::Line(line) => Some(*line),
        Place::File | Place::Variable(_) => None,
    }
}

/// `SERVER-PATTERN:SERVICE`
struct Rule {
    text: String,
    pattern: String,
    service: String,
    /// Absent for a built-in role.
    place: Option<Place>,
}

impl Rule {
    fn parse(text: &str, place: Option<Place>) -> Result<Self, String> {
        match text.split_once(':') {
            Some((pattern, service)) if !pattern.is_empty() && !service.is_empty() => Ok(Self {
                text: text.to_owned(),
                pattern: pattern.to_owned(),
                service: service.to_owned(),
                place,
            }),
            _ => Err(format!("rule `{text}` is not of the form SERVER-PATTERN:SERVICE")),
        }
    }

    fn allows(&self, server: &WrittenServer, service: &str) -> bool {
        (self.service == EVERY_SERVICE || self.service == service)
            && glob_matches(&self.pattern, &server.name)
    }
}

struct Compiler<'a> {
    servers: &'a [WrittenServer],
    services: &'a BTreeMap<String, KnownService>,
}

impl Compiler<'_> {
    /// The rules of a role of the file, each checked for what it names.
    fn rules(&self, section: &SectionValues, out: &mut Diagnostics) -> Vec<Rule> {
        let mut rules = Vec::new();
        for text in section.texts(&key::ALLOW, out) {
            let rule = match Rule::parse(&text.value, Some(text.place.clone())) {
                Ok(rule) => rule,
                Err(message) => {
                    out.error(
                        &text.place,
                        message,
                        format!("write it like `allow = {}`", key::ALLOW.example),
                    );
                    continue;
                }
            };
            if rule.service != EVERY_SERVICE && !self.services.contains_key(&rule.service) {
                let message = format!("rule `{}` names unknown service `{}`", rule.text, rule.service);
                out.error(&text.place, message, unknown_service_hint(&rule.service, self.services));
            } else if !self.servers.iter().any(|server| glob_matches(&rule.pattern, &server.name)) {
                let message = format!("rule `{}` matches no server", rule.text);
                out.warning(&text.place, message, self.unmatched_hint(&rule.pattern));
            } else if !self
                .servers
                .iter()
                .any(|server| server.services.iter().any(|name| rule.allows(server, name)))
            {
                let message =
                    format!("rule `{}` opens nothing: no server it matches runs the service", rule.text);
                out.warning(&text.place, message, "add the service to the server's `services`");
            }
            rules.push(rule);
        }
        rules
    }

    /// What the rules open, server by server; a service that two rules open is listed once.
    fn permissions(
        &self,
        role: &str,
        rules: &[Rule],
        require_tls: bool,
        out: &mut Diagnostics,
    ) -> Vec<Permission> {
        let mut permissions = Vec::new();
        for server in self.servers {
            let mut opened: Vec<&str> = Vec::new();
            for rule in rules {
                for name in server.services.iter().filter(|name| rule.allows(server, name)) {
                    let Some(known) = self.services.get(name).filter(|_| !opened.contains(&name.as_str()))
                    else {
                        continue;
                    };
                    opened.push(name);
                    let place = rule.place.as_ref().or(known.place.as_ref()).unwrap_or(&Place::File);
                    exposure::check(
                        &Opening { role: rule.place.as_ref().map(|_| role), server, known },
                        place,
                        out,
                    );
                    permissions.extend(known.service.ports.iter().map(|ports| Permission {
                        server: server.name.clone(),
                        service: name.clone(),
                        protocol: ports.protocol,
                        ports: ports.ports,
                        addresses: server.addresses.iter().map(|address| address.value).collect(),
                        rule: rule.text.clone(),
                        require_tls: if ports.protocol == Protocol::Udp {
                            None
                        } else if known.service.require_tls {
                            Some(format!("service {name}: require-tls"))
                        } else {
                            require_tls.then(|| format!("role {role}: require-tls"))
                        },
                    }));
                }
            }
        }
        permissions
    }

    fn unmatched_hint(&self, pattern: &str) -> String {
        match crate::names::nearest(pattern, self.servers.iter().map(|server| server.name.as_str())) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "in a pattern `*` is any text and `?` any one character".to_owned(),
        }
    }
}
