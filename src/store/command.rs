//! A command of the writer, from the call to its answer, and how one is run so that its failure is
//! its own. When it is run and answered is the business of `writer.rs`.

use hob_actors::event::NewEvent;
use hob_actors::ports::{Permit, chain};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::error::{Severity, StoreError, severity};
use super::journal::Line;
use super::sql::Result;

/// What a command of the writer may use.
pub(super) struct Tx<'a> {
    pub(super) conn: &'a Connection,
    pub(super) line: &'a mut Line,
}

/// One command, from the call to its answer.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are events, and a box for each is an allocation for each"
)]
pub(super) enum Command {
    /// A streamed event; the permit is dropped once it is committed.
    Append(NewEvent, #[expect(dead_code, reason = "it is held, and dropped with the command")] Permit),
    /// Something that is answered.
    Run(Box<dyn Job>),
    /// Write what was called for before, then end.
    Close(oneshot::Sender<()>),
}

/// What stays of a command, and how safe that must be before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// Nothing: it only reads.
    Reads,
    /// Something that a start makes good whatever it finds. It survives a crash of the daemon, and
    /// power loss with the next thing that must.
    Passing,
    /// State: on the disk.
    Durable,
}

/// A command that is answered.
pub(super) trait Job: Send {
    /// What of it stays.
    fn weight(&self) -> Weight;
    /// Does it. An error rolls back what it did; if the error is its own business (it named
    /// nothing, it came too late) it becomes the answer.
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), Severity>;
    /// The failure of the last `run`, if it failed.
    fn failure(&self) -> Option<&StoreError>;
    /// What it did is committed.
    fn answer(self: Box<Self>);
    /// What it did was rolled back, or it was never run.
    fn fail(self: Box<Self>, error: StoreError);
}

/// A function and the caller who waits for its result.
pub(super) struct Call<T, F> {
    action: &'static str,
    weight: Weight,
    call: Option<F>,
    result: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F> Call<T, F>
where
    T: Send + 'static,
    F: FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
{
    pub(super) fn boxed(
        action: &'static str,
        weight: Weight,
        call: F,
        reply: oneshot::Sender<Result<T>>,
    ) -> Box<dyn Job> {
        Box::new(Self { action, weight, call: Some(call), result: None, reply })
    }
}

impl<T, F> Job for Call<T, F>
where
    T: Send + 'static,
    F: FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
{
    fn weight(&self) -> Weight {
        self.weight
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), Severity> {
        let Some(call) = self.call.take() else { return Ok(()) };
        let result = call(tx).map_err(|error| error.while_trying_to(self.action));
        crash_point!("uncommitted", self.action);
        let verdict = result.as_ref().map(|_| ()).map_err(severity);
        self.result = Some(result);
        verdict
    }

    fn failure(&self) -> Option<&StoreError> {
        self.result.as_ref().and_then(|result| result.as_ref().err())
    }

    fn answer(self: Box<Self>) {
        crash_point!("committed", self.action);
        let result = self.result.unwrap_or(Err(StoreError::Closed));
        // A caller who went away no longer wants to know.
        self.reply.send(result).ok();
    }

    fn fail(self: Box<Self>, error: StoreError) {
        self.reply.send(Err(error)).ok();
    }
}

/// Runs a command so that its failure undoes its own writes and no other.
pub(super) fn in_savepoint(tx: &mut Tx<'_>, job: &mut dyn Job) -> Result<()> {
    tx.line.tick();
    if job.weight() == Weight::Reads {
        // It only reads: there is nothing to undo.
        return match job.run(tx) {
            Ok(()) | Err(Severity::Command) => Ok(()),
            Err(_) => Err(taken(job)),
        };
    }
    let mark = tx.line.mark();
    tx.conn.prepare_cached("SAVEPOINT command")?.execute([])?;
    match job.run(tx) {
        Ok(()) => {}
        Err(Severity::Command) => {
            tx.line.rewind(mark);
            tx.conn.prepare_cached("ROLLBACK TO command")?.execute([])?;
        }
        Err(_) => return Err(taken(job)),
    }
    tx.conn.prepare_cached("RELEASE command")?.execute([])?;
    Ok(())
}

/// The failure of a command, as the failure of its whole batch.
fn taken(job: &dyn Job) -> StoreError {
    match job.failure() {
        Some(error) if severity(error) == Severity::Passing => error.for_neighbour(),
        Some(StoreError::Io(why)) => StoreError::Io(why.clone()),
        Some(StoreError::Damaged(why)) => StoreError::Damaged(why.clone()),
        Some(error) => StoreError::other("write to the database", chain(error)),
        None => StoreError::Closed,
    }
}
