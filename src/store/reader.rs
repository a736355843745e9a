//! The threads that read: a few read-only connections behind one queue, so that no query ever runs
//! on an asynchronous thread. Each query sees one consistent state of the database.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{oneshot, watch};

use super::disk;
use super::error::StoreError;
use super::sql::Result;
use crate::sync::lock;

/// An answer of the store that comes later. What was asked for is already in line; dropping this
/// does not take it back.
#[must_use = "the answer says whether it was done"]
#[derive(Debug)]
pub struct Reply<T>(oneshot::Receiver<Result<T>>);

impl<T> Reply<T> {
    pub(super) fn new() -> (oneshot::Sender<Result<T>>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(receiver))
    }
}

impl<T> Future for Reply<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|answer| answer.unwrap_or(Err(StoreError::Closed)))
    }
}

type Query = Box<dyn FnOnce(&Connection) + Send>;

/// The reading threads.
#[derive(Debug)]
pub(super) struct Pool {
    queue: Mutex<Option<Sender<Query>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Told why, when the database turns out to be unreadable.
    failed: Arc<watch::Sender<Option<String>>>,
}

impl Pool {
    /// Starts one thread for each connection.
    pub(super) fn start(
        connections: Vec<Connection>,
        failed: Arc<watch::Sender<Option<String>>>,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = channel::<Query>();
        let receiver = Arc::new(Mutex::new(receiver));
        let mut threads = Vec::with_capacity(connections.len());
        for conn in connections {
            let queue = Arc::clone(&receiver);
            let thread = std::thread::Builder::new().name("hob-read".to_owned());
            threads.push(thread.spawn(move || serve(conn, &queue))?);
        }
        Ok(Self { queue: Mutex::new(Some(sender)), threads: Mutex::new(threads), failed })
    }

    /// Puts a query in line.
    pub(super) fn read<T: Send + 'static>(
        &self,
        action: &'static str,
        query: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Reply<T> {
        let (sender, reply) = Reply::new();
        let failed = Arc::clone(&self.failed);
        let job: Query = Box::new(move |conn| {
            // Nobody waits any more: the work is not worth doing.
            if sender.is_closed() {
                return;
            }
            let answer = consistent(conn, query).map_err(|error| error.while_trying_to(action));
            if let Err(error) = &answer
                && is_beyond_help(conn, error)
            {
                tracing::error!(%error, action, "the database cannot be read");
                // What is told first is what it ends of.
                failed.send_if_modified(|failed| {
                    let first = failed.is_none();
                    failed.get_or_insert_with(|| error.to_string());
                    first
                });
            }
            sender.send(answer).ok();
        });
        if let Some(queue) = lock(&self.queue).as_ref() {
            // Without threads the job is dropped, and its reply says that the store is closed.
            queue.send(job).ok();
        }
        reply
    }

    /// Takes no more queries, and hands out the threads to be waited for.
    pub(super) fn close(&self) -> Vec<JoinHandle<()>> {
        lock(&self.queue).take();
        std::mem::take(&mut *lock(&self.threads))
    }
}

/// Whether nothing that is read can be trusted any more, and no better time will come.
fn is_beyond_help(conn: &Connection, error: &StoreError) -> bool {
    match error {
        StoreError::Damaged(_) => true,
        StoreError::Io(_) => conn.path().is_none_or(|path| disk::trouble(Path::new(path)).is_none()),
        _ => false,
    }
}

fn consistent<T>(conn: &Connection, query: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    let transaction = rusqlite::Transaction::new_unchecked(conn, TransactionBehavior::Deferred)?;
    let answer = query(&transaction)?;
    transaction.finish()?;
    Ok(answer)
}

fn serve(conn: Connection, queue: &Mutex<Receiver<Query>>) {
    loop {
        let next = lock(queue).recv();
        let Ok(query) = next else { return };
        // A bug in one query must not take a thread from all others; its caller sees a closed store.
        if std::panic::catch_unwind(AssertUnwindSafe(|| query(&conn))).is_err() {
            tracing::error!("a query panicked");
        }
    }
}
