//! Named cases, and histories.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const INTERVAL: u64 = 15;
const GRACE: u64 = 120;

fn rules() -> HealthRules {
    HealthRules {
        interval: Duration::from_secs(INTERVAL),
        timeout: Duration::from_secs(5),
        failures_max: 4,
        refused_max: 2,
        stale_grace: Duration::from_secs(GRACE),
    }
}

/// One line of a story: at which second, and what.
#[derive(Debug, Clone, Copy)]
enum Says {
    Well,
    TimedOut,
    Refused,
    Talks,
    Busy,
    Idle,
    Exits,
    EndedAsIll,
    Back,
    NotBack,
}

use Says::{Back, Busy, EndedAsIll, Exits, Idle, NotBack, Refused, Talks, TimedOut, Well};

fn seen(says: Says, now: Instant) -> Seen {
    match says {
        Well => Seen::ProbeOk,
        TimedOut => Seen::ProbeFailed { class: FailureClass::TimedOut, asked: now },
        Refused => Seen::ProbeFailed { class: FailureClass::Refused, asked: now },
        Talks => Seen::Progress,
        Busy => Seen::BusyChanged(true),
        Idle => Seen::BusyChanged(false),
        Exits => Seen::Exited { again: false },
        EndedAsIll => Seen::Exited { again: true },
        Back => Seen::RestartDone,
        NotBack => Seen::RestartFailed,
    }
}

/// Plays a story; gives where it ends and every order, with its second.
fn play(story: &[(u64, Says)]) -> (Machine, Vec<(u64, bool)>) {
    let start = Instant::now();
    let mut machine = Machine::new(false, start);
    let mut orders = Vec::new();
    for (at, says) in story {
        let now = start + Duration::from_secs(*at);
        let decision = machine.observe(&rules(), seen(*says, now), now);
        machine = decision.next;
        orders.extend(decision.restart.map(|restart| (*at, restart.interrupt)));
    }
    (machine, orders)
}

/// `n` failures of a kind, one per interval, the first at `from`.
fn fails(says: Says, from: u64, n: u64) -> Vec<(u64, Says)> {
    (0..n).map(|k| (from + k * INTERVAL, says)).collect()
}

fn story(parts: &[Vec<(u64, Says)>]) -> Vec<(u64, Says)> {
    parts.concat()
}

const HEALTHY: Option<HealthState> = Some(HealthState::Healthy);
const SUSPECT: Option<HealthState> = Some(HealthState::Suspect);
const STALE: Option<HealthState> = Some(HealthState::StaleBusy);
const RESTARTING: Option<HealthState> = Some(HealthState::Restarting);

