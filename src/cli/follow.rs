//! Follows events through everything that may happen to a connection.
//!
//! It remembers the last number it saw, so that a daemon that restarts in the middle costs
//! neither an event nor shows one twice.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::context::Ctx;
use super::error::CliError;
use super::event::EventRow;
use super::link::Link;

/// How long a restart of the daemon may take before a command that needs an end gives up.
pub const RETURN_TIMEOUT: Duration = Duration::from_secs(60);

/// The pauses between attempts to reach it again: the first, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A pause between attempts to reach the daemon, which grows each time.
#[derive(Debug)]
pub struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(PAUSE_MIN)
    }
}

impl Pause {
    /// Waits.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(PAUSE_MAX);
    }
}

/// How long a daemon that went away is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// As long as it takes: the person ends it.
    Forever,
    /// [`RETURN_TIMEOUT`], then it is an error.
    Limited,
}

/// A subscription that outlives its connection.
pub struct Follower {
    filter: Value,
    after: Option<i64>,
    patience: Patience,
    state: State,
}

enum State {
    /// Never subscribed; there may be a connection to use.
    New(Option<Link>),
    Subscribed(Box<Link>),
    Lost,
}

#[derive(Deserialize)]
struct Subscribed {
    head: i64,
}

impl Follower {
    /// Follows what the parameters of `events/subscribe` in `filter` let through: everything
    /// later than `after`, or from now on.
    pub fn new(filter: Value, after: Option<i64>, patience: Patience) -> Self {
        Self { filter, after, patience, state: State::New(None) }
    }

    /// Uses a connection that is there already for the first subscription.
    #[must_use]
    pub fn over(mut self, link: Link) -> Self {
        self.state = State::New(Some(link));
        self
    }

    /// The subscribed connection, made again where it broke.
    pub async fn link(&mut self, ctx: &mut Ctx) -> Result<&mut Link, CliError> {
        if !matches!(self.state, State::Subscribed(_)) {
            let link = self.connect(ctx).await?;
            self.state = State::Subscribed(Box::new(link));
        }
        match &mut self.state {
            State::Subscribed(link) => Ok(link),
            State::New(_) | State::Lost => Err(CliError::failed("there is no connection")),
        }
    }

    /// Takes note that a call found the connection broken.
    pub fn disconnected(&mut self) {
        self.state = State::Lost;
    }

    /// The next event. It may be dropped and asked again: nothing is lost.
    pub async fn next(&mut self, ctx: &mut Ctx) -> Result<EventRow, CliError> {
        loop {
            match self.link(ctx).await?.event().await {
                Ok(raw) => {
                    let event = EventRow::read(raw);
                    self.after = self.after.max(Some(event.seq));
                    return Ok(event);
                }
                Err(error) if error.is_no_daemon() => self.disconnected(),
                Err(error) => return Err(error),
            }
        }
    }

    /// Connects and subscribes. The first time a daemon may be started; later it is waited for.
    async fn connect(&mut self, ctx: &mut Ctx) -> Result<Link, CliError> {
        let mut link = match std::mem::replace(&mut self.state, State::Lost) {
            State::New(Some(link)) => link,
            State::New(None) => ctx.link().await?,
            State::Subscribed(_) | State::Lost => self.reach_again(ctx).await?,
        };
        loop {
            match self.subscribe(&link).await {
                Ok(()) => return Ok(link),
                // It broke again meanwhile.
                Err(error) if error.is_no_daemon() => link = self.reach_again(ctx).await?,
                Err(error) => return Err(error),
            }
        }
    }

    async fn subscribe(&mut self, link: &Link) -> Result<(), CliError> {
        let mut params = self.filter.clone();
        if let Some(after) = self.after {
            params["after"] = json!(after);
        }
        let subscribed: Subscribed = link.call("events/subscribe", params).await?;
        self.after = self.after.or(Some(subscribed.head));
        Ok(())
    }

    async fn reach_again(&self, ctx: &mut Ctx) -> Result<Link, CliError> {
        let since = Instant::now();
        let (mut pause, mut told) = (Pause::default(), false);
        loop {
            let error = match ctx.link_if_running().await {
                Ok(link) => return Ok(link),
                Err(error) => error,
            };
            if self.patience == Patience::Limited && since.elapsed() > RETURN_TIMEOUT {
                return Err(error);
            }
            if !told && since.elapsed() > PAUSE_MAX {
                ctx.say("the daemon is away; waiting for it to return");
                told = true;
            }
            pause.wait().await;
        }
    }
}
