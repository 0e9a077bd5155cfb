//! Another configuration: taken whole or not at all, and what it would change before it is taken.

use std::time::Duration;

use vmsgate_audit::event::{ConfigRefused, Event};
use vmsgate_audit::{Label, Record};
use vmsgate_cli::CliError;
use vmsgate_config::ConfigErrors;

use super::{Gateway, configuration, now, policy_label, start_shipping, worker_error};
use crate::admin::changes::{ChangeRequest, Reloaded};
use crate::health::ConditionCode;

impl Gateway {
    pub(super) async fn answer_about_changes(&mut self, request: ChangeRequest) -> Result<(), CliError> {
        // Whoever asked may have gone.
        match request {
            ChangeRequest::Foresee(policy, reply) => {
                let seen = self.workers.foresee(&policy).await.map_err(worker_error)?;
                drop(reply.send((self.config.clone(), seen)));
            }
            ChangeRequest::Reload(reply) => {
                let reloaded = self.reload("`vmsgate reload` asked for it").await?;
                drop(reply.send(reloaded));
            }
        }
        Ok(())
    }

    /// Puts the configuration file in force, whole or not at all.
    pub(super) async fn reload(&mut self, why: &str) -> Result<Reloaded, CliError> {
        let Some(watch) = &mut self.watch else { return Ok(Reloaded::NoFile) };
        // What is read now need not be read again because it has changed.
        watch.has_changed();
        match vmsgate_config::load(watch.path()) {
            Ok(mut config) => {
                for key in configuration::waiting_for_restart(&self.config, &config) {
                    tracing::warn!(key, "the new value takes effect at the next start");
                }
                let Gateway { identities, facts, key_requests, workers, .. } = self;
                let built = configuration::build(&config, identities, facts, key_requests, workers.count());
                tracing::info!(policy = config.version, why, "the configuration is in force");
                let seen = self.workers.configure(built).await.map_err(worker_error)?;
                config.gateway.name = self.config.gateway.name.clone();
                let before = Box::new(std::mem::replace(&mut self.config, config));
                if before.ships != self.config.ships {
                    self.restart_shipping().await?;
                }
                let text = "the configuration is in force";
                self.health.report(ConditionCode::ConfigurationInForce, true, text);
                Ok(Reloaded::InForce { before, after: Box::new(self.config.clone()), seen })
            }
            Err(errors) => {
                tracing::error!(%errors, why, "the configuration was refused; the old one stays in force");
                // The probes are open to every local user, so they do not quote the file.
                self.recording
                    .audit
                    .append(refused(&errors).under_policy(policy_label(&self.config.version)));
                let count = errors.errors().count();
                let text = format!(
                    "the file was refused ({count} errors, see `vmsgate check`); the old one is in force"
                );
                self.health.report(ConditionCode::ConfigurationInForce, false, text);
                Ok(Reloaded::Refused(errors))
            }
        }
    }

    /// Ships to the receivers of the configuration in force. Each goes on at its own place in the log.
    async fn restart_shipping(&mut self) -> Result<(), CliError> {
        self.shipping.stop(Duration::ZERO).await;
        self.shipping = start_shipping(self.clients.database(), &self.config)?;
        Ok(())
    }
}

fn refused(errors: &ConfigErrors) -> Record {
    let first = errors.errors().next().map(ToString::to_string).unwrap_or_default();
    let refused = ConfigRefused {
        errors: errors.errors().count() as u64,
        error: Label::new(&first),
        config_hash: errors.hash.map(Into::into),
    };
    Record::new(now(), Event::ConfigRefused(refused))
}
