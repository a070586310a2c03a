//! Whole builds from a `config.yaml`, without any network.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flock_core::app::{
    App, ApplicationConfig, Ids, InjectConfig, InjectedContent, InjectedFileConfig, RepositoryType,
};
use flock_core::appliance::{BuildRequest, build};
use flock_core::rootfs::compress::Format;
use flock_core::rootfs::decompress::{Compression, Decoder, Limits};
use flock_core::settings::{Places, Settings};
use flock_core::{Context, ErrorKind};
use support::tars::Tar;

/// A directory with an application `shop` in it, and a cache beside.
struct Home(tempfile::TempDir);

impl Home {
    fn new(config: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        fs::create_dir(home.path("shop")).unwrap();
        fs::write(home.path("shop/config.yaml"), config).unwrap();
        let base = Tar::new()
            .dir("etc/", 0o755)
            .file("etc/hostname", "base\n")
            .dir("var/", 0o755)
            .dir("var/www/", 0o755)
            .file("var/www/old", "old")
            .dir("var/log/", 0o755);
        fs::write(home.path("shop/base.tar"), base.end()).unwrap();
        fs::create_dir(home.path("shop/site")).unwrap();
        fs::write(home.path("shop/site/index.html"), "hello").unwrap();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn request(&self) -> BuildRequest {
        let app = App::open(self.0.path(), "shop").unwrap();
        let places = Places::new(self.0.path(), self.path("user"), self.path("cache"));
        let settings = Settings::resolve(&places, [], |_| None).unwrap();
        BuildRequest::from_app(&app, &settings).unwrap()
    }
}

const CONFIG: &str = "
build:
  base_url: base.tar
  application_repository: site
  repository_type: TAR
  application_wwwroot: /var/www
  exclude: ['var/log']
  inject:
    hostname: shop
    authorized_keys: ['ssh-ed25519 AAAA me']
    files:
      - { path: /etc/motd, content: welcome, mode: '0600', owner: '7:8' }
";

/// Names and contents, read by the `tar` crate.
fn listing(path: &Path) -> BTreeMap<String, String> {
    let bytes = fs::read(path).unwrap();
    let mut decoder =
        Decoder::new(&bytes[..], Compression::recognise(&bytes), Limits::default()).unwrap();
    let mut plain = Vec::new();
    decoder.read_to_end(&mut plain).unwrap();
    let mut archive = tar::Archive::new(&plain[..]);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        (path.trim_end_matches('/').to_owned(), content)
    });
    entries.collect()
}

#[tokio::test]
async fn a_build_is_the_base_with_the_application_in_its_place() {
    let home = Home::new(CONFIG);
    let built = build(&Context::new(), &home.request()).await.unwrap();
    assert_eq!(built.output, home.path("shop/shop.tar"));
    assert_eq!(built.size, fs::metadata(&built.output).unwrap().len());
    let entries = listing(&built.output);
    let expected = [
        ("etc", ""),
        ("etc/hostname", "shop\n"),
        ("etc/motd", "welcome"),
        ("root", ""),
        ("root/.ssh", ""),
        ("root/.ssh/authorized_keys", "ssh-ed25519 AAAA me\n"),
        ("var", ""),
        ("var/www", ""),
        ("var/www/index.html", "hello"),
    ];
    let expected = expected.map(|(path, content)| (path.to_owned(), content.to_owned()));
    assert_eq!(entries, BTreeMap::from(expected));
    assert_eq!(built.entries, entries.len() as u64);
}

#[tokio::test]
async fn the_same_input_gives_the_same_bytes_in_every_compression() {
    let home = Home::new(CONFIG);
    for format in [Format::None, Format::GZIP, Format::ZSTD] {
        let request = home.request().with_compression(format).with_force(true);
        let first = fs::read(build(&Context::new(), &request).await.unwrap().output).unwrap();
        let second = fs::read(build(&Context::new(), &request).await.unwrap().output).unwrap();
        assert!(first == second, "{format}");
        assert!(listing(&request.output).contains_key("var/www/index.html"), "{format}");
    }
}

#[tokio::test]
async fn without_its_application_it_is_the_base_alone() {
    let home = Home::new("build:\n  base_url: base.tar\n  deploy_app: false\n");
    let built = build(&Context::new(), &home.request()).await.unwrap();
    assert_eq!(listing(&built.output), listing(&home.path("shop/base.tar")));
}

