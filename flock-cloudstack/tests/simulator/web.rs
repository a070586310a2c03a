//! A web server with templates on it, and the files themselves.

use std::io::Write as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

/// How a server treats those who fetch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Good,
    /// Cuts each answer after 100,000 bytes.
    Cutting,
    /// Cuts, and does not know ranges.
    CuttingWithoutRanges,
    /// Has nothing.
    Missing,
}

pub(crate) struct Web {
    pub(crate) base: String,
    requests: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone)]
struct Site {
    file: Bytes,
    manner: Manner,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Web {
    /// Serves this file under every name.
    pub(crate) async fn serve(file: Vec<u8>, manner: Manner) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::default();
        let site = Site { file: file.into(), manner, requests: Arc::clone(&requests) };
        let router = Router::new().fallback(answer).with_state(site);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { base, requests }
    }

    /// Methods of what was asked so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn answer(State(site): State<Site>, request: Request) -> Response {
    site.requests.lock().unwrap().push(request.method().to_string());
    if site.manner == Manner::Missing {
        return StatusCode::NOT_FOUND.into_response();
    }
    let range = request.headers().get("range").and_then(|range| range.to_str().ok());
    let from =
        range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let from = from.filter(|_| site.manner != Manner::CuttingWithoutRanges);
    let rest = site.file.slice(from.unwrap_or(0)..);
    let mut headers = HeaderMap::new();
    headers.insert("content-length", rest.len().into());
    let status = match from {
        None => StatusCode::OK,
        Some(from) => {
            let range = format!("bytes {from}-{}/{}", site.file.len() - 1, site.file.len());
            headers.insert("content-range", range.parse().unwrap());
            StatusCode::PARTIAL_CONTENT
        }
    };
    let is_whole = site.manner == Manner::Good || rest.len() <= 100_000;
    let body = match (request.method().as_str(), is_whole) {
        ("HEAD", _) => Body::empty(),
        (_, true) => Body::from(rest),
        (_, false) => Body::new(Cut(Some(rest.slice(..100_000)), 0)),
    };
    (status, headers, body).into_response()
}

/// A body that ends in an error.
struct Cut(Option<Bytes>, u32);

impl axum::body::HttpBody for Cut {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        task: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        use std::task::Poll;

        if let Some(bytes) = self.0.take() {
            return Poll::Ready(Some(Ok(hyper::body::Frame::data(bytes))));
        }
        self.1 += 1;
        // Some turns, so that what was written is sent.
        if self.1 < 20 {
            task.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(std::io::Error::other("cut"))))
    }
}

/// A tar archive with one file of so many bytes, which do not compress.
pub(crate) fn tar(size: usize) -> Vec<u8> {
    let mut content = Vec::with_capacity(size + 32);
    let mut block = Sha256::digest(b"noise");
    while content.len() < size {
        content.extend_from_slice(&block);
        block = Sha256::digest(block);
    }
    content.truncate(size);
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(size as u64);
    header.set_mode(0o644);
    header.set_cksum();
    builder.append_data(&mut header, "var/noise", content.as_slice()).unwrap();
    builder.into_inner().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
