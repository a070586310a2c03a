//! Apache CloudStack for flock.

#[cfg(feature = "simulator")]
pub mod simulator;
