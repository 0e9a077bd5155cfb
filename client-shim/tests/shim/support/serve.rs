//! What the servers and the gateway's control service say.

use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use vmsgate_config::profile::{GatewayInfo, Profile, ProfileServer, ProfileService, SCHEMA_VERSION};
use vmsgate_config::{PortRange, Protocol};
use vmsgate_pump::Stream;

use super::{CLIENT, GATEWAY, Server, ip};

/// The profile document for a client that may reach these servers.
pub fn document(servers: &[Server]) -> String {
    let server = |server: &Server| ProfileServer {
        name: server.name.clone(),
        hostnames: vec![server.name.clone(), format!("{}.vms.local", server.name)],
        addresses: vec![ip(server.address)],
        services: vec![ProfileService {
            name: "echo".to_owned(),
            protocol: Protocol::Tcp,
            ports: vec![PortRange { first: *server.ports.start(), last: *server.ports.end() }],
        }],
    };
    let profile = Profile {
        schema_version: SCHEMA_VERSION,
        client: "anna-laptop".to_owned(),
        operator: "Anna Berg".to_owned(),
        role: "smart-client".to_owned(),
        expires: None,
        addresses: CLIENT.map(|address| ip(address).into()).to_vec(),
        gateway: GatewayInfo {
            name: "gw-test".to_owned(),
            server_time: jiff::Timestamp::now().to_string(),
            endpoints: Vec::new(),
            identities: Vec::new(),
            addresses: GATEWAY.map(ip).to_vec(),
            mtu: 1420,
            dns_suffix: None,
        },
        servers: servers.iter().map(server).collect(),
        keys: None,
        post_quantum: None,
        warnings: Vec::new(),
    };
    serde_json::to_string(&profile).unwrap()
}

/// Serves one connection: the control service, or a server that greets and echoes.
pub async fn serve(stream: Stream, destination: SocketAddr, document: Rc<str>) {
    let _ = if GATEWAY.map(ip).contains(&destination.ip()) {
        answer_profile(stream, &document).await
    } else {
        echo(stream, destination).await
    };
}

async fn answer_profile(mut stream: Stream, document: &str) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    assert!(request.starts_with("GET /v1/profile HTTP/1.1\r\n"), "{request}");
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        document.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(document.as_bytes()).await?;
    stream.shutdown().await
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
