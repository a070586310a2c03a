//! The HTTP client, and what its answers mean.

use std::error::Error as StdError;
use std::io;
use std::time::{Duration, SystemTime};

use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Client, Response, StatusCode, redirect};
use url::Url;

use super::certificate;
use super::options::{Credential, FetchOptions, ProxyChoice};
use super::redact::{base64, redacted};
use crate::{Error, ErrorKind, Result};

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 10;

/// Makes the client; it is the same for downloads and registries.
pub(super) fn client(options: &FetchOptions) -> Result<Client> {
    // Nothing is decoded on the way (an archive's .gz is part of the archive),
    // and retries are ours: they continue where the last try stopped.
    let mut builder = Client::builder()
        .user_agent(&options.user_agent)
        .connect_timeout(options.connect_timeout)
        .read_timeout(options.read_timeout)
        .retry(reqwest::retry::never())
        .referer(false)
        .redirect(redirect::Policy::custom(follow));
    builder = match &options.proxy {
        ProxyChoice::Environment => builder,
        ProxyChoice::Direct => builder.no_proxy(),
        ProxyChoice::Url(url) => {
            builder.proxy(reqwest::Proxy::all(url.clone()).map_err(|source| {
                let message = format!("{} cannot be used as a proxy", redacted(url));
                Error::new(ErrorKind::InvalidConfig, message).caused_by(source.without_url())
            })?)
        }
    };
    if let Some(path) = &options.ca_file {
        let pem = std::fs::read(path)
            .map_err(|source| Error::io("read the certificates in", path, source))?;
        let unusable = || {
            let message = format!("{} holds no PEM certificate", path.display());
            Error::new(ErrorKind::InvalidConfig, message)
                .hint("the setting `ca_file` (--ca-file, FLOCK_CA_FILE) names that file")
        };
        let certificates = reqwest::Certificate::from_pem_bundle(&pem)
            .map_err(|source| unusable().caused_by(source))?;
        if certificates.is_empty() {
            return Err(unusable());
        }
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(|source| {
        Error::new(ErrorKind::InvalidConfig, "cannot set up HTTPS")
            .hint("install the system's certificates (Debian: apt install ca-certificates)")
            .caused_by(source)
    })
}

/// Follows a bounded number of redirects, but not out of HTTPS. Credentials
/// are left behind by the client when the host or port changes.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let was_secure = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
    if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error("more than 10 redirects")
    } else if was_secure && attempt.url().scheme() != "https" {
        attempt.error("it redirects from https to plain http")
    } else {
        attempt.follow()
    }
}

/// The `Authorization` header of a credential.
pub(super) fn authorization(credential: &Credential) -> Result<HeaderValue> {
    let text = match credential {
        Credential::Basic { username, password } => {
            format!("Basic {}", base64(format!("{username}:{}", password.expose()).as_bytes()))
        }
        Credential::Bearer(token) => format!("Bearer {}", token.expose()),
    };
    secret_header(&text)
}

/// A header value that is not shown in debug output.
pub(super) fn secret_header(text: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        Error::new(ErrorKind::InvalidConfig, "a credential holds bytes that no header can")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The text of a header, if it is there and is text.
pub(super) fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// The error for a request that got no answer, or lost it on the way.
pub(super) fn transport_error(source: reqwest::Error, url: &Url) -> Error {
    let shown = redacted(url);
    let causes = causes(&source);
    let error = if source.is_redirect() {
        let why = causes.lines().last().unwrap_or("they do not end").to_owned();
        Error::new(ErrorKind::InvalidData, format!("cannot follow the redirects of {shown}: {why}"))
            .hint("give the address that it leads to in the end")
    } else if causes.contains("certificate") {
        // The TLS library's own error type is not ours to name.
        Error::new(ErrorKind::InvalidData, format!("the certificate of {shown} is not trusted"))
            .hint(certificate::advice(&causes).unwrap_or(AUTHORITY_HINT))
    } else if source.is_timeout() && !source.is_connect() {
        Error::new(ErrorKind::Timeout, format!("{shown} stopped answering")).retryable()
    } else if source.is_connect() {
        unreachable(&source, &causes, url)
    } else if source.is_builder() {
        Error::new(ErrorKind::InvalidConfig, format!("{shown} cannot be requested"))
    } else {
        Error::new(ErrorKind::Unavailable, format!("the connection to {shown} broke"))
    };
    error.with("url", shown).caused_by(source.without_url())
}

/// The advice where it is the authority that is not known.
const AUTHORITY_HINT: &str = "if the server is your own, name its certificate authority's file: \
    the setting `ca_file` (--ca-file, FLOCK_CA_FILE)";

/// The error for a server, or the proxy before it, that cannot be reached.
fn unreachable(source: &reqwest::Error, causes: &str, url: &Url) -> Error {
    let reason = Reason::of(source, causes);
    let shown = redacted(url);
    let message = format!("cannot connect to {shown}: {}", reason.text());
    Error::new(ErrorKind::Unavailable, message)
        .with(REASON, reason.as_str())
        .hint(reason.hint())
        .hint("behind a proxy, set HTTPS_PROXY and HTTP_PROXY; NO_PROXY names the exceptions")
}

/// The context key of why a server cannot be reached.
pub(super) const REASON: &str = "reason";

/// Why a server cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    UnknownHost,
    Dns,
    Refused,
    Unreachable,
    Timeout,
    Other,
}

