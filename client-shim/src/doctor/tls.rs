//! What a service speaks: TLS, told by its answer to a TLS greeting, or anything else.
//!
//! Nothing depends on whom this connection is with: the certificate is looked at and not trusted, and no more is said.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use vmsgate_pump::Stream;

/// How long a server may take to answer the greeting. One that speaks something else may wait for more.
const LIMIT: Duration = Duration::from_secs(5);

/// What a service answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Spoken {
    /// TLS, with this certificate and those that vouch for it.
    Tls(Vec<CertificateDer<'static>>),
    /// TLS, and no agreement.
    Disagreed(String),
    /// Something else, or nothing.
    Plain,
}

/// Greets a service, as the host with this name or address.
pub(super) async fn greet(stream: Stream, host: ServerName<'static>) -> Spoken {
    let connector = match connector() {
        Ok(connector) => connector,
        Err(error) => return Spoken::Disagreed(error.to_string()),
    };
    match tokio::time::timeout(LIMIT, connector.connect(host, stream)).await {
        Ok(Ok(tls)) => Spoken::Tls(tls.get_ref().1.peer_certificates().unwrap_or_default().to_vec()),
        Ok(Err(error)) => judge(&error),
        Err(_) => Spoken::Plain,
    }
}

fn judge(error: &io::Error) -> Spoken {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        // Its bytes are no TLS records, or it hung up at the greeting.
        Some(Error::InvalidMessage(_)) | None => Spoken::Plain,
        Some(other) => Spoken::Disagreed(other.to_string()),
    }
}

fn connector() -> Result<TlsConnector, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Onlooker(provider.clone()));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Lets every certificate pass, since it is to be looked at.
#[derive(Debug)]
struct Onlooker(Arc<CryptoProvider>);

impl ServerCertVerifier for Onlooker {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _host: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::{AlertDescription, InvalidMessage};

    use super::*;

    #[test]
    fn what_is_no_tls_and_what_is_no_agreement_are_told_apart() {
        let of = |error: Error| judge(&io::Error::new(io::ErrorKind::InvalidData, error));
        assert_eq!(of(Error::InvalidMessage(InvalidMessage::InvalidContentType)), Spoken::Plain);
        for kind in [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset] {
            assert_eq!(judge(&kind.into()), Spoken::Plain);
        }
        let Spoken::Disagreed(why) = of(Error::AlertReceived(AlertDescription::ProtocolVersion)) else {
            panic!("an alert is TLS");
        };
        assert!(why.contains("alert"), "{why}");
    }
}
