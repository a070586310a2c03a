//! Work that blocks, where it keeps nothing else from running.

use flock_core::{Context, Error, ErrorKind, Result};

use crate::error::BACKEND;

/// Runs `work` on a thread for it. When the context ends, this ends too, and
/// the thread when `work` has looked at its context.
pub(crate) async fn run<T: Send + 'static>(
    ctx: &Context,
    work: impl FnOnce(&Context) -> Result<T> + Send + 'static,
) -> Result<T> {
    let inner = ctx.clone();
    let running = tokio::task::spawn_blocking(move || work(&inner));
    ctx.run(async {
        running.await.unwrap_or_else(|source| {
            let message = "a worker ended early";
            Err(Error::new(ErrorKind::Unexpected, message).in_backend(BACKEND).caused_by(source))
        })
    })
    .await
}
