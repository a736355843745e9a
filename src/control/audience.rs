//! Who is looking: the connections on which a person can answer permission requests.
//!
//! Counts subscriptions by what they are subscribed to. Does not answer anything: when nobody
//! looks at a chat any more, its agent's questions are answered by policy, in the tree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use hob_actors::id::{AgentKey, ChatId};
use hob_actors::{ports, tree};

use crate::store::Store;
use crate::sync::lock;

/// What a subscription looks at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum View {
    /// Every chat.
    Everything,
    /// The chats of a session.
    Session(String),
    /// One chat.
    Chat(String),
}

#[derive(Default)]
struct Seats {
    taken: BTreeMap<View, usize>,
    /// The session of every chat that was looked at or prompted.
    session_of: BTreeMap<String, String>,
}

#[derive(Default)]
struct Inner {
    seats: Mutex<Seats>,
    /// How many connections hold a pin.
    pins: Mutex<BTreeMap<AgentKey, usize>>,
    /// The tree asks who is looking, so it is there only after this.
    tree: OnceLock<tree::Handle>,
}

/// Who is looking. Cheap to clone; all clones are the same.
#[derive(Clone, Default)]
pub struct Audience(Arc<Inner>);

impl Audience {
    /// Nobody is looking.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the tree that is told when nobody looks at a chat any more. Once is enough.
    pub fn attach(&self, tree: tree::Handle) {
        // A second tree would be a second daemon.
        self.0.tree.set(tree).ok();
    }

    /// Remembers which session a chat belongs to, for those who look at whole sessions.
    pub fn learn(&self, chat: &str, session: &str) {
        let mut seats = self.seats();
        if !seats.session_of.contains_key(chat) {
            seats.session_of.insert(chat.to_owned(), session.to_owned());
        }
    }

    /// Forgets a chat that was closed.
    pub fn forget(&self, chat: &str) {
        self.seats().session_of.remove(chat);
    }

    fn enter(&self, view: View) {
        *self.seats().taken.entry(view).or_default() += 1;
    }

    fn leave(&self, view: &View) {
        let mut seats = self.seats();
        if let Some(n) = seats.taken.get_mut(view) {
            *n -= 1;
            if *n == 0 {
                seats.taken.remove(view);
            }
        }
    }

    fn is_watched(&self, chat: &str) -> bool {
        let seats = self.seats();
        let taken = |view: &View| seats.taken.contains_key(view);
        taken(&View::Everything)
            || taken(&View::Chat(chat.to_owned()))
            || seats.session_of.get(chat).is_some_and(|session| taken(&View::Session(session.clone())))
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        // Every change is a single step, so a panic elsewhere leaves the counts whole.
        lock(&self.0.seats)
    }
}

impl ports::Audience for Audience {
    fn watches(&self, chat: &ChatId) -> bool {
        self.is_watched(chat.as_str())
    }

    fn pinned(&self, key: &AgentKey) -> bool {
        lock(&self.0.pins).contains_key(key)
    }
}

/// A seat in the audience. Dropping it leaves, and tells the tree where nobody is left.
pub struct Seat {
    audience: Audience,
    store: Store,
    view: View,
}

impl Seat {
    /// Takes a seat.
    pub fn take(audience: Audience, store: Store, view: View) -> Self {
        audience.enter(view.clone());
        Self { audience, store, view }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.audience.leave(&self.view);
        // At the very end of the daemon there may be no runtime, and nothing left to tell.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tell_those_left(self.audience.clone(), self.store.clone()));
        }
    }
}

/// A pin on an agent session: it is not evicted while one is held. Dropping it unpins.
pub struct Pin {
    audience: Audience,
    key: AgentKey,
}

impl Pin {
    /// Pins an agent session.
    pub fn take(audience: Audience, key: AgentKey) -> Self {
        *lock(&audience.0.pins).entry(key.clone()).or_default() += 1;
        Self { audience, key }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = lock(&self.audience.0.pins);
        if let Some(n) = pins.get_mut(&self.key) {
            *n -= 1;
            if *n == 0 {
                pins.remove(&self.key);
            }
        }
    }
}

/// Tells the tree of every chat with a waiting question that nobody looks at.
async fn tell_those_left(audience: Audience, store: Store) {
    let (Some(tree), Ok(waiting)) = (audience.0.tree.get(), store.permissions(None, Some("pending")).await)
    else {
        // Without a tree or a store there is no daemon any more.
        return;
    };
    let chats: BTreeSet<String> = waiting.into_iter().map(|permission| permission.chat).collect();
    for chat in chats {
        if let Ok(Some(row)) = store.chat(&chat).await {
            audience.learn(&chat, &row.session);
        }
        if !audience.is_watched(&chat) {
            tree.audience_left(ChatId::from(chat));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_is_watched_as_long_as_somebody_looks_at_it_its_session_or_everything() {
        let audience = Audience::new();
        audience.learn("c-1", "s-1");
        audience.learn("c-2", "s-2");
        let views = [View::Everything, View::Session("s-1".into()), View::Chat("c-1".into())];
        for view in views {
            assert!(!audience.is_watched("c-1"));
            audience.enter(view.clone());
            audience.enter(view.clone());
            assert!(audience.is_watched("c-1"), "{view:?}");
            assert_eq!(audience.is_watched("c-2"), view == View::Everything);
            audience.leave(&view);
            assert!(audience.is_watched("c-1"), "{view:?}: one is left");
            audience.leave(&view);
        }
        assert!(!audience.is_watched("c-1"));
        assert!(audience.seats().taken.is_empty());
    }

    #[test]
    fn an_agent_session_is_pinned_until_its_last_pin_is_dropped() {
        use hob_actors::ports::Audience as _;
        let audience = Audience::new();
        let (key, other) = (AgentKey::new("c-1", "goose"), AgentKey::new("c-1", "qwen"));
        let first = Pin::take(audience.clone(), key.clone());
        let second = Pin::take(audience.clone(), key.clone());
        assert!(audience.pinned(&key) && !audience.pinned(&other));
        drop(first);
        assert!(audience.pinned(&key));
        drop(second);
        assert!(!audience.pinned(&key));
    }
}
