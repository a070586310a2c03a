//! One public suite per trait: the behaviour that every backend, wrapper and
//! store must show, every case a named test.
//!
//! An outside backend runs a suite from a test target with `harness = false`:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use std::sync::Arc;
//! use flock_core::conformance::{self, state::SuiteOptions};
//! use flock_core::state::{MemoryStore, StateStore};
//!
//! fn main() -> ExitCode {
//!     let open = |_name| async { Ok(Arc::new(MemoryStore::new()) as Arc<dyn StateStore>) };
//!     conformance::main([conformance::state::suite("memory", SuiteOptions::default(), open)])
//! }
//! ```
//!
//! The target takes libtest's arguments (a filter, `--list`, `--exact`,
//! `--ignored`, `--test-threads`), so `cargo test` and `cargo nextest` both
//! work. A program that wants the cases one by one has [`Suite::cases`] and
//! [`Case::run`].
//!
//! What cannot run is shown as *ignored*, with the reason behind its name,
//! and never as passed:
//!
//! - a case that the subject's capabilities exclude, see [`SuiteOn::case_unless`];
//! - a suite whose service is missing on this machine, see [`Suite::with_service`].
//!   Where [`REQUIRE`] names the service, its cases fail instead.

mod check;
pub mod image_builder;
pub mod provisioner;
mod run;
pub mod state;
mod subject;
pub mod volume_driver;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use check::{Failure, Outcome, ensure, expect_eq, expect_err, expect_some};
pub use run::main;
pub use subject::FaultInjector;

/// The environment variable that names, separated by commas, the services
/// that tests must not do without: `docker,registry`.
pub const REQUIRE: &str = "FLOCK_TEST_REQUIRE";

/// How long a case may take before it counts as hanging, unless
/// [`Suite::with_time_limit`] says otherwise.
pub const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Makes what a suite is run on: a fresh one for every case.
///
/// A closure without arguments that returns a future is a fixture without
/// anything to tear down.
#[async_trait]
pub trait Fixture: Send + Sync + 'static {
    /// What the cases get.
    type Subject: Send + Sync + 'static;

    /// Makes a subject that shares nothing with those of other cases.
    ///
    /// # Errors
    /// Whatever stands in the way; the case fails with it.
    async fn set_up(&self) -> crate::Result<Self::Subject>;

    /// Takes back what the case left on the backend. Called once per subject,
    /// also after a failure, a panic or a time-out of the case.
    ///
    /// # Errors
    /// Whatever stands in the way; the case fails with it.
    async fn tear_down(&self, subject: Arc<Self::Subject>) -> crate::Result<()> {
        drop(subject);
        Ok(())
    }
}

#[async_trait]
impl<F, Made, S> Fixture for F
where
    F: Fn() -> Made + Send + Sync + 'static,
    Made: Future<Output = crate::Result<S>> + Send + 'static,
    S: Send + Sync + 'static,
{
    type Subject = S;

    async fn set_up(&self) -> crate::Result<S> {
        self().await
    }
}

/// Whether a service that a suite needs is there, and whether it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    name: String,
    missing: Option<String>,
    required: bool,
}

/// A service by the name [`REQUIRE`] knows it by. `probe` is what looking for
/// it gave: the error says why it cannot be used.
#[must_use]
pub fn service(name: &str, probe: Result<(), String>) -> Service {
    let required = std::env::var(REQUIRE).unwrap_or_default();
    Service {
        name: name.to_owned(),
        missing: probe.err(),
        required: required.split(',').any(|required| required.trim() == name),
    }
}

type Pinned<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Runner = Arc<dyn Fn(Duration) -> Pinned<Outcome> + Send + Sync>;
type CaseOf<S> = Box<dyn Fn(Arc<S>) -> Pinned<Outcome> + Send + Sync>;

/// One named test.
#[derive(Clone)]
pub struct Case {
    name: String,
    ignored: Option<String>,
    limit: Duration,
    runner: Runner,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("name", &self.name)
            .field("ignored", &self.ignored)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl Case {
    /// The suite's name, `::`, and the case's own.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Why the case cannot run here; `None` where it can.
    #[must_use]
    pub fn ignored(&self) -> Option<&str> {
        self.ignored.as_deref()
    }

    /// Runs the case on a fresh subject. Needs a tokio runtime with time and
    /// I/O. Dropping the future stops the case without tearing down.
    ///
    /// # Errors
    /// What the subject did wrong, that the time limit passed, or why the
    /// case cannot run here.
    pub async fn run(&self) -> Outcome {
        if let Some(reason) = &self.ignored {
            return Err(Failure::new(format!("cannot run here: {reason}")));
        }
        (self.runner)(self.limit).await
    }
}

/// A named list of cases.
///
/// The suites of flock's traits are made by their modules; a backend adds its
/// own tests to them, or makes its own suite, with the same methods.
///
/// ```
/// use flock_core::conformance::{Suite, expect_eq, service};
///
/// let suite = Suite::new("sums")
///     .with_service(service("arithmetic", Ok(())))
///     .test("one_and_one", || async { expect_eq(1 + 1, 2, "1 + 1") });
/// assert_eq!(suite.cases()[0].name(), "sums::one_and_one");
/// ```
#[derive(Debug, Clone)]
pub struct Suite {
    name: String,
    limit: Duration,
    service: Option<Service>,
    cases: Vec<Case>,
}

impl Suite {
    /// An empty suite. The name, for example `volume::docker`, goes before
    /// those of its cases.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), limit: TIME_LIMIT, service: None, cases: Vec::new() }
    }

