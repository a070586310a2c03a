//! What the tests of whole builds share: inputs, the program under test, and
//! looking at its memory from outside.

#![allow(dead_code, reason = "every test program uses its part")]

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use flock_core::conformance::{Failure, Service, service};
use tar::{Builder, EntryType, Header};

/// What the tests return.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// A failure from any error, saying what was being done.
pub(crate) trait Doing<T> {
    /// Names what failed.
    fn doing(self, what: impl Display) -> Outcome<T>;
}

impl<T, E: Display> Doing<T> for Result<T, E> {
    fn doing(self, what: impl Display) -> Outcome<T> {
        self.map_err(|error| Failure::new(format!("{what}: {error}")))
    }
}

/// The service `root`: unpacking with owners and devices needs it.
pub(crate) fn root() -> Service {
    let root = rustix::process::geteuid().is_root();
    service("root", if root { Ok(()) } else { Err("not run as root".to_owned()) })
}

/// A service that is there when all of `programs` are in `PATH` (and, if the
/// name is that of something only root can do, for root).
pub(crate) fn programs(name: &str, programs: &[&str]) -> Service {
    let missing = programs.iter().find(|program| find(program).is_none());
    service(name, missing.map_or(Ok(()), |program| Err(format!("`{program}` is not installed"))))
}

/// Where `PATH` has a program.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    places.find_map(|below| Some(below.join(program)).filter(|path| path.is_file()))
}

/// Tells what was measured; libtest-mimic shows it as it comes.
pub(crate) fn note(text: impl Display) {
    // Nobody reads it: so be it.
    let _ = writeln!(io::stderr(), "{text}");
}

/// A number that the caller may set in the environment.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// What a build makes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// A tar archive with this compression.
    Tar(&'static str),
    /// A disk of this format, with nothing on it but the file system.
    Disk(&'static str),
}

/// A directory with an application, and everything that flock writes.
pub(crate) struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    /// An empty place on the file system that tests are built on.
    pub(crate) fn new() -> Outcome<Self> {
        let below = Path::new(env!("CARGO_TARGET_TMPDIR"));
        Ok(Self { directory: tempfile::tempdir_in(below).doing("make a directory")? })
    }

    /// A path in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The directory of the application, with a `config.yaml` for these
    /// inputs.
    pub(crate) fn app(&self, base: &Path, application: &Path) -> Outcome<PathBuf> {
        let app = self.path("app");
        fs::create_dir_all(&app).doing("make the application")?;
        let config = format!(
            "build:\n  base_format: TAR\n  base_url: {}\n  application_repository: {}\n  \
             application_wwwroot: /var/www/html/\n  repository_type: TAR\n  \
             disk: {{layout: bare, bootloader: none}}\n",
            base.display(),
            application.display(),
        );
        fs::write(app.join("config.yaml"), config).doing("write config.yaml")?;
        Ok(app)
    }

    /// A file of application contents: a few files, and `bytes` in one.
    pub(crate) fn application(&self) -> Outcome<PathBuf> {
        let path = self.path("application.tar");
        let mut tar = Tar::create(&path)?;
        tar.directory("./")?;
        tar.file("index.html", b"<p>hello</p>\n")?;
        tar.directory("static/")?;
        tar.file("static/style.css", b"p { color: green }\n")?;
        tar.finish()?;
        Ok(path)
    }

    /// The command that builds `app` to `output`.
    pub(crate) fn build(&self, app: &Path, output: &Path, kind: Kind) -> Command {
        let mut command = self.flock();
        command.arg("build").arg(app).arg("--output").arg(output);
        match kind {
            Kind::Tar(compression) => command.args(["--compression", compression]),
            Kind::Disk(format) => command.args(["--type", format]),
        };
        command
    }

    /// flock with its own home, so that nothing of the caller's counts.
    pub(crate) fn flock(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flock"));
        let home = self.path("home");
        for (name, below) in [
            ("HOME", ""),
            ("XDG_CACHE_HOME", "cache"),
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_DATA_HOME", "data"),
            ("XDG_STATE_HOME", "state"),
        ] {
            command.env(name, home.join(below));
        }
        command.env("FLOCK_NO_PROGRESS", "1").stdin(Stdio::null());
        command
    }
}

/// Runs a command and returns its output; a failure shows its words.
pub(crate) fn run(command: &mut Command) -> Outcome<Output> {
    let output = command.output().doing(format_args!("run {command:?}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!("{command:?}: {}\n{words}", output.status)))
}

/// Writes tars quickly.
pub(crate) struct Tar {
    builder: Builder<BufWriter<File>>,
}

impl Tar {
    /// Starts a tar.
    pub(crate) fn create(path: &Path) -> Outcome<Self> {
        let file = File::create(path).doing("create a tar")?;
        Ok(Self { builder: Builder::new(BufWriter::with_capacity(1 << 20, file)) })
    }

    /// Adds a directory.
    pub(crate) fn directory(&mut self, path: &str) -> Outcome {
        let mut header = header(EntryType::Directory, 0);
        self.builder.append_data(&mut header, path, io::empty()).doing("write a directory")
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, path: &str, contents: &[u8]) -> Outcome {
        self.file_from(path, contents.len() as u64, contents)
    }

    /// Adds a file of `size` bytes that `contents` yields.
    pub(crate) fn file_from(&mut self, path: &str, size: u64, contents: impl Read) -> Outcome {
        let mut header = header(EntryType::Regular, size);
        self.builder.append_data(&mut header, path, contents).doing("write a file")
    }

    /// Ends the tar.
    pub(crate) fn finish(self) -> Outcome {
        self.builder.into_inner().and_then(|mut file| file.flush()).doing("end a tar")
    }
}

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
    header.set_size(size);
    header.set_mtime(1_700_000_000);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// Bytes that compress to about a half, from a seed, quickly.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    /// The next random number.
    pub(crate) fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for chunk in buffer.chunks_mut(16) {
            let bytes = self.number().to_le_bytes();
            let length = chunk.len().min(8);
            chunk.fill(bytes[0]);
            chunk[..length].copy_from_slice(&bytes[..length]);
        }
        Ok(buffer.len())
    }
}

/// A run that went well and was looked at from outside.
pub(crate) struct Watched {
    /// How long it took.
    pub(crate) wall: Duration,
    /// The largest amount of anonymous memory seen, in bytes.
    pub(crate) memory: u64,
}

/// Runs a command to its good end and looks at its memory every few milliseconds.
pub(crate) fn watch(command: &mut Command) -> Outcome<Watched> {
    let started = Instant::now();
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().doing("run flock")?;
    let mut memory = 0;
    let status = loop {
        memory = memory.max(anonymous(&child));
        if let Some(status) = child.try_wait().doing("wait")? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let wall = started.elapsed();
    if status.success() {
        return Ok(Watched { wall, memory });
    }
    let words = child.wait_with_output().doing("wait")?.stderr;
    Err(Failure::new(format!("{command:?}: {status}\n{}", String::from_utf8_lossy(&words))))
}

/// proc(5), `/proc/PID/status`: RssAnon.
fn anonymous(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let field = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = field.and_then(|value| value.trim().strip_suffix("kB"));
    kilobytes.and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The paths below a directory, sorted, relative to it.
pub(crate) fn listing(directory: &Path) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).doing(next.display())? {
            let entry = entry.doing(next.display())?;
            if entry.file_type().doing("look")?.is_dir() {
                open.push(entry.path());
            }
            found.push(entry.path().strip_prefix(directory).doing("look")?.to_owned());
        }
    }
    found.sort();
    Ok(found)
}
