//! The two questions about what must pass: does a file arrive whole, and does a stream play without a fault?
//! And an operator's work, which is both.

use std::{net::SocketAddr, process::Command, thread};

use anyhow::{Context, Result, ensure};

use crate::{
    curl,
    recording::RECORDER,
    site::Site,
    stock::StockClient,
    topology::{Family, Server},
    video::Clip,
    web::{FILE_BYTES, Web},
};

/// Files and video, over both families inside the tunnel.
///
/// # Errors
/// The first that does not arrive as it was sent.
pub fn an_operators_work(site: &Site, client: &StockClient) -> Result<()> {
    for inside in Family::BOTH {
        let web = SocketAddr::new(Server::Mgmt.address(inside), 80);
        files(&site.web, || client.command("curl"), &format!("http://{web}"))?;
    }
    let urls = Family::BOTH.map(|inside| stream_url(Server::Rec01, inside));
    streams(&site.clip, || client.command("ffmpeg"), &urls)
}

/// A wall of cameras: both recorders, over both families inside the tunnel.
///
/// # Errors
/// The first that loses a frame.
pub fn sixteen_streams(site: &Site, client: &StockClient) -> Result<()> {
    let urls: Vec<_> = [Server::Rec01, Server::Rec02]
        .iter()
        .flat_map(|server| Family::BOTH.map(|family| stream_url(*server, family)))
        .cycle()
        .take(16)
        .collect();
    streams(&site.clip, || client.command("ffmpeg"), &urls)
}

/// Downloads the shared file from the web server at `base` (`http://ADDRESS:PORT`), uploads it, and compares checksums.
///
/// # Errors
/// When curl fails or a checksum differs.
pub fn files(web: &Web, curl: impl Fn() -> Command, base: &str) -> Result<()> {
    let (length, checksum) = curl::fetch(curl(), &format!("{base}/file"))?;
    ensure!(
        length == FILE_BYTES as u64 && checksum == web.checksum,
        "{base}: {length} bytes came, SHA-256 {checksum}"
    );
    let name: String = base.chars().filter(char::is_ascii_alphanumeric).collect();
    curl::upload(curl(), &web.file(), &format!("{base}/upload/{name}"))?;
    let arrived = web.uploaded(&name)?;
    ensure!(arrived == web.checksum, "{base}: the upload arrived with SHA-256 {arrived}");
    Ok(())
}

/// Plays all of `urls` at the same time; every picture of each must be the one that was sent.
///
/// # Errors
/// The first stream with a fault.
pub fn streams(clip: &Clip, ffmpeg: impl Fn() -> Command, urls: &[String]) -> Result<()> {
    thread::scope(|scope| {
        let watching: Vec<_> = urls
            .iter()
            .map(|url| {
                let ffmpeg = ffmpeg();
                scope.spawn(move || clip.watch(ffmpeg, url))
            })
            .collect();
        watching.into_iter().try_for_each(|stream| stream.join().ok().context("a watcher panicked")?)
    })
}

fn stream_url(server: Server, family: Family) -> String {
    format!("tcp://{}", SocketAddr::new(server.address(family), RECORDER))
}
