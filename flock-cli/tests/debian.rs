//! A real Debian base with everything a root file system can hold, merged by
//! flock and by hand with GNU tar: the same to the last attribute. And an
//! appliance of an untouched base, in which a shell runs.

mod harness;
#[path = "harness/snapshot.rs"]
mod snapshot;

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use flock_core::conformance::{self, Failure, Service, Suite, ensure, service};
use harness::{Doing as _, Kind, Outcome, Place, find, run};
use snapshot::Snapshot;

/// Options with which GNU tar keeps all that it can.
const ALL: [&str; 4] = ["--numeric-owner", "--acls", "--xattrs", "--xattrs-include=*"];
const WWWROOT: &str = "var/www/html";

fn main() -> ExitCode {
    let suite = Suite::new("debian")
        .with_time_limit(Duration::from_secs(900))
        .with_service(harness::root())
        .with_service(debian())
        .test("merged_equals_what_gnu_tar_makes", merged_equals)
        .test("a_shell_runs_in_the_appliance", a_shell_runs);
    conformance::main([suite])
}

fn debian() -> Service {
    let programs = ["mmdebstrap", "tar", "setcap", "setfattr", "setfacl", "mknod", "chroot"];
    let missing = programs.into_iter().find(|program| find(program).is_none());
    let probe = missing.map_or(Ok(()), |program| Err(format!("`{program}` is not installed")));
    service("debian", probe)
}

/// A smallest Debian, made once for both tests and kept for a day.
fn debian_base() -> Outcome<&'static Path> {
    static BASE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let made = BASE.get_or_init(|| make_base().map_err(|failure| failure.to_string()));
    made.as_deref().map_err(|failure| Failure::new(failure.clone()))
}

fn make_base() -> Outcome<PathBuf> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-minbase.tar");
    let age = fs::metadata(&path).and_then(|found| found.modified()).ok();
    let age = age.and_then(|time| SystemTime::now().duration_since(time).ok());
    if age.is_some_and(|age| age < Duration::from_secs(86_400)) {
        return Ok(path);
    }
    let unfinished = path.with_extension(format!("{}.tar", std::process::id()));
    run(Command::new("mmdebstrap")
        .args(["--quiet", "--variant=minbase", "bookworm"])
        .arg(&unfinished))?;
    fs::rename(&unfinished, &path).doing("keep the base")?;
    Ok(path)
}

fn unpack(tar: &Path, directory: &Path) -> Outcome {
    fs::create_dir_all(directory).doing("make a directory")?;
    run(Command::new("tar").args(ALL).arg("-xpf").arg(tar).arg("-C").arg(directory))?;
    Ok(())
}

fn pack(directory: &Path, tar: &Path) -> Outcome {
    let mut command = Command::new("tar");
    command.args(ALL).args(["--format=posix", "--sparse", "-cf"]).arg(tar);
    run(command.arg("-C").arg(directory).arg("."))?;
    Ok(())
}

async fn merged_equals() -> Outcome {
    let place = Place::new()?;
    let (base, application) = (place.path("base.tar"), place.path("application.tar"));
    let seasoned = place.path("seasoned");
    unpack(debian_base()?, &seasoned)?;
    season(&seasoned)?;
    pack(&seasoned, &base)?;
    fill_application(&place.path("files"))?;
    pack(&place.path("files"), &application)?;

    let ours = place.path("flock.tar");
    run(&mut place.build(&place.app(&base, &application)?, &ours, Kind::Tar("none")))?;

    let by_hand = place.path("by-hand");
    unpack(&base, &by_hand)?;
    let wwwroot = by_hand.join(WWWROOT);
    run(Command::new("find").arg(&wwwroot).args(["-mindepth", "1", "-delete"]))?;
    unpack(&application, &wwwroot)?;
    let theirs = place.path("gnu.tar");
    pack(&by_hand, &theirs)?;

    unpack(&ours, &place.path("ours"))?;
    unpack(&theirs, &place.path("theirs"))?;
    let (got, wanted) = (Snapshot::of(&place.path("ours"))?, Snapshot::of(&place.path("theirs"))?);
    harness::note(format_args!("{} paths compared", wanted.len()));
    ensure(wanted.len() > 5_000, "that is no Debian base")?;
    got.expect_same(&wanted)?;
    ensure(members(&ours)? == members(&theirs)?, "the tars do not list the same members")
}

/// The names in a tar, sorted, each as often as it occurs.
fn members(tar: &Path) -> Outcome<Vec<Vec<u8>>> {
    let output = run(Command::new("tar").args(["--quoting-style=literal", "-tf"]).arg(tar))?;
    let names = output.stdout.split(|&byte| byte == b'\n');
    let trim = |name: &[u8]| name.strip_prefix(b"./").unwrap_or(name).to_vec();
    let mut names: Vec<_> = names.map(trim).collect();
    names.sort();
    Ok(names)
}

