//! Misbehaviour on demand.

mod plan;
mod rule;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use self::plan::FaultPlan;
pub(super) use self::rule::Parameters;
pub use self::rule::{Asked, FaultRule};
use super::clock::Clock;

/// The name under which uploads to a `postURL` count as a command, for
/// [`FaultRule::with_command`] and [`Simulator::requests`](super::Simulator::requests).
pub const UPLOAD: &str = "upload";

/// What goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// 429, with the time to wait in the text; without an effect.
    RateLimit {
        /// How long the client is told to wait.
        retry_after: Duration,
    },
    /// An error of the API with this code and text; without an effect.
    Refuse {
        /// HTTP status and `errorcode`.
        code: u16,
        /// The `errortext`.
        text: String,
    },
    /// A page in HTML, as of a proxy in front.
    Proxy {
        /// The status: 502, 503 or 504.
        status: u16,
        /// Whether the request had its effect.
        effect: bool,
    },
    /// The connection is closed without a reply and without an effect.
    CloseConnection,
    /// The request has its effect; then the connection is closed without a
    /// reply.
    LoseReply,
    /// The request has its effect; half of the reply's body comes.
    TruncateReply,
    /// No reply comes, without an effect, until the client gives up.
    Hang,
    /// The request waits so long before it has its effect, which it has even
    /// if the client gives up.
    Delay(Duration),
    /// The job takes so much longer. Nothing to a command that starts none.
    SlowJob(Duration),
    /// The job fails, and leaves what failed jobs leave: of a deployment a
    /// machine in the state Error, of others nothing. Nothing to a command
    /// that starts no job.
    FailJob {
        /// The `errorcode` of its result.
        code: u16,
        /// The `errortext` of its result.
        text: String,
    },
    /// The job fails with 530 after it did its work: a volume is attached all
    /// the same. Of a deployment only the start failed, the machine is
    /// Stopped. Nothing to a command that starts no job.
    FailJobHalfWay,
    /// Of an upload: the connection is closed after so many bytes of the
    /// file. Nothing to commands.
    CutUpload {
        /// How many bytes are read.
        after: u64,
    },
}

impl Fault {
    /// What CloudStack says before a shutdown for maintenance: 503.
    #[must_use]
    pub fn unavailable() -> Self {
        let text = "Maintenance or Shutdown has been initiated on this management server. Can not \
                    accept new jobs";
        Self::Refuse { code: 503, text: text.to_owned() }
    }

    /// A short name, for counts.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::RateLimit { .. } => "rate_limit",
            Self::Refuse { .. } => "refuse",
            Self::Proxy { .. } => "proxy",
            Self::CloseConnection => "close_connection",
            Self::LoseReply => "lose_reply",
            Self::TruncateReply => "truncate_reply",
            Self::Hang => "hang",
            Self::Delay(_) => "delay",
            Self::SlowJob(_) => "slow_job",
            Self::FailJob { .. } => "fail_job",
            Self::FailJobHalfWay => "fail_job_half_way",
            Self::CutUpload { .. } => "cut_upload",
        }
    }

    /// Whether it can befall a request that is no upload and starts no job.
    fn suits(&self, asked: &Asked<'_>) -> bool {
        match self {
            Self::SlowJob(_) | Self::FailJob { .. } | Self::FailJobHalfWay => asked.is_async,
            Self::CutUpload { .. } => asked.command == UPLOAD,
            _ => true,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Makes chosen requests to a [`Simulator`](super::Simulator) go wrong.
///
/// A request meets at most one fault: that of the first rule, in the order in
/// which they were added, that fits it, or else one of the random plan.
/// Clones are the same faults.
#[derive(Debug, Clone)]
pub struct Faults {
    inner: Arc<Mutex<Inner>>,
    clock: Arc<Clock>,
}

#[derive(Debug, Default)]
struct Inner {
    rules: Vec<FaultRule>,
    plan: Option<FaultPlan>,
    /// How often each command was asked for.
    counts: BTreeMap<String, u64>,
    happened: BTreeMap<&'static str, u64>,
}

impl Faults {
    pub(super) fn new(clock: Arc<Clock>) -> Self {
        Self { inner: Arc::default(), clock }
    }

    /// Adds a rule.
    pub fn add(&self, rule: FaultRule) {
        self.lock().rules.push(rule);
    }

    /// Makes the next request of this command go wrong, once.
    pub fn once(&self, command: &str, fault: Fault) {
        self.add(FaultRule::new(fault).with_command(command).with_times(1));
    }

    /// Makes random requests go wrong, in place of the plan there was.
    pub fn set_plan(&self, plan: FaultPlan) {
        self.lock().plan = Some(plan);
    }

    /// Sets by how many seconds the server's clock is ahead, or behind if
    /// negative.
    pub fn set_clock_skew(&self, seconds: i64) {
        self.clock.set_skew(seconds);
    }

    /// Takes back all rules and the plan; the clock stays as it is.
    pub fn clear(&self) {
        let mut inner = self.lock();
        inner.rules.clear();
        inner.plan = None;
    }

    /// How many faults happened so far, by their [names](Fault::name).
    #[must_use]
    pub fn happened(&self) -> BTreeMap<&'static str, u64> {
        self.lock().happened.clone()
    }

    /// How often each command was asked for.
    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        self.lock().counts.clone()
    }

    /// What is to go wrong with this request, if anything.
    pub(super) fn meet(&self, asked: &Asked<'_>) -> Option<Fault> {
        let mut inner = self.lock();
        let count = inner.counts.entry(asked.command.to_owned()).or_default();
        *count += 1;
        let count = *count;
        let ruled = inner.rules.iter_mut().find_map(|rule| rule.meet(asked));
        inner.rules.retain(|rule| !rule.is_over());
        let fault = ruled.or_else(|| inner.plan.as_mut()?.meet(asked, count));
        if let Some(fault) = &fault {
            *inner.happened.entry(fault.name()).or_default() += 1;
        }
        fault
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
