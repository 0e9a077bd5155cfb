//! A deterministic simulation: gateway, clients, network, clock and store, thousands of lives of them, beside a model that
//! knows who may reach what.
//!
//! ```text
//! VMSGATE_SIM_SEED=N cargo test --workspace --test simulation                  one run, the one that failed
//! cargo test --workspace --release --test simulation -- --ignored --nocapture  10,000 runs; VMSGATE_SIM_RUNS says another number
//! ```
//!
//! Everything but boringtun's own randomness and clock comes from the seed.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and the long one has figures"
)]

mod actions;
mod closing;
mod model;
mod network;
mod packets;
mod recording;
mod store;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use world::World;

/// What one life of a gateway is made of.
const ACTIONS: usize = 150;

#[test]
fn whatever_happens_the_gateway_does_what_the_model_says() {
    if let Some(seed) = number("VMSGATE_SIM_SEED") {
        return live(seed, false);
    }
    run(200);
}

#[test]
#[ignore = "minutes; documented in docs/security-testing.md"]
fn thousands_of_lives_agree_with_the_model() {
    run(number("VMSGATE_SIM_RUNS").unwrap_or(10_000));
}

/// A model that may less than the gateway lets through has to be contradicted.
#[test]
fn a_gateway_that_lets_more_through_than_the_model_is_found() {
    let found = (0..20).filter(|seed| catch_unwind(AssertUnwindSafe(|| live(*seed, true))).is_err()).count();
    // Not every life comes to where the two differ.
    assert!(found >= 10, "only {found} of 20 wrong models were found");
}

fn run(runs: u64) {
    let first = fastrand::u64(..1 << 48);
    let started = Instant::now();
    for seed in first..first + runs {
        if catch_unwind(AssertUnwindSafe(|| live(seed, false))).is_err() {
            panic!("repeat it with VMSGATE_SIM_SEED={seed}");
        }
    }
    let rate = runs as f64 / started.elapsed().as_secs_f64();
    println!("{runs} runs from seed {first}, {rate:.0} a second");
}

fn live(seed: u64, model_is_wrong: bool) {
    let mut world = World::new(seed, model_is_wrong);
    for _ in 0..ACTIONS {
        world.act();
        world.check();
    }
    world.end();
}

fn number(variable: &str) -> Option<u64> {
    Some(std::env::var(variable).ok()?.parse().expect("a number"))
}