/// Adds to a root file system what Debian's smallest does not have.
fn season(root: &Path) -> Outcome {
    let wwwroot = root.join(WWWROOT);
    fs::create_dir_all(wwwroot.join("old/deep")).doing("make the web root")?;
    let write = |name: &str, contents: &[u8]| -> Outcome<PathBuf> {
        let path = root.join(name);
        fs::write(&path, contents).doing(path.display())?;
        Ok(path)
    };
    // Hard links across the border of what is replaced, either way round.
    let inside = write(&format!("{WWWROOT}/old/a"), b"first name inside\n")?;
    fs::hard_link(&inside, root.join("srv/z-link")).doing("link")?;
    let outside = write("srv/b", b"first name outside\n")?;
    fs::hard_link(&outside, wwwroot.join("b-link")).doing("link")?;
    fs::hard_link(&outside, root.join("etc/b-link")).doing("link")?;
    write(&format!("{WWWROOT}/index.html"), b"the distribution's page\n")?;

    let probe = write("usr/bin/probe", b"#!/bin/true\n")?;
    run(Command::new("setcap").arg("cap_net_raw,cap_net_admin+ep").arg(&probe))?;
    let noted = write("srv/noted", b"with attributes\n")?;
    for attribute in ["user.comment", "trusted.note"] {
        let set = ["-n", attribute, "-v", "line one\nline two=yes"];
        run(Command::new("setfattr").args(set).arg(&noted))?;
    }
    run(Command::new("setfattr")
        .args(["-n", "user.on-a-directory", "-v", ""])
        .arg(root.join("srv")))?;
    run(Command::new("setfacl").args(["-m", "u:1234:rw,g:4321:r"]).arg(&noted))?;
    run(Command::new("setfacl").args(["-d", "-m", "u:1234:rwx"]).arg(root.join("var/www")))?;

    chown(write("srv/large-ids", b"")?, Some(3_000_000), Some(4_000_000_000)).doing("chown")?;
    let timed = File::create(root.join("srv/timed")).doing("make a file")?;
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_789);
    timed.set_times(FileTimes::new().set_modified(time)).doing("set the time")?;
    let ancient = File::create(root.join("srv/before-1970")).doing("make a file")?;
    let time = SystemTime::UNIX_EPOCH - Duration::from_secs(86_400);
    ancient.set_times(FileTimes::new().set_modified(time)).doing("set the time")?;
    let sparse = File::create(root.join("srv/sparse")).doing("make a file")?;
    sparse.set_len(64 << 20).doing("make a hole")?;
    for offset in [4096, 1 << 20, 33 << 20] {
        sparse.write_all_at(b"an island", offset).doing("write an island")?;
    }
    for arguments in [["srv/null", "c", "1", "3"], ["srv/disk", "b", "259", "70000"]] {
        run(Command::new("mknod").current_dir(root).args(arguments))?;
    }
    run(Command::new("mkfifo").arg(root.join("srv/pipe")))?;
    odd_names(&root.join("srv"))
}

/// Names that some programs stumble over.
fn odd_names(directory: &Path) -> Outcome {
    fs::create_dir(directory.join("empty")).doing("make a directory")?;
    fs::set_permissions(directory.join("empty"), Permissions::from_mode(0o1777)).doing("chmod")?;
    let latin1 = OsStr::from_bytes(b"caf\xe9");
    fs::write(directory.join(latin1), b"not UTF-8\n").doing("write")?;
    fs::write(directory.join("new\nline"), b"").doing("write")?;
    let long = directory.join("l".repeat(120)).join("o".repeat(200));
    fs::create_dir_all(&long).doing("make a directory")?;
    fs::write(long.join("n".repeat(255)), b"long\n").doing("write")?;
    symlink("t".repeat(300), directory.join("long-target")).doing("link")?;
    symlink(OsStr::from_bytes(b"/nowhere/\xff"), directory.join("latin1-target")).doing("link")
}

/// An application as somebody's archive could hold it.
fn fill_application(root: &Path) -> Outcome {
    fs::create_dir_all(root.join("static/img")).doing("make the application")?;
    fs::write(root.join("index.html"), b"<p>hello</p>\n").doing("write")?;
    fs::write(root.join("static/style.css"), b"p { }\n").doing("write")?;
    fs::hard_link(root.join("index.html"), root.join("static/copy.html")).doing("link")?;
    symlink("../index.html", root.join("static/home")).doing("link")?;
    fs::write(root.join("p".repeat(200)), b"long\n").doing("write")?;
    chown(root.join("static"), Some(33), Some(33)).doing("chown")?;
    odd_names(&root.join("static"))
}

async fn a_shell_runs() -> Outcome {
    let place = Place::new()?;
    let app = place.app(debian_base()?, &place.application()?)?;
    let appliance = place.path("appliance.tar.gz");
    run(&mut place.build(&app, &appliance, Kind::Tar("gzip:1")))?;
    run(Command::new("tar").arg("-tf").arg(&appliance))?;
    let root = place.path("root");
    unpack(&appliance, &root)?;
    let script = format!("test -s /{WWWROOT}/index.html && test \"$(id -u)\" = 0 && true");
    run(Command::new("chroot").arg(&root).args(["/bin/sh", "-c", &script]))?;
    Ok(())
}
