//! `vmsgate-shim up --mode socks`: programs that know nothing of Vmsgate reach the site by name through its proxy.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::fs::chown,
    path::PathBuf,
    process::{Command, Output},
    thread,
};

use vmsgate_tests::{
    carries,
    process::{InTime, PATIENCE, User, capture},
    product::ShimProxy,
    recording::RECORDER,
    require::can_run,
    shim::ShimClient,
    site::{self, Site},
    topology::{Family, Server},
};

/// Without a sandbox, which needs rights that a test has not, and without what asks the internet by itself.
const CHROMIUM: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
];

/// A client in SOCKS mode.
struct Client {
    client: ShimClient,
    proxy: ShimProxy,
}

#[test]
fn curl_reaches_the_web_server_by_name_over_each_protocol_of_the_proxy() {
    let Some(site) = site(&["curl"]) else { return };
    let client = Client::up(&site, &[]);
    for (proxy, more, host) in
        [("socks5h", None, "mgmt"), ("http", None, "mgmt.vms.local"), ("http", Some("--proxytunnel"), "mgmt")]
    {
        let curl = || {
            let mut curl = client.curl(&client.proxy(proxy));
            curl.args(more);
            curl
        };
        carries::files(&site.web, curl, &format!("http://{host}")).unwrap();
    }
}

#[test]
fn without_the_password_and_outside_the_role_there_is_nothing_and_it_is_said_why() {
    let Some(site) = site(&["curl", "nmap", "proxychains4"]) else { return };
    let client = Client::up(&site, &[]);
    for (proxy, url, expected) in [
        (format!("socks5h://vmsgate:wrong@{}", client.proxy.listen), "http://mgmt/file", "User was rejected"),
        (
            format!("socks5h://{}", client.proxy.listen),
            "http://mgmt/file",
            "No authentication method was acceptable",
        ),
        (format!("http://{}", client.proxy.listen), "http://mgmt/file", "error: 407"),
        (client.proxy("socks5h"), "http://mgmt:1433/", "Can't complete SOCKS5 connection to mgmt. (2)"),
        (client.proxy("socks5h"), "http://sql/", "Can't complete SOCKS5 connection to sql. (4)"),
        (client.proxy("socks5h"), "http://localhost/", "Can't complete SOCKS5 connection to localhost. (4)"),
        (client.proxy("http"), "http://mgmt:1433/", "error: 403"),
        (client.proxy("http"), "http://sql/", "error: 403"),
    ] {
        let mut curl = client.curl(&proxy);
        let output = curl
            .args(["--silent", "--show-error", "--fail", "--noproxy", ""])
            .arg(url)
            .output_in_time()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && output.stdout.is_empty(), "{url}: {output:?}");
        assert!(error.contains(expected), "{url}: {error}");
    }
    let mut curl = client.curl(&client.proxy("http"));
    let text = capture(curl.args(["--silent", "--noproxy", "", "http://sql/"])).unwrap();
    assert_eq!(text, "the gateway offers you no server `sql`; it offers mgmt, rec01, rec02\n");

    let ports = "22,80,135,443,445,1433,3389,5432,8080,22331";
    let mut nmap = client.chained("nmap");
    nmap.args([
        "--unprivileged",
        "-n",
        "-Pn",
        "-sT",
        "-oG",
        "-",
        "-p",
        ports,
        &Server::Mgmt.v4().to_string(),
    ]);
    let found = capture(&mut nmap).unwrap();
    let words = found.split([' ', ',', '\t']).filter(|word| word.split('/').nth(1) == Some("open"));
    let open: Vec<&str> = words.filter_map(|word| word.split('/').next()).collect();
    assert_eq!(open, ["80", "443", "22331"], "{found}");
    let arrivals = site.recording.arrivals();
    assert!(arrivals.iter().all(|arrival| [443, 22_331].contains(&arrival.to.port())), "{arrivals:?}");
}

#[test]
fn ffmpeg_plays_recorders_by_name_through_proxychains() {
    let Some(site) = site(&["proxychains4"]) else { return };
    let client = Client::up(&site, &[]);
    let urls: Vec<_> =
        ["rec01", "rec02"].iter().cycle().take(4).map(|name| format!("tcp://{name}:{RECORDER}")).collect();
    carries::streams(&site.clip, || client.chained("ffmpeg"), &urls).unwrap();
}

