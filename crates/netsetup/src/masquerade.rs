//! Source address translation for what clients send, by one nftables table of our own:
//!
//! ```text
//! table inet vmsgate-vmsgate0 {
//!     flags owner
//!     chain postrouting {
//!         type nat hook postrouting priority srcnat; policy accept;
//!         iifname "vmsgate0" oifname != "vmsgate0" masquerade
//!     }
//! }
//! ```
//!
//! The family `inet` covers IPv4 and IPv6. Only what came in through the interface matches, and the gateway lets
//! nothing into it that is not a client's, so nobody else's traffic is touched. Answers find their way back by the
//! kernel's connection tracking.
//!
//! The flag `owner` (Linux 5.13) ties the table to the netlink socket that made it: nobody else can change it, and
//! the kernel removes it when the socket is closed, even if the process was killed. (A postrouting chain sees the
//! incoming interface since Linux 5.7.)

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, Cmp, DataAttribute, Expressions, Hook, HookNumber, InetHookNumber, Meta,
    MetaKey, NfTablesMessage, Operator, Register, RuleAttribute, RuleMessage, TableAttribute, TableFlags,
    TableMessage,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily, NetfilterSubsystem,
};
use rustix::io::Errno;

use crate::error::SetupError;
use crate::netlink::Netlink;

const CHAIN: &str = "postrouting";
/// `srcnat`, where nft and iptables translate sources too (`NF_IP_PRI_NAT_SRC`).
const PRIORITY: u32 = 100;
/// The kernel compares interface names as arrays of this size, filled with zeros (`IFNAMSIZ`).
const INTERFACE_NAME_BYTES: usize = 16;

/// The table exists as long as this socket is open.
#[derive(Debug)]
pub(crate) struct OwnedTable {
    _socket: Netlink,
}

/// Masquerades what comes out of the interface. A table of the same name that nobody owns is replaced.
pub(crate) fn set_up(interface: &str) -> Result<OwnedTable, SetupError> {
    let mut netlink = Netlink::netfilter().map_err(refused)?;
    let table = format!("vmsgate-{interface}");
    let stale = match find(&mut netlink, &table).map_err(refused)? {
        Found::Nothing => false,
        Found::WithoutOwner => true,
        Found::Owned { port } => return Err(SetupError::TableInUse { table, port }),
    };
    let batch = transaction(&table, interface, stale);
    netlink.exchange(batch, |_| {}).map_err(refused)?;
    Ok(OwnedTable { _socket: netlink })
}

enum Found {
    Nothing,
    WithoutOwner,
    Owned { port: u32 },
}

fn find(netlink: &mut Netlink, table: &str) -> io::Result<Found> {
    let question = NfTablesMessage::GetTable(TableMessage { attributes: vec![name(table)] });
    let mut found = Found::Nothing;
    let answered = netlink.request(in_family_inet(question), 0, |answer| {
        let NetfilterMessageInner::NfTables(NfTablesMessage::NewTable(table)) = answer.inner else { return };
        found = table
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                TableAttribute::Owner(port) => Some(Found::Owned { port: *port }),
                _ => None,
            })
            .unwrap_or(Found::WithoutOwner);
    });
    match answered {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => Ok(Found::Nothing),
        answered => answered.map(|()| found),
    }
}

/// All or nothing: the kernel commits what stands between the two marks in one step.
fn transaction(table: &str, interface: &str, replace: bool) -> Vec<(NetfilterMessage, u16)> {
    let mut batch = vec![(mark(ControlMessage::BatchBegin), 0)];
    let mut step = |message, flags| batch.push((in_family_inet(message), flags | NLM_F_ACK));
    if replace {
        step(NfTablesMessage::DeleteTable(TableMessage { attributes: vec![name(table)] }), 0);
    }
    let owned = TableMessage { attributes: vec![name(table), TableAttribute::Flags(TableFlags::Owner)] };
    step(NfTablesMessage::NewTable(owned), NLM_F_CREATE | NLM_F_EXCL);
    step(NfTablesMessage::NewChain(chain(table)), NLM_F_CREATE | NLM_F_EXCL);
    step(NfTablesMessage::NewRule(rule(table, interface)), NLM_F_CREATE | NLM_F_APPEND);
    batch.push((mark(ControlMessage::BatchEnd), 0));
    batch
}

fn chain(table: &str) -> ChainMessage {
    let hook = vec![Hook::Number(HookNumber::Inet(InetHookNumber::PostRouting)), Hook::Priority(PRIORITY)];
    ChainMessage {
        attributes: vec![
            ChainAttribute::Table(table.to_owned()),
            ChainAttribute::Name(CHAIN.to_owned()),
            ChainAttribute::Hook(hook),
            ChainAttribute::Type("nat".to_owned()),
        ],
    }
}

fn rule(table: &str, interface: &str) -> RuleMessage {
    let masquerade = Expressions::Other { expression_type: "masq".to_owned(), attributes: Vec::new() };
    let expressions = [
        load(MetaKey::Iifname),
        compare(Operator::Equal, interface),
        load(MetaKey::Oifname),
        compare(Operator::NotEqual, interface),
        masquerade,
    ];
    RuleMessage {
        attributes: vec![
            RuleAttribute::Table(table.to_owned()),
            RuleAttribute::Chain(CHAIN.to_owned()),
            RuleAttribute::Expressions(expressions.into_iter().map(Into::into).collect()),
        ],
    }
}

fn load(key: MetaKey) -> Expressions {
    Expressions::Meta(vec![Meta::DestinationRegister(Register::Reg1), Meta::Key(key)])
}

fn compare(operator: Operator, interface: &str) -> Expressions {
    let mut name = interface.as_bytes().to_vec();
    name.resize(INTERFACE_NAME_BYTES, 0);
    Expressions::Cmp(vec![
        Cmp::SourceRegister(Register::Reg1),
        Cmp::Op(operator),
        Cmp::Data(DataAttribute::Value(name)),
    ])
}

fn name(table: &str) -> TableAttribute {
    TableAttribute::Name(table.to_owned())
}

fn in_family_inet(message: NfTablesMessage) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Inet, 0, 0), message)
}

fn mark(message: ControlMessage) -> NetfilterMessage {
    let subsystem = u8::from(NetfilterSubsystem::NfTables).into();
    NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, subsystem), message)
}

/// A kernel without one of the modules says that the netlink protocol, the subsystem, the kind of chain, the
/// expression or the flag does not exist.
fn refused(source: io::Error) -> SetupError {
    match Errno::from_io_error(&source) {
        Some(Errno::NOENT | Errno::OPNOTSUPP | Errno::INVAL | Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT) => {
            SetupError::MasqueradeUnsupported { source }
        }
        _ => SetupError::at("set up masquerading")(source),
    }
}
