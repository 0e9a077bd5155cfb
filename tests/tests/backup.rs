//! A backup of a running gateway, restored where nothing is left: its clients go on with what they have.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, time::Instant};

use vmsgate_tests::{
    curl,
    process::{PATIENCE, capture},
    require::can_run,
    shim::ShimClient,
    site::{self, Site},
    topology::Family,
    web::FILE_BYTES,
};

#[test]
fn clients_of_a_lost_gateway_carry_on_with_the_restored_one_and_its_new_log_is_proven() {
    let programs = [&site::PROGRAMS[..], &["curl"]].concat();
    if !can_run(&programs) {
        return;
    }
    let mut site = Site::start(Family::V4).unwrap();
    // Its log is signed once it has stopped.
    site.stop().unwrap();
    site.run().unwrap();
    let client = ShimClient::up(&site, "anna-laptop", "smart-client").unwrap();
    let web = client.listens_for("mgmt", 80).unwrap();
    // A folder of the gateway's user, who makes the backup.
    let safe = site.make_private_folder("safe").unwrap();
    let backup = safe.join("vmsgate.backup").display().to_string();

    capture(&mut site.keys(&["backup", &backup])).unwrap();
    site.stop().unwrap();
    for file in fs::read_dir(site.data()).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    capture(&mut site.keys(&["restore", "--dry-run", &backup])).unwrap();
    capture(&mut site.keys(&["restore", &backup])).unwrap();
    site.run().unwrap();

    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut attempt = client.command("curl");
        attempt.args(["--max-time", "2", "--range", "0-99"]);
        match curl::fetch(attempt, &format!("http://{web}/file")) {
            Ok(_) => break,
            Err(error) => assert!(Instant::now() < deadline, "{error:#}"),
        }
    }
    let fetched = curl::fetch(client.command("curl"), &format!("http://{web}/file")).unwrap();
    assert_eq!(fetched, (FILE_BYTES as u64, site.web.checksum.clone()));
    site.stop().unwrap();
    let proven = capture(&mut site.vmsgate(&["audit", "verify"])).unwrap();
    assert!(proven.contains("proven, with the key"), "{proven}");
    let log = capture(&mut site.vmsgate(&["audit", "export"])).unwrap();
    let restored = log.lines().find(|line| line.contains("admin.registry.restore")).unwrap();
    for chain in ["admin", "gateway/gw-test"] {
        assert!(restored.contains(&format!("vmsgate-checkpoint 1 {chain} ")), "{chain}: {restored}");
    }
}
