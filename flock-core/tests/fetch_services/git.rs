//! Repositories by path, by `git daemon`, and by what cannot be.

use std::path::{Path, PathBuf};
use std::process::Command;

use flock_core::fetch::{Fetcher, GitCheckout, GitReference, GitSource};
use flock_core::{Context, Error, ErrorKind};
use libtest_mimic::Trial;
use tempfile::TempDir;

use super::fetch_support::{Reply, Server, options};
use super::{Daemon, case, free_port};

pub(crate) fn cases() -> Vec<Trial> {
    let git = &["git"];
    vec![
        case("git", git, "every_kind_of_reference", every_kind_of_reference),
        case("git", git, "every_file_is_in", every_file_is_in),
        case("git", git, "a_known_commit_needs_no_network", a_known_commit_needs_no_network),
        case("git", git, "a_branch_that_moved_is_fetched_again", a_branch_that_moved),
        case("git", git, "a_commit_behind_a_branch", a_commit_behind_a_branch),
        case("git", git, "submodules_are_in", submodules_are_in),
        case("git", git, "pointers_are_refused", pointers_are_refused),
        case("git", git, "a_page_is_no_repository", a_page_is_no_repository),
        case("git", git, "a_login_is_not_redirected", a_login_is_not_redirected),
        case("git", git, "errors_have_their_kinds", errors_have_their_kinds),
        case("git", git, "a_password_stays_out_of_sight", a_password_stays_out_of_sight),
        case("git", git, "a_cancelled_fetch_ends_git", a_cancelled_fetch_ends_git),
        case("git", &["git", "git-daemon"], "by_the_git_protocol", by_the_git_protocol),
    ]
}

struct Bench {
    dir: TempDir,
    fetcher: Fetcher,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let fetcher = Fetcher::new(options(dir.path()).with_retries(0));
        Self { dir, fetcher }
    }

    fn repository(&self) -> Repository {
        let path = self.dir.path().join("shop");
        std::fs::create_dir(&path).unwrap();
        let repository = Repository(path);
        repository.git(&["init", "-q", "-b", "main"]);
        repository.commit("index.php", "one");
        repository
    }

    async fn get(&self, url: &str, reference: &str) -> Result<GitCheckout, Error> {
        let reference: GitReference = reference.parse().unwrap();
        self.fetcher.checkout(&Context::new(), &GitSource::new(url, reference)?).await
    }
}

struct Repository(PathBuf);

impl Repository {
    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .arg("-C")
            .arg(&self.0)
            .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
            .args(["-c", "commit.gpgSign=false", "-c", "tag.gpgSign=false"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit(&self, name: &str, text: &str) -> String {
        std::fs::write(self.0.join(name), text).unwrap();
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "change"]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn url(&self) -> String {
        format!("file://{}", self.0.display())
    }
}

fn entries(tar: &Path) -> Vec<(String, u32, String)> {
    let mut archive = tar::Archive::new(std::fs::File::open(tar).unwrap());
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mode = entry.header().mode().unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
        (path, mode, text)
    });
    entries.collect()
}

fn text_of(tar: &Path, name: &str) -> String {
    let found = entries(tar).into_iter().find(|(path, ..)| path == name);
    found.unwrap_or_else(|| panic!("no {name}")).2
}

async fn every_kind_of_reference() {
    let bench = Bench::new();
    let repository = bench.repository();
    let first = repository.git(&["rev-parse", "HEAD"]);
    repository.git(&["tag", "-a", "v1", "-m", "first"]);
    repository.git(&["tag", "plain"]);
    let second = repository.commit("index.php", "two");
    repository.git(&["branch", "work/x"]);
    // A tag and a branch of one name: the branch wins.
    repository.git(&["branch", "v2"]);
    repository.git(&["tag", "v2", &first]);
    for (reference, commit) in [
        ("HEAD", &second),
        ("main", &second),
        ("refs/heads/work/x", &second),
        ("v1", &first),
        ("refs/tags/v1", &first),
        ("plain", &first),
        ("v2", &second),
        ("refs/tags/v2", &first),
        (first.as_str(), &first),
    ] {
        for url in [repository.url(), repository.0.display().to_string()] {
            let checkout = bench.get(&url, reference).await.unwrap();
            assert_eq!(&checkout.commit, commit, "{reference}");
            let text = if *commit == first { "one" } else { "two" };
            assert_eq!(text_of(&checkout.tar, "index.php"), text);
        }
    }
    let left = std::fs::read_dir(bench.dir.path().join("cache/git")).unwrap().count();
    assert_eq!(left, 0, "the repository is removed");
}

