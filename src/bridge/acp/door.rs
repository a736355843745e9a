//! The way to the daemon: connections, made again where they broke.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::cli::context::Ctx;
use crate::cli::error::CliError;
use crate::cli::follow::{Pause, RETURN_TIMEOUT};
use crate::cli::link::Link;
use crate::control::PROTOCOL;

/// Who we are to the daemon.
const NAME: &str = "hob acp";
/// Leads to the daemon.
pub(super) struct Door {
    /// One at a time: of several that find no daemon, one starts it.
    ctx: Mutex<Ctx>,
    /// The connection that all calls share. Nothing is subscribed to on it.
    calls: Mutex<Option<Arc<Link>>>,
    /// Whether the daemon was ever reached: one that went away is waited for.
    was_there: AtomicBool,
    /// Whether the bridge ends: nothing is started for that, or waited for.
    ends: AtomicBool,
}

impl Door {
    /// A door that nobody went through yet.
    pub(super) fn new(ctx: Ctx) -> Self {
        Self {
            ctx: Mutex::new(ctx),
            calls: Mutex::new(None),
            was_there: AtomicBool::new(false),
            ends: AtomicBool::new(false),
        }
    }

    /// A connection of one's own. With `start` a daemon is started where none runs.
    pub(super) async fn link(&self, start: bool) -> Result<Link, CliError> {
        let mut ctx = self.ctx.lock().await;
        let link = match start && !self.ends() {
            true => ctx.link().await?,
            false => ctx.link_if_running().await?,
        };
        self.was_there.store(true, Ordering::Relaxed);
        Ok(link)
    }

    /// Starts no daemon from now on, and waits for none.
    pub(super) fn end(&self) {
        self.ends.store(true, Ordering::Relaxed);
    }

    /// Whether the bridge ends.
    pub(super) fn ends(&self) -> bool {
        self.ends.load(Ordering::Relaxed)
    }

    /// Calls a method. A call whose connection broke is made again, so it must be one that may be
    /// made twice.
    pub(super) async fn call<T: DeserializeOwned>(&self, method: &str, params: Value) -> Result<T, CliError> {
        let (since, mut pause) = (Instant::now(), Pause::default());
        loop {
            let error = match self.try_call(method, &params).await {
                Err(error) if error.is_no_daemon() && self.was_there.load(Ordering::Relaxed) => error,
                answered => return answered,
            };
            if since.elapsed() > RETURN_TIMEOUT || self.ends() {
                return Err(error);
            }
            pause.wait().await;
        }
    }

    async fn try_call<T: DeserializeOwned>(&self, method: &str, params: &Value) -> Result<T, CliError> {
        let link = self.shared().await?;
        let answered = link.call(method, params.clone()).await;
        // A daemon that did not like what it read says so, and hangs up.
        if answered.is_err() && link.is_gone() {
            self.forget(&link).await;
        }
        answered
    }

    async fn shared(&self) -> Result<Arc<Link>, CliError> {
        let mut calls = self.calls.lock().await;
        if let Some(link) = &*calls {
            return Ok(link.clone());
        }
        let link = Arc::new(self.link(true).await?);
        // So that it can be seen who answered a question.
        let name = json!({"client": NAME, "protocol": PROTOCOL});
        link.raw("daemon/hello", name).await?;
        *calls = Some(link.clone());
        Ok(link)
    }

    /// Drops a broken connection, unless somebody has made a new one already.
    async fn forget(&self, broken: &Arc<Link>) {
        let mut calls = self.calls.lock().await;
        if calls.as_ref().is_some_and(|link| Arc::ptr_eq(link, broken)) {
            *calls = None;
        }
    }
}
