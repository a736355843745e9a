//! When a process is probed for the first time. Pure.

use std::time::Duration;

/// The golden ratio as a fraction of 2³²: steps of it fall evenly however many there are.
const SPREAD: u32 = 0x9E37_79B9;

/// When the `n`th process is probed for the first time, after it began: in the second half of its
/// interval, so that those which began together are not probed together.
pub(super) fn first_probe(interval: Duration, n: u32) -> Duration {
    let fraction = f64::from(n.wrapping_mul(SPREAD)) / (f64::from(u32::MAX) + 1.0);
    interval.mul_f64(0.5 + fraction / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_that_begin_together_are_probed_apart() {
        let interval = Duration::from_secs(15);
        let mut firsts: Vec<_> = (0..1000).map(|n| first_probe(interval, n)).collect();
        firsts.sort();
        assert!(firsts[0] >= interval / 2 && firsts[999] <= interval);
        let least = firsts.windows(2).map(|two| two[1] - two[0]).min().expect("a thousand of them");
        assert!(least > Duration::from_millis(2), "{least:?}");
    }
}
