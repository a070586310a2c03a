//! The address that files are uploaded to and fetched from, which in
//! CloudStack is a virtual machine of its own.

mod download;
mod receive;
pub(crate) mod ticket;

pub(crate) use self::download::download;
pub(crate) use self::receive::receive;
