//! Whom the client believes, and what it says of those it does not. curl is
//! asked what it thinks of the same server.

use std::path::{Path, PathBuf};

use flock_cloudstack::CloudStackConfig;
use flock_cloudstack::image_builder::{DirectUpload, PutUpload, Upload};
use flock_core::conformance::Suite;
use flock_core::image_builder::{ImageBuilder as _, ImageStatus};
use flock_core::secret::{Secret, SecretSource};
use flock_core::{Context, Error, ErrorKind, ListFilter, Result};
use serde_json::json;

use crate::certificates::{Authority, Certificate};
use crate::front::{Front, ask};
use crate::programs::{Daemon, command, free_port, program};
use crate::support::{Answer, SECRET, Server, all_of};
use crate::{builder, passes, spec, surroundings, url};

/// curl's exit code where a certificate is not trusted (`curl(1)`).
const NOT_TRUSTED: i32 = 60;

pub(crate) fn trust() -> Suite {
    Suite::new("trust")
        .test("an_authority_is_trusted_by_its_file", || passes(authority()))
        .test("a_self_signed_certificate_is_trusted_by_its_file", || passes(self_signed()))
        .test("a_self_signed_authority_is_explained", || passes(self_signed_authority()))
        .test("a_certificate_for_another_name_is_refused", || passes(another_name()))
        .test("an_expired_certificate_is_refused", || passes(expired()))
        .test("a_certificate_of_the_future_is_refused", || passes(early()))
        .test("a_file_without_certificates_is_named", || passes(unusable_file()))
        .test("nothing_secret_is_told", || passes(nothing_secret()))
        .with_service(program("nginx"))
        .with_service(program("openssl"))
        .with_service(program("curl"))
}

pub(crate) fn protocol() -> Suite {
    Suite::new("protocol")
        .test("http_to_a_port_for_https", || passes(http_to_https()))
        .test("https_to_a_port_for_http", || passes(https_to_http()))
        .test("http_to_a_server_that_hangs_up", || passes(http_to_openssl()))
        .test("a_server_that_knows_old_versions_only", || passes(old_version()))
        .with_service(program("nginx"))
        .with_service(program("openssl"))
}

async fn authority() {
    let dir = tempfile::tempdir().unwrap();
    // Of one name, with keys of their own.
    let (ours, theirs) = (Authority::new(dir.path(), "a"), Authority::new(dir.path(), "b"));
    let front = Front::start(&ours.issue("localhost")).await;
    let says = Wanted { says: "no authority that is known here", advice: "ca_file" };
    refused_everywhere(&front, None, &says).await;
    refused_everywhere(&front, Some(theirs.ca_file()), &says).await;
    accepted_everywhere(&front, ours.ca_file()).await;
}

async fn self_signed() {
    let dir = tempfile::tempdir().unwrap();
    let certificate = Certificate::self_signed(dir.path(), false);
    let front = Front::start(&certificate).await;
    let says = Wanted { says: "no authority that is known here", advice: "ca_file" };
    refused_everywhere(&front, None, &says).await;
    accepted_everywhere(&front, certificate.certificate).await;
}

/// What `openssl req -x509` makes unless it is told otherwise. curl trusts it
/// where it is named; the TLS library here never takes an authority for a
/// server.
async fn self_signed_authority() {
    let dir = tempfile::tempdir().unwrap();
    let certificate = Certificate::self_signed(dir.path(), true);
    let front = Front::start(&certificate).await;
    let says = Wanted { says: "an authority's own", advice: "CA:FALSE" };
    refused_everywhere(&front, None, &says).await;
    let named = Some(certificate.certificate);
    assert_eq!(curl(&front, named.as_deref()).await, Some(0));
    says.check(&ask(config(&front, named.as_deref())).await.unwrap_err(), &front);
    says.check(&direct(&front, named.clone()).await.unwrap_err(), &front);
    says.check(&put(&front, named).await.unwrap_err(), &front);
}

async fn another_name() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "a");
    let front = Front::start(&authority.issue("other.example.org")).await;
    let says = Wanted { says: "it is for another name", advice: "use a name" };
    refused_everywhere(&front, Some(authority.ca_file()), &says).await;
    // The cause has the name that it is for.
    let error = ask(config(&front, Some(&authority.ca_file()))).await.unwrap_err();
    assert!(all_of(&error).contains("other.example.org"), "{error:?}");
}

async fn expired() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "a");
    let front = Front::start(&authority.issue_expired()).await;
    let says = Wanted { says: "it has expired", advice: "renewed" };
    refused_everywhere(&front, Some(authority.ca_file()), &says).await;
}

