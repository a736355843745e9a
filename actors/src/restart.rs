//! How often something may be started again: `max` times in a sliding `period`, by OTP's rule.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Restarts that are left. Pure: the time is an argument.
#[derive(Debug, Clone)]
pub struct RestartBudget {
    max: usize,
    period: Duration,
    spent: VecDeque<Instant>,
}

/// Too many restarts in the period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("restarted too often")]
pub struct BudgetSpent;

impl RestartBudget {
    /// `max` restarts within `period`.
    pub fn new(max: usize, period: Duration) -> Self {
        Self { max, period, spent: VecDeque::new() }
    }

    /// Takes one restart, if there is one left at `now`.
    pub fn spend(&mut self, now: Instant) -> Result<(), BudgetSpent> {
        while self.spent.front().is_some_and(|at| now.duration_since(*at) >= self.period) {
            self.spent.pop_front();
        }
        if self.spent.len() >= self.max {
            return Err(BudgetSpent);
        }
        self.spent.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_window_of_the_period_holds_more_than_max(steps in prop::collection::vec(0u64..40, 1..80), max in 1usize..6) {
            let start = Instant::now();
            let period = Duration::from_secs(60);
            let mut budget = RestartBudget::new(max, period);
            let mut at = start;
            let mut granted = Vec::new();
            for step in steps {
                at += Duration::from_secs(step);
                if budget.spend(at).is_ok() {
                    granted.push(at);
                }
            }
            for from in &granted {
                let within = granted.iter().filter(|t| **t >= *from && t.duration_since(*from) < period).count();
                prop_assert!(within <= max);
            }
        }
    }

    #[test]
    fn a_spent_budget_refills_after_the_period() {
        let start = Instant::now();
        let mut budget = RestartBudget::new(2, Duration::from_secs(60));
        assert_eq!(budget.spend(start), Ok(()));
        assert_eq!(budget.spend(start + Duration::from_secs(1)), Ok(()));
        assert_eq!(budget.spend(start + Duration::from_secs(59)), Err(BudgetSpent));
        assert_eq!(budget.spend(start + Duration::from_secs(60)), Ok(()));
    }
}
