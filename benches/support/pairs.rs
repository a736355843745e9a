//! Two durations, measured again and again one right after the other, and what can be said of them.

use std::time::Duration;

use super::say;

/// Measurements of ours, each beside one of what cannot be avoided.
#[derive(Debug, Default)]
pub struct Pairs(Vec<(f64, f64)>);

impl Pairs {
    /// Adds one of each.
    pub fn push(&mut self, ours: Duration, limit: Duration) {
        self.0.push((micros(ours), micros(limit)));
    }

    /// Whether nothing was measured, because nobody asked for it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Says the ratio first, then the difference, then both sides.
    pub fn report(&self, ours: &str, limit: &str) {
        if self.is_empty() {
            return;
        }
        let ratios = Spread::of(self.0.iter().map(|(ours, limit)| ours / limit));
        let added = Spread::of(self.0.iter().map(|(ours, limit)| ours - limit));
        say(&format!(
            "{ours} / {limit}: ratio {:.2} in the middle, {:.2} to {:.2} in the middle half of {} pairs",
            ratios.at(0.5),
            ratios.at(0.25),
            ratios.at(0.75),
            self.0.len(),
        ));
        say(&format!("  added    {}", added.micros()));
        say(&format!("  ours     {}", Spread::of(self.0.iter().map(|pair| pair.0)).micros()));
        say(&format!("  limit    {}", Spread::of(self.0.iter().map(|pair| pair.1)).micros()));
    }

    /// Says how many of `n_items` that each took go through in a second, and which part of the limit that is.
    pub fn report_rate(&self, ours: &str, limit: &str, n_items: f64) {
        if self.is_empty() {
            return;
        }
        let parts = Spread::of(self.0.iter().map(|(ours, limit)| limit / ours));
        let rate = |time: f64| n_items / time * 1e6;
        let mine = Spread::of(self.0.iter().map(|pair| rate(pair.0)));
        let others = Spread::of(self.0.iter().map(|pair| rate(pair.1)));
        say(&format!(
            "{ours} / {limit}: {:.2} of it in the middle, {:.2} to {:.2} in the middle half of {} pairs; {:.0} against {:.0} a second",
            parts.at(0.5),
            parts.at(0.25),
            parts.at(0.75),
            self.0.len(),
            mine.at(0.5),
            others.at(0.5),
        ));
    }
}

/// Numbers in order.
struct Spread(Vec<f64>);

impl Spread {
    fn of(numbers: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = numbers.collect();
        sorted.sort_by(f64::total_cmp);
        Self(sorted)
    }

    /// The number that a part of all is not above.
    fn at(&self, part: f64) -> f64 {
        self.0[((self.0.len() - 1) as f64 * part).round() as usize]
    }

    fn micros(&self) -> String {
        format!(
            "p25 {:.1} µs, p50 {:.1} µs, p75 {:.1} µs, p95 {:.1} µs, p99 {:.1} µs",
            self.at(0.25),
            self.at(0.5),
            self.at(0.75),
            self.at(0.95),
            self.at(0.99),
        )
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
