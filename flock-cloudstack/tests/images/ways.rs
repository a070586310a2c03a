//! The ways in which the bytes get there.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use flock_cloudstack::image_builder::{PutUpload, ServeUpload, TemplateOptions, Upload, UrlUpload};
use flock_core::image_builder::{ImageBuilder as _, ImageStatus};
use flock_core::{Context, Error, ErrorKind};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use url::Url;

use crate::place::{Place, listening};

type Files = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// A web server that takes files and gives them out again.
async fn web() -> (Url, Files) {
    async fn answer(State(files): State<Files>, request: Request) -> Response {
        let path = request.uri().path().to_owned();
        let method = request.method().clone();
        if method == Method::PUT {
            let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
            files.lock().unwrap().insert(path, body);
            return StatusCode::CREATED.into_response();
        }
        match files.lock().unwrap().get(&path) {
            Some(file) => ([(header::ACCEPT_RANGES, "none")], file.clone()).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        }
    }
    let files = Files::default();
    let router = Router::new().fallback(answer).with_state(Arc::clone(&files));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/images", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, files)
}

#[tokio::test]
async fn an_appliance_is_uploaded_directly() {
    let place = Place::new().await;
    let (ctx, heard) = listening();
    let spec = place.spec("v1");
    let image = place.builder().build(&ctx, &spec).await.unwrap();
    assert_eq!(image.status, ImageStatus::Ready);
    assert_eq!(image.details["hypervisor"], "LXC");
    assert_eq!(image.details["os_type"], "Debian GNU/Linux 12 (64-bit)");
    assert_eq!(image.details["zone.zone-1"], "Download Complete");
    place.expect(&[("web:v1", "zone-1")]);
    let heard = heard.lock().unwrap();
    for wanted in ["sum up ", "upload ", "wait for web:v1 in zone-1", "CloudStack has not tested"] {
        assert!(heard.iter().any(|text| text.starts_with(wanted)), "{wanted}: {heard:?}");
    }
}

#[tokio::test]
async fn an_appliance_is_put_on_a_web_server() {
    let place = Place::new().await;
    let (url, files) = web().await;
    for (version, versioned, path) in
        [("v1", false, "/images/web/web.tar"), ("v2", true, "/images/web/web-v2.tar")]
    {
        let put = PutUpload::new(url.clone()).with_versioned(versioned);
        let options = TemplateOptions::new().with_upload(Upload::Put(put));
        let options = options.with_zones(["zone-1"]).with_os_type(crate::place::OS_TYPE);
        let builder = place.builder().with_options(options);
        builder.build(&Context::new(), &place.spec(version)).await.unwrap();
        assert_eq!(files.lock().unwrap()[path], place.bytes);
    }
    place.expect(&[("web:v1", "zone-1"), ("web:v2", "zone-1")]);
}

