//! Trying again where that can help.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use super::layer::{Layer, Policy};
use crate::provisioner::{DeploySpec, Deployment, NodeOutcome};
use crate::{Context, Error, ErrorKind, Operation, Result};

/// Makes calls again whose error says that it can help
/// ([`Error::is_retryable`]).
///
/// Every operation may be repeated: reads as they are, changes because the
/// traits make them idempotent, creates by the request id. A destroy, delete
/// or detach that finds nothing on a later attempt counts as done, as an
/// earlier attempt whose reply was lost may have done it: only on the first
/// attempt is [`ErrorKind::NotFound`] told. Of a deploy, only the nodes are
/// asked for again that failed and are worth it.
///
/// An error after several attempts says how many in its context value
/// `attempts`.
pub type Retry<T> = Layer<T, RetryPolicy>;

/// How often and how long to try.
///
/// Before attempt n + 1 a random time passes, up to `first_delay` × 2ⁿ⁻¹ and
/// at most `max_delay`, and at least what the error asks for
/// ([`Error::retry_after`]).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// The most attempts, the first included; 4 unless set.
    pub max_attempts: u32,
    /// The bound of the first delay: half a second unless set.
    pub first_delay: Duration,
    /// The bound of every delay: half a minute unless set. A longer one that
    /// an error asks for is kept.
    pub max_delay: Duration,
    /// How long after the first attempt began the last may begin: five
    /// minutes unless set.
    pub max_elapsed: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 4,
            first_delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(30),
            max_elapsed: Duration::from_secs(5 * 60),
        }
    }
}

impl RetryPolicy {
    /// Sets [`max_attempts`](Self::max_attempts).
    #[must_use]
    pub fn with_max_attempts(mut self, max_attempts: u32) -> Self {
        self.max_attempts = max_attempts;
        self
    }

    /// Sets [`first_delay`](Self::first_delay).
    #[must_use]
    pub fn with_first_delay(mut self, first_delay: Duration) -> Self {
        self.first_delay = first_delay;
        self
    }

    /// Sets [`max_delay`](Self::max_delay).
    #[must_use]
    pub fn with_max_delay(mut self, max_delay: Duration) -> Self {
        self.max_delay = max_delay;
        self
    }

    /// Sets [`max_elapsed`](Self::max_elapsed).
    #[must_use]
    pub fn with_max_elapsed(mut self, max_elapsed: Duration) -> Self {
        self.max_elapsed = max_elapsed;
        self
    }

    /// How long to wait after the attempts so far; `None` to give up.
    fn delay(&self, attempts: &Attempts<'_>, asked_for: Duration) -> Option<Duration> {
        if attempts.made >= self.max_attempts {
            return None;
        }
        let doublings = attempts.made.saturating_sub(1);
        let bound = self.first_delay.saturating_mul(2u32.saturating_pow(doublings));
        let delay = bound.min(self.max_delay).mul_f64(random_fraction()).max(asked_for);
        let in_time = attempts.started.elapsed().saturating_add(delay) <= self.max_elapsed;
        // A caller is better served by the error than by a deadline that is
        // known to come before the next attempt.
        let left = attempts.ctx.deadline().map(|at| Instant::from(at) - Instant::now());
        (in_time && left.is_none_or(|left| delay < left)).then_some(delay)
    }
}

impl Policy for RetryPolicy {
    async fn around<T, C, W>(&self, ctx: &Context, _operation: Operation, call: C) -> Result<T>
    where
        T: Send,
        C: Fn(Context) -> W + Send + Sync,
        W: Future<Output = Result<T>> + Send,
    {
        let mut attempts = Attempts::start(ctx);
        loop {
            attempts.made += 1;
            match call(ctx.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => attempts.pause(self, error).await?,
            }
        }
    }

    async fn around_removal<C, W>(
        &self,
        ctx: &Context,
        _operation: Operation,
        call: C,
    ) -> Result<()>
    where
        C: Fn(Context) -> W + Send + Sync,
        W: Future<Output = Result<()>> + Send,
    {
        let mut attempts = Attempts::start(ctx);
        loop {
            attempts.made += 1;
            match call(ctx.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::NotFound && attempts.made > 1 => {
                    return Ok(());
                }
                Err(error) => attempts.pause(self, error).await?,
            }
        }
    }

