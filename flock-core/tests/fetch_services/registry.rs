//! Images of Debian's `docker-registry`, which the tests push themselves.

use std::path::Path;
use std::process::Command;

use flock_core::fetch::{Credential, FetchOptions, Fetcher, LayerMediaType, OciImage, Platform};
use flock_core::secret::Secret;
use flock_core::{Context, Error, ErrorKind};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::fetch_support::{Reply, Server, checksum, noise, options};
use super::{Daemon, case, free_port};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// The password `hush` by bcrypt, the one kind that the registry takes.
const HUSH: &str = "$2b$05$abcdefghijklmnopqrstuulzd.YqjLDl8lvpSmVj3De/fioSBHnUa";

pub(crate) fn cases() -> Vec<Trial> {
    let registry = &["docker-registry"];
    let case = |name, test: fn() -> std::pin::Pin<Box<dyn Future<Output = ()>>>| {
        case("registry", registry, name, test)
    };
    vec![
        case("an_image_comes_with_its_layers_in_order", || Box::pin(layers_in_order())),
        case("an_index_is_resolved_for_the_platform", || Box::pin(an_index())),
        case("a_known_digest_needs_no_network", || Box::pin(no_network())),
        case("a_login_is_needed_and_found", || Box::pin(logins())),
        case("a_cut_layer_goes_on_and_a_wrong_one_is_refused", || Box::pin(through_a_bad_line())),
        case("a_token_is_asked_for", || Box::pin(tokens())),
        case("errors_have_their_kinds", || Box::pin(errors())),
    ]
}

struct Bench {
    dir: TempDir,
    port: u16,
    daemon: Option<Daemon>,
}

impl Bench {
    fn start(auth: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let text = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n\
             http:\n  addr: 127.0.0.1:{port}\n{auth}",
            dir.path().join("registry").display()
        );
        let path = dir.path().join("registry.yml");
        std::fs::write(&path, text).unwrap();
        let mut command = Command::new("docker-registry");
        let daemon = Daemon::start(command.arg("serve").arg(&path), port);
        Self { dir, port, daemon: Some(daemon) }
    }

    fn options(&self) -> FetchOptions {
        let platform = Platform::new("linux", "amd64");
        options(self.dir.path()).with_platform(platform)
    }

    async fn pull(&self, name: &str) -> Result<OciImage, Error> {
        let name = format!("oci://127.0.0.1:{}/{name}", self.port);
        pull(self.options(), &name).await
    }

    /// Where a client pushes to.
    fn push(&self) -> Push {
        Push { base: format!("http://127.0.0.1:{}/v2/team/shop", self.port), login: None }
    }
}

async fn pull(options: FetchOptions, name: &str) -> Result<OciImage, Error> {
    Fetcher::new(options).pull(&Context::new(), &name.parse().unwrap()).await
}

/// The pushing half of the protocol.
struct Push {
    base: String,
    login: Option<(&'static str, &'static str)>,
}

impl Push {
    fn request(&self, method: reqwest::Method, url: &str) -> reqwest::RequestBuilder {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.request(method, url);
        match self.login {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        }
    }

    async fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let start = self.request(reqwest::Method::POST, &format!("{}/blobs/uploads/", self.base));
        let answer = start.send().await.unwrap().error_for_status().unwrap();
        let place = answer.headers()["location"].to_str().unwrap();
        let place = answer.url().join(place).unwrap();
        let digest = checksum(bytes).to_string();
        let mut url = place.clone();
        url.query_pairs_mut().append_pair("digest", &digest);
        let put = self.request(reqwest::Method::PUT, url.as_str()).body(bytes.to_vec());
        put.send().await.unwrap().error_for_status().unwrap();
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    async fn manifest(&self, name: &str, media_type: &str, manifest: &Value) -> Value {
        let bytes = serde_json::to_vec(manifest).unwrap();
        let name = if name.is_empty() { checksum(&bytes).to_string() } else { name.to_owned() };
        let url = format!("{}/manifests/{name}", self.base);
        let put = self.request(reqwest::Method::PUT, &url).header("content-type", media_type);
        put.body(bytes.clone()).send().await.unwrap().error_for_status().unwrap();
        json!({"mediaType": media_type, "digest": checksum(&bytes).to_string(), "size": bytes.len()})
    }

