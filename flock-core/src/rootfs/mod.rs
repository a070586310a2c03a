//! The image pipeline: from a base and applications to an appliance.

pub mod checksum;
pub mod compress;
pub mod decompress;
pub mod output;
pub mod source;
