//! Named points at which the crash campaign (`tests/campaign`) kills the daemon, and named mistakes
//! that it has the daemon make, to see that it would notice them.
//!
//! **Invariant:** without the cargo feature `campaign` a point is nothing and a mistake is `false`:
//! no release knows either. With it both are chosen by the environment, once per process:
//!
//! - `HOB_CRASH_AT=NAME[:NTH[:PAUSE_MS]]`: SIGKILL at the NTH time that the point is reached (1),
//!   after a pause (0) in which everybody else goes on;
//! - `HOB_CRASH_KEEPER=1`: the children of the process, its keepers, are killed in the same instant;
//! - `HOB_PAUSE_AT=NAME:1:PAUSE_MS`: a pause each time that the point is reached, from the first on;
//! - `HOB_MUTANT=NAME`: makes the mistake of that name.

/// A point at which a campaign may kill the daemon. Two texts are joined, for a place that many
/// ways lead through.
#[cfg(feature = "campaign")]
macro_rules! crash_point {
    ($name:literal) => {
        $crate::crash::reached($name, "")
    };
    ($name:literal, $what:expr) => {
        $crate::crash::reached($name, $what)
    };
}
#[cfg(not(feature = "campaign"))]
macro_rules! crash_point {
    ($($name:tt)*) => {};
}

/// Whether the daemon is to make the mistake of that name.
#[cfg(feature = "campaign")]
macro_rules! mutant {
    ($name:literal) => {
        $crate::crash::is_mutant($name)
    };
}
#[cfg(not(feature = "campaign"))]
macro_rules! mutant {
    ($name:literal) => {
        false
    };
}

#[cfg(feature = "campaign")]
pub(crate) use campaign::{is_mutant, reached};

#[cfg(feature = "campaign")]
mod campaign {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::{Pid, getpid};

    struct At {
        name: String,
        nth: u64,
        pause: Duration,
    }

    static CRASH: LazyLock<Option<At>> = LazyLock::new(|| At::read("HOB_CRASH_AT"));
    static PAUSE: LazyLock<Option<At>> = LazyLock::new(|| At::read("HOB_PAUSE_AT"));
    static MUTANT: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("HOB_MUTANT").ok());
    /// How often the point of the crash was reached.
    static REACHED: AtomicU64 = AtomicU64::new(0);

    impl At {
        fn read(variable: &str) -> Option<Self> {
            let text = std::env::var(variable).ok()?;
            let mut parts = text.split(':');
            let name = parts.next()?.to_owned();
            let mut number = |default| parts.next().and_then(|n| n.parse().ok()).unwrap_or(default);
            Some(Self { name, nth: number(1), pause: Duration::from_millis(number(0)) })
        }

        /// `batch.committed`, or `committed/record the task`.
        fn is(&self, name: &str, what: &str) -> bool {
            match self.name.strip_prefix(name) {
                Some(rest) if what.is_empty() => rest.is_empty(),
                Some(rest) => rest.strip_prefix('/') == Some(what),
                None => false,
            }
        }
    }

    pub(crate) fn is_mutant(name: &str) -> bool {
        MUTANT.as_deref() == Some(name)
    }

    pub(crate) fn reached(name: &str, what: &str) {
        if let Some(at) = PAUSE.as_ref().filter(|at| at.is(name, what)) {
            pause(at.pause);
        }
        if let Some(at) = CRASH.as_ref().filter(|at| at.is(name, what))
            && REACHED.fetch_add(1, Ordering::Relaxed) + 1 == at.nth
        {
            pause(at.pause);
            die();
        }
    }

    /// Holds up the caller and nobody else: on a thread of the runtime its other work moves on.
    fn pause(time: Duration) {
        #[expect(clippy::disallowed_methods, reason = "to hold up the caller is its purpose")]
        if !time.is_zero() {
            tokio::task::block_in_place(|| std::thread::sleep(time));
        }
    }

    fn die() {
        if std::env::var_os("HOB_CRASH_KEEPER").is_some() {
            for child in children() {
                kill(child, Signal::SIGKILL).ok();
            }
        }
        kill(getpid(), Signal::SIGKILL).ok();
    }

    fn children() -> Vec<Pid> {
        let own = getpid().to_string();
        let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let is_child = |pid: &i32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // The name in parentheses may hold anything; state and parent come after it.
            stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)) == Some(own.as_str())
        };
        pids.filter(is_child).map(Pid::from_raw).collect()
    }
}