    /// Sets the time limit of every case, set-up and tear-down apart.
    #[must_use]
    pub fn with_time_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        for case in &mut self.cases {
            case.limit = limit;
        }
        self
    }

    /// Makes every case depend on a service: where that is missing, the cases
    /// are ignored with the probe's reason, or fail with it where [`REQUIRE`]
    /// names the service. Of several services, the first one missing counts.
    #[must_use]
    pub fn with_service(mut self, service: Service) -> Self {
        if self.service.as_ref().is_some_and(|known| known.missing.is_some()) {
            return self;
        }
        self.cases = self.cases.into_iter().map(|case| dependent(case, &service)).collect();
        self.service = Some(service);
        self
    }

    /// Adds a case without a fixture.
    #[must_use]
    pub fn test<F, Ran>(self, name: &str, test: F) -> Self
    where
        F: Fn() -> Ran + Send + Sync + 'static,
        Ran: Future<Output = Outcome> + Send + 'static,
    {
        self.push(name, None, Arc::new(move |limit| Box::pin(run::limited(limit, test()))))
    }

    /// The cases, in the order they were added.
    #[must_use]
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// Adds cases that run on a fixture's subjects.
    pub fn on<F: Fixture>(self, fixture: F) -> SuiteOn<F> {
        SuiteOn { suite: self, fixture: Arc::new(fixture) }
    }

    fn push(mut self, name: &str, ignored: Option<&str>, runner: Runner) -> Self {
        let case = Case {
            name: format!("{}::{name}", self.name),
            ignored: ignored.map(str::to_owned),
            limit: self.limit,
            runner,
        };
        self.cases.push(match &self.service {
            Some(service) => dependent(case, service),
            None => case,
        });
        self
    }
}

/// The case as it is with or without the service.
fn dependent(mut case: Case, service: &Service) -> Case {
    let (Some(reason), None) = (&service.missing, &case.ignored) else { return case };
    let text = format!("no {}: {reason}", service.name);
    if service.required {
        let failure = format!("{text}, and {REQUIRE} asks for it");
        case.runner = Arc::new(move |_| {
            let failure = Failure::new(failure.clone());
            Box::pin(async { Err(failure) })
        });
    } else {
        case.ignored = Some(text);
    }
    case
}

/// A suite in the making whose cases run on a fixture's subjects.
#[derive(Debug)]
pub struct SuiteOn<F> {
    suite: Suite,
    fixture: Arc<F>,
}

impl<F: Fixture> SuiteOn<F> {
    /// Adds a case; it gets a fresh subject.
    #[must_use]
    pub fn case<R, Ran>(self, name: &str, run: R) -> Self
    where
        R: Fn(Arc<F::Subject>) -> Ran + Send + Sync + 'static,
        Ran: Future<Output = Outcome> + Send + 'static,
    {
        self.case_unless(None, name, run)
    }

    /// Adds a case that `excluded`, where it is set, says cannot run on these
    /// subjects, and why: `(!capabilities.snapshots).then_some("no snapshots")`.
    #[must_use]
    pub fn case_unless<R, Ran>(mut self, excluded: Option<&str>, name: &str, run: R) -> Self
    where
        R: Fn(Arc<F::Subject>) -> Ran + Send + Sync + 'static,
        Ran: Future<Output = Outcome> + Send + 'static,
    {
        let fixture = Arc::clone(&self.fixture);
        let run: Arc<CaseOf<F::Subject>> =
            Arc::new(Box::new(move |subject| Box::pin(run(subject))));
        let runner: Runner = Arc::new(move |limit| {
            let (fixture, run) = (Arc::clone(&fixture), Arc::clone(&run));
            Box::pin(run::on_fixture(fixture, limit, run))
        });
        self.suite = self.suite.push(name, excluded, runner);
        self
    }

    /// The finished suite.
    #[must_use]
    pub fn done(self) -> Suite {
        self.suite
    }
}