#[tokio::test]
async fn an_output_that_is_there_stays_unless_it_may_go() {
    let home = Home::new(CONFIG);
    fs::write(home.path("shop/shop.tar"), "mine").unwrap();
    let error = build(&Context::new(), &home.request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read(home.path("shop/shop.tar")).unwrap(), b"mine");
    build(&Context::new(), &home.request().with_force(true)).await.unwrap();
    assert!(listing(&home.path("shop/shop.tar")).len() > 1);
}

#[tokio::test]
async fn what_fails_leaves_no_output() {
    let home = Home::new(CONFIG);
    let ctx = Context::new();
    let mut small = home.request();
    small.max_size = 3;
    let error = build(&ctx, &small).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded);

    let mut wrong = home.request();
    wrong.base_checksum = Some("0".repeat(64).parse().unwrap());
    assert_eq!(build(&ctx, &wrong).await.unwrap_err().kind(), ErrorKind::InvalidData);

    fs::write(home.path("shop/base.tar"), "<!DOCTYPE html><html></html>").unwrap();
    let error = build(&ctx, &home.request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.hints().any(|hint| hint.contains("web page")), "{error:?}");

    ctx.cancel();
    let error = build(&ctx, &home.request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);

    let left = fs::read_dir(home.path("shop")).unwrap();
    let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut left: Vec<_> = left.collect();
    left.sort();
    assert_eq!(left, ["base.tar", "config.yaml", "site"]);
}

#[tokio::test]
async fn no_input_is_written_over_or_packed_with_its_output() {
    let home = Home::new(CONFIG);
    for input in ["shop/base.tar", "shop/config.yaml"] {
        let before = fs::read(home.path(input)).unwrap();
        let request = home.request().with_output(home.path(input)).with_force(true);
        let error = build(&Context::new(), &request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{input}");
        assert_eq!(fs::read(home.path(input)).unwrap(), before, "{input}");
    }
    let request = home.request().with_output(home.path("shop/site/shop.tar"));
    let error = build(&Context::new(), &request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
}

#[tokio::test]
async fn a_private_key_does_not_travel() {
    let home = Home::new(&CONFIG.replace("ssh-ed25519 AAAA me", "id"));
    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n";
    fs::write(home.path("shop/id"), key).unwrap();
    let error = build(&Context::new(), &home.request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(!home.path("shop/shop.tar").exists());
}

#[tokio::test]
async fn an_empty_base_is_told() {
    let home = Home::new(CONFIG);
    fs::write(home.path("shop/base.tar"), [0; 4096]).unwrap();
    let error = build(&Context::new(), &home.request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
}

#[tokio::test]
async fn a_request_needs_no_file_and_keeps_the_output_that_was_asked_for() {
    let home = Home::new(CONFIG);
    let asked = home.path("asked.tar.gz");
    for request in [
        home.request().with_output(&asked).with_compression(Format::ZSTD),
        home.request().with_compression(Format::ZSTD).with_output(&asked),
    ] {
        assert_eq!((&request.output, request.compression), (&asked, Format::ZSTD));
    }
    let derived = home.request().with_compression(Format::GZIP);
    assert_eq!(derived.output, home.path("shop/shop.tar.gz"));
    assert_eq!(derived.with_compression(Format::None).output, home.path("shop/shop.tar"));

    let site = ApplicationConfig::new(home.path("shop/site"), RepositoryType::Tar, "/var/www")
        .with_owner(Some(Ids::new(33, 34)));
    let inject = InjectConfig::default().with_hostname("made").with_file(
        InjectedFileConfig::new("/etc/motd", InjectedContent::Inline("hi".to_owned()))
            .with_mode(0o600),
    );
    let request = BuildRequest::new("shop", home.path("shop/base.tar"), home.path("made.tar"))
        .unwrap()
        .with_cache_dir(home.path("cache"))
        .with_application(site)
        .with_exclude(["var/log"])
        .with_inject(inject);
    let built = build(&Context::new(), &request).await.unwrap();
    let made = listing(&built.output);
    assert_eq!(made["etc/hostname"], "made\n");
    assert_eq!(made["etc/motd"], "hi");
    assert_eq!(made["var/www/index.html"], "hello");
    assert!(!made.contains_key("var/www/old") && !made.contains_key("var/log"));
}
