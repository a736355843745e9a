//! A follower: reads the journal as it grows, and goes on behind the last event that it saw
//! whenever its connection ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use serde_json::json;

use super::facts::{Entry, Followed};
use super::link::Link;
use super::load::Shared;

/// How long a follower listens before it looks whether everybody ends.
pub const LOOK: Duration = Duration::from_millis(50);
/// Between two attempts to reach a daemon that is not there.
const AGAIN: Duration = Duration::from_millis(4);
/// One that comes and goes leaves after about so many events.
const FLAPS_AFTER: u32 = 80;

/// Who follows.
pub struct Follower {
    /// Its name in a report.
    pub name: &'static str,
    /// Of which chat; of all if `None`.
    pub chat: Option<String>,
    /// It comes and goes by itself.
    pub flaps: bool,
    /// Where it is.
    pub at: Arc<AtomicI64>,
    /// When it goes.
    pub rng: Rng,
}

/// Follows until everybody ends.
pub fn follow(shared: &Shared, follower: Follower) -> Followed {
    let Follower { name, chat, flaps, at, mut rng } = follower;
    let mut seen: Vec<Entry> = Vec::new();
    while !shared.is_over() {
        let after = seen.last().map_or(0, |entry| entry.seq);
        let params = json!({ "after": after, "chat": chat });
        let subscribed = Link::to(&shared.socket).and_then(|mut link| {
            let answer = link.call("events/subscribe", params)?;
            Ok(answer.map(|_| link))
        });
        // A daemon that is stopping refuses; another follows.
        let Ok(Ok(mut link)) = subscribed else {
            std::thread::sleep(AGAIN);
            continue;
        };
        while let Ok(event) = link.event(LOOK) {
            if let Some(event) = event {
                let entry = Entry::of(event);
                at.store(entry.seq, Ordering::Relaxed);
                seen.push(entry);
            }
            if shared.is_over() || (flaps && rng.u32(0..FLAPS_AFTER) == 0) {
                break;
            }
        }
    }
    Followed { name: name.to_owned(), chat, seen }
}
