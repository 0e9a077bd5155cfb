//! How allowed packets reach the recording network.

pub mod proxy;
