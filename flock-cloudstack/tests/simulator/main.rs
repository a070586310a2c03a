//! The simulator, spoken to over HTTP by a client of this test's own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail so")]

mod client;
mod faults;
mod limits;
mod lists;
mod machines;
mod scale;
mod signatures;
mod tags;
mod templates;
mod uploads;
mod volumes;
mod web;
