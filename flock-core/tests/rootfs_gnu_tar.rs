//! The merged tar against GNU tar as root: unpack, replace, pack again, and
//! compare every name with all its metadata.
//!
//! Needs root and GNU tar; ignored with the reason where they are missing,
//! unless `FLOCK_TEST_REQUIRE` names `root`. `FLOCK_TEST_BASE_TAR` and
//! `FLOCK_TEST_APP_TAR`, paths of plain tars, add a case with real ones.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use flock_core::Context;
use flock_core::rootfs::{ReplaceOptions, Sink as _, SourceIndex, TarSink, Tree};
use libtest_mimic::{Arguments, Failed, Trial};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, chownat, makedev, mknodat,
    setxattr, utimensat,
};
use support::snapshot;

const TARGET: &str = "var/www/html";

fn main() {
    let arguments = Arguments::from_args();
    let missing = missing();
    let required = std::env::var("FLOCK_TEST_REQUIRE").unwrap_or_default();
    let is_required = required.split(',').any(|word| word.trim() == "root");
    let real = std::env::var_os("FLOCK_TEST_BASE_TAR").zip(std::env::var_os("FLOCK_TEST_APP_TAR"));
    let no_real = real.is_none().then_some("FLOCK_TEST_BASE_TAR, FLOCK_TEST_APP_TAR not set");
    let trials = vec![
        trial("a_base_in_pax_format", missing, is_required, || synthetic(&POSIX)),
        trial("a_base_in_gnu_format", missing, is_required, || {
            synthetic(&["--format=gnu", "--sparse"])
        }),
        trial("a_base_with_old_sparse_maps", missing, is_required, || {
            synthetic(&[
                "--format=posix",
                "--xattrs",
                "--xattrs-include=*",
                "--sparse",
                "--sparse-version=0.1",
            ])
        }),
        trial(
            "a_base_with_libarchives_attributes",
            missing.or(no_bsdtar()),
            is_required,
            bsdtar_base,
        ),
        trial("a_directory_as_application", missing, is_required, directory_application),
        trial("a_real_base", missing.or(no_real), is_required && no_real.is_none(), move || {
            let (base, app) = real.unwrap_or_default();
            compare(Path::new(&base), Path::new(&app), Path::new(&app))
        }),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

/// What GNU tar is told when it packs with everything.
const POSIX: [&str; 4] = ["--format=posix", "--xattrs", "--xattrs-include=*", "--sparse"];

fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root");
    }
    let version = Command::new("tar").arg("--version").output().ok();
    let is_gnu =
        version.is_some_and(|out| String::from_utf8_lossy(&out.stdout).contains("GNU tar"));
    if is_gnu { None } else { Some("needs GNU tar") }
}

fn no_bsdtar() -> Option<&'static str> {
    let version = Command::new("bsdtar").arg("--version").output();
    if version.is_ok() { None } else { Some("needs bsdtar") }
}

fn trial(
    name: &str,
    missing: Option<&'static str>,
    is_required: bool,
    run: impl FnOnce() -> Result<(), Failed> + Send + 'static,
) -> Trial {
    match missing {
        Some(reason) if is_required => Trial::test(name, move || Err(reason.into())),
        Some(reason) => Trial::test(name, || Ok(())).with_kind(reason).with_ignored_flag(true),
        None => Trial::test(name, run),
    }
}

/// A small base and application with everything in them that is hard.
fn synthetic(format: &[&str]) -> Result<(), Failed> {
    let work = tempfile::tempdir()?;
    let (base, app) = (work.path().join("base"), work.path().join("app"));
    make_base(&base);
    make_application(&app);
    let (base_tar, app_tar) = (work.path().join("base.tar"), work.path().join("app.tar"));
    pack(&base, &base_tar, format)?;
    pack(&app, &app_tar, format)?;
    compare(&base_tar, &app_tar, &app_tar)
}

/// What bsdtar packs, with attributes in records that GNU tar does not read,
/// against what GNU tar packs.
fn bsdtar_base() -> Result<(), Failed> {
    let work = tempfile::tempdir()?;
    let place = |name: &str| work.path().join(name);
    make_base(&place("base"));
    make_application(&place("app"));
    // libarchive writes fractions before 1970 as if they counted backwards.
    touch(&place("base/srv"), -5, 0);
    pack(&place("base"), &place("gnu.tar"), &POSIX)?;
    pack(&place("app"), &place("app.tar"), &POSIX)?;
    let options = ["--format=pax", "--numeric-owner", "--options=xattrheader=LIBARCHIVE", "-cf"];
    let mut bsdtar = Command::new("bsdtar");
    run(bsdtar.args(options).arg(place("bsd.tar")).arg("-C").arg(place("base")).arg("."))?;
    merge_by_flock(&place("bsd.tar"), &place("app.tar"), &place("flock.tar"))?;
    unpack(&place("flock.tar"), &place("flock"))?;
    let merged = merge_by_gnu_tar(&place("gnu.tar"), &place("app.tar"), &place("merged"))?;
    alike(&merged, &place("flock"))
}

