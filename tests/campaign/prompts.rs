//! What the agents of the load are asked: short turns of every kind, some to be cancelled, some
//! that end their agent.

use std::time::Duration;

use fastrand::Rng;

use super::stage::FAULT;
use crate::support::demo::DEMO;

/// Chats of the built-in agent; the others have the one that misbehaves.
pub const DEMO_CHATS: usize = 5;
/// The longest time from a submit to its cancel.
const CANCEL_AFTER_MAX_MS: u64 = 150;

/// One thing to ask.
pub struct Ask {
    /// Whom.
    pub agent: &'static str,
    /// What, with the request that it is of.
    pub prompt: String,
    /// It ends its agent.
    pub breaks: bool,
    /// When it is cancelled. A prompt that would never end always is.
    pub cancel: Option<Duration>,
}

/// Weight, words, whether it breaks, and whether it is cancelled.
type Kind = (u32, &'static str, bool, bool);

const DEMO_KINDS: &[Kind] = &[
    (6, "say: hello", false, false),
    (6, "slow: 8 10", false, false),
    (3, "think: hm ;; plan: a, b ;; usage: 10 2 ;; say: done", false, false),
    (5, "ask: May I? ;; say: thank you", false, false),
    (2, "shell: echo here ;; say: done", false, false),
    (1, "shell: setsid sleep 86413 </dev/null >/dev/null 2>&1 & echo away ;; slow: 5 10", false, false),
    (3, "hang", false, true),
    (3, "slow: 500 20", false, true),
    (2, "ask: May I? ;; hang", false, true),
    (1, "crash", true, false),
];

const FAULT_KINDS: &[Kind] = &[
    (6, "well", false, false),
    (3, "late-updates", false, false),
    (2, "unknown-update", false, false),
    (3, "cancel-end-turn", false, true),
    (2, "cancel-error", false, true),
    (2, "lose-first-cancel", false, true),
    (1, "never-answer", false, true),
    (1, "exit", true, false),
];

/// What to ask next in a chat.
pub fn next(rng: &mut Rng, chat: usize, request: &str) -> Ask {
    let demo = chat < DEMO_CHATS;
    let kinds = if demo { DEMO_KINDS } else { FAULT_KINDS };
    let mut left = rng.u32(0..kinds.iter().map(|kind| kind.0).sum());
    let (_, words, breaks, cancelled) = kinds
        .iter()
        .find(|kind| {
            let hit = left < kind.0;
            left = left.saturating_sub(kind.0);
            hit
        })
        .copied()
        .unwrap_or(kinds[0]);
    Ask {
        agent: if demo { DEMO } else { FAULT },
        prompt: if demo { format!("[{request}]\n{words}") } else { format!("[{request}] fault: {words}") },
        breaks,
        cancel: cancelled.then(|| Duration::from_millis(rng.u64(0..CANCEL_AFTER_MAX_MS))),
    }
}
