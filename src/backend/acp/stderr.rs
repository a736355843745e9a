//! The end of what an agent writes to stderr: read all the time, kept within a bound, shown
//! without secrets.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::config::is_secret_name;
use crate::sync::lock;

/// Shorter values are not taken for secrets: they would hide half of every message.
const SECRET_BYTES_MIN: usize = 6;
/// What is read at once.
const READ_BYTES: usize = 8 * 1024;
/// What stands for a secret.
const REDACTED: &str = "<redacted>";

/// The values in an environment that nobody must read in a log, longest first.
pub fn secrets(env: &BTreeMap<String, String>) -> Vec<String> {
    let mut values: Vec<String> = env
        .iter()
        .filter(|(name, value)| is_secret_name(name) && value.len() >= SECRET_BYTES_MIN)
        .map(|(_, value)| value.clone())
        .collect();
    // Where one secret begins with another, the longer one goes first.
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    values.dedup();
    values
}

/// The end of a stream. Clones share it.
#[derive(Clone)]
pub(in crate::backend) struct Tail(Arc<Mutex<Ring>>);

struct Ring {
    kept: VecDeque<u8>,
    keep_bytes: usize,
    secrets: Vec<String>,
}

impl Tail {
    /// Keeps the last `keep_bytes` bytes, and shows them without `secrets`.
    pub(in crate::backend) fn new(keep_bytes: usize, secrets: Vec<String>) -> Self {
        Self(Arc::new(Mutex::new(Ring { kept: VecDeque::new(), keep_bytes, secrets })))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Ring) -> T) -> T {
        // A panic half-way leaves a ring that is at worst too long by one read.
        act(&mut lock(&self.0))
    }

    pub(in crate::backend) fn push(&self, bytes: &[u8]) {
        self.with(|ring| {
            // A secret that begins before the end that is shown must be seen whole to be known.
            let room = ring.keep_bytes + ring.longest_secret();
            ring.kept.extend(bytes);
            let excess = ring.kept.len().saturating_sub(room);
            ring.kept.drain(..excess);
        });
    }

    /// The end as text, secrets replaced.
    pub(in crate::backend) fn text(&self) -> String {
        self.with(|ring| ring.text())
    }
}

impl Ring {
    fn longest_secret(&self) -> usize {
        self.secrets.first().map_or(0, String::len)
    }

    fn text(&mut self) -> String {
        let keep_bytes = self.keep_bytes;
        let bytes = &*self.kept.make_contiguous();
        // Where something was dropped, what lies before this may be the rest of a secret.
        let mut plain_from = bytes.len().saturating_sub(keep_bytes);
        let mut shown = String::new();
        let mut at = 0;
        while at < bytes.len() {
            let Some(secret) = self.secrets.iter().find(|secret| bytes[at..].starts_with(secret.as_bytes()))
            else {
                at += 1;
                continue;
            };
            let end = at + secret.len();
            if end > plain_from {
                shown.push_str(&String::from_utf8_lossy(bytes.get(plain_from..at).unwrap_or_default()));
                shown.push_str(REDACTED);
                plain_from = end;
            }
            at = end;
        }
        shown.push_str(&String::from_utf8_lossy(&bytes[plain_from..]));
        shown
    }
}

/// Reads until the end. The agent can always write: nothing waits for anyone who looks.
pub(in crate::backend) async fn drain(mut stderr: impl AsyncRead + Unpin, tail: Tail) {
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(n_bytes @ 1..) = stderr.read(&mut buffer).await {
        tail.push(&buffer[..n_bytes]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn secrets_are_known_by_the_names_of_their_variables() {
        let env = env(&[
            ("OPENAI_API_KEY", "sk-abcdef"),
            ("db_password", "hunter2"),
            ("GITHUB_TOKEN", "short"),
            ("HOME", "/home/somebody"),
        ]);
        assert_eq!(secrets(&env), ["sk-abcdef", "hunter2"]);
    }

    #[test]
    fn a_secret_is_replaced_wherever_it_stands() {
        let tail = Tail::new(1000, vec!["sk-abcdef".into(), "hunter2".into()]);
        tail.push(b"key sk-abc");
        tail.push(b"def is wrong, hunter2hunter2 too");
        assert_eq!(tail.text(), "key <redacted> is wrong, <redacted><redacted> too");
    }

    #[test]
    fn only_the_end_is_kept() {
        let tail = Tail::new(10, vec![]);
        for n in 0..1000 {
            tail.push(format!("line {n}\n").as_bytes());
        }
        assert_eq!(tail.text(), "\nline 999\n");
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_such() {
        let tail = Tail::new(10, vec![]);
        tail.push(b"a\xffb");
        assert_eq!(tail.text(), "a\u{fffd}b");
    }

    proptest! {
        #[test]
        fn no_piece_of_a_secret_that_matters_is_ever_shown(
            before in "[a-c ]{0,60}", after in "[a-c ]{0,60}", keep in 1usize..50, cut in 1usize..20,
        ) {
            let secret = "SECRETVALUE";
            let tail = Tail::new(keep, vec![secret.to_owned()]);
            let text = format!("{before}{secret}{after}");
            for piece in text.as_bytes().chunks(cut) {
                tail.push(piece);
            }
            let shown = tail.text().replace(REDACTED, "");
            prop_assert!(!shown.contains(|c: char| c.is_ascii_uppercase()), "{}", shown);
        }
    }

    #[tokio::test]
    async fn a_flood_is_drained_and_bounded() {
        let tail = Tail::new(1024, vec![]);
        let flood = tokio::io::repeat(b'x').take(10 << 20);
        drain(flood, tail.clone()).await;
        assert_eq!(tail.text().len(), 1024);
    }
}
