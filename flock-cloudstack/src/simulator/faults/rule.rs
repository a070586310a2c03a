//! Faults for chosen requests.

use std::fmt;
use std::sync::Arc;

use super::Fault;

/// A request, as far as rules look at it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Asked<'a> {
    /// The command, or [`UPLOAD`](super::UPLOAD).
    pub command: &'a str,
    /// Whether the command starts a job.
    pub is_async: bool,
    parameters: &'a dyn Parameters,
}

/// Where parameters are looked up.
pub(crate) trait Parameters: fmt::Debug {
    fn get(&self, name: &str) -> Option<&str>;
}

impl<'a> Asked<'a> {
    pub(crate) fn new(command: &'a str, is_async: bool, parameters: &'a dyn Parameters) -> Self {
        Self { command, is_async, parameters }
    }

    /// A parameter of the request, by its name in lower case; of an upload
    /// there are none.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name)
    }
}

type Predicate = Arc<dyn Fn(&Asked<'_>) -> bool + Send + Sync>;

/// Which requests meet which fault.
///
/// ```
/// use flock_cloudstack::simulator::{Fault, FaultRule};
///
/// // The third and the fourth deployment of a machine whose name begins so.
/// let rule = FaultRule::new(Fault::LoseReply)
///     .with_command("deployVirtualMachine")
///     .with_predicate(|asked| asked.parameter("name").is_some_and(|name| name.starts_with("web")))
///     .with_skip(2)
///     .with_times(2);
/// ```
#[derive(Clone)]
pub struct FaultRule {
    fault: Fault,
    command: Option<String>,
    predicate: Option<Predicate>,
    skip: u64,
    times: Option<u64>,
}

impl FaultRule {
    /// Every request meets this fault.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self { fault, command: None, predicate: None, skip: 0, times: None }
    }

    /// Only requests of this command, or [`UPLOAD`](super::UPLOAD).
    #[must_use]
    pub fn with_command(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }

    /// Only requests for which this is true.
    #[must_use]
    pub fn with_predicate(
        mut self,
        predicate: impl Fn(&Asked<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.predicate = Some(Arc::new(predicate));
        self
    }

    /// Lets so many of them pass first. Default: none.
    #[must_use]
    pub fn with_skip(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }

    /// Happens so often and no more. Default: without an end.
    #[must_use]
    pub fn with_times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// The fault, if the request is to meet it.
    pub(super) fn meet(&mut self, asked: &Asked<'_>) -> Option<Fault> {
        let is_command = |command: &String| command.eq_ignore_ascii_case(asked.command);
        let fits = self.command.as_ref().is_none_or(is_command)
            && self.predicate.as_ref().is_none_or(|predicate| predicate(asked))
            && self.fault.suits(asked);
        if !fits || self.is_over() {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.times = self.times.map(|times| times - 1);
        Some(self.fault.clone())
    }

    pub(super) fn is_over(&self) -> bool {
        self.times == Some(0)
    }
}

impl fmt::Debug for FaultRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultRule")
            .field("fault", &self.fault)
            .field("command", &self.command)
            .field("skip", &self.skip)
            .field("times", &self.times)
            .finish_non_exhaustive()
    }
}
