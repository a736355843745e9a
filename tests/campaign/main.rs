//! The crash campaign: under a load of eight chats the daemon is killed, at random instants and at
//! named points, alone and with its keepers; and then every promise is looked at.
//!
//! `cargo test` runs one short round of random kills. With `--features campaign` the long campaign
//! runs, and the mutants: mistakes that the daemon is made to make, each of which the checker must
//! notice. `HOB_CAMPAIGN_SEED` repeats a seed that was printed.
//!
//! ```text
//! stage: a home, a daemon ◀── kill: when it dies ──── points: where
//!    ▲                             │
//!    │ load, follow: clients ──▶ facts ──▶ check: violations
//! ```

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]
#![expect(
    clippy::disallowed_methods,
    reason = "it starts daemons, looks again, and waits for random instants"
)]
#![expect(clippy::result_large_err, reason = "an error is read once and shown whole")]
#![expect(unreachable_pub, reason = "a program whose modules are each other's library")]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "it holds what the other tests need as well")]
mod support;

#[path = "../matrix/site.rs"]
#[expect(dead_code, reason = "it holds what the matrix needs as well")]
mod site;

mod applying;
mod check;
mod facts;
mod follow;
mod kill;
mod link;
mod load;
mod long;
mod meddle;
mod mutants;
mod points;
mod prompts;
mod removal;
mod round;
mod stage;
mod tally;
mod windows;

use kill::Keepers;
use round::Plan;

/// What repeats a run.
fn seed() -> u64 {
    let given = std::env::var("HOB_CAMPAIGN_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("HOB_CAMPAIGN_SEED={seed}");
    seed
}

/// Kills in the short campaign.
const SHORT_KILLS: usize = 20;

#[test]
fn no_promise_is_broken_by_kills_at_random_instants() {
    let plan = Plan { at: None, keepers: Keepers::Either, n_kills: SHORT_KILLS, seed: seed() };
    let tally = round::run(&plan);
    eprintln!("{tally}");
    assert!(tally.violations.is_empty(), "{:#?}", tally.violations);
    assert!(tally.n_tasks > 0 && tally.n_events > 0);
}
