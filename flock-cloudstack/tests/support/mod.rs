//! A server that answers as it is told, also wrongly.

// Every test program uses another part of it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "tests"
)]

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::{Arc, Mutex};

use flock_cloudstack::signature::sign;
use flock_cloudstack::{Client, CloudStackConfig};
use flock_core::Error;
use flock_core::secret::Secret;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub const API_KEY: &str = "the-api-key";
pub const SECRET: &str = "the-secret-key-S3cr3t";

/// A request as it arrived, its signature checked.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// What was in the query or the body, without what every request has.
    pub parameters: BTreeMap<String, String>,
    pub in_body: bool,
    pub expires: String,
}

impl Request {
    pub fn command(&self) -> &str {
        self.get("command")
    }

    pub fn get(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A status and a JSON body.
    Json(u16, Value),
    /// A status, further headers, and a body.
    Page(u16, Vec<(&'static str, String)>, String),
    /// The first half of a JSON reply, then the end of the connection.
    Half(Value),
    /// The end of the connection.
    Close,
    /// Nothing, for as long as the client waits.
    Hang,
}

impl Answer {
    /// A reply within its envelope.
    pub fn ok(body: Value) -> Self {
        Self::Json(200, serde_json::json!({"someresponse": body}))
    }

    /// An error as CloudStack writes it.
    pub fn error(code: u16, text: &str) -> Self {
        let body = serde_json::json!({"errorcode": code, "cserrorcode": 4350, "errortext": text});
        Self::Json(code, serde_json::json!({"errorresponse": body}))
    }

    /// What a proxy in front of CloudStack says.
    pub fn html(status: u16) -> Self {
        let headers = vec![("Content-Type", "text/html; charset=utf-8".to_owned())];
        Self::Page(status, headers, "<html><body>nginx</body></html>".to_owned())
    }
}

/// The server.
pub struct Server {
    pub url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Answers each request as `answer` says, which also gets the request's
    /// number, from 0.
    pub async fn new(answer: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/client/api", listener.local_addr().unwrap());
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (seen, answer) = (Arc::clone(&requests), Arc::new(answer));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&seen), Arc::clone(&answer)));
            }
        });
        Self { url, requests, task }
    }

    /// Gives these answers one after the other, and the last again and again.
    pub async fn scripted(answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers: Vec<_> = answers.into_iter().collect();
        Self::new(move |number, _| answers[number.min(answers.len() - 1)].clone()).await
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub fn config(&self) -> CloudStackConfig {
        CloudStackConfig::new(self.url.parse().unwrap(), API_KEY, Secret::new(SECRET))
    }

    pub fn client(&self) -> Client {
        Client::new(self.config()).unwrap()
    }
}

async fn serve(
    mut stream: TcpStream,
    seen: Arc<Mutex<Vec<Request>>>,
    answer: Arc<impl Fn(usize, &Request) -> Answer>,
) {
    let Some(request) = read_request(&mut stream).await else { return };
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(request.clone());
        seen.len() - 1
    };
    let json = ("Content-Type", "application/json; charset=UTF-8".to_owned());
    let (status, headers, body, is_half) = match answer(number, &request) {
        Answer::Json(status, body) => (status, vec![json], body.to_string(), false),
        Answer::Page(status, headers, body) => (status, headers, body, false),
        Answer::Half(body) => (200, vec![json], body.to_string(), true),
        Answer::Close => return,
        Answer::Hang => return std::future::pending().await,
    };
    let mut text =
        format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.push_str(if is_half { &body[..body.len() / 2] } else { &body });
    let _gone = stream.write_all(text.as_bytes()).await;
    let _gone = stream.shutdown().await;
}

async fn read_request(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.trim().parse().unwrap());
    while bytes.len() < head_end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let mut first = head.split(' ');
    let (method, target) = (first.next().unwrap().to_owned(), first.next().unwrap());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let body = String::from_utf8(bytes[head_end..].to_vec()).unwrap();
    assert!(query.is_empty() || body.is_empty(), "parameters in two places");
    let in_body = !body.is_empty();
    let pairs =
        url::form_urlencoded::parse(if in_body { body.as_bytes() } else { query.as_bytes() });
    let all: BTreeMap<String, String> = pairs.into_owned().collect();
    Some(checked(method, path.to_owned(), in_body, all))
}

/// Checks what every request must have, and takes it away.
fn checked(
    method: String,
    path: String,
    in_body: bool,
    mut parameters: BTreeMap<String, String>,
) -> Request {
    let signature = parameters.remove("signature").expect("signed");
    let pairs = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    assert_eq!(signature, sign(pairs, &Secret::new(SECRET)), "the signature of {parameters:?}");
    assert_eq!(parameters.remove("apikey").as_deref(), Some(API_KEY));
    assert_eq!(parameters.remove("response").as_deref(), Some("json"));
    assert_eq!(parameters.remove("signatureversion").as_deref(), Some("3"));
    let expires = parameters.remove("expires").expect("a time stamp");
    Request { method, path, parameters, in_body, expires }
}

/// Everything that can be seen of an error, by whatever way.
pub fn all_of(error: &Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!("\n{inner} {inner:?}"));
        cause = inner.source();
    }
    for (key, value) in error.context() {
        text.push_str(&format!("\n{key}={value}"));
    }
    error.hints().for_each(|hint| text.push_str(hint));
    text
}
