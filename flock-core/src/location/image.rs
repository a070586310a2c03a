//! Names of images in registries.

use std::fmt;
use std::str::FromStr;

#[cfg(feature = "fetch")]
use url::Host;
use url::Url;

use super::invalid;
use crate::rootfs::checksum::Checksum;
use crate::{Error, ErrorKind};

/// The name of an image in a registry: `oci://HOST[:PORT]/NAME[:TAG][@sha256:HEX]`.
///
/// Names, tags and digests follow the OCI Distribution Specification 1.1,
/// section "Pulling manifests"; without tag and digest it means the tag
/// `latest`. A digest wins over a tag. `docker.io/debian` means
/// `docker.io/library/debian`, as everywhere.
///
/// ```
/// use flock_core::location::ImageReference;
///
/// let image: ImageReference = "oci://docker.io/debian:13-slim".parse()?;
/// assert_eq!(image.repository(), "library/debian");
/// assert_eq!(image.tag(), Some("13-slim"));
/// # Ok::<(), flock_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageReference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Checksum>,
}

impl ImageReference {
    /// The registry's host, with its port if one was given.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository's name in the registry.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `latest` where neither tag nor digest was given.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest, if it was given.
    #[must_use]
    pub fn digest(&self) -> Option<Checksum> {
        self.digest
    }

    /// Whether the registry is on this machine.
    #[cfg(feature = "fetch")]
    pub(crate) fn is_loopback(&self) -> bool {
        let url = Url::parse(&format!("http://{}/", self.registry));
        url.is_ok_and(|url| is_loopback(&url))
    }
}

/// Whether the URL's host is this machine.
#[cfg(feature = "fetch")]
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl FromStr for ImageReference {
    type Err = Error;

    /// # Errors
    /// [`ErrorKind::InvalidConfig`]; [`ErrorKind::Unsupported`] for a digest
    /// that is not SHA-256.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |why: &str| {
            invalid(format!("'{}' is no image name: {why}", text.escape_debug()))
                .hint("write it as oci://HOST[:PORT]/NAME[:TAG] or oci://HOST/NAME@sha256:HEX")
        };
        let rest = text
            .get(..6)
            .filter(|scheme| scheme.eq_ignore_ascii_case("oci://"))
            .map_or(text, |_| &text[6..]);
        let (registry, rest) = rest.split_once('/').ok_or_else(|| bad("it names no host"))?;
        if registry.contains('@') {
            // The whole text may hold a password and is not shown.
            return Err(invalid("an image name cannot hold a user or a password")
                .hint("log in with `docker login`, or give the credentials in the options"));
        }
        let registry = host(registry).ok_or_else(|| bad("its host is malformed"))?;
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(sha256(digest)?)),
            None => (rest, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) => (name, Some(tag.to_owned())),
            None => (rest, None),
        };
        if !is_repository(name) {
            return Err(bad("names are lower-case words separated by / . _ or -"));
        }
        if tag.as_deref().is_some_and(|tag| !is_tag(tag)) {
            return Err(bad("its tag is malformed"));
        }
        let repository = match registry.as_str() {
            "docker.io" if !name.contains('/') => format!("library/{name}"),
            _ => name.to_owned(),
        };
        let tag = tag.or_else(|| digest.is_none().then(|| "latest".to_owned()));
        Ok(Self { registry, repository, tag, digest })
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci://{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// A digest as registries write it; only SHA-256, which all of them use.
pub(crate) fn sha256(digest: &str) -> Result<Checksum, Error> {
    match digest.split_once(':') {
        Some(("sha256", _)) => digest.parse(),
        Some((other, _)) if !other.is_empty() => {
            let message = format!("digests by '{}' are not supported", other.escape_debug());
            Err(Error::new(ErrorKind::Unsupported, message))
        }
        _ => Err(invalid(format!("'{}' is not a digest", digest.escape_debug()))),
    }
}

/// `HOST[:PORT]` in its usual form, if it is nothing more than that.
fn host(text: &str) -> Option<String> {
    let url = Url::parse(&format!("https://{text}/")).ok()?;
    let plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let name = url.host_str().filter(|name| plain && !name.is_empty())?;
    match text.rsplit_once(':') {
        // A port that is the scheme's own is kept: the name is the user's.
        Some((_, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            Some(format!("{name}:{port}"))
        }
        _ => Some(name.to_owned()),
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/…)*`, at most 255 bytes.
fn is_repository(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_component = |part: &str| {
        let ends =
            part.bytes().next().is_some_and(is_word) && part.bytes().last().is_some_and(is_word);
        let mut separators = part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        let known = |s: &str| matches!(s, "" | "." | "_" | "__") || s.bytes().all(|b| b == b'-');
        ends && separators.all(known)
    };
    name.len() <= 255 && name.split('/').all(is_component)
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> ImageReference {
        text.parse().unwrap()
    }

    #[test]
    fn every_part_is_read() {
        let digest = format!("sha256:{}", "a1".repeat(32));
        let full = format!("oci://[::1]:5000/a/b__c/d-e:v1.2_X@{digest}");
        let image = read(&full);
        assert_eq!((image.registry(), image.repository()), ("[::1]:5000", "a/b__c/d-e"));
        assert_eq!((image.tag(), image.digest()), (Some("v1.2_X"), Some(digest.parse().unwrap())));
        assert_eq!(image.to_string(), full);
        assert!(image.is_loopback());
        assert_eq!(read("oci://ghcr.io/x").tag(), Some("latest"));
        assert_eq!(read(&format!("oci://h/x@{digest}")).tag(), None);
        assert_eq!(read("oci://docker.io/debian").repository(), "library/debian");
        assert_eq!(read("oci://H:443/x").registry(), "h:443");
        assert!(read("oci://localhost:5000/x").is_loopback() && !read("oci://h/x").is_loopback());
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for bad in [
            "oci://",
            "oci://h",
            "oci://h/",
            "oci:///x",
            "oci://h/A",
            "oci://h/a..b",
            "oci://h/a___b",
            "oci://h/a//b",
            "oci://h/-a",
            "oci://h/a:",
            "oci://h/a:-x",
            "oci://h/a@sha256:12",
            "oci://h?q/a",
            "oci://h:x/a",
            "oci://u:p@h/a",
            "oci://h/../a",
            "oci://h/a@",
        ] {
            let error = bad.parse::<ImageReference>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{bad}");
        }
        let sha512 = format!("oci://h/a@sha512:{}", "0".repeat(128));
        let error = sha512.parse::<ImageReference>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let secret = "oci://u:hush@h/a".parse::<ImageReference>().unwrap_err();
        assert!(!format!("{secret:?}").contains("hush"));
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_back(text in "oci://[a-z]{1,5}(:[1-9][0-9]{0,3})?/[a-z/._-]{1,12}(:[a-zA-Z0-9._-]{0,5})?") {
            if let Ok(image) = text.parse::<ImageReference>() {
                prop_assert_eq!(image.to_string().parse::<ImageReference>().unwrap(), image);
            }
        }
    }
}
