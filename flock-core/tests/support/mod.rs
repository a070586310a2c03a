//! Help for the tests of the image pipeline.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub(crate) mod ext4;
pub(crate) mod ext4_trees;
pub(crate) mod items;
pub(crate) mod snapshot;
pub(crate) mod tars;
