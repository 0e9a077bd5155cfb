use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

use super::*;

const NAMES: [&str; 2] = ["rec01", "rec01.vms.local"];

fn now() -> Timestamp {
    "2026-11-25T00:00:00Z".parse().unwrap()
}

/// An authority that is good for long.
fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "Site authority");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for these names, from the first day of 2026 until this day.
fn params(names: &[&str], until: (i32, u8, u8)) -> CertificateParams {
    let mut params =
        CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(until.0, until.1, until.2);
    params
}

fn judged(params: &CertificateParams, trusted: bool, hosts: &[&str]) -> Vec<Finding> {
    let authority = authority();
    let certificate = params.signed_by(&KeyPair::generate().unwrap(), &authority).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(if trusted { authority.der().clone() } else { self::authority().der().clone() }).unwrap();
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let judge = Judge { subject: "rec01:7563", hosts: &hosts, roots: &roots, now: now() };
    judge.all(&[certificate.der().clone()])
}

fn verdicts(findings: &[Finding]) -> Vec<(Id, Verdict)> {
    findings.iter().map(|finding| (finding.id, finding.verdict)).collect()
}

#[test]
fn a_certificate_that_is_well_is_well_in_everything() {
    let findings = judged(&params(&NAMES, (2027, 11, 25)), true, &NAMES);
    let expected =
        [Id::CertificateName, Id::CertificateValidity, Id::CertificateIssuer].map(|id| (id, Verdict::Ok));
    assert_eq!(verdicts(&findings), expected, "{findings:#?}");
    assert_eq!(findings[1].measured["certificate_days"], 365.0);
    assert!(findings.iter().all(|finding| finding.subject.as_deref() == Some("rec01:7563")));
}

#[test]
fn its_end_is_warned_about_thirty_days_before_and_then_a_problem() {
    for (until, verdict) in [
        ((2026, 12, 26), Verdict::Ok),
        ((2026, 12, 24), Verdict::Warning),
        ((2026, 11, 24), Verdict::Problem),
    ] {
        let findings = judged(&params(&NAMES, until), true, &NAMES);
        assert_eq!(findings[1].verdict, verdict, "{findings:#?}");
        assert_eq!(findings[2].verdict, Verdict::Ok, "its age says nothing about its issuer");
    }
    let mut early = params(&NAMES, (2030, 1, 1));
    early.not_before = date_time_ymd(2026, 11, 26);
    let findings = judged(&early, true, &NAMES);
    assert_eq!((findings[1].verdict, findings[2].verdict), (Verdict::Problem, Verdict::Ok));
}

#[test]
fn a_certificate_for_another_name_is_a_problem_and_for_some_names_a_note() {
    let judge = |of: &[&str], hosts: &[&str]| {
        let finding = judged(&params(of, (2027, 11, 25)), true, hosts).remove(0);
        (finding.verdict, finding.message)
    };
    let (verdict, message) = judge(&["rec02.vms.local"], &NAMES);
    assert_eq!(verdict, Verdict::Problem);
    assert_eq!(message, "the certificate is for rec02.vms.local, not for rec01, rec01.vms.local");
    assert_eq!(judge(&["rec01.vms.local"], &NAMES).0, Verdict::Note);
    assert_eq!(judge(&["*.vms.local"], &["rec01.vms.local"]).0, Verdict::Ok);
    assert_eq!(judge(&["192.168.10.21"], &["192.168.10.21"]).0, Verdict::Ok, "a server without a name");
}

#[test]
fn a_common_name_counts_where_there_is_nothing_else() {
    let mut only = params(&[], (2027, 11, 25));
    only.distinguished_name.push(DnType::CommonName, "REC01");
    assert_eq!(judged(&only, true, &["rec01"])[0].verdict, Verdict::Ok);
    assert_eq!(judged(&only, true, &["rec02"])[0].verdict, Verdict::Problem);
    let mut both = params(&["rec02"], (2027, 11, 25));
    both.distinguished_name.push(DnType::CommonName, "rec01");
    assert_eq!(judged(&both, true, &["rec01"])[0].verdict, Verdict::Problem);
}

#[test]
fn an_issuer_that_this_machine_does_not_trust_is_a_note() {
    let findings = judged(&params(&NAMES, (2027, 11, 25)), false, &NAMES);
    assert_eq!(findings[2].verdict, Verdict::Note);
    assert!(findings[2].message.contains("issued by CN=Site authority"), "{}", findings[2].message);

    let key = KeyPair::generate().unwrap();
    let own = params(&NAMES, (2027, 11, 25)).self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    let hosts = NAMES.map(str::to_owned);
    let judge = |roots: &RootCertStore| {
        Judge { subject: "s", hosts: &hosts, roots, now: now() }.all(&[own.der().clone()])[2].verdict
    };
    assert_eq!(judge(&roots), Verdict::Skipped);
    roots.add(authority().der().clone()).unwrap();
    assert_eq!(judge(&roots), Verdict::Note);
}

#[test]
fn what_is_no_certificate_is_a_problem() {
    let (roots, hosts) = (RootCertStore::empty(), NAMES.map(str::to_owned));
    let judge = Judge { subject: "s", hosts: &hosts, roots: &roots, now: now() };
    for chain in [vec![], vec![CertificateDer::from(vec![0x30, 0x03, 1, 2, 3])]] {
        assert!(judge.all(&chain).iter().all(|finding| finding.verdict == Verdict::Problem));
    }
}
