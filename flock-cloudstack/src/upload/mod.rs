//! Bringing an appliance to where CloudStack gets it.

mod body;
mod checksum;
mod direct;
mod http;
mod put;
mod reader;
mod send;
mod serve;

pub(crate) use self::checksum::sha256;
pub(crate) use self::direct::{Direct, Sent};
pub(crate) use self::put::{Put, below};
pub(crate) use self::serve::Server;
#[cfg(test)]
mod tests;
