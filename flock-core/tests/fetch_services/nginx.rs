//! Ranges and certificates of a server that many use.

use std::path::Path;
use std::process::Command;

use flock_core::fetch::{Fetcher, Location};
use flock_core::{Context, ErrorKind};
use libtest_mimic::Trial;

use super::fetch_support::{noise, options};
use super::{Daemon, case, free_port};

pub(crate) fn cases() -> Vec<Trial> {
    vec![
        case("nginx", &["nginx"], "a_download_is_resumed", a_download_is_resumed),
        case("nginx", &["nginx", "openssl"], "only_a_trusted_certificate_will_do", certificates),
        case("nginx", &["nginx", "openssl"], "an_authority_is_no_server", authority_as_server),
    ]
}

/// Serves `dir/www`; over TLS if there is a certificate.
fn nginx(dir: &Path, port: u16, tls: bool) -> Daemon {
    let shown = dir.display();
    let listen = match tls {
        true => format!(
            "listen 127.0.0.1:{port} ssl; ssl_certificate {shown}/server-cert.pem; \
             ssl_certificate_key {shown}/server-key.pem;"
        ),
        false => format!("listen 127.0.0.1:{port};"),
    };
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {shown}/tmp;"))
        .join(" ");
    // Whoever runs the tests runs the workers, so that they may read the directory.
    let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
    let text = format!(
        "{user} daemon off; master_process off; pid {shown}/pid; error_log {shown}/log; events {{}} \
         http {{ access_log {shown}/access; {temporary} server {{ {listen} root {shown}/www; }} }}"
    );
    std::fs::create_dir_all(dir.join("www")).unwrap();
    std::fs::write(dir.join("nginx.conf"), text).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("nginx");
    command.env("PATH", format!("{path}:/usr/sbin"));
    command.arg("-c").arg(dir.join("nginx.conf")).arg("-e").arg(dir.join("log"));
    Daemon::start(&mut command, port)
}

async fn a_download_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let _nginx = nginx(dir.path(), port, false);
    let body = noise(40 << 20);
    std::fs::write(dir.path().join("www/base.tar"), &body).unwrap();
    let fetcher = Fetcher::new(options(dir.path()));
    let source: Location = format!("http://127.0.0.1:{port}/base.tar").parse().unwrap();
    let partial = dir.path().join("cache/partial");
    let received = || {
        let files = std::fs::read_dir(&partial).into_iter().flatten().flatten();
        files.map(|file| file.metadata().map_or(0, |m| m.len())).max().unwrap_or(0)
    };
    let ctx = Context::new();
    let running = tokio::spawn({
        let (fetcher, source, ctx) = (fetcher.clone(), source.clone(), ctx.clone());
        async move { fetcher.fetch(&ctx, &source, None).await }
    });
    while received() < 1 << 20 && !running.is_finished() {
        tokio::time::sleep(std::time::Duration::from_micros(200)).await;
    }
    ctx.cancel();
    let error = running.await.unwrap().expect_err("it was cancelled in the middle");
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    let fetched = fetcher.fetch(&Context::new(), &source, None).await.unwrap();
    assert!(std::fs::read(&fetched.path).unwrap() == body);
    let log = std::fs::read_to_string(dir.path().join("access")).unwrap();
    assert!(log.contains("\" 206 "), "{log}");
}

/// Makes a key and a certificate, self-signed unless told otherwise.
fn openssl(dir: &Path, name: &str, more: &[&str]) {
    let output = Command::new("openssl")
        .current_dir(dir)
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
        .args(["-keyout", &format!("{name}-key.pem"), "-out", &format!("{name}-cert.pem")])
        .args(more)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

async fn certificates() {
    let dir = tempfile::tempdir().unwrap();
    openssl(dir.path(), "ca", &["-subj", "/CN=test authority"]);
    let issued = ["-CA", "ca-cert.pem", "-CAkey", "ca-key.pem", "-subj", "/CN=localhost"];
    let extensions =
        ["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=CA:FALSE"];
    openssl(dir.path(), "server", &[issued.as_slice(), &extensions].concat());
    let port = free_port();
    let _nginx = nginx(dir.path(), port, true);
    std::fs::write(dir.path().join("www/base.tar"), "tar").unwrap();
    let fetch = |name: &str, trusted: bool| {
        let mut options = options(dir.path());
        if trusted {
            options = options.with_ca_file(dir.path().join("ca-cert.pem"));
        }
        let source: Location = format!("https://{name}:{port}/base.tar").parse().unwrap();
        async move { Fetcher::new(options).fetch(&Context::new(), &source, None).await }
    };
    let error = fetch("localhost", false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error:?}");
    assert!(error.hints().any(|hint| hint.contains("ca_file")));
    // Trusted, but for another name.
    let error = fetch("127.0.0.1", true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error:?}");
    assert!(error.hints().any(|hint| hint.contains("a name that")), "{error:?}");
    assert!(!error.hints().any(|hint| hint.contains("ca_file")), "{error:?}");
    let fetched = fetch("localhost", true).await.unwrap();
    assert_eq!(std::fs::read(&fetched.path).unwrap(), b"tar");
}

/// What `openssl req -x509` makes unless told otherwise is an authority's.
async fn authority_as_server() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    openssl(dir.path(), "server", &names);
    let port = free_port();
    let _nginx = nginx(dir.path(), port, true);
    let options = options(dir.path()).with_ca_file(dir.path().join("server-cert.pem"));
    let source: Location = format!("https://localhost:{port}/base.tar").parse().unwrap();
    let error = Fetcher::new(options).fetch(&Context::new(), &source, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error:?}");
    assert!(error.hints().any(|hint| hint.contains("CA:FALSE")), "{error:?}");
    assert!(!error.hints().any(|hint| hint.contains("ca_file")), "{error:?}");
}
