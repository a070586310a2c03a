//! A download onto a disk that is too small for it.

use std::path::{Path, PathBuf};
use std::process::Command;

use flock_core::cache::Cache;
use flock_core::fetch::{Fetcher, Location};
use flock_core::{Context, ErrorKind};
use libtest_mimic::Trial;

use super::case;
use super::fetch_support::{Reply, Server, noise, options};

pub(crate) fn cases() -> Vec<Trial> {
    vec![case("root", &["mount"], "a_full_disk_keeps_what_came", a_full_disk_keeps_what_came)]
}

/// A file system in memory, unmounted with the test.
struct Disk(PathBuf);

impl Disk {
    fn of(bytes: usize, at: &Path) -> Self {
        std::fs::create_dir(at).unwrap();
        let disk = Self(at.to_path_buf());
        disk.mount(&format!("size={bytes}"));
        disk
    }

    fn grow(&self, bytes: usize) {
        self.mount(&format!("remount,size={bytes}"));
    }

    fn mount(&self, options: &str) {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&self.0);
        assert!(mount.status().unwrap().success(), "{options}");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

async fn a_full_disk_keeps_what_came() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::of(1 << 20, &dir.path().join("disk"));
    let body = noise(3 << 20);
    let server = Server::start({
        let body = body.clone();
        let tag = ("ETag", "\"one\"");
        move |request| match request.from() {
            None => Reply::new("200 OK", &[tag], &body),
            Some(from) => {
                let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
                let headers = [tag, ("Content-Range", range.as_str())];
                Reply::new("206 Partial Content", &headers, &body[from..])
            }
        }
    });
    let mut options = options(dir.path());
    options.cache = Cache::at(disk.0.join("cache"));
    let fetcher = Fetcher::new(options);
    let source: Location = server.url("/base.tar").parse().unwrap();
    let error = fetcher.fetch(&Context::new(), &source, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error:?}");
    assert!(error.hints().any(|hint| hint.contains("goes on from there")), "{error:?}");
    let kept: usize = error.context_value("bytes_received").unwrap().parse().unwrap();
    assert!(kept > 500_000, "{kept}");
    disk.grow(8 << 20);
    let fetched = fetcher.fetch(&Context::new(), &source, None).await.unwrap();
    assert!(std::fs::read(&fetched.path).unwrap() == body);
    let starts: Vec<_> =
        server.requests().iter().map(super::fetch_support::Request::from).collect();
    assert_eq!(starts, [None, Some(kept)]);
}
