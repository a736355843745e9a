//! What the machine is and how long its disk takes: numbers mean nothing without.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::say;

/// Syncs that are timed.
const SYNCS: usize = 60;

/// Says what it is run on.
pub fn describe() {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split(':').nth(1).unwrap_or("?").trim().to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    say(&format!(
        "machine: {cores} cores of {}, {} memory, Linux {}, load before {}",
        field(&read("/proc/cpuinfo"), "model name"),
        field(&read("/proc/meminfo"), "MemTotal"),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").split(' ').next().unwrap_or("?"),
    ));
}

/// How long it takes, in the middle, to append a page to a file and have it on the disk.
pub fn sync_time(directory: &Path) -> Duration {
    let mut file = File::create(directory.join("sync")).unwrap();
    let mut times: Vec<Duration> = (0..SYNCS)
        .map(|_| {
            let begin = Instant::now();
            file.write_all(&[0; 4096]).unwrap();
            file.sync_data().unwrap();
            begin.elapsed()
        })
        .collect();
    times.sort();
    times[SYNCS / 2]
}
