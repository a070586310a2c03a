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
use flock_core::appliance::{BuildRequest, build, build_to};
use flock_core::location::Location;
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

/// Makes a request another one.
type Change<'a> = &'a dyn Fn(&mut BuildRequest);

/// What can be known beforehand is told beforehand.
#[test]
fn a_check_finds_what_the_build_would() {
    let home = Home::new(CONFIG);
    home.request().check().unwrap();
    fs::create_dir(home.path("shop/rootfs")).unwrap();
    fs::write(home.path("shop/empty.tar"), "").unwrap();
    fs::File::create(home.path("shop/large")).unwrap().set_len(65 << 20).unwrap();
    std::os::unix::fs::symlink("elsewhere", home.path("shop/link.tar")).unwrap();
    fs::create_dir(home.path("shop/.taken.tar.part")).unwrap();
    let path = |name: &str| Location::Path(home.path(name));
    let checksum = Some("0".repeat(64).parse().unwrap());
    let found = |what: &str, change: Change<'_>| {
        let mut request = home.request();
        change(&mut request);
        let error = request.check().unwrap_err();
        assert_ne!(error.kind(), ErrorKind::AlreadyExists, "{what}");
        assert!(error.hints().count() > 0 || error.context().count() > 0, "{what}: {error:?}");
        error.kind()
    };
    let wrong = ErrorKind::InvalidConfig;
    assert_eq!(found("no base", &|r| r.base = path("shop/nothing")), ErrorKind::NotFound);
    assert_eq!(
        found("an empty base", &|r| r.base = path("shop/empty.tar")),
        ErrorKind::InvalidData
    );
    assert_eq!(found("a device", &|r| r.base = Location::Path("/dev/null".into())), wrong);
    let unfit: [(&str, Change<'_>); 11] = [
        ("a directory's checksum", &|r| {
            (r.base, r.base_checksum) = (path("shop/rootfs"), checksum);
        }),
        ("an image's checksum", &|r| {
            (r.base, r.base_checksum) = ("oci://example.org/debian:13".parse().unwrap(), checksum);
        }),
        ("an application's", &|r| r.applications[0].checksum = checksum),
        ("no archive", &|r| r.applications[0].repository = Location::Ssh("git@host:a".to_owned())),
        ("the root", &|r| r.applications[0].wwwroot = "/./".to_owned()),
        ("a way out", &|r| r.applications[0].wwwroot = "/var/../..".to_owned()),
        ("a large file", &|r| {
            r.inject.resolv_conf = Some(InjectedContent::File(home.path("shop/large")));
        }),
        ("no pattern", &|r| r.exclude.push("!etc".to_owned())),
        ("a link", &|r| (r.output, r.force) = (home.path("shop/link.tar"), true)),
        ("a directory in the way", &|r| r.output = home.path("shop/taken.tar")),
        ("a sink", &|r| (r.output, r.force) = (PathBuf::from("/dev/null"), true)),
    ];
    for (what, change) in unfit {
        assert_eq!(found(what, change), wrong, "{what}");
    }
    let nowhere = home.request().with_output(home.path("nowhere/x.tar")).check().unwrap_err();
    assert_eq!((nowhere.kind(), nowhere.hints().count()), (ErrorKind::NotFound, 1));
}

