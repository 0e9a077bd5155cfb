//! What the servers (echoing ones, and a web server on [`HTTP`]) and the gateway's control service say.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use vmsgate_config::profile::{
    GatewayInfo, Profile, ProfileKeys, ProfilePostQuantum, ProfileServer, ProfileService, SCHEMA_VERSION,
};
use vmsgate_config::{PortRange, Protocol};
use vmsgate_exchange::GATEWAY_ADDRESS;
use vmsgate_pump::Stream;
use x25519_dalek::PublicKey;

use super::registry::{self, Command, Heard, Registry, Shared};
use super::{CLIENT, CONTACT, GATEWAY, Server, Speaks, ip};

/// What the control service answers from.
pub struct Control {
    pub servers: Vec<Server>,
    pub registry: Shared,
    pub commands: mpsc::UnboundedSender<Command>,
    pub heard: Cell<Option<Heard>>,
}

/// The profile document for a client that may reach these servers.
fn document(servers: &[Server], registry: &Registry) -> String {
    let server = |server: &Server| ProfileServer {
        name: server.name.clone(),
        hostnames: server.hostnames.clone(),
        addresses: vec![ip(server.address)],
        services: vec![ProfileService {
            name: "echo".to_owned(),
            protocol: Protocol::Tcp,
            ports: vec![PortRange { first: *server.ports.start(), last: *server.ports.end() }],
        }],
    };
    let identities = registry.identities.iter().map(|secret| encode(&PublicKey::from(secret)));
    let profile = Profile {
        schema_version: SCHEMA_VERSION,
        client: "anna-laptop".to_owned(),
        operator: "Anna Berg".to_owned(),
        role: "smart-client".to_owned(),
        expires: registry.expires.map(|expires| expires.to_string()),
        addresses: CLIENT.map(|address| ip(address).into()).to_vec(),
        gateway: GatewayInfo {
            name: "gw-test".to_owned(),
            server_time: (jiff::Timestamp::now() + registry.clock_offset).to_string(),
            endpoints: registry.endpoints.clone(),
            identities: registry.newer_identity.iter().map(encode).chain(identities).collect(),
            addresses: GATEWAY.map(ip).to_vec(),
            mtu: 1420,
            dns_suffix: None,
            contact: Some(CONTACT.to_owned()),
        },
        servers: servers.iter().map(server).collect(),
        keys: Some(ProfileKeys { created: registry.created.to_string(), max_age_seconds: registry.max_age }),
        post_quantum: registry.interval.map(|interval_seconds| ProfilePostQuantum {
            interval_seconds,
            required: false,
            in_force: false,
        }),
        warnings: Vec::new(),
    };
    serde_json::to_string(&profile).unwrap()
}

fn encode(key: &PublicKey) -> String {
    STANDARD.encode(key.as_bytes())
}

/// Where servers speak HTTP.
pub const HTTP: u16 = 8090;

/// Serves one connection: the control service, a web server, or a server that greets and echoes.
pub async fn serve(stream: Stream, destination: SocketAddr, control: Rc<Control>) {
    let gateway = GATEWAY.map(ip).contains(&destination.ip()) || destination.ip() == GATEWAY_ADDRESS;
    let server = control.servers.iter().find(|server| ip(server.address) == destination.ip());
    let _ = match server.map(|server| &server.speaks) {
        _ if gateway => answer_control(stream, &control).await,
        Some(Speaks::Tls(config)) => listen_in_secret(stream, config.clone()).await,
        _ if destination.port() == HTTP => show_requests(stream).await,
        Some(Speaks::Greeting | Speaks::Refusal) | None => echo(stream, destination).await,
    };
}

async fn answer_control(mut stream: Stream, control: &Control) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let field = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(field, _)| *field == name).map(|(_, value)| value).next()
    };
    assert!(field("host").is_some_and(|host| !host.contains("localhost")), "{head}");
    let mut words = head.split(' ');
    let path = words.clone().nth(1).unwrap();
    if let Some(bytes) = path.strip_prefix("/v1/speed?bytes=") {
        let head = format!("HTTP/1.1 200 X\r\nContent-Length: {bytes}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&vec![0; bytes.parse().unwrap()]).await?;
        return stream.shutdown().await;
    }
    let answer = match (words.next(), words.next()) {
        (Some("get"), Some("/v1/profile")) if control.registry.lock().unwrap().role_is_gone => {
            Some((403, r#"{"error":{"code":"unknown-role","message":"the role is gone"}}"#.to_owned()))
        }
        (Some("get"), Some("/v1/profile")) => {
            Some((200, document(&control.servers, &control.registry.lock().unwrap())))
        }
        (Some("post"), Some("/v1/speed")) => {
            let mut body = vec![0; field("content-length").unwrap().parse().unwrap()];
            stream.read_exact(&mut body).await?;
            Some((200, format!(r#"{{"bytes":{}}}"#, body.len())))
        }
        (Some("post"), Some(path)) => {
            assert_eq!(field("content-type"), Some("application/json"), "{head}");
            let mut body = vec![0; field("content-length").unwrap().parse().unwrap()];
            stream.read_exact(&mut body).await?;
            registry::post(path, &body, &control.registry, control.heard.get(), &control.commands).await
        }
        _ => panic!("{head}"),
    };
    let Some((status, body)) = answer else {
        stream.abort();
        return Ok(());
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

async fn listen_in_secret(stream: Stream, config: Arc<ServerConfig>) -> std::io::Result<()> {
    let mut stream = TlsAcceptor::from(config).accept(stream).await?;
    stream.read_to_end(&mut Vec::new()).await.map(|_| ())
}

/// Answers each request of a connection with its number there, its head and its body.
async fn show_requests(mut stream: Stream) -> std::io::Result<()> {
    for number in 1.. {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).await?;
        request.extend(body);
        let answer = format!("request {number}\n{}", String::from_utf8_lossy(&request));
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Server: Web\r\n\r\n", answer.len());
        stream.write_all((head + &answer).as_bytes()).await?;
    }
    Ok(())
}

async fn echo(mut stream: Stream, destination: SocketAddr) -> std::io::Result<()> {
    stream.write_all(format!("{destination}\n").as_bytes()).await?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return stream.shutdown().await,
            len => stream.write_all(&buffer[..len]).await?,
        }
    }
}
