//! The long campaign: hundreds of random kills, ten at each point, and all of it again with the
//! keepers killed in the same instant.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Instant;

use fastrand::Rng;

use super::kill::Keepers;
use super::points::POINTS;
use super::round::{self, Plan};
use super::tally::Tally;

/// Random kills, and as many with the keepers.
const RANDOM_KILLS: usize = 200;
/// Kills in one round of them.
const ROUND_KILLS: usize = 20;
/// Kills at each point, and as many with the keepers.
const POINT_KILLS: usize = 10;
/// Rounds beside each other: most of a round is waiting.
const LANES: usize = 3;
/// Only rounds at points whose name holds this text, if it is set.
const ONLY: &str = "HOB_CAMPAIGN_ONLY";

fn plans(seed: u64) -> VecDeque<Plan> {
    let mut rng = Rng::with_seed(seed);
    let mut plans = VecDeque::new();
    for keepers in [Keepers::Live, Keepers::Die] {
        for _ in 0..RANDOM_KILLS / ROUND_KILLS {
            plans.push_back(Plan { at: None, keepers, n_kills: ROUND_KILLS, seed: rng.u64(..) });
        }
        for point in POINTS {
            plans.push_back(Plan { at: Some(*point), keepers, n_kills: POINT_KILLS, seed: rng.u64(..) });
        }
    }
    if let Ok(only) = std::env::var(ONLY) {
        plans.retain(|plan| plan.at.is_some_and(|point| point.name.contains(&only)));
    }
    plans
}

#[test]
#[cfg_attr(not(feature = "campaign"), ignore = "needs the cargo feature `campaign`")]
fn no_promise_is_broken_by_kills_at_any_point() {
    let start = Instant::now();
    let plans = plans(super::seed());
    let (n_plans, asked_for) = (plans.len(), plans.clone());
    let (plans, tally, n_done) = (Mutex::new(plans), Mutex::new(Tally::default()), Mutex::new(0));
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                while let Some(plan) = { plans.lock().unwrap().pop_front() } {
                    let one = round::run(&plan);
                    let mut n_done = n_done.lock().unwrap();
                    *n_done += 1;
                    let at = plan.at.map_or("at random", |point| point.name);
                    let seconds = start.elapsed().as_secs();
                    eprintln!("[{seconds} s, {n_done} of {n_plans}] {at}, keepers {:?}: {one}", plan.keepers);
                    tally.lock().unwrap().add(one);
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap();
    for (at, (alone, with)) in &tally.kills {
        eprintln!("{at:50} {alone:4} {with:4}");
    }
    eprintln!("{tally}, in {} s", start.elapsed().as_secs());
    assert!(tally.violations.is_empty(), "{:#?}", tally.violations);
    for plan in asked_for {
        let (alone, with) = tally.kills_at(plan.at.map_or("at random", |point| point.name));
        let (n, wanted) = match (plan.keepers, plan.at) {
            (Keepers::Die, None) => (with, RANDOM_KILLS),
            (Keepers::Die, Some(_)) => (with, POINT_KILLS),
            (_, None) => (alone, RANDOM_KILLS),
            (_, Some(_)) => (alone, POINT_KILLS),
        };
        assert!(n >= wanted as u64, "{plan:?} killed {n} times instead of {wanted}");
    }
}
