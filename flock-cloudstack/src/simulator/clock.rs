//! The server's clock, which may be wrong, and how dates are written.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// The server's idea of the time: this machine's, off by some seconds.
#[derive(Debug, Default)]
pub(super) struct Clock {
    skew: AtomicI64,
}

impl Clock {
    pub(super) fn new(skew: i64) -> Self {
        Self { skew: AtomicI64::new(skew) }
    }

    /// Seconds since 1970.
    pub(super) fn now(&self) -> i64 {
        let skew = self.skew.load(Ordering::Relaxed);
        Timestamp::now().as_second().saturating_add(skew)
    }

    /// Sets by how many seconds the clock is ahead, or behind if negative.
    pub(super) fn set_skew(&self, seconds: i64) {
        self.skew.store(seconds, Ordering::Relaxed);
    }
}

/// As dates stand in replies: `2021-10-04T08:41:23+0000`.
pub(super) fn date(seconds: i64) -> String {
    written(seconds, "%Y-%m-%dT%H:%M:%S+0000")
}

/// As the header `Date` has it (RFC 9110, section 5.6.7).
pub(super) fn http_date(seconds: i64) -> String {
    written(seconds, "%a, %d %b %Y %H:%M:%S GMT")
}

fn written(seconds: i64, format: &str) -> String {
    Timestamp::from_second(seconds).unwrap_or_default().strftime(format).to_string()
}

/// Reads `expires`: a date with a numeric zone, with or without a colon, or
/// with `Z`.
pub(super) fn parse(text: &str) -> Option<i64> {
    let numeric = || Timestamp::strptime("%Y-%m-%dT%H:%M:%S%z", text).ok();
    text.parse::<Timestamp>().ok().or_else(numeric).map(Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_and_read() {
        assert_eq!(date(1_633_336_883), "2021-10-04T08:41:23+0000");
        assert_eq!(http_date(1_633_336_883), "Mon, 04 Oct 2021 08:41:23 GMT");
        for text in [
            "2021-10-04T08:41:23+0000",
            "2021-10-04T08:41:23Z",
            "2021-10-04T10:41:23+0200",
            "2021-10-04T08:41:23+00:00",
        ] {
            assert_eq!(parse(text), Some(1_633_336_883), "{text}");
        }
        for text in ["", "tomorrow", "1633336883", "2021-10-04T08:41:23"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_clock_can_be_wrong() {
        let clock = Clock::new(-3600);
        let behind = clock.now();
        clock.set_skew(3600);
        assert!(clock.now() - behind >= 7200);
    }
}
