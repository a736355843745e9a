//! Ids that opencode takes from a client: they say when they were made, so that they sort in the
//! order of making, and a prompt that is sent twice under one id is run once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Ids of one millisecond are told apart by a counter below this.
const PER_MILLISECOND: u64 = 4096;
/// The bits of the time that an id carries.
const TIME_MASK: u64 = (1 << 48) - 1;
/// Random letters behind the time.
const RANDOM_CHARS: usize = 14;
const LETTERS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The last time that an id was made of, with its counter.
static LAST: AtomicU64 = AtomicU64::new(0);

/// A fresh id with that prefix (`msg`, `prt`); later ones sort behind it.
pub(super) fn fresh(prefix: &str) -> String {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(since_epoch.as_millis()).unwrap_or(0).wrapping_mul(PER_MILLISECOND);
    let next = |last: u64| Some(now.max(last.wrapping_add(1)));
    // The function never says no, so there always is a value.
    let last = LAST.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).unwrap_or(now);
    from_time(prefix, now.max(last.wrapping_add(1)), || fastrand::usize(..LETTERS.len()))
}

fn from_time(prefix: &str, time: u64, mut letter: impl FnMut() -> usize) -> String {
    let random: String = (0..RANDOM_CHARS).map(|_| char::from(LETTERS[letter() % LETTERS.len()])).collect();
    format!("{prefix}_{:012x}{random}", time & TIME_MASK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_looks_like_those_that_the_server_makes() {
        // One that was seen, and the time in its message.
        let seen = "msg_220e2c8bd001SFBtO6wLTQzDvS";
        let made = from_time("msg", 1_795_848_063_165 * PER_MILLISECOND + 1, || 0);
        assert_eq!(made.len(), seen.len());
        assert_eq!(made[..16], seen[..16]);
    }

    #[test]
    fn later_ids_sort_behind_earlier_ones() {
        let ids: Vec<String> = (0..10_000).map(|_| fresh("msg")).collect();
        assert!(ids.windows(2).all(|two| two[0] < two[1]));
    }
}
