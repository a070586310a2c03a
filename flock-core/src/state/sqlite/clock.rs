//! The clock that leases end by.
//!
//! All processes that use the file are on one machine, so they share a clock.
//! On Linux it is `CLOCK_BOOTTIME` (clock_gettime(2)): it goes on while the
//! machine sleeps and nobody can set it, and the kernel's random boot id tells
//! readings of different boots apart. Where that is missing, and for a lease
//! from before a reboot, it is the time of day.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The machine's clock.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    boot: Option<String>,
}

/// When a lease ends, as it is stored; all in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    pub(super) ttl: i64,
    /// Since the Unix epoch.
    pub(super) wall: i64,
    /// The boot that `since_boot` counts from.
    pub(super) boot: Option<String>,
    pub(super) since_boot: i64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { boot: boot_id() }
    }

    /// The end of a lease taken now: up to 2 ms late, never early.
    pub(super) fn end_after(&self, ttl: Duration) -> End {
        let ttl = millis(ttl).saturating_add(2);
        End {
            ttl,
            wall: wall().saturating_add(ttl),
            boot: self.boot.clone(),
            since_boot: since_boot().saturating_add(ttl),
        }
    }

    /// How long it is to the end; zero if it has passed.
    pub(super) fn remaining(&self, end: &End) -> Duration {
        let left = if self.boot.is_some() && self.boot == end.boot {
            end.since_boot.saturating_sub(since_boot())
        } else {
            end.wall.saturating_sub(wall())
        };
        // More than the whole time can only be left if the clock was set
        // back; how far, nobody knows.
        if left > end.ttl {
            return Duration::ZERO;
        }
        u64::try_from(left).map_or(Duration::ZERO, Duration::from_millis)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn wall() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn boot_id() -> Option<String> {
    None
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn since_boot() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec.saturating_mul(1000).saturating_add(now.tv_nsec / 1_000_000)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn since_boot() -> i64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_lasts_its_time_and_no_reboot() {
        let clock = Clock::new();
        let end = clock.end_after(Duration::from_secs(60));
        assert!(clock.remaining(&end) > Duration::from_secs(59));
        let past = End { wall: 0, since_boot: 0, ..end.clone() };
        assert_eq!(clock.remaining(&past), Duration::ZERO);
        let other_boot = Clock { boot: Some("another".to_owned()) };
        let before_reboot = End { wall: wall() - 1, ..end.clone() };
        assert_eq!(other_boot.remaining(&before_reboot), Duration::ZERO);
        assert!(other_boot.remaining(&end) > Duration::from_secs(59));
        let clock_set_back = End { wall: wall() + 3_600_000, ..end };
        assert_eq!(other_boot.remaining(&clock_set_back), Duration::ZERO);
    }
}