fn directory_application() -> Result<(), Failed> {
    let work = tempfile::tempdir()?;
    let (base, app) = (work.path().join("base"), work.path().join("app"));
    make_base(&base);
    make_application(&app);
    // A directory's holes become zeros.
    fs::remove_file(app.join("sparse"))?;
    touch(&app, 1_690_000_003, 7);
    let (base_tar, app_tar) = (work.path().join("base.tar"), work.path().join("app.tar"));
    pack(&base, &base_tar, &POSIX)?;
    pack(&app, &app_tar, &POSIX)?;
    compare(&base_tar, &app_tar, &app)
}

/// Merges in both ways and compares. `app` is what flock gets: the tar that
/// GNU tar gets, or a directory with the same in it.
fn compare(base_tar: &Path, app_tar: &Path, app: &Path) -> Result<(), Failed> {
    let work = tempfile::tempdir()?;
    let place = |name: &str| work.path().join(name);
    let merged = merge_by_gnu_tar(base_tar, app_tar, &place("merged"))?;
    pack(&merged, &place("gnu.tar"), &POSIX)?;
    merge_by_flock(base_tar, app, &place("flock.tar"))?;
    unpack(&place("gnu.tar"), &place("gnu"))?;
    unpack(&place("flock.tar"), &place("flock"))?;
    alike(&place("gnu"), &place("flock"))
}

/// Whether the same is in two directories, with all metadata.
fn alike(want: &Path, got: &Path) -> Result<(), Failed> {
    let (want, got) = (snapshot::of(want), snapshot::of(got));
    let lines = snapshot::differences(&want, &got);
    if lines.is_empty() && want.len() > 1 {
        return Ok(());
    }
    Err(format!("{} of {} names differ:\n{}", lines.len(), want.len(), lines.join("\n")).into())
}

fn merge_by_gnu_tar(base_tar: &Path, app_tar: &Path, root: &Path) -> Result<PathBuf, Failed> {
    unpack(base_tar, root)?;
    let newest = snapshot::of(root).values().map(|facts| facts.mtime.0).max().unwrap_or(0);
    let target = root.join(TARGET);
    let parents: Vec<&Path> =
        target.ancestors().skip(1).take_while(|p| p.starts_with(root)).collect();
    // Making and removing names must not show in the times of the parents.
    let times: Vec<_> = parents.iter().map(|path| fs::symlink_metadata(path).ok()).collect();
    fs::create_dir_all(&target)?;
    run(Command::new("find").arg(&target).args(["-mindepth", "1", "-delete"]))?;
    let app = root.with_extension("app");
    unpack(app_tar, &app)?;
    run(Command::new("cp").args(["-a", "--preserve=all"]).arg(app.join(".")).arg(&target))?;
    for (path, before) in parents.iter().zip(times) {
        match before {
            Some(before) => touch(path, before.mtime(), before.mtime_nsec()),
            None => touch(path, newest, 0),
        }
    }
    Ok(root.to_owned())
}

fn merge_by_flock(base_tar: &Path, app: &Path, output: &Path) -> Result<(), Failed> {
    let ctx = Context::new();
    let layer = |path: &Path| SourceIndex::from_tar(path, File::open(path).unwrap(), &ctx);
    let mut tree = Tree::new(layer(base_tar)?, &ctx)?;
    let app = if app.is_dir() { SourceIndex::from_directory(app, &ctx)? } else { layer(app)? };
    tree.replace(TARGET, app, &ReplaceOptions::default(), &ctx)?;
    TarSink::to_file(File::create(output)?).with_name(output).write(&tree, &ctx)?;
    Ok(())
}

fn pack(root: &Path, tar: &Path, format: &[&str]) -> Result<(), Failed> {
    run(Command::new("tar")
        .args(format)
        .args(["--numeric-owner", "-cf"])
        .arg(tar)
        .arg("-C")
        .arg(root)
        .arg("."))
}

fn unpack(tar: &Path, root: &Path) -> Result<(), Failed> {
    fs::create_dir_all(root)?;
    let flags = ["--numeric-owner", "--same-owner", "--xattrs", "--xattrs-include=*", "-xpf"];
    run(Command::new("tar").args(flags).arg(tar).arg("-C").arg(root))
}