    async fn around_deploy<C, W>(
        &self,
        ctx: &Context,
        spec: &DeploySpec,
        call: C,
    ) -> Result<Deployment>
    where
        C: Fn(Context, DeploySpec) -> W + Send + Sync,
        W: Future<Output = Result<Deployment>> + Send,
    {
        let mut attempts = Attempts::start(ctx);
        let mut outcomes: Vec<NodeOutcome> = Vec::new();
        let mut wanted = spec.clone();
        loop {
            attempts.made += 1;
            match call(ctx.clone(), wanted.clone()).await {
                Ok(deployment) => merge(&mut outcomes, deployment.nodes),
                // Before any node was answered for, the call as a whole failed.
                Err(error) if outcomes.is_empty() => {
                    attempts.pause(self, error).await?;
                    continue;
                }
                Err(error) => {
                    let failed = |name: &String| NodeOutcome::failed(name, None, error.clone());
                    merge(&mut outcomes, wanted.names.iter().map(failed).collect());
                }
            }
            let Some((names, worst)) = worth_another(&outcomes) else { break };
            if attempts.pause(self, worst).await.is_err() {
                break;
            }
            wanted.names = names;
        }
        Ok(Deployment::new(outcomes))
    }
}

/// The attempts at one call.
struct Attempts<'a> {
    ctx: &'a Context,
    started: Instant,
    made: u32,
}

impl<'a> Attempts<'a> {
    fn start(ctx: &'a Context) -> Self {
        Self { ctx, started: Instant::now(), made: 0 }
    }

    /// Waits until the next attempt, or fails with the last one's error if
    /// there is to be none.
    async fn pause(&self, policy: &RetryPolicy, error: Error) -> Result<()> {
        let asked_for = error.retry_after();
        if let (Some(_), Err(end)) = (asked_for, self.ctx.check()) {
            return Err(end.caused_by(self.counted(error)));
        }
        let Some(delay) = asked_for.and_then(|asked_for| policy.delay(self, asked_for)) else {
            return Err(self.counted(error));
        };
        tracing::debug!(attempt = self.made, ?delay, %error, "trying again");
        let ended = self.ctx.sleep(delay).await;
        ended.map_err(|end| end.caused_by(self.counted(error)))
    }

    fn counted(&self, error: Error) -> Error {
        if self.made > 1 { error.with("attempts", self.made.to_string()) } else { error }
    }
}

/// Puts newer outcomes in the place of older ones of the same name. An id once
/// known stays known.
fn merge(outcomes: &mut Vec<NodeOutcome>, newer: Vec<NodeOutcome>) {
    if outcomes.is_empty() {
        *outcomes = newer;
        return;
    }
    for mut new in newer {
        let Some(old) = outcomes.iter_mut().find(|old| old.name == new.name) else { continue };
        new.id = new.id.or_else(|| old.id.take());
        *old = new;
    }
}

/// The names that are worth asking for again, in order, and the error among
/// theirs that wants the longest wait.
fn worth_another(outcomes: &[NodeOutcome]) -> Option<(Vec<String>, Error)> {
    let failed = outcomes.iter().filter_map(|outcome| {
        let error = outcome.result.as_ref().err()?;
        error.is_retryable().then(|| (outcome.name.clone(), error.clone()))
    });
    let (names, errors): (Vec<_>, Vec<_>) = failed.unzip();
    let worst = errors.into_iter().max_by_key(Error::retry_after)?;
    Some((names, worst))
}

