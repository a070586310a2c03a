//! One request over HTTP, signed at the moment it is sent.

use std::path::Path;
use std::time::{Duration, SystemTime};

use flock_core::{Error, ErrorKind, Result, certificate};
use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER};
use reqwest::{ClientBuilder, Response, StatusCode, redirect};
use serde_json::Value;

use super::Parameters;
use super::reply::{self, Reply};
use crate::config::{CloudStackConfig, Method};
use crate::error::{ApiError, BACKEND, not_protocol};
use crate::signature;

/// The most that a reply may hold: 64 MiB. The largest are pages of 500
/// virtual machines, of some megabytes.
const MAX_REPLY: usize = 64 << 20;
/// The longest wait that a proxy's `Retry-After` (RFC 9110, section 10.2.3)
/// is believed.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// How a try to get an answer failed.
#[derive(Debug)]
pub(super) enum Failed {
    /// The request was not sent, or turned away at the door.
    NotSent(Error),
    /// The request, or its reply, got lost on the way.
    Lost(Error),
    /// CloudStack refused it. The time is that of the server's clock.
    Refused(ApiError, Option<SystemTime>),
    /// Any other answer, which trying again does not change.
    Wrong(Error),
}

/// Whether a command only reads. `getUploadParamsFor…` makes a record.
pub(super) fn only_reads(command: &str) -> bool {
    ["list", "get", "query", "find"].iter().any(|verb| command.starts_with(verb))
        && !command.starts_with("getUploadParams")
}

/// Makes the HTTP client. Redirects are not followed: they would turn a POST
/// into a GET, and carry signatures elsewhere.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] if the certificates cannot be used.
pub(super) fn http(config: &CloudStackConfig) -> Result<reqwest::Client> {
    let unusable =
        |message: String| Error::new(ErrorKind::InvalidConfig, message).in_backend(BACKEND);
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("flock/", env!("CARGO_PKG_VERSION")))
        .timeout(config.request_timeout)
        .retry(reqwest::retry::never())
        .redirect(redirect::Policy::none())
        .referer(false);
    if let Some(path) = &config.ca_file {
        builder = trusting(builder, path)?;
    }
    if !config.verify_tls {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    builder.build().map_err(|source| {
        unusable("cannot set up HTTPS".to_owned())
            .hint("install the system's certificates (Debian: apt install ca-certificates)")
            .caused_by(source)
    })
}

/// The client that also trusts the certificate authorities in a PEM file.
///
/// # Errors
/// Those of reading it; [`ErrorKind::InvalidConfig`] if there are none in it.
pub(crate) fn trusting(builder: ClientBuilder, path: &Path) -> Result<ClientBuilder> {
    let pem = std::fs::read(path)
        .map_err(|source| Error::io("read the certificates in", path, source))?;
    let certificates = reqwest::Certificate::from_pem_bundle(&pem).unwrap_or_default();
    if certificates.is_empty() {
        let message = format!("{} holds no PEM certificate", path.display());
        return Err(Error::new(ErrorKind::InvalidConfig, message).in_backend(BACKEND));
    }
    Ok(builder.tls_certs_merge(certificates))
}

/// Sends a command once, as valid from `now` on, and reads the answer.
pub(super) async fn send(
    http: &reqwest::Client,
    config: &CloudStackConfig,
    command: &str,
    parameters: &Parameters,
    now: SystemTime,
) -> Result<Value, Failed> {
    let query = signed(config, command, parameters, now);
    let by_get = config.method == Method::GetOnly || only_reads(command);
    let request = if by_get {
        let mut url = config.url.clone();
        url.set_query(Some(&query));
        http.get(url)
    } else {
        http.post(config.url.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(query)
    };
    let response = request.send().await.map_err(|error| transport(config, error))?;
    answer(config, command, response).await
}

/// The parameters with those that every request has, signed, as a query.
fn signed(
    config: &CloudStackConfig,
    command: &str,
    parameters: &Parameters,
    now: SystemTime,
) -> String {
    let expires = Timestamp::try_from(now)
        .unwrap_or_else(|_| Timestamp::now())
        .saturating_add(jiff::SignedDuration::try_from(config.expires).unwrap_or_default());
    let expires = expires.unwrap_or(Timestamp::MAX).strftime("%Y-%m-%dT%H:%M:%S+0000").to_string();
    let own = [
        ("command", command),
        ("response", "json"),
        ("apikey", &config.api_key),
        ("signatureversion", "3"),
        ("expires", &expires),
    ];
    let is_own = |name: &str| own.iter().any(|(own, _)| *own == name) || name == "signature";
    let all: Vec<_> =
        own.into_iter().chain(parameters.iter().filter(|(name, _)| !is_own(name))).collect();
    let signature = signature::sign(all.iter().copied(), &config.secret_key);
    let mut query = String::new();
    for (name, value) in all.into_iter().chain([("signature", signature.as_str())]) {
        if !query.is_empty() {
            query.push('&');
        }
        signature::encode(name, &mut query);
        query.push('=');
        signature::encode(value, &mut query);
    }
    query
}

async fn answer(
    config: &CloudStackConfig,
    command: &str,
    mut response: Response,
) -> Result<Value, Failed> {
    let status = response.status();
    let clock = server_clock(&response);
    if let Some(error) = not_an_answer(command, &response) {
        return Err(match status {
            StatusCode::TOO_MANY_REQUESTS => Failed::NotSent(error),
            // What a proxy says of a server it cannot reach may come after the
            // server has worked.
            status if status.is_server_error() => Failed::Lost(error),
            _ => Failed::Wrong(error),
        });
    }
    let busy = busy(command, &response);
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| transport(config, error))? {
        if bytes.len() + chunk.len() > MAX_REPLY {
            return Err(Failed::Wrong(not_protocol(command, "the reply is longer than 64 MiB")));
        }
        bytes.extend_from_slice(&chunk);
    }
    match reply::open(command, &bytes) {
        Ok(Reply::Refused(error)) => Err(Failed::Refused(error, clock)),
        Ok(Reply::Body(body)) if status.is_success() => Ok(body),
        // A gateway's JSON, not CloudStack's.
        _ if status == StatusCode::TOO_MANY_REQUESTS => Err(Failed::NotSent(busy)),
        _ if status == StatusCode::SERVICE_UNAVAILABLE => Err(Failed::Lost(busy)),
        Ok(Reply::Body(_)) => {
            let message = format!("HTTP {} without an error in the reply", status.as_u16());
            let error = not_protocol(command, message);
            Err(if status.is_server_error() { Failed::Lost(error) } else { Failed::Wrong(error) })
        }
        Err(error) if status.is_client_error() => Err(Failed::Wrong(error)),
        // A reply cut in the middle looks like one that is not JSON.
        Err(error) => Err(Failed::Lost(error)),
    }
}

