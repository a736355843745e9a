//! The one mistake that hob's crash campaign has the core make, to see that it would notice it.
//!
//! **Invariant:** without the cargo feature `campaign` it is never made.

#[cfg(feature = "campaign")]
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(feature = "campaign")]
static HEARS_OLD: AtomicBool = AtomicBool::new(false);

/// Has every session take news of a backend that it has let go for news of the present one.
#[cfg(feature = "campaign")]
pub fn hear_old_generations(yes: bool) {
    HEARS_OLD.store(yes, Ordering::Relaxed);
}

/// Whether it does.
pub(crate) fn hears_old_generations() -> bool {
    #[cfg(feature = "campaign")]
    return HEARS_OLD.load(Ordering::Relaxed);
    #[cfg(not(feature = "campaign"))]
    false
}