/// A fraction from 0 to 1, different every time: the keys that the standard
/// library hashes with are random enough to spread attempts.
fn random_fraction() -> f64 {
    f64::from((RandomState::new().hash_one(0u8) >> 32) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image_builder::{ApplianceFormat, ImageSource, ImageSpec};
    use crate::memory::MemoryBackend;
    use crate::{ImageBuilder, ListFilter, Provisioner};

    fn unavailable() -> Error {
        Error::new(ErrorKind::Unavailable, "down")
    }

    fn retry(inner: &MemoryBackend) -> Retry<MemoryBackend> {
        Retry::new(inner.clone(), RetryPolicy::default())
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_is_retryable_is_tried_again() {
        let inner = MemoryBackend::new();
        let (ctx, all) = (Context::new(), ListFilter::all());
        inner.faults().fail_next(Operation::NodeList, 3, &unavailable());
        assert!(Provisioner::list(&retry(&inner), &ctx, &all).await.is_ok());
        assert_eq!(inner.faults().count(Operation::NodeList), 4);

        inner.faults().fail_next(Operation::NodeList, 9, &unavailable().permanent());
        let error = Provisioner::list(&retry(&inner), &ctx, &all).await.unwrap_err();
        assert_eq!(error.context_value("attempts"), None);
        assert_eq!(inner.faults().count(Operation::NodeList), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_and_time_are_bounded() {
        let inner = MemoryBackend::new();
        let (ctx, all) = (Context::new(), ListFilter::all());
        inner.faults().fail_next(Operation::NodeList, 99, &unavailable());
        let error = Provisioner::list(&retry(&inner), &ctx, &all).await.unwrap_err();
        assert_eq!(error.context_value("attempts"), Some("4"));

        let policy = RetryPolicy {
            max_attempts: 99,
            max_elapsed: Duration::from_secs(20),
            ..RetryPolicy::default()
        };
        let start = Instant::now();
        let slow = unavailable().retry_after_at_least(Duration::from_secs(8));
        inner.faults().fail_next(Operation::NodeList, 99, &slow);
        let bounded = Retry::new(inner.clone(), policy);
        let error = Provisioner::list(&bounded, &ctx, &all).await.unwrap_err();
        assert_eq!(error.context_value("attempts"), Some("3"));
        assert!((16..20).contains(&start.elapsed().as_secs()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_beyond_the_deadline_is_not_begun_and_a_cancel_ends_one() {
        let inner = MemoryBackend::new();
        let all = ListFilter::all();
        let slow = unavailable().retry_after_at_least(Duration::from_secs(60));
        inner.faults().fail_next(Operation::NodeList, 9, &slow);
        let ctx = Context::new().with_timeout(Duration::from_secs(10));
        let error = Provisioner::list(&retry(&inner), &ctx, &all).await.unwrap_err();
        assert_eq!(error.to_string(), "down");

        let ctx = Context::new();
        let layered = retry(&inner);
        let list = Provisioner::list(&layered, &ctx, &all);
        let cancel = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            ctx.cancel();
        };
        let (error, ()) = tokio::join!(list, cancel);
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "down");
    }

    /// A backend with an image, and a spec for four nodes of it.
    async fn four_nodes() -> (MemoryBackend, DeploySpec) {
        let backend = MemoryBackend::new();
        let path = std::env::current_exe().unwrap();
        let source = ImageSource::Appliance { path, format: ApplianceFormat::Raw };
        let spec = ImageSpec::new(backend.owner("base"), "base", "1", source);
        let image = backend.build(&Context::new(), &spec).await.unwrap();
        let spec = DeploySpec::new(backend.owner("web"), image.id, ["d", "a", "c", "b"]);
        (backend, spec)
    }

    #[tokio::test]
    async fn of_a_deploy_only_what_failed_and_may_succeed_is_asked_for_again() {
        let (inner, spec) = four_nodes().await;
        inner.faults().fail_half_way(Operation::NodeCreate, 2);
        inner.faults().lose_reply(Operation::NodeCreate, 3);
        let full = Error::new(ErrorKind::QuotaExceeded, "full");
        inner.faults().fail_nth(Operation::NodeCreate, 4, full);
        let policy =
            RetryPolicy { first_delay: Duration::from_millis(1), ..RetryPolicy::default() };
        let layered = Retry::new(inner.clone(), policy);
        let deployment = layered.deploy(&Context::new(), &spec).await.unwrap();
        let outcomes: Vec<_> = deployment
            .nodes
            .iter()
            .map(|outcome| (outcome.name.as_str(), outcome.result.as_ref().err().map(Error::kind)))
            .collect();
        let wanted = [("d", None), ("a", None), ("c", None), ("b", Some(ErrorKind::QuotaExceeded))];
        assert_eq!(outcomes, wanted);
        let calls = inner.faults().calls();
        let deploys = calls.iter().filter(|call| call.operation == Operation::NodeDeploy);
        let asked: Vec<_> = deploys.map(|call| call.target.as_str()).collect();
        assert_eq!(asked, ["d,a,c,b", "a,c"]);
    }

    #[tokio::test]
    async fn the_id_of_a_half_made_node_is_not_forgotten() {
        let (inner, mut spec) = four_nodes().await;
        spec.names.truncate(1);
        inner.faults().fail_half_way(Operation::NodeCreate, 1);
        let down = unavailable();
        inner.faults().fail_nth(Operation::NodeDeploy, 2, down.permanent());
        let policy =
            RetryPolicy { first_delay: Duration::from_millis(1), ..RetryPolicy::default() };
        let deployment = Retry::new(inner, policy).deploy(&Context::new(), &spec).await.unwrap();
        let outcome = &deployment.nodes[0];
        assert!(outcome.result.is_err());
        assert!(outcome.id.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_removal_whose_reply_was_lost_is_done() {
        let (inner, spec) = four_nodes().await;
        let ctx = Context::new();
        let nodes = inner.deploy(&ctx, &spec).await.unwrap().into_nodes().unwrap();
        inner.faults().lose_reply(Operation::NodeDestroy, 1);
        let layered = retry(&inner);
        assert!(Provisioner::destroy(&layered, &ctx, &nodes[0].id).await.is_ok());
        let again = Provisioner::destroy(&layered, &ctx, &nodes[0].id).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn delays_grow_up_to_the_bound() {
        let ctx = Context::new();
        let policy = RetryPolicy { max_attempts: u32::MAX, ..RetryPolicy::default() };
        for (made, bound) in [(1, 0.5), (2, 1.0), (4, 4.0), (40, 30.0), (u32::MAX - 1, 30.0)] {
            let attempts = Attempts { made, ..Attempts::start(&ctx) };
            let delays = (0..200).map(|_| policy.delay(&attempts, Duration::ZERO).unwrap());
            let longest = delays.max().unwrap().as_secs_f64();
            assert!(longest <= bound && longest > bound * 0.8, "{made}: {longest}");
        }
    }
}
