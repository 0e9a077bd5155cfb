//! The audit log in memory: records wait, are committed in groups into a hash chain, and sometimes cannot be.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use uuid::Uuid;
use vmsgate_audit::chain::{Head, StoredEntry, verify};
use vmsgate_audit::event::{
    Event, FlowClosed, FlowDenied, FlowOpened, SessionClosed, SessionOpened, SessionRoamed,
};
use vmsgate_audit::{
    Chain, Destination, Entry, Fingerprint, FlowSubject, HostPort, Label, Ports, Protocol, Reason, Record,
    SessionSubject, Traffic, UtcTime,
};
use vmsgate_tunnel::event::{FlowInfo, GatewayEvent, SessionInfo};
use vmsgate_tunnel::flow::FlowId;
use vmsgate_tunnel::policy;

pub(crate) struct Store {
    chain: Chain,
    head: Head,
    entries: Vec<StoredEntry>,
    queue: VecDeque<(Record, Option<FlowId>)>,
    pub(crate) failing: bool,
    /// Flows whose beginning is on disk.
    pub(crate) durable: BTreeSet<FlowId>,
    /// As counted before anything was written.
    denied: u64,
}

impl Store {
    pub(crate) fn new() -> Store {
        let chain = Chain::gateway("gw-1");
        let head = chain.genesis();
        Store {
            chain,
            head,
            entries: Vec::new(),
            queue: VecDeque::new(),
            failing: false,
            durable: BTreeSet::new(),
            denied: 0,
        }
    }

    pub(crate) fn append(&mut self, event: &GatewayEvent) {
        let opened = match event {
            GatewayEvent::FlowOpened { flow, .. } => Some(flow.id),
            _ => None,
        };
        if let GatewayEvent::FlowDenied(denial) = event {
            self.denied += denial.count;
        }
        if let Some((at, event)) = translate(event) {
            self.queue.push_back((Record::new(time(at), event), opened));
        }
    }

    /// One group, if the disk takes it.
    pub(crate) fn commit(&mut self) {
        while !self.failing
            && let Some((record, opened)) = self.queue.pop_front()
        {
            let entry = Entry { chain: self.chain.clone(), seq: self.head.seq + 1, record };
            let text = entry.to_text();
            self.head = self.head.extended_by(&text);
            self.entries.push(StoredEntry { seq: self.head.seq, text, hash: self.head.hash.to_string() });
            self.durable.extend(opened);
        }
    }

    /// Read back and believed only as far as the chain proves it: everything that began has ended, once, and every
    /// refusal is told.
    pub(crate) fn verify(mut self, denied: u64) {
        self.failing = false;
        self.commit();
        let head = verify(&self.chain, self.chain.genesis(), self.entries.clone()).unwrap();
        assert_eq!(head, self.head);
        let (mut sessions, mut flows) = (BTreeMap::<Uuid, bool>::new(), BTreeMap::<(Uuid, u64), bool>::new());
        let mut told = 0;
        for StoredEntry { text, .. } in &self.entries {
            match Entry::parse(text).unwrap().record.event {
                Event::SessionOpened(opened) => {
                    assert_eq!(sessions.insert(opened.session.id, true), None, "a session began twice");
                }
                Event::SessionClosed(closed) => {
                    assert_eq!(sessions.insert(closed.session.id, false), Some(true), "{text}");
                }
                Event::FlowOpened(opened) => {
                    assert_eq!(sessions.get(&opened.session.id), Some(&true), "outside its session: {text}");
                    assert_eq!(
                        flows.insert((opened.session.id, opened.flow.id), true),
                        None,
                        "a flow began twice"
                    );
                }
                Event::FlowClosed(closed) => {
                    assert_eq!(
                        flows.insert((closed.session.id, closed.flow.id), false),
                        Some(true),
                        "{text}"
                    );
                    assert_eq!(sessions.get(&closed.session.id), Some(&true), "after its session: {text}");
                }
                Event::FlowDenied(record) => {
                    assert_eq!(sessions.get(&record.session.id), Some(&true), "after its session: {text}");
                    told += record.count;
                }
                _ => {}
            }
        }
        assert!(sessions.values().all(|open| !open), "a session has no end");
        assert!(flows.values().all(|open| !open), "a flow has no end");
        assert_eq!(told, denied, "refusals counted and refusals on record");
        assert_eq!(self.denied, denied);
    }
}

