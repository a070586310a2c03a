//! Appliances on their way to nginx, and to curl.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flock_cloudstack::CloudStackConfig;
use flock_cloudstack::image_builder::{PutUpload, ServeUpload, Upload};
use flock_cloudstack::simulator::{Simulator, SimulatorOptions};
use flock_core::conformance::Suite;
use flock_core::image_builder::ImageBuilder as _;
use flock_core::secret::{Secret, SecretSource};
use flock_core::{Context, ErrorKind, Result};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::programs::{Daemon, command, free_port, nginx, program};
use crate::support::{Answer, Server, all_of};
use crate::{archive, builder, passes, spec, surroundings, url};

/// PUT as nginx takes it (`ngx_http_dav_module`).
pub(crate) fn put() -> Suite {
    Suite::new("put")
        .test("nginx_takes_what_the_cloud_then_fetches", || passes(nginx_takes()))
        .test("nginx_asks_for_a_login", || passes(nginx_asks()))
        .test("nginx_gets_all_of_it_after_a_cut", || passes(nginx_after_a_cut()))
        .test("nginx_says_what_is_too_large", || passes(nginx_refuses()))
        .with_service(program("nginx"))
}

/// Ranges as curl asks for them.
pub(crate) fn serve() -> Suite {
    Suite::new("serve")
        .test("curl_fetches_and_goes_on", || passes(curl_fetches()))
        .with_service(program("curl"))
}

/// nginx with a directory that takes files, and a cloud that fetches them.
struct Place {
    dir: TempDir,
    simulator: Simulator,
    port: u16,
    _nginx: Daemon,
}

impl Place {
    /// With these settings for the directory.
    async fn new(more: &str) -> Self {
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        fs::write(dir.path().join("users"), "me:{PLAIN}hush\n").unwrap();
        let place = dir.path().display();
        let server = format!(
            "server {{ listen 127.0.0.1:{port}; root {place};\n\
             location /files {{ dav_methods PUT; create_full_put_path on; {more} }} }}"
        );
        let nginx = nginx(dir.path(), &server, &[port]);
        let simulator = Simulator::start(SimulatorOptions::new()).await.unwrap();
        Self { dir, simulator, port, _nginx: nginx }
    }

    fn target(&self) -> PutUpload {
        PutUpload::new(url(&format!("http://127.0.0.1:{}/files", self.port)))
    }

    async fn build(&self, put: PutUpload) -> Result<()> {
        let (key, secret) = (self.simulator.api_key(), self.simulator.secret_key().clone());
        let config = CloudStackConfig::new(url(self.simulator.url()), key, secret);
        let (tar, _) = archive(self.dir.path());
        builder(config, Upload::Put(put)).build(&Context::new(), &spec(&tar)).await.map(drop)
    }

    fn stored(&self) -> Option<Vec<u8>> {
        fs::read(self.dir.path().join("files/web/web.tar")).ok()
    }

    /// Fails unless nginx has the archive, and the cloud a template of it.
    fn expect_all(&self) {
        let (_, bytes) = archive(self.dir.path());
        assert!(self.stored() == Some(bytes), "nginx has stored something else");
        let held = self.simulator.templates();
        assert!(held.len() == 1 && held[0].ready, "{held:?}");
    }
}

async fn nginx_takes() {
    let place = Place::new("").await;
    place.build(place.target()).await.unwrap();
    place.expect_all();
}

async fn nginx_asks() {
    let login = "limit_except GET { auth_basic x; auth_basic_user_file users; }";
    let place = Place::new(login).await;
    let secret = |text| SecretSource::Value(Secret::new(text));
    let wrong = place.target().with_login(Some("me".to_owned()), secret("hushed"));
    for (put, advice) in [(place.target(), "give a login"), (wrong, "check the login")] {
        let refused = place.build(put).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unauthenticated, "{refused:?}");
        assert!(refused.hints().any(|hint| hint.contains(advice)), "{refused:?}");
        assert!(!all_of(&refused).contains("hush"), "{refused:?}");
        assert_eq!(place.stored(), None);
    }
    let put = place.target().with_login(Some("me".to_owned()), secret("hush"));
    place.build(put).await.unwrap();
    place.expect_all();
}

