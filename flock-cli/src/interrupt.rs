//! Runs work until it ends or the user ends it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::Poll;

use flock_core::{Context, Error, ErrorKind, Result};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Exit;
use crate::output::to_stderr;

/// Runs `work` on a runtime of its own. The first SIGINT, SIGTERM or SIGHUP cancels
/// `ctx` and waits for `work` to clean up; the second ends the process.
pub(crate) fn run<T>(ctx: &Context, work: impl Future<Output = Result<T>>) -> Result<T> {
    runtime()?.block_on(async {
        let watcher = tokio::spawn(watch(ctx.clone(), signals()?));
        let result = work.await;
        watcher.abort();
        result
    })
}

/// Runs a server on a runtime of its own until the first SIGINT, SIGTERM or
/// SIGHUP, which is how it is meant to end: `work` gets what to wait for.
pub(crate) fn serve<T, E: From<Error>>(
    work: impl AsyncFnOnce(Pin<Box<dyn Future<Output = ()>>>) -> Result<T, E>,
) -> Result<T, E> {
    runtime()?.block_on(async {
        let mut signals = signals()?;
        work(Box::pin(async move { wait(&mut signals).await })).await
    })
}

fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed)
}

fn signals() -> Result<Vec<Signal>> {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    kinds.into_iter().map(|kind| signal(kind).map_err(failed)).collect()
}

fn failed(source: io::Error) -> Error {
    Error::new(ErrorKind::Unexpected, "cannot start the runtime").caused_by(source)
}

/// Runs work that blocks where it keeps nothing else from running.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|source| {
        Err(Error::new(ErrorKind::Unexpected, "the work panicked").caused_by(source))
    })
}

async fn watch(ctx: Context, mut signals: Vec<Signal>) {
    wait(&mut signals).await;
    ctx.cancel();
    to_stderr(
        "cleaning up; once more ends at once
",
    );
    wait(&mut signals).await;
    to_stderr(
        "ended at once; the next run finds what is left
",
    );
    leave();
}

/// Waits for any of the signals.
async fn wait(signals: &mut [Signal]) {
    std::future::poll_fn(|task| {
        let any = signals.iter_mut().any(|signal| signal.poll_recv(task).is_ready());
        if any { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[expect(clippy::exit, reason = "the second signal asks for just that")]
fn leave() {
    std::process::exit(i32::from(Exit::Interrupted.code()));
}
