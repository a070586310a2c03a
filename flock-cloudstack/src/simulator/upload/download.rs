//! Downloads of templates that were extracted.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use tokio::fs::File;
use tokio::io::AsyncSeekExt as _;
use tokio_util::io::ReaderStream;

use crate::simulator::reply;
use crate::simulator::server::Shared;

/// Gives out the file, from the byte on that `Range` asks for.
pub(crate) async fn download(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    let path = shared.world().downloads.get(&name).map(|download| download.file.clone());
    let Some(path) = path else { return reply::text(404, "Not Found") };
    let (Ok(mut file), Ok(metadata)) = (File::open(&path).await, tokio::fs::metadata(&path).await)
    else {
        return reply::text(404, "Not Found");
    };
    let size = metadata.len();
    let from = match start(&headers) {
        Some(from) if from >= size => return reply::text(416, "Range Not Satisfiable"),
        from => from,
    };
    if file.seek(std::io::SeekFrom::Start(from.unwrap_or(0))).await.is_err() {
        return reply::text(500, "Internal Server Error");
    }
    let body = Body::from_stream(ReaderStream::with_capacity(file, 256 << 10));
    let length = (CONTENT_LENGTH, (size - from.unwrap_or(0)).to_string());
    let ranges = (ACCEPT_RANGES, "bytes".to_owned());
    match from {
        None => ([length, ranges], body).into_response(),
        Some(from) => {
            let range = (CONTENT_RANGE, format!("bytes {from}-{}/{size}", size - 1));
            (StatusCode::PARTIAL_CONTENT, [length, ranges, range], body).into_response()
        }
    }
}

/// The first byte of a range that goes to the end; others are not looked at,
/// as RFC 9110 allows.
fn start(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}
