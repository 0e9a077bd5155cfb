//! The pure heart of Vmsgate: WireGuard end points, policy, flows and a userspace TCP/IP stack, as state machines.
//!
//! Nothing here opens a socket or a file, starts a thread or reads a clock. Bytes and the time come in through
//! `handle_*`, bytes and events go out through sinks and `poll_*`. The one exception is [`noise`], the adapter
//! around boringtun, which reads the clock and the system's random numbers itself.
//!
//! The packet path, in four hops:
//!
//! 1. [`gateway::GatewayState::handle_datagram`]: one UDP datagram, by identity (mac1) or receiver index to its peer;
//! 2. [`noise::Tunnel::open`]: authenticate and decrypt;
//! 3. [`packet::Packet::parse`], [`policy::Policy::decide`], [`flow::FlowTable`]: well-formed, allowed, tracked;
//! 4. [`sink::InnerSink`]: out to the egress, which answers through [`gateway::GatewayState::handle_egress`] (flows that
//!    end at the gateway) or [`gateway::GatewayState::handle_lan`] (flows that the kernel routes).

pub mod bandwidth;
pub mod bucket;
pub mod client;
pub mod counters;
pub mod denials;
pub mod event;
pub mod flow;
pub mod gateway;
pub mod guard;
pub mod mss;
pub mod netstack;
pub mod noise;
pub mod packet;
pub mod peer;
pub mod policy;
pub mod reply;
pub mod sink;
