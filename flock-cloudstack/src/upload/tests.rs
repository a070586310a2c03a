//! Uploads to servers that behave, and to some that do not.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use flock_core::image_builder::ApplianceFormat;
use flock_core::rootfs::checksum::Checksum;
use flock_core::secret::{Secret, SecretSource};
use flock_core::{Context, ErrorKind, Result};
use reqwest::header::{HeaderMap, RANGE};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use super::*;
use crate::api::UploadParams;
use crate::image_builder::{Appliance, DirectUpload, PutUpload, ServeUpload};

/// What a server does with a request that has a body.
#[derive(Debug, Clone, Default)]
struct Manner {
    /// The connection is closed after so many bytes of the body, once.
    cut_after: Option<usize>,
    /// What arrived of a body that was cut is kept.
    keeps: bool,
    /// Parts are put where they belong; otherwise they are refused.
    takes_parts: bool,
    /// The status for bodies, where it is not 201.
    status: Option<u16>,
    /// What is said with it.
    says: &'static str,
    /// The login wanted.
    login: Option<&'static str>,
    /// HEAD tells the checksum.
    tells_checksum: bool,
    /// What is stored is cut off here.
    loses_after: Option<usize>,
}

#[derive(Debug, Clone, Default)]
struct Asked {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// A web server that stores what it gets, by path.
#[derive(Clone)]
struct Web {
    url: Url,
    manner: Arc<Mutex<Manner>>,
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Web {
    async fn new(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/up", listener.local_addr().unwrap()).parse().unwrap();
        let web = Self {
            url,
            manner: Arc::new(Mutex::new(manner)),
            files: Arc::default(),
            asked: Arc::default(),
        };
        let server = web.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move { server.serve(BufReader::new(stream)).await });
            }
        });
        web
    }

    fn asked(&self, method: &str) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.method == method).cloned().collect()
    }

    async fn serve(&self, mut stream: BufReader<TcpStream>) -> Option<()> {
        loop {
            let mut asked = head(&mut stream).await?;
            let length: usize =
                asked.headers.get("content-length").map_or(0, |l| l.parse().unwrap());
            let manner = self.manner.lock().unwrap().clone();
            let cut = manner.cut_after.filter(|_| length > 0);
            let mut body = vec![0; cut.unwrap_or(length)];
            stream.read_exact(&mut body).await.ok()?;
            asked.body = body;
            let answer = self.answer(&asked, &manner, cut.is_some());
            self.asked.lock().unwrap().push(asked);
            if cut.is_some() {
                self.manner.lock().unwrap().cut_after = None;
                return None;
            }
            stream.write_all(answer.as_bytes()).await.ok()?;
        }
    }

    fn answer(&self, asked: &Asked, manner: &Manner, is_cut: bool) -> String {
        let mut files = self.files.lock().unwrap();
        let header = |name: &str| asked.headers.get(name).map(String::as_str);
        if manner.login.is_some() && header("authorization") != manner.login {
            return reply(401, &[], "");
        }
        if asked.method == "HEAD" {
            let Some(file) = files.get(&asked.path) else { return reply(404, &[], "") };
            let mut headers = vec![("Content-Length", file.len().to_string())];
            if manner.tells_checksum {
                headers.push(("X-Checksum-Sha256", sum(file).hex()));
            }
            return reply(200, &headers, "");
        }
        if let Some(status) = manner.status {
            return reply(status, &[], manner.says);
        }
        let part = header("content-range").map(|range| {
            let first = range.strip_prefix("bytes ").unwrap().split('-').next().unwrap();
            first.parse::<usize>().unwrap()
        });
        match part {
            Some(_) if !manner.takes_parts => return reply(501, &[], ""),
            Some(first) => {
                let file = files.entry(asked.path.clone()).or_default();
                file.truncate(first);
                file.extend_from_slice(&asked.body);
            }
            None if is_cut && !manner.keeps => {}
            None => {
                let kept = manner.loses_after.unwrap_or(asked.body.len());
                files.insert(asked.path.clone(), asked.body[..kept].to_vec());
            }
        }
        reply(201, &[], "")
    }
}

