//! Load for measurements of any WireGuard gateway, which `tests/bench/run` makes through the program `vmsgate-load`:
//! small datagrams at a steady rate, first handshakes of many clients, and the clients that they belong to.

pub mod clients;
pub mod conversations;
pub mod datagrams;
pub mod flood;
pub mod handshakes;
