//! Replies: envelopes, JSON or XML, and what cannot be called a reply.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use hyper::body::Frame;
use serde_json::Value;

use super::clock::http_date;
use super::error::ApiError;

/// In what form the caller wants the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    /// CloudStack's default.
    Xml,
}

/// Marks a response in whose place the connection is closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sever;

/// The response in whose place the connection is closed.
pub(crate) fn sever() -> Response {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(Sever);
    response
}

/// What a command answers, in its envelope.
pub(crate) fn answer(envelope: &str, outcome: &Result<String, ApiError>, form: Form) -> Response {
    let (code, body) = match outcome {
        Ok(json) => (200, json.clone()),
        Err(error) => (error.code, error_body(error)),
    };
    let json = format!("{{\"{envelope}\":{body}}}");
    let (kind, body) = match form {
        Form::Json => ("application/json; charset=UTF-8", json),
        Form::Xml => ("text/xml; charset=UTF-8", xml(&json)),
    };
    let mut response = with_status(code, kind, body);
    if let Err(error) = outcome
        && let Ok(text) = HeaderValue::from_str(&error.text)
    {
        response.headers_mut().insert(HeaderName::from_static("x-description"), text);
    }
    response
}

fn error_body(error: &ApiError) -> String {
    let mut body = serde_json::json!({
        "uuidList": [],
        "errorcode": error.code,
        "errortext": error.text,
    });
    if let (Some(detail), Some(body)) = (error.detail, body.as_object_mut()) {
        body.insert("cserrorcode".to_owned(), detail.into());
    }
    body.to_string()
}

/// A response of plain text.
pub(crate) fn text(status: u16, text: impl Into<String>) -> Response {
    with_status(status, "text/plain; charset=UTF-8", text.into())
}

/// A page as proxies in front of servers send it.
pub(crate) fn proxy_page(status: u16) -> Response {
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let reason = code.canonical_reason().unwrap_or("Error");
    let page = format!(
        "<html>\n<head><title>{status} {reason}</title></head>\n<body>\n<center><h1>{status} \
         {reason}</h1></center>\n<hr><center>proxy</center>\n</body>\n</html>\n"
    );
    with_status(status, "text/html", page)
}

fn with_status(status: u16, kind: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Sets the server's time.
pub(crate) fn dated(mut response: Response, now: i64) -> Response {
    if let Ok(date) = HeaderValue::from_str(&http_date(now)) {
        response.headers_mut().insert(DATE, date);
    }
    response
}

/// The response with half of its body, after which the connection breaks.
pub(crate) async fn truncated(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else { return sever() };
    parts.headers.insert(CONTENT_LENGTH, bytes.len().into());
    let half = bytes.slice(..bytes.len() / 2);
    let pause = Box::pin(tokio::time::sleep(FLUSH));
    Response::from_parts(parts, Body::new(Half { first: Some(half), pause }))
}

/// How long the half that is sent may be on its way to the client.
const FLUSH: Duration = Duration::from_millis(20);

/// A body that breaks off.
struct Half {
    first: Option<Bytes>,
    pause: Pin<Box<tokio::time::Sleep>>,
}

impl HttpBody for Half {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let broken = || io::Error::new(io::ErrorKind::ConnectionAborted, "truncated on demand");
        self.pause.as_mut().poll(task).map(|()| Some(Err(broken())))
    }
}

/// The same reply in XML: objects are elements, arrays are repeated elements.
fn xml(json: &str) -> String {
    let mut out = r#"<?xml version="1.0" encoding="UTF-8"?>"#.to_owned();
    if let Ok(Value::Object(map)) = serde_json::from_str(json) {
        map.iter().for_each(|(name, value)| element(name, value, &mut out));
    }
    out
}

fn element(name: &str, value: &Value, out: &mut String) {
    if let Value::Array(items) = value {
        return items.iter().for_each(|item| element(name, item, out));
    }
    out.push_str(&format!("<{name}>"));
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| element(name, value, out)),
        Value::String(text) => escape(text, out),
        Value::Null | Value::Array(_) => {}
        other => out.push_str(&other.to_string()),
    }
    out.push_str(&format!("</{name}>"));
}

fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body(response: Response) -> Value {
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[tokio::test]
    async fn errors_have_their_code_twice_and_their_text_twice() {
        let error = Err(ApiError::parameter("Invalid \"name\""));
        let response = answer("listzonesresponse", &error, Form::Json);
        assert_eq!(response.status().as_u16(), 431);
        assert_eq!(response.headers()["x-description"], "Invalid \"name\"");
        let inner = &body(response).await["listzonesresponse"];
        assert_eq!((&inner["errorcode"], &inner["cserrorcode"]), (&431.into(), &4350.into()));
        let unverified = answer("errorresponse", &Err(ApiError::unverified()), Form::Json);
        assert!(body(unverified).await["errorresponse"].get("cserrorcode").is_none());
    }

    #[test]
    fn xml_says_the_same() {
        let json = r#"{"r":{"count":2,"ok":true,"zone":[{"name":"a&b"},{"name":"c"}]}}"#;
        let expected = "<r><count>2</count><ok>true</ok><zone><name>a&amp;b</name></zone><zone>\
                        <name>c</name></zone></r>";
        assert!(xml(json).ends_with(expected), "{}", xml(json));
    }
}
