//! What the measurements share: equal inputs, and a way to see that two
//! archives hold the same tree.

pub mod inputs;
pub mod tree;
