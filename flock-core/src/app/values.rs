//! The small values of an application's configuration.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Serialize, Serializer};
use url::Url;

use crate::{Error, ErrorKind, Result};

/// Where a base or an application is to be had.
///
/// Shown and serialised without what may be secret: user and password in an
/// address, and the query behind it.
///
/// ```
/// use flock_core::app::Location;
///
/// let location: Location = "https://me:hush@example.org/base.tar?token=hush".parse()?;
/// assert_eq!(location.to_string(), "https://***@example.org/base.tar?***");
/// # Ok::<(), flock_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// A file or directory of this machine.
    Path(PathBuf),
    /// An address with a scheme: `http`, `https`; for git also `ssh` and `git`.
    Url(Url),
    /// An image in a registry: what stands behind `oci://`.
    Oci(String),
    /// A git repository in the short form of ssh: `git@example.org:app.git`.
    Ssh(String),
}

impl Location {
    /// The full text, secrets included, as git or a client needs it.
    #[must_use]
    pub fn expose(&self) -> String {
        match self {
            Self::Path(path) => path.to_string_lossy().into_owned(),
            Self::Url(url) => url.as_str().to_owned(),
            Self::Oci(reference) => format!("oci://{reference}"),
            Self::Ssh(address) => address.clone(),
        }
    }

    /// The same location with a relative path taken from `directory`.
    #[must_use]
    pub fn within(&self, directory: &Path) -> Self {
        match self {
            Self::Path(path) => Self::Path(directory.join(path)),
            other => other.clone(),
        }
    }
}

impl FromStr for Location {
    type Err = Error;

    /// Understands `scheme://…`, `user@host:path`, and otherwise a path.
    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(invalid("an empty path or URL"));
        }
        if let Some(reference) = text.strip_prefix("oci://") {
            if reference.is_empty() || reference.contains(char::is_whitespace) {
                return Err(invalid("oci:// needs the name of an image behind it")
                    .hint("for example oci://docker.io/library/debian:13-slim"));
            }
            return Ok(Self::Oci(reference.to_owned()));
        }
        if text.contains("://") {
            return from_url(text);
        }
        match text.split_once(':') {
            // As git has it: a colon before the first slash.
            Some((host, path)) if is_host(host) && !path.is_empty() => {
                Ok(Self::Ssh(text.to_owned()))
            }
            _ => Ok(Self::Path(PathBuf::from(text))),
        }
    }
}

/// Whether this reads like `host` or `user@host`.
fn is_host(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "@._-".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(allowed)
}

fn from_url(text: &str) -> Result<Location> {
    // The text stays out of the message: it may hold a password.
    let url = Url::parse(text).map_err(|source| invalid("this is not a URL").caused_by(source))?;
    match url.scheme() {
        "file" => url
            .to_file_path()
            .ok()
            .filter(|path| path.parent().is_some())
            .map(Location::Path)
            .ok_or_else(|| invalid("a file:// URL must hold the absolute path of a file")),
        "http" | "https" | "ssh" | "git" => Ok(Location::Url(url)),
        other => Err(invalid(format!("addresses of the kind {other}:// are not understood"))
            .hint("use a path, http://, https://, file:// or oci://; for git also ssh://")),
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Oci(reference) => write!(f, "oci://{reference}"),
            Self::Ssh(address) => f.write_str(address),
            Self::Url(url) => {
                write!(f, "{}://", url.scheme())?;
                match (url.username(), url.password()) {
                    ("", None) => {}
                    // Of ssh it is a name; elsewhere it may be a token.
                    (user, None) if url.scheme() == "ssh" => write!(f, "{user}@")?,
                    _ => f.write_str("***@")?,
                }
                f.write_str(url.host_str().unwrap_or_default())?;
                if let Some(port) = url.port() {
                    write!(f, ":{port}")?;
                }
                f.write_str(url.path())?;
                if url.query().is_some() { f.write_str("?***") } else { Ok(()) }
            }
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

impl Serialize for Location {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The numeric owner of a file, written `uid:gid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ids {
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
}

impl Ids {
    /// The superuser and its group.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };
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
    fn locations_are_told_apart() {
        let of = |text: &str| text.parse::<Location>();
        assert_eq!(of("base.tar").unwrap(), Location::Path("base.tar".into()));
        assert_eq!(of("/srv/a:b").unwrap(), Location::Path("/srv/a:b".into()));
        assert_eq!(of("file:///srv/base.tar").unwrap(), Location::Path("/srv/base.tar".into()));
        assert_eq!(of("oci://debian:13").unwrap(), Location::Oci("debian:13".into()));
        assert_eq!(of("git@host:a.git").unwrap(), Location::Ssh("git@host:a.git".into()));
        assert!(matches!(of("ssh://git@host/a.git").unwrap(), Location::Url(_)));
        for wrong in ["", "oci://", "ftp://x/y", "http://", "file://host/x"] {
            assert_eq!(of(wrong).unwrap_err().kind(), ErrorKind::InvalidConfig, "{wrong}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let location: Location = "https://u:hush@h:8443/x?sig=hush#f".parse().unwrap();
        for shown in [
            location.to_string(),
            format!("{location:?}"),
            serde_json::to_string(&location).unwrap(),
        ] {
            assert!(!shown.contains("hush"), "{shown}");
        }
        assert!(location.expose().contains("hush"));
        let error = "https://u:hush@/x y".parse::<Location>();
        assert!(error.is_err_and(|error| !format!("{error:?}").contains("hush")));
    }

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
