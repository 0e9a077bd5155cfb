//! `vmsgate-shim doctor`: every finding is provoked, well and badly, and found.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use serde_json::Value;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use vmsgate_shim::doctor::{Finding, Id, Verdict};
use vmsgate_shim::loopback::Addresses;
use x25519_dalek::PublicKey;

use crate::command_line::{Up, command, run};
use crate::support::relay::{Path, Relay};
use crate::support::{Server, Site, Speaks};

/// What one examination found.
struct Page {
    code: i32,
    findings: Vec<Finding>,
}

impl Page {
    /// Has a profile examined that is in its file.
    fn of(site: &Site) -> Self {
        let profile = site.folder().join("alice.conf");
        let mut command = command(site, &["doctor", profile.to_str().unwrap(), "--json"]);
        let output = command.env("SSL_CERT_FILE", site.folder().join("authority.pem")).output().unwrap();
        let (json, error) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        let code = output.status.code().unwrap();
        let mut document: Value =
            serde_json::from_str(&json).unwrap_or_else(|_| panic!("{code}: {json}{error}"));
        assert_eq!((&document["schema_version"], &document["profile"]), (&1.into(), &"alice".into()));
        let findings: Vec<Finding> = serde_json::from_value(document["findings"].take()).unwrap();
        let problems = findings.iter().filter(|finding| finding.verdict == Verdict::Problem).count();
        assert_eq!(
            (&document["problems"], code),
            (&problems.into(), i32::from(problems > 0)),
            "{findings:#?}"
        );
        for finding in &findings {
            let wants_advice = matches!(finding.verdict, Verdict::Warning | Verdict::Problem);
            assert!(!wants_advice || finding.advice.is_some(), "{finding:?}");
        }
        let looked_at: BTreeSet<Id> = findings.iter().map(|finding| finding.id).collect();
        assert_eq!(looked_at, all(), "a page has every finding");
        Self { code, findings }
    }

    fn verdicts(&self, id: Id) -> Vec<Verdict> {
        self.findings.iter().filter(|finding| finding.id == id).map(|finding| finding.verdict).collect()
    }

    #[track_caller]
    fn expect(&self, expected: &[(Id, Verdict)]) {
        for (id, verdict) in expected {
            assert!(self.verdicts(*id).contains(verdict), "{id}: {:#?}", self.findings);
        }
    }
}

fn all() -> BTreeSet<Id> {
    Id::ALL.iter().copied().collect()
}

#[test]
fn every_finding_is_provoked_well_and_badly_and_found() {
    let scenarios: [fn() -> Page; 6] = [
        a_site_that_is_well,
        a_gateway_that_is_not_there,
        a_name_that_does_not_exist,
        a_role_that_is_gone,
        a_site_in_which_everything_is_wrong,
        a_bad_path,
    ];
    let pages: Vec<Page> = std::thread::scope(|scope| {
        let running = scenarios.map(|scenario| scope.spawn(scenario));
        running.into_iter().map(|page| page.join().unwrap()).collect()
    });
    let found = |wanted: &dyn Fn(&Finding) -> bool| -> BTreeSet<Id> {
        let all = pages.iter().flat_map(|page| &page.findings);
        all.filter(|finding| wanted(finding)).map(|finding| finding.id).collect()
    };
    // A machine that is busy with other tests may carry less than nine tiles.
    let slow = |finding: &Finding| finding.id == Id::PathGoodputDown && finding.verdict == Verdict::Note;
    assert_eq!(found(&|finding| finding.verdict == Verdict::Ok || slow(finding)), all());
    assert_eq!(found(&|finding| !matches!(finding.verdict, Verdict::Ok | Verdict::Skipped)), all());
}

#[test]
fn the_documentation_explains_exactly_the_findings_there_are() {
    let text = include_str!("../../../docs/doctor.md");
    let headings = text.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
    let explained: Vec<&str> = headings.collect();
    let there: Vec<&str> = Id::ALL.iter().map(|id| id.as_str()).collect();
    assert_eq!(explained, there);
}