/// nginx keeps nothing of an upload that broke, and takes no parts.
async fn nginx_after_a_cut() {
    let place = Place::new("").await;
    let (port, was_cut) = cutting(place.port, 100_000).await;
    let put = PutUpload::new(url(&format!("http://127.0.0.1:{port}/files")));
    place.build(put).await.unwrap();
    assert!(was_cut.load(Ordering::SeqCst));
    place.expect_all();
}

async fn nginx_refuses() {
    let place = Place::new("client_max_body_size 100k;").await;
    let refused = place.build(place.target()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::QuotaExceeded, "{refused:?}");
    assert_eq!(place.stored(), None);
    assert!(place.simulator.templates().is_empty());
}

/// A way to a port on which the first connection that carries so many bytes
/// is cut off.
async fn cutting(to: u16, after: usize) -> (u16, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, was_cut) = (listener.local_addr().unwrap().port(), Arc::<AtomicBool>::default());
    let cut = Arc::clone(&was_cut);
    tokio::spawn(async move {
        while let Ok((from, _)) = listener.accept().await {
            let to = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
            tokio::spawn(forward(from, to, after, Arc::clone(&cut)));
        }
    });
    (port, was_cut)
}

async fn forward(from: TcpStream, to: TcpStream, after: usize, was_cut: Arc<AtomicBool>) {
    let ((mut read, mut write), (mut back, mut forth)) = (from.into_split(), to.into_split());
    let answers = tokio::spawn(async move { tokio::io::copy(&mut back, &mut write).await });
    let (mut sent, mut chunk) = (0, vec![0; 16 << 10]);
    while let Ok(length @ 1..) = read.read(&mut chunk).await {
        sent += length;
        if sent > after && !was_cut.swap(true, Ordering::SeqCst) {
            answers.abort();
            return;
        }
        if forth.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}

/// A template is registered and never gets ready; meanwhile curl fetches it.
async fn curl_fetches() {
    let dir = tempfile::tempdir().unwrap();
    let (tar, bytes) = archive(dir.path());
    let cloud = Server::new(|_, request| match request.command() {
        "registerTemplate" => Answer::ok(json!({"template": [{"id": "7", "name": "web:1"}]})),
        "listTemplates" if request.get("id") == "7" => Answer::ok(json!({
            "count": 1,
            "template": [{"id": "7", "name": "web:1", "zoneid": "z", "status": "Processing"}],
        })),
        other => surroundings(other),
    })
    .await;
    let listen = "127.0.0.1:0".parse().unwrap();
    let upload = Upload::Serve(ServeUpload::new(listen, url("http://127.0.0.1/")));
    let (builder, ctx, spec) = (builder(cloud.config(), upload), Context::new(), spec(&tar));
    let fetching = async {
        let address = registered(&cloud).await;
        for begun in [None, Some(700), Some(bytes.len() - 1)] {
            fetch(&address, dir.path(), &bytes, begun).await;
        }
    };
    tokio::select! {
        built = builder.build(&ctx, &spec) => panic!("the build ended: {built:?}"),
        () = fetching => {}
    }
}

/// The address that the cloud is told to fetch.
async fn registered(cloud: &Server) -> String {
    loop {
        let asked = cloud.requests();
        let mut asked = asked.iter().filter(|one| one.command() == "registerTemplate");
        if let Some(asked) = asked.next() {
            return asked.get("url").to_owned();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Fetches all of it, or what is missing of what has begun.
async fn fetch(address: &str, dir: &Path, bytes: &[u8], begun: Option<usize>) {
    let file = dir.join("fetched");
    let mut curl = command("curl");
    curl.args(["-sSf", "-o"]).arg(&file);
    if let Some(length) = begun {
        fs::write(&file, &bytes[..length]).unwrap();
        curl.args(["-C", "-"]);
    }
    curl.arg(address);
    let status = tokio::task::spawn_blocking(move || curl.status().unwrap()).await.unwrap();
    assert!(status.success(), "{begun:?}: curl ended with {status}");
    assert!(fs::read(&file).unwrap() == bytes, "{begun:?}: curl has fetched something else");
}
