//! Where something is, as people write it: a path, an address, an image.

mod image;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Serialize, Serializer};
use url::Url;

use crate::{Error, ErrorKind, Result};

pub use self::image::ImageReference;
#[cfg(feature = "fetch")]
pub(crate) use self::image::{is_loopback, sha256};

/// Where a base, an application or a download is to be had, read from text by
/// [`FromStr`].
///
/// | text | meaning |
/// |---|---|
/// | `https://HOST/PATH`, `http://HOST/PATH` | a download, or a git repository |
/// | `oci://HOST[:PORT]/NAME[:TAG\|@sha256:…]` | an image in a registry |
/// | `ssh://[USER@]HOST/PATH`, `git://HOST/PATH` | a git repository |
/// | `[USER@]HOST:PATH` | the same by ssh, in git's short form |
/// | `file:///PATH` | a local file or directory |
/// | anything else without `://` | a local path |
///
/// A colon before the first slash makes the short form of ssh, as git has it
/// (git-fetch(1), "Git URLs"): a local file of such a name is written `./a:b`.
///
/// Shown and serialised without what may be secret: a user, a password, a
/// query.
///
/// ```
/// use flock_core::location::Location;
///
/// let location: Location = "https://me:hush@example.org/base.tar?token=hush".parse()?;
/// assert_eq!(location.to_string(), "https://example.org/base.tar?…");
/// # Ok::<(), flock_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Location {
    /// A file or directory of this machine.
    Path(PathBuf),
    /// An address with a scheme: `http`, `https`; for git also `ssh` and `git`.
    Url(Url),
    /// An image in a registry.
    Image(ImageReference),
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
            Self::Image(image) => image.to_string(),
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

impl From<PathBuf> for Location {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

impl From<&Path> for Location {
    fn from(path: &Path) -> Self {
        Self::Path(path.to_path_buf())
    }
}

impl From<Url> for Location {
    fn from(url: Url) -> Self {
        Self::Url(url)
    }
}

impl From<ImageReference> for Location {
    fn from(image: ImageReference) -> Self {
        Self::Image(image)
    }
}

impl FromStr for Location {
    type Err = Error;

    /// # Errors
    /// [`ErrorKind::InvalidConfig`]; [`ErrorKind::Unsupported`] for an image
    /// with a digest that is not SHA-256. The text is in no error: it may hold
    /// a password.
    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(invalid("an empty path or URL"));
        }
        if text.contains('\0') {
            return Err(invalid("the path or URL holds a NUL byte"));
        }
        let Some(scheme) = scheme(text) else { return Ok(without_scheme(text)) };
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" | "ssh" | "git" => address(text).map(Self::Url),
            "oci" => text.parse().map(Self::Image),
            "file" => local(text).map(Self::Path),
            other => Err(invalid(format!("addresses of the kind {other}:// are not understood"))
                .hint("use a path, http://, https://, file:// or oci://; for git also ssh://")),
        }
    }
}

/// The scheme of `SCHEME://…` (RFC 3986, section 3.1), if there is one.
pub(crate) fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    let mut bytes = scheme.bytes();
    let begins = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic());
    let goes_on = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    (begins && bytes.all(goes_on)).then_some(scheme)
}

fn without_scheme(text: &str) -> Location {
    match text.split_once(':') {
        Some((host, path)) if is_host(host) && !path.is_empty() => Location::Ssh(text.to_owned()),
        _ => Location::Path(PathBuf::from(text)),
    }
}

/// Whether this reads like `host` or `user@host`.
fn is_host(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "@._-".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(allowed)
}

fn address(text: &str) -> Result<Url> {
    let url =
        Url::parse(text).map_err(|source| invalid("the URL is malformed").caused_by(source))?;
    match url.host_str() {
        None | Some("") => Err(invalid("the URL names no host")),
        Some(_) => Ok(url),
    }
}

fn local(text: &str) -> Result<PathBuf> {
    let url =
        Url::parse(text).map_err(|source| invalid("the URL is malformed").caused_by(source))?;
    let path = url.to_file_path().map_err(|()| {
        invalid("a file:// URL must hold an absolute path and no host")
            .hint("write file:///PATH with three slashes, or just the path")
    })?;
    if path.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(invalid("the path or URL holds a NUL byte"));
    }
    Ok(path)
}

pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}

/// The URL without user, password and fragment; a query, which may be a
/// signature, is shown as `?…`. The user of ssh, who is no secret, stays.
pub(crate) fn redacted(url: &Url) -> String {
    let mut shown = format!("{}://", url.scheme());
    if url.scheme() == "ssh" && !url.username().is_empty() {
        shown.push_str(url.username());
        shown.push('@');
    }
    shown.push_str(url.host_str().unwrap_or_default());
    if let Some(port) = url.port() {
        shown.push_str(&format!(":{port}"));
    }
    shown.push_str(url.path());
    if url.query().is_some() {
        shown.push_str("?…");
    }
    shown
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Url(url) => f.write_str(&redacted(url)),
            Self::Image(image) => image.fmt(f),
            Self::Ssh(address) => f.write_str(address),
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Location> {
        text.parse()
    }

    #[test]
    fn every_form_is_read() {
        let path = |text: &str| Location::Path(PathBuf::from(text));
        for (text, wanted) in [
            ("a/b.tar", path("a/b.tar")),
            ("/srv/a:b", path("/srv/a:b")),
            ("./a:b", path("./a:b")),
            ("file:///a%20b", path("/a b")),
            ("git@host:a.git", Location::Ssh("git@host:a.git".into())),
            ("oci://h/a:1", Location::Image("oci://h/a:1".parse().unwrap())),
        ] {
            assert_eq!(read(text).unwrap(), wanted, "{text}");
        }
        for text in ["HTTP://h/x", "https://h/x", "ssh://git@host/a.git", "git://h/x"] {
            assert!(matches!(read(text).unwrap(), Location::Url(_)), "{text}");
        }
        for wrong in [
            "",
            "a\0b",
            "ftp://h/x",
            "http://",
            "https://",
            "http://[::1/",
            "file://host/x",
            "oci://",
            "oci://x",
            "oci://debian:13",
        ] {
            assert_eq!(read(wrong).unwrap_err().kind(), ErrorKind::InvalidConfig, "{wrong}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let location = read("https://u:hush@h:8443/x?sig=hush#hush").unwrap();
        assert_eq!(location.to_string(), "https://h:8443/x?…");
        for shown in [format!("{location:?}"), serde_json::to_string(&location).unwrap()] {
            assert!(!shown.contains("hush"), "{shown}");
        }
        assert!(location.expose().contains("hush"));
        assert_eq!(read("ssh://git@h/a").unwrap().to_string(), "ssh://git@h/a");
        for wrong in ["https://u:hush@/x y", "https://u:hush@h:99999/x"] {
            assert!(!format!("{:?}", read(wrong).unwrap_err()).contains("hush"));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(https?://|oci://|file://|ssh://|)\\PC*") {
            let _ = text.parse::<Location>().map(|location| location.to_string());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = String::from_utf8_lossy(&bytes).parse::<Location>();
        }
    }
}