/// What is sent under the request of its content is summed up on the way; only
/// where a template of that name is there, that is found out first.
#[tokio::test]
async fn content_is_its_own_request() {
    let place = Place::new().await;
    let (url, files) = web().await;
    let options = TemplateOptions::new()
        .with_upload(Upload::Put(PutUpload::new(url)))
        .with_zones(["zone-1"])
        .with_os_type(crate::place::OS_TYPE);
    let source = place.spec("v1").source;
    let build = async |force: bool| {
        let (ctx, heard) = listening();
        let builder = place.builder().with_options(options.clone().with_force(force));
        let built = builder.build_content(&ctx, "web", "v1", &source).await;
        let heard = heard.lock().unwrap();
        let did = ["sum up ", "upload "].map(|begin| heard.iter().any(|it| it.starts_with(begin)));
        (built, did)
    };
    let (first, did) = build(false).await;
    let first = first.unwrap();
    assert_eq!(did, [false, true]);
    assert_eq!(files.lock().unwrap()["/images/web/web.tar"], place.bytes);
    let sum: String = Sha256::digest(&place.bytes).iter().map(|b| format!("{b:02x}")).collect();
    let request = place.builder().request("web", "v1", &format!("sha256:{sum}"));
    assert_eq!(first.owner.request, request);
    place.expect(&[("web:v1", "zone-1")]);

    let (again, did) = build(false).await;
    assert_eq!(again.unwrap().id, first.id);
    assert_eq!(did, [true, false]);

    std::fs::write(&place.tar, crate::place::archive(1_000)).unwrap();
    let (other, did) = build(false).await;
    assert_eq!(other.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(did, [true, false]);
    let (forced, did) = build(true).await;
    assert_ne!(forced.unwrap().id, first.id);
    assert_eq!(did, [false, true]);
    assert_eq!(place.simulator.templates().len(), 1);
}

#[tokio::test]
async fn an_appliance_is_served_to_several_zones() {
    let place = Place::with(crate::place::quick().with_zones([
        flock_cloudstack::simulator::ZoneOptions::new("zone-1"),
        flock_cloudstack::simulator::ZoneOptions::new("zone-2"),
    ]))
    .await;
    let listen = "127.0.0.1:0".parse().unwrap();
    let serve = ServeUpload::new(listen, "http://127.0.0.1/".parse().unwrap());
    let options = TemplateOptions::new()
        .with_upload(Upload::Serve(serve))
        .with_zones(["zone-1", "zone-2"])
        .with_os_type(crate::place::OS_TYPE);
    let builder = place.builder().with_options(options);
    let image = builder.build(&Context::new(), &place.spec("v1")).await.unwrap();
    assert_eq!(image.details["zone.zone-2"], "Download Complete");
    place.expect(&[("web:v1", "zone-1"), ("web:v1", "zone-2")]);
    assert_eq!(place.asked("registerTemplate"), 1);
    assert_eq!(place.asked("copyTemplate"), 0);
}

#[tokio::test]
async fn a_direct_upload_is_copied_to_further_zones() {
    let two = ["zone-1", "zone-2"].map(flock_cloudstack::simulator::ZoneOptions::new);
    let place = Place::with(crate::place::quick().with_zones(two)).await;
    let spec = place.spec("v1").with_option("zones", "all");
    place.build(&spec).await.unwrap();
    place.expect(&[("web:v1", "zone-1"), ("web:v1", "zone-2")]);
    assert_eq!(place.asked("copyTemplate"), 1);
    // Later, further zones are caught up with.
    let first = place.spec("v2");
    let image = place.build(&first).await.unwrap();
    let again = first.with_option("zones", vec!["zone-1", "zone-2"]);
    assert_eq!(place.build(&again).await.unwrap().id, image.id);
    assert_eq!(place.simulator.templates().len(), 4);
}

#[tokio::test]
async fn an_appliance_may_be_somewhere_already() {
    let place = Place::new().await;
    let (url, files) = web().await;
    files.lock().unwrap().insert("/images/web.tar".to_owned(), place.bytes.clone().into());
    let upload = |path: &str| {
        let mut at = url.clone();
        at.set_path(path);
        let options = TemplateOptions::new().with_upload(Upload::Url(UrlUpload::new(at)));
        let options = options.with_zones(["zone-1"]).with_os_type(crate::place::OS_TYPE);
        place.builder().with_options(options)
    };
    let ctx = Context::new();
    upload("/images/web.tar").build(&ctx, &place.spec("v1")).await.unwrap();
    place.expect(&[("web:v1", "zone-1")]);
    let refused = upload("/images/web.tgz").build(&ctx, &place.spec("v2")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidConfig);
    assert_eq!(place.asked("registerTemplate"), 1);
    let gone = upload("/images/none.tar").build(&ctx, &place.spec("v2")).await;
    let error: Error = gone.unwrap_err();
    assert!(error.context_value("image").is_some() || error.hints().count() > 0, "{error:?}");
}

#[tokio::test]
async fn nobody_need_wait() {
    let options = crate::place::quick().with_install_time(Duration::from_millis(300));
    let place = Place::with(options).await;
    let spec = place.spec("v1").with_option("wait", false);
    let image = place.build(&spec).await.unwrap();
    assert_eq!(image.status, ImageStatus::Building);
    let ready = place.builder().wait(&Context::new(), &image.id).await.unwrap();
    assert_eq!(ready.status, ImageStatus::Ready);
    place.expect(&[("web:v1", "zone-1")]);
}
