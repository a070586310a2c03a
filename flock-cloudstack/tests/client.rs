//! The client against servers that answer as they should, and otherwise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "client/jobs.rs"]
mod jobs;
#[path = "client/lists.rs"]
mod lists;
#[path = "client/refusals.rs"]
mod refusals;
#[path = "client/requests.rs"]
mod requests;
#[path = "client/retries.rs"]
mod retries;
#[path = "client/secrets.rs"]
mod secrets;
mod support;

use std::error::Error as _;

use flock_core::Error;

/// Everything that can be seen of an error, by whatever way.
fn all_of(error: &Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!("\n{inner} {inner:?}"));
        cause = inner.source();
    }
    for (key, value) in error.context() {
        text.push_str(&format!("\n{key}={value}"));
    }
    error.hints().for_each(|hint| text.push_str(hint));
    text
}
