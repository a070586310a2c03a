//! Running cases: with a time limit, on a fixture, under libtest's arguments.

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use super::{Case, CaseOf, Failure, Fixture, Outcome, Suite};

/// How long a fixture may take to tear a subject down.
const TEAR_DOWN_LIMIT: Duration = Duration::from_secs(60);

/// Runs the suites as a test program: parses libtest's arguments, runs the
/// cases that they choose side by side, and prints what became of each.
///
/// Ends the process with a message where the arguments are wrong.
pub fn main(suites: impl IntoIterator<Item = Suite>) -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = suites.into_iter().flat_map(|suite| suite.cases).map(trial).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(case: Case) -> Trial {
    match case.ignored {
        // Asked to run it all the same, with `--ignored`, it still does not
        // count as passed.
        Some(reason) => {
            let name = format!("{} [ignored: {reason}]", case.name);
            Trial::ignorable_test(name, move || Ok(Completion::ignored_with(reason)))
                .with_ignored_flag(true)
        }
        None => Trial::test(case.name.clone(), move || block_on(&case)),
    }
}

fn block_on(case: &Case) -> Result<(), Failed> {
    // With several threads, a case that blocks one does not stop the clock.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(case.run());
    // A case that hangs in blocking code must not hang the others.
    runtime.shutdown_background();
    outcome.map_err(|failure| Failed::from(failure.to_string()))
}

/// Sets up, runs the case within the limit, and tears down whatever happened.
pub(super) async fn on_fixture<F: Fixture>(
    fixture: Arc<F>,
    limit: Duration,
    case: Arc<CaseOf<F::Subject>>,
) -> Outcome {
    let subject = match tokio::time::timeout(limit, fixture.set_up()).await {
        Ok(made) => Arc::new(made.map_err(|error| Failure::from(error).context("set-up"))?),
        Err(_) => return Err(Failure::new(format!("set-up took more than {limit:?}"))),
    };
    let outcome = limited(limit, case(Arc::clone(&subject))).await;
    let torn_down = tokio::time::timeout(TEAR_DOWN_LIMIT, fixture.tear_down(subject)).await;
    let torn_down = match torn_down {
        Ok(done) => done.map_err(|error| Failure::from(error).context("tear-down")),
        Err(_) => Err(Failure::new(format!("tear-down took more than {TEAR_DOWN_LIMIT:?}"))),
    };
    match (outcome, torn_down) {
        (Err(failure), Err(after)) => Err(failure.and_then(&after)),
        (outcome, torn_down) => outcome.and(torn_down),
    }
}

/// Runs `work` as a task of its own, so that a panic or a hang in it ends here.
pub(super) async fn limited(
    limit: Duration,
    work: impl Future<Output = Outcome> + Send + 'static,
) -> Outcome {
    let mut task = tokio::spawn(work);
    match tokio::time::timeout(limit, &mut task).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(ended)) => Err(Failure::new(match ended.try_into_panic() {
            Ok(payload) => format!("panicked: {}", panic_text(payload.as_ref())),
            Err(ended) => ended.to_string(),
        })),
        Err(_) => {
            task.abort();
            Err(Failure::new(format!("hangs: not done after {limit:?}")))
        }
    }
}

fn panic_text(payload: &(dyn std::any::Any + Send)) -> &str {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("(no message)")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::service;
    use super::*;

    async fn first(suite: Suite) -> Outcome {
        suite.cases()[0].run().await
    }

    #[tokio::test]
    async fn a_hang_and_a_panic_are_failures_with_words() {
        let hang = Suite::new("s")
            .test("hang", std::future::pending)
            .with_time_limit(Duration::from_millis(20));
        assert!(first(hang).await.unwrap_err().to_string().contains("hangs"));
        let panic = Suite::new("s").test("panic", || async { panic!("ouch {}", 1) });
        assert!(first(panic).await.unwrap_err().to_string().contains("ouch 1"));
    }

    struct Counting(AtomicUsize, AtomicUsize);

    #[async_trait::async_trait]
    impl Fixture for Arc<Counting> {
        type Subject = usize;

        async fn set_up(&self) -> crate::Result<usize> {
            Ok(self.0.fetch_add(1, Ordering::SeqCst))
        }

        async fn tear_down(&self, _subject: Arc<usize>) -> crate::Result<()> {
            self.1.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }

    #[tokio::test]
    async fn every_case_has_its_own_subject_and_is_torn_down() {
        let fixture = Arc::new(Counting(AtomicUsize::new(0), AtomicUsize::new(0)));
        let suite = Suite::new("s")
            .on(Arc::clone(&fixture))
            .case("ok", |_| async { Ok(()) })
            .case("panic", |_| async { panic!("ouch") })
            .case_unless(Some("no legs"), "walk", |_| async { Ok(()) })
            .done();
        let mut outcomes = Vec::new();
        for case in suite.cases() {
            outcomes.push(case.run().await.is_ok());
        }
        assert_eq!(outcomes, [true, false, false]);
        assert_eq!(suite.cases()[2].ignored(), Some("no legs"));
        assert_eq!(fixture.0.load(Ordering::SeqCst), 2);
        assert_eq!(fixture.1.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_missing_service_ignores_and_a_required_one_fails() {
        let probe = || Err("no socket".to_owned());
        let missing = service("a-service-nobody-requires", probe());
        let suite = Suite::new("s").test("t", || async { Ok(()) }).with_service(missing.clone());
        assert!(suite.cases()[0].ignored().is_some_and(|why| why.contains("no socket")));
        let required = super::super::Service { required: true, ..missing };
        let suite = Suite::new("s").with_service(required).test("t", || async { Ok(()) });
        assert_eq!(suite.cases()[0].ignored(), None);
        assert!(first(suite).await.unwrap_err().to_string().contains("no socket"));
    }
}
