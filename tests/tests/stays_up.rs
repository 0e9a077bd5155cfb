//! Sixteen H.264 streams play for a minute through the shim over a bad path, on which everything happens that happens to a
//! laptop: loss, delay, changes of address, a black-out, and a restart of the gateway.
//!
//! What "every stream finishes with the right pictures" can mean: a TCP connection survives all of it but the restart. Flows
//! live in the gateway's memory, with either egress, and what belongs to none is reset at once; so no player can finish on the
//! connection that it began with. A player that resumes can: here ffmpeg's own `-reconnect`, which asks the web server for the
//! rest by its byte range. The test is strict about everything else: each stream shows all its pictures, each once, in order,
//! and bit for bit the one that was sent, and neither demuxer nor decoder has a complaint.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::{SocketAddr, UdpSocket},
    process::Command,
    sync::{Mutex, mpsc},
    thread,
    time::Duration,
};

use vmsgate_tests::{
    binaries,
    relay::{Path, Relay},
    require::can_run,
    shim::ShimClient,
    site::{self, Site},
    topology::{Family, PORT, Topology},
    video::{self, Clip},
};

const STREAMS: usize = 16;
/// In each direction: 60 ms more for a round trip.
const DELAY: Duration = Duration::from_millis(30);
const LOSS: f64 = 0.01;
const BLACKOUT: Duration = Duration::from_secs(8);

#[test]
fn sixteen_streams_play_a_minute_whole_whatever_happens_to_the_way() {
    if !can_run(&site::PROGRAMS) {
        return;
    }
    let mut site = Site::start(Family::V4).unwrap();
    let film = Clip::make(&binaries::cache().unwrap(), video::MINUTE).unwrap();
    site.web.show(&film).unwrap();
    let relay = relay(&site.topology);
    let profile = site.add_client("anna", "smart-client").unwrap().through(relay.address());
    let client = ShimClient::up_with(&site, &profile, "anna", &[]).unwrap();
    let url = format!("http://{}/film", client.listens_for("mgmt", 80).unwrap());

    let (tell, progress) = mpsc::channel();
    thread::scope(|scope| {
        let watching: Vec<_> = (0..STREAMS)
            .map(|stream| {
                let (player, tell) = (player(&client), tell.clone());
                let (film, url) = (&film, &url);
                scope.spawn(move || {
                    film.watch_along(player, url, |pictures| {
                        // Whoever listened has seen all that it wanted.
                        let _ = tell.send((stream, pictures));
                    })
                })
            })
            .collect();
        drop(tell);
        // Every stream has shown so many seconds of it.
        let mut shown = [0; STREAMS];
        let mut until = |seconds: usize| {
            while shown.iter().any(|pictures| *pictures < seconds * 25) {
                let Ok((stream, pictures)) = progress.recv() else { return };
                shown[stream] = pictures;
            }
        };

        until(8);
        relay.change_address().unwrap();
        until(16);
        relay.set_blackout(true);
        thread::sleep(BLACKOUT);
        relay.set_blackout(false);
        until(30);
        site.stop().unwrap();
        site.run().unwrap();
        until(44);
        relay.change_address().unwrap();

        for stream in watching {
            stream.join().unwrap().unwrap();
        }
    });
    let (lost, carried) = relay.counts();
    assert!(lost > 0 && carried > 0, "the path was as bad as it should be: {lost} lost of {carried}");
    client.wait_until_connected().unwrap();
}

/// A player that goes on where it was when a connection breaks.
fn player(client: &ShimClient) -> Command {
    let mut ffmpeg = client.command("ffmpeg");
    ffmpeg.args(["-reconnect", "1", "-reconnect_on_network_error", "1", "-reconnect_delay_max", "60"]);
    ffmpeg
}

/// The bad path between the client and the gateway, with a socket for each address that it will have.
fn relay(topology: &Topology) -> Relay {
    let bind = |address: &'static str| topology.internet.run(|| UdpSocket::bind(address)).unwrap();
    let inner = bind("198.51.100.1:4500").unwrap();
    let spare = Mutex::new((0..3).map(|_| bind("0.0.0.0:0").unwrap()).collect::<Vec<_>>());
    let open = move || spare.lock().unwrap().pop().ok_or_else(|| std::io::Error::other("no more sockets"));
    let gateway = SocketAddr::new(Topology::gateway_address(Family::V4), PORT);
    Relay::start(inner, gateway, Box::new(open), Path { delay: DELAY, loss: LOSS, seed: 16 }).unwrap()
}
