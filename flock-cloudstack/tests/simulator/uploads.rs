//! Templates that are uploaded.

use std::time::Duration;

use flock_cloudstack::simulator::{Fault, SimulatorOptions, UPLOAD};
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::client::{Api, fresh, start};
use crate::templates::{os_type, settled};
use crate::web::{gzip, sha256, tar};

/// An upload that was announced.
struct Announced {
    id: String,
    url: String,
    headers: HeaderMap,
}

async fn announce(api: &Api, name: &str) -> Announced {
    let (zone, os_type) = (api.zone().await, os_type(api).await);
    let all = [
        ("name", name),
        ("displaytext", name),
        ("format", "TAR"),
        ("hypervisor", "LXC"),
        ("zoneid", &zone),
        ("ostypeid", &os_type),
    ];
    let reply = api.call("getUploadParamsForTemplate", &all).await;
    assert_eq!((reply.status, reply.envelope.as_str()), (200, "postuploadtemplateresponse"));
    let given = &reply.body["getuploadparams"];
    let text = |name: &str| given[name].as_str().unwrap().to_owned();
    let mut headers = HeaderMap::new();
    for (header, name) in
        [("X-signature", "signature"), ("X-metadata", "metadata"), ("X-expires", "expires")]
    {
        headers.insert(header, text(name).parse().unwrap());
    }
    Announced { id: text("id"), url: text("postURL"), headers }
}

/// A form with one file of this name.
fn form(name: &str, file: &[u8]) -> Vec<u8> {
    let mut body = format!(
        "--frontier\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(file);
    body.extend_from_slice(b"\r\n--frontier--\r\n");
    body
}

impl Announced {
    async fn post(&self, api: &Api, body: Vec<u8>) -> (u16, String) {
        self.try_post(api, body).await.unwrap()
    }

    async fn try_post(&self, api: &Api, body: Vec<u8>) -> Result<(u16, String), reqwest::Error> {
        let request = api.http.post(&self.url).headers(self.headers.clone());
        let request =
            request.header("Content-Type", "multipart/form-data; boundary=frontier").body(body);
        let response = request.send().await?;
        Ok((response.status().as_u16(), response.text().await?))
    }
}

async fn status(api: &Api, id: &str) -> Value {
    let filter = [("templatefilter", "self"), ("id", id)];
    api.ok("listTemplates", &filter).await["template"][0]["status"].clone()
}

#[tokio::test]
async fn an_upload_becomes_a_template() {
    let (simulator, api) = fresh().await;
    let announced = announce(&api, "app:1").await;
    assert_eq!(status(&api, &announced.id).await, "NotUploaded");
    let file = gzip(&tar(3_000_000));
    let reply = announced.post(&api, form("app.tar.gz", &file)).await;
    assert_eq!(reply, (200, "upload successful.".to_owned()));
    let done = settled(&api, &announced.id).await.remove(0);
    assert_eq!((&done["isready"], &done["status"]), (&true.into(), &"Download Complete".into()));
    let held = simulator.templates().remove(0);
    assert_eq!((held.physical_size, held.sha256), (file.len() as u64, Some(sha256(&file))));
    let again = announced.post(&api, form("app.tar.gz", &file)).await;
    assert_eq!(again, (400, "one time post url is already used".to_owned()));
    api.deployed("a", &[("templateid", &announced.id)]).await;
    assert_eq!(simulator.requests().of(UPLOAD), 2);
}

#[tokio::test]
async fn only_what_was_signed_is_taken() {
    let (_simulator, api) = fresh().await;
    let good = announce(&api, "app:1").await;
    let file = form("app.tar", &tar(10));
    for (header, value) in
        [("X-signature", "AAAA"), ("X-metadata", "AAAA"), ("X-expires", "2999-01-01T00:00:00+0000")]
    {
        let mut headers = good.headers.clone();
        headers.insert(header, value.parse().unwrap());
        let wrong = Announced { id: good.id.clone(), url: good.url.clone(), headers };
        let (code, text) = wrong.post(&api, file.clone()).await;
        assert_eq!((code, text.as_str()), (400, "signature validation failed"), "{header}");
    }
    let url = good.url.replace("127.0.0.1", "localhost");
    let elsewhere = Announced { id: good.id.clone(), url, headers: good.headers.clone() };
    assert_eq!(elsewhere.post(&api, file.clone()).await.0, 400);
    // None of that used it up.
    assert_eq!(good.post(&api, file).await.0, 200);
}

#[tokio::test]
async fn what_is_no_such_file_is_refused() {
    let (_simulator, api) = fresh().await;
    let no_file = b"--frontier\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n\
                    --frontier--\r\n";
    for (body, code) in [
        (form("app.tgz", &gzip(&tar(10))), 400),
        (form("app.vhd", &tar(10)), 400),
        (form("app.tar", &gzip(&tar(10))), 400),
        (form("app.tar.gz", &tar(10)), 400),
        (form("app.tar", b""), 400),
        (no_file.to_vec(), 422),
    ] {
        let announced = announce(&api, "app:1").await;
        let (found, text) = announced.post(&api, body).await;
        assert_eq!(found, code, "{text}");
        let end = settled(&api, &announced.id).await.remove(0);
        assert_eq!(end["downloaddetails"][0]["downloadState"], "UPLOAD_ERROR", "{end}");
        assert_eq!(end["isready"], false);
    }
}

#[tokio::test]
async fn the_length_must_be_known_and_not_too_much() {
    let (_simulator, api) = start(SimulatorOptions::new().with_max_template_size(100_000)).await;
    let announced = announce(&api, "app:1").await;
    let chunked = axum_stream(form("app.tar", &tar(10)));
    let request = api.http.post(&announced.url).headers(announced.headers.clone());
    let request = request.header("Content-Type", "multipart/form-data; boundary=frontier");
    let response = request.body(chunked).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 400);
    assert!(response.text().await.unwrap().contains("content length"));
    let (code, text) = announced.post(&api, form("app.tar", &tar(200_000))).await;
    assert_eq!(code, 400);
    assert!(text.contains("exceeds"), "{text}");
}