async fn every_file_is_in() {
    let bench = Bench::new();
    let repository = bench.repository();
    std::fs::create_dir(repository.0.join("tests")).unwrap();
    std::fs::write(repository.0.join("tests/secret.txt"), "kept").unwrap();
    std::fs::write(repository.0.join("version"), "$Format:%H$").unwrap();
    let script = repository.0.join("run");
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).unwrap();
    std::os::unix::fs::symlink("run", repository.0.join("link")).unwrap();
    let text = "/tests export-ignore\n/version export-subst\n*.php filter=unknown\n";
    repository.commit(".gitattributes", text);
    let tar = bench.get(&repository.url(), "main").await.unwrap().tar;
    assert_eq!(text_of(&tar, "tests/secret.txt"), "kept");
    assert_eq!(text_of(&tar, "version"), "$Format:%H$");
    let mode = |name: &str| entries(&tar).into_iter().find(|(path, ..)| path == name).unwrap().1;
    assert_eq!((mode("run") & 0o777, mode("version") & 0o777), (0o755, 0o644));
    assert_eq!(mode("tests/") & 0o777, 0o755);
}

async fn a_known_commit_needs_no_network() {
    let bench = Bench::new();
    let repository = bench.repository();
    let url = repository.url();
    let commit = repository.git(&["rev-parse", "HEAD"]);
    assert!(!bench.get(&url, "main").await.unwrap().from_cache);
    assert!(bench.get(&url, "main").await.unwrap().from_cache);
    std::fs::remove_dir_all(&repository.0).unwrap();
    assert!(bench.get(&url, &commit).await.unwrap().from_cache);
    assert_eq!(bench.get(&url, "main").await.unwrap_err().kind(), ErrorKind::NotFound);
}

async fn a_branch_that_moved() {
    let bench = Bench::new();
    let repository = bench.repository();
    let before = bench.get(&repository.url(), "main").await.unwrap();
    let moved = repository.commit("index.php", "two");
    let leftover = bench.dir.path().join("cache/git/git-of-a-killed-run");
    std::fs::create_dir_all(leftover.join("objects")).unwrap();
    let after = bench.get(&repository.url(), "main").await.unwrap();
    assert_eq!((after.commit, after.from_cache), (moved, false));
    assert!(!leftover.exists());
    assert_eq!(text_of(&before.tar, "index.php"), "one");
    assert_eq!(text_of(&after.tar, "index.php"), "two");
}

async fn a_commit_behind_a_branch() {
    let bench = Bench::new();
    let repository = bench.repository();
    let first = repository.git(&["rev-parse", "HEAD"]);
    repository.commit("index.php", "two");
    // An older protocol gives by id only what a branch or tag is at.
    repository.git(&["config", "protocol.version", "0"]);
    let checkout = bench.get(&repository.url(), &first).await.unwrap();
    assert_eq!(text_of(&checkout.tar, "index.php"), "one");
    let unknown = "0123456789".repeat(4);
    let error = bench.get(&repository.url(), &unknown).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
}

async fn submodules_are_in() {
    let bench = Bench::new();
    let repository = bench.repository();
    let module = |name: &str, file: &str| {
        let path = bench.dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        let module = Repository(path);
        module.git(&["init", "-q", "-b", "main"]);
        module.commit(file, name);
        module
    };
    let (lib, deep) = (module("lib", "lib.txt"), module("deep", "deep.txt"));
    let add = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add"];
    lib.git(&[&add[..], &["../deep", "inner"]].concat());
    lib.git(&["commit", "-q", "-m", "deep"]);
    repository.git(&[&add[..], &["../lib", "vendor/lib"]].concat());
    let commit = repository.commit("index.php", "with lib");
    // What comes later is not what the commit names.
    lib.commit("lib.txt", "later");
    let checkout = bench.get(&repository.url(), "main").await.unwrap();
    assert_eq!(checkout.commit, commit);
    assert_eq!(text_of(&checkout.tar, "index.php"), "with lib");
    assert_eq!(text_of(&checkout.tar, "vendor/lib/lib.txt"), "lib");
    assert_eq!(text_of(&checkout.tar, "vendor/lib/inner/deep.txt"), "deep");
    let again = Bench::new();
    let same = again.get(&repository.url(), "main").await.unwrap();
    assert!(std::fs::read(same.tar).unwrap() == std::fs::read(&checkout.tar).unwrap());
    // What would take another's files is refused, whatever git is set to.
    let url = deep.0.display().to_string();
    repository.git(&["config", "-f", ".gitmodules", "submodule.vendor/lib.url", &url]);
    repository.commit("index.php", "taking");
    let error = bench.get(&repository.url(), "main").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error:?}");
    assert_eq!(error.context_value("submodule"), Some("vendor/lib"));
    repository.git(&["config", "-f", ".gitmodules", "submodule.vendor/lib.update", "none"]);
    repository.commit("index.php", "without");
    let tar = bench.get(&repository.url(), "main").await.unwrap().tar;
    assert!(!entries(&tar).iter().any(|(path, ..)| path.contains("lib.txt")));
}

async fn pointers_are_refused() {
    let bench = Bench::new();
    let repository = bench.repository();
    std::fs::create_dir(repository.0.join("media")).unwrap();
    std::fs::write(repository.0.join("media/.gitattributes"), "*.bin filter=lfs\n").unwrap();
    repository.commit("media/readme", "no pointer yet");
    bench.get(&repository.url(), "main").await.unwrap();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
    repository.git(&["config", "filter.lfs.clean", "cat"]);
    repository.commit("media/a.bin", pointer);
    let error = bench.get(&repository.url(), "main").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    assert!(error.to_string().contains("media/a.bin"), "{error}");
    assert!(error.hints().any(|hint| hint.contains("git lfs pull")));
}

