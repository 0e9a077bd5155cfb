//! Keys that change, against a gateway of real parts.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use vmsgate_exchange::Token;
use vmsgate_shim::keys::{EnrollError, RotateError, enroll, fingerprint};
use vmsgate_shim::{Event, Profile, Report, Shim};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::end_to_end::{PATIENCE, greeted, greeting, run};
use crate::support::{Gateway, Server, Site, invite};

fn servers(site: &Site) -> Vec<Server> {
    vec![site.server("rec", "192.168.10.21", 7563..=7563)]
}

struct Running {
    shim: Shim,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Running {
    fn start(file: &Path) -> Self {
        let (tell, events) = mpsc::unbounded_channel();
        Self { shim: Shim::start(Profile::read(file).unwrap(), Vec::new(), tell), events }
    }

    async fn ready(file: &Path) -> Self {
        let mut running = Self::start(file);
        let ready = async { while running.events.recv().await.expect("it runs") != Event::SiteChanged {} };
        tokio::time::timeout(PATIENCE, ready).await.expect("it gets ready");
        running
    }

    /// Until what it reports is as wanted; the link is looked at twice a second, so nothing tells of each change.
    async fn until(&self, wanted: impl Fn(&Report) -> bool) -> Report {
        let search = async {
            loop {
                let report = self.shim.report();
                if wanted(&report) {
                    return report;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, search).await;
        found.unwrap_or_else(|_| panic!("it stays {:?}", self.shim.report().keys))
    }

    async fn greets(&self) {
        let report = self.shim.report();
        let listener = report.servers[0].listeners[0].listen;
        assert_eq!(greeted(listener).await, "192.168.10.21:7563");
    }
}

fn secret_in(file: &Path) -> StaticSecret {
    Profile::read(file).unwrap().secret
}

/// The names in the profile's folder that begin like it, but for what the gateway told, which is no secret.
fn beside(file: &Path) -> Vec<String> {
    let name = file.file_name().unwrap().to_str().unwrap();
    let entries = fs::read_dir(file.parent().unwrap()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> =
        names.filter(|found| found.starts_with(name) && !found.ends_with(".known")).collect();
    names.sort();
    names
}

fn asked(site: &Site, path: &str) -> usize {
    site.registry.lock().unwrap().asked.iter().filter(|(asked, _)| asked == path).count()
}

/// Leaves the gateway with the keys that `wanted` picks.
async fn keep(site: &Site, gateway: &Gateway, wanted: impl Fn(&PublicKey) -> bool) {
    site.registry.lock().unwrap().keys.retain(|(key, _)| wanted(key));
    gateway.apply().await;
}

#[test]
fn an_invitation_becomes_a_profile_that_works_even_if_the_first_answer_is_lost() {
    run(async {
        let site = Site::new();
        let token = invite(&site);
        site.registry.lock().unwrap().lose = 1;
        let _gateway = site.start(&servers(&site));
        let file = site.folder().join("anna.conf");

        let enrolment = enroll(&token, &file, |_| {}).await.unwrap();

        let public = PublicKey::from(&secret_in(&file));
        assert_eq!((enrolment.fingerprint, enrolment.client.as_str()), (fingerprint(&public), "anna-laptop"));
        let asked = site.registry.lock().unwrap().asked.clone();
        assert_eq!(asked.len(), 2);
        assert_eq!(asked[0], asked[1], "the same key is asked for again");
        assert_eq!(beside(&file), ["anna.conf"]);
        let running = Running::ready(&file).await;
        running.greets().await;
        let again = enroll(&token, &file, |_| {}).await.unwrap_err();
        assert!(matches!(again, EnrollError::Exists(_)), "{again}");
    });
}

#[test]
fn an_enrolment_that_died_goes_on_with_the_key_it_made_and_another_device_is_told() {
    run(async {
        let site = Site::new();
        let token = invite(&site);
        let file = site.folder().join("anna.conf");
        // It dies while it asks.
        site.registry.lock().unwrap().lose = usize::MAX;
        let gateway = site.start(&servers(&site));
        let begun = tokio::task::spawn_local({
            let (token, file): (Token, PathBuf) = (token.to_text().parse().unwrap(), file.clone());
            async move { enroll(&token, &file, |_| {}).await.map(|_| ()) }
        });
        while asked(&site, "/v1/enroll") == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        begun.abort();
        assert_eq!(beside(&file), ["anna.conf.enrolling"]);
        site.registry.lock().unwrap().lose = 0;

        let other = site.folder().join("other.conf");
        let error = enroll(&token, &other, |_| {}).await.unwrap_err();
        assert!(matches!(&error, EnrollError::Used(when) if when == "at 2026-11-25 10:00:00 UTC"), "{error}");
        assert!(error.hint().contains("TELL YOUR ADMINISTRATOR NOW"));
        assert!(!other.exists());

        enroll(&token, &file, |_| {}).await.unwrap();
        assert_eq!(beside(&file), ["anna.conf"]);
        drop(gateway);
    });
}

#[test]
fn the_key_is_replaced_under_a_stream_that_loses_nothing() {
    run(async {
        let site = Site::new();
        let gateway = site.start(&servers(&site));
        let file = site.profile_file();
        let before = fs::read_to_string(&file).unwrap();
        let running = Running::ready(&file).await;
        let listener = running.shim.report().servers[0].listeners[0].listen;
        let mut socket = TcpStream::connect(listener).await.unwrap();
        greeting(&mut socket).await.unwrap();
        let (mut reader, mut writer) = socket.into_split();
        let sent: Vec<u8> = (0..4_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let write = async {
            let (first, second) = sent.split_at(sent.len() / 2);
            writer.write_all(first).await.unwrap();
            let rotate = running.shim.rotator();
            let (rotated, written) = tokio::join!(rotate(), writer.write_all(second));
            written.unwrap();
            writer.shutdown().await.unwrap();
            rotated.unwrap()
        };
        let mut received = Vec::new();
        let (rotated, read) = tokio::join!(write, reader.read_to_end(&mut received));

        read.unwrap();
        assert!(received == sent, "{} bytes of {} came back", received.len(), sent.len());
        let secret = secret_in(&file);
        let public = PublicKey::from(&secret);
        assert_ne!(secret.as_bytes(), site.client.as_bytes());
        assert_eq!(rotated.after, fingerprint(&public));
        let after = fs::read_to_string(&file).unwrap();
        let others = |text: &str| -> Vec<String> {
            text.lines().filter(|line| !line.contains("Key = ")).map(ToOwned::to_owned).collect()
        };
        assert_eq!(others(&before), others(&after));
        running.until(|_| beside(&file) == ["alice.conf"]).await;
        keep(&site, &gateway, |key| *key == public).await;
        running.greets().await;
        assert_eq!(running.shim.report().keys.fingerprint, Some(fingerprint(&public)));
    });
}

#[test]
fn a_rotation_whose_answer_is_lost_changes_nothing_and_works_the_next_time() {
    run(async {
        let site = Site::new();
        let _gateway = site.start(&servers(&site));
        let file = site.profile_file();
        let before = fs::read_to_string(&file).unwrap();
        let running = Running::ready(&file).await;
        site.registry.lock().unwrap().lose = 1;
        let rotate = running.shim.rotator();

        let error = rotate().await.unwrap_err();

        assert!(matches!(error, RotateError::Control(_)), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), before);
        assert_eq!(beside(&file), ["alice.conf"]);
        assert!(running.shim.report().keys.error.is_some());
        running.greets().await;
        rotate().await.unwrap();
        running.greets().await;
        assert!(running.shim.report().keys.error.is_none());
    });
}

#[test]
fn what_cannot_be_stored_is_not_asked_for() {
    use std::os::unix::fs::PermissionsExt;
    run(async {
        let site = Site::new();
        let _gateway = site.start(&servers(&site));
        let file = site.profile_file();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
        let running = Running::ready(&file).await;
        let error = running.shim.rotator()().await.unwrap_err();
        assert!(matches!(error, RotateError::Store(_)), "{error}");
        assert_eq!(asked(&site, "/v1/keys"), 0);
        running.greets().await;
    });
}

#[test]
fn an_old_key_is_replaced_without_being_told_to() {
    run(async {
        let site = Site::new();
        {
            let mut registry = site.registry.lock().unwrap();
            registry.created = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(89 * 24);
            registry.max_age = Some(90 * 86_400);
        }
        let _gateway = site.start(&servers(&site));
        let file = site.profile_file();
        let running = Running::ready(&file).await;
        running.until(|_| secret_in(&file).as_bytes() != site.client.as_bytes()).await;
        let public = PublicKey::from(&secret_in(&file));
        running.until(|report| report.keys.fingerprint == Some(fingerprint(&public))).await;
        running.greets().await;
        assert_eq!(asked(&site, "/v1/keys"), 1);
    });
}

#[test]
fn a_post_quantum_key_is_agreed_and_agreed_anew_when_the_gateway_has_lost_it() {
    run(async {
        let site = Site::new();
        site.registry.lock().unwrap().interval = Some(3600);
        let gateway = site.start(&servers(&site));
        let file = site.profile_file();
        let running = Running::ready(&file).await;
        let first = running.until(|report| report.keys.post_quantum).await.keys.agreed.unwrap();
        running.greets().await;
        assert_eq!(asked(&site, "/v1/psk"), 1);

        drop(gateway);
        let _gateway = site.start(&servers(&site));
        running.until(|report| report.keys.agreed.is_some_and(|agreed| agreed > first)).await;
        running.greets().await;
        assert_eq!(asked(&site, "/v1/psk"), 2);
        assert_eq!(fs::read_to_string(&file).unwrap(), site.profile_text(), "it is never stored");
    });
}

#[test]
fn an_agreement_that_the_gateway_finds_too_early_is_made_up_for_and_nobody_is_told() {
    run(async {
        let site = Site::new();
        {
            let mut registry = site.registry.lock().unwrap();
            (registry.interval, registry.busy) = (Some(3600), 1);
        }
        let _gateway = site.start(&servers(&site));
        let mut running = Running::ready(&site.profile_file()).await;
        running.until(|report| report.keys.post_quantum).await;
        assert_eq!(asked(&site, "/v1/psk"), 2);
        while let Ok(event) = running.events.try_recv() {
            assert!(!matches!(event, Event::KeysNotChanged { .. }), "{event:?}");
        }
    });
}

#[test]
fn the_gateways_new_identity_is_moved_to_and_stored() {
    run(async {
        let site = Site::new();
        let new = StaticSecret::from(std::array::from_fn::<u8, 32, _>(|_| fastrand::u8(..)));
        {
            let mut registry = site.registry.lock().unwrap();
            registry.identities.insert(0, new.clone());
            registry.interval = Some(3600);
        }
        let gateway = site.start(&servers(&site));
        let file = site.profile_file();
        let running = Running::ready(&file).await;
        let public = PublicKey::from(&new);
        let moved = |report: &Report| report.keys.gateway_fingerprint == Some(fingerprint(&public));
        running.until(moved).await;
        running.until(|_| Profile::read(&file).unwrap().gateway == public).await;
        running.until(|report| report.keys.post_quantum).await;

        site.registry.lock().unwrap().identities.truncate(1);
        gateway.apply().await;
        running.greets().await;
        assert_eq!(beside(&file), ["alice.conf"]);
    });
}

/// What lies there when a shim was killed after each step, and what the next one makes of it.
#[test]
fn after_a_death_at_any_step_the_next_start_works() {
    for (step, gateway_knows_new) in [("next", false), ("next", true), ("stored", true), ("heard", true)] {
        run(async move {
            let site = Site::new();
            let gateway = site.start(&servers(&site));
            let file = site.profile_file();
            let (old, new) = rotated_text(&site);
            if gateway_knows_new {
                site.registry
                    .lock()
                    .unwrap()
                    .keys
                    .push((PublicKey::from(&StaticSecret::from([9; 32])), [8; 32]));
                gateway.apply().await;
            }
            let next = file.with_file_name("alice.conf.next");
            let previous = file.with_file_name("alice.conf.previous");
            match step {
                "next" => fs::write(&next, &new).unwrap(),
                _ => {
                    fs::write(&previous, &old).unwrap();
                    fs::write(&file, &new).unwrap();
                }
            }
            if step == "heard" {
                keep(&site, &gateway, |key| *key == PublicKey::from(&StaticSecret::from([9; 32]))).await;
            }

            let running = Running::ready(&file).await;

            running.until(|_| beside(&file) == ["alice.conf"]).await;
            running.greets().await;
            let expected = if step == "next" { old } else { new };
            assert_eq!(fs::read_to_string(&file).unwrap(), expected, "{step}");
        });
    }
}

#[test]
fn a_gateway_that_knows_the_previous_key_only_gets_a_new_one() {
    run(async {
        let site = Site::new();
        let _gateway = site.start(&servers(&site));
        let file = site.profile_file();
        let (old, new) = rotated_text(&site);
        fs::write(file.with_file_name("alice.conf.previous"), &old).unwrap();
        fs::write(&file, &new).unwrap();

        let running = Running::ready(&file).await;
        running.until(|_| beside(&file) == ["alice.conf"]).await;

        let secret = secret_in(&file);
        assert_ne!(secret.as_bytes(), site.client.as_bytes());
        assert_ne!(secret.as_bytes(), StaticSecret::from([9; 32]).as_bytes());
        running.greets().await;
    });
}

/// The profile, and what a rotation to the key of nines would have made of it.
fn rotated_text(site: &Site) -> (String, String) {
    use base64::Engine as _;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let old = site.profile_text();
    let secret = StaticSecret::from([9; 32]);
    let new = old
        .replace(&encode(site.client.as_bytes()), &encode(secret.as_bytes()))
        .replace(&encode(&site.preshared), &encode(&[8; 32]));
    (old, new)
}
