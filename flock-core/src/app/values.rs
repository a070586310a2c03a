//! The small values of an application's configuration.

use std::fmt;
use std::str::FromStr;

use crate::{Error, ErrorKind, Result};
use serde::{Serialize, Serializer};

/// The numeric owner of a file, written `uid:gid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Ids {
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
}

impl Ids {
    /// The superuser and its group.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };

    /// This user and this group.
    #[must_use]
    pub const fn new(uid: u32, gid: u32) -> Self {
        Self { uid, gid }
    }
}

impl FromStr for Ids {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let ids = text
            .split_once(':')
            .and_then(|(uid, gid)| Some(Self { uid: decimal(uid)?, gid: decimal(gid)? }));
        ids.ok_or_else(|| {
            invalid(format!("'{text}' is not a numeric owner"))
                .hint("write the numbers of user and group, as in \"33:33\"")
        })
    }
}

impl fmt::Display for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

impl Serialize for Ids {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn decimal(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// A number of bytes, written plain or with a unit: `20GiB`, `500MB`, `64K`.
///
/// K, M, G and T and those with `iB` are powers of 1024, those with `B`
/// powers of 1000.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] for anything else, and for zero.
pub fn parse_size(text: &str) -> Result<u64> {
    let wrong = || {
        invalid(format!("'{text}' is not a size"))
            .hint("write bytes or a unit behind a whole number, as in 20GiB or 500MB")
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let factor: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_and_sizes() {
        assert_eq!("33:34".parse::<Ids>().unwrap(), Ids { uid: 33, gid: 34 });
        for wrong in ["33", "a:b", "+1:1", "-1:1", "4294967296:1", ":"] {
            assert!(wrong.parse::<Ids>().is_err(), "{wrong}");
        }
        assert_eq!(parse_size("2GiB").unwrap(), 2 << 30);
        assert_eq!(parse_size("500MB").unwrap(), 500_000_000);
        assert_eq!(parse_size("7").unwrap(), 7);
        for wrong in ["", "0", "GiB", "1.5G", "99999999T", "1XB", "-1"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
