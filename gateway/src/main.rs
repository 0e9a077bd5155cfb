#![allow(unreachable_pub, reason = "a binary has no outside: `pub` means for the other modules")]

mod admin;
mod control;
mod health;
mod http;

fn main() {}