fn reply(status: u16, headers: &[(&str, String)], body: &str) -> String {
    let mut text = format!("HTTP/1.1 {status} x\r\n");
    if !headers.iter().any(|(name, _)| *name == "Content-Length") {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    headers.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
    format!("{text}\r\n{body}")
}

/// The head of a request.
async fn head(stream: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut words = lines.first()?.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let headers = lines[1..].iter().filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Some(Asked { method, path, headers, body: Vec::new() })
}

fn sum(bytes: &[u8]) -> Checksum {
    Checksum::from_bytes(Sha256::digest(bytes).into())
}

/// An appliance of some size, a multiple of nothing but a tar's blocks.
fn appliance(dir: &Path) -> (Appliance, Vec<u8>) {
    let mut bytes: Vec<u8> = (0..2411 * 512_u32).map(|n| (n % 251) as u8).collect();
    bytes.extend([0; 1024]);
    bytes[257..262].copy_from_slice(b"ustar");
    let path = dir.join("web.tar");
    std::fs::write(&path, &bytes).unwrap();
    (Appliance::open(&path, ApplianceFormat::Tar, &Context::new()).unwrap(), bytes)
}

struct Place {
    _dir: tempfile::TempDir,
    appliance: Appliance,
    bytes: Vec<u8>,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let (appliance, bytes) = appliance(dir.path());
    Place { _dir: dir, appliance, bytes }
}

const FILE: &str = "/up/web/web.tar";

async fn put(web: &Web, place: &Place, options: &PutUpload) -> Result<Option<Checksum>> {
    let target = below(&options.upload_url, "web", "web.tar");
    let display = options.display_url.as_ref().unwrap_or(&web.url);
    let display = below(display, "web", "web.tar");
    let ctx = Context::new();
    Put { ctx: &ctx, appliance: &place.appliance, upload: options, target, display }.run(true).await
}

#[tokio::test]
async fn a_file_is_put_whole_with_its_length() {
    let (web, place) = (Web::new(Manner::default()).await, place());
    let sum_sent = put(&web, &place, &PutUpload::new(web.url.clone())).await.unwrap();
    assert_eq!(sum_sent, Some(sum(&place.bytes)));
    assert_eq!(web.files.lock().unwrap()[FILE], place.bytes);
    let sent = &web.asked("PUT")[0];
    assert_eq!(sent.headers["content-length"], place.bytes.len().to_string());
    assert!(!sent.headers.contains_key("transfer-encoding"));
}

#[tokio::test]
async fn what_is_there_already_is_not_sent_again() {
    let (web, place) = (Web::new(Manner::default()).await, place());
    let options = PutUpload::new(web.url.clone());
    put(&web, &place, &options).await.unwrap();
    // The same length says nothing.
    put(&web, &place, &options).await.unwrap();
    assert_eq!(web.asked("PUT").len(), 2);
    web.manner.lock().unwrap().tells_checksum = true;
    let sum_found = put(&web, &place, &options).await.unwrap();
    assert_eq!(sum_found, Some(sum(&place.bytes)));
    assert_eq!(web.asked("PUT").len(), 2);
    web.files.lock().unwrap().get_mut(FILE).unwrap()[0] ^= 1;
    put(&web, &place, &options).await.unwrap();
    assert_eq!(web.asked("PUT").len(), 3);
}

#[tokio::test]
async fn a_cut_upload_goes_on_or_begins_anew() {
    for (keeps, takes_parts, begins) in
        [(true, true, "bytes 500000-1235455/1235456"), (true, false, ""), (false, true, "")]
    {
        let manner = Manner { cut_after: Some(500_000), keeps, takes_parts, ..Manner::default() };
        let (web, place) = (Web::new(manner).await, place());
        let sum_sent = put(&web, &place, &PutUpload::new(web.url.clone())).await.unwrap();
        assert_eq!(sum_sent, Some(sum(&place.bytes)), "{keeps} {takes_parts}");
        assert_eq!(web.files.lock().unwrap()[FILE], place.bytes);
        let last = web.asked("PUT").pop().unwrap();
        assert_eq!(last.headers.get("content-range").map_or("", String::as_str), begins);
    }
}

#[tokio::test]
async fn a_shorter_file_of_another_version_is_not_continued() {
    let manner = Manner { cut_after: Some(500_000), takes_parts: true, ..Manner::default() };
    let (web, place) = (Web::new(manner).await, place());
    web.files.lock().unwrap().insert(FILE.to_owned(), vec![9; 400_000]);
    put(&web, &place, &PutUpload::new(web.url.clone())).await.unwrap();
    assert_eq!(web.files.lock().unwrap()[FILE], place.bytes);
}

#[tokio::test]
async fn a_login_is_sent_and_asked_for() {
    let manner = Manner { login: Some("Basic bWU6aHVzaA=="), ..Manner::default() };
    let (web, place) = (Web::new(manner).await, place());
    let plain = PutUpload::new(web.url.clone());
    let refused = put(&web, &place, &plain).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unauthenticated);
    assert_eq!(web.asked("PUT").len(), 0, "nothing is sent that is refused");
    let secret = SecretSource::Value(Secret::new("hush"));
    put(&web, &place, &plain.with_login(Some("me".to_owned()), secret)).await.unwrap();
    let mut url = web.url.clone();
    url.set_username("me").unwrap();
    url.set_password(Some("hush")).unwrap();
    put(&web, &place, &PutUpload::new(url)).await.unwrap();
}