async fn early() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "a");
    let front = Front::start(&authority.issue_early()).await;
    let says = Wanted { says: "it is not valid yet", advice: "clock" };
    refused_everywhere(&front, Some(authority.ca_file()), &says).await;
}

async fn unusable_file() {
    let dir = tempfile::tempdir().unwrap();
    let front = Front::start(&Certificate::self_signed(dir.path(), false)).await;
    let (empty, wrong) = (dir.path().join("empty"), dir.path().join("wrong"));
    std::fs::write(&empty, "no certificate").unwrap();
    let text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    std::fs::write(&wrong, text).unwrap();
    for file in [empty, wrong] {
        let api = ask(config(&front, Some(&file))).await.unwrap_err();
        let direct = direct(&front, Some(file.clone())).await.unwrap_err();
        let put = put(&front, Some(file.clone())).await.unwrap_err();
        for error in [api, direct, put] {
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error:?}");
            assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
        }
    }
    let missing = ask(config(&front, Some(&dir.path().join("missing")))).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

/// Neither the client's key, nor an upload's signature, nor a login is in any
/// of the errors of a server that is not trusted.
async fn nothing_secret() {
    let dir = tempfile::tempdir().unwrap();
    let front = Front::start(&Certificate::self_signed(dir.path(), false)).await;
    let storage = format!("https://localhost:{}/upload/7?ticket=hush-1", front.https);
    let cloud = Server::new(move |_, request| match request.command() {
        "getUploadParamsForTemplate" => Answer::ok(json!({"getuploadparams": {
            "id": "7", "postURL": storage, "metadata": "hush-2", "expires": "hush-3",
            "signature": "hush-4",
        }})),
        other => surroundings(other),
    })
    .await;
    let (tar, _) = front.archive();
    let build = async |upload| {
        let builder = builder(cloud.config(), upload);
        builder.build(&Context::new(), &spec(&tar)).await.unwrap_err()
    };
    let direct = build(Upload::Direct(DirectUpload::default())).await;
    let target = format!("https://me:hush-5@localhost:{}/files?key=hush-6", front.https);
    let put = build(Upload::Put(PutUpload::new(url(&target)))).await;
    let secret = SecretSource::Value(Secret::new("hush-7"));
    let target = PutUpload::new(url(&format!("https://localhost:{}/files", front.https)));
    let login = build(Upload::Put(target.with_login(Some("me".to_owned()), secret))).await;
    let api = ask(front.config()).await.unwrap_err();
    let key = front.simulator.secret_key().expose();
    for error in [direct, put, login, api] {
        let text = all_of(&error);
        assert!(text.contains("is not trusted"), "{text}");
        for secret in ["hush", "signature=", SECRET, key] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
}

async fn http_to_https() {
    let dir = tempfile::tempdir().unwrap();
    let front = Front::start(&Certificate::self_signed(dir.path(), false)).await;
    let origin = format!("http://localhost:{}", front.https);
    let says = Wanted { says: "wants HTTPS", advice: "https://" };
    says.check(&ask(front.config_at(&origin)).await.unwrap_err(), &front);
    says.check(&put_at(&front, &origin, None).await.unwrap_err(), &front);
}

async fn https_to_http() {
    let dir = tempfile::tempdir().unwrap();
    let front = Front::start(&Certificate::self_signed(dir.path(), false)).await;
    let origin = format!("https://localhost:{}", front.http);
    let says = Wanted { says: "does not speak HTTPS", advice: "http://" };
    says.check(&ask(front.config_at(&origin)).await.unwrap_err(), &front);
    says.check(&put_at(&front, &origin, None).await.unwrap_err(), &front);
}

/// OpenSSL's server says nothing to who does not speak TLS.
async fn http_to_openssl() {
    let dir = tempfile::tempdir().unwrap();
    let (port, _server) = s_server(dir.path(), &[]);
    let url = url(&format!("http://localhost:{port}/client/api"));
    let error = ask(CloudStackConfig::new(url, "key", Secret::new(SECRET))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.hints().any(|hint| hint.contains("https://")), "{error:?}");
    assert!(!all_of(&error).contains("signature="), "{error:?}");
}

async fn old_version() {
    let dir = tempfile::tempdir().unwrap();
    let (port, _server) = s_server(dir.path(), &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
    let url = url(&format!("https://localhost:{port}/client/api"));
    let error = ask(CloudStackConfig::new(url, "key", Secret::new(SECRET))).await.unwrap_err();
    assert!(error.to_string().contains("refuses to speak TLS"), "{error:?}");
    assert!(error.hints().any(|hint| hint.contains("TLS 1.2")), "{error:?}");
    assert!(!error.is_retryable());
}

fn s_server(dir: &Path, more: &[&str]) -> (u16, Daemon) {
    let Certificate { certificate, key } = Certificate::self_signed(dir, false);
    let port = free_port();
    let mut openssl = command("openssl");
    openssl.args(["s_server", "-www", "-accept", &port.to_string()]).args(more);
    openssl.arg("-key").arg(key).arg("-cert").arg(certificate);
    (port, Daemon::start(&mut openssl, &[port]))
}

/// What an error must say.
struct Wanted {
    says: &'static str,
    advice: &'static str,
}

impl Wanted {
    fn check(&self, error: &Error, front: &Front) {
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error:?}");
        assert!(text.contains("localhost:") && text.contains(self.says), "{text}");
        let hints: Vec<_> = error.hints().collect();
        assert!(hints.iter().any(|hint| hint.contains(self.advice)), "{text}: {hints:?}");
        assert!(!error.is_retryable(), "{error:?}");
        let all = all_of(error);
        for secret in ["signature=", front.simulator.secret_key().expose()] {
            assert!(!all.contains(secret), "{all}");
        }
    }
}

fn config(front: &Front, ca_file: Option<&Path>) -> CloudStackConfig {
    match ca_file {
        Some(file) => front.config().with_ca_file(file),
        None => front.config(),
    }
}

async fn build(front: &Front, upload: Upload) -> Result<()> {
    // The API is not what this is about.
    let builder = builder(front.config().with_verify_tls(false), upload);
    builder.build(&Context::new(), &spec(&front.archive().0)).await.map(drop)
}

async fn direct(front: &Front, ca_file: Option<PathBuf>) -> Result<()> {
    let mut direct = DirectUpload::default();
    direct.ca_file = ca_file;
    build(front, Upload::Direct(direct)).await
}

async fn put(front: &Front, ca_file: Option<PathBuf>) -> Result<()> {
    put_at(front, &format!("https://localhost:{}", front.https), ca_file).await
}

/// To there, from where the cloud fetches it by HTTP.
async fn put_at(front: &Front, origin: &str, ca_file: Option<PathBuf>) -> Result<()> {
    let mut put = PutUpload::new(url(&format!("{origin}/files")));
    put.ca_file = ca_file;
    let seen = url(&format!("http://localhost:{}/files", front.http));
    build(front, Upload::Put(put.with_display_url(seen))).await
}

/// By the client, and by both kinds of upload although the client does not
/// verify: that is for the API alone.
async fn refused_everywhere(front: &Front, ca_file: Option<PathBuf>, wanted: &Wanted) {
    let before = front.simulator.requests();
    wanted.check(&ask(config(front, ca_file.as_deref())).await.unwrap_err(), front);
    assert_eq!(front.simulator.requests(), before, "something was sent");
    assert_eq!(curl(front, ca_file.as_deref()).await, Some(NOT_TRUSTED));
    ask(front.config().with_verify_tls(false)).await.unwrap();
    let error = direct(front, ca_file.clone()).await.unwrap_err();
    wanted.check(&error, front);
    for advice in ["realhostip.com", "--insecure-upload"] {
        assert!(error.hints().any(|hint| hint.contains(advice)), "{error:?}");
    }
    wanted.check(&put(front, ca_file).await.unwrap_err(), front);
    assert!(!front.dir.path().join("files/web").exists(), "something was stored");
    let unverified = DirectUpload::default().with_verify_tls(false);
    build(front, Upload::Direct(unverified)).await.unwrap();
    take_away(front).await;
}

async fn accepted_everywhere(front: &Front, ca_file: PathBuf) {
    assert_eq!(curl(front, Some(&ca_file)).await, Some(0));
    ask(config(front, Some(&ca_file))).await.unwrap();
    direct(front, Some(ca_file.clone())).await.unwrap();
    take_away(front).await;
    put(front, Some(ca_file)).await.unwrap();
    take_away(front).await;
}

/// Fails unless one template is there, and ready; deletes it.
async fn take_away(front: &Front) {
    let (ctx, any) = (Context::new(), Upload::Direct(DirectUpload::default()));
    let builder = builder(front.config().with_verify_tls(false), any);
    let held = builder.list(&ctx, &ListFilter::all()).await.unwrap();
    assert!(held.len() == 1 && held[0].status == ImageStatus::Ready, "{held:?}");
    builder.delete(&ctx, &held[0].id).await.unwrap();
}

/// How curl ends that asks the API something.
async fn curl(front: &Front, ca_file: Option<&Path>) -> Option<i32> {
    let mut curl = command("curl");
    curl.args(["-s", "--noproxy", "*"]);
    if let Some(file) = ca_file {
        curl.arg("--cacert").arg(file);
    }
    curl.arg(format!("https://localhost:{}/client/api", front.https));
    tokio::task::spawn_blocking(move || curl.status().unwrap().code()).await.unwrap()
}
