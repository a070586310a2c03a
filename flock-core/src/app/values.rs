//! The small values of an application's configuration.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Serialize, Serializer};
use url::Url;

use crate::{Error, ErrorKind, Result};

/// Where a base or an application is to be had.
///
/// Shown and serialised without what may be secret: a password in the address
/// and the query behind it.
///
/// ```
/// use flock_core::app::Location;
///
/// let location: Location = "https://me:hush@example.org/base.tar?token=hush".parse()?;
/// assert_eq!(location.to_string(), "https://me:***@example.org/base.tar?***");
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
    let url = Url::parse(text).map_err(|source| invalid("this is not a URL").source(source))?;
    match url.scheme() {
        "file" => url
            .to_file_path()
            .map(Location::Path)
            .map_err(|()| invalid("a file:// URL must hold an absolute path of this machine")),
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
                    (user, None) => write!(f, "{user}@")?,
                    (user, Some(_)) => write!(f, "{user}:***@")?,
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

/// A SHA-256 checksum, written as 64 hexadecimal digits with or without
/// `sha256:` before them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Checksum([u8; 32]);

impl Checksum {
    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl FromStr for Checksum {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            invalid("a checksum is 'sha256:' and 64 hexadecimal digits")
                .hint("`sha256sum FILE` prints the digits")
        };
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        if digits.len() != 64 || !digits.is_ascii() {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
            // `from_str_radix` would take a sign.
            if !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(wrong());
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.to_hex())
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Checksum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How an appliance is compressed. Written `none`, `gzip`, `zstd`, with a
/// level behind a colon where the default will not do: `gzip:9`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip (RFC 1952), level 1 to 12.
    Gzip(u8),
    /// Zstandard (RFC 8878), level 1 to 22.
    Zstd(u8),
}

impl Compression {
    /// gzip at level 6, its usual one.
    pub const GZIP: Self = Self::Gzip(6);
    /// Zstandard at level 3, its usual one.
    pub const ZSTD: Self = Self::Zstd(3);

    /// The compression called `format` (`none`, `gzip`, `zstd`) at `level`,
    /// or at the usual level.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for another format or a level it has not.
    pub fn new(format: &str, level: Option<u8>) -> Result<Self> {
        let within = |usual: u8, highest: u8| match level {
            None => Ok(usual),
            Some(level) if (1..=highest).contains(&level) => Ok(level),
            Some(level) => {
                Err(invalid(format!("{format} has the levels 1 to {highest}, not {level}")))
            }
        };
        match format {
            "none" if level.is_none() => Ok(Self::None),
            "none" => Err(invalid("without compression there is no level")),
            "gzip" | "gz" => within(6, 12).map(Self::Gzip),
            "zstd" | "zst" => within(3, 22).map(Self::Zstd),
            other => {
                let error = invalid(format!("the compression '{other}' is not known"));
                Err(error.hint("use none, gzip or zstd, with a level as in gzip:9"))
            }
        }
    }

    /// What a tar file compressed so is called: `tar`, `tar.gz`, `tar.zst`.
    #[must_use]
    pub fn tar_extension(self) -> &'static str {
        match self {
            Self::None => "tar",
            Self::Gzip(_) => "tar.gz",
            Self::Zstd(_) => "tar.zst",
        }
    }
}

impl FromStr for Compression {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            None => Self::new(text, None),
            Some((format, level)) => {
                let level = level
                    .parse()
                    .map_err(|_| invalid(format!("'{level}' is not a level of compression")))?;
                Self::new(format, Some(level))
            }
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Gzip(level) => write!(f, "gzip:{level}"),
            Self::Zstd(level) => write!(f, "zstd:{level}"),
        }
    }
}

impl Serialize for Compression {
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
    fn checksums() {
        let hex = "ab".repeat(32);
        let checksum: Checksum = format!("sha256:{hex}").parse().unwrap();
        assert_eq!(checksum, hex.to_uppercase().parse().unwrap());
        assert_eq!(checksum.to_hex(), hex);
        let signed = format!("+a{}", "ab".repeat(31));
        for wrong in ["", "sha256:", &hex[1..], &"é".repeat(32), &signed] {
            assert!(wrong.parse::<Checksum>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn compressions() {
        let of = |text: &str| text.parse::<Compression>();
        assert_eq!(of("gzip").unwrap(), Compression::Gzip(6));
        assert_eq!(of("zstd:19").unwrap(), Compression::Zstd(19));
        assert_eq!(of("none").unwrap().tar_extension(), "tar");
        for wrong in ["xz", "gzip:0", "gzip:13", "zstd:23", "none:1", "gzip:", "gzip:x"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
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
