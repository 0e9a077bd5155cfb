//! `vmsgate top` in a real terminal, with an emulator at its other end, beside a gateway with a client.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::File,
    io::{Read, Write},
    process::{Child, Command},
    sync::mpsc::{self, Receiver},
    thread,
};

use nix::pty::{Winsize, openpty};
use vmsgate_tests::{
    curl::{self, Download},
    process::{PATIENCE, capture},
    product::Session,
    require::can_run,
    site::{self, Site},
    stock,
    topology::Family,
};

const ROWS: u16 = 40;
const COLUMNS: u16 = 130;

#[test]
fn a_client_is_seen_at_work_and_refused_looked_at_and_cut_off_with_a_reason() {
    let programs = [&site::PROGRAMS[..], &stock::PROGRAMS, &["curl", "setsid"]].concat();
    if !can_run(&programs) {
        return;
    }
    let site = Site::start(Family::V4).unwrap();
    let client = site.stock_client("anna-laptop", "smart-client").unwrap();
    let download = Download::start(client.command("curl"), "http://192.168.10.10/steady").unwrap();
    download.wait_for(100_000).unwrap();
    curl::fetch(client.command("curl"), "http://192.168.10.10:1433/").unwrap_err();

    let mut tty = Tty::run(site.vmsgate(&["top"]));
    tty.wait_for("1 of 1 clients");
    tty.wait_for("Operator of anna-la…");
    // The stream's rate, of the client and of its server; then the denial, with who and what.
    tty.wait_until("a rate of both", |screen| {
        let rate = |start: &str| screen.lines().any(|line| line.starts_with(start) && line.contains("bit/s"));
        rate("anna-laptop") && rate("mgmt")
    });
    tty.wait_for(
        "anna-laptop (Operator of anna-laptop): tcp/1433 on mgmt (192.168.10.10), 1 times: never-exposed",
    );
    tty.type_in("\r");
    tty.wait_for("tcp/80 on mgmt (192.168.10.10)");
    tty.type_in("cthe laptop was stolen\r");
    tty.wait_for("anna-laptop is suspended");
    tty.wait_for("anna-laptop is not connected");
    tty.type_in("\x1b");
    // Both keys at once would be another one.
    tty.wait_for("q ends");
    tty.wait_for("0 of 1 clients");
    tty.type_in("q");
    assert!(tty.child.wait().unwrap().success());

    let sessions: Vec<Session> = site.records("sessions", &[]).unwrap();
    assert_eq!(sessions[0].reason.as_deref(), Some("suspended"));
    let log = capture(&mut site.vmsgate(&["audit", "export"])).unwrap();
    let of_kind = |kind: &str| -> Vec<&str> {
        log.lines().filter(|line| line.contains(&format!("\"kind\":\"{kind}\""))).collect()
    };
    let [suspended] = of_kind("admin.client.suspend")[..] else { panic!("{log}") };
    assert!(suspended.contains("the laptop was stolen"), "{suspended}");
    assert_eq!(of_kind("admin.client.cut").len(), 1);
    let read: Vec<_> =
        of_kind("admin.audit.read").into_iter().filter(|line| line.contains("\"top\"")).collect();
    assert_eq!(read.len(), 3, "the view, the client, and the view again: {read:#?}");
}

/// A terminal with a program in it.
struct Tty {
    child: Child,
    keyboard: File,
    output: Receiver<Vec<u8>>,
    screen: vt100::Parser,
}

impl Tty {
    fn run(program: Command) -> Self {
        let size = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        // It makes the terminal the controlling one, and then becomes the program.
        let mut setsid = Command::new("setsid");
        setsid.arg("--ctty").arg(program.get_program()).args(program.get_args());
        setsid.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        setsid.env("TERM", "xterm-256color").current_dir("/");
        let end = || pty.slave.try_clone().unwrap();
        let child = setsid.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let keyboard = File::from(pty.master);
        let mut display = keyboard.try_clone().unwrap();
        let (tell, output) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = display.read(&mut bytes) {
                if tell.send(bytes[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, keyboard, output, screen: vt100::Parser::new(ROWS, COLUMNS, 0) }
    }

    fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    fn wait_for(&mut self, text: &str) {
        self.wait_until(text, |screen| screen.contains(text));
    }

    fn wait_until(&mut self, what: &str, shown: impl Fn(&str) -> bool) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while !shown(&self.screen.screen().contents()) {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            let bytes = self.output.recv_timeout(left);
            let screen = self.screen.screen().contents();
            self.screen.process(&bytes.unwrap_or_else(|_| panic!("no `{what}` in:\n{screen}")));
        }
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
