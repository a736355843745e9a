//! How much memory a process takes on while something happens to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::leftovers::rss_bytes;

/// Short against the time that it takes to read a hundred megabytes.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Looks at the resident memory of a process, again and again, until it is asked.
pub struct Growth {
    before: u64,
    highest: Arc<AtomicU64>,
    enough: Arc<AtomicBool>,
    watcher: Option<JoinHandle<()>>,
}

impl Growth {
    /// Begins to look.
    pub fn watch(pid: u32) -> Self {
        let before = rss_bytes(pid);
        let (highest, enough) = (Arc::new(AtomicU64::new(before)), Arc::new(AtomicBool::new(false)));
        let watcher = std::thread::spawn({
            let (highest, enough) = (highest.clone(), enough.clone());
            move || {
                while !enough.load(Ordering::Relaxed) {
                    highest.fetch_max(rss_bytes(pid), Ordering::Relaxed);
                    std::thread::sleep(LOOK_EVERY);
                }
            }
        });
        Self { before, highest, enough, watcher: Some(watcher) }
    }

    /// Ends looking; it must never have taken more than `limit` bytes above the beginning.
    #[track_caller]
    pub fn stays_under(self, limit: u64) {
        let grown = self.highest.load(Ordering::Relaxed).saturating_sub(self.before);
        assert!(grown < limit, "hobd grew from {} by {grown} bytes, {limit} are allowed", self.before);
    }
}

impl Drop for Growth {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
    }
}
