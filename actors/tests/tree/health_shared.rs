//! The health of a process that many agent sessions live in.

use hob_actors::event::{Exit, HealthState};
use hob_actors::health::messages::{EndCause, HealthMsg};
use hob_actors::id::{AgentKey, Generation};

use crate::health::{Rig, SECOND, rig};

fn key(chat: &str) -> AgentKey {
    AgentKey::new(chat, "demo")
}

fn busy(rig: &Rig, chat: &str, busy: bool) {
    rig.tell(HealthMsg::Busy { key: key(chat), generation: Generation(1), busy });
}

fn ended(rig: &Rig, chat: &str) {
    let (key, generation, exit) = (key(chat), Generation(1), Exit::default());
    rig.tell(HealthMsg::Ended { key, generation, exit, cause: EndCause::Ordered, why: "evicted".into() });
}

async fn states(rig: &Rig) -> Vec<Option<HealthState>> {
    rig.rows().await.iter().map(|row| row.state).collect()
}

fn n_probes(rig: &Rig) -> usize {
    rig.pinged.lock().expect("no test panics with it").len()
}

#[tokio::test(start_paused = true)]
async fn a_shared_process_is_probed_once_for_all_who_live_in_it() {
    let rig = rig().await;
    let dolls = [rig.doll(), rig.doll(), rig.doll()];
    for (chat, doll) in ["c-1", "c-2", "c-3"].iter().zip(&dolls) {
        rig.moved_in(chat, doll, false);
    }
    tokio::time::sleep(3600 * SECOND).await;
    assert!((239..=241).contains(&n_probes(&rig)), "{} probes in an hour", n_probes(&rig));
    // Whoever was asked for them leaves, and the others are probed on.
    ended(&rig, "c-1");
    tokio::time::sleep(3600 * SECOND).await;
    assert!((477..=482).contains(&n_probes(&rig)), "{} probes in two hours", n_probes(&rig));
}

#[tokio::test(start_paused = true)]
async fn while_one_is_at_work_nobody_is_restarted_and_then_all_are() {
    let rig = rig().await;
    let dolls = [rig.doll(), rig.doll()];
    let pulse = rig.moved_in("c-1", &dolls[0], true);
    rig.moved_in("c-2", &dolls[1], false);
    rig.answers(None);
    for _ in 0..1800 {
        pulse.beat();
        tokio::time::sleep(SECOND).await;
    }
    assert_eq!(rig.orders(), [], "it says something");
    assert_eq!(states(&rig).await, [Some(HealthState::StaleBusy); 2]);
    // Silent from here on.
    rig.ordered(2).await;
    assert!(rig.orders().iter().all(|(_, interrupt, _)| *interrupt), "{:?}", rig.orders());
}

#[tokio::test(start_paused = true)]
async fn an_idle_process_that_does_not_answer_is_restarted_for_all_who_live_in_it() {
    let rig = rig().await;
    let dolls = [rig.doll(), rig.doll()];
    rig.moved_in("c-1", &dolls[0], false);
    rig.moved_in("c-2", &dolls[1], true);
    busy(&rig, "c-2", false);
    rig.answers(None);
    rig.ordered(2).await;
    assert!(rig.orders().iter().all(|(_, interrupt, _)| !*interrupt), "{:?}", rig.orders());
    assert_eq!(states(&rig).await, [Some(HealthState::Restarting); 2]);
}

#[tokio::test(start_paused = true)]
async fn who_moves_in_with_a_suspect_is_suspect() {
    let rig = rig().await;
    let dolls = [rig.doll(), rig.doll()];
    rig.moved_in("c-1", &dolls[0], false);
    rig.answers(None);
    tokio::time::sleep(60 * SECOND).await;
    rig.moved_in("c-2", &dolls[1], false);
    assert_eq!(states(&rig).await, [Some(HealthState::Suspect); 2]);
    rig.answers(Some(Ok(())));
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(states(&rig).await, [Some(HealthState::Healthy); 2]);
}
