//! An HTTP server that misbehaves as told: it cuts, stalls and lies.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flock_core::cache::Cache;
use flock_core::fetch::{Checksum, FetchOptions};
use sha2::{Digest, Sha256};

/// What a client asked for.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// How many came before it.
    pub(crate) number: usize,
    pub(crate) path: String,
    /// By lower-case name.
    pub(crate) headers: HashMap<String, String>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The first byte of `Range: bytes=N-`.
    pub(crate) fn from(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// What to answer.
pub(crate) struct Reply {
    bytes: Vec<u8>,
    stall: bool,
}

impl Reply {
    /// A whole answer; its length is announced.
    pub(crate) fn new(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Self {
        Self::cut(status, headers, body, body.len())
    }

    /// An answer that announces all of `body` but ends after `sent` bytes.
    pub(crate) fn cut(status: &str, headers: &[(&str, &str)], body: &[u8], sent: usize) -> Self {
        let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut bytes = format!("{head}Connection: close\r\n\r\n").into_bytes();
        bytes.extend_from_slice(&body[..sent]);
        Self { bytes, stall: false }
    }

    /// Exactly these bytes.
    pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), stall: false }
    }

    /// Says nothing more, but stays connected.
    pub(crate) fn then_stall(self) -> Self {
        Self { stall: true, ..self }
    }
}

/// Lives as long as the test.
pub(crate) struct Server {
    pub(crate) address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&requests), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                std::thread::spawn(move || serve(&stream.unwrap(), &seen, &*answer));
            }
        });
        Self { address, requests }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

fn serve(stream: &TcpStream, seen: &Mutex<Vec<Request>>, answer: &dyn Fn(&Request) -> Reply) {
    let mut lines = BufReader::new(stream).lines();
    let Some(Ok(first)) = lines.next() else { return };
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let headers = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        })
        .collect();
    let request = {
        let mut seen = seen.lock().unwrap();
        let request = Request { number: seen.len(), path, headers };
        seen.push(request.clone());
        request
    };
    let reply = answer(&request);
    // The client may have gone already; that is its right.
    let mut out = stream;
    let _ = out.write_all(&reply.bytes).and_then(|()| out.flush());
    if reply.stall {
        std::thread::sleep(Duration::from_secs(30));
    }
}

/// Bytes that look the same nowhere.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> =
        std::iter::repeat_with(&mut next).take(len / 8 + 1).flatten().collect();
    bytes.truncate(len);
    bytes
}

pub(crate) fn checksum(bytes: &[u8]) -> Checksum {
    Checksum::from_bytes(Sha256::digest(bytes).into())
}

/// Options that do not wait long and know no proxy or login of this machine.
pub(crate) fn options(dir: &std::path::Path) -> FetchOptions {
    FetchOptions::new(Cache::at(dir.join("cache")))
        .with_proxy(flock_core::fetch::ProxyChoice::Direct)
        .with_docker_config(None)
        .with_retry_delay(Duration::from_millis(2))
        .with_read_timeout(Duration::from_millis(600))
}
