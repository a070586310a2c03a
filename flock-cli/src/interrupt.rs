//! Runs work until it ends or the user ends it.

use std::future::Future;

use flock_core::{Context, Error, ErrorKind, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Exit;
use crate::output::to_stderr;

/// Runs `work` on a runtime of its own. The first SIGINT or SIGTERM cancels
/// `ctx` and waits for `work` to clean up; the second ends the process.
pub(crate) fn run<T>(ctx: &Context, work: impl Future<Output = Result<T>>) -> Result<T> {
    let failed =
        |source| Error::new(ErrorKind::Unexpected, "cannot start the runtime").source(source);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        let signals = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
        let [interrupt, terminate] = signals;
        let watch = watch(ctx.clone(), interrupt.map_err(failed)?, terminate.map_err(failed)?);
        let watcher = tokio::spawn(watch);
        let result = work.await;
        watcher.abort();
        result
    })
}

async fn watch(ctx: Context, mut interrupt: Signal, mut terminate: Signal) {
    wait(&mut interrupt, &mut terminate).await;
    ctx.cancel();
    to_stderr("cleaning up; once more ends at once\n");
    wait(&mut interrupt, &mut terminate).await;
    to_stderr("ended; the next build removes what is left\n");
    leave();
}

async fn wait(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[expect(clippy::exit, reason = "the second signal asks for just that")]
fn leave() {
    std::process::exit(i32::from(Exit::Interrupted.code()));
}