type Case = (&'static str, Vec<(u64, Says)>, Option<HealthState>, Vec<(u64, bool)>);

fn idle_cases() -> Vec<Case> {
    vec![
        ("nothing was seen yet", vec![], HEALTHY, vec![]),
        ("it answers", vec![(15, Well), (30, Well)], HEALTHY, vec![]),
        ("one failure is no illness", vec![(15, TimedOut)], SUSPECT, vec![]),
        ("a failure and an answer", vec![(15, TimedOut), (30, Well)], HEALTHY, vec![]),
        ("one less than too many", fails(TimedOut, 15, 3), SUSPECT, vec![]),
        ("too many while idle", fails(TimedOut, 15, 4), RESTARTING, vec![(60, false)]),
        (
            "an answer begins the count anew",
            story(&[fails(TimedOut, 15, 3), vec![(60, Well)], fails(TimedOut, 75, 3)]),
            SUSPECT,
            vec![],
        ),
        ("refusals have a limit of their own", fails(Refused, 15, 2), RESTARTING, vec![(30, false)]),
        (
            "the classes are counted apart",
            vec![(15, TimedOut), (30, Refused), (45, TimedOut), (60, TimedOut)],
            SUSPECT,
            vec![],
        ),
        (
            "and each of them reaches its limit",
            vec![(15, TimedOut), (30, Refused), (45, TimedOut), (60, Refused)],
            RESTARTING,
            vec![(60, false)],
        ),
        (
            "failures of one interval count once, whoever asked",
            vec![(15, TimedOut), (16, TimedOut), (17, Refused), (20, TimedOut), (29, TimedOut)],
            SUSPECT,
            vec![],
        ),
        (
            "output outside of a turn is no sign of health",
            story(&[fails(TimedOut, 15, 3), vec![(59, Talks), (60, TimedOut)]]),
            RESTARTING,
            vec![(60, false)],
        ),
    ]
}

fn busy_cases() -> Vec<Case> {
    let ill = || story(&[vec![(1, Busy)], fails(TimedOut, 15, 4)]); // stale since 60
    let then = |more: Vec<(u64, Says)>| story(&[ill(), more]);
    vec![
        ("ill and busy is spared", ill(), STALE, vec![]),
        ("within the grace", then(fails(TimedOut, 75, 7)), STALE, vec![]),
        ("past the grace", then(fails(TimedOut, 75, 8)), RESTARTING, vec![(180, true)]),
        ("an answer ends the grace", then(vec![(75, TimedOut), (90, Well)]), HEALTHY, vec![]),
        ("the turn is over and it is ill", then(vec![(70, Idle)]), RESTARTING, vec![(70, false)]),
        (
            "it talked as the last thing before its turn was over",
            then(vec![(69, Talks), (70, Idle)]),
            HEALTHY,
            vec![],
        ),
        (
            "it talked, fell silent, and its turn is over",
            then(vec![(69, Talks), (75, TimedOut), (80, Idle)]),
            RESTARTING,
            vec![(80, false)],
        ),
        (
            "it streams and is deaf",
            then((0..80).flat_map(|k| [(74 + k * 15, Talks), (75 + k * 15, TimedOut)]).collect()),
            STALE,
            vec![],
        ),
        (
            "the grace begins anew with each word",
            then(story(&[vec![(170, Talks)], fails(TimedOut, 171, 8)])),
            STALE,
            vec![],
        ),
        (
            "and ends all the same",
            then(story(&[vec![(170, Talks)], fails(TimedOut, 171, 9)])),
            RESTARTING,
            vec![(291, true)],
        ),
        (
            "a failure past the grace that is not counted is one all the same",
            then(vec![(75, TimedOut), (165, TimedOut), (179, TimedOut), (180, TimedOut)]),
            RESTARTING,
            vec![(180, true)],
        ),
        (
            "ill while idle, and busy before that was too much",
            vec![(15, TimedOut), (20, Busy)],
            SUSPECT,
            vec![],
        ),
        ("a turn that ends well in time", vec![(1, Busy), (15, TimedOut), (20, Idle)], SUSPECT, vec![]),
        ("refused while busy", vec![(1, Busy), (15, Refused), (30, Refused)], STALE, vec![]),
    ]
}

fn restart_cases() -> Vec<Case> {
    let order = || fails(Refused, 15, 2); // restarting since 30
    let then = |more: Vec<(u64, Says)>| story(&[order(), more]);
    let first = (30, false);
    vec![
        ("it comes back", then(vec![(31, EndedAsIll), (33, Back)]), HEALTHY, vec![first]),
        (
            "and starts with a clean sheet",
            then(vec![(31, EndedAsIll), (33, Back), (48, Refused)]),
            SUSPECT,
            vec![first],
        ),
        ("it does not come back", then(vec![(31, EndedAsIll), (33, NotBack)]), None, vec![first]),
        (
            "it comes back later",
            then(vec![(31, EndedAsIll), (33, NotBack), (90, Back)]),
            HEALTHY,
            vec![first],
        ),
        ("it ends by itself first", then(vec![(31, Exits)]), None, vec![first]),
        ("an answer on its way out", then(vec![(31, Well), (32, Talks)]), RESTARTING, vec![first]),
        ("the order is lost", then(vec![(45, Refused)]), RESTARTING, vec![first, (45, false)]),
        ("it was busy by then", then(vec![(31, Busy)]), STALE, vec![first]),
        (
            "busy by then, and then idle again",
            then(vec![(31, Busy), (40, Idle)]),
            RESTARTING,
            vec![first, (40, false)],
        ),
        ("busy by then, and well", then(vec![(31, Busy), (45, Well)]), HEALTHY, vec![first]),
        ("an end in order", vec![(15, TimedOut), (20, Exits)], None, vec![]),
        ("late news of the dead", vec![(20, Exits), (21, TimedOut), (22, Busy), (23, Well)], None, vec![]),
        (
            "ended for another reason, to be started again",
            vec![(1, Busy), (20, EndedAsIll)],
            RESTARTING,
            vec![],
        ),
        ("a crash and a new start", vec![(1, Busy), (20, Exits), (25, Back)], HEALTHY, vec![]),
    ]
}

#[test]
fn the_table_holds() {
    for (name, story, state, orders) in [idle_cases(), busy_cases(), restart_cases()].concat() {
        let (machine, given) = play(&story);
        assert_eq!((machine.state(), given), (state, orders), "{name}");
    }
}

#[test]
fn the_reasons_are_words() {
    let start = Instant::now();
    let mut machine = Machine::new(true, start);
    let mut whys = Vec::new();
    for k in 1..=20 {
        let now = start + Duration::from_secs(k * INTERVAL);
        let decision = machine.observe(&rules(), seen(TimedOut, now), now);
        machine = decision.next;
        whys.extend(decision.restart.map(|restart| restart.why));
        if !whys.is_empty() {
            break;
        }
    }
    assert_eq!(whys, ["12 probes in a row were not answered, and its turn was silent for 2m"]);
    assert_eq!((machine.failures(), machine.since()), (12, start + Duration::from_secs(180)));
}

fn any_says() -> impl Strategy<Value = Says> {
    prop_oneof![
        3 => Just(Well), 8 => Just(TimedOut), 4 => Just(Refused), 3 => Just(Talks),
        2 => Just(Busy), 2 => Just(Idle), 1 => Just(Exits), 1 => Just(EndedAsIll), 2 => Just(Back), 1 => Just(NotBack),
    ]
}

fn histories() -> impl Strategy<Value = Vec<(u64, Says)>> {
    prop::collection::vec((0u64..40, any_says()), 0..120).prop_map(|steps| {
        let mut at = 0;
        steps
            .into_iter()
            .map(|(step, says)| {
                at += step;
                (at, says)
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn a_busy_process_is_interrupted_only_after_the_grace_of_silence_and_ill_health(history in histories()) {
        let start = Instant::now();
        let mut machine = Machine::new(false, start);
        let (mut busy, mut sign_of_life) = (false, 0);
        let mut interrupting = false;
        for (at, says) in history {
            let now = start + Duration::from_secs(at);
            let decision = machine.observe(&rules(), seen(says, now), now);
            if let Some(restart) = &decision.restart {
                // An order that is repeated is the same order.
                if restart.interrupt && !interrupting {
                    prop_assert!(busy);
                    prop_assert!(at - sign_of_life >= GRACE, "{} after a sign of life", at - sign_of_life);
                }
                prop_assert!(restart.interrupt || machine.state() == RESTARTING || !busy || matches!(says, Idle));
            }
            interrupting = decision.restart.as_ref().map_or(interrupting, |restart| restart.interrupt)
                && decision.next.state() == RESTARTING;
            match says {
                Well | Talks | Back | Exits | EndedAsIll => sign_of_life = at,
                Busy if !busy => sign_of_life = at,
                _ => {}
            }
            match says {
                Busy => busy = machine.state().is_some() ,
                Idle | Back => busy = false,
                _ => {}
            }
            machine = decision.next;
        }
    }

    #[test]
    fn who_is_dead_and_silent_is_restarted_in_bounded_time(history in histories(), is_busy: bool, refuses: bool) {
        let start = Instant::now();
        let mut machine = Machine::new(false, start);
        let mut at = 0;
        for (then, says) in history {
            at = then;
            let now = start + Duration::from_secs(at);
            machine = machine.observe(&rules(), seen(says, now), now).next;
        }
        // From here on a process is there, says nothing and answers nothing.
        let now = start + Duration::from_secs(at);
        machine = machine.observe(&rules(), Seen::RestartDone, now).next;
        machine = machine.observe(&rules(), Seen::BusyChanged(is_busy), now).next;
        let (says, n_max) = if refuses { (Refused, 2) } else { (TimedOut, 4) };
        let bound = n_max * INTERVAL + if is_busy { GRACE + INTERVAL } else { 0 };
        let mut ordered = None;
        for k in 1..=bound / INTERVAL {
            let now = start + Duration::from_secs(at + k * INTERVAL);
            let decision = machine.observe(&rules(), seen(says, now), now);
            machine = decision.next;
            if let Some(restart) = decision.restart {
                ordered = Some(restart);
                break;
            }
        }
        prop_assert_eq!(ordered.map(|restart| restart.interrupt), Some(is_busy));
    }

    #[test]
    fn no_interval_holds_more_than_one_failure_that_counts(steps in prop::collection::vec((0u64..10, any::<bool>()), 1..200)) {
        let mut rules = rules();
        (rules.failures_max, rules.refused_max) = (u32::MAX, u32::MAX);
        let start = Instant::now();
        let mut machine = Machine::new(false, start);
        let (mut at, mut counted) = (0, Vec::new());
        for (step, refused) in steps {
            at += step;
            let now = start + Duration::from_secs(at);
            let decision = machine.observe(&rules, seen(if refused { Refused } else { TimedOut }, now), now);
            if decision.next.failures() > machine.failures() {
                counted.push(at);
            }
            machine = decision.next;
        }
        prop_assert!(counted.windows(2).all(|two| two[1] - two[0] >= INTERVAL), "{:?}", counted);
        prop_assert!(counted.len() as u64 > at / (INTERVAL + 10), "{} of {} s", counted.len(), at);
    }

    #[test]
    fn an_order_is_given_only_by_who_moves_to_restarting(history in histories()) {
        let start = Instant::now();
        let mut machine = Machine::new(false, start);
        for (at, says) in history {
            let now = start + Duration::from_secs(at);
            let decision = machine.observe(&rules(), seen(says, now), now);
            if decision.restart.is_some() {
                prop_assert_eq!(decision.next.state(), RESTARTING);
                prop_assert!(machine.state().is_some(), "nobody asks for the end of the dead");
            }
            machine = decision.next;
        }
    }
}
