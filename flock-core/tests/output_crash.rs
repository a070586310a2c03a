//! Outputs and cache files under `kill -9`, two writers at once, a full disk.
//!
//! The test binary starts itself again as the writer that is killed. The tests
//! of a full disk mount a small tmpfs, which takes root; elsewhere they show
//! as ignored, or fail where `FLOCK_TEST_REQUIRE` names `root`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test with a harness of its own")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flock_core::cache::{Cache, CacheKey};
use flock_core::rootfs::output::{OutputFile, OutputOptions};
use flock_core::rootfs::source;
use flock_core::{Context, ErrorKind};
use libtest_mimic::{Arguments, Failed, Trial};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// Names the directory that a child writes to, and makes it one.
const CHILD: &str = "FLOCK_TEST_OUTPUT_CRASH_DIR";

const KILLS: u32 = 30;
const NAMES: [&str; 3] = ["one.tar", "two.tar", "three.tar"];
const LEN: usize = 1 << 20;

fn main() -> ExitCode {
    if let Some(dir) = std::env::var_os(CHILD) {
        return write_for_ever(Path::new(&dir));
    }
    let arguments = Arguments::from_args();
    let mount = MountedDisk::possible();
    let tests = vec![
        Trial::test("killed_at_any_moment_nothing_incomplete_has_a_name", killed_at_any_moment),
        Trial::test("the_second_writer_fails_at_once_and_names_the_first", two_at_once),
        needing_root("a_full_disk_is_an_error_and_leaves_nothing", mount.clone(), full_disk),
        needing_root("a_full_cache_is_an_error_and_leaves_nothing", mount, full_cache),
    ];
    libtest_mimic::run(&arguments, tests).exit_code()
}

fn needing_root(
    name: &str,
    possible: Result<(), String>,
    test: fn() -> Result<(), Failed>,
) -> Trial {
    let required = std::env::var("FLOCK_TEST_REQUIRE")
        .is_ok_and(|list| list.split(',').any(|item| item.trim() == "root"));
    match possible {
        Err(reason) if required => Trial::test(name, move || {
            Err(format!("FLOCK_TEST_REQUIRE names root, but: {reason}").into())
        }),
        Err(reason) => Trial::test(name, test).with_ignored_flag(true).with_kind(reason),
        Ok(()) => Trial::test(name, test),
    }
}

/// What an output of this number holds when it is complete.
fn content(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(LEN / 8)
}

fn is_complete(content: &[u8]) -> bool {
    content.len() == LEN && content.chunks(8).all(|chunk| *chunk == content[..8])
}

/// The child: makes outputs and cache files until it is killed.
fn write_for_ever(dir: &Path) -> ExitCode {
    let cache = Cache::at(dir.join("cache"));
    let options = OutputOptions::default().with_force(true);
    for (number, name) in (0..).zip(NAMES.iter().cycle()) {
        let output = OutputFile::create(dir.join(name), &options).unwrap();
        let mut file = cache.insert(&CacheKey::derived("test", &[name])).unwrap();
        if number == 0 {
            println!("writing");
        }
        for piece in content(number).chunks(64 << 10) {
            output.file().write_all(piece).unwrap();
            file.write_all(piece).unwrap();
        }
        file.commit().unwrap();
        output.commit().unwrap();
    }
    ExitCode::SUCCESS
}

/// A child that is writing by now.
fn start_child(dir: &Path) -> Result<Child, Failed> {
    let mut child =
        Command::new(std::env::current_exe()?).env(CHILD, dir).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    assert_eq!(line, "writing\n");
    Ok(child)
}

fn kill(mut child: Child) -> Result<(), Failed> {
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// Every file in `dir`, with its content; none without the directory.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let entries = entries.map(|entry| entry.unwrap());
    entries
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}

fn leftovers(dir: &Path) -> usize {
    let hidden = files(dir).iter().filter(|(name, _)| name.starts_with('.')).count();
    hidden + files(&dir.join("cache/tmp")).len()
}