async fn a_page_is_no_repository() {
    let bench = Bench::new();
    let page = b"<!DOCTYPE html>\n<html>\n<title>hello</title>\n</html>\n";
    let server = Server::start(|request| match request.path.split('/').nth(1) {
        Some("away") => Reply::new("302 Found", &[("Location", "file:///srv/x")], b""),
        _ => Reply::new("200 OK", &[("Content-Type", "text/html")], page),
    });
    for path in ["/page", "/away"] {
        let error = bench.get(&server.url(path), "main").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{path}: {error:?}");
        assert!(error.hints().count() > 0);
    }
}

async fn a_login_is_not_redirected() {
    let bench = Bench::new();
    let elsewhere = Server::start(|_| Reply::new("404 Not Found", &[], b""));
    let target = format!("{}/x/info/refs?service=git-upload-pack", elsewhere.url(""));
    let target = target.replace("127.0.0.1", "localhost");
    let server = Server::start(move |_| Reply::new("302 Found", &[("Location", &target)], b""));
    let url = server.url("/x").replace("http://", "http://me:hush@");
    let error = bench.get(&url, "main").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error:?}");
    assert_eq!(elsewhere.count(), 0);
    bench.get(&server.url("/x"), "main").await.unwrap_err();
    assert!(elsewhere.count() > 0, "without a login it is followed");
}

async fn errors_have_their_kinds() {
    let bench = Bench::new();
    let repository = bench.repository();
    let missing = bench.get(&repository.url(), "no-such-branch").await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(missing.to_string().contains("no-such-branch") && missing.hints().count() > 0);
    let nowhere = bench.get("/nonexistent/repository", "main").await.unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::NotFound, "{nowhere:?}");
    for url in ["http://127.0.0.1:1/x", "git://127.0.0.1:1/x"] {
        let error = bench.get(url, "main").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    }
    let server = Server::start(|request| match request.path.split('/').nth(1) {
        Some("private") => {
            let challenge = ("WWW-Authenticate", "Basic realm=\"x\"");
            Reply::new("401 Unauthorized", &[challenge], b"")
        }
        Some("forbidden") => Reply::new("403 Forbidden", &[], b""),
        _ => Reply::new("404 Not Found", &[], b""),
    });
    for (path, kind) in [
        ("/private", ErrorKind::Unauthenticated),
        ("/forbidden", ErrorKind::PermissionDenied),
        ("/none", ErrorKind::NotFound),
    ] {
        let error = bench.get(&server.url(path), "main").await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
    }
}

async fn a_password_stays_out_of_sight() {
    let bench = Bench::new();
    let server = Server::start(|_| Reply::new("403 Forbidden", &[], b""));
    let url = server.url("/x").replace("http://", "http://me:hush@");
    let error = bench.get(&url, "main").await.unwrap_err();
    assert!(!format!("{error:?} {error}").contains("hush"));
    assert_eq!(server.requests()[0].header("authorization"), Some("Basic bWU6aHVzaA=="));
}

async fn a_cancelled_fetch_ends_git() {
    let bench = Bench::new();
    let server = Server::start(|_| Reply::raw("").then_stall());
    let source: GitSource = server.url("/x").parse().unwrap();
    let ctx = Context::new().with_timeout(std::time::Duration::from_millis(500));
    let error = bench.fetcher.checkout(&ctx, &source).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(server.count(), 1);
    let marker = server.address.as_bytes();
    let alive = || {
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let mut lines = processes.filter_map(|dir| std::fs::read(dir.path().join("cmdline")).ok());
        lines.any(|line| line.windows(marker.len()).any(|part| part == marker))
    };
    for _ in 0..100 {
        if !alive() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("a helper of git is left");
}

async fn by_the_git_protocol() {
    let bench = Bench::new();
    let repository = bench.repository();
    let port = free_port();
    let base = format!("--base-path={}", bench.dir.path().display());
    let port_argument = format!("--port={port}");
    let arguments = ["daemon", "--export-all", "--listen=127.0.0.1", "--reuseaddr"];
    let mut command = Command::new("git");
    // Not by way of `git`, which would leave its child behind.
    let exec = Command::new("git").arg("--exec-path").output().unwrap().stdout;
    let exec = PathBuf::from(String::from_utf8(exec).unwrap().trim()).join("git-daemon");
    if exec.is_file() {
        command = Command::new(exec);
        command.args(&arguments[1..]);
    } else {
        command.args(arguments);
    }
    let _daemon = Daemon::start(command.args([base, port_argument]), port);
    let url = format!("git://127.0.0.1:{port}/shop");
    let checkout = bench.get(&url, "main").await.unwrap();
    assert_eq!(checkout.commit, repository.git(&["rev-parse", "HEAD"]));
    let error = bench.get(&format!("git://127.0.0.1:{port}/none"), "main").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
}
