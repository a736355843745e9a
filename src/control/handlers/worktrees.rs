//! `worktree/*`: what worktrees there are, what would be lost with each, and what is done with them.

use std::path::Path;
use std::time::Duration;

use hob_actors::tree::{ByHand, Reaped};
use hob_actors::worktree::{Preflight, Reason};

use super::{Call, Done};
use crate::control::error::RpcFailure;
use crate::control::params::{WorktreeList, WorktreeReap, WorktreeRef, WorktreeRisk};
use crate::control::wire::{IdOr, ReapRow, ReasonRow, RiskRow, WorktreeRow};

/// How long somebody waits for a pass over all worktrees.
const PASS_TIMEOUT: Duration = Duration::from_secs(3600);

/// `worktree/list`
pub(crate) async fn list(call: &Call, params: WorktreeList) -> Done<Vec<WorktreeRow>> {
    let services = call.services();
    let mut rows = services.store.worktrees(params.all).await?;
    if params.sizes {
        for row in rows.iter_mut().filter(|row| matches!(row.state.as_str(), "active" | "orphaned")) {
            row.size_bytes = services.worktrees.size(Path::new(&row.path)).await;
            if let Some(bytes) = row.size_bytes {
                services.store.worktree_size(&row.id, bytes).await?;
            }
        }
    }
    Ok(rows)
}

/// `worktree/risk`
pub(crate) async fn risk(call: &Call, params: WorktreeRisk) -> Done<RiskRow> {
    let worktree = match (&params.session, params.worktree) {
        (Some(session), None) => of_session(call, session).await?,
        (None, Some(worktree)) => worktree,
        _ => return Err(RpcFailure::invalid_params("session", "one of `session` and `worktree` is needed")),
    };
    let preflight = call.services().retire.preflight(&worktree).await?;
    Ok(RiskRow { session: params.session, ..risk_row(worktree, &preflight) })
}

/// The worktree of a session.
pub(crate) async fn of_session(call: &Call, session: &str) -> Done<String> {
    let found = call.services().store.session(session).await?;
    let found = found.ok_or_else(|| RpcFailure::not_found("session", session).hint("hob session ls -a"))?;
    match found.worktree {
        Some(IdOr::Whole(row)) => Ok(row.id),
        Some(IdOr::Id(id)) => Ok(id),
        None => Err(RpcFailure::conflict(format!("session `{session}` has no worktree"))),
    }
}

fn risk_row(worktree: String, preflight: &Preflight) -> RiskRow {
    RiskRow {
        session: None,
        worktree,
        verdict: preflight.verdict().word().to_owned(),
        reasons: reason_rows(&preflight.reasons),
        partial: preflight.partial,
    }
}

fn reason_rows(reasons: &[Reason]) -> Vec<ReasonRow> {
    let row = |reason: &Reason| ReasonRow {
        kind: reason.kind.word().to_owned(),
        detail: reason.detail.clone(),
        count: reason.count,
    };
    reasons.iter().map(row).collect()
}

/// `worktree/reap`
pub(crate) async fn reap(call: &Call, params: WorktreeReap) -> Done<Vec<ReapRow>> {
    call.check_open()?;
    let services = call.services();
    if let Some(id) = &params.worktree
        && services.store.worktree(id).await?.is_none()
    {
        return Err(RpcFailure::not_found("worktree", id).hint("hob worktree ls -a"));
    }
    let wish = ByHand { worktree: params.worktree.map(Into::into), dry_run: params.dry_run };
    let reaped = services.tree.reap(wish, PASS_TIMEOUT).await??;
    let row = |reaped: Reaped| ReapRow {
        worktree: reaped.worktree.as_str().to_owned(),
        action: reaped.action.word().to_owned(),
        reasons: reason_rows(&reaped.reasons),
        salvage_ref: reaped.salvage,
    };
    Ok(reaped.into_iter().map(row).collect())
}

/// `worktree/restore`
pub(crate) async fn restore(call: &Call, params: WorktreeRef) -> Done<WorktreeRow> {
    call.check_open()?;
    let services = call.services();
    services.retire.restore(&params.worktree).await?;
    let row = services.store.worktree(&params.worktree).await?;
    row.ok_or_else(|| RpcFailure::not_found("worktree", &params.worktree))
}