impl Reason {
    const ALL: [Self; 6] = [
        Self::UnknownHost,
        Self::Dns,
        Self::Refused,
        Self::Unreachable,
        Self::Timeout,
        Self::Other,
    ];

    fn of(error: &reqwest::Error, causes: &str) -> Self {
        // The resolver's errors have texts only: those of gai_strerror(3).
        let causes = causes.to_lowercase();
        let unknown = ["name or service not known", "nodename nor servname", "no address assoc"];
        if unknown.iter().any(|text| causes.contains(text)) {
            return Self::UnknownHost;
        }
        if causes.contains("lookup address") || causes.contains("dns error") {
            return Self::Dns;
        }
        let mut next: Option<&(dyn StdError + 'static)> = Some(error);
        while let Some(cause) = next {
            match cause.downcast_ref::<io::Error>().map(io::Error::kind) {
                Some(io::ErrorKind::ConnectionRefused) => return Self::Refused,
                Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
                    return Self::Unreachable;
                }
                Some(io::ErrorKind::TimedOut) => return Self::Timeout,
                _ => next = cause.source(),
            }
        }
        if error.is_timeout() { Self::Timeout } else { Self::Other }
    }

    pub(super) fn of_error(error: &Error) -> Option<Self> {
        let name = error.context_value(REASON)?;
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::UnknownHost => "unknown_host",
            Self::Dns => "dns",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Other => "other",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::UnknownHost => "there is no host of that name",
            Self::Dns => "the name service does not answer",
            Self::Refused => "nothing answers at that port",
            Self::Unreachable => "no way leads there",
            Self::Timeout => "no answer in time",
            Self::Other => "the connection was not made",
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::UnknownHost => "check how the host is spelt, and the network",
            Self::Refused => "check the port, and whether the server runs",
            _ => "check the network, and whether the server runs",
        }
    }
}

fn causes(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&cause.to_string());
        text.push('\n');
        next = cause.source();
    }
    text
}

/// Fails unless the status is one of success. `login` tells whether the
/// request had one; the kind is the same, the advice is not.
pub(super) fn check_status(response: &Response, url: &Url, login: bool) -> Result<()> {
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    if let Some(error) = left_http(response, url) {
        return Err(error);
    }
    let shown = redacted(url);
    let (kind, what, hint) = meaning(status, login);
    let mut error = Error::new(kind, format!("{shown}: {what} (HTTP {})", status.as_str()))
        .with("url", shown)
        .with("http_status", status.as_str());
    if !hint.is_empty() {
        error = error.hint(hint);
    }
    match retry_after(response.headers()) {
        Some(delay) if error.is_retryable() => Err(error.retry_after_at_least(delay)),
        _ => Err(error),
    }
}

/// The error for a redirect that the client cannot follow, because it leads to
/// something else than HTTP.
fn left_http(response: &Response, url: &Url) -> Option<Error> {
    let place = text(response.headers(), header::LOCATION);
    let target = url.join(place.filter(|_| response.status().is_redirection())?).ok()?;
    let scheme = target.scheme();
    if matches!(scheme, "http" | "https") {
        return None;
    }
    let shown = redacted(url);
    let message = format!(
        "{shown} redirects to {scheme}://, and redirects are followed to http and https only"
    );
    let error = Error::new(ErrorKind::InvalidData, message).with("url", shown);
    Some(error.hint("if you trust it, give the place that it leads to yourself"))
}