fn run(command: &mut Command) -> Result<(), Failed> {
    let output = command.env("LC_ALL", "C").output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
}

fn touch(path: &Path, seconds: i64, nanos: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn own(path: &Path, uid: u32, gid: u32) {
    let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
    chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn file(path: PathBuf, content: &str, mode: u32) -> PathBuf {
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn directory(path: PathBuf, mode: u32) -> PathBuf {
    fs::create_dir_all(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

/// A file of 8 MiB with two islands of data.
fn sparse(path: &Path) {
    let file = File::create(path).unwrap();
    file.set_len(8 << 20).unwrap();
    file.write_all_at(&[7; 5000], 1 << 20).unwrap();
    file.write_all_at(b"end", (8 << 20) - 3).unwrap();
}

fn make_base(root: &Path) {
    directory(root.join("var/www/html/old"), 0o755);
    directory(root.join("bin"), 0o755);
    own(&directory(root.join("srv/shared"), 0o2775), 1000, 50);
    directory(root.join("tmp/empty"), 0o1777);
    own(&file(root.join("bin/large-id"), "1", 0o600), 3_000_000_000, 1 << 21);
    let sudo = file(root.join("bin/sudo"), "sudo", 0o4755);
    touch(&sudo, 1_600_000_000, 123_456_789);
    // Version 2 of the kernel's format with CAP_NET_RAW permitted and effective.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let ping = file(root.join("bin/ping"), "ping", 0o755);
    setxattr(&ping, "security.capability", &capability, XattrFlags::empty()).unwrap();
    setxattr(root.join("srv"), "user.note", b"a=b\0\xff", XattrFlags::empty()).unwrap();
    setxattr(&ping, "user.a=b%", b"", XattrFlags::empty()).unwrap();
    // Hard links on both sides of the target's edge, and one to a symlink.
    let old = file(root.join("var/www/html/old/page"), "page", 0o640);
    fs::hard_link(&old, root.join("bin/page-kept")).unwrap();
    fs::hard_link(&old, root.join("srv/page-kept-too")).unwrap();
    let outside = file(root.join("srv/outside"), "outside", 0o644);
    fs::hard_link(&outside, root.join("var/www/html/gone")).unwrap();
    fs::hard_link(&outside, root.join("srv/outside2")).unwrap();
    symlink("../bin/ping", root.join("srv/link")).unwrap();
    fs::hard_link(root.join("srv/link"), root.join("srv/link2")).unwrap();
    touch(&root.join("srv/link"), 1_500_000_000, 5);
    sparse(&root.join("srv/sparse"));
    fs::hard_link(root.join("srv/sparse"), root.join("var/www/html/a-sparse")).unwrap();
    let mode = Mode::from_raw_mode(0o620);
    let node = |name: &str, kind, dev| mknodat(CWD, root.join(name), kind, mode, dev).unwrap();
    node("srv/tty", FileType::CharacterDevice, makedev(204, 64));
    node("srv/disk", FileType::BlockDevice, makedev(259, 70_000));
    node("srv/fifo", FileType::Fifo, 0);
    long_and_odd_names(root);
    touch(&root.join("srv"), -5, 250_000_000);
}

fn long_and_odd_names(root: &Path) {
    let deep = root.join("d".repeat(120)).join("e".repeat(120));
    directory(deep.clone(), 0o755);
    file(deep.join("f".repeat(200)), "deep", 0o644);
    symlink("t".repeat(300), deep.join("link")).unwrap();
    fs::hard_link(deep.join("f".repeat(200)), deep.join("g".repeat(200))).unwrap();
    file(root.join(OsStr::from_bytes(b"caf\xe9")), "latin1", 0o644);
    file(root.join("a\nb \\ c"), "newline", 0o644);
    file(root.join("empty"), "", 0o000);
}

fn make_application(root: &Path) {
    own(&directory(root.join("css"), 0o750), 33, 33);
    let index = file(root.join("index.php"), &"<?php ".repeat(20_000), 0o644);
    touch(&index, 1_690_000_000, 500_000_000);
    setxattr(&index, "user.kept", b"yes", XattrFlags::empty()).unwrap();
    fs::hard_link(&index, root.join("css/copy")).unwrap();
    symlink("../../../../etc/passwd", root.join("css/out")).unwrap();
    file(root.join(OsStr::from_bytes(b"\xff\xfe")), "odd", 0o600);
    file(root.join("x".repeat(180)), "long", 0o644);
    own(&file(root.join("large"), "id", 0o644), u32::MAX - 1, 1 << 31);
    sparse(&root.join("sparse"));
    touch(&root.join("css"), 1_690_000_002, 3);
    touch(root, 1_690_000_001, 0);
}
