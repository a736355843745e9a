//! Forgets old events where `journal.retention` says so: a step at a time, so that nobody waits.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::DaemonControl;
use crate::config::SharedConfig;
use crate::control::wire::Moment;
use crate::store::{Store, StoreError};

/// Between two steps: everybody else comes first.
const PAUSE: Duration = Duration::from_millis(50);
/// The shortest time between two rounds.
const ROUND_MIN: Duration = Duration::from_secs(1);

/// Forgets old events until the daemon is stopped.
pub(super) fn begin(store: &Store, door: &DaemonControl, stopped: &CancellationToken) {
    let forgetting = run(store.clone(), door.config());
    tokio::spawn(stopped.clone().run_until_cancelled_owned(forgetting));
}

/// Forgets old events, a round in each `reaper.interval`. Never resolves.
async fn run(store: Store, config: SharedConfig) {
    loop {
        let current = config.current();
        tokio::time::sleep(current.reaper.interval.max(ROUND_MIN)).await;
        let Some(retention) = config.current().journal.retention else { continue };
        match round(&store, retention).await {
            Ok(0) => {}
            Ok(n) => tracing::info!(n, "old events forgotten"),
            Err(error) => tracing::warn!(%error, "old events cannot be forgotten"),
        }
    }
}

/// One walk through what is old enough; how many events went. The first one with this retention only
/// tells what the next will do.
async fn round(store: &Store, retention: Duration) -> Result<u64, StoreError> {
    let retention_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    let text = format!(
        "`journal.retention` is {}: from the next round on, events of closed chats that are older are deleted; \
         \"off\" keeps them",
        humantime::format_duration(retention)
    );
    if !store.tell_retention(retention_ms, text).await? {
        return Ok(0);
    }
    let before = Moment(Moment::now().0.saturating_sub(retention_ms));
    let (mut n, mut after) = (0, 0);
    loop {
        let step = store.forgettable_events(before, after).await?;
        if !step.events.is_empty() {
            n += store.forget_events(before, step.events).await?;
        }
        match step.next {
            Some(next) => after = next,
            None => return Ok(n),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
