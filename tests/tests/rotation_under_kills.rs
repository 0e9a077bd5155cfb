//! Whatever is killed in the middle of a rotation, and whenever: both sides recover without a person.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "the seed and the round belong to a failure")]

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use vmsgate_tests::{
    curl,
    process::{PATIENCE, capture},
    require::can_run,
    shim::{ShimClient, ShimMachine},
    site::{self, Site},
    topology::Family,
    web::FILE_BYTES,
};

/// Of each program.
const ROUNDS: usize = 8;

#[test]
fn a_shim_that_is_killed_anywhere_in_a_rotation_of_its_key_comes_back_by_itself() {
    let Some((site, mut random)) = site() else { return };
    let mut machine = machine(&site);
    let profile = machine.path("anna-laptop.conf");
    for round in 0..ROUNDS {
        let client = machine.up(profile.clone(), &[]).unwrap();
        let mut rotating =
            client.shim(&["rotate"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(random.u64(0..300)));
        machine = client.kill().unwrap();
        rotating.wait().unwrap();
        // Also while it is not running.
        killed(machine.shim(&["rotate"]).arg(&profile), random.u64(0..1000));
        println!("round {round}");
    }
    works(&site, machine, profile);
}

#[test]
fn a_gateway_that_is_killed_anywhere_in_a_rotation_of_either_side_comes_back_by_itself() {
    let Some((mut site, mut random)) = site() else { return };
    let machine = machine(&site);
    let profile = machine.path("anna-laptop.conf");
    let client = machine.up(profile.clone(), &[]).unwrap();
    for round in 0..ROUNDS {
        // Each is killed while it does its part of the change.
        for change in [
            client.shim(&["rotate"]),
            site.keys(&["gateway", "rotate"]),
            // Moves the shim, which asks again for what the gateway tells when its own key has changed.
            client.shim(&["rotate"]),
        ] {
            killed_during(&mut site, change, random.u64(0..300));
            client.wait_until_connected().unwrap();
        }
        rotate(&client);
        site.wait_until_everybody_moved(PATIENCE).unwrap();
        let retire = site.keys(&["gateway", "retire"]);
        killed_during(&mut site, retire, random.u64(0..300));
        client.wait_until_connected().unwrap();
        println!("round {round}");
    }
    let machine = client.kill().unwrap();
    works(&site, machine, profile);
}

#[test]
fn a_command_that_is_killed_anywhere_has_done_everything_or_nothing() {
    let Some((site, mut random)) = site() else { return };
    let machine = machine(&site);
    let profile = machine.path("anna-laptop.conf");
    let client = machine.up(profile.clone(), &[]).unwrap();
    for round in 0..ROUNDS {
        killed(&mut site.keys(&["gateway", "rotate"]), random.u64(0..600));
        client.wait_until_connected().unwrap();
        // Only once everybody has moved; killed before that is as good as not begun.
        killed(&mut site.keys(&["gateway", "retire"]), random.u64(0..600));
        let state = capture(&mut site.keys(&["gateway", "status", "--json"])).unwrap();
        let state: serde_json::Value = serde_json::from_str(&state).unwrap();
        let active = state["identities"].as_array().unwrap().iter();
        assert_eq!(active.filter(|identity| identity["state"] == "active").count(), 1, "{state:#}");
        println!("round {round}");
    }
    capture(&mut site.vmsgate(&["audit", "verify"])).unwrap();
    let machine = client.kill().unwrap();
    works(&site, machine, profile);
}

fn killed(command: &mut Command, after_ms: u64) {
    let mut running = quietly(command).spawn().unwrap();
    thread::sleep(Duration::from_millis(after_ms));
    let _ = running.kill();
    running.wait().unwrap();
}

/// Kills the gateway so long after `command` began, and starts it again.
fn killed_during(site: &mut Site, mut command: Command, after_ms: u64) {
    let mut running = quietly(&mut command).spawn().unwrap();
    thread::sleep(Duration::from_millis(after_ms));
    site.kill().unwrap();
    site.run().unwrap();
    running.wait().unwrap();
}

fn quietly(command: &mut Command) -> &mut Command {
    command.stdout(Stdio::null()).stderr(Stdio::null())
}

/// Replaces the client's key; a gateway lets five through in ten seconds and then asks to wait.
fn rotate(client: &ShimClient) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = capture(&mut client.shim(&["rotate"])) {
        assert!(format!("{error:#}").contains("too often"), "{error:#}");
        assert!(Instant::now() < deadline, "{error:#}");
        thread::sleep(Duration::from_secs(1));
    }
}

fn works(site: &Site, machine: ShimMachine, profile: PathBuf) {
    let client = machine.up(profile, &[]).unwrap();
    rotate(&client);
    let web = client.listens_for("mgmt", 80).unwrap();
    let fetched = curl::fetch(client.command("curl"), &format!("http://{web}/file")).unwrap();
    assert_eq!(fetched, (FILE_BYTES as u64, site.web.checksum.clone()));
    capture(&mut site.vmsgate(&["audit", "verify"])).unwrap();
}

/// A machine with the profile of a new client.
fn machine(site: &Site) -> ShimMachine {
    let profile = site.add_client("anna-laptop", "smart-client").unwrap();
    let machine = ShimMachine::new(site, "anna").unwrap();
    machine.take(&profile, "anna-laptop").unwrap();
    machine
}

fn site() -> Option<(Site, fastrand::Rng)> {
    let programs = [&site::PROGRAMS[..], &["curl"]].concat();
    can_run(&programs).then(|| {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        (Site::start(Family::V4).unwrap(), fastrand::Rng::with_seed(seed))
    })
}