#[tokio::test]
async fn refusals_have_their_kind_and_are_not_repeated() {
    for (status, kind) in [
        (301, ErrorKind::InvalidConfig),
        (403, ErrorKind::PermissionDenied),
        (404, ErrorKind::NotFound),
        (405, ErrorKind::Unsupported),
        (409, ErrorKind::NotFound),
        (413, ErrorKind::QuotaExceeded),
        (507, ErrorKind::QuotaExceeded),
    ] {
        let manner = Manner { status: Some(status), says: "no", ..Manner::default() };
        let (web, place) = (Web::new(manner).await, place());
        let error = put(&web, &place, &PutUpload::new(web.url.clone())).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{status}");
        assert!(error.to_string().contains(": no"), "{error}");
        assert_eq!(web.asked("PUT").len(), 1, "{status}");
    }
}

#[tokio::test]
async fn what_is_stored_is_looked_at() {
    let manner = Manner { loses_after: Some(1000), ..Manner::default() };
    let (web, place) = (Web::new(manner).await, place());
    let error = put(&web, &place, &PutUpload::new(web.url.clone())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);

    let (web, other) = (Web::new(Manner::default()).await, Web::new(Manner::default()).await);
    let options = PutUpload::new(web.url.clone()).with_display_url(other.url.clone());
    let error = put(&web, &place, &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    // One that cannot be seen from here may well be seen by the cloud.
    let unseen = "http://127.0.0.1:1/up".parse().unwrap();
    put(&web, &place, &PutUpload::new(web.url.clone()).with_display_url(unseen)).await.unwrap();
}

#[tokio::test]
async fn a_cancelled_upload_ends() {
    let (web, place) = (Web::new(Manner::default()).await, place());
    let ctx = Context::new();
    ctx.cancel();
    let (target, display) = (web.url.clone(), web.url.clone());
    let upload = &PutUpload::new(web.url.clone());
    let put = Put { ctx: &ctx, appliance: &place.appliance, upload, target, display };
    assert_eq!(put.run(false).await.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(web.asked("PUT").len(), 0);
}

async fn direct(web: &Web, place: &Place) -> Result<Sent> {
    let params: UploadParams = serde_json::from_value(serde_json::json!({
        "id": "7", "postURL": format!("{}load/7", web.url), "metadata": "meta+/=",
        "expires": "2026-01-01T00:00:00.000+00:00", "signature": "sign+/=",
    }))
    .unwrap();
    let options = DirectUpload::default();
    let file_name = "web-1.tar".to_owned();
    let ctx = Context::new();
    Direct { ctx: &ctx, appliance: &place.appliance, options: &options, params: &params, file_name }
        .run()
        .await
}

#[tokio::test]
async fn a_direct_upload_is_one_file_in_a_form() {
    let (web, place) = (Web::new(Manner::default()).await, place());
    assert!(matches!(direct(&web, &place).await.unwrap(), Sent::Accepted));
    let sent = &web.asked("POST")[0];
    assert_eq!(sent.path, "/upload/7");
    for (name, value) in [
        ("x-signature", "sign+/="),
        ("x-metadata", "meta+/="),
        ("x-expires", "2026-01-01T00:00:00.000+00:00"),
    ] {
        assert_eq!(sent.headers[name], value);
    }
    assert_eq!(sent.headers["content-length"], sent.body.len().to_string());
    let boundary = sent.headers["content-type"].strip_prefix("multipart/form-data; boundary=");
    let boundary = boundary.unwrap();
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; \
         filename=\"web-1.tar\"\r\nContent-Type: application/octet-stream\r\n\r\n"
    );
    let wanted =
        [head.as_bytes(), &place.bytes, format!("\r\n--{boundary}--\r\n").as_bytes()].concat();
    assert!(sent.body == wanted);
}

#[tokio::test]
async fn a_direct_upload_that_breaks_may_be_begun_anew() {
    let manner = Manner { cut_after: Some(300_000), ..Manner::default() };
    let (web, place) = (Web::new(manner).await, place());
    match direct(&web, &place).await {
        Err(error) => assert!(error.is_retryable(), "{error}"),
        // All of it was on its way already.
        Ok(Sent::Unknown(error)) => assert!(error.is_retryable(), "{error}"),
        Ok(Sent::Accepted) => panic!("accepted"),
    }
    let manner =
        Manner { status: Some(400), says: "request not valid anymore.", ..Manner::default() };
    let web = Web::new(manner).await;
    let error = direct(&web, &place).await.unwrap_err();
    assert!(error.is_retryable());
}

#[tokio::test]
async fn an_appliance_is_served_whole_and_in_parts() {
    let place = place();
    let options = ServeUpload::new(
        "127.0.0.1:0".parse().unwrap(),
        "http://127.0.0.1/images".parse().unwrap(),
    );
    let ctx = Context::new();
    let server =
        Server::start(&ctx, &options, &place.appliance, "t0ken", "web 1.tar").await.unwrap();
    assert!(server.url.path().ends_with("/images/t0ken/web%201.tar"));
    let http = reqwest::Client::new();
    let head = http.head(server.url.clone()).send().await.unwrap();
    let text = |headers: &HeaderMap, name: &str| headers[name].to_str().unwrap().to_owned();
    assert_eq!(text(head.headers(), "content-length"), place.bytes.len().to_string());
    assert_eq!(text(head.headers(), "accept-ranges"), "bytes");
    let all = http.get(server.url.clone()).send().await.unwrap();
    assert_eq!(text(all.headers(), "content-length"), place.bytes.len().to_string());
    assert!(all.bytes().await.unwrap() == place.bytes);
    let part = http.get(server.url.clone()).header(RANGE, "bytes=1000000-").send().await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(text(part.headers(), "content-range"), "bytes 1000000-1235455/1235456");
    assert!(part.bytes().await.unwrap() == place.bytes[1_000_000..]);
    let beyond = http.get(server.url.clone()).header(RANGE, "bytes=9999999-").send().await.unwrap();
    assert_eq!(beyond.status(), 416);
    let mut guessed = server.url.clone();
    guessed.set_path("/images/other/web%201.tar");
    assert_eq!(http.get(guessed).send().await.unwrap().status(), 404);
    assert_eq!(http.post(server.url.clone()).send().await.unwrap().status(), 405);
}

#[tokio::test]
async fn what_changes_is_served_no_longer() {
    let place = place();
    let options =
        ServeUpload::new("127.0.0.1:0".parse().unwrap(), "http://127.0.0.1/".parse().unwrap());
    let ctx = Context::new();
    let server = Server::start(&ctx, &options, &place.appliance, "t", "web.tar").await.unwrap();
    std::fs::write(&place.appliance.path, b"shorter").unwrap();
    assert_eq!(reqwest::get(server.url.clone()).await.unwrap().status(), 410);
    let elsewhere = ServeUpload::new("192.0.2.1:0".parse().unwrap(), "http://h/".parse().unwrap());
    let refused = Server::start(&ctx, &elsewhere, &place.appliance, "t", "web.tar");
    assert_eq!(refused.await.unwrap_err().kind(), ErrorKind::InvalidConfig);
}
