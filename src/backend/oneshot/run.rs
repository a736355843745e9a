//! One run: the process from its start to the moment when nothing is left of it.
//!
//! ```text
//! spawn ─▶ stdin closed ─▶ reading … ─▶ exit ─▶ leftovers ended ─▶ tree gone ─▶ rest read ─▶ judged
//!            cancelled: TERM, grace, KILL ───────────┘
//! ```
//! **Invariant:** dropping the future at any point ends the process tree: every handle of it is
//! owned by the future.

use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::FusedFuture as _;
use hob_actors::event::{Event, Exit};
use hob_actors::ports::{News, NewsSink, Permit, Settled, chain};
use tokio::sync::watch;

use super::outcome::{self, Facts};
use super::reading::Reading;
use super::template::{self, Values};
use super::{Spec, Wish};
use crate::backend::acp::stderr::{self, Tail};
use crate::backend::acp::{beside, end};
use crate::backend::process::{Process, ProcessHandle, RawExit, SpawnRequest, Spawner};

/// From an empty tree to the end of its pipes.
const REST_TIME_MAX: Duration = Duration::from_secs(5);
/// The kernel takes no longer argument (MAX_ARG_STRLEN), and its end counts.
const ARGUMENT_BYTES_MAX: usize = (128 << 10) - 1;

/// A prompt to be run.
pub(super) struct Order {
    pub(super) number: u64,
    pub(super) prompt: String,
}

/// Runs a prompt; answers with how it was settled, and how the process ended.
pub(super) async fn run(
    spec: &Spec,
    spawner: &Spawner,
    order: Order,
    mut wish: watch::Receiver<Wish>,
    sink: NewsSink,
) -> (Settled, Exit) {
    let settled = |result, usage| Settled { prompt: order.number, result, usage };
    let cancelled = || (settled(Ok("cancelled".to_owned()), None), Exit::default());
    let request = match request(spec, &order.prompt) {
        Ok(request) => request,
        Err(error) => return (settled(Err(error), None), Exit::default()),
    };
    let secrets = stderr::secrets(&request.env);
    let spawned = tokio::select! {
        biased;
        // Given up half-way, a start ends with its future.
        _ = wish.wait_for(|wish| *wish != Wish::None) => return cancelled(),
        spawned = spawner.spawn(request) => spawned,
    };
    let Process { stdin, stdout, stderr, handle, .. } = match spawned {
        Ok(process) => process,
        Err(error) => {
            let error = format!("could not start `{}`: {}", spec.command, chain(&error));
            return (settled(Err(error), None), Exit::default());
        }
    };
    // The known agents read it as more of the prompt.
    drop(stdin);
    let tail = Tail::new(spec.stderr_tail, secrets);
    let drain = tokio::spawn(stderr::drain(stderr, tail.clone()));
    let mut reading = Reading::new(spec.max_frame, sink.clone());
    let exit = {
        let mut hearing = pin!(reading.hear(stdout).fuse());
        let exit = beside(hearing.as_mut(), end_as_wished(&handle, &mut wish)).await;
        if !hearing.is_terminated() {
            tokio::time::timeout(REST_TIME_MAX, hearing.as_mut()).await.ok();
        }
        exit
    };
    tokio::time::timeout(REST_TIME_MAX, drain).await.ok();
    let (told, stderr) = (reading.told(), tail.text());
    let cancelled = *wish.borrow() != Wish::None;
    let facts = Facts { program: &spec.command, told: &told, exit, cancelled, stderr: &stderr };
    let result = outcome::judge(&facts);
    if let Some(usage) = &told.usage {
        sink(News::Said(Event::Usage(usage.clone())), Permit::free());
    }
    (settled(result, told.usage.clone()), Exit { code: exit.code, signal: exit.signal, stderr_tail: stderr })
}

/// Waits for the end of the tree, and ends it as soon as that is wished.
async fn end_as_wished(handle: &ProcessHandle, wish: &mut watch::Receiver<Wish>) -> RawExit {
    let mut ended = pin!(end(handle));
    let mut seen = Wish::None;
    loop {
        tokio::select! {
            exit = &mut ended => return exit,
            Ok(now) = wish.wait_for(|wish| *wish > seen) => {
                seen = *now;
                handle.stop(seen == Wish::StopNow);
            }
        }
    }
}

fn request(spec: &Spec, prompt: &str) -> Result<SpawnRequest, String> {
    if prompt.contains('\0') {
        return Err("the prompt contains a zero byte, which no argument can".to_owned());
    }
    let cwd = spec.request.cwd.to_string_lossy();
    let values = Values { prompt, model: spec.model.as_deref(), cwd: &cwd };
    let args = template::fill(&spec.words, values);
    if let Some(argument) = args.iter().find(|argument| argument.len() > ARGUMENT_BYTES_MAX) {
        return Err(format!(
            "the prompt is too long for a one-shot run: {} bytes, where {ARGUMENT_BYTES_MAX} fit into an argument",
            argument.len()
        ));
    }
    Ok(SpawnRequest { args, ..spec.request.clone() })
}
