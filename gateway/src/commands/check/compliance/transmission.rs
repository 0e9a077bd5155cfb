//! Transmission: nothing crosses a foreign network in clear text.

use std::collections::BTreeSet;

use vmsgate_config::{Config, Protocol, catalogue::Encryption};

use super::super::post_quantum;
use super::{facts::Facts, measure::Measure};

/// A client has no other way in: there is no setting that turns the tunnel off.
pub fn tunnel(config: &Config) -> Measure {
    let listen: Vec<String> = config.gateway.listen.iter().map(ToString::to_string).collect();
    let controls = &["AC-17", "SC-23", "transmission"];
    Measure::met("tunnel", "remote clients come through an authenticated, encrypted tunnel", controls)
        .note(format!("WireGuard on {}", listen.join(", ")))
}

/// The tunnel ends at the gateway; what protects the rest of the way is TLS of the VMS, and `require-tls` insists on it.
pub fn tls_to_servers(config: &Config) -> Measure {
    let open = |permission: &&vmsgate_config::Permission| {
        let encryption = config.services.get(&permission.service).map(|service| service.encryption);
        permission.require_tls.is_none() && encryption != Some(Encryption::Tls)
    };
    let permissions = config.roles.values().flat_map(|role| &role.permissions);
    let found: BTreeSet<String> = permissions
        .filter(open)
        .map(|permission| {
            let udp = if permission.protocol == Protocol::Udp { " over UDP" } else { "" };
            format!("{}:{} may be reached in clear text{udp}", permission.server, permission.service)
        })
        .collect();
    let controls = &["AC-17", "SC-23", "transmission"];
    Measure::met("tls-to-servers", "media and log-in are encrypted up to the servers", controls).unless(
        found,
        "install certificates on the servers, then set `require-tls = true` in the section of the service or the role",
    )
}

pub fn encrypted_receivers(config: &Config) -> Measure {
    let plain = config.ships.iter().filter(|ship| !ship.to.transport.is_encrypted());
    let plain = plain.map(|ship| format!("the receiver `{}` gets records in clear text", ship.name));
    Measure::met("encrypted-receivers", "records leave the gateway encrypted only", &["AU-9", "transmission"])
        .unless(plain, "use an address that begins with `syslog+tls` or `otlp+https`")
}

/// What is recorded today may be decrypted one day. A role may insist; then its clients have to be able to.
pub fn post_quantum(config: &Config, facts: &Facts) -> Measure {
    let required = match post_quantum::roles(config)[..] {
        [] => "no role requires post-quantum keys".to_owned(),
        ref roles => format!("post-quantum keys are required by {}", roles.join(", ")),
    };
    let shut_out = post_quantum::shut_out(config, &facts.clients, &facts.seen, facts.now);
    let controls = &["AC-17", "transmission"];
    Measure::met("post-quantum", "clients have the post-quantum keys that their roles require", controls)
        .note(required)
        .unless(shut_out, post_quantum::HINT)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            facts::tests::{config, facts},
            measure::State,
        },
        *,
    };

    #[test]
    fn the_roles_that_require_post_quantum_keys_are_told_also_when_nobody_is_shut_out() {
        let insisting =
            config("[role.guard]\nallow = [\"rec01:recording-server\"]\nrequire-post-quantum = true\n");
        let found = post_quantum(&insisting, &facts());
        assert_eq!(
            (found.state, found.reasons),
            (State::Met, vec!["post-quantum keys are required by guard".to_owned()])
        );
        assert_eq!(post_quantum(&config(""), &facts()).reasons, ["no role requires post-quantum keys"]);
    }

    #[test]
    fn a_service_without_require_tls_is_named_once() {
        let open = tls_to_servers(&config(""));
        let closed = tls_to_servers(&config("[service.recording-server]\nrequire-tls = true\n"));

        assert_eq!(open.state, State::NotMet);
        assert_eq!(open.reasons, ["rec01:recording-server may be reached in clear text"]);
        assert_eq!((closed.state, closed.reasons), (State::Met, Vec::new()));
    }

    #[test]
    fn a_receiver_in_clear_text_is_named() {
        let plain = "[[ship]]\nname = \"siem\"\nto = \"syslog+tcp://192.0.2.9:514\"\n";

        let found = encrypted_receivers(&config(plain));
        let tls = encrypted_receivers(&config(&plain.replace("+tcp", "+tls")));

        assert_eq!(found.reasons, ["the receiver `siem` gets records in clear text"]);
        assert_eq!(tls.state, State::Met);
    }
}
