//! Programs: whether they are there, and how they are run.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use flock_core::conformance::{Service, service};

/// A service that is there when the program is.
pub(crate) fn program(name: &str) -> Service {
    service(name, find(name).map(drop).ok_or_else(|| format!("`{name}` is not installed")))
}

/// Looks in `PATH`, and where Debian keeps daemons.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    places.find_map(|place| Some(place.join(name)).filter(|path| path.is_file()))
}

/// A program that neither reads nor shows anything.
pub(crate) fn command(name: &str) -> Command {
    let mut command = Command::new(find(name).unwrap());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A server that ends with the test.
pub(crate) struct Daemon(Child);

impl Daemon {
    /// Starts it, and waits until it listens at these ports.
    pub(crate) fn start(command: &mut Command, ports: &[u16]) -> Self {
        let mut daemon = Self(command.spawn().unwrap());
        let begin = Instant::now();
        for port in ports {
            while TcpStream::connect(("127.0.0.1", *port)).is_err() {
                let ended = daemon.0.try_wait().unwrap();
                assert_eq!(ended, None, "{command:?} ended");
                let is_late = begin.elapsed() > Duration::from_secs(30);
                assert!(!is_late, "{command:?} does not listen");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that is free. Below those that the kernel gives out by itself, so
/// that no connection of another test takes it meanwhile.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id() * 16;
    let next = || 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
    let ports = std::iter::repeat_with(next).take(1000).map(|port| u16::try_from(port).unwrap());
    let mut free = ports.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().unwrap()
}

/// nginx with these `server` blocks, which is told its directory apart.
pub(crate) fn nginx(dir: &Path, servers: &str, ports: &[u16]) -> Daemon {
    let place = dir.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {place}/temporary;"))
        .join(" ");
    // Who runs the tests may read and write the directory.
    let user = if is_root() { "user root;" } else { "" };
    let config = format!(
        "{user} daemon off; master_process off; pid {place}/pid; error_log {place}/log; \
         events {{ }}\n\
         http {{ access_log off; client_max_body_size 0; {temporary}\n{servers}\n}}\n"
    );
    let file = dir.join("nginx.conf");
    std::fs::write(&file, config).unwrap();
    let mut nginx = command("nginx");
    nginx.arg("-p").arg(dir).arg("-c").arg(file).arg("-e").arg(dir.join("log"));
    Daemon::start(&mut nginx, ports)
}

/// Whether this process may do anything: `/proc` is root's then.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}
