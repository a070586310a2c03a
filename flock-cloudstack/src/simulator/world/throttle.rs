//! How many calls each account made lately.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

/// Counts calls in intervals, each account its own.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    limit: Option<(u32, Duration)>,
    /// How many calls, and when counting begins anew.
    accounts: HashMap<Uuid, (u32, Instant)>,
}

impl Throttle {
    pub(crate) fn new(limit: Option<(u32, Duration)>) -> Self {
        Self { limit, accounts: HashMap::new() }
    }

    /// Counts a call, or says how long the account must wait.
    pub(crate) fn admit(&mut self, account: Uuid) -> Result<(), Duration> {
        let Some((most, interval)) = self.limit else { return Ok(()) };
        let now = Instant::now();
        let (count, until) = self.accounts.entry(account).or_insert((0, now + interval));
        if *until <= now {
            (*count, *until) = (0, now + interval);
        }
        if *count >= most {
            return Err(until.saturating_duration_since(now));
        }
        *count += 1;
        Ok(())
    }

    /// How many calls were counted, and how long that counts.
    pub(crate) fn used(&self, account: Uuid) -> (u32, Duration) {
        let now = Instant::now();
        match self.accounts.get(&account) {
            Some((count, until)) if *until > now => (*count, until.duration_since(now)),
            _ => (0, Duration::ZERO),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn calls_are_counted_anew_after_the_interval() {
        let mut throttle = Throttle::new(Some((2, Duration::from_secs(1))));
        let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
        assert_eq!(throttle.used(one), (0, Duration::ZERO));
        assert!(throttle.admit(one).is_ok() && throttle.admit(one).is_ok());
        assert!(throttle.admit(one).unwrap_err() <= Duration::from_secs(1));
        assert_eq!(throttle.used(one).0, 2);
        assert!(throttle.admit(other).is_ok());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(throttle.admit(one).is_ok());
        assert_eq!(throttle.used(one).0, 1);
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let mut throttle = Throttle::default();
        assert!((0..100).all(|_| throttle.admit(Uuid::nil()).is_ok()));
    }
}
