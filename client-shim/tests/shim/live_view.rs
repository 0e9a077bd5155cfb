//! `up` in a real terminal, with an emulator at its other end.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};

use crate::command_line::{command, servers};
use crate::support::Site;

/// Nothing but a failure waits this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A terminal of 80 by 24 with `up` in it.
struct Tty {
    child: Child,
    keyboard: File,
    output: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    /// Keeps the terminal's settings after the program has ended.
    slave: std::os::fd::OwnedFd,
}

impl Tty {
    fn up(site: &Site, environment: &[(&str, &str)]) -> Self {
        site.profile_file();
        Self::up_as_it_is(site, environment)
    }

    /// The same with the profile that is there.
    fn up_as_it_is(site: &Site, environment: &[(&str, &str)]) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        let profile = site.folder().join("alice.conf");
        let shim = command(site, &["up", profile.to_str().unwrap()]);
        // It makes the terminal the controlling one, and then becomes the program.
        let mut setsid = Command::new("setsid");
        setsid.arg("--ctty").arg(shim.get_program()).args(shim.get_args());
        setsid.env_remove("RUST_LOG").env("TERM", "xterm-256color").env_remove("NO_COLOR");
        setsid.envs(shim.get_envs().filter_map(|(name, value)| Some((name, value?))));
        setsid.envs(environment.iter().copied());
        let end = || pty.slave.try_clone().unwrap();
        let child = setsid.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let keyboard = File::from(pty.master);
        let mut display = keyboard.try_clone().unwrap();
        let (tell, output) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = display.read(&mut bytes) {
                if tell.send(bytes[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, keyboard, output, screen: vt100::Parser::new(24, 80, 1000), slave: pty.slave }
    }

    /// Waits until the screen shows a text.
    fn wait_for(&mut self, text: &str) {
        while !self.screen.screen().contents().contains(text) {
            let bytes = self.output.recv_timeout(PATIENCE);
            let bytes =
                bytes.unwrap_or_else(|_| panic!("no `{text}` in:\n{}", self.screen.screen().contents()));
            self.screen.process(&bytes);
        }
    }

    /// Waits for the program's end, and shows what it wrote until then.
    fn ended(&mut self) -> ExitStatus {
        let status = self.child.wait().unwrap();
        // What it wrote before is there already.
        writeln!(File::from(self.slave.try_clone().unwrap()), "<the end>").unwrap();
        self.wait_for("<the end>");
        status
    }

    fn is_restored(&self) -> bool {
        let screen = self.screen.screen();
        let flags = tcgetattr(&self.slave).unwrap().local_flags;
        let cooked = LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG;
        !screen.alternate_screen() && !screen.hide_cursor() && flags.contains(cooked)
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_view_appears_and_every_way_out_gives_the_terminal_back() {
    let site = Site::new();
    let _gateway = site.start(&servers(&site));
    for way_out in ["SIGTERM", "SIGHUP", "q", "\u{3}"] {
        let mut tty = Tty::up(&site, &[]);
        tty.wait_for("● connected");
        tty.wait_for("● echo 7563");
        tty.wait_for("Anna Berg, role smart-client, device anna-laptop");
        assert!(tty.screen.screen().alternate_screen() && tty.screen.screen().hide_cursor());
        match way_out {
            "SIGTERM" | "SIGHUP" => {
                let id = nix::unistd::Pid::from_raw(tty.child.id().try_into().unwrap());
                nix::sys::signal::kill(id, way_out.parse::<nix::sys::signal::Signal>().unwrap()).unwrap();
            }
            keys => tty.keyboard.write_all(keys.as_bytes()).unwrap(),
        }
        let status = tty.ended();
        assert!(status.success(), "{way_out:?}: {status}");
        assert!(tty.is_restored(), "{way_out:?}: {}", tty.screen.screen().contents());
        let left = tty.screen.screen().contents();
        assert!(left.starts_with("alice was up for ") && left.lines().count() == 2, "{way_out:?}: {left}");
    }
}

#[test]
fn what_is_wrong_before_the_view_is_told_in_lines() {
    let site = Site::new();
    let profile = site.profile_file();
    std::fs::write(&profile, site.profile_text().replace("PresharedKey", "PresharedKay")).unwrap();
    let mut tty = Tty::up_as_it_is(&site, &[]);
    let status = tty.ended();
    assert_eq!(status.code(), Some(1));
    assert!(tty.is_restored());
    assert!(tty.screen.screen().contents().contains("hint: did you mean `PresharedKey`?"));
}

#[test]
fn a_terminal_without_colour_gets_none() {
    let site = Site::new();
    let _gateway = site.start(&servers(&site));
    for (environment, coloured) in [(&[][..], true), (&[("NO_COLOR", "1")][..], false)] {
        let mut tty = Tty::up(&site, environment);
        tty.wait_for("● connected");
        let screen = tty.screen.screen();
        let cells = (0..24).flat_map(|row| (0..80).filter_map(move |column| screen.cell(row, column)));
        let found = cells
            .filter(|cell| cell.contents() == "●")
            .all(|cell| (cell.fgcolor() != vt100::Color::Default) == coloured);
        assert!(found, "{environment:?}");
    }
}
