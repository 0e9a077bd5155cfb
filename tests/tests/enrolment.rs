//! A person with an invitation gets a profile whose private key nobody else ever had, and an invitation is good for
//! nothing else.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Child, Output, Stdio},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use vmsgate_exchange::{GATEWAY_ADDRESS, Token};
use vmsgate_tests::{
    curl,
    process::{InTime, capture},
    profile::Profile,
    require::can_run,
    shim::ShimMachine,
    site::{self, Site},
    stock::{self, StockClient},
    topology::{Family, PORT, Server, Topology},
    web::FILE_BYTES,
};

#[test]
fn an_invited_person_enrols_and_works_and_nobody_else_can_use_the_invitation_unseen() {
    let Some(site) = site() else { return };
    let token = invite(&site, "anna-laptop", &[]);
    let laptop = ShimMachine::new(&site, "anna").unwrap();
    let profile = enrolled(&laptop, &token);
    let client = laptop.up(profile, &[]).unwrap();
    let web = client.listens_for("mgmt", 80).unwrap();
    let fetched = curl::fetch(client.command("curl"), &format!("http://{web}/file")).unwrap();
    assert_eq!(fetched, (FILE_BYTES as u64, site.web.checksum.clone()));
    let export = capture(&mut site.vmsgate(&["audit", "export"])).unwrap();
    for act in ["client.invite", "client.enroll"] {
        assert!(export.contains(&format!("\"kind\":\"admin.{act}\"")), "{act}");
    }

    // Somebody has read the message with the token.
    let thief = ShimMachine::new(&site, "thief").unwrap();
    let refused = enrol(&thief, &token);
    let text = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(text.contains("used"), "{text}");
    assert!(!thief.path("anna-laptop.conf").exists());
    let shown = capture(&mut site.keys(&["client", "show", "anna-laptop"])).unwrap();
    assert!(shown.to_lowercase().contains("used twice"), "{shown}");
    let export = capture(&mut site.vmsgate(&["audit", "export"])).unwrap();
    assert!(export.contains("\"kind\":\"admin.client.invitation-reused\""), "not on record");
    // The one it was for is told as well, when the shim asks again (a rotation makes it ask), and is not disturbed.
    capture(&mut client.shim(&["rotate"])).unwrap();
    client.wait_for_warning("invitation").unwrap();
    let fetched = curl::fetch(client.command("curl"), &format!("http://{web}/file")).unwrap();
    assert_eq!(fetched, (FILE_BYTES as u64, site.web.checksum.clone()));
}