    /// An image for an architecture, with these layers.
    async fn image(
        &self,
        tag: &str,
        media_type: &str,
        arch: &str,
        layers: &[(&str, Vec<u8>)],
    ) -> Value {
        let ids: Vec<String> = layers.iter().map(|(_, b)| checksum(b).to_string()).collect();
        let config = json!({
            "architecture": arch, "os": "linux", "created": "",
            "rootfs": {"type": "layers", "diff_ids": ids},
        });
        let config = serde_json::to_vec(&config).unwrap();
        let config = self.blob("application/vnd.oci.image.config.v1+json", &config).await;
        let mut descriptors = Vec::new();
        for (layer_type, bytes) in layers {
            descriptors.push(self.blob(layer_type, bytes).await);
        }
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": descriptors,
        });
        self.manifest(tag, media_type, &manifest).await
    }
}

const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const DOCKER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

async fn layers_in_order() {
    let bench = Bench::start("");
    let contents: Vec<Vec<u8>> = (1..=6).map(|n| noise(n * 50_000)[n..].to_vec()).collect();
    let types = [TAR, GZIP, ZSTD, GZIP, GZIP, TAR];
    let layers: Vec<_> = types.into_iter().zip(contents.clone()).collect();
    let pushed = bench.push().image("v1", OCI, "amd64", &layers).await;
    let image = bench.pull("team/shop:v1").await.unwrap();
    assert_eq!(image.digest.to_string(), pushed["digest"].as_str().unwrap());
    assert_eq!(image.platform.to_string(), "linux/amd64");
    let got: Vec<_> = image.layers.iter().map(|layer| read(&layer.path)).collect();
    assert!(got == contents);
    let packed: Vec<_> = image.layers.iter().map(|layer| layer.media_type).collect();
    use LayerMediaType::{Tar, TarGzip, TarZstd};
    assert_eq!(packed, [Tar, TarGzip, TarZstd, TarGzip, TarGzip, Tar]);
    for (layer, bytes) in image.layers.iter().zip(&contents) {
        assert_eq!((layer.size, layer.digest), (bytes.len() as u64, checksum(bytes)));
    }
    let config: Value = serde_json::from_slice(&read(&image.config)).unwrap();
    assert_eq!(config["architecture"], "amd64");
    // Two layers that are the same blob.
    let twice = [(GZIP, contents[0].clone()), (GZIP, contents[0].clone())];
    bench.push().image("twice", DOCKER, "amd64", &twice).await;
    let image = bench.pull("team/shop:twice").await.unwrap();
    assert_eq!(image.layers[0].path, image.layers[1].path);
}

async fn an_index() {
    let bench = Bench::start("");
    let push = bench.push();
    for (tag, list, kind, layer) in
        [("oci", OCI_INDEX, OCI, GZIP), ("docker", DOCKER_LIST, DOCKER, DOCKER_GZIP)]
    {
        let mut manifests = Vec::new();
        for arch in ["arm64", "amd64"] {
            let mut entry = push.image("", kind, arch, &[(layer, arch.into())]).await;
            entry["platform"] = json!({"os": "linux", "architecture": arch});
            manifests.push(entry);
        }
        let index = json!({"schemaVersion": 2, "mediaType": list, "manifests": manifests});
        push.manifest(tag, list, &index).await;
        let name = format!("team/shop:{tag}");
        let image = bench.pull(&name).await.unwrap();
        assert_eq!(read(&image.layers[0].path), b"amd64");
        let arm = Platform::new("linux", "arm64").with_variant("v8");
        let full = format!("oci://127.0.0.1:{}/{name}", bench.port);
        let image = pull(bench.options().with_platform(arm), &full).await.unwrap();
        assert_eq!(read(&image.layers[0].path), b"arm64");
        let vax = Platform::new("linux", "vax");
        let error = pull(bench.options().with_platform(vax), &full).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.context_value("platforms"), Some("linux/arm64, linux/amd64"));
    }
}

