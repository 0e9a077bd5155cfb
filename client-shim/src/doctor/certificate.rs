//! A service's certificate: for whom it is, how long it is good, and who vouches for it.

use std::time::Duration;

use jiff::Timestamp;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use vmsgate_cli::human;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::finding::{Finding, Id, Verdict};
use super::link::list;

/// How long before its end a certificate is warned about: XProtect itself gives no warning, and an internal authority
/// takes its time.
const EXPIRY_WARNING: Duration = Duration::from_secs(30 * 86_400);

/// The authorities that this machine trusts; empty where the system does not tell.
pub(super) fn authorities() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// What a chain of certificates is judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judge<'j> {
    /// Which service, for people.
    pub(super) subject: &'j str,
    /// The names and addresses that programs reach the server by.
    pub(super) hosts: &'j [String],
    pub(super) roots: &'j RootCertStore,
    pub(super) now: Timestamp,
}

impl Judge<'_> {
    /// Judges a certificate and those that came with it.
    pub(super) fn all(&self, chain: &[CertificateDer<'_>]) -> Vec<Finding> {
        let parsed = chain.first().and_then(|leaf| Some((leaf, X509Certificate::from_der(leaf).ok()?.1)));
        let Some((leaf, certificate)) = parsed else {
            let unreadable = |id| {
                let message = "the server's certificate cannot be read";
                self.finding(id, Verdict::Problem, message.to_owned()).advise(
                    "have the administrator install a new certificate with XProtect's Server Configurator",
                )
            };
            return [Id::CertificateName, Id::CertificateValidity, Id::CertificateIssuer]
                .map(unreadable)
                .into();
        };
        vec![
            self.name(leaf, &certificate),
            self.validity(&certificate),
            self.issuer(leaf, chain.get(1..).unwrap_or_default(), &certificate),
        ]
    }

    fn name(&self, leaf: &CertificateDer<'_>, certificate: &X509Certificate<'_>) -> Finding {
        let (good, bad): (Vec<_>, Vec<_>) =
            self.hosts.iter().cloned().partition(|host| is_for(host, leaf, certificate));
        let id = Id::CertificateName;
        if good.is_empty() {
            let whose = names_in(certificate);
            let message = format!("the certificate is for {}, not for {}", list(&whose), list(self.hosts));
            return self.finding(id, Verdict::Problem, message).advise(
                "programs refuse it: the administrator issues a certificate for the name that XProtect hands out, or corrects \
                 `hostnames` in gateway.toml",
            );
        }
        if bad.is_empty() {
            return self.finding(id, Verdict::Ok, format!("the certificate is for {}", list(&good)));
        }
        let message = format!("the certificate is for {}, and not for {}", list(&good), list(&bad));
        self.finding(id, Verdict::Note, message).advise("use the name that it is for")
    }

    fn validity(&self, certificate: &X509Certificate<'_>) -> Finding {
        let id = Id::CertificateValidity;
        let time = |time: i64| Timestamp::from_second(time).unwrap_or(Timestamp::MAX);
        let validity = certificate.validity();
        let (from, until) = (time(validity.not_before.timestamp()), time(validity.not_after.timestamp()));
        let renew = "have the administrator renew it, with XProtect's Server Configurator";
        if self.now < from {
            let message = format!("the certificate is good from {} only", human::time(from));
            return self.finding(id, Verdict::Problem, message).advise("is the clock of this machine right?");
        }
        let left = until.duration_since(self.now);
        if left.is_negative() {
            let message = format!("the certificate expired on {}: programs refuse it", human::time(until));
            return self.finding(id, Verdict::Problem, message).advise(renew);
        }
        let left = left.unsigned_abs();
        let message =
            format!("the certificate is good for {}, until {}", human::duration(left), human::time(until));
        let days = left.as_secs_f64() / 86_400.0;
        let verdict = if left < EXPIRY_WARNING { Verdict::Warning } else { Verdict::Ok };
        let finding =
            self.finding(id, verdict, message).measured("certificate_days", (days * 10.0).floor() / 10.0);
        if verdict == Verdict::Ok { finding } else { finding.advise(renew) }
    }

    fn issuer(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        certificate: &X509Certificate<'_>,
    ) -> Finding {
        let id = Id::CertificateIssuer;
        let issuer = certificate.issuer().to_string();
        if self.roots.is_empty() {
            return Finding::skipped(id, "this system does not tell which authorities it trusts")
                .about(self.subject);
        }
        // Judged as of a time at which the certificate is good: whether it still is stands elsewhere on the page.
        let validity = certificate.validity();
        let (from, until) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        // No `clamp`: what stands in a certificate need not be in order.
        let at = self.now.as_second().min(until).max(from);
        let at = UnixTime::since_unix_epoch(Duration::from_secs(at.try_into().unwrap_or_default()));
        let algorithms = ring::default_provider().signature_verification_algorithms;
        let trusted = ParsedCertificate::try_from(leaf).and_then(|leaf| {
            verify_server_cert_signed_by_trust_anchor(&leaf, self.roots, others, at, algorithms.all)
        });
        match trusted {
            Ok(()) => self.finding(id, Verdict::Ok, format!("issued by {issuer}, which this machine trusts")),
            Err(error) => {
                let message = format!("issued by {issuer}, which this machine does not trust ({error})");
                self.finding(id, Verdict::Note, message)
                    .advise("programs may ask or refuse: install the certificate of the site's authority on this machine")
            }
        }
    }

    fn finding(&self, id: Id, verdict: Verdict, message: String) -> Finding {
        Finding::new(id, verdict, message).about(self.subject)
    }
}

/// Whether a certificate is for a host. One without alternative names is for its common name, as .NET on Windows takes
/// it.
fn is_for(host: &str, leaf: &CertificateDer<'_>, certificate: &X509Certificate<'_>) -> bool {
    let by_alternative_names = ServerName::try_from(host.to_owned()).is_ok_and(|name| {
        ParsedCertificate::try_from(leaf).is_ok_and(|leaf| verify_server_name(&leaf, &name).is_ok())
    });
    let has_none = matches!(certificate.subject_alternative_name(), Ok(None));
    by_alternative_names
        || (has_none && common_names(certificate).any(|name| name.eq_ignore_ascii_case(host)))
}

fn common_names<'c>(certificate: &'c X509Certificate<'_>) -> impl Iterator<Item = &'c str> {
    certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok())
}

/// Whom a certificate is for, for people.
fn names_in(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let names: Vec<String> = alternative
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .map(|name| match name {
            x509_parser::extensions::GeneralName::DNSName(name) => (*name).to_owned(),
            other => other.to_string(),
        })
        .collect();
    if !names.is_empty() {
        return names;
    }
    let common: Vec<String> = common_names(certificate).map(str::to_owned).collect();
    if common.is_empty() { vec!["nobody".to_owned()] } else { common }
}

#[cfg(test)]
mod tests;
