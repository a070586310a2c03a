//! The image pipeline.

mod entry;
mod name;
mod read_at;
mod tar;
