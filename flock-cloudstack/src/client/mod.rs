//! The wire: signed requests, replies, lists, and jobs that take their time.

mod job;
mod list;
mod pace;
mod parameters;
pub(crate) mod reply;
mod transport;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use flock_core::{Context, Error, ErrorKind, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::job::{Job, JobId, JobStatus, Started};
pub use self::parameters::Parameters;
pub use self::reply::open_reply;
pub(crate) use self::transport::first_words;

use self::pace::Pace;
use self::transport::Failed;
use crate::config::CloudStackConfig;
use crate::error::{ApiError, BACKEND, not_protocol, outcome_unknown};

/// How often a request that got no answer is sent, in all.
const MAX_TRIES: u32 = 5;
/// For how long a request is repeated that CloudStack turns away for now.
const PATIENCE: Duration = Duration::from_secs(300);
/// The wait after the first failed try; it doubles from try to try.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// A client of CloudStack's API, for everything that it can be asked.
///
/// Cheap to clone; clones share connections, bounds and the pace.
///
/// # Repeating
///
/// What only reads (`list…`, `get…`, `query…`, `find…`) is sent up to five
/// times when connections break or CloudStack fails within. A change is repeated only where it certainly
/// had no effect: no connection was made, or CloudStack said that it did not
/// run it (429, 503). Where that cannot be known the call fails with an error
/// for which [`is_outcome_unknown`](crate::is_outcome_unknown) is true.
/// Requests that are turned away by a rate limit wait as long as CloudStack
/// asks, for up to five minutes.
///
/// # Example
///
/// ```no_run
/// use flock_cloudstack::{Client, CloudStackConfig, Parameters};
/// use flock_core::secret::SecretSource;
/// use flock_core::{Context, Result};
///
/// # async fn example() -> Result<()> {
/// let ctx = Context::new();
/// let secret = SecretSource::Env { env: "CLOUD_SECRET".to_owned() }.resolve(&ctx)?;
/// let url = "https://cloud.example.org/client/api".parse().unwrap();
/// let client = Client::new(CloudStackConfig::new(url, "my-api-key", secret))?;
/// let reply = client.call(&ctx, "listApis", &Parameters::new().with("name", "listZones")).await?;
/// println!("{reply:#}");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    config: CloudStackConfig,
    http: reqwest::Client,
    pace: Pace,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

impl Client {
    /// A client with this configuration. Sends nothing yet.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if the certificates of
    /// [`ca_file`](CloudStackConfig::ca_file) cannot be used; those of reading
    /// that file.
    pub fn new(config: CloudStackConfig) -> Result<Self> {
        let (http, pace) = (transport::http(&config)?, Pace::new(&config));
        Ok(Self { inner: Arc::new(Inner { config, http, pace }) })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &CloudStackConfig {
        &self.inner.config
    }

    /// Calls any command, and gives the object within the reply's envelope:
    /// for a list `{"count": …, "zone": […]}`, for an asynchronous command
    /// `{"jobid": …}`. `command` is spelt as CloudStack does, `listZones`.
    ///
    /// Not safe to cancel for a change: it may have happened.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`], which tells a wrong key from a clock
    /// that is wrong; [`ErrorKind::PermissionDenied`] for a command that the
    /// account may not use or that is not there;
    /// [`ErrorKind::InvalidConfig`], [`ErrorKind::NotFound`],
    /// [`ErrorKind::AlreadyExists`], [`ErrorKind::QuotaExceeded`],
    /// [`ErrorKind::Conflict`], [`ErrorKind::Unsupported`] as CloudStack says,
    /// with its codes as the context values `errorcode` and `cserrorcode`;
    /// [`ErrorKind::Unavailable`] and [`ErrorKind::Timeout`] if it cannot be
    /// reached; [`ErrorKind::InvalidData`] for an answer that is not
    /// CloudStack's; the end of the context.
    pub async fn call(
        &self,
        ctx: &Context,
        command: &str,
        parameters: &Parameters,
    ) -> Result<Value> {
        check_command(command)?;
        let only_reads = transport::only_reads(command);
        let (begun, mut tries, mut wait) = (Instant::now(), 0, FIRST_WAIT);
        loop {
            let failed = match self.attempt(ctx, command, parameters).await? {
                Ok(body) => return Ok(body),
                Err(failed) => failed,
            };
            tries += 1;
            let error = match failed {
                Failed::Wrong(error) => return Err(error),
                Failed::Refused(error, _) if error.is_before_any_effect() => {
                    let error = error.into_error(command);
                    if begun.elapsed() > PATIENCE {
                        return Err(error);
                    }
                    error
                }
                // An internal error may pass: a database that was busy, say.
                Failed::Refused(error, _)
                    if error.code == 530 && only_reads && tries < MAX_TRIES =>
                {
                    error.into_error(command)
                }
                Failed::Refused(error, clock) => {
                    return Err(self.refused(ctx, command, error, clock).await);
                }
                Failed::Lost(error) if !only_reads => {
                    return Err(outcome_unknown(error.with("command", command)));
                }
                Failed::NotSent(error) | Failed::Lost(error) if tries >= MAX_TRIES => {
                    return Err(error.with("command", command));
                }
                Failed::NotSent(error) | Failed::Lost(error) => error,
            };
            let asked = error.retry_after().unwrap_or_default();
            tracing::debug!(command, tries, %error, "asking CloudStack again");
            // Where CloudStack says how long, a little more is enough.
            let pause = if asked.is_zero() { wait } else { asked + asked.min(wait) };
            if let Err(ended) = ctx.sleep(pause).await {
                return Err(ended.in_backend(BACKEND).with("command", command).caused_by(error));
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Calls a command and reads what its reply is about: `{"zone": {…}}`
    /// gives the zone.
    ///
    /// # Errors
    /// Those of [`call`](Client::call); [`ErrorKind::InvalidData`] if the
    /// reply is not of that type.
    pub async fn call_as<T: DeserializeOwned>(
        &self,
        ctx: &Context,
        command: &str,
        parameters: &Parameters,
    ) -> Result<T> {
        read(command, reply::single(self.call(ctx, command, parameters).await?))
    }

    /// One try, within the bounds on requests. The outer error is the end of
    /// the context.
    async fn attempt(
        &self,
        ctx: &Context,
        command: &str,
        parameters: &Parameters,
    ) -> Result<Result<Value, Failed>> {
        self.attempt_at(ctx, command, parameters, SystemTime::now()).await
    }

    /// An attempt of which the server has to believe that it is made `now`.
    async fn attempt_at(
        &self,
        ctx: &Context,
        command: &str,
        parameters: &Parameters,
        now: SystemTime,
    ) -> Result<Result<Value, Failed>> {
        let Inner { config, http, pace } = &*self.inner;
        let _turn = pace.turn(ctx).await?;
        let sent =
            ctx.run(async { Ok(transport::send(http, config, command, parameters, now).await) });
        sent.await.map_err(|ended| match transport::only_reads(command) {
            true => ended,
            false => outcome_unknown(ended.in_backend(BACKEND).with("command", command)),
        })
    }

    /// The error for a command that CloudStack refused. Its 401 means many
    /// things: up to two more calls tell them apart.
    async fn refused(
        &self,
        ctx: &Context,
        command: &str,
        refused: ApiError,
        clock: Option<SystemTime>,
    ) -> Error {
        const PROBE: &str = "listCapabilities";
        let code = refused.code;
        let error = refused.into_error(command);
        if code != 401 {
            return error;
        }
        let probe = async |now| self.attempt_at(ctx, PROBE, &Parameters::new(), now).await;
        let now = SystemTime::now();
        if command != PROBE && matches!(probe(now).await, Ok(Ok(_))) {
            let message = format!("the account may not use {command}, or this version lacks it");
            return Error::new(ErrorKind::PermissionDenied, message)
                .in_backend(BACKEND)
                .with("command", command)
                .with("errorcode", "401")
                .hint("ask the cloud's operator for a role with that command")
                .caused_by(error);
        }
        // By the server's own clock the same key may do.
        if let Some(clock) = clock.filter(|clock| difference(*clock, now) >= NOTABLE)
            && matches!(probe(clock).await, Ok(Ok(_)))
        {
            return skewed(error, clock, now);
        }
        error
            .hint("check apikey, secretkey and url of the profile")
            .hint("the user may be disabled, or not allowed to call from this address")
    }
}

/// How much two clocks may differ before they are suspected. Requests are
/// refused once they have expired, and where the server enforces that, if they
/// are valid for longer than 15 minutes.
const NOTABLE: Duration = Duration::from_secs(30);

fn difference(a: SystemTime, b: SystemTime) -> Duration {
    a.duration_since(b).unwrap_or_else(|earlier| earlier.duration())
}

/// The error for a request whose time stamp CloudStack does not accept.
fn skewed(error: Error, server: SystemTime, now: SystemTime) -> Error {
    let word = if server > now { "behind" } else { "ahead of" };
    let seconds = difference(server, now).as_secs();
    let message = format!(
        "this machine's clock is {seconds} seconds {word} CloudStack's, so signed requests \
         are not accepted"
    );
    Error::new(ErrorKind::Unauthenticated, message)
        .in_backend(BACKEND)
        .with("clock_difference_seconds", seconds.to_string())
        .hint("set the clock right, for example by NTP")
        .caused_by(error)
}

/// Refuses what cannot be the name of a command, so that it does not get as
/// far as a URL.
fn check_command(command: &str) -> Result<()> {
    if !command.is_empty() && command.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(());
    }
    let message = format!("'{command}' is not the name of a CloudStack command");
    Err(Error::new(ErrorKind::InvalidConfig, message).in_backend(BACKEND))
}

/// Reads a value of a reply.
pub(crate) fn read<T: DeserializeOwned>(command: &str, value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|error| {
        not_protocol(command, "a value is missing or of another kind").caused_by(error)
    })
}