async fn no_network() {
    let mut bench = Bench::start("");
    let pushed = bench.push().image("v1", OCI, "amd64", &[(TAR, b"layer".to_vec())]).await;
    let name = format!("team/shop@{}", pushed["digest"].as_str().unwrap());
    let first = bench.pull(&name).await.unwrap();
    bench.pull("team/shop:v1").await.unwrap();
    // One that is damaged in the cache is brought anew.
    let layer = &first.layers[0].path;
    std::fs::remove_file(layer).unwrap();
    std::fs::write(layer, "torn").unwrap();
    bench.pull(&name).await.unwrap();
    assert_eq!(read(layer), b"layer");
    bench.daemon = None;
    let again = bench.pull(&name).await.unwrap();
    assert_eq!(first, again);
    bench.pull("team/shop:v1").await.expect("the tag was looked up just now");
    let old = bench.options().with_max_age(std::time::Duration::ZERO).with_retries(0);
    let full = format!("oci://127.0.0.1:{}/team/shop:v1", bench.port);
    assert_eq!(pull(old, &full).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

async fn logins() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("htpasswd");
    std::fs::write(&path, format!("me:{HUSH}\n")).unwrap();
    let auth = format!("auth:\n  htpasswd:\n    realm: r\n    path: {}\n", path.display());
    let bench = Bench::start(&auth);
    let mut push = bench.push();
    push.login = Some(("me", "hush"));
    push.image("v1", OCI, "amd64", &[(TAR, b"layer".to_vec())]).await;
    let error = bench.pull("team/shop:v1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
    assert!(error.hints().any(|hint| hint.contains("docker login")));
    let name = format!("oci://127.0.0.1:{}/team/shop:v1", bench.port);
    let host = format!("127.0.0.1:{}", bench.port);
    let basic = |password: &str| Credential::Basic {
        username: "me".into(),
        password: Secret::new(password),
    };
    let wrong = bench.options().with_credential(&host, basic("other"));
    assert_eq!(pull(wrong, &name).await.unwrap_err().kind(), ErrorKind::Unauthenticated);
    let config = bench.dir.path().join("docker.json");
    let text = json!({"auths": {&host: {"auth": "bWU6aHVzaA=="}}}).to_string();
    std::fs::write(&config, text).unwrap();
    pull(bench.options().with_docker_config(Some(config)), &name).await.unwrap();
    // In a cache of its own, or there would be nothing to ask for.
    let fresh =
        options(&bench.dir.path().join("fresh")).with_platform(Platform::new("linux", "amd64"));
    pull(fresh.with_credential(&host, basic("hush")), &name).await.unwrap();
}

async fn through_a_bad_line() {
    let bench = Bench::start("");
    let body = noise(300_000);
    bench.push().image("v1", OCI, "amd64", &[(GZIP, body.clone())]).await;
    let upstream = format!("http://127.0.0.1:{}", bench.port);
    let digest = checksum(&body).to_string();
    let line = |spoil: bool| {
        let (upstream, body, digest) = (upstream.clone(), body.clone(), digest.clone());
        Server::start(move |request| {
            if request.path.ends_with(&digest) {
                let mut bytes = body.clone();
                bytes[250_000] ^= u8::from(spoil);
                return match request.from() {
                    None => Reply::cut("200 OK", &[], &bytes, 100_000),
                    Some(from) => {
                        let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
                        let range = ("Content-Range", range.as_str());
                        Reply::new("206 Partial Content", &[range], &bytes[from..])
                    }
                };
            }
            forward(&upstream, &request.path)
        })
    };
    let platform = Platform::new("linux", "amd64");
    let good = line(false);
    let options_in =
        |name: &str| options(&bench.dir.path().join(name)).with_platform(platform.clone());
    let image = pull(options_in("good"), &format!("oci://{}/team/shop:v1", good.address)).await;
    assert!(read(&image.unwrap().layers[0].path) == body);
    assert!(good.requests().iter().any(|request| request.from() == Some(100_000)));
    let bad = line(true);
    let error = pull(options_in("bad"), &format!("oci://{}/team/shop:v1", bad.address)).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error:?}");
    assert_eq!(error.context_value("expected"), Some(digest.as_str()));
}

/// The registry's own answer, passed on.
fn forward(upstream: &str, path: &str) -> Reply {
    let (url, (sender, answer)) = (format!("{upstream}{path}"), std::sync::mpsc::channel());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = runtime.block_on(async {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let accept = format!("{OCI}, {OCI_INDEX}, {DOCKER}, {DOCKER_LIST}");
            let response = client.get(url).header("accept", accept).send().await.unwrap();
            (response.status().to_string(), response.bytes().await.unwrap().to_vec())
        });
        sender.send(answer).unwrap();
    });
    let (status, body) = answer.recv().unwrap();
    Reply::new(&status, &[], &body)
}

