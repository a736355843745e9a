//! The handle of an agent session on an opencode server.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hob_actors::event::Exit;
use hob_actors::ports::{self, Agent, FailureClass, NewsSink, NotChosen, ProbeFailed};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::conversation::{Conversation, Order};
use super::house::COURTESY_TIME_MAX;
use super::http::HttpError;
use super::offers::Choice;
use super::server::Server;
use super::servers::Lease;
use super::wire::{Health, Session};
use crate::sync::lock;

/// A conversation on a server that others may live in, too. Dropping it stops what it does there.
pub(super) struct OpencodeAgent {
    server: Arc<Server>,
    session: String,
    directory: Option<String>,
    orders: UnboundedSender<Order>,
    lease: Mutex<Option<Lease>>,
    task: JoinHandle<()>,
}

impl OpencodeAgent {
    /// Begins to hear the session.
    pub(super) fn begin(
        lease: Lease,
        session: Session,
        (choice, instance_idle): (Choice, Duration),
        sink: NewsSink,
    ) -> Self {
        let (orders, ordered) = unbounded_channel();
        let (to, told) = unbounded_channel();
        let server = lease.server.clone();
        let connected = server.hub.join(&session.id, to);
        let id = session.id.clone();
        let directory = lease.directory().to_owned();
        let conversation = Conversation::new(server.clone(), session, &directory, (choice, sink, connected));
        Self {
            server,
            session: id,
            directory: directory.to_str().map(str::to_owned),
            orders,
            lease: Mutex::new(Some(lease)),
            task: tokio::spawn(conversation.run(ordered, told, instance_idle)),
        }
    }

    fn order(&self, order: Order) {
        // A conversation that has ended has told so.
        self.orders.send(order).ok();
    }
}

impl Drop for OpencodeAgent {
    fn drop(&mut self) {
        self.task.abort();
        self.server.hub.leave(&self.session);
        // An ordered stop has taken the lease along.
        let Some(lease) = lock(&self.lease).take() else { return };
        let (session, directory) = (self.session.clone(), self.directory.clone().unwrap_or_default());
        // With the runtime ends the daemon, and with the lease the server.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        // What nobody hears of any more must not go on, while the server lives on for others.
        runtime.spawn(async move {
            let client = lease.server.client.clone();
            let path = format!("/session/{session}/abort");
            let aborting =
                async { client.post::<Value>(&path, &[("directory", &directory)], &json!({})).await };
            tokio::time::timeout(COURTESY_TIME_MAX, aborting).await.ok();
            lease.end(false).await;
        });
    }
}

impl Agent for OpencodeAgent {
    fn prompt(&self, number: u64, text: &str) {
        crash_point!("prompt.unsent");
        self.order(Order::Prompt(number, text.to_owned()));
        crash_point!("prompt.sent");
    }

    fn cancel(&self) {
        self.order(Order::Cancel);
    }

    fn answer(&self, question: u64, option: Option<String>) {
        self.order(Order::Answer(question, option));
    }

    fn ping(&self) -> Pin<Box<dyn Future<Output = Result<(), ProbeFailed>> + Send>> {
        let client = self.server.client.clone();
        Box::pin(async move {
            let failed = |class, message: String| Err(ProbeFailed { class, message });
            match client.get::<Health>("/global/health", &[]).await {
                Ok(Health { healthy: true, .. }) => Ok(()),
                Ok(_) => failed(FailureClass::TimedOut, "it says that it is not healthy".to_owned()),
                Err(error @ HttpError::Refused(_)) => failed(FailureClass::Refused, error.to_string()),
                // It is there, and no good answer is as patiently waited for as none.
                Err(error) => failed(FailureClass::TimedOut, error.to_string()),
            }
        })
    }

    fn choose(&self, asked: &ports::Choice) -> Pin<Box<dyn Future<Output = Result<(), NotChosen>> + Send>> {
        let (done, is_done) = tokio::sync::oneshot::channel();
        self.order(Order::Choose(asked.clone(), done));
        // One that ended unasked works that way when it is started again.
        Box::pin(async move { is_done.await.unwrap_or(Err(NotChosen::NeedsStart)) })
    }

    fn condemn(&self) {
        self.server.condemn();
    }

    fn stderr_tail(&self) -> String {
        self.server.complaints()
    }

    fn stop(&self, now: bool) -> Pin<Box<dyn Future<Output = Exit> + Send>> {
        let (done, is_done) = tokio::sync::oneshot::channel();
        self.order(Order::Stop(done));
        let lease = lock(&self.lease).take();
        let (server, session) = (self.server.clone(), self.session.clone());
        Box::pin(async move {
            if !now {
                // Dropped unanswered, it has ended by itself.
                tokio::time::timeout(COURTESY_TIME_MAX, is_done).await.ok();
            }
            server.hub.leave(&session);
            match lease {
                Some(lease) => lease.end(now).await,
                // A second call joins the first, and hurries it where nobody else lives.
                None if server.is_ending() => server.stop(now).await,
                None => Exit::default(),
            }
        })
    }
}
