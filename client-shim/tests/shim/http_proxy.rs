//! The proxy as HTTP programs see it.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use vmsgate_shim::proxy::{Access, Password};

use crate::end_to_end::{Running, greeting, run, servers};
use crate::support::{HTTP, Site};

struct Program(TcpStream);

/// Status, head and body of an answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Program {
    async fn connect(running: &Running<'_>) -> Self {
        let at: SocketAddr = running.shim.report().proxy.expect("it is a proxy").listen;
        Self(TcpStream::connect(at).await.unwrap())
    }

    async fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    async fn answer(&mut self) -> Answer {
        let head = self.head().await;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.to_ascii_lowercase();
        let length = length.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap().parse().unwrap()];
        self.0.read_exact(&mut body).await.unwrap();
        Answer { status, head, body: String::from_utf8(body).unwrap() }
    }

    async fn ask(&mut self, text: &str) -> Answer {
        self.say(text).await;
        self.answer().await
    }
}

fn basic(password: &str) -> String {
    format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(format!("vmsgate:{password}")))
}

#[test]
fn a_tunnel_is_opened_by_name_and_carries_what_was_sent_early() {
    run(async {
        let site = Site::new();
        let _gateway = site.start(&servers(&site));
        let password = Password::random();
        let mut running = Running::start_as_proxy(&site, Access::with(password.clone()));
        running.ready().await;
        let (host, basic) = (site.name("rec01"), basic(password.reveal()));

        let mut program = Program::connect(&running).await;
        program.say(&format!("CONNECT {host}:7563 HTTP/1.1\r\nHost: {host}:7563\r\n{basic}\r\nearly")).await;

        assert!(program.head().await.starts_with("HTTP/1.1 200 "));
        assert_eq!(greeting(&mut program.0).await.unwrap(), "192.168.10.21:7563");
        let mut echo = [0; 5];
        program.0.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo, b"early");
        running.shim.stop().await;
    });
}

#[test]
fn without_the_password_nothing_is_fetched_or_tunnelled() {
    run(async {
        let site = Site::new();
        let _gateway = site.start(&servers(&site));
        let mut running = Running::start_as_proxy(&site, Access::with(Password::random()));
        running.ready().await;
        let host = site.name("mgmt");
        for wrong in [String::new(), basic("guessed"), "Proxy-Authorization: Bearer x\r\n".to_owned()] {
            for target in [format!("CONNECT {host}:8081"), format!("GET http://{host}:{HTTP}/")] {
                let mut program = Program::connect(&running).await;
                let answer = program.ask(&format!("{target} HTTP/1.1\r\nHost: {host}\r\n{wrong}\r\n")).await;
                assert_eq!(answer.status, 407, "{answer:?}");
                assert!(
                    answer.head.to_ascii_lowercase().contains("proxy-authenticate: basic "),
                    "{answer:?}"
                );
            }
        }
        running.shim.stop().await;
    });
}

#[test]
fn each_reason_has_its_status_and_a_line_that_says_it() {
    run(async {
        let site = Site::new();
        let _gateway = site.start(&servers(&site));
        let mut running = Running::start_as_proxy(&site, Access::open());
        running.ready().await;
        let mgmt = site.name("mgmt");
        let offered = ["mgmt", "rec01", "rec02"].map(|name| site.name(name)).join(", ");
        let unknown = format!("the gateway offers you no server `example.org`; it offers {offered}\n");
        let role = format!("your role does not include port 1433 of {mgmt}; it includes 8081, 8082\n");
        let not_http = "the proxy fetches http://HOST[:PORT]/… only; everything else needs CONNECT\n";
        for (target, status, line) in [
            ("CONNECT example.org:443".to_owned(), 403, unknown.as_str()),
            ("GET http://example.org/".to_owned(), 403, &unknown),
            (format!("CONNECT {mgmt}:1433"), 403, &role),
            (format!("GET http://{mgmt}:1433/"), 403, &role),
            ("GET https://example.org/".to_owned(), 400, not_http),
            ("CONNECT example.org".to_owned(), 400, "CONNECT is to be followed by HOST:PORT\n"),
            ("GET /".to_owned(), 400, "this is a proxy: set it as such in the program\n"),
        ] {
            let mut program = Program::connect(&running).await;
            let answer = program.ask(&format!("{target} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
            assert_eq!((answer.status, answer.body.as_str()), (status, line), "{target}");
        }
        running.shim.stop().await;
    });
}

#[test]
fn requests_are_fetched_from_the_server_that_they_name_on_one_connection_each() {
    run(async {
        let site = Site::new();
        let mut servers = servers(&site);
        servers.push(site.server("web", "192.168.10.11", HTTP..=HTTP));
        servers.push(site.server("other", "192.168.10.12", HTTP..=HTTP));
        let _gateway = site.start(&servers);
        let password = Password::random();
        let mut running = Running::start_as_proxy(&site, Access::with(password.clone()));
        running.ready().await;
        let (web, other) = (site.name("web"), site.name("other"));
        let basic = basic(password.reveal());
        let mut program = Program::connect(&running).await;

        let get = format!(
            "GET http://{web}:{HTTP}/page?q=1 HTTP/1.1\r\nHost: other\r\nProxy-Connection: keep-alive\r\n{basic}\r\n"
        );
        let first = program.ask(&get).await;
        assert_eq!(first.status, 200);
        assert!(first.head.contains("X-Server: Web\r\n"), "as the server writes it: {}", first.head);
        assert!(first.body.starts_with("request 1\nGET /page?q=1 HTTP/1.1\r\n"), "{}", first.body);
        assert!(first.body.to_lowercase().contains(&format!("host: {web}:{HTTP}\r\n")), "{}", first.body);
        assert!(!first.body.to_lowercase().contains("proxy-"), "{}", first.body);

        let post = format!(
            "POST http://{web}:{HTTP}/form HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n{basic}\r\nhello"
        );
        let second = program.ask(&post).await;
        assert!(second.body.starts_with("request 2\nPOST /form HTTP/1.1\r\n"), "{}", second.body);
        assert!(second.body.ends_with("\r\n\r\nhello"), "{}", second.body);

        let elsewhere = format!("GET http://{other}:{HTTP}/ HTTP/1.1\r\nHost: x\r\n{basic}\r\n");
        let third = program.ask(&elsewhere).await;
        assert!(third.body.starts_with("request 1\nGET / HTTP/1.1\r\n"), "{}", third.body);
        running.shim.stop().await;
    });
}

#[test]
fn a_server_that_speaks_no_http_is_a_bad_gateway() {
    run(async {
        let site = Site::new();
        let _gateway = site.start(&servers(&site));
        let mut running = Running::start_as_proxy(&site, Access::open());
        running.ready().await;
        let host = site.name("rec01");
        let mut program = Program::connect(&running).await;
        let answer = program.ask(&format!("GET http://{host}:7563/ HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!((answer.status, answer.body), (502, format!("{host}:7563 broke off\n")));
        running.shim.stop().await;
    });
}

#[test]
fn a_head_that_never_ends_is_refused() {
    run(async {
        let site = Site::new();
        let running = Running::start_as_proxy(&site, Access::open());
        let mut program = Program::connect(&running).await;
        let _ = program.0.write_all("GET http://x/ HTTP/1.1\r\nX: ".as_bytes()).await;
        let written = async {
            let more = [b'x'; 4096];
            // Ends when the proxy has closed its side.
            while program.0.write_all(&more).await.is_ok() {}
        };
        tokio::time::timeout(crate::end_to_end::PATIENCE, written).await.expect("it is not read for ever");
        running.shim.stop().await;
    });
}
