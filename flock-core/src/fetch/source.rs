//! Where a file or an image comes from, as people write it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

use super::image::ImageReference;
use super::redact::redacted;
use crate::{Error, ErrorKind};

/// A place to fetch from, read from text by [`FromStr`].
///
/// | text | meaning |
/// |---|---|
/// | `https://HOST/PATH`, `http://HOST/PATH` | a download |
/// | `oci://HOST[:PORT]/NAME[:TAG\|@sha256:…]` | an image in a registry |
/// | `file:///PATH` | a local file |
/// | anything without `://` | a local path, relative to the working directory |
///
/// `Display` leaves out what may be secret: a user, a password, a query.
///
/// ```
/// use flock_core::fetch::Source;
///
/// let source: Source = "https://me:secret@example.org/base.tar.gz?token=1".parse()?;
/// assert_eq!(source.to_string(), "https://example.org/base.tar.gz?…");
/// # Ok::<(), flock_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// A download over HTTP or HTTPS.
    Url(Url),
    /// An image in a registry.
    Image(ImageReference),
    /// A file or directory on this machine.
    Path(PathBuf),
}

impl FromStr for Source {
    type Err = Error;

    /// # Errors
    /// [`ErrorKind::InvalidConfig`].
    fn from_str(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(invalid("the source is empty"));
        }
        if text.contains('\0') {
            return Err(invalid("the source holds a NUL byte"));
        }
        let Some(scheme) = scheme(text) else { return Ok(Self::Path(PathBuf::from(text))) };
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" => download(text),
            "oci" => text.parse().map(Self::Image),
            "file" => local(text),
            other => Err(invalid(format!("cannot fetch by '{other}://'"))
                .hint("use https://, http://, oci://, file:// or a path")),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(&redacted(url)),
            Self::Image(image) => image.fmt(f),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({self})")
    }
}

/// The scheme of `SCHEME://…` (RFC 3986, section 3.1), if there is one.
pub(super) fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    let mut bytes = scheme.bytes();
    let begins = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic());
    let goes_on = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    (begins && bytes.all(goes_on)).then_some(scheme)
}

// The text itself stays out of these errors: it may hold a password.
fn download(text: &str) -> Result<Source, Error> {
    let url =
        Url::parse(text).map_err(|source| invalid("the URL is malformed").caused_by(source))?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err(invalid("the URL names no host"));
    }
    Ok(Source::Url(url))
}

fn local(text: &str) -> Result<Source, Error> {
    let url =
        Url::parse(text).map_err(|source| invalid("the URL is malformed").caused_by(source))?;
    let path = url.to_file_path().map_err(|()| {
        invalid("a file:// URL must hold an absolute path and no host")
            .hint("write file:///PATH with three slashes, or just the path")
    })?;
    if path.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(invalid("the source holds a NUL byte"));
    }
    Ok(Source::Path(path))
}

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_form_is_read() {
        let path = |text: &str| Source::Path(PathBuf::from(text));
        assert_eq!("a/b.tar".parse::<Source>().unwrap(), path("a/b.tar"));
        assert_eq!("C:base.tar".parse::<Source>().unwrap(), path("C:base.tar"));
        assert_eq!("file:///a%20b".parse::<Source>().unwrap(), path("/a b"));
        assert!(matches!("HTTP://h/x".parse(), Ok(Source::Url(_))));
        assert!(matches!("oci://ghcr.io/a/b:1".parse(), Ok(Source::Image(_))));
        for bad in ["", "a\0b", "ftp://h/x", "https://", "http://[::1/", "file://host/x", "oci://x"]
        {
            let error = bad.parse::<Source>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{bad}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let source: Source = "https://u:hush@h/x?sig=hush#hush".parse().unwrap();
        assert_eq!(source.to_string(), "https://h/x?…");
        assert!(!format!("{source:?}").contains("hush"));
        let error = "https://u:hush@h:99999/x".parse::<Source>().unwrap_err();
        assert!(!format!("{error:?}").contains("hush"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(https?://|oci://|file://|)\\PC*") {
            let _ = text.parse::<Source>().map(|source| source.to_string());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = String::from_utf8_lossy(&bytes).parse::<Source>();
        }
    }
}