#[test]
fn a_browser_shows_the_web_client_of_a_server_by_name() {
    let Some(site) = site(&["chromium"]) else { return };
    let web = site.folder().join("web");
    // A page that is only right when its script and the data of that have come too.
    let page = "<!doctype html><title>client</title><p id=cameras>loading</p><script src=client.js></script>";
    let script = "const request = new XMLHttpRequest(); request.open('GET', '/cameras.txt', false); request.send();
        document.getElementById('cameras').textContent = location.host + ' has ' + request.responseText.trim();";
    for (name, content) in [("client.html", page), ("client.js", script), ("cameras.txt", "16 cameras\n")] {
        fs::write(web.join(name), content).unwrap();
    }
    let client = Client::up(&site, &["--socks-no-password"]);
    for (scheme, host) in [("socks5", "mgmt"), ("http", "mgmt.vms.local")] {
        let home = client.client.machine.path(&format!("browser-{scheme}"));
        fs::create_dir(&home).unwrap();
        chown(&home, Some(User::Client.uid()), Some(User::Client.uid())).unwrap();
        let mut chromium = client.client.command("chromium");
        chromium.args(CHROMIUM).env("HOME", &home);
        chromium.arg(format!("--user-data-dir={}", home.display()));
        chromium.arg(format!("--proxy-server={}", client.proxy(scheme)));
        let shown = capture(chromium.args(["--dump-dom", &format!("http://{host}/client.html")])).unwrap();
        assert!(shown.contains(&format!("<p id=\"cameras\">{host} has 16 cameras</p>")), "{shown}");
    }
}