#[test]
fn a_shim_that_is_up_looks_itself_and_goes_on() {
    let site = Site::new();
    let _gateway = site.start(&[well(&site, "rec", 7563)]);
    let (up, _) = Up::start(&site);

    let (code, text, error) = run(&site, &["doctor"]);
    assert_eq!((code, error.as_str()), (0, ""), "{text}");
    assert!(text.contains("\nok       ports.free            127."), "{text}");
    assert!(text.contains(": listens, for echo of rec-"), "{text}");
    Page::of(&site).expect(&[(Id::GatewayAnswers, Verdict::Ok), (Id::PortsFree, Verdict::Ok)]);

    assert_eq!(run(&site, &["status"]).0, 0, "it is still connected");
    assert_eq!(up.terminate(), 0);
}

#[test]
fn without_a_profile_and_a_running_shim_it_says_what_to_name() {
    let site = Site::new();
    let (code, output, error) = run(&site, &["doctor"]);
    let expected =
        "error: no shim is running\n\nhint: name the profile's file: vmsgate-shim doctor PROFILE\n";
    assert_eq!((code, output.as_str(), error.as_str()), (1, "", expected));
}

/// A server of which everything is as it should be.
fn well(site: &Site, name: &str, port: u16) -> Server {
    let server = site.server(name, "192.168.10.21", port..=port);
    // A name that every resolver turns into the server's loopback address: that of old, as one number after the first.
    let [first, rest @ ..] = here(&server.name).octets();
    let rest = rest.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    Server { hostnames: vec![format!("{first}.{rest}")], ..server }
}

/// The loopback address of a server.
fn here(name: &str) -> Ipv4Addr {
    let mut addresses = Addresses::default();
    addresses.assign([name].into_iter());
    addresses.of(name).unwrap()
}

fn a_site_that_is_well() -> Page {
    let site = Site::new();
    {
        let mut registry = site.registry.lock().unwrap();
        registry.max_age = Some(90 * 86_400);
        registry.expires = Some(Timestamp::now() + SignedDuration::from_hours(24 * 90));
    }
    let authority = authority();
    std::fs::write(site.folder().join("authority.pem"), authority.pem()).unwrap();
    let name = format!("{}.vms.local", site.name("mgmt"));
    let secret = Server {
        hostnames: vec![name.clone()],
        speaks: tls(&name, 2999, &authority),
        ..site.server("mgmt", "192.168.10.10", 443..=443)
    };
    let _gateway = site.start(&[well(&site, "rec", 7563), secret]);
    site.profile_file();
    let page = Page::of(&site);
    assert_eq!(page.code, 0, "{:#?}", page.findings);
    page
}

fn a_gateway_that_is_not_there() -> Page {
    let site = Site::new();
    site.profile_file();
    let page = Page::of(&site);
    page.expect(&[(Id::EndpointResolves, Verdict::Ok), (Id::GatewayAnswers, Verdict::Problem)]);
    page.expect(&[(Id::PathLoss, Verdict::Skipped), (Id::ServiceAnswers, Verdict::Skipped)]);
    page
}

fn a_name_that_does_not_exist() -> Page {
    let site = Site::new();
    let profile = site.profile_file();
    let text = site.profile_text().replace(&site.endpoint.to_string(), "gateway.invalid:51820");
    std::fs::write(profile, text).unwrap();
    let page = Page::of(&site);
    page.expect(&[(Id::EndpointResolves, Verdict::Problem), (Id::GatewayAnswers, Verdict::Skipped)]);
    page
}

fn a_role_that_is_gone() -> Page {
    let site = Site::new();
    site.registry.lock().unwrap().role_is_gone = true;
    let _gateway = site.start(&[]);
    site.profile_file();
    let page = Page::of(&site);
    page.expect(&[(Id::GatewayProfile, Verdict::Problem), (Id::NamesResolve, Verdict::Skipped)]);
    page
}

