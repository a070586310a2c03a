//! The HTTP client for uploads, and what its answers mean.

use std::time::Duration;

use flock_core::{Context, Error, ErrorKind, Result};
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Response, StatusCode, redirect};
use url::Url;

use crate::blocking;
use crate::client::first_words;
use crate::error::BACKEND;
use crate::image_builder::shown;
use crate::tls::{self, Obstacle, Trust};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Makes the client. It speaks HTTP/1.1 only, which for one large body is the
/// fastest, and all that a secondary storage VM speaks. Redirects are not
/// followed: a body is sent once, and the signature of an upload holds for one
/// host.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] if the certificates cannot be used.
pub(super) async fn client(ctx: &Context, trust: Trust) -> Result<Client> {
    blocking::run(ctx, move |_| {
        let builder = Client::builder()
            .user_agent(concat!("flock/", env!("CARGO_PKG_VERSION")))
            .http1_only()
            .connect_timeout(CONNECT_TIMEOUT)
            .retry(reqwest::retry::never())
            .redirect(redirect::Policy::none())
            .referer(false);
        trust.client(builder)
    })
    .await
}

/// The error for a request that got no answer.
pub(super) fn broken(url: &Url, source: reqwest::Error) -> Error {
    let (place, source) = (shown(url), source.without_url());
    if let Some(obstacle) = Obstacle::of(&source) {
        return obstacle.error(&place).with("url", &place).caused_by(source);
    }
    let error =
        |kind, message: String| Error::new(kind, message).in_backend(BACKEND).with("url", &place);
    if source.is_connect() {
        let message = format!("cannot connect to {place}: {}", tls::last_cause(&source));
        return error(ErrorKind::Unavailable, message).caused_by(source);
    }
    if source.is_builder() {
        let message = format!("nothing can be sent to {place}");
        return error(ErrorKind::InvalidConfig, message).caused_by(source);
    }
    error(ErrorKind::Unavailable, format!("the connection to {place} broke")).caused_by(source)
}

/// The error for a status that is not one of success, with the first words of
/// the answer (RFC 9110, section 15; RFC 4918, section 11).
pub(super) async fn refused(url: &Url, mut response: Response) -> Error {
    let status = response.status();
    let delay = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let delay = delay.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    let text = first_words(&mut response).await;
    let place = shown(url);
    if let Some(obstacle) = Obstacle::of_answer(url, status.as_u16(), &text) {
        return obstacle.error(&place).with("url", place);
    }
    // A web page says no more than the status.
    let text = if text.starts_with('<') { "" } else { text.as_str() };
    let (kind, what, hint) = meaning(status);
    let says = if text.is_empty() { String::new() } else { format!(": {text}") };
    let message = format!("{place}: {what} (HTTP {}){says}", status.as_u16());
    let mut error = Error::new(kind, message)
        .in_backend(BACKEND)
        .with("url", place)
        .with("http_status", status.as_str());
    if !hint.is_empty() {
        error = error.hint(hint);
    }
    match delay {
        Some(delay) if error.is_retryable() => error.retry_after_at_least(delay),
        _ => error,
    }
}

fn meaning(status: StatusCode) -> (ErrorKind, &'static str, &'static str) {
    use ErrorKind::{
        InvalidConfig, NotFound, PermissionDenied, QuotaExceeded, Unauthenticated, Unavailable,
        Unsupported,
    };
    match status.as_u16() {
        300..=399 => (InvalidConfig, "it redirects elsewhere", "give the address that it leads to"),
        401 => (Unauthenticated, "it wants a login, or does not accept the one given", ""),
        403 => (PermissionDenied, "it refuses access", "the login may lack the right to write"),
        404 => (NotFound, "there is no such place", "check the address"),
        409 => (
            NotFound,
            "the directory is not there",
            "make it, or let the server do so (nginx: create_full_put_path on)",
        ),
        405 | 501 => {
            (Unsupported, "the server takes no uploads there", "it must allow that method")
        }
        413 => (QuotaExceeded, "the file is too large for it", "raise the server's limit"),
        507 => (QuotaExceeded, "it has no space left", ""),
        408 | 429 | 500.. => (Unavailable, "the server has a problem", ""),
        _ => (InvalidConfig, "it does not take that", ""),
    }
}
