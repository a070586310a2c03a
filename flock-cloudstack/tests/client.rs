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
