//! Downloads from servers that cut, stall, lie and change their minds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail so")]
#![cfg(feature = "fetch")]

mod fetch_support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fetch_support::{Reply, Server, checksum, noise, options};
use flock_core::fetch::{Credential, FetchOptions, Fetched, Fetcher, Location, ProxyChoice};
use flock_core::progress::{ProgressEvent, ProgressReporter};
use flock_core::secret::Secret;
use flock_core::{Context, Error, ErrorKind};
use tempfile::TempDir;

const TAG: (&str, &str) = ("ETag", "\"one\"");

struct Bench {
    dir: TempDir,
    fetcher: Fetcher,
}

impl Bench {
    fn new() -> Self {
        Self::with(|options| options)
    }

    fn with(change: impl Fn(FetchOptions) -> FetchOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let fetcher = Fetcher::new(change(options(dir.path())));
        Self { dir, fetcher }
    }

    /// The same cache, other options.
    fn again(&self, change: impl Fn(FetchOptions) -> FetchOptions) -> Fetcher {
        Fetcher::new(change(options(self.dir.path())))
    }

    async fn get(&self, url: &str) -> Result<Fetched, Error> {
        get(&self.fetcher, url).await
    }
}

async fn get(fetcher: &Fetcher, url: &str) -> Result<Fetched, Error> {
    fetcher.fetch(&Context::new(), &url.parse().unwrap(), None).await
}

fn content(fetched: &Fetched) -> Vec<u8> {
    std::fs::read(&fetched.path).unwrap()
}

fn part(body: &[u8], from: usize) -> (String, Vec<u8>) {
    (format!("bytes {from}-{}/{}", body.len() - 1, body.len()), body[from..].to_vec())
}

/// Serves `body` by ranges, `step` bytes at a time, then cuts.
fn cutting(body: Vec<u8>, step: usize) -> Server {
    Server::start(move |request| match request.from() {
        Some(from) if request.header("if-range") == Some("\"one\"") => {
            let (range, rest) = part(&body, from);
            let sent = step.min(rest.len());
            Reply::cut("206 Partial Content", &[TAG, ("Content-Range", &range)], &rest, sent)
        }
        _ => Reply::cut("200 OK", &[TAG], &body, step.min(body.len())),
    })
}

#[tokio::test]
async fn a_file_comes_whole_and_is_not_asked_for_again() {
    let body = noise(300_000);
    let server = Server::start({
        let body = body.clone();
        move |_| Reply::new("200 OK", &[], &body)
    });
    let bench = Bench::new();
    let first = bench.get(&server.url("/base.tar")).await.unwrap();
    assert_eq!(content(&first), body);
    assert_eq!((first.bytes, first.from_cache), (300_000, false));
    assert_eq!(first.sha256, Some(checksum(&body)));
    let second = bench.get(&server.url("/base.tar")).await.unwrap();
    assert!(second.from_cache && second.path == first.path);
    assert_eq!(server.count(), 1);
    // Another address, the same content: known by its checksum.
    let source: Location = "http://192.0.2.1/elsewhere".parse().unwrap();
    let sum = checksum(&body);
    let third = bench.fetcher.fetch(&Context::new(), &source, Some(&sum)).await.unwrap();
    assert!(third.from_cache);
}

#[tokio::test]
async fn a_cut_download_goes_on_where_it_stopped() {
    let body = noise(1_000_000);
    let server = cutting(body.clone(), 130_000);
    // More cuts than retries: each piece that comes counts as progress.
    let bench = Bench::with(|options| options.with_retries(2));
    let fetched = bench.get(&server.url("/x")).await.unwrap();
    assert_eq!(content(&fetched), body);
    let requests = server.requests();
    assert!(requests.len() >= 8, "{}", requests.len());
    assert_eq!(requests[1].from(), Some(130_000));
}

