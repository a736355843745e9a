//! Who is looking: the connections on which a person can answer permission requests.
//!
//! Counts subscriptions by what they are subscribed to. Does not answer anything: when nobody
//! looks at a chat any more, its agent's questions are answered by policy, in the tree.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hob_actors::id::ChatId;
use hob_actors::ports;

use super::Services;

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

/// Who is looking. Cheap to clone; all clones are the same.
#[derive(Clone, Default)]
pub struct Audience(Arc<Mutex<Seats>>);

impl Audience {
    /// Nobody is looking.
    pub fn new() -> Self {
        Self::default()
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ports::Audience for Audience {
    fn watches(&self, chat: &ChatId) -> bool {
        self.is_watched(chat.as_str())
    }
}

/// A seat in the audience. Dropping it leaves, and tells the tree where nobody is left.
pub struct Seat {
    services: Arc<Services>,
    view: View,
}

impl Seat {
    /// Takes a seat.
    pub fn take(services: Arc<Services>, view: View) -> Self {
        services.audience.enter(view.clone());
        Self { services, view }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.services.audience.leave(&self.view);
        // At the very end of the daemon there may be no runtime, and nothing left to tell.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tell_those_left(self.services.clone()));
        }
    }
}

/// Tells the tree of every chat with a waiting question that nobody looks at.
async fn tell_those_left(services: Arc<Services>) {
    let Ok(waiting) = services.store.permissions(None, Some("pending")).await else {
        // The store is gone, and with it the daemon.
        return;
    };
    let mut chats: Vec<String> = waiting.into_iter().map(|permission| permission.chat).collect();
    chats.dedup();
    for chat in chats {
        if let Ok(Some(row)) = services.store.chat(&chat).await {
            services.audience.learn(&chat, &row.session);
        }
        if !services.audience.is_watched(&chat) {
            services.tree.audience_left(ChatId::from(chat));
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
}
