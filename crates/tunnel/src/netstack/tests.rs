//! Two stacks joined by a simulated link, in virtual time.

mod close;
mod hostile;
mod link;
mod pair;
mod sharing;
mod throughput;
mod transfer;
mod turns;
