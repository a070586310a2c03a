//! Appliances that boot: GRUB's core image against the one of `grub-mkimage`,
//! and a Debian that starts in QEMU, is logged into, installs its boot loader
//! anew by its own tools, and starts again.
//!
//! Needs root, the programs of [`PROGRAMS`] and GRUB for BIOS machines;
//! ignored with the reason where one is missing, unless `FLOCK_TEST_REQUIRE`
//! names `qemu`. `FLOCK_TEST_BOOT_TAR`, the path of a plain tar, takes the
//! place of the Debian that is made for the test.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod boot_support;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use boot_support::{Machine, run};
use flock_core::Context;
use flock_core::rootfs::boot::{BootLayout, BootOptions, BootPlan};
use flock_core::rootfs::disk::{DiskFormat, DiskId};
use flock_core::rootfs::{DiskLayout, DiskOptions, DiskSink, InjectedFile, Sink as _};
use flock_core::rootfs::{SourceIndex, Tree};
use liblzma::stream::{Filters, LzmaOptions, Stream};
use libtest_mimic::{Arguments, Failed, Trial};

const PROGRAMS: [&str; 5] =
    ["grub-mkimage", "e2fsck", "mmdebstrap", "qemu-img", "qemu-system-x86_64"];
const GRUB: &str = "/usr/lib/grub/i386-pc";
const ROOT_UUID: [u8; 16] = *b"\x5c\x1e\x86\x11\x5b\x0a\x4d\x8e\x9d\x4c\x3b\x1f\x0a\x22\x77\x01";
const ROOT_UUID_TEXT: &str = "5c1e8611-5b0a-4d8e-9d4c-3b1f0a227701";
const DISK: u64 = 2 << 30;

fn main() {
    let arguments = Arguments::from_args();
    let required = std::env::var("FLOCK_TEST_REQUIRE").unwrap_or_default();
    let is_required = required.split(',').any(|word| word.trim() == "qemu");
    let missing = missing();
    let trials = [
        ("the_core_image_is_that_of_grub_mkimage", core_image as fn() -> Result<(), Failed>),
        ("debian_boots_from_mbr", boots_from_mbr),
        ("debian_boots_from_gpt", boots_from_gpt),
    ];
    let trials = trials.map(|(name, test)| match &missing {
        None => Trial::test(name, test),
        Some(why) if is_required => {
            let why = format!("FLOCK_TEST_REQUIRE names qemu, but: {why}");
            Trial::test(name, move || Err(why.into()))
        }
        Some(why) => Trial::test(name, || Ok(())).with_kind(why).with_ignored_flag(true),
    });
    libtest_mimic::run(&arguments, trials.into()).exit();
}

fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |name: &&str| std::env::split_paths(&path).any(|dir| dir.join(name).exists());
    let program = PROGRAMS.into_iter().find(|name| !is_there(name));
    program
        .map(|name| format!("needs {name}"))
        .or_else(|| (!Path::new(GRUB).exists()).then(|| format!("needs {GRUB}")))
}

/// Boots a Debian, uses it, has it install its own boot loader, boots it again.
fn boots_from_mbr() -> Result<(), Failed> {
    let work = tempfile::tempdir()?;
    let image = work.path().join("disk.raw");
    let kernel = install(DiskLayout::Mbr, DiskFormat::Raw, &image)?;

    let mut machine = Machine::start(&image, "raw")?;
    machine.log_in()?;
    check_running(&mut machine, &kernel)?;
    assert_eq!(machine.shell("echo kept > /root/note && sync && echo done")?, "done");
    assert_eq!(machine.shell("update-grub >/dev/null 2>&1; echo $?")?, "0");
    assert_eq!(machine.shell("grep -c flock /boot/grub/grub.cfg")?, "0");
    let install = "grub-install /dev/vda >/dev/null 2>/root/log; echo $?; cat /root/log";
    let installed = machine.shell(install)?;
    assert!(installed.starts_with("0\n"), "{installed}");
    machine.power_off()?;

    let mut machine = Machine::start(&image, "raw")?;
    machine.log_in()?;
    let arguments = machine.shell("cat /proc/cmdline")?;
    assert!(arguments.contains("console=tty0 console=ttyS0,115200n8"), "{arguments}");
    assert_eq!(machine.shell("cat /root/note")?, "kept");
    machine.power_off()?;
    check_file_system(&image, "raw", 1 << 20)
}

/// The same by GPT from a dynamic VHD; and what was written is what a second
/// boot finds.
fn boots_from_gpt() -> Result<(), Failed> {
    let work = tempfile::tempdir()?;
    let image = work.path().join("disk.vhd");
    let kernel = install(DiskLayout::Gpt, DiskFormat::VhdDynamic, &image)?;
    for boot in 1..3 {
        let mut machine = Machine::start(&image, "vpc")?;
        machine.log_in()?;
        check_running(&mut machine, &kernel)?;
        let boots = machine.shell("echo >> /root/boots; wc -l < /root/boots")?;
        assert_eq!(boots, boot.to_string());
        machine.power_off()?;
    }
    check_file_system(&image, "vpc", 2 << 20)
}

/// Makes the disk of a Debian that boots. Gives the version of its kernel.
fn install(layout: DiskLayout, format: DiskFormat, image: &Path) -> Result<String, Failed> {
    let ctx = Context::new();
    let base = debian()?;
    let mut tree = Tree::new(SourceIndex::from_tar(&base, File::open(&base)?, &ctx)?, &ctx)?;
    let options = DiskOptions::new(format)
        .with_layout(layout)
        .with_size(DISK)
        .with_uuid(DiskId::from_bytes(ROOT_UUID));
    let file = File::options().read(true).write(true).create_new(true).open(image)?;
    let mut sink = DiskSink::new(&file, options);
    sink.prepare(&mut tree, &ctx)?;
    sink.write(&tree, &ctx)?;
    let kernels = tree.list("/boot")?.into_iter().filter_map(|name| String::from_utf8(name).ok());
    let mut versions = kernels.filter_map(|name| Some(name.strip_prefix("vmlinuz-")?.to_owned()));
    versions.next().ok_or_else(|| "no kernel in /boot".into())
}