/// The error for an answer that does not come from CloudStack: a redirect, or
/// a page of a proxy.
fn not_an_answer(command: &str, response: &Response) -> Option<Error> {
    let status = response.status();
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    if status.is_redirection() {
        let place = header(LOCATION).unwrap_or("elsewhere");
        let place = place.split('?').next().unwrap_or(place);
        let error = not_protocol(command, format!("the address redirects to {place}"));
        return Some(error.hint("set the profile's url to the address that it leads to"));
    }
    let kind = header(CONTENT_TYPE).unwrap_or("no content type");
    let is_json = ["json", "javascript"].iter().any(|name| kind.contains(name));
    if is_json {
        return None;
    }
    let message = format!(
        "HTTP {} with {kind} instead of JSON, probably from a proxy in front of CloudStack",
        status.as_u16()
    );
    let error = if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        Error::new(ErrorKind::Unavailable, format!("{command}: {message}")).in_backend(BACKEND)
    } else {
        not_protocol(command, message)
    };
    Some(later(error.with("http_status", status.as_str()), response))
}

/// The error for an answer that says that the server has no time.
fn busy(command: &str, response: &Response) -> Error {
    let status = response.status();
    let message = format!("{command}: HTTP {} from in front of CloudStack", status.as_u16());
    let error = Error::new(ErrorKind::Unavailable, message).in_backend(BACKEND);
    later(error.with("http_status", status.as_str()), response)
}

/// The error with the wait that the answer asks for (RFC 9110, section
/// 10.2.3).
fn later(error: Error, response: &Response) -> Error {
    let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let wait = header.and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs);
    match wait {
        Some(wait) if error.is_retryable() => error.retry_after_at_least(wait.min(MAX_WAIT)),
        _ => error,
    }
}

/// The server's clock, which HTTP tells (RFC 9110, section 6.6.1).
fn server_clock(response: &Response) -> Option<SystemTime> {
    let text = response.headers().get(DATE)?.to_str().ok()?;
    Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp().into())
}

/// What a failed exchange means. The texts never hold the query, whose
/// signature is worth as much as a password while it is valid.
fn transport(config: &CloudStackConfig, source: reqwest::Error) -> Failed {
    let place = config.url.host_str().unwrap_or("the cloud").to_owned();
    let source = source.without_url();
    let causes = causes(&source);
    let error =
        |kind, message: String| Error::new(kind, message).in_backend(BACKEND).with("host", &place);
    if source.is_connect() && causes.contains("certificate") {
        let refused = error(
            ErrorKind::InvalidData,
            format!("the certificate of {place} is not trusted: {}", last_line(&causes)),
        );
        let hint = certificate::advice(&causes);
        let refused = refused.hint(hint.unwrap_or("name the authority that signed it (ca_file)"));
        let hint = "if you must, set verifysslcert to false for this profile";
        return Failed::Wrong(refused.hint(hint).caused_by(source));
    }
    if source.is_connect() {
        let message = format!("cannot connect to {place}: {}", last_line(&causes));
        let refused = error(ErrorKind::Unavailable, message).caused_by(source);
        return Failed::NotSent(refused.hint("check the profile's url, and the network"));
    }
    if source.is_builder() {
        let message = format!("the request to {place} cannot be made");
        return Failed::Wrong(error(ErrorKind::InvalidConfig, message).caused_by(source));
    }
    let (kind, message) = if source.is_timeout() {
        (ErrorKind::Timeout, format!("{place} did not answer in time"))
    } else {
        (ErrorKind::Unavailable, format!("the connection to {place} broke"))
    };
    Failed::Lost(error(kind, message).retryable().caused_by(source))
}

fn causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(error.source(), |cause| cause.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or("no reason given")
}