#[tokio::test]
async fn a_later_call_goes_on_where_an_earlier_one_stopped() {
    let body = noise(500_000);
    let bench = Bench::with(|options| options.with_retries(0));
    let server = cutting(body.clone(), 200_000);
    let error = bench.get(&server.url("/x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.context_value("bytes_received"), Some("200000"));
    let error = bench.get(&server.url("/x")).await.unwrap_err();
    assert_eq!(error.context_value("bytes_received"), Some("400000"));
    assert_eq!(content(&bench.get(&server.url("/x")).await.unwrap()), body);
    let starts: Vec<_> = server.requests().iter().map(fetch_support::Request::from).collect();
    assert_eq!(starts, [None, Some(200_000), Some(400_000)]);
}

#[tokio::test]
async fn a_file_that_changed_meanwhile_comes_anew() {
    let (old, new) = (noise(300_000), noise(400_000)[1..].to_vec());
    let server = Server::start({
        let (old, new) = (old.clone(), new.clone());
        move |request| match request.number {
            0 => Reply::cut("200 OK", &[TAG], &old, 100_000),
            _ => Reply::new("200 OK", &[("ETag", "\"two\"")], &new),
        }
    });
    let bench = Bench::new();
    assert_eq!(content(&bench.get(&server.url("/x")).await.unwrap()), new);
    assert_eq!(server.requests()[1].header("if-range"), Some("\"one\""));
}

/// What a server may answer to a range that it should have refused.
async fn resumed_wrongly(answer: impl Fn(&[u8]) -> Reply + Send + Sync + 'static) {
    let body = noise(300_000);
    let server = Server::start({
        let body = body.clone();
        move |request| match request.from() {
            None if request.number == 0 => Reply::cut("200 OK", &[TAG], &body, 100_000),
            None => Reply::new("200 OK", &[TAG], &body),
            Some(_) => answer(&body),
        }
    });
    let bench = Bench::new();
    assert_eq!(content(&bench.get(&server.url("/x")).await.unwrap()), body);
    assert_eq!(server.count(), 3);
}

#[tokio::test]
async fn a_range_of_other_bytes_is_not_appended() {
    let partial = "206 Partial Content";
    resumed_wrongly(move |body| {
        Reply::new(partial, &[TAG, ("Content-Range", "bytes 0-299999/300000")], body)
    })
    .await;
    resumed_wrongly(move |body| {
        let (range, rest) = part(body, 100_000);
        Reply::new(partial, &[("ETag", "\"two\""), ("Content-Range", &range)], &rest)
    })
    .await;
    resumed_wrongly(move |_| {
        Reply::new(partial, &[TAG, ("Content-Range", "bytes 100000-100009/100010")], b"0123456789")
    })
    .await;
    resumed_wrongly(move |_| Reply::new(partial, &[TAG], b"x")).await;
    resumed_wrongly(|_| {
        let range = ("Content-Range", "bytes */99");
        Reply::new("416 Range Not Satisfiable", &[range], b"")
    })
    .await;
}

#[tokio::test]
async fn without_a_validator_a_cut_download_begins_anew() {
    let body = noise(300_000);
    let server = Server::start({
        let body = body.clone();
        move |request| match request.number {
            0 => Reply::cut("200 OK", &[("ETag", "W/\"weak\"")], &body, 100_000),
            _ => Reply::new("200 OK", &[], &body),
        }
    });
    assert_eq!(content(&Bench::new().get(&server.url("/x")).await.unwrap()), body);
    assert_eq!(server.requests()[1].from(), None);
}

#[tokio::test]
async fn a_date_old_enough_is_a_validator() {
    let body = noise(300_000);
    let dates = [
        ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("Date", "Sun, 06 Nov 1994 08:50:37 GMT"),
    ];
    let server = Server::start({
        let body = body.clone();
        move |request| match request.from() {
            Some(from) if request.header("if-range") == Some(dates[0].1) => {
                let (range, rest) = part(&body, from);
                Reply::new("206 Partial Content", &[("Content-Range", &range)], &rest)
            }
            _ => Reply::cut("200 OK", &dates, &body, 100_000),
        }
    });
    assert_eq!(content(&Bench::new().get(&server.url("/x")).await.unwrap()), body);
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn a_file_that_was_complete_but_not_known_to_be_is_taken() {
    let body = noise(100_000);
    let server = Server::start({
        let body = body.clone();
        move |request| match request.from() {
            // No length: the end of the connection in a chunk is a cut.
            None => {
                let head = "HTTP/1.1 200 OK\r\nETag: \"one\"\r\nTransfer-Encoding: chunked\r\n\r\n";
                let mut bytes = format!("{head}{:x}\r\n", body.len()).into_bytes();
                bytes.extend_from_slice(&body);
                Reply::raw(bytes)
            }
            Some(_) => {
                let range = format!("bytes */{}", body.len());
                Reply::new("416 Range Not Satisfiable", &[("Content-Range", &range)], b"")
            }
        }
    });
    assert_eq!(content(&Bench::new().get(&server.url("/x")).await.unwrap()), body);
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn a_wrong_checksum_leaves_nothing() {
    let server = Server::start(|_| Reply::new("200 OK", &[TAG], b"something else"));
    let bench = Bench::new();
    let source: Location = server.url("/x").parse().unwrap();
    let sum = checksum(b"what was promised");
    let error = bench.fetcher.fetch(&Context::new(), &source, Some(&sum)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert_eq!(error.context_value("expected"), Some(sum.to_string().as_str()));
    let left = std::fs::read_dir(bench.dir.path().join("cache/partial")).unwrap().count();
    assert_eq!(left, 0);
    assert!(
        !bench.dir.path().join("cache/files").read_dir().is_ok_and(|mut dir| dir.next().is_some())
    );
}

#[tokio::test]
async fn pieces_that_do_not_fit_are_fetched_anew_once() {
    // Without validators only the checksum can tell that it changed.
    let (old, new) = (noise(200_000), noise(300_000)[7..200_007].to_vec());
    let server = Server::start({
        let new = new.clone();
        move |request| match (request.number, request.from()) {
            (0, _) => Reply::cut("200 OK", &[], &old, 100_000),
            (_, Some(from)) => {
                let (range, rest) = part(&new, from);
                Reply::new("206 Partial Content", &[("Content-Range", &range)], &rest)
            }
            _ => Reply::new("200 OK", &[], &new),
        }
    });
    let bench = Bench::new();
    let source: Location = server.url("/x").parse().unwrap();
    let sum = checksum(&new);
    let fetched = bench.fetcher.fetch(&Context::new(), &source, Some(&sum)).await.unwrap();
    assert_eq!(content(&fetched), new);
    assert_eq!(server.count(), 3);
}

#[tokio::test]
async fn an_old_copy_is_checked_with_the_server() {
    let server = Server::start(|request| match request.header("if-none-match") {
        Some("\"one\"") if request.number < 3 => Reply::raw("HTTP/1.1 304 Not Modified\r\n\r\n"),
        _ if request.number < 3 => Reply::new("200 OK", &[TAG], b"first"),
        _ => Reply::new("200 OK", &[("ETag", "\"two\"")], b"second"),
    });
    let bench = Bench::with(|options| options.with_max_age(Duration::ZERO));
    let url = server.url("/x");
    assert!(!bench.get(&url).await.unwrap().from_cache);
    for _ in 0..2 {
        let again = bench.get(&url).await.unwrap();
        assert!(again.from_cache && content(&again) == b"first");
    }
    let changed = bench.get(&url).await.unwrap();
    assert!(!changed.from_cache && content(&changed) == b"second");
    assert_eq!(server.count(), 4);
}

#[tokio::test]
async fn a_stale_copy_is_used_only_if_allowed() {
    let server = Server::start(|request| match request.number {
        0 => Reply::new("200 OK", &[TAG], b"first"),
        _ => Reply::new("503 Service Unavailable", &[], b""),
    });
    let bench = Bench::with(|options| options.with_max_age(Duration::ZERO).with_retries(1));
    let url = server.url("/x");
    bench.get(&url).await.unwrap();
    assert_eq!(bench.get(&url).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let lenient =
        bench.again(|o| o.with_max_age(Duration::ZERO).with_retries(1).with_allow_stale(true));
    let stale = get(&lenient, &url).await.unwrap();
    assert!(stale.from_cache && content(&stale) == b"first");
}

#[tokio::test]
async fn statuses_have_their_kinds() {
    for (status, kind, tries) in [
        ("401 Unauthorized", ErrorKind::Unauthenticated, 1),
        ("403 Forbidden", ErrorKind::PermissionDenied, 1),
        ("404 Not Found", ErrorKind::NotFound, 1),
        ("410 Gone", ErrorKind::NotFound, 1),
        ("400 Bad Request", ErrorKind::NotFound, 1),
        ("402 Payment Required", ErrorKind::PermissionDenied, 1),
        ("405 Method Not Allowed", ErrorKind::Unsupported, 1),
        ("408 Request Timeout", ErrorKind::Unavailable, 3),
        ("418 Teapot", ErrorKind::NotFound, 1),
        ("451 Unavailable For Legal Reasons", ErrorKind::PermissionDenied, 1),
        ("204 No Content", ErrorKind::InvalidData, 1),
        ("206 Partial Content", ErrorKind::InvalidData, 1),
        ("304 Not Modified", ErrorKind::InvalidData, 1),
        ("429 Too Many Requests", ErrorKind::Unavailable, 3),
        ("500 Internal Server Error", ErrorKind::Unavailable, 3),
        ("501 Not Implemented", ErrorKind::Unsupported, 1),
    ] {
        let server = Server::start(move |_| Reply::new(status, &[], b""));
        let error = Bench::with(|o| o.with_retries(2)).get(&server.url("/x")).await.unwrap_err();
        assert_eq!((error.kind(), server.count()), (kind, tries), "{status}: {error}");
        assert_eq!(error.operation(), Some("fetch"));
    }
}

#[tokio::test]
async fn a_login_changes_the_advice_and_not_the_kind() {
    for (status, kind) in [
        ("401 Unauthorized", ErrorKind::Unauthenticated),
        ("403 Forbidden", ErrorKind::PermissionDenied),
    ] {
        let server = Server::start(move |_| Reply::new(status, &[], b""));
        let without = Bench::new().get(&server.url("/x")).await.unwrap_err();
        let token = || Credential::Bearer(Secret::new("hush"));
        let bench = Bench::with(|o| o.with_credential(server.address.clone(), token()));
        let with = bench.get(&server.url("/x")).await.unwrap_err();
        assert_eq!((without.kind(), with.kind()), (kind, kind));
        assert!(without.hints().any(|hint| hint.contains("credentials_file")));
        assert!(!with.hints().any(|hint| hint.contains("credentials_file")));
    }
}

#[tokio::test]
async fn a_file_of_credentials_serves_downloads() {
    let server = Server::start(|request| match request.header("authorization") {
        Some("Basic bWU6aHVzaA==") => Reply::new("200 OK", &[], b"x"),
        _ => Reply::new("401 Unauthorized", &[], b""),
    });
    let bench = Bench::new();
    let path = bench.dir.path().join("credentials.json");
    let text = format!(r#"{{"auths": {{"{}": {{"auth": "bWU6aHVzaA=="}}}}}}"#, server.address);
    std::fs::write(&path, text).unwrap();
    let fetcher = bench.again(|options| options.with_credentials_file(Some(path.clone())));
    get(&fetcher, &server.url("/x")).await.unwrap();
    let missing = bench.again(|o| o.with_credentials_file(Some("/nonexistent/x".into())));
    let error = get(&missing, &server.url("/y")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.hints().any(|hint| hint.contains("credentials_file")));
}

#[tokio::test]
async fn who_cannot_be_reached_is_told_with_the_reason() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let log = Arc::new(Log::default());
    let ctx = Context::new().with_progress(log.clone());
    let source = format!("http://127.0.0.1:{port}/x").parse().unwrap();
    let error = Bench::new().fetcher.fetch(&ctx, &source, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.context_value("reason"), Some("refused"));
    assert!(error.to_string().contains("nothing answers at that port"), "{error}");
    assert!(error.hints().any(|hint| hint.contains("HTTPS_PROXY")));
    let waits = || {
        let log = log.0.lock().unwrap();
        log.iter().filter(|event| matches!(event, ProgressEvent::Message { .. })).count()
    };
    assert_eq!(waits(), 2, "two more tries, each announced");
    // RFC 6761, section 6.4: no server knows this name.
    let source = "http://server.invalid/x".parse().unwrap();
    let error = Bench::new().fetcher.fetch(&ctx, &source, None).await.unwrap_err();
    let reason = error.context_value("reason").unwrap();
    assert!(["unknown_host", "dns"].contains(&reason), "{error:?}");
    if reason == "unknown_host" {
        assert_eq!(waits(), 3, "one more try");
        assert!(error.to_string().contains("no host of that name"), "{error}");
    }
}

#[tokio::test]
async fn retry_after_is_obeyed_or_handed_on() {
    let server = Server::start(|request| match request.number {
        0 => Reply::new("429 Too Many Requests", &[("Retry-After", "1")], b""),
        _ => Reply::new("200 OK", &[], b"x"),
    });
    let began = std::time::Instant::now();
    Bench::new().get(&server.url("/x")).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1));
    let server =
        Server::start(|_| Reply::new("503 Service Unavailable", &[("Retry-After", "7200")], b""));
    let error = Bench::new().get(&server.url("/x")).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7200)));
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn a_web_page_is_no_base() {
    let page = b"<!DOCTYPE html><title>Please log in</title>";
    for kind in ["text/html; charset=utf-8", "application/octet-stream"] {
        let server = Server::start(move |_| Reply::new("200 OK", &[("Content-Type", kind)], page));
        let error = Bench::new().get(&server.url("/base.tar")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(error.to_string().contains("web page") && error.hints().count() == 1);
    }
}

#[tokio::test]
async fn a_content_encoding_is_left_as_it_is() {
    let body = b"\x1f\x8bnot even gzip";
    let server =
        Server::start(move |_| Reply::new("200 OK", &[("Content-Encoding", "gzip")], body));
    assert_eq!(content(&Bench::new().get(&server.url("/x.gz")).await.unwrap()), body);
    assert_eq!(server.requests()[0].header("accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn a_size_limit_holds_announced_or_not() {
    let server = Server::start(|request| match request.path.as_str() {
        "/announced" => Reply::cut("200 OK", &[], &[0; 2000], 0),
        _ => Reply::raw([b"HTTP/1.0 200 OK\r\n\r\n".as_slice(), &[0; 200_000]].concat()),
    });
    let bench = Bench::with(|options| options.with_max_size(1000));
    for path in ["/announced", "/endless"] {
        let error = bench.get(&server.url(path)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{path}");
    }
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn a_stalled_server_is_given_up_and_resumed() {
    let body = noise(200_000);
    let server = Server::start({
        let body = body.clone();
        move |request| match request.from() {
            None => Reply::cut("200 OK", &[TAG], &body, 50_000).then_stall(),
            Some(from) => {
                let (range, rest) = part(&body, from);
                Reply::new("206 Partial Content", &[TAG, ("Content-Range", &range)], &rest)
            }
        }
    });
    let bench = Bench::new();
    assert_eq!(content(&bench.get(&server.url("/x")).await.unwrap()), body);
    let mute = Server::start(|_| Reply::raw("").then_stall());
    let error = Bench::with(|o| o.with_retries(0)).get(&mute.url("/x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn a_context_ends_a_download_that_the_next_call_continues() {
    let body = noise(200_000);
    let server = Server::start({
        let body = body.clone();
        move |request| match request.from() {
            None => Reply::cut("200 OK", &[TAG], &body, 50_000).then_stall(),
            Some(from) => {
                let (range, rest) = part(&body, from);
                Reply::new("206 Partial Content", &[TAG, ("Content-Range", &range)], &rest)
            }
        }
    });
    let bench = Bench::with(|options| options.with_read_timeout(Duration::from_secs(20)));
    let source: Location = server.url("/x").parse().unwrap();
    let ctx = Context::new().with_timeout(Duration::from_millis(300));
    let error = bench.fetcher.fetch(&ctx, &source, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(content(&bench.get(&server.url("/x")).await.unwrap()), body);
    assert_eq!(server.requests()[1].from(), Some(50_000));

    let ctx = Context::new();
    ctx.cancel();
    let error = bench.fetcher.fetch(&ctx, &source, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[tokio::test]
async fn a_dropped_call_leaves_the_way_free() {
    let body = noise(200_000);
    let server = Server::start({
        let body = body.clone();
        move |request| match request.number {
            0 => Reply::cut("200 OK", &[TAG], &body, 50_000).then_stall(),
            _ => Reply::new("200 OK", &[TAG], &body),
        }
    });
    let bench = Bench::with(|options| options.with_read_timeout(Duration::from_secs(20)));
    let url = server.url("/x");
    tokio::time::timeout(Duration::from_millis(300), bench.get(&url)).await.unwrap_err();
    assert_eq!(content(&bench.get(&url).await.unwrap()), body);
}

#[tokio::test]
async fn callers_at_once_share_one_download() {
    let body = noise(400_000);
    let server = Server::start({
        let body = body.clone();
        move |_| {
            std::thread::sleep(Duration::from_millis(100));
            Reply::new("200 OK", &[], &body)
        }
    });
    let bench = Bench::new();
    let url = server.url("/x");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (fetcher, url) = (bench.again(|options| options), url.clone());
        tasks.spawn(async move { get(&fetcher, &url).await.unwrap() });
    }
    let all = tasks.join_all().await;
    assert_eq!(server.count(), 1);
    assert_eq!(all.iter().filter(|fetched| !fetched.from_cache).count(), 1);
}

#[tokio::test]
async fn credentials_stay_with_their_host() {
    let elsewhere = Server::start(|_| Reply::new("200 OK", &[], b"x"));
    // Another name for the same machine is another host.
    let target = elsewhere.url("/there").replace("127.0.0.1", "localhost");
    let server = Server::start(move |request| match request.header("authorization") {
        Some("Basic bWU6aHVzaA==") => Reply::new("302 Found", &[("Location", &target)], b""),
        _ => Reply::new("401 Unauthorized", &[], b""),
    });
    let login = || Credential::Basic { username: "me".into(), password: Secret::new("hush") };
    let bench = Bench::with(|options| options.with_credential(server.address.clone(), login()));
    bench.get(&server.url("/a")).await.unwrap();
    let with_login = server.url("/b").replace("http://", "http://me:hush@");
    Bench::new().get(&with_login).await.unwrap();
    for request in elsewhere.requests() {
        assert_eq!(request.header("authorization"), None);
    }
    assert_eq!(elsewhere.count(), 2);
}

#[tokio::test]
async fn redirects_end() {
    let server = Server::start(|_| Reply::new("302 Found", &[("Location", "/again")], b""));
    let error = Bench::new().get(&server.url("/x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert_eq!(server.count(), 11);
}

#[tokio::test]
async fn a_redirect_out_of_http_is_told_so() {
    let target = ("Location", "file:///etc/passwd");
    let server = Server::start(move |_| Reply::new("302 Found", &[target], b""));
    let error = Bench::new().get(&server.url("/x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().contains("redirects to file://"), "{error}");
    assert_eq!(server.count(), 1);
}

#[derive(Default)]
struct Log(Mutex<Vec<ProgressEvent>>);

impl ProgressReporter for Log {
    fn report(&self, event: ProgressEvent) {
        self.0.lock().unwrap().push(event);
    }
}

#[tokio::test]
async fn a_password_is_in_no_error_and_no_event() {
    let server = Server::start(|_| Reply::cut("200 OK", &[], &[0; 1000], 10));
    let url = server.url("/hush-free?sig=hush").replace("http://", "http://me:hush@");
    let bench = Bench::with(|options| options.with_retries(1));
    let log = Arc::new(Log::default());
    let ctx = Context::new().with_progress(log.clone());
    let error = bench.fetcher.fetch(&ctx, &url.parse().unwrap(), None).await.unwrap_err();
    let mut shown = format!("{error:?} {error} {:?}", log.0.lock().unwrap());
    let nobody = bench.get("http://me:hush@127.0.0.1:1/x?sig=hush").await.unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::Unavailable);
    shown.push_str(&format!("{nobody:?} {nobody}"));
    assert!(!shown.replace("hush-free", "").contains("hush"), "{shown}");
    assert!(shown.contains("download hush-free") && shown.contains("Message"), "{shown}");
}

#[tokio::test]
async fn a_proxy_is_asked_in_the_servers_place() {
    let proxy = Server::start(|request| match request.header("proxy-authorization") {
        Some("Basic dTpw") => Reply::new("200 OK", &[], request.path.as_bytes()),
        _ => Reply::new("407 Proxy Authentication Required", &[], b""),
    });
    let through = |login: &str| {
        let url = format!("http://{login}{}", proxy.address).parse().unwrap();
        Bench::with(move |options| options.with_proxy(ProxyChoice::Url(url::Url::clone(&url))))
    };
    let bench = through("u:p@");
    let fetched = bench.get("http://server.invalid/x").await.unwrap();
    assert_eq!(content(&fetched), b"http://server.invalid/x");
    let error = through("").get("http://server.invalid/x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
}

#[tokio::test]
async fn a_local_file_is_used_in_place() {
    let bench = Bench::new();
    let path = bench.dir.path().join("base.tar");
    std::fs::write(&path, b"local").unwrap();
    let text = path.to_str().unwrap();
    for source in [text.to_owned(), format!("file://{text}")] {
        let fetched = bench.get(&source).await.unwrap();
        assert_eq!((fetched.path.as_path(), fetched.bytes), (path.as_path(), 5));
    }
    let ctx = Context::new();
    let source = text.parse().unwrap();
    bench.fetcher.fetch(&ctx, &source, Some(&checksum(b"local"))).await.unwrap();
    let wrong = bench.fetcher.fetch(&ctx, &source, Some(&checksum(b"other"))).await;
    assert_eq!(wrong.unwrap_err().kind(), ErrorKind::InvalidData);
    assert_eq!(bench.get("/nonexistent/x").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!bench.dir.path().join("cache").exists());
}

#[tokio::test]
async fn a_bad_ca_file_is_said() {
    let bench = Bench::new();
    let ca = bench.dir.path().join("ca.pem");
    for text in ["", "not a certificate"] {
        std::fs::write(&ca, text).unwrap();
        let error =
            get(&bench.again(|o| o.with_ca_file(&ca)), "http://127.0.0.1:1/").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    }
}
