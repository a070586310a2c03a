//! `flock simulator …`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

/// What to simulate.
#[derive(Debug, Subcommand)]
pub(crate) enum Simulator {
    /// Run a server that behaves like Apache CloudStack, in memory, until
    /// Ctrl-C. It is not CloudStack: no machine starts.
    Cloudstack(Box<Cloudstack>),
}

/// How the simulated CloudStack behaves.
#[derive(Debug, Args)]
pub(crate) struct Cloudstack {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Address for uploads of templates; a free port beside the other by
    /// default.
    #[arg(long, value_name = "ADDR")]
    pub(crate) upload_listen: Option<SocketAddr>,
    /// File to write the profile to that other commands need, instead of
    /// standard output. One of an earlier run is replaced.
    #[arg(long, value_name = "PATH")]
    pub(crate) profile_file: Option<PathBuf>,
    /// Replace the profile file whatever is in it.
    #[arg(short, long, requires = "profile_file")]
    pub(crate) force: bool,
    /// Time added to each reply, such as 50ms.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_time)]
    pub(crate) latency: Duration,
    /// How long a job takes.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_time)]
    pub(crate) job_time: Duration,
    /// How long a destroyed machine can be recovered.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_time)]
    pub(crate) expunge_delay: Duration,
    /// The version of CloudStack that it says it is.
    #[arg(long, value_name = "VERSION", default_value = "4.22.0.0")]
    pub(crate) cloudstack_version: String,
    /// Seconds by which the server's clock is ahead; behind if negative.
    #[arg(long, value_name = "SECONDS", default_value = "0", allow_hyphen_values = true)]
    pub(crate) clock_skew: i64,
    /// Directory to keep templates in, so that they can be extracted.
    #[arg(long, value_name = "DIR")]
    pub(crate) storage: Option<PathBuf>,
    /// Share of requests that go wrong, from 0 to 1.
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = parse_share)]
    pub(crate) fault_rate: f64,
    /// Number from which the faults follow: the same again with the same.
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    pub(crate) fault_seed: u64,
}

/// Reads a time: a number with `ms`, `s`, `m` or `h`.
fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is not a time, such as 50ms, 2s, 5m or 24h");
    let split = text.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        _ => return Err(wrong()),
    };
    number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(wrong)
}

fn parse_share(text: &str) -> Result<f64, String> {
    let wrong = || format!("'{text}' is not a share from 0 to 1, such as 0.1");
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        for (text, milliseconds) in [("50ms", 50), ("2s", 2000), ("1m", 60_000), ("0s", 0)] {
            assert_eq!(parse_time(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        assert_eq!(parse_time("24h"), Ok(Duration::from_secs(86_400)));
        for text in ["", "5", "ms", "1d", "-1s", "1.5s", "99999999999999999999s", "2 s"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_are_at_most_one() {
        assert_eq!((parse_share("0.25"), parse_share("1")), (Ok(0.25), Ok(1.0)));
        for text in ["", "-0.1", "1.1", "NaN", "half"] {
            assert!(parse_share(text).is_err(), "{text}");
        }
    }
}
