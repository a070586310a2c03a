//! The tar format, read and written byte for byte.
//!
//! Read: POSIX ustar and pax (POSIX.1-2017, pax, "ustar Interchange Format"
//! and "pax Interchange Format"), GNU (tar manual, "Basic Tar Format") and
//! V7; sparse files in all four GNU ways; extended attributes in the records of
//! star and of libarchive. Written: ustar and pax, with star's.

mod facts;
pub(crate) mod header;
mod number;
mod pax;
mod read;
mod sparse;
mod write;

pub(crate) use header::BLOCK;
pub(crate) use pax::Record;
pub(crate) use read::{Fault, Member, Problem, Reader};
pub(crate) use sparse::Segment;
pub(crate) use write::{Spec, header as write_header};

#[cfg(test)]
mod tests;