async fn tokens() {
    let bench = Bench::start("");
    bench.push().image("v1", OCI, "amd64", &[(TAR, b"layer".to_vec())]).await;
    let upstream = format!("http://127.0.0.1:{}", bench.port);
    let address = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let server = Server::start({
        let address = std::sync::Arc::clone(&address);
        move |request| {
            if request.path.starts_with("/token?") {
                let fits = request.path.contains("scope=repository%3Ateam%2Fshop%3Apull")
                    && request.path.contains("service=the+service")
                    && request.header("authorization") == Some("Basic bWU6aHVzaA==");
                return match fits {
                    true => Reply::new("200 OK", &[], br#"{"token": "open-sesame"}"#),
                    false => Reply::new("401 Unauthorized", &[], b""),
                };
            }
            if request.header("authorization") == Some("Bearer open-sesame") {
                return forward(&upstream, &request.path);
            }
            let challenge = format!(
                "Bearer realm=\"http://{}/token\",service=\"the service\"",
                address.get().unwrap()
            );
            Reply::new("401 Unauthorized", &[("WWW-Authenticate", &challenge)], b"")
        }
    });
    address.set(server.address.clone()).unwrap();
    let name = format!("oci://{}/team/shop:v1", server.address);
    let login = Credential::Basic { username: "me".into(), password: Secret::new("hush") };
    let with_login = bench.options().with_credential(&server.address, login);
    let image = pull(with_login, &name).await.unwrap();
    assert_eq!(read(&image.layers[0].path), b"layer");
    let asked = server.requests().iter().filter(|r| r.path.starts_with("/token")).count();
    assert_eq!(asked, 1, "one token serves the whole pull");
    let fresh = options(&bench.dir.path().join("fresh"));
    let error = pull(fresh, &name).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
    assert!(!format!("{error:?}").contains("sesame"));
}

async fn errors() {
    let bench = Bench::start("");
    for name in ["team/none:v1", "team/shop:none"] {
        let error = bench.pull(name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
        assert!(error.context_value("image").unwrap().contains(name));
    }
    bench.push().image("wasm", OCI, "amd64", &[("application/wasm", b"x".to_vec())]).await;
    let error = bench.pull("team/shop:wasm").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let page = Server::start(|_| Reply::new("200 OK", &[("Content-Type", "text/html")], b"<html>"));
    let error = pull(bench.options(), &format!("oci://{}/x", page.address)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    let old = Server::start(|_| Reply::new("200 OK", &[], br#"{"schemaVersion": 1}"#));
    let error = pull(bench.options(), &format!("oci://{}/x", old.address)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let error = pull(bench.options().with_retries(0), "oci://127.0.0.1:1/x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}
