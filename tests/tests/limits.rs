//! A client comes up against the limits of its role: an export beside live video, and more connections than it may open.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{net::SocketAddr, time::Instant};

use serde_json::Value;
use vmsgate_tests::{
    curl::Download,
    process::capture,
    recording::RECORDER,
    require::can_run,
    site::{self, Site},
    stock,
    topology::{Family, Server},
};

/// Twice what the camera needs, a fifth of what the download would take.
const LIMIT_BYTES_PER_SECOND: f64 = 1_000_000.0;
const ROLE: &str = "\n[role.export]\nallow = [\"mgmt:management-server\", \"rec*:recording-server\"]\nbandwidth-down = \"8Mbit/s\"\n";

#[test]
fn an_export_stays_within_the_limit_of_the_role_and_live_video_beside_it_is_whole_and_both_are_on_record() {
    let programs = [&site::PROGRAMS[..], &stock::PROGRAMS, &["curl"]].concat();
    if !can_run(&programs) {
        return;
    }
    let mut site = Site::prepare(Family::V4).unwrap();
    site.configure(ROLE).unwrap();
    site.run().unwrap();
    let client = site.stock_client("anna-laptop", "export").unwrap();
    let export = Download::start(client.command("curl"), "http://192.168.10.10/steady").unwrap();
    // Past what a client may save up.
    export.wait_for(2_000_000).unwrap();
    let (began, before) = (Instant::now(), export.progress().bytes);
    let recorder = SocketAddr::new(Server::Rec01.v4().into(), RECORDER);
    site.clip.watch(client.command("ffmpeg"), &format!("tcp://{recorder}")).unwrap();
    let seconds = began.elapsed().as_secs_f64();
    let exported = (export.progress().bytes - before) as f64;
    let (video, film) = (site.clip.bytes().len() as f64, site.clip.frames() as f64 / 25.0);
    println!("{seconds:.1} s for a film of {film:.1} s, export {:.0} kB/s", exported / seconds / 1000.0);
    assert!(seconds < film + 3.0, "the video took {seconds:.1} s for {film:.1} s");
    let used = (exported + video) / seconds / LIMIT_BYTES_PER_SECOND;
    assert!((0.7..=1.03).contains(&used), "{:.0} % of the limit", used * 100.0);
    drop(export);

    site.stop().unwrap();
    let log = capture(&mut site.vmsgate(&["audit", "export"])).unwrap();
    let records: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let limited: Vec<&Value> = records.iter().filter(|record| record["kind"] == "session.limited").collect();
    // One a minute, and what was left at the end.
    assert!((1..=2).contains(&limited.len()), "{limited:?}");
    for record in limited {
        assert_eq!(record["session"]["client"], "anna-laptop", "{record}");
        assert_eq!(record["reason"], "bandwidth-down", "{record}");
        assert_eq!(record["rule"], "role export: bandwidth-down = 8Mbit/s", "{record}");
        assert!(record["count"].as_u64().unwrap() > 0, "{record}");
    }
    capture(&mut site.vmsgate(&["audit", "verify"])).unwrap();
}