/// The machine runs what it was to run, from where.
fn check_running(machine: &mut Machine, kernel: &str) -> Result<(), Failed> {
    assert_eq!(machine.shell("uname -r")?, kernel);
    let arguments = machine.shell("cat /proc/cmdline")?;
    assert!(arguments.contains(&format!("root=UUID={ROOT_UUID_TEXT} ro")), "{arguments}");
    assert_eq!(machine.shell("findmnt -no UUID /")?, ROOT_UUID_TEXT);
    assert!(machine.shell("findmnt -no OPTIONS /")?.starts_with("rw,"));
    assert_eq!(machine.shell("systemctl is-active serial-getty@ttyS0")?, "active");
    Ok(())
}

/// A small Debian with a kernel, made once and kept for a day.
fn debian() -> Result<PathBuf, Failed> {
    if let Some(path) = std::env::var_os("FLOCK_TEST_BOOT_TAR") {
        return Ok(path.into());
    }
    // Tests run side by side, and one makes it for all.
    static MAKING: Mutex<()> = Mutex::new(());
    let _turn = MAKING.lock().unwrap();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-boot.tar");
    let made = fs::metadata(&path).and_then(|found| found.modified()).ok();
    let age = made.and_then(|time| SystemTime::now().duration_since(time).ok());
    if age.is_some_and(|age| age < Duration::from_secs(86_400)) {
        return Ok(path);
    }
    let unfinished = path.with_extension(format!("{}.tar", std::process::id()));
    let packages = "linux-image-cloud-amd64,initramfs-tools,systemd-sysv,grub-pc-bin,grub2-common";
    run(Command::new("mmdebstrap")
        .args(["--quiet", "--variant=minbase"])
        .arg(format!("--include={packages}"))
        .arg("--customize-hook=chroot \"$1\" passwd -d root")
        .arg("bookworm")
        .arg(&unfinished))?;
    fs::rename(&unfinished, &path)?;
    Ok(path)
}

/// What the machine left is a sound file system, `offset` bytes from the begin.
fn check_file_system(image: &Path, format: &str, offset: u64) -> Result<(), Failed> {
    let raw = image.with_extension("checked");
    let mut convert = Command::new("qemu-img");
    run(convert.args(["convert", "-f", format, "-O", "raw"]).arg(image).arg(&raw))?;
    let target = format!("{}?offset={offset}", raw.display());
    run(Command::new("e2fsck").arg("-fn").arg(target)).map(drop)
}

/// Decompressed, our core image and the one of grub-mkimage are the same.
fn core_image() -> Result<(), Failed> {
    let ctx = Context::new();
    let mut tree = Tree::new(SourceIndex::from_bytes("empty", vec![0; 1024], &ctx)?, &ctx)?;
    let mut kernel = vec![0; 1024];
    kernel[0x1fe..0x208].copy_from_slice(b"\x55\xaa\xeb\x66HdrS\x0f\x02");
    kernel[0x211] = 1;
    for (path, content) in [("/boot/vmlinuz-1", kernel), ("/sbin/init", b"init".to_vec())] {
        tree.inject(InjectedFile::new(path, content))?;
    }
    let layout = BootLayout::Mbr { signature: 1, first_partition: 2048 };
    let options = BootOptions::new(ROOT_UUID, layout).with_host_grub(Some(GRUB.into()));
    let plan = BootPlan::new(&tree, &options, &ctx)?;
    let ours = &plan.boot_code().unwrap().embedded;

    let work = tempfile::tempdir()?;
    let path = work.path().join("core.img");
    run(Command::new("grub-mkimage")
        .args(["-O", "i386-pc", "-d", GRUB, "-p", "(,msdos1)/boot/grub", "-o"])
        .arg(&path)
        .args(["biosdisk", "ext2", "normal", "linux", "serial", "terminal", "part_msdos"]))?;
    let theirs = fs::read(&path)?;

    // All of the first sector but where the rest is and how long.
    assert_eq!(ours[..500], theirs[..500]);
    assert_eq!(ours[510..512], theirs[510..512]);
    let decompressor = fs::metadata(Path::new(GRUB).join("lzma_decompress.img"))?.len();
    let begin = 512 + usize::try_from(decompressor)?;
    // The decompressor, but for how much there is to decompress.
    assert_eq!(ours[512 + 12..begin], theirs[512 + 12..begin]);
    assert!(decompress(ours, begin) == decompress(&theirs, begin), "what is in them differs");
    Ok(())
}

/// What GRUB's decompressor would make of a core image: as much as its header
/// says.
fn decompress(core: &[u8], begin: usize) -> Vec<u8> {
    let field = |at: usize| u32::from_le_bytes(core[512 + at..516 + at].try_into().unwrap());
    let packed = &core[begin..begin + field(0x08) as usize];
    let mut options = LzmaOptions::new_preset(6).unwrap();
    options.dict_size(1 << 16).literal_context_bits(3).literal_position_bits(0).position_bits(2);
    let mut filters = Filters::new();
    filters.lzma1(&options);
    let mut decoder = Stream::new_raw_decoder(&filters).unwrap();
    let mut plain = Vec::with_capacity(field(0x0c) as usize);
    decoder.process_vec(packed, &mut plain, liblzma::stream::Action::Run).unwrap();
    assert_eq!(plain.len(), field(0x0c) as usize);
    plain
}
