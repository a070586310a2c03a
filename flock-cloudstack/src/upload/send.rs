//! A body on its way: progress, and what to do when it gets stuck.

use std::future::Future;
use std::time::{Duration, Instant};

use flock_core::progress::Task;
use flock_core::{Context, Error, ErrorKind, Result};

use super::body::Meter;
use crate::error::BACKEND;

/// How often is looked how much has gone.
const TICK: Duration = Duration::from_millis(100);
/// For how long a server may take nothing before the upload is given up.
const STALL: Duration = Duration::from_secs(60);

/// Waits for an answer while a body of which `length` bytes are a file's goes
/// to a server, and reports how much of it has gone. Once all has gone, the
/// server may take its time: it may have to sum it up and unpack it.
///
/// # Errors
/// Those of `exchange`; [`ErrorKind::Timeout`], which is retryable, if the
/// server takes nothing for a minute; the end of the context.
pub(super) async fn watched<T>(
    ctx: &Context,
    task: &Task,
    meter: &Meter,
    length: u64,
    exchange: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut exchange = std::pin::pin!(exchange);
    let (mut sent, mut since) = (0, Instant::now());
    let mut look = |at_end: bool| {
        let now = meter.sent();
        if now > sent {
            task.advance(now - sent);
            (sent, since) = (now, Instant::now());
        }
        !at_end && now < length && since.elapsed() > STALL
    };
    loop {
        tokio::select! {
            biased;
            answer = &mut exchange => {
                look(true);
                return answer.map_err(|error| unreadable(meter, error));
            }
            end = ctx.ended() => return Err(end),
            () = tokio::time::sleep(TICK) => if look(false) { return Err(stuck()); },
        }
    }
}

fn stuck() -> Error {
    let message = format!("the server has taken nothing for {} seconds", STALL.as_secs());
    Error::new(ErrorKind::Timeout, message).in_backend(BACKEND).retryable()
}

/// The error for an exchange that broke, which may be for the file's sake.
fn unreadable(meter: &Meter, error: Error) -> Error {
    match meter.fault() {
        Some(fault) => {
            let message = format!("the appliance cannot be read to its end: {fault}");
            Error::new(ErrorKind::Conflict, message)
                .in_backend(BACKEND)
                .hint("something may be writing it")
                .caused_by(error)
        }
        None => error,
    }
}