/// A body whose length is not told.
fn axum_stream(bytes: Vec<u8>) -> reqwest::Body {
    reqwest::Body::wrap(Unsized(Some(bytes.into())))
}

struct Unsized(Option<axum::body::Bytes>);

impl axum::body::HttpBody for Unsized {
    type Data = axum::body::Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        std::task::Poll::Ready(self.0.take().map(|bytes| Ok(hyper::body::Frame::data(bytes))))
    }
}

#[tokio::test]
async fn what_does_not_come_in_time_is_abandoned() {
    let options = SimulatorOptions::new().with_upload_timeout(Duration::from_millis(50));
    let (_simulator, api) = start(options).await;
    let announced = announce(&api, "app:1").await;
    assert_eq!(settled(&api, &announced.id).await[0]["status"], "UploadAbandoned");
    assert_eq!(announced.post(&api, form("app.tar", &tar(10))).await.0, 400);
}

#[tokio::test]
async fn an_upload_can_be_cut_at_any_byte() {
    let (simulator, api) = fresh().await;
    let file = tar(200_000);
    for after in [0, 1, 511, 100_000, 201_000] {
        simulator.faults().once(UPLOAD, Fault::CutUpload { after });
        let announced = announce(&api, "app:1").await;
        assert!(announced.try_post(&api, form("app.tar", &file)).await.is_err(), "{after}");
        let end = settled(&api, &announced.id).await.remove(0);
        assert_eq!((&end["isready"], &end["status"]), (&false.into(), &"Stream closed".into()));
        assert_eq!(announced.post(&api, form("app.tar", &file)).await.0, 400);
    }
}

/// The client, not the server, breaks the connection.
#[tokio::test]
async fn a_client_that_goes_leaves_an_error() {
    use tokio::io::AsyncWriteExt as _;

    let (_simulator, api) = fresh().await;
    let announced = announce(&api, "app:1").await;
    let body = form("app.tar", &tar(200_000));
    let rest = announced.url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut head = format!(
        "POST /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\
         Content-Type: multipart/form-data; boundary=frontier\r\n",
        body.len()
    );
    for (name, value) in &announced.headers {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    stream.write_all(&body[..100_000]).await.unwrap();
    drop(stream);
    let end = settled(&api, &announced.id).await.remove(0);
    assert_eq!((&end["isready"], &end["status"]), (&false.into(), &"Stream closed".into()));
}

#[tokio::test]
async fn uploads_meet_faults() {
    let (simulator, api) = fresh().await;
    let file = form("app.tar", &tar(10));
    simulator.faults().once(UPLOAD, Fault::Proxy { status: 502, effect: false });
    let first = announce(&api, "app:1").await;
    let (code, text) = first.post(&api, file.clone()).await;
    assert_eq!((code, text.contains("<html>")), (502, true));
    assert_eq!(first.post(&api, file.clone()).await.0, 200);
    simulator.faults().once(UPLOAD, Fault::LoseReply);
    let second = announce(&api, "app:2").await;
    assert!(second.try_post(&api, file).await.is_err());
    assert_eq!(settled(&api, &second.id).await[0]["isready"], true);
}
