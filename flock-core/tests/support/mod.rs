//! Help for the tests of the image pipeline.
#![allow(dead_code, reason = "each test uses its part")]

pub(crate) mod tars;
