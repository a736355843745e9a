//! How the daemon of a stage dies: at a random instant, or at a named point; alone, or with its
//! keepers in the same instant.

use std::time::Duration;

use fastrand::Rng;

use super::points::{Phase, Point};
use super::stage::{Death, Stage};
use super::tally::Tally;

/// The latest random instant after the daemon has answered.
const ANSWERED_MAX_MS: u64 = 600;
/// The latest random instant after its `exec`, for one that may not have answered.
const LAUNCHED_MAX_MS: u64 = 250;
/// A point that was not reached under load after this time will not be.
const REACHED_WITHIN: Duration = Duration::from_secs(10);
/// The same for a daemon that starts or stops.
const TURNED_WITHIN: Duration = Duration::from_secs(60);
/// The longest pause between a point and the death: without any, some windows never show.
const PAUSE_MAX_MS: u64 = 60;
/// A point is tried so many times as often as it has to fire.
const TRIES_PER_KILL: usize = 3;

/// Who dies with the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keepers {
    /// Nobody.
    Live,
    /// Its keepers.
    Die,
    /// Now this, now that.
    Either,
}

impl Keepers {
    fn die(self, rng: &mut Rng) -> bool {
        match self {
            Self::Live => false,
            Self::Die => true,
            Self::Either => rng.bool(),
        }
    }
}

/// Kills a daemon again and again, and finds what is left each time.
pub struct Killer<'a> {
    /// Whose daemon.
    pub stage: &'a mut Stage,
    /// Who dies with it.
    pub keepers: Keepers,
    /// When.
    pub rng: Rng,
    /// What came of it.
    pub tally: &'a mut Tally,
    /// What should have been gone.
    pub left: Vec<String>,
    /// Keepers have died and no daemon has answered since: what they held is still there, and only
    /// the sweep of a start that comes to its end can find it.
    pub unswept: bool,
}

impl Killer<'_> {
    /// So many times at a random instant. Begins and ends with a daemon that answers.
    pub fn at_random(&mut self, n_kills: usize) {
        let mut answered = true;
        for _ in 0..n_kills {
            if !answered && self.rng.u8(0..4) > 0 {
                self.answered();
                answered = true;
            }
            self.random(answered);
            self.launch(&[]);
            answered = false;
        }
        self.answered();
    }

    fn random(&mut self, answered: bool) {
        let latest = if answered { ANSWERED_MAX_MS } else { LAUNCHED_MAX_MS };
        std::thread::sleep(Duration::from_millis(self.rng.u64(0..latest)));
        let keepers = self.keepers.die(&mut self.rng);
        self.stage.kill(keepers);
        self.tally.killed("at random", keepers);
        self.died(keepers);
    }

    /// So many times at a point. Begins and ends with a daemon that answers.
    pub fn at(&mut self, point: Point, n_kills: usize) {
        self.random(true);
        let mut fired = 0;
        for _ in 0..n_kills * TRIES_PER_KILL {
            if fired == n_kills {
                break;
            }
            fired += usize::from(self.once(point));
        }
        self.launch(&[]);
        self.answered();
    }

    /// Once. Begins and ends without a daemon. False if the point was not reached.
    fn once(&mut self, point: Point) -> bool {
        let keepers = self.keepers.die(&mut self.rng);
        if point.phase == Phase::Start {
            // Something to settle and to sweep.
            self.launch(&[]);
            self.answered();
            self.random(true);
        }
        let nth = if let Phase::Load(max) = point.phase { self.rng.u64(1..=max) } else { 1 };
        let pause_ms = if self.rng.bool() { 0 } else { self.rng.u64(1..PAUSE_MAX_MS) };
        let mut variables = vec![("HOB_CRASH_AT", format!("{}:{nth}:{pause_ms}", point.name))];
        if keepers {
            variables.push(("HOB_CRASH_KEEPER", "1".to_owned()));
        }
        self.launch(&variables);
        let death = match point.phase {
            Phase::Start => self.stage.dies(TURNED_WITHIN),
            Phase::Load(_) => self.stage.dies(REACHED_WITHIN),
            Phase::Stop => {
                self.answered();
                std::thread::sleep(Duration::from_millis(self.rng.u64(0..ANSWERED_MAX_MS)));
                self.stage.tell_to_stop();
                self.stage.dies(TURNED_WITHIN)
            }
        };
        match death {
            Some(Death::Killed) => self.tally.killed(point.name, keepers),
            Some(Death::Ended) => {}
            None => {
                self.stage.kill(keepers);
                self.tally.killed("at random", keepers);
            }
        }
        self.died(keepers);
        death == Some(Death::Killed)
    }

    /// Half of the time the next daemon comes while the keepers still end what is left.
    fn died(&mut self, keepers: bool) {
        self.unswept |= keepers;
        if !self.unswept && self.rng.bool() {
            let (left, time) = self.stage.left_of_all();
            self.tally.endings.push(time);
            self.left.extend(left.into_iter().map(|left| format!("{left} after the death of the daemon")));
        }
    }

    fn launch(&mut self, variables: super::stage::Variables<'_>) {
        self.stage.launch(variables);
    }

    fn answered(&mut self) {
        match self.stage.answered() {
            Ok(time) => self.tally.recoveries.push(time),
            Err(death) => panic!("the daemon died at its start: {death:?}\n{}", self.stage.log()),
        }
        self.left.extend(self.stage.left_by_sweep());
        self.unswept = false;
    }
}