fn killed_at_any_moment() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let (mut complete, mut left) = (0, 0);
    let mut random = u64::from(SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos());
    for round in 0..KILLS {
        let child = start_child(dir.path())?;
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(Duration::from_micros((random >> 33) % 30_000));
        kill(child)?;
        left += leftovers(dir.path());
        let named = files(dir.path()).into_iter().filter(|(name, _)| !name.starts_with('.'));
        for (name, content) in named.chain(files(&dir.path().join("cache/files"))) {
            assert!(is_complete(&content), "round {round}: {name} has {} bytes", content.len());
            complete += 1;
        }
    }
    assert!(complete > 0, "the children never came to the end of a file");
    assert!(left > 0, "the children were never killed in the middle");
    // The next run of each output, and of the cache, cleans up.
    let cache = Cache::at(dir.path().join("cache"));
    for name in NAMES {
        let options = OutputOptions::default().with_force(true);
        OutputFile::create(dir.path().join(name), &options)?.commit()?;
    }
    cache.insert(&CacheKey::derived("test", &["next"]))?.commit()?;
    assert_eq!(leftovers(dir.path()), 0);
    Ok(())
}

fn two_at_once() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let child = start_child(dir.path())?;
    let process = Pid::from_child(&child);
    let open = |name: &str| {
        let options = OutputOptions::default().with_force(true);
        OutputFile::create(dir.path().join(name), &options).map(drop)
    };
    // Stopped, it keeps what it has open; but it may be between two files.
    let mut refused = Vec::new();
    for _ in 0..100 {
        kill_process(process, Signal::STOP)?;
        waitpid(Some(process), WaitOptions::UNTRACED)?;
        refused = NAMES.iter().filter_map(|name| open(name).err()).collect();
        if !refused.is_empty() {
            break;
        }
        kill_process(process, Signal::CONT)?;
        std::thread::sleep(Duration::from_millis(1));
    }
    kill(child)?;
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0].kind(), ErrorKind::Conflict);
    if cfg!(target_os = "linux") {
        let name = format!("process {}", process.as_raw_nonzero());
        assert!(refused[0].to_string().contains(&name), "{}", refused[0]);
    }
    for name in NAMES {
        open(name)?;
    }
    Ok(())
}

/// A tmpfs of 4 MiB.
struct MountedDisk(tempfile::TempDir);

impl MountedDisk {
    /// Whether this process may mount one, or else why not.
    fn possible() -> Result<(), String> {
        if !cfg!(target_os = "linux") || !rustix::process::geteuid().is_root() {
            return Err("needs root, to mount a small disk".to_owned());
        }
        Self::new().map(drop)
    }

    fn new() -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m", "flock-test"]).arg(dir.path());
        match mount.output() {
            Ok(output) if output.status.success() => Ok(Self(dir)),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(format!("mount: {error}")),
        }
    }
}

impl Drop for MountedDisk {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(self.0.path()).status().unwrap();
        assert!(status.success(), "umount {}", self.0.path().display());
    }
}

fn full_disk() -> Result<(), Failed> {
    let disk = MountedDisk::new()?;
    let path = disk.0.path().join("out.tar");
    let output = OutputFile::create(&path, &OutputOptions::default())?;
    let error = loop {
        if let Err(error) = output.file().write_all(&content(1)) {
            break flock_core::Error::io("write", output.path(), error);
        }
    };
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
    assert!(error.hints().count() > 0);
    drop(output);
    assert_eq!(files(disk.0.path()), []);
    Ok(())
}

fn full_cache() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let base = dir.path().join("base.tar.zst");
    fs::write(&base, zstd::bulk::compress(&vec![7; 20 << 20], 1)?)?;
    let disk = MountedDisk::new()?;
    let options = source::OpenOptions::new(Cache::at(disk.0.path()));
    let error = source::open(&base, &options, &Context::new()).map(drop);
    let error = error.err().ok_or("20 MiB fit on a disk of 4 MiB")?;
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error:?}");
    assert!(error.hints().any(|hint| hint.contains("cache")), "{error:?}");
    assert_eq!(Cache::at(disk.0.path()).size()?, 0);
    Ok(())
}
