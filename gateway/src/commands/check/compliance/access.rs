//! Access: who may reach the system, for how long, and no more than the work needs.

use std::collections::BTreeSet;

use vmsgate_config::{Config, Role, catalogue::BUILT_IN_ROLES};
use vmsgate_keys::Standing;

use super::{
    facts::{Facts, USE_DAYS},
    measure::Measure,
};

pub fn expiry(facts: &Facts) -> Measure {
    let endless = facts.clients.iter().filter(|client| {
        client.expires.is_none()
            && matches!(client.standing(facts.now), Standing::Active | Standing::Suspended)
    });
    let endless = endless.map(|client| {
        format!("role {}: client `{}` of {} never expires", client.role, client.name, client.operator)
    });
    Measure::met("expiry", "every client's access ends by itself", &["AC-17", "access"])
        .unless(endless, "`vmsgate-keys client expire NAME 90d`")
}

/// Compares what administrators may reach with what they reached. A role without clients harms nobody.
pub fn administrators(config: &Config, facts: &Facts) -> Measure {
    let mut unused = Vec::new();
    for role in config.roles.values().filter(|role| is_administrative(role)) {
        let Some(used) = facts.used.get(&role.name) else { continue };
        let allowed: BTreeSet<_> =
            role.permissions.iter().map(|p| (p.server.clone(), p.service.clone())).collect();
        unused.extend(allowed.difference(used).map(|(server, service)| {
            format!(
                "role {} may reach {server}:{service}, which nobody in it used in {USE_DAYS} days",
                role.name
            )
        }));
    }
    let controls = &["AC-17", "access", "administrators"];
    Measure::met("administrators", "administrators may reach only what they use", controls).unless(
        unused,
        "give the role in the configuration an `allow` list with what is needed, in place of the built-in one",
    )
}

pub fn secrets(facts: &Facts) -> Measure {
    let open = facts.files.iter().filter(|file| file.mode & 0o077 != 0);
    let open = open.map(|file| {
        format!("{} has mode {:03o}: others than its owner may use it", file.path.display(), file.mode)
    });
    Measure::met("secrets", "keys and log are open to the gateway's user alone", &["AU-9", "storage"])
        .unless(open, "`chmod 700` the data directory and `chmod 600` the files in it")
}

/// A role that reaches what the built-in administrators' role has and operators' has not.
fn is_administrative(role: &Role) -> bool {
    let services = |name: &str| {
        let role = BUILT_IN_ROLES.iter().find(|role| role.name == name);
        let rules = role.map(|role| role.allow).unwrap_or_default();
        rules
            .iter()
            .filter_map(|rule| rule.split_once(':'))
            .map(|(_, service)| service)
            .collect::<BTreeSet<_>>()
    };
    let (administrators, operators) = (services("management-client"), services("smart-client"));
    role.name == "management-client"
        || role.permissions.iter().any(|permission| {
            let service = permission.service.as_str();
            administrators.contains(service) && !operators.contains(service)
        })
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            facts::{
                File,
                tests::{client, config, facts},
            },
            measure::State,
        },
        *,
    };

    #[test]
    fn a_client_without_an_end_is_named_with_its_role_unless_it_is_revoked() {
        let mut facts = facts();
        facts.clients = vec![client("anna"), client("bo"), client("revoked")];
        facts.clients[1].expires = Some(facts.now);
        facts.clients[2].state = vmsgate_keys::ClientState::Revoked;

        let found = expiry(&facts);

        assert_eq!(found.reasons, ["role management-client: client `anna` of Anna Berg never expires"]);
    }

    #[test]
    fn an_administrator_s_role_is_too_wide_for_what_was_not_used() {
        let config = config("");
        let mut facts = facts();
        assert_eq!(administrators(&config, &facts).state, State::Met, "nobody is in the role");

        facts.used.entry("management-client".to_owned()).or_default();
        let idle = administrators(&config, &facts);
        facts
            .used
            .insert("management-client".to_owned(), [("rec01".into(), "recording-server".into())].into());
        let used = administrators(&config, &facts);

        assert!(
            idle.reasons[0].starts_with("role management-client may reach rec01:recording-server"),
            "{idle:?}"
        );
        assert_eq!(used.state, State::Met);
    }

    #[test]
    fn a_file_that_others_may_read_is_named() {
        let mut facts = facts();
        facts.files =
            vec![File { path: "keystore".into(), mode: 0o640 }, File { path: "data".into(), mode: 0o700 }];

        assert_eq!(secrets(&facts).reasons, ["keystore has mode 640: others than its owner may use it"]);
    }
}
