//! Templates on a simulated CloudStack, beyond what the suite asks for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail so")]

mod checks;
mod faults;
mod life;
mod place;
mod ways;
