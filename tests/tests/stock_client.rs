//! A stock WireGuard client (Debian's wireguard-go and `wg setconf`) does an operator's work through the gateway.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use vmsgate_tests::{
    carries,
    require::can_run,
    site::{self, Site},
    stock::{self, StockClient},
    topology::Family,
};

#[test]
fn over_ipv4_outside_files_and_video_arrive_whole_over_both_families_inside() {
    works_with(Family::V4);
}

#[test]
fn over_ipv6_outside_files_and_video_arrive_whole_over_both_families_inside() {
    works_with(Family::V6);
}

#[test]
fn sixteen_streams_at_once_play_without_a_lost_frame() {
    let Some((site, client)) = site_with_client(Family::V4) else { return };
    carries::sixteen_streams(&site, &client).unwrap();
}

fn works_with(outside: Family) {
    let Some((site, client)) = site_with_client(outside) else { return };
    carries::an_operators_work(&site, &client).unwrap();
}

fn site_with_client(outside: Family) -> Option<(Site, StockClient)> {
    let programs = [&site::PROGRAMS[..], &stock::PROGRAMS, &["curl"]].concat();
    can_run(&programs).then(|| {
        let site = Site::start(outside).unwrap();
        let client = site.stock_client("anna-laptop", "smart-client").unwrap();
        (site, client)
    })
}
