//! The way to the gateway's door: its name, whether it answers, what it tells, and whether the clocks agree.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use jiff::SignedDuration;
use tokio::net::UdpSocket;
use vmsgate_cli::human;
use vmsgate_config::address::Endpoint;
use vmsgate_exchange::refusal::Reason;

use super::finding::{Finding, Id, Verdict};
use crate::control::ControlError;

/// How long a name server may take.
pub(super) const LOOKUP_LIMIT: Duration = Duration::from_secs(5);
/// How long a host may take to say that nothing listens on the port.
const REFUSAL_LIMIT: Duration = Duration::from_secs(1);
/// Beyond it Smart Client misbehaves: its configuration and views carry times of the servers. XProtect's manual of 2014
/// asks for synchronised clocks without a number; this one is ours, far above what time synchronisation leaves.
const CLOCK_WARNING: SignedDuration = SignedDuration::from_secs(5);
/// Windows refuses Kerberos log-ins beyond it ("Maximum tolerance for computer clock synchronization", after RFC 4120).
const CLOCK_PROBLEM: SignedDuration = SignedDuration::from_secs(300);

/// What became of a look-up, with its error for people.
pub(super) type Found = Result<Vec<IpAddr>, String>;

/// Looks a name up as every program on this machine does.
pub(super) async fn look_up(host: &str) -> Found {
    let looked = tokio::time::timeout(LOOKUP_LIMIT, tokio::net::lookup_host((host, 0))).await;
    match looked {
        Ok(Ok(found)) => {
            let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            addresses.dedup();
            Ok(addresses)
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no name server answers within {} s", LOOKUP_LIMIT.as_secs())),
    }
}

pub(super) fn endpoint(endpoint: &Endpoint, found: &Found) -> Finding {
    let (id, host) = (Id::EndpointResolves, &endpoint.host);
    let failed = |why: String| {
        Finding::new(id, Verdict::Problem, why).about(endpoint.to_string()).advise(format!(
            "is this machine online? `nslookup {host}` asks its name server; compare `Endpoint` in the profile with what \
             your administrator gave you"
        ))
    };
    match found {
        Ok(addresses) if host.parse::<IpAddr>().is_ok() && !addresses.is_empty() => {
            Finding::ok(id, "the profile names the gateway by its address").about(endpoint.to_string())
        }
        Ok(addresses) if addresses.is_empty() => failed(format!("the name {host} has no address")),
        Ok(addresses) => {
            Finding::ok(id, format!("{host} is {}", list(addresses))).about(endpoint.to_string())
        }
        Err(error) => failed(format!("cannot resolve {host}: {error}")),
    }
}

/// What is known of a gateway that does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Silence {
    /// This machine has no way there.
    NoRoute(String),
    /// Its host says that nothing listens on the port.
    NothingListens,
    /// Nothing at all comes back.
    Nothing,
}

/// Asks the system, and the gateway's host, why there is no answer. The gateway itself is silent to one byte.
pub(super) async fn why_silent(gateway: SocketAddr) -> Silence {
    let any: IpAddr =
        if gateway.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let ask = async {
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(gateway).await?;
        socket.send(&[0]).await?;
        socket.recv(&mut [0]).await
    };
    match tokio::time::timeout(REFUSAL_LIMIT, ask).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Silence::NothingListens,
        Ok(Err(error)) => Silence::NoRoute(error.to_string()),
        Ok(Ok(_)) | Err(_) => Silence::Nothing,
    }
}

pub(super) fn answers(gateway: SocketAddr, handshake: Option<Duration>) -> Finding {
    let id = Id::GatewayAnswers;
    match handshake {
        Some(time) => {
            let text = format!("the gateway answers; the handshake took {}", human::duration(time));
            Finding::ok(id, text).measured("handshake_ms", milliseconds(time))
        }
        None => Finding::ok(id, "the gateway answers"),
    }
    .about(gateway.to_string())
}

/// The gateway has said that it does not let this client in any more.
pub(super) fn refused(gateway: SocketAddr, reason: Reason, contact: Option<&str>) -> Finding {
    let why = match reason {
        Reason::Revoked => "was revoked",
        Reason::Suspended => "is suspended",
        Reason::Expired => "has expired",
    };
    let message = format!("the gateway has said that the access with this profile {why}");
    let advice = format!("ask {}", contact.unwrap_or("your administrator"));
    Finding::new(Id::GatewayAnswers, Verdict::Problem, message).about(gateway.to_string()).advise(advice)
}

/// `key` is the fingerprint of the client's key; `waited` for how long.
pub(super) fn silent(gateway: SocketAddr, silence: &Silence, key: &str, waited: Duration) -> Finding {
    let (message, advice) = match silence {
        Silence::NoRoute(error) => (
            format!("this machine has no way to the gateway: {error}"),
            "is it online, and does its network have the gateway's kind of address (IPv4 or IPv6)?".to_owned(),
        ),
        Silence::NothingListens => (
            "the gateway's host answers that nothing listens on this port".to_owned(),
            "the gateway does not run, or the port of `Endpoint` in the profile is wrong: ask your administrator".to_owned(),
        ),
        Silence::Nothing => (
            format!("no answer within {}", human::duration(waited)),
            format!(
                "a gateway is silent to whom it does not know, so from here three causes look the same. UDP is blocked here: \
                 try another network, such as a phone's. The key is not the one that the gateway knows, or the access was \
                 withdrawn: ask your administrator, whose `vmsgate-keys client show NAME` has to say active, with the \
                 key {key}"
            ),
        ),
    };
    Finding::new(Id::GatewayAnswers, Verdict::Problem, message).about(gateway.to_string()).advise(advice)
}

