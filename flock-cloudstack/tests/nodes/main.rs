//! Nodes on a simulated CloudStack.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../cloud/mod.rs"]
mod cloud;
mod life;
mod lost;
mod names;
mod options;
mod passwords;
mod refusals;
mod scale;