/// What a status means (RFC 9110, section 15; the table is in the module's
/// documentation), and what to do about it.
fn meaning(status: StatusCode, login: bool) -> (ErrorKind, &'static str, &'static str) {
    use ErrorKind::{InvalidData, NotFound, PermissionDenied};
    use ErrorKind::{Unauthenticated, Unavailable, Unsupported};
    match (status.as_u16(), login) {
        (401, false) => (Unauthenticated, "the server wants a login", LOGIN_HINT),
        (401, true) => {
            let hint = "check user and password, or whether the token has run out";
            (Unauthenticated, "the server does not accept the login", hint)
        }
        (407, _) => {
            let hint = "put them into the proxy's address: HTTPS_PROXY=http://USER:PASSWORD@HOST";
            (Unauthenticated, "the proxy wants a user and a password", hint)
        }
        (402 | 403 | 451, false) => (PermissionDenied, "the server refuses access", LOGIN_HINT),
        (402 | 403 | 451, true) => {
            let hint = "the login given may not see it; check the address, and its rights";
            (PermissionDenied, "the server refuses access", hint)
        }
        (404 | 410, _) => {
            let hint = "check the address; old releases move to archives";
            (NotFound, "there is no such file", hint)
        }
        (408 | 425, _) => (Unavailable, "the server gave up waiting", ""),
        (429, _) => (Unavailable, "the server wants fewer requests", ""),
        (405 | 406 | 415 | 501 | 505, _) => (Unsupported, "the server cannot do that", ""),
        // One that is not known counts as 400 (section 15).
        (400..500, _) => {
            let hint = "check the address, also what is behind a '?' in it; it may have run out";
            (NotFound, "the server gives nothing for this address", hint)
        }
        (500.., _) => (Unavailable, "the server has a problem", ""),
        _ => (InvalidData, "the server's answer makes no sense here", ""),
    }
}

const LOGIN_HINT: &str = "give a login for that host, in the file that the setting \
    `credentials_file` (--credentials-file, FLOCK_CREDENTIALS_FILE) names";

/// `Retry-After` (RFC 9110, section 10.2.3): seconds or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = text(headers, header::RETRY_AFTER)?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(http_date(value)?.duration_since(SystemTime::now()).unwrap_or_default()),
    }
}

/// A date as HTTP writes it (RFC 9110, section 5.6.7).
pub(super) fn http_date(text: &str) -> Option<SystemTime> {
    let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(zoned.timestamp().into())
}

/// Refuses a web page where a file was asked for: a login page, an error page
/// with status 200, a page about the file.
pub(super) fn refuse_page(headers: &HeaderMap, url: &Url) -> Result<()> {
    let kind = text(headers, header::CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind == "text/html" || kind == "application/xhtml+xml" { Err(page(url)) } else { Ok(()) }
}

/// Whether the first bytes of a file are those of a web page.
pub(super) fn looks_like_page(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let begins =
        |tag: &[u8]| start.get(..tag.len()).is_some_and(|bytes| bytes.eq_ignore_ascii_case(tag));
    begins(b"<!doctype html") || begins(b"<html")
}

pub(super) fn page(url: &Url) -> Error {
    let shown = redacted(url);
    let message = format!("{shown} is a web page, not a file to build from");
    Error::new(ErrorKind::InvalidData, message)
        .with("url", shown)
        .hint("open it in a browser and take the address of the download itself")
}

/// `Content-Range: bytes FIRST-LAST/TOTAL` or `bytes */TOTAL` (RFC 9110,
/// section 14.4).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ContentRange {
    pub(super) first: Option<u64>,
    pub(super) total: Option<u64>,
}

impl ContentRange {
    pub(super) fn parse(value: &str) -> Option<Self> {
        let (range, total) = value.trim().strip_prefix("bytes ")?.trim().split_once('/')?;
        let total = if total == "*" { None } else { Some(total.parse().ok()?) };
        if range == "*" {
            return Some(Self { first: None, total });
        }
        let (first, last) = range.split_once('-')?;
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        let fits = first <= last && total.is_none_or(|total| last < total);
        fits.then_some(Self { first: Some(first), total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn content_ranges() {
        let range = |first, total| Some(ContentRange { first, total });
        assert_eq!(ContentRange::parse("bytes 5-9/10"), range(Some(5), Some(10)));
        assert_eq!(ContentRange::parse("bytes 5-9/*"), range(Some(5), None));
        assert_eq!(ContentRange::parse("bytes */10"), range(None, Some(10)));
        for bad in ["", "bytes", "bytes 9-5/10", "bytes 5-10/10", "items 1-2/3", "bytes -1-2/3"] {
            assert_eq!(ContentRange::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn dates_as_http_writes_them() {
        let date = http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let seconds = date.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(seconds, 784_111_777);
        assert_eq!(http_date("yesterday"), None);
    }

    #[test]
    fn pages_are_known_by_their_start() {
        assert!(looks_like_page(b"\n <!DOCTYPE HTML><p>"));
        assert!(looks_like_page(b"<html lang=en>"));
        assert!(!looks_like_page(b"\x1f\x8b") && !looks_like_page(b""));
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(text in "\\PC*") {
            let _ = ContentRange::parse(&text);
            let _ = ContentRange::parse(&format!("bytes {text}"));
            let _ = http_date(&text);
        }
    }
}