/// There is no address to ask.
pub(super) fn nowhere() -> Finding {
    Finding::skipped(Id::GatewayAnswers, "the gateway's name has no address")
}

pub(super) fn no_profile(error: &ControlError) -> Finding {
    let id = Id::GatewayProfile;
    let advice = if error.code() == Some("unknown-role") {
        "ask your administrator to give your client a role that exists: `vmsgate check` lists them"
    } else {
        "try again; if it stays, tell your administrator what it says here"
    };
    Finding::new(id, Verdict::Problem, format!("the gateway does not tell what can be reached: {error}"))
        .advise(advice)
}

/// How far the gateway's clock is ahead of this machine's.
pub(super) fn clock(offset: SignedDuration) -> Finding {
    let id = Id::ClockOffset;
    let length = offset.unsigned_abs();
    let direction = if offset.is_negative() { "ahead of" } else { "behind" };
    let (verdict, message) = if length <= CLOCK_WARNING.unsigned_abs() {
        let apart = if length < Duration::from_secs(1) {
            "less than a second".to_owned()
        } else {
            human::duration(length)
        };
        (Verdict::Ok, format!("this machine and the gateway are {apart} apart"))
    } else {
        let verdict = if length > CLOCK_PROBLEM.unsigned_abs() { Verdict::Problem } else { Verdict::Warning };
        (verdict, format!("this machine is {} {direction} the gateway", human::duration(length)))
    };
    let finding = Finding::new(id, verdict, message).measured("clock_offset_ms", offset.as_millis() as f64);
    if verdict == Verdict::Ok {
        return finding;
    }
    finding.advise(
        "let the system set the clock of this machine (Windows: Settings, Time, Sync now; Linux: timedatectl set-ntp true). If \
         this machine is right, tell your administrator that the gateway is not",
    )
}

pub(super) fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

pub(super) fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway() -> SocketAddr {
        "198.51.100.10:51820".parse().unwrap()
    }

    #[test]
    fn a_name_without_address_is_a_problem_and_an_address_needs_no_name_service() {
        let judge = |host: &str, found: Found| endpoint(&format!("{host}:51820").parse().unwrap(), &found);
        let found = judge("vpn.example.org", Ok(vec![[198, 51, 100, 10].into(), Ipv6Addr::LOCALHOST.into()]));
        assert_eq!((found.verdict, &*found.message), (Verdict::Ok, "vpn.example.org is 198.51.100.10, ::1"));
        assert_eq!(judge("198.51.100.10", Ok(vec![[198, 51, 100, 10].into()])).verdict, Verdict::Ok);
        for lost in [Err("Name or service not known".to_owned()), Ok(vec![])] {
            let lost = judge("vpn.example.org", lost);
            assert_eq!(lost.verdict, Verdict::Problem);
            assert!(lost.advice.unwrap().contains("nslookup vpn.example.org"));
        }
    }

    #[test]
    fn silence_is_told_apart_as_far_as_it_can_be() {
        let told = |silence| silent(gateway(), &silence, "0011", Duration::from_secs(16));
        let no_route = told(Silence::NoRoute("Network is unreachable".to_owned()));
        assert_eq!(no_route.message, "this machine has no way to the gateway: Network is unreachable");
        assert!(told(Silence::NothingListens).message.ends_with("nothing listens on this port"));
        let nothing = told(Silence::Nothing);
        assert_eq!((nothing.verdict, &*nothing.message), (Verdict::Problem, "no answer within 16s"));
        let advice = nothing.advice.unwrap();
        for cause in ["UDP is blocked", "the key is not", "withdrawn", "the key 0011"] {
            assert!(advice.to_lowercase().contains(&cause.to_lowercase()), "{cause}: {advice}");
        }
        let refused = refused(gateway(), Reason::Expired, Some("Anna, 555 0100"));
        assert_eq!(
            (refused.verdict, refused.advice.as_deref()),
            (Verdict::Problem, Some("ask Anna, 555 0100"))
        );
        let answer = answers(gateway(), Some(Duration::from_micros(20_500)));
        assert_eq!((answer.verdict, answer.measured["handshake_ms"]), (Verdict::Ok, 20.5));
    }

    #[tokio::test]
    async fn a_host_without_a_gateway_says_so() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        assert_eq!(why_silent(address).await, Silence::Nothing);
        drop(socket);
        assert_eq!(why_silent(address).await, Silence::NothingListens);
    }

    #[test]
    fn clocks_may_differ_by_five_seconds_and_log_ins_fail_beyond_five_minutes() {
        let judge = |ms: i64| clock(SignedDuration::from_millis(ms));
        for (ms, verdict) in [
            (0, Verdict::Ok),
            (5000, Verdict::Ok),
            (-5000, Verdict::Ok),
            (5001, Verdict::Warning),
            (-300_000, Verdict::Warning),
            (300_001, Verdict::Problem),
            (-86_400_000, Verdict::Problem),
        ] {
            assert_eq!((ms, judge(ms).verdict), (ms, verdict));
        }
        assert_eq!(judge(65_000).message, "this machine is 1m 5s behind the gateway");
        assert_eq!(judge(-65_000).message, "this machine is 1m 5s ahead of the gateway");
        assert_eq!(judge(-65_000).measured["clock_offset_ms"], -65_000.0);
    }
}
