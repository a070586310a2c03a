//! Serving an appliance to CloudStack, which fetches it.
//!
//! The management server asks for the length, with HEAD; the secondary storage
//! VM fetches it, in parts where that broke (RFC 9110, section 14).

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, IF_RANGE, RANGE,
};
use axum::http::{Method, Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use flock_core::{Context, Error, ErrorKind, Result};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

use super::body::FileBody;
use crate::error::BACKEND;
use crate::image_builder::{Appliance, ServeUpload};

/// A server of one file, as long as this is there.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where CloudStack finds the file.
    pub(crate) url: Url,
    task: JoinHandle<()>,
}

/// What is served.
struct Served {
    appliance: Appliance,
    /// What the path ends in: nobody guesses it.
    path: String,
    etag: String,
}

impl Server {
    /// Serves the appliance as `TOKEN/FILE` below the address.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for an address that cannot be listened at,
    /// [`ErrorKind::Conflict`] for one that somebody else listens at.
    pub(crate) async fn start(
        ctx: &Context,
        options: &ServeUpload,
        appliance: &Appliance,
        token: &str,
        file: &str,
    ) -> Result<Self> {
        let unusable = |source| unusable(options.listen, source);
        let listening = async { TcpListener::bind(options.listen).await.map_err(unusable) };
        let listener = ctx.run(listening).await?;
        let port = listener.local_addr().map_err(unusable)?.port();
        let mut url = super::below(&options.display_url, token, file);
        if options.listen.port() == 0 {
            // A URL with a host takes every port.
            let _ = url.set_port(Some(port));
        }
        let etag = format!("\"{token}\"");
        // As it stands in requests: percent-encoded.
        let path = url.path().rsplitn(3, '/').take(2).collect::<Vec<_>>();
        let path =
            path.into_iter().rev().fold(String::new(), |path, part| format!("{path}/{part}"));
        let served = Arc::new(Served { appliance: appliance.clone(), path, etag });
        let router = Router::new().fallback(answer).with_state(served);
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!(%error, "the appliance is served no longer");
            }
        });
        Ok(Self { url, task })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn unusable(address: SocketAddr, source: std::io::Error) -> Error {
    let kind = match source.kind() {
        std::io::ErrorKind::AddrInUse => ErrorKind::Conflict,
        std::io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        _ => ErrorKind::InvalidConfig,
    };
    Error::new(kind, format!("cannot listen at {address}"))
        .in_backend(BACKEND)
        .with("address", address.to_string())
        .hint("port 0 takes any that is free, 0.0.0.0 stands for all addresses of this machine")
        .caused_by(source)
}

async fn answer(State(served): State<Arc<Served>>, request: Request<Body>) -> Response {
    let is_it = request.uri().path().ends_with(&served.path);
    if !is_it {
        return StatusCode::NOT_FOUND.into_response();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    if served.appliance.check_unchanged().is_err() {
        // Better nothing than a mixture.
        return StatusCode::GONE.into_response();
    }
    let length = served.appliance.length;
    let (status, part) = match wanted(request.headers(), length, &served.etag) {
        Wanted::All => (StatusCode::OK, 0..length),
        Wanted::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Wanted::Nothing => {
            let range = [(CONTENT_RANGE, format!("bytes */{length}"))];
            return (StatusCode::RANGE_NOT_SATISFIABLE, range).into_response();
        }
    };
    let headers = [
        (CONTENT_TYPE, "application/octet-stream"),
        (ACCEPT_RANGES, "bytes"),
        (ETAG, &served.etag),
    ];
    let range = (status == StatusCode::PARTIAL_CONTENT).then(|| {
        [(CONTENT_RANGE, format!("bytes {}-{}/{length}", part.start, part.end.saturating_sub(1)))]
    });
    let body = Body::new(FileBody::new(Arc::clone(&served.appliance.file), part));
    match range {
        Some(range) => (status, headers, range, body).into_response(),
        None => (status, headers, body).into_response(),
    }
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Part(Range<u64>),
    /// A part that there is not.
    Nothing,
}

/// One range is answered as such; several, or what is no range, with all of it,
/// as RFC 9110 allows.
fn wanted(headers: &HeaderMap, length: u64, etag: &str) -> Wanted {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(range) = text(RANGE).and_then(|range| range.trim().strip_prefix("bytes=")) else {
        return Wanted::All;
    };
    if text(IF_RANGE).is_some_and(|known| known != etag) {
        return Wanted::All;
    }
    let Some((first, last)) = range.split_once('-').filter(|_| !range.contains(',')) else {
        return Wanted::All;
    };
    let (first, last) = (first.trim(), last.trim());
    let part = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..length.min(last.saturating_add(1)),
        (Ok(first), Err(_)) if last.is_empty() => first..length,
        (Err(_), Ok(suffix)) if first.is_empty() => length.saturating_sub(suffix)..length,
        _ => return Wanted::All,
    };
    if part.is_empty() { Wanted::Nothing } else { Wanted::Part(part) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(range: &str) -> Wanted {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, range.parse().unwrap());
        wanted(&headers, 100, "\"e\"")
    }

    #[test]
    fn ranges_as_the_rfc_has_them() {
        assert_eq!(ranges("bytes=0-9"), Wanted::Part(0..10));
        assert_eq!(ranges("bytes=90-"), Wanted::Part(90..100));
        assert_eq!(ranges("bytes=-10"), Wanted::Part(90..100));
        assert_eq!(ranges("bytes=-1000"), Wanted::Part(0..100));
        assert_eq!(ranges("bytes=50-1000"), Wanted::Part(50..100));
        for nothing in ["bytes=100-", "bytes=100-200", "bytes=-0"] {
            assert_eq!(ranges(nothing), Wanted::Nothing, "{nothing}");
        }
        for all in ["items=0-9", "bytes=0-9,20-29", "bytes=9-0", "bytes=a-b", "bytes=-", "bytes"] {
            assert_eq!(ranges(all), Wanted::All, "{all}");
        }
        assert_eq!(wanted(&HeaderMap::new(), 100, ""), Wanted::All);
    }

    #[test]
    fn a_part_of_another_file_is_all_of_this_one() {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, "bytes=0-9".parse().unwrap());
        headers.insert(IF_RANGE, "\"other\"".parse().unwrap());
        assert_eq!(wanted(&headers, 100, "\"e\""), Wanted::All);
        headers.insert(IF_RANGE, "\"e\"".parse().unwrap());
        assert_eq!(wanted(&headers, 100, "\"e\""), Wanted::Part(0..10));
    }
}