#[test]
fn name_and_compression_follow_each_other() {
    let home = Home::new(CONFIG);
    let request = |output: &str| home.request().with_output(home.path(output));
    assert_eq!(request("x.tgz").compression, Format::GZIP);
    assert_eq!(request("x.tar.zst").compression, Format::ZSTD);
    assert_eq!(request("x.img").compression, Format::None);
    assert_eq!(request("x.tar.zst").with_output("x.img").compression, Format::None);
    let level = Format::Gzip { level: 9 };
    let configured = Home::new(&format!("{CONFIG}  compression: gzip:9\n"));
    assert_eq!(configured.request().with_output("x.tar.gz").compression, level);
    assert_eq!(configured.request().with_output("x.tar").compression, Format::None);
    assert_eq!(configured.request().with_output("x").compression, level);

    // What was said of both counts, in whatever order, and must agree.
    for request in [
        home.request().with_compression(level).with_output(home.path("x.tar.zst")),
        home.request().with_output(home.path("x.tar.zst")).with_compression(level),
        request("x.tar.xz"),
    ] {
        let error = request.check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert_eq!(error.hints().count(), 1, "{error:?}");
    }
    request("x.tar.gz").with_compression(level).check().unwrap();
    let renamed = home.request().with_compression(Format::ZSTD);
    assert_eq!(renamed.output, home.path("shop/shop.tar.zst"));
}

#[tokio::test]
async fn a_stream_gets_what_a_file_would() {
    let home = Home::new(CONFIG);
    for format in [Format::None, Format::GZIP] {
        let request = home.request().with_compression(format).with_force(true);
        let file = build(&Context::new(), &request).await.unwrap();
        let stream = fs::File::create(home.path("stream")).unwrap();
        let streamed = build_to(&Context::new(), &request, stream).await.unwrap();
        assert_eq!(streamed, file);
        assert!(fs::read(home.path("stream")).unwrap() == fs::read(&file.output).unwrap());
    }
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let error = build_to(&Context::new(), &home.request(), full).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
    assert_eq!(error.to_string(), "cannot write the output stream");
}

/// The base is a pipe that is held open and says nothing.
#[tokio::test]
async fn the_first_input_that_fails_stops_the_others() {
    let pipes = CONFIG.replace("base.tar", "silent").replace("repository: site", "repository: bad");
    let home = Home::new(&pipes);
    for name in ["shop/silent", "shop/bad"] {
        let (fifo, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, home.path(name), fifo, mode, 0).unwrap();
    }
    let mut request = home.request();
    request.threads = std::num::NonZeroUsize::new(2).unwrap();
    let (silent, bad) = (home.path("shop/silent"), home.path("shop/bad"));
    let writer = std::thread::spawn(move || {
        // Each waits until the build reads.
        let silent = fs::File::options().write(true).open(silent).unwrap();
        fs::write(bad, "<!DOCTYPE html><html></html>").unwrap();
        silent
    });
    let error = build(&Context::new(), &request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error:?}");
    drop(writer.join().unwrap());
}

#[tokio::test]
async fn a_limit_is_named_as_it_is_set() {
    let home = Home::new(CONFIG);
    let plain = Tar::new().file("zeros", &"0".repeat(10 << 20)).end();
    let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
    zstd.window_log(24).unwrap();
    std::io::Write::write_all(&mut zstd, &plain).unwrap();
    fs::write(home.path("shop/base.tar"), zstd.finish().unwrap()).unwrap();
    let changes: [(&str, Change<'_>); 2] = [
        ("`build.max_size`", &|request| request.max_size = 1 << 20),
        ("`--memory`", &|request| request.memory = Some(1 << 20)),
    ];
    for (setting, change) in changes {
        let mut request = home.request();
        change(&mut request);
        let error = build(&Context::new(), &request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{setting}");
        assert!(error.hints().any(|hint| hint.contains(setting)), "{error:?}");
    }
}

#[tokio::test]
async fn a_name_that_is_not_text_has_a_report() {
    use std::os::unix::ffi::OsStrExt as _;
    let home = Home::new(CONFIG);
    let name = home.path("").join(std::ffi::OsStr::from_bytes(b"caf\xe9.tar"));
    let built = build(&Context::new(), &home.request().with_output(&name)).await.unwrap();
    assert_eq!(built.output, name);
    let json = serde_json::to_value(&built).unwrap();
    assert!(json["output"].as_str().unwrap().ends_with("caf\u{fffd}.tar"), "{json}");
}
