//! Fetching from the real thing: the `git` program and its servers, Debian's
//! `docker-registry`, and nginx with TLS.
//!
//! A case whose program is missing is shown as ignored, with the reason in
//! front of its name; it fails where `FLOCK_TEST_REQUIRE` (a comma list of
//! `git`, `registry`, `nginx`, `root`) names it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail so")]

mod fetch_support;
#[path = "fetch_services/full_disk.rs"]
mod full_disk;
#[path = "fetch_services/git.rs"]
mod git;
#[path = "fetch_services/nginx.rs"]
mod nginx;
#[path = "fetch_services/registry.rs"]
mod registry;

use std::future::Future;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let cases =
        [git::cases(), registry::cases(), nginx::cases(), full_disk::cases()].into_iter().flatten();
    libtest_mimic::run(&arguments, cases.collect()).exit();
}

/// A test that needs programs.
fn case<F: Future<Output = ()>>(
    service: &'static str,
    programs: &'static [&'static str],
    name: &str,
    test: impl FnOnce() -> F + Send + 'static,
) -> Trial {
    let may = service != "root" || rustix::process::geteuid().is_root();
    let missing = programs.iter().copied().find(|program| !is_there(program));
    let missing = missing.or((!may).then_some("root"));
    let required = std::env::var("FLOCK_TEST_REQUIRE")
        .is_ok_and(|list| list.split(',').any(|name| name.trim() == service));
    let name = format!("{service}::{name}");
    match missing {
        None => Trial::test(name, move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()?;
            runtime.block_on(test());
            Ok(())
        }),
        Some(program) if required => Trial::test(name, move || {
            Err(Failed::from(format!("{program} is missing, and {service} is required")))
        }),
        Some(program) => Trial::test(name, || Ok(()))
            .with_kind(format!("needs {program}"))
            .with_ignored_flag(true),
    }
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where Debian keeps daemons, and git its own parts.
    let more = if program.starts_with("git-") { "/usr/lib/git-core" } else { "/usr/sbin" };
    let more = std::iter::once(std::path::PathBuf::from(more));
    std::env::split_paths(&path).chain(more).any(|dir| dir.join(program).is_file())
}

/// A server that ends with the test.
struct Daemon(Child);

impl Daemon {
    fn start(command: &mut Command, port: u16) -> Self {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let daemon = Self(quiet.spawn().unwrap());
        let begin = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(20), "{command:?} does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