fn a_site_in_which_everything_is_wrong() -> Page {
    let site = Site::new();
    {
        let mut registry = site.registry.lock().unwrap();
        registry.clock_offset = SignedDuration::from_mins(10);
        registry.expires = Some(Timestamp::now() - SignedDuration::from_hours(1));
        registry.created = Timestamp::now() - SignedDuration::from_hours(100);
        registry.max_age = Some(3600);
        registry.newer_identity = Some(PublicKey::from([9; 32]));
    }
    let elsewhere =
        Server { hostnames: vec!["localhost".to_owned()], ..site.server("mgmt", "192.168.10.10", 443..=443) };
    let nowhere = Server {
        hostnames: vec!["rec.invalid".to_owned()],
        speaks: Speaks::Refusal,
        ..site.server("rec", "192.168.10.21", 7563..=7563)
    };
    let literal = Server {
        hostnames: vec!["192.168.10.22".to_owned()],
        ..site.server("rec02", "192.168.10.22", 80..=80)
    };
    std::fs::write(site.folder().join("authority.pem"), authority().pem()).unwrap();
    let expired = Server {
        hostnames: vec!["web.invalid".to_owned()],
        speaks: tls("other.invalid", 2026, &authority()),
        ..site.server("web", "192.168.10.30", 8082..=8082)
    };
    let _taken = TcpListener::bind((here(&nowhere.name), 7563)).unwrap();
    let _gateway = site.start(&[elsewhere, nowhere, literal, expired]);
    let profile = site.profile_file();
    // Which also keeps its key from being replaced.
    std::fs::set_permissions(profile, std::fs::Permissions::from_mode(0o444)).unwrap();
    let page = Page::of(&site);
    page.expect(&[
        (Id::ProfilePermissions, Verdict::Problem),
        (Id::ProfileAccess, Verdict::Problem),
        (Id::ProfileKeyAge, Verdict::Problem),
        (Id::GatewayIdentity, Verdict::Warning),
        (Id::ClockOffset, Verdict::Problem),
        (Id::PortsFree, Verdict::Problem),
        (Id::NamesResolve, Verdict::Problem),
        (Id::NamesResolve, Verdict::Warning),
        (Id::NamesLiteral, Verdict::Warning),
        (Id::ServiceAnswers, Verdict::Problem),
        (Id::ServiceEncryption, Verdict::Note),
        (Id::CertificateName, Verdict::Problem),
        (Id::CertificateValidity, Verdict::Problem),
        (Id::CertificateIssuer, Verdict::Note),
    ]);
    page
}

/// A site's own certificate authority.
fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// TLS with a certificate for a name, good from the first day of 2026 to the second of a year.
fn tls(name: &str, until: i32, authority: &CertifiedIssuer<'static, KeyPair>) -> Speaks {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(until, 1, 2));
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap().der().clone();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    Speaks::Tls(Arc::new(config.with_single_cert(vec![certificate], key).unwrap()))
}

fn a_bad_path() -> Page {
    let site = Site::new();
    let _gateway = site.start(&[well(&site, "rec", 7563)]);
    let path = Path { delay: Duration::from_millis(110), lose_one_in: 10, largest: 1400 };
    let relay = Relay::start(site.endpoint, path);
    // The gateway tells no other way: the shim would take it.
    site.registry.lock().unwrap().endpoints = vec![relay.address.to_string()];
    site.profile_file_of(&site.profile_text_through(relay.address));
    let page = Page::of(&site);
    page.expect(&[
        (Id::PathRoundTrip, Verdict::Warning),
        (Id::PathLoss, Verdict::Problem),
        (Id::PathMtu, Verdict::Problem),
    ]);
    for id in [Id::PathGoodputDown, Id::PathGoodputUp] {
        assert!(page.verdicts(id).iter().all(|verdict| *verdict >= Verdict::Warning), "{:#?}", page.findings);
    }
    page
}