#[test]
fn a_damaged_an_expired_and_a_forged_invitation_are_told_apart_and_change_nothing() {
    let Some(site) = site() else { return };
    let token = invite(&site, "anna-laptop", &[]);
    let laptop = ShimMachine::new(&site, "anna").unwrap();
    let mut damaged = token.clone().into_bytes();
    damaged[20] = if damaged[20] == b'A' { b'B' } else { b'A' };
    let refused = enrol(&laptop, std::str::from_utf8(&damaged).unwrap());
    assert_refused(&refused, &["damaged"]);

    let expired = invite(&site, "bert-laptop", &["--valid", "1s"]);
    let ended = expired.parse::<Token>().unwrap().expires;
    while std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() <= ended {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_refused(&enrol(&laptop, &expired), &["expired"]);

    // Well made, by somebody who knows the gateway's key but was never invited.
    let genuine: Token = token.parse().unwrap();
    let seed = zeroize::Zeroizing::new([7; 32]);
    let forged =
        Token::new(genuine.gateway, genuine.endpoint, "anna-laptop".to_owned(), genuine.expires, seed);
    let forged = forged.unwrap();
    assert_refused(&enrol(&laptop, &forged.to_text()), &["does not answer"]);
    let denied = site.status().unwrap().totals.handshakes_rejected;
    assert!(denied.get("unknown-key").is_some_and(|count| *count > 0), "{denied:?}");

    // The genuine one still works.
    enrolled(&laptop, &token);
}

#[test]
fn an_invitation_s_tunnel_reaches_enrolment_and_nothing_else() {
    let Some(site) = site() else { return };
    let token: Token = invite(&site, "anna-laptop", &[]).parse().unwrap();
    let keys = token.keys();
    let key = |bytes: &[u8; 32]| STANDARD.encode(bytes);
    let profile = Profile::new(format!(
        "[Interface]\nPrivateKey = {}\nAddress = {}/128\n[Peer]\nPublicKey = {}\nPresharedKey = {}\nEndpoint = {}:{PORT}\n\
         AllowedIPs = {GATEWAY_ADDRESS}/128, 10.99.0.1/32, fd00:99::1/128, {}/32, {}/128\n",
        key(keys.secret.as_bytes()),
        keys.address(),
        key(token.gateway.as_bytes()),
        key(&keys.preshared),
        Topology::gateway_address(Family::V4),
        Server::Mgmt.v4(),
        Server::Mgmt.v6(),
    ));
    let client = StockClient::up(site.topology.add_client().unwrap(), &profile).unwrap();
    let status = |path: &str, more: &[&str]| {
        let url = format!("http://[{GATEWAY_ADDRESS}]{path}");
        let mut curl = client.command("curl");
        curl.args(["-sS", "--noproxy", "*", "-g", "-o", "/dev/null", "-w", "%{http_code}", "-m", "10"]);
        capture(curl.args(more).arg(url)).unwrap()
    };
    let json = ["-H", "content-type: application/json", "-d", "{}"];
    for (path, more) in [("/v1/profile", &[][..]), ("/v1/keys", &json), ("/v1/psk", &json)] {
        assert!(["403", "404"].contains(&status(path, more).as_str()), "{path}");
    }
    assert_eq!(status("/v1/enroll", &json), "400", "it answers there");
    let elsewhere = [
        SocketAddr::new(GATEWAY_ADDRESS.into(), 53),
        SocketAddr::new(GATEWAY_ADDRESS.into(), 22),
        SocketAddr::new(Server::Mgmt.v6().into(), 80),
        "[fd00:99::1]:53".parse().unwrap(),
    ];
    for address in elsewhere {
        let connect = || TcpStream::connect_timeout(&address, Duration::from_secs(3));
        client.host.namespace.run(connect).unwrap().unwrap_err();
    }
}

#[test]
fn an_enrolment_that_is_killed_anywhere_is_finished_by_doing_it_again() {
    let Some(site) = site() else { return };
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..10 {
        let name = format!("laptop-{round}");
        let token = invite(&site, &name, &[]);
        let laptop = ShimMachine::new(&site, &name).unwrap();
        for _ in 0..4 {
            let mut running = start(&laptop, &token);
            std::thread::sleep(Duration::from_millis(random.u64(0..400)));
            running.kill().unwrap();
            let ended = running.wait().unwrap();
            assert!(ended.success() || ended.signal().is_some(), "{ended}");
        }
        let profile = laptop.path(&format!("{name}.conf"));
        if !profile.exists() {
            enrolled(&laptop, &token);
        }
        let client = laptop.up(profile, &[]).unwrap();
        drop(client);
    }
}

fn invite(site: &Site, name: &str, more: &[&str]) -> String {
    let invite = ["client", "invite", name, "--role", "smart-client", "--operator", "Anna Berg"];
    let printed = capture(&mut site.keys(&[&invite[..], more].concat())).unwrap();
    printed.lines().find(|line| line.starts_with("vgi1-")).unwrap().to_owned()
}

fn start(machine: &ShimMachine, token: &str) -> Child {
    // Not as an argument: everybody on the machine could read it.
    let mut command = machine.shim(&["enroll", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may have been refused for another reason before it reads.
    let _ = writeln!(child.stdin.take().unwrap(), "{token}");
    child
}

fn enrol(machine: &ShimMachine, token: &str) -> Output {
    machine.shim(&["enroll", "-"]).output_given(token).unwrap()
}

fn enrolled(machine: &ShimMachine, token: &str) -> PathBuf {
    let output = enrol(machine, token);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    machine.path(&format!("{}.conf", token.parse::<Token>().unwrap().client))
}

fn assert_refused(output: &Output, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.starts_with("error: ") && text.contains("hint: "), "{text}");
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
}

fn site() -> Option<Site> {
    let programs = [&site::PROGRAMS[..], &stock::PROGRAMS, &["curl"]].concat();
    can_run(&programs).then(|| Site::start(Family::V4).unwrap())
}
