//! Benches: what the daemon costs, measured on the real `hobd` with the built-in agent.
//!
//! ```text
//! cargo bench                 everything, in a few minutes
//! cargo bench -- control      what has this in its name
//! ```
//! A machine that does other things too makes any duration worthless by itself, so each bench
//! measures, in turns and in the same run, what cannot be avoided: the same bytes over a plain
//! socket, the same agent over plain pipes, the same rows into SQLite. Criterion runs the rounds and
//! compares with the last run; the lines that begin with `=` are what `docs/performance.md` tells.
//!
//! **Invariant:** every daemon and agent that is started here is ended here, and a bench fails when
//! a process of its own is left behind.

#![expect(unreachable_pub, reason = "the support modules are shared with the tests")]
#![expect(clippy::disallowed_methods, reason = "a bench starts the daemon, plays the user and waits")]
#![expect(clippy::unwrap_used, reason = "in a bench a panic is the report")]

use criterion::Criterion;

mod agents;
mod control;
mod crowd;
mod events;
mod recovery;
mod start;
mod support;
mod turn;
mod worktrees;

fn main() {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    // `cargo test --benches` runs every bench once, to see that it works.
    let whole = std::env::args().any(|argument| argument == "--bench");
    support::machine::describe();
    let mut criterion = Criterion::default().configure_from_args();
    control::run(&mut criterion);
    turn::run(&mut criterion);
    events::run(&mut criterion);
    recovery::run(&mut criterion);
    start::run(&mut criterion, if whole { start::WHOLE } else { start::SMALL });
    // One measurement of many things, without criterion.
    if wanted.as_ref().is_none_or(|wanted| "crowd".contains(wanted)) {
        crowd::run(if whole { &crowd::WHOLE } else { &crowd::SMALL });
    }
    if wanted.as_ref().is_none_or(|wanted| "agents".contains(wanted)) {
        agents::run(if whole { &agents::WHOLE } else { &agents::SMALL });
    }
    if wanted.is_none_or(|wanted| "worktrees".contains(&*wanted)) {
        worktrees::run(if whole { &worktrees::WHOLE } else { &worktrees::SMALL });
    }
    criterion.final_summary();
}
