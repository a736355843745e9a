//! The events of one chat, through everything that may happen to the connection.
//!
//! It remembers the last number it saw, so a daemon that restarts costs no event and shows none
//! twice. While it is subscribed, somebody is there to answer the agent's questions.

use std::sync::Arc;
use std::time::Instant;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::door::Door;
use crate::cli::error::CliError;
use crate::cli::follow::{Pause, RETURN_TIMEOUT};
use crate::cli::link::Link;

/// A subscription that outlives its connection.
pub(super) struct Feed {
    door: Arc<Door>,
    chat: String,
    /// Whether the client answers questions.
    answers: bool,
    after: Option<i64>,
    /// The connection, and the subscription on it.
    link: Option<(Link, String)>,
    /// Since when there is no connection.
    lost: Option<Instant>,
}

#[derive(Deserialize)]
struct Subscribed {
    subscription: String,
    head: i64,
}

#[derive(Deserialize)]
struct Numbered {
    seq: i64,
}

impl Feed {
    /// Subscribes to what comes from now on.
    pub(super) async fn open(door: Arc<Door>, chat: &str) -> Result<Self, CliError> {
        let mut feed =
            Self { door, chat: chat.to_owned(), answers: true, after: None, link: None, lost: None };
        feed.ready().await?;
        Ok(feed)
    }

    /// The number of the last event that was seen; at first, of the last before it was opened.
    pub(super) fn seen(&self) -> i64 {
        self.after.unwrap_or_default()
    }

    /// Leaves the questions to others: the client cannot be asked.
    pub(super) async fn give_up_answering(&mut self) {
        self.answers = false;
        if let Some((link, subscription)) = self.link.take() {
            // Said, and not only hung up: a daemon takes that for a client that listens on, until
            // the next event finds nobody. One that is gone has no seats any more.
            let params = json!({"subscription": subscription});
            link.call::<serde_json::Value>("events/unsubscribe", params).await.ok();
        }
    }

    /// Waits until it is subscribed, and starts a daemon for that.
    ///
    /// # Errors
    /// The daemon cannot be reached, or there is no such chat.
    pub(super) async fn ready(&mut self) -> Result<(), CliError> {
        match self.link {
            Some(_) => Ok(()),
            None => {
                // However long it was away while nobody needed it.
                self.lost = None;
                self.reach(true).await
            }
        }
    }

    /// The next event. With `needed` a daemon that went away is started, and given up after a
    /// while; without, it is waited for. May be dropped and asked again: nothing is lost.
    ///
    /// # Errors
    /// It was given up, or there is no such chat any more.
    pub(super) async fn next(&mut self, needed: bool) -> Result<Box<RawValue>, CliError> {
        loop {
            let Some((link, _)) = &mut self.link else {
                self.reach(needed).await?;
                continue;
            };
            match link.event().await {
                Ok(event) => {
                    let Numbered { seq } = serde_json::from_str(event.get())?;
                    self.after = self.after.max(Some(seq));
                    return Ok(event);
                }
                Err(_) => self.link = None,
            }
        }
    }

    async fn reach(&mut self, needed: bool) -> Result<(), CliError> {
        let since = *self.lost.get_or_insert_with(Instant::now);
        let mut pause = Pause::default();
        loop {
            let error = match self.subscribe(needed).await {
                Ok(link) => {
                    (self.link, self.lost) = (Some(link), None);
                    return Ok(());
                }
                Err(error) => error,
            };
            if self.is_over(&error, needed, since) {
                return Err(error);
            }
            pause.wait().await;
        }
    }

    /// Whether it is no use to try again.
    fn is_over(&self, error: &CliError, needed: bool, since: Instant) -> bool {
        if !needed {
            return error.is_not_found();
        }
        // The first time nothing was lost that could come back.
        let is_first = self.after.is_none();
        !error.is_no_daemon() || is_first || since.elapsed() > RETURN_TIMEOUT || self.door.ends()
    }

    async fn subscribe(&mut self, start: bool) -> Result<(Link, String), CliError> {
        let link = self.door.link(start).await?;
        let mut params = json!({"chat": self.chat, "answers_permissions": self.answers});
        if let Some(after) = self.after {
            params["after"] = json!(after);
        }
        let subscribed: Subscribed = link.call("events/subscribe", params).await?;
        self.after = self.after.or(Some(subscribed.head));
        Ok((link, subscribed.subscription))
    }
}
