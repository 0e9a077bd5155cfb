//! A statically linked program finds names in the hosts file and by DNS, and loads nothing of the machine's C library,
//! which would crash it where that is of another version.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    net::{Ipv4Addr, UdpSocket},
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
};

use vmsgate_tests::{checkout, netns::Netns, process::capture, require::can_run};

/// What the service that must not be loaded ends its program with.
const LOADED: i32 = 99;
/// What every name is, to the DNS server.
const BY_DNS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 53);

#[test]
fn a_static_program_finds_names_with_what_is_linked_into_it() {
    if !can_run(&["rustc", "gcc", "unshare", "mount"]) {
        return;
    }
    let machine = Machine::new();
    let output = machine.resolve("gw.example", "as-the-machine-says");
    assert_eq!(output.status.code(), Some(LOADED), "the other service is not asked here: {output:?}");

    for (name, address) in [("gw.example", "192.0.2.7"), ("vpn.example.org", &BY_DNS.to_string())] {
        let output = machine.resolve(name, "linked");
        assert!(output.status.success(), "{name}: {output:?}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{address}\n"), "{name}");
    }
}

/// A machine whose `/etc/nsswitch.conf` names a service that must not be loaded.
struct Machine {
    namespace: Netns,
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("nsswitch.conf"), "hosts: canary files dns\n").unwrap();
        fs::write(path("hosts"), "192.0.2.7 gw.example\n").unwrap();
        fs::write(path("resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
        let service = format!(
            "void _exit(int); __attribute__((constructor)) static void loaded(void) {{ _exit({LOADED}); }}"
        );
        fs::write(path("canary.c"), service).unwrap();
        let (canary, library) = (path("canary.c"), path("libnss_canary.so.2"));
        capture(Command::new("gcc").args(["-shared", "-fPIC", "-o"]).args([library, canary])).unwrap();
        compile(folder.path());

        let namespace = Netns::create("names").unwrap();
        let dns = namespace.run(|| UdpSocket::bind("127.0.0.1:53")).unwrap().unwrap();
        thread::spawn(move || answer(&dns));
        Self { namespace, folder }
    }

    fn resolve(&self, name: &str, with: &str) -> Output {
        let script =
            "for file in nsswitch.conf hosts resolv.conf; do mount --bind $file /etc/$file || exit 98; done
                      LD_LIBRARY_PATH=$PWD exec ./resolve \"$@\"";
        let mut command = self.namespace.command("unshare");
        command.args(["--mount", "--", "/bin/sh", "-c", script, "sh", name, with]);
        command.current_dir(self.folder.path()).output().unwrap()
    }
}

/// A static program that asks for a name as the products do: with the crate under test, or without it.
fn compile(folder: &Path) {
    let program = "fn main() {
        let arguments: Vec<String> = std::env::args().collect();
        if arguments[2] == \"linked\" {
            vmsgate_nss::use_linked_services().unwrap();
        }
        for address in std::net::ToSocketAddrs::to_socket_addrs(&(arguments[1].as_str(), 51820)).unwrap() {
            println!(\"{}\", address.ip());
        }
    }";
    fs::write(folder.join("resolve.rs"), program).unwrap();
    let library = checkout().join("crates/nss/src/lib.rs");
    rustc(folder, &["--crate-type", "rlib", "--crate-name", "vmsgate_nss"], &library);
    rustc(folder, &["--extern", "vmsgate_nss=libvmsgate_nss.rlib"], &PathBuf::from("resolve.rs"));
}

fn rustc(folder: &Path, arguments: &[&str], source: &Path) {
    // In this folder rustup would not know which toolchain the project wants.
    let toolchain = capture(Command::new("rustc").args(["--print", "sysroot"])).unwrap();
    let mut rustc = Command::new(Path::new(toolchain.trim()).join("bin/rustc"));
    rustc.args(["--edition", "2024", "-C", "target-feature=+crt-static"]).args(arguments).arg(source);
    capture(rustc.current_dir(folder)).unwrap();
}

/// A DNS server that knows every name's IPv4 address, and that it has no other.
fn answer(socket: &UdpSocket) {
    let mut query = [0; 512];
    while let Ok((length, client)) = socket.recv_from(&mut query) {
        let Some(question) = query.get(..length).and_then(|query| Some((query, query.get(12..)?))) else {
            return;
        };
        let (query, question) = question;
        let name_ends = question.iter().position(|byte| *byte == 0).unwrap();
        let question = &question[..name_ends + 5];
        let is_address = question[name_ends + 1..name_ends + 3] == [0, 1];
        // RFC 1035 4.1: identifier, a response without an error, one question, and an answer if there is one.
        let mut reply = query[..2].to_vec();
        reply.extend([0x81, 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0]);
        reply.extend(question);
        if is_address {
            reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            reply.extend(BY_DNS.octets());
        }
        socket.send_to(&reply, client).unwrap();
    }
}
