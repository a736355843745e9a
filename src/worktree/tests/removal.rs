//! The removal of worktrees, where a daemon is not needed to show what must not be lost.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use hob_actors::worktree::{Preflight, ReasonKind};

use super::*;

/// A worktree, with what is recorded of it.
struct Scene {
    stage: Stage,
    known: Known,
}

impl Scene {
    async fn set(stage: Stage) -> Self {
        let created = stage.create(|_| {}).await.unwrap();
        let known = known(&stage, &created);
        Self { stage, known }
    }

    async fn judge(&self, timeout: Duration) -> Preflight {
        let ask =
            PreflightAsk { known: self.known.clone(), disposable: Vec::new(), timeout, live: Vec::new() };
        self.stage.worktrees.preflight(ask).await
    }
}

fn kinds(preflight: &Preflight) -> Vec<ReasonKind> {
    preflight.reasons.iter().map(|reason| reason.kind).collect()
}

#[tokio::test]
async fn files_of_any_size_are_judged_without_being_read_to_their_end() {
    let scene = Scene::set(Stage::new()).await;
    for name in ["a.txt", "new"] {
        File::create(scene.known.path.join(name)).unwrap().set_len(1 << 40).unwrap();
    }
    let start = Instant::now();
    let preflight = scene.judge(Duration::from_secs(20)).await;
    assert!(start.elapsed() < Duration::from_secs(10), "{preflight:?}");
    let found = kinds(&preflight);
    assert!(found.contains(&ReasonKind::Dirty) && found.contains(&ReasonKind::Untracked), "{preflight:?}");
    assert!(!found.contains(&ReasonKind::Unreadable), "{preflight:?}");
    // The checkout has as long a file at the same place, so that it must be read.
    File::create(scene.stage.repo.join("new")).unwrap().set_len(1 << 40).unwrap();
    let preflight = scene.judge(Duration::from_millis(500)).await;
    assert!(kinds(&preflight).contains(&ReasonKind::Unreadable), "{preflight:?}");
}
