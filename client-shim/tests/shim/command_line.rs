//! The program as people and scripts see it: output, exit status, the status socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Server, Site, invite};
use serde_json::Value;

pub fn command(site: &Site, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmsgate-shim"));
    let runtime = site.folder().join("run");
    std::fs::create_dir_all(&runtime).unwrap();
    command.args(arguments).env("XDG_RUNTIME_DIR", runtime).env_remove("RUST_LOG");
    command
}

pub fn run(site: &Site, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command(site, arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().expect("it was not killed"), text(stdout), text(stderr))
}

/// A running `up`; killed when dropped.
pub struct Up(Child);

impl Up {
    /// Starts it, and returns when it has said where the servers are.
    pub fn start(site: &Site) -> (Self, String) {
        site.profile_file();
        Self::start_again(site)
    }

    /// The same with the profile that is there.
    fn start_again(site: &Site) -> (Self, String) {
        Self::start_with(site, &[])
    }

    /// The same with further arguments.
    pub fn start_with(site: &Site, arguments: &[&str]) -> (Self, String) {
        let profile = site.folder().join("alice.conf");
        let mut command = command(site, &["up", profile.to_str().unwrap(), "--log-format", "text"]);
        command.args(arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut up = Self(child);
        let mut lines = BufReader::new(up.0.stdout.as_mut().unwrap()).lines();
        let mut said = String::new();
        while !said.contains(" 7563 ") {
            said += &lines.next().expect("it goes on").unwrap();
            said.push('\n');
        }
        (up, said)
    }

    /// Asks it to end, as a service manager would.
    pub fn terminate(mut self) -> i32 {
        let status = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().unwrap();
        assert!(status.success());
        self.0.wait().unwrap().code().expect("it ends by itself")
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn servers(site: &Site) -> Vec<Server> {
    vec![site.server("rec", "192.168.10.21", 7563..=7563)]
}

#[test]
fn up_says_where_the_servers_are_and_the_other_commands_agree() {
    let site = Site::new();
    let _gateway = site.start(&servers(&site));
    let (up, said) = Up::start(&site);
    assert!(said.starts_with("ready: gw-test lets anna-laptop reach, as smart-client:\n"), "{said}");
    let (code, text, _) = run(&site, &["status"]);
    assert_eq!(code, 0);
    assert!(text.starts_with("state        connected since "), "{text}");
    assert!(text.contains("client       anna-laptop of Anna Berg, role smart-client\n"), "{text}");

    let (code, json, _) = run(&site, &["status", "alice.conf", "--json"]);
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &report["schema_version"], &report["state"]), (0, &1.into(), &"connected".into()));
    let name = site.name("rec");
    let here = report["servers"][0]["loopback"].as_str().unwrap();
    assert_eq!(report["servers"][0]["listeners"][0]["listen"], format!("{here}:7563"));
    let row = said.lines().find(|line| line.starts_with(&name)).unwrap();
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(cells, [name.as_str(), here, "7563", &format!("{name},"), &format!("{name}.vms.local")]);

    let (code, block, _) = run(&site, &["hosts"]);
    let expected =
        format!("# >>> vmsgate-shim alice\n{here:<15} {name} {name}.vms.local\n# <<< vmsgate-shim alice\n");
    assert_eq!((code, block), (0, expected));

    let socket = site.folder().join("run/vmsgate-shim/alice.sock");
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(up.terminate(), 0);
    assert!(!socket.exists());
}

#[test]
fn a_quiet_up_says_nothing_as_long_as_all_is_well() {
    let site = Site::new();
    let _gateway = site.start(&servers(&site));
    let mut command = command(&site, &["up", site.profile_file().to_str().unwrap(), "--quiet"]);
    let mut up = Up(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let deadline = Instant::now() + Duration::from_secs(60);
    // The servers are what it would tell of.
    while !run(&site, &["status", "--json"]).1.contains(&site.name("rec")) {
        assert!(Instant::now() < deadline && up.0.try_wait().unwrap().is_none(), "it does not connect");
    }
    let (stdout, stderr) = (up.0.stdout.take().unwrap(), up.0.stderr.take().unwrap());
    assert_eq!(up.terminate(), 0);
    let text = |stream: Box<dyn Read>| io::read_to_string(stream).unwrap();
    assert_eq!((text(Box::new(stdout)), text(Box::new(stderr))), (String::new(), String::new()));
}

#[test]
fn socks_mode_says_where_the_proxy_is_and_shows_its_password_when_asked() {
    let site = Site::new();
    let _gateway = site.start(&servers(&site));
    site.profile_file();
    let (_up, said) = Up::start_with(&site, &["--mode", "socks", "--socks-listen", "0"]);
    let (code, json, _) = run(&site, &["status", "--json"]);
    let report: Value = serde_json::from_str(&json).unwrap();
    let listen = report["proxy"]["listen"].as_str().unwrap();
    assert_eq!((code, &report["proxy"]["username"]), (0, &"vmsgate".into()));
    assert!(said.contains(&format!("proxy: SOCKS5 and HTTP at {listen}, user vmsgate\n")), "{said}");

    let (_, json, _) = run(&site, &["status", "--json", "--show-password"]);
    let report: Value = serde_json::from_str(&json).unwrap();
    let password = report["proxy"]["password"].as_str().unwrap();
    let (_, text, _) = run(&site, &["status", "--show-password"]);
    assert!(text.contains(&format!("password     {password}\n")), "{text}");
    let (_, text, _) = run(&site, &["status"]);
    assert!(!text.contains(password) && !said.contains(password), "{text}{said}");
    let (code, _, error) = run(&site, &["hosts"]);
    assert_eq!(
        (code, error.lines().next()),
        (1, Some("error: the running shim gives its servers no addresses of this machine"))
    );
}

#[test]
fn more_programs_than_the_proxy_has_room_for_are_turned_away() {
    let site = Site::new();
    let _gateway = site.start(&servers(&site));
    site.profile_file();
    let (_up, _) = Up::start_with(&site, &["--mode", "socks", "--socks-listen", "0", "--socks-no-password"]);
    let (_, json, _) = run(&site, &["status", "--json"]);
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["proxy"]["username"], Value::Null);
    let at = report["proxy"]["listen"].as_str().unwrap();
    let ask = || {
        let mut socket = TcpStream::connect(at).unwrap();
        let _ = socket.write_all(&[5, 1, 0]);
        let mut answer = Vec::new();
        let _ = socket.take(2).read_to_end(&mut answer);
        answer
    };

    let idle: Vec<_> = (0..512).map(|_| TcpStream::connect(at).unwrap()).collect();
    assert_eq!(ask(), b"");

    drop(idle);
    while ask() != b"\x05\x00" {}
}

#[test]
fn without_a_proxy_there_is_no_password_to_show() {
    let site = Site::new();
    let _gateway = site.start(&servers(&site));
    let (_up, _) = Up::start(&site);
    let (code, text, error) = run(&site, &["status", "--show-password"]);
    let expected =
        "error: the running shim is no proxy, so there is no password\n\nhint: start it with --mode socks\n";
    assert_eq!((code, text.as_str(), error.as_str()), (1, "", expected));
}

#[test]
fn one_profile_is_up_once() {
    let site = Site::new();
    let _gateway = site.start(&servers(&site));
    let (_up, _) = Up::start(&site);

    let (code, _, error) = run(&site, &["up", site.profile_file().to_str().unwrap()]);

    assert_eq!(code, 1);
    assert!(error.contains("error: the profile alice is already up\n"), "{error}");
    assert!(error.contains("hint: "), "{error}");
}

#[test]
fn a_killed_shim_is_not_in_the_way_of_the_next() {
    let site = Site::new();
    let _gateway = site.start(&servers(&site));
    drop(Up::start(&site));

    let (code, _, error) = run(&site, &["status"]);
    assert_eq!((code, error.as_str()), (1, NOT_RUNNING));
    Up::start(&site);
}

const NOT_RUNNING: &str = "error: no shim is running\n\nhint: start one: vmsgate-shim up PROFILE\n";

#[test]
fn without_a_running_shim_status_and_hosts_say_so() {
    let site = Site::new();
    for arguments in [&["status"][..], &["status", "--json"], &["hosts"]] {
        assert_eq!(run(&site, arguments), (1, String::new(), NOT_RUNNING.to_owned()));
    }
    let (code, _, error) = run(&site, &["status", "bob.conf"]);
    assert_eq!((code, error.lines().next()), (1, Some("error: no shim is running for the profile bob")));
}

#[test]
fn a_bad_profile_is_one_error_with_file_line_and_hint() {
    let site = Site::new();
    let path = site.profile_file();
    let text = site.profile_text().replace("PresharedKey", "PresharedKay");
    std::fs::write(&path, text).unwrap();

    let (code, output, error) = run(&site, &["up", path.to_str().unwrap()]);

    let expected = format!(
        "error: {}:7: unknown key `PresharedKay` in section `[Peer]`\n\nhint: did you mean `PresharedKey`?\n",
        path.display()
    );
    assert_eq!((code, output.as_str(), error), (1, "", expected));
}

#[test]
fn a_folder_that_is_not_ours_alone_is_not_used_and_the_tunnel_works() {
    let site = Site::new();
    let _gateway = site.start(&servers(&site));
    let folder = site.folder().join("run/vmsgate-shim");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();

    let (up, _) = Up::start(&site);

    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    assert_eq!(up.terminate(), 0);
}

#[test]
fn enroll_takes_the_invitation_from_standard_input_and_says_what_to_do_next() {
    let site = Site::new();
    let token = invite(&site);
    let _gateway = site.start(&servers(&site));
    let file = site.folder().join("anna-laptop.conf");
    let mut command = command(&site, &["enroll", "-"]);
    command.current_dir(site.folder()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{}", token.to_text().as_str()).unwrap();

    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();

    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(
        stdout.starts_with("anna-laptop of Anna Berg may use gw-test as smart-client, with the key "),
        "{stdout}"
    );
    assert_eq!(stderr, "hint: connect: vmsgate-shim up anna-laptop.conf\n");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let (code, json, _) = run(&site, &["enroll", &token.to_text(), "--out", "/nowhere/x.conf", "--json"]);
    assert_eq!((code, json.as_str()), (1, ""));
}

#[test]
fn an_invitation_that_is_none_is_told_without_being_repeated() {
    let site = Site::new();
    let mut damaged = invite(&site).to_text().to_string();
    damaged.replace_range(20..21, if &damaged[20..21] == "A" { "B" } else { "A" });
    let (code, output, error) = run(&site, &["enroll", &damaged, "--quiet"]);
    let expected = "error: the invitation is damaged: a character is missing, added or altered\n\n\
                    hint: copy the whole line again, or ask for a new invitation\n";
    assert_eq!((code, output.as_str(), error.as_str()), (1, "", expected));
}

#[test]
fn rotate_asks_the_running_shim_and_opens_the_tunnel_itself_where_none_runs() {
    let site = Site::new();
    let _gateway = site.start(&servers(&site));
    let profile = site.profile_file();
    let path = profile.to_str().unwrap();
    let (code, _, error) = run(&site, &["rotate"]);
    assert_eq!(
        (code, error.lines().last()),
        (1, Some("hint: name the profile's file: vmsgate-shim rotate PROFILE"))
    );

    let (code, output, error) = run(&site, &["rotate", path]);
    assert_eq!(code, 0, "{error}");
    assert!(output.starts_with("the key ") && output.ends_with(&format!(" in {path}\n")), "{output}");
    let first = std::fs::read_to_string(&profile).unwrap();
    assert_ne!(first, site.profile_text());

    let (up, _) = Up::start_again(&site);
    let (code, json, error) = run(&site, &["rotate", "--json"]);
    assert_eq!(code, 0, "{error}");
    let rotated: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&rotated["schema_version"], &rotated["file"]), (&1.into(), &path.into()));
    assert_ne!(std::fs::read_to_string(&profile).unwrap(), first);
    let (_, json, _) = run(&site, &["status", "--json"]);
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["keys"]["fingerprint"], rotated["after"]);
    let (_, text, _) = run(&site, &["status"]);
    assert!(text.contains(&format!("key          {}", rotated["after"].as_str().unwrap())), "{text}");
    assert!(text.contains("post-quantum no\n"), "{text}");
    assert_eq!(up.terminate(), 0);
}
