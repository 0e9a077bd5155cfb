//! Placeholder until the commands are in.
fn main() {}
