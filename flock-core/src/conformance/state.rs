//! The suite for state stores.
