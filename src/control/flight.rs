//! One at a time per key: two requests for the same new thing must not make it twice.
//!
//! Whoever needs several takes them in the order request, repository, session, so that no two
//! wait for each other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::OwnedMutexGuard;

use crate::sync::lock;

type Lane = tokio::sync::Mutex<()>;

/// Lanes by name, kept only while somebody is in one.
#[derive(Clone, Default)]
pub struct Flights(Arc<Mutex<BTreeMap<String, Weak<Lane>>>>);

impl Flights {
    /// No lane is taken.
    pub fn new() -> Self {
        Self::default()
    }

    /// Alone with the `request_id` of a client, until dropped.
    pub async fn request(&self, id: &str) -> OwnedMutexGuard<()> {
        self.enter(format!("request {id}")).await
    }

    /// Alone with a repository, until dropped.
    pub async fn repo(&self, top: &str) -> OwnedMutexGuard<()> {
        self.enter(format!("repo {top}")).await
    }

    /// Alone with a session, until dropped.
    pub async fn session(&self, id: &str) -> OwnedMutexGuard<()> {
        self.enter(format!("session {id}")).await
    }

    async fn enter(&self, key: String) -> OwnedMutexGuard<()> {
        let lane = self.lane(key);
        lane.lock_owned().await
    }

    fn lane(&self, key: String) -> Arc<Lane> {
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

    #[tokio::test]
    async fn lanes_that_nobody_is_in_are_forgotten() {
        let flights = Flights::new();
        for n in 0..100 {
            flights.request(&n.to_string()).await;
        }
        let _one = flights.request("x").await;
        assert_eq!(flights.0.lock().expect("whole").len(), 1);
    }
}