#[test]
fn datagrams_reach_a_server_by_name_and_none_that_the_role_has_not() {
    if !can_run(&site::PROGRAMS) {
        return;
    }
    let mut site = Site::prepare(Family::V4).unwrap();
    site.configure(
        "
[[server]]
name = \"intercom\"
address = \"192.168.10.30\"
services = [\"audio\"]

[service.audio]
udp = [5004]

[role.guard]
allow = [\"intercom:audio\", \"mgmt:management-server\"]
",
    )
    .unwrap();
    let recording = &site.topology.recording;
    recording.ip("addr add 192.168.10.30/24 dev eth0").unwrap();
    let intercom = recording.run(|| UdpSocket::bind("192.168.10.30:5004")).unwrap().unwrap();
    thread::spawn(move || {
        let mut datagram = [0; 2048];
        while let Ok((length, from)) = intercom.recv_from(&mut datagram) {
            let _ = intercom.send_to(&datagram[..length], from);
        }
    });
    site.run().unwrap();
    let client = Client::up_as(&site, "guard", &["--socks-no-password"]);
    let home = &client.client.machine.host.namespace;
    let opened =
        home.run(|| (TcpStream::connect(client.proxy.listen), UdpSocket::bind("127.0.0.1:0"))).unwrap();
    let (mut control, program) = (opened.0.unwrap(), opened.1.unwrap());
    control.write_all(&[5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
    let mut answer = [0; 12];
    control.read_exact(&mut answer).unwrap();
    let [5, 0, 5, 0, 0, 1, 127, 0, 0, 1, high, low] = answer else { panic!("{answer:?}") };
    program.connect(("127.0.0.1", u16::from_be_bytes([high, low]))).unwrap();
    program.set_read_timeout(Some(PATIENCE)).unwrap();

    // Refused: another port of the server, another server, and a name that there is not.
    for refused in [
        &b"\0\0\0\x03\x08intercom\0\xa1"[..],
        b"\0\0\0\x01\xc0\xa8\x0a\x15\0\xa1",
        b"\0\0\0\x03\x03sql\0\xa1",
    ] {
        program.send(&[refused, b"refused"].concat()).unwrap();
    }
    for number in 0..50_u8 {
        program.send(&[&b"\0\0\0\x03\x08intercom\x13\x8c"[..], &[number; 1000]].concat()).unwrap();
        let mut datagram = [0; 2048];
        let length = program.recv(&mut datagram).unwrap();
        let expected = [&b"\0\0\0\x01\xc0\xa8\x0a\x1e\x13\x8c"[..], &[number; 1000]].concat();
        assert!(datagram[..length] == expected, "datagram {number}: {:?}", &datagram[..length.min(20)]);
    }
    assert!(site.recording.arrivals().iter().all(|arrival| !arrival.udp), "{:?}", site.recording.arrivals());
}

#[test]
fn a_home_network_with_the_servers_addresses_is_not_in_the_way() {
    let Some(site) = site(&["curl"]) else { return };
    let client = Client::up(&site, &["--socks-no-password"]);
    let server = Server::Mgmt.v4();
    let home = &client.client.machine.host.namespace;
    home.ip(&format!("addr add {server}/24 dev lo")).unwrap();
    let printer = home.run(|| TcpListener::bind((server, 80))).unwrap().unwrap();
    thread::spawn(move || {
        for mut stream in printer.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nthe printer at home\n");
        }
    });
    let mut direct = client.client.command("curl");
    let direct = capture(direct.args(["--silent", "--noproxy", "*", &format!("http://{server}/")])).unwrap();
    assert_eq!(direct, "the printer at home\n");
    for proxy in ["socks5", "http"] {
        carries::files(&site.web, || client.curl(&client.proxy(proxy)), &format!("http://{server}")).unwrap();
    }
}

#[test]
fn the_password_is_shown_to_its_user_alone() {
    let Some(site) = site(&[]) else { return };
    let client = Client::up(&site, &["-vv"]);
    let password = client.proxy.password.as_deref().unwrap();
    let id = client.client.process().id();
    let shown = [
        String::from_utf8_lossy(&fs::read(format!("/proc/{id}/cmdline")).unwrap()).into_owned(),
        String::from_utf8_lossy(&fs::read(format!("/proc/{id}/environ")).unwrap()).into_owned(),
        capture(&mut client.client.shim(&["status"])).unwrap(),
        capture(&mut client.client.shim(&["status", "--json"])).unwrap(),
        client.client.process().output(),
    ];
    for text in &shown {
        assert!(!text.contains(password), "{text}");
    }
    assert!(shown[2].contains("SOCKS5 and HTTP at 127.0.0.1:1080, user vmsgate\n"), "{}", shown[2]);
    let told = capture(&mut client.client.shim(&["status", "--show-password"])).unwrap();
    assert!(told.contains(&format!("password     {password}\n")), "{told}");
}

#[test]
fn a_port_that_is_taken_a_file_that_is_none_and_options_without_their_mode_are_said_so() {
    let Some(site) = site(&[]) else { return };
    let client = Client::up(&site, &[]);
    let second =
        client.client.machine.take(&site.add_client("bo-laptop", "smart-client").unwrap(), "bo").unwrap();
    let up = |arguments: &[&str]| {
        let mut up = client.client.shim(&["up", second.to_str().unwrap()]);
        let Output { status, stdout, stderr } = up.args(arguments).output_in_time().unwrap();
        assert_eq!((status.code(), stdout.len()), (Some(1), 0));
        String::from_utf8(stderr).unwrap()
    };
    assert_eq!(
        up(&["--mode", "socks"]),
        "error: cannot listen on 127.0.0.1:1080 for programs: another program uses that port\n\n\
         hint: end that program, or choose another port: --socks-listen 127.0.0.1:1081 (port 0 takes any free one)\n"
    );
    let error = up(&["--mode", "socks", "--socks-password-file", "nowhere"]);
    assert!(error.starts_with("error: nowhere: cannot be read\n  caused by: "), "{error}");
    assert_eq!(
        up(&["--socks-no-password"]),
        "error: --socks-… is about the proxy, which --mode socks starts\n\nhint: add --mode socks\n"
    );
}

impl Client {
    fn up(site: &Site, arguments: &[&str]) -> Self {
        Self::up_as(site, "smart-client", arguments)
    }

    fn up_as(site: &Site, role: &str, arguments: &[&str]) -> Self {
        let profile = site.add_client("anna-laptop", role).unwrap();
        let arguments = [&["--mode", "socks"], arguments].concat();
        let client = ShimClient::up_with(site, &profile, "anna-laptop", &arguments).unwrap();
        let proxy = client.proxy().unwrap();
        Self { client, proxy }
    }

    fn proxy(&self, scheme: &str) -> String {
        self.proxy.url(scheme)
    }

    fn curl(&self, proxy: &str) -> Command {
        let mut curl = self.client.command("curl");
        curl.args(["--proxy", proxy]);
        curl
    }

    /// A program whose connections proxychains sends to the proxy, names included.
    fn chained(&self, program: &str) -> Command {
        let path: PathBuf = self.client.machine.path("proxychains.conf");
        let (host, port) = (self.proxy.listen.ip(), self.proxy.listen.port());
        let password = self.proxy.password.as_deref().unwrap();
        let text = format!(
            "strict_chain\nquiet_mode\nproxy_dns\ntcp_connect_time_out 30000\n\
             [ProxyList]\nsocks5 {host} {port} vmsgate {password}\n"
        );
        fs::write(&path, text).unwrap();
        chown(&path, Some(User::Client.uid()), Some(User::Client.uid())).unwrap();
        let mut command = self.client.command("proxychains4");
        command.arg("-q").arg("-f").arg(path).arg(program);
        command
    }
}

fn site(programs: &[&str]) -> Option<Site> {
    can_run(&[&site::PROGRAMS[..], programs].concat()).then(|| Site::start(Family::V4).unwrap())
}
