//! After a life with every kind of key, no secret is found where it does not belong: not in what was printed or recorded,
//! not in the database, not in a process's arguments, and retired ones not in the gateway's memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{Read, Seek, SeekFrom},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use vmsgate_tests::{
    process::capture,
    profile::Profile,
    require::can_run,
    shim::ShimClient,
    site::{self, Site},
    topology::Family,
};

const PASSPHRASE: &str = "correct horse battery staple";

#[test]
fn no_secret_is_found_in_output_records_database_arguments_or_after_retirement_in_memory() {
    let Some(mut site) = site() else { return };
    let client = ShimClient::up(&site, "anna-laptop", "smart-client").unwrap();
    let mut profiles = vec![read(&client)];
    capture(&mut client.shim(&["rotate"])).unwrap();
    profiles.push(read(&client));
    let identity = site.unsealed_identity().unwrap();
    assert!(in_memory(&mut site, &identity).is_some(), "the search finds what is there");
    capture(&mut site.keys(&["gateway", "rotate"])).unwrap();
    capture(&mut client.shim(&["rotate"])).unwrap();
    profiles.push(read(&client));
    capture(&mut site.keys(&["gateway", "retire", "--force"])).unwrap();

    // Retired: wiped from memory, within the time that every change of the registry has.
    let deadline = Instant::now() + Duration::from_secs(5);
    while let Some(place) = in_memory(&mut site, &identity) {
        assert!(Instant::now() < deadline, "the retired identity is in memory: {place}");
    }
    let arguments = fs::read_to_string(format!("/proc/{}/cmdline", site.gateway().unwrap().id())).unwrap()
        + &fs::read_to_string(format!("/proc/{}/cmdline", client.process().id())).unwrap();
    let printed = client.process().output();
    drop(client);
    let mut places = vec![("arguments", arguments.into_bytes()), ("the shim's output", printed.into_bytes())];
    places.push(("the audit log", capture(&mut site.vmsgate(&["audit", "export"])).unwrap().into_bytes()));
    places.push(("the gateway's output", site.stop().unwrap().into_bytes()));
    places.push(("the database", fs::read(site.data().join("vmsgate.db")).unwrap()));
    let mut secrets =
        vec![PASSPHRASE.as_bytes().to_vec(), identity.to_vec(), STANDARD.encode(*identity).into_bytes()];
    for name in ["PrivateKey", "PresharedKey"] {
        for profile in &profiles {
            let key = profile.key(name).unwrap();
            secrets.extend([key.to_vec(), STANDARD.encode(key).into_bytes()]);
        }
    }
    for (place, bytes) in &places {
        assert!(!bytes.is_empty(), "{place} is empty");
        for secret in &secrets {
            assert!(!contains(bytes, secret), "a secret is in {place}");
        }
    }
}

fn read(client: &ShimClient) -> Profile {
    Profile::new(fs::read_to_string(client.profile()).unwrap())
}

/// Where the gateway's memory, all of it that it can read, holds a secret.
fn in_memory(site: &mut Site, secret: &[u8; 32]) -> Option<String> {
    let id = site.gateway().unwrap().id();
    let maps = fs::read_to_string(format!("/proc/{id}/maps")).unwrap();
    let mut memory = fs::File::open(format!("/proc/{id}/mem")).unwrap();
    let readable = maps.lines().filter(|line| line.contains(" rw"));
    let mut looked_at = 0;
    for line in readable {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
        memory.seek(SeekFrom::Start(from)).unwrap();
        let mut bytes = Vec::new();
        // Some of it is not there to be read, or goes away meanwhile.
        let _ = (&memory).take(to - from).read_to_end(&mut bytes);
        looked_at += bytes.len();
        if let Some(offset) = bytes.windows(secret.len()).position(|window| window == secret) {
            return Some(format!("{offset:#x} into {line}"));
        }
    }
    assert!(looked_at > 1 << 20, "only {looked_at} bytes of memory");
    None
}

fn contains(bytes: &[u8], secret: &[u8]) -> bool {
    // By its first bytes: almost every place is left after one comparison.
    bytes.windows(secret.len()).any(|window| window == secret)
}

fn site() -> Option<Site> {
    can_run(&site::PROGRAMS).then(|| Site::start(Family::V4).unwrap())
}
