//! Who hears what a server says: each conversation its own session, and the requests of the
//! sessions that its session made.

use std::collections::BTreeMap;
use std::sync::Mutex;

use hob_actors::event::Exit;
use hob_actors::ports::Permit;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use super::ears::{Heard, Read};
use super::wire::Session;
use crate::sync::lock;

/// Children that are remembered; past it the oldest by id go.
const CHILDREN_MAX: usize = 4096;

/// What a conversation is told.
#[derive(Debug)]
pub(super) enum Told {
    /// An event of its session, or of a child of it.
    Heard {
        /// What.
        heard: Heard,
        /// The event is about a session that its session made.
        child: bool,
        /// Room in the stream, held until the news of it is on the disk.
        permit: Permit,
    },
    /// The stream broke off: from here on something is missed.
    Gap,
    /// The stream is there again.
    Back,
    /// The process has ended, and its tree is gone.
    Ended(Exit),
}

/// The conversations that a server holds.
#[derive(Default)]
pub(super) struct Hub(Mutex<Routes>);

#[derive(Default)]
struct Routes {
    /// By session. Never awaited: the room in the stream is what bounds them.
    conversations: BTreeMap<String, UnboundedSender<Told>>,
    /// The conversation's session, by child.
    children: BTreeMap<String, String>,
    /// The stream is read: what the server does from here on is heard.
    connected: watch::Sender<bool>,
    /// The process is gone: whoever comes now comes too late.
    ended: Option<Exit>,
}

impl Routes {
    fn made(&mut self, session: &Session) {
        let Some(parent) = &session.parent else { return };
        let root = self.children.get(parent).unwrap_or(parent).clone();
        if self.conversations.contains_key(&root) {
            if self.children.len() >= CHILDREN_MAX {
                self.children.pop_first();
            }
            self.children.insert(session.id.clone(), root);
        }
    }

    fn turned(&self, connected: bool, told: impl Fn() -> Told) {
        self.connected.send_replace(connected);
        self.tell_all(told);
    }

    fn tell_all(&self, told: impl Fn() -> Told) {
        for conversation in self.conversations.values() {
            // One that is just ending needs no word.
            conversation.send(told()).ok();
        }
    }
}

impl Hub {
    /// From here on the session's events go to `conversation`. Whether the stream is there at that
    /// very moment: whatever becomes of it after is told.
    pub(super) fn join(&self, session: &str, conversation: UnboundedSender<Told>) -> bool {
        let mut routes = lock(&self.0);
        if let Some(exit) = &routes.ended {
            conversation.send(Told::Ended(exit.clone())).ok();
        }
        routes.conversations.insert(session.to_owned(), conversation);
        *routes.connected.borrow()
    }

    /// Resolves when the stream is there.
    pub(super) async fn connected(&self) {
        let mut connected = lock(&self.0).connected.subscribe();
        // Its sender lives as long as the hub, so there is no error.
        connected.wait_for(|is_connected| *is_connected).await.ok();
    }

    /// Nobody needs to hear of that session any more.
    pub(super) fn leave(&self, session: &str) {
        let mut routes = lock(&self.0);
        routes.conversations.remove(session);
        routes.children.retain(|_, root| root != session);
    }

    /// Passes on what was read.
    pub(super) fn pass_on(&self, read: Read, permit: Permit) {
        let mut routes = lock(&self.0);
        match read {
            Read::Nothing => {}
            Read::Made(session) => routes.made(&session),
            Read::For(session, heard) => {
                let root = routes.children.get(&session);
                let child = root.is_some();
                let conversation = routes.conversations.get(root.unwrap_or(&session));
                if let Some(conversation) = conversation {
                    conversation.send(Told::Heard { heard, child, permit }).ok();
                }
            }
        }
    }

    /// The session of the conversation that answers for this one: its own, or that of a parent.
    pub(super) fn root_of(&self, session: &str) -> Option<String> {
        let routes = lock(&self.0);
        let root = routes.children.get(session).map_or(session, String::as_str);
        routes.conversations.contains_key(root).then(|| root.to_owned())
    }

    /// A session turned out to be the child of another, which nobody had said.
    pub(super) fn learn(&self, session: &Session) {
        lock(&self.0).made(session);
    }

    /// The stream broke off.
    pub(super) fn gap(&self) {
        lock(&self.0).turned(false, || Told::Gap);
    }

    /// It is there again.
    pub(super) fn back(&self) {
        lock(&self.0).turned(true, || Told::Back);
    }

    /// The process is gone.
    pub(super) fn ended(&self, exit: &Exit) {
        let mut routes = lock(&self.0);
        routes.ended = Some(exit.clone());
        routes.tell_all(|| Told::Ended(exit.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    fn session(id: &str, parent: Option<&str>) -> Session {
        let parent = parent.map(str::to_owned);
        Session { id: id.to_owned(), parent, cost: None, model: None, agent: None }
    }

    fn joined(hub: &Hub, id: &str) -> UnboundedReceiver<Told> {
        let (to, from) = unbounded_channel();
        hub.join(id, to);
        from
    }

    fn answered(session: &str) -> Read {
        Read::For(session.to_owned(), Heard::Answered("per_1".into()))
    }

    #[test]
    fn each_hears_its_own_and_what_its_children_ask() {
        let hub = Hub::default();
        let (mut left, mut right) = (joined(&hub, "left"), joined(&hub, "right"));
        hub.pass_on(Read::Made(session("child", Some("left"))), Permit::free());
        hub.pass_on(Read::Made(session("grandchild", Some("child"))), Permit::free());
        hub.pass_on(Read::Made(session("stray", Some("nobody"))), Permit::free());
        for of in ["right", "grandchild", "stray"] {
            hub.pass_on(answered(of), Permit::free());
        }
        assert!(matches!(left.try_recv(), Ok(Told::Heard { child: true, .. })));
        assert!(left.try_recv().is_err());
        assert!(matches!(right.try_recv(), Ok(Told::Heard { child: false, .. })));
        assert_eq!(hub.root_of("grandchild").as_deref(), Some("left"));
        hub.leave("left");
        assert_eq!(hub.root_of("grandchild"), None);
    }

    #[tokio::test]
    async fn whoever_joins_learns_whether_the_stream_is_there_and_can_wait_for_it() {
        let hub = Hub::default();
        let joins = |id| {
            let (to, from) = unbounded_channel();
            (hub.join(id, to), from)
        };
        let (is_connected, mut early) = joins("early");
        assert!(!is_connected);
        assert!(hub.connected().now_or_never().is_none());
        let (waited, ()) = tokio::join!(hub.connected(), async { hub.back() });
        assert_eq!(waited, ());
        assert!(matches!(early.try_recv(), Ok(Told::Back)));
        assert!(joins("late").0);
        hub.gap();
        assert!(hub.connected().now_or_never().is_none());
        assert!(matches!(early.try_recv(), Ok(Told::Gap)));
        assert!(!joins("later").0);
    }

    #[test]
    fn whoever_comes_too_late_hears_of_the_end() {
        let hub = Hub::default();
        hub.ended(&Exit { code: Some(1), ..Exit::default() });
        assert!(matches!(joined(&hub, "late").try_recv(), Ok(Told::Ended(Exit { code: Some(1), .. }))));
    }
}