fn translate(event: &GatewayEvent) -> Option<(u64, Event)> {
    Some(match event {
        GatewayEvent::SessionOpened { session, at } => (
            *at,
            Event::SessionOpened(SessionOpened { session: subject(session), continues: session.continues }),
        ),
        GatewayEvent::SessionRoamed { session, from, at } => (
            *at,
            Event::SessionRoamed(SessionRoamed {
                session: subject(session),
                previous_source: *from,
                continues: session.continues,
            }),
        ),
        GatewayEvent::SessionClosed { session, reason, opened, at, .. } => {
            let closed = SessionClosed {
                session: subject(session),
                continues: session.continues,
                reason: Reason::new(reason.as_str()),
                opened: time(*opened),
                duration_ms: at - opened,
                traffic: Traffic::default(),
            };
            (*at, Event::SessionClosed(closed))
        }
        GatewayEvent::FlowOpened { flow, at } => {
            (*at, Event::FlowOpened(FlowOpened { session: subject(&flow.session), flow: flow_subject(flow) }))
        }
        GatewayEvent::FlowClosed { flow, reason, opened, at, .. } => {
            let closed = FlowClosed {
                session: subject(&flow.session),
                flow: flow_subject(flow),
                reason: Reason::new(reason.as_str()),
                opened: time(*opened),
                duration_ms: at - opened,
                traffic: Traffic::default(),
                tls: None,
            };
            (*at, Event::FlowClosed(closed))
        }
        GatewayEvent::FlowDenied(denial) => {
            let record = FlowDenied {
                session: subject(&denial.session),
                protocol: protocol(denial.protocol),
                source: denial.session.client.addresses[0],
                destination: Destination {
                    server: None,
                    service: None,
                    address: denial.destination,
                    port: None,
                },
                ports: Ports::new(denial.ports.iter().cloned()),
                count: denial.count,
                first: time(denial.first),
                last: time(denial.last),
                reason: Reason::new(denial.reason.as_str()),
                rule: Some(Label::new(&denial.rule)),
                nearest: None,
            };
            (denial.last, Event::FlowDenied(record))
        }
        GatewayEvent::KeyConfirmed { .. }
        | GatewayEvent::HandshakeRejected(_)
        | GatewayEvent::SessionLimited(_) => return None,
    })
}

fn subject(session: &SessionInfo) -> Arc<SessionSubject> {
    Arc::new(SessionSubject {
        id: session.id,
        client: Label::new(&session.client.name),
        operator: Label::new(&session.client.operator),
        role: Label::new(&session.client.role),
        key: Fingerprint::unknown(),
        source: session.endpoint,
        tunnel: session.client.addresses.clone(),
    })
}

fn flow_subject(flow: &FlowInfo) -> FlowSubject {
    let end = |address: std::net::SocketAddr| HostPort { address: address.ip(), port: Some(address.port()) };
    FlowSubject {
        id: flow.id.as_u64(),
        protocol: protocol(flow.tuple.protocol),
        source: end(flow.tuple.source),
        destination: Destination {
            server: Some(Label::new(&flow.allowed.server)),
            service: Some(Label::new(&flow.allowed.service)),
            address: flow.tuple.destination.ip(),
            port: Some(flow.tuple.destination.port()),
        },
        lan_source: None,
    }
}

fn protocol(protocol: policy::Protocol) -> Protocol {
    match protocol {
        policy::Protocol::Tcp => Protocol::Tcp,
        policy::Protocol::Udp => Protocol::Udp,
        policy::Protocol::Icmp => Protocol::Icmp,
    }
}

fn time(unix: u64) -> UtcTime {
    UtcTime::from_unix_ms(i64::try_from(unix).unwrap())
}
