//! The HTTP client, and what its answers mean.

use std::error::Error as StdError;
use std::time::{Duration, SystemTime};

use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Client, Response, StatusCode, redirect};
use url::Url;

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
        Error::new(ErrorKind::InvalidData, format!("cannot follow the redirects of {shown}"))
            .hint("give the address that it leads to in the end")
    } else if causes.contains("certificate") {
        // The TLS library's own error type is not ours to name.
        Error::new(ErrorKind::InvalidData, format!("the certificate of {shown} is not trusted"))
            .hint("if the server is your own, give its certificate authority as CA file")
    } else if source.is_timeout() && !source.is_connect() {
        Error::new(ErrorKind::Timeout, format!("{shown} stopped answering")).retryable()
    } else if source.is_connect() {
        Error::new(ErrorKind::Unavailable, format!("cannot connect to {shown}"))
            .hint("check the name, the network and the proxy settings")
    } else if source.is_builder() {
        Error::new(ErrorKind::InvalidConfig, format!("{shown} cannot be requested"))
    } else {
        Error::new(ErrorKind::Unavailable, format!("the connection to {shown} broke"))
    };
    error.with("url", shown).caused_by(source.without_url())
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

/// Fails unless the status is one of success.
pub(super) fn check_status(response: &Response, url: &Url) -> Result<()> {
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let shown = redacted(url);
    let said = |kind, what: &str| Error::new(kind, format!("{shown}: {what}"));
    let error = match status {
        StatusCode::UNAUTHORIZED => said(ErrorKind::Unauthenticated, "the server wants a login")
            .hint("give a credential for that host, or check the one given"),
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            said(ErrorKind::Unauthenticated, "the proxy wants a login")
                .hint("put the user and password into the proxy's URL")
        }
        StatusCode::FORBIDDEN => said(ErrorKind::PermissionDenied, "the server refuses access"),
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            said(ErrorKind::NotFound, "there is no such file")
                .hint("check the address; old releases move to archives")
        }
        StatusCode::TOO_MANY_REQUESTS => {
            said(ErrorKind::Unavailable, "the server wants fewer requests")
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => {
            said(ErrorKind::Unavailable, "the server gave up waiting")
        }
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => {
            said(ErrorKind::Unsupported, "the server cannot do that")
        }
        status if status.is_server_error() => {
            said(ErrorKind::Unavailable, "the server has a problem")
        }
        status if status.is_client_error() => {
            said(ErrorKind::InvalidConfig, "the server rejects the request")
        }
        _ => said(ErrorKind::InvalidData, "the server's answer makes no sense here"),
    };
    let error = error.with("url", shown).with("http_status", status.as_str());
    match retry_after(response.headers()) {
        Some(delay) if error.is_retryable() => Err(error.retry_after_at_least(delay)),
        _ => Err(error),
    }
}

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
