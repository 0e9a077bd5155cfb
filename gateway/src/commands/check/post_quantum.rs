//! Roles that require post-quantum keys, and whom of their clients that shuts out: those whose last session was not under
//! an agreed pre-shared key, as no stock WireGuard client's is.

use std::collections::HashSet;

use jiff::Timestamp;
use uuid::Uuid;
use vmsgate_cli::args::InstallationArgs;
use vmsgate_config::{Config, Finding, Severity};
use vmsgate_keys::{Client, DataDir, Registry, RegistryError, Seen, Standing};

/// So many clients are named; the others are counted.
const NAMED: usize = 10;
pub const HINT: &str = "stock WireGuard clients have no such keys: use vmsgate-shim there, or give these clients a role \
                        without `require-post-quantum`";

/// What the registry knows of clients.
struct Known {
    clients: Vec<Client>,
    seen: Vec<Seen>,
}

/// The names of the roles that require post-quantum keys.
pub fn roles(config: &Config) -> Vec<&str> {
    let insisting = config.roles.values().filter(|role| role.require_post_quantum);
    insisting.map(|role| role.name.as_str()).collect()
}

/// One sentence for each role that shuts somebody out.
pub fn shut_out(config: &Config, clients: &[Client], seen: &[Seen], now: Timestamp) -> Vec<String> {
    let without = seen.iter().map(|seen| &seen.presence).filter(|presence| !presence.post_quantum);
    let without: HashSet<Uuid> = without.map(|presence| presence.client).collect();
    let mut sentences = Vec::new();
    for role in roles(config) {
        let lacking = clients.iter().filter(|client| {
            client.role == role && client.standing(now) == Standing::Active && without.contains(&client.id)
        });
        let names: Vec<String> = lacking.map(|client| format!("`{}`", client.name)).collect();
        if !names.is_empty() {
            sentences.push(format!(
                "role {role} requires post-quantum keys; last seen without them: {}",
                listed(&names)
            ));
        }
    }
    sentences
}

/// What to say of the configuration and the registry beside it. A file may be checked where no registry is.
pub async fn findings(installation: &InstallationArgs, config: &Config) -> Vec<Finding> {
    let data = DataDir::new(installation.data_dir(Some(&config.gateway.data)));
    if roles(config).is_empty() || data.database().try_exists().is_ok_and(|exists| !exists) {
        return Vec::new();
    }
    let warning = |message: String, hint: String| Finding {
        severity: Severity::Warning,
        file: installation.config_path().display().to_string(),
        line: None,
        message,
        hint: Some(hint),
    };
    match known(&data).await {
        Ok(Known { clients, seen }) => {
            let sentences = shut_out(config, &clients, &seen, Timestamp::now());
            sentences.into_iter().map(|sentence| warning(sentence, HINT.to_owned())).collect()
        }
        Err(error) => {
            let message = format!("whom `require-post-quantum` shuts out is unknown: {error}");
            vec![warning(message, error.hint())]
        }
    }
}

async fn known(data: &DataDir) -> Result<Known, RegistryError> {
    let registry = Registry::open_read_only(&data.database()).await?;
    let read = async { Ok(Known { clients: registry.clients().await?, seen: registry.presence().await? }) };
    let read = read.await;
    registry.close().await;
    read
}

fn listed(names: &[String]) -> String {
    let (named, rest) = names.split_at(names.len().min(NAMED));
    let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
    format!("{}{more}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use vmsgate_keys::{PublicKey, registry::Presence};

    use super::super::compliance::facts::tests::{client, config};
    use super::*;

    const INSISTING: &str =
        "[role.guard]\nallow = [\"rec01:recording-server\"]\nrequire-post-quantum = true\n";

    fn guard(number: u128, last: Option<bool>) -> (Client, Option<Seen>) {
        let id = Uuid::from_u128(number);
        let client = Client { id, role: "guard".to_owned(), ..client(&format!("guard-{number}")) };
        let key = PublicKey::from_bytes([9; 32]);
        let seen = last.map(|post_quantum| Seen {
            gateway: "gw-1".to_owned(),
            presence: Presence {
                client: id,
                key,
                identity: key,
                last_seen: Timestamp::UNIX_EPOCH,
                post_quantum,
            },
        });
        (client, seen)
    }

    fn found(config: &Config, known: Vec<(Client, Option<Seen>)>) -> Vec<String> {
        let (clients, seen): (Vec<_>, Vec<_>) = known.into_iter().unzip();
        shut_out(config, &clients, &seen.into_iter().flatten().collect::<Vec<_>>(), Timestamp::now())
    }

    #[test]
    fn who_was_last_seen_without_is_named_and_who_was_never_seen_is_not() {
        let mut revoked = guard(4, Some(false));
        revoked.0.state = vmsgate_keys::ClientState::Revoked;
        let known = || vec![guard(1, Some(false)), guard(2, Some(true)), guard(3, None)];
        let expected = "role guard requires post-quantum keys; last seen without them: `guard-1`".to_owned();
        let all = known().into_iter().chain([revoked]).collect();
        assert_eq!(found(&config(INSISTING), all), [expected]);
        let relaxed = config(&INSISTING.replace("true", "false"));
        assert!(roles(&relaxed).is_empty() && found(&relaxed, known()).is_empty());
    }

    #[test]
    fn a_crowd_is_counted() {
        let crowd = (1..=13).map(|number| guard(number, Some(false))).collect();
        let found = found(&config(INSISTING), crowd);
        assert!(found[0].ends_with("`guard-10` and 3 more"), "{found:?}");
    }
}
