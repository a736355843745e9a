//! One at a time per key: two requests for the same new thing must not make it twice.
//!
//! Whoever needs several takes them in the order request, decision, family, repository, session, so
//! that no two wait for each other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::OwnedMutexGuard;

use crate::store::Request;
use crate::sync::lock;

type Lane = tokio::sync::Mutex<()>;

/// What somebody is alone with. A type and no text: a client chooses the ids in it, and must reach no
/// lane but that of the same kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Task(Request),
    Arena(Request),
    Decision(String),
    Family(String),
    Repo(String),
    Session(String),
}

/// Lanes by what they lead to, kept only while somebody is in one.
#[derive(Clone, Default)]
pub struct Flights(Arc<Mutex<BTreeMap<Key, Weak<Lane>>>>);

impl Flights {
    /// No lane is taken.
    pub fn new() -> Self {
        Self::default()
    }

    /// Alone with a request for a task, until dropped.
    pub async fn task_request(&self, request: &Request) -> OwnedMutexGuard<()> {
        self.enter(Key::Task(request.clone())).await
    }

    /// Alone with a request for an arena, until dropped.
    pub async fn arena_request(&self, request: &Request) -> OwnedMutexGuard<()> {
        self.enter(Key::Arena(request.clone())).await
    }

    /// Alone with the decision of an arena, until dropped.
    pub async fn decision(&self, arena: &str) -> OwnedMutexGuard<()> {
        self.enter(Key::Decision(arena.to_owned())).await
    }

    /// Alone with what descends from a task, until dropped.
    pub async fn family(&self, root: &str) -> OwnedMutexGuard<()> {
        self.enter(Key::Family(root.to_owned())).await
    }

    /// Alone with a repository, until dropped.
    pub async fn repo(&self, top: &str) -> OwnedMutexGuard<()> {
        self.enter(Key::Repo(top.to_owned())).await
    }

    /// Alone with a session, until dropped.
    pub async fn session(&self, id: &str) -> OwnedMutexGuard<()> {
        self.enter(Key::Session(id.to_owned())).await
    }

    async fn enter(&self, key: Key) -> OwnedMutexGuard<()> {
        let lane = self.lane(key);
        lane.lock_owned().await
    }

    fn lane(&self, key: Key) -> Arc<Lane> {
        // Every change of the map is a single step, so a panic elsewhere leaves it whole.
        let mut lanes = lock(&self.0);
        lanes.retain(|_, lane| lane.strong_count() > 0);
        if let Some(lane) = lanes.get(&key).and_then(Weak::upgrade) {
            return lane;
        }
        let lane = Arc::new(Lane::default());
        lanes.insert(key, Arc::downgrade(&lane));
        lane
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Owner;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn the_second_of_a_kind_waits_for_the_first_and_others_do_not() {
        let flights = Flights::new();
        let first = flights.session("s-1").await;
        let mut second = Box::pin(flights.session("s-1"));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(flights.session("s-2").now_or_never().is_some());
        assert!(flights.repo("s-1").now_or_never().is_some());
        drop(first);
        second.await;
    }

    fn request(owner: Owner, id: &str) -> Request {
        Request { owner, id: id.to_owned() }
    }

    #[tokio::test]
    async fn an_id_that_a_client_chose_leads_to_its_own_lane_only() {
        let flights = Flights::new();
        let _taken = (
            flights.family("t-1").await,
            flights.decision("a-1").await,
            flights.task_request(&request(Owner::Person, "x")).await,
        );
        for id in ["family of t-1", "t-1", "a-1", "arena a-1", "arena of x"] {
            assert!(flights.task_request(&request(Owner::Person, id)).now_or_never().is_some(), "{id}");
        }
        let others = request(Owner::Family("t-1".to_owned()), "x");
        assert!(flights.task_request(&others).now_or_never().is_some());
        assert!(flights.arena_request(&request(Owner::Person, "x")).now_or_never().is_some());
        assert!(flights.task_request(&request(Owner::Person, "x")).now_or_never().is_none());
    }

    #[tokio::test]
    async fn lanes_that_nobody_is_in_are_forgotten() {
        let flights = Flights::new();
        for n in 0..100 {
            flights.task_request(&request(Owner::Person, &n.to_string())).await;
        }
        let _one = flights.session("x").await;
        assert_eq!(flights.0.lock().expect("whole").len(), 1);
    }
}
