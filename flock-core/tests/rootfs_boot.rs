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
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use boot_support::{Machine, run};
use flock_core::Context;
use flock_core::rootfs::boot::{BootCode, BootLayout, BootOptions, BootPlan};
use flock_core::rootfs::{InjectedFile, Sink as _, SourceIndex, TarSink, Tree};
use liblzma::stream::{Filters, LzmaOptions, Stream};
use libtest_mimic::{Arguments, Failed, Trial};

const PROGRAMS: [&str; 7] =
    ["grub-mkimage", "mke2fs", "e2fsck", "mmdebstrap", "qemu-system-x86_64", "sfdisk", "tar"];
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

/// How a disk is divided, for flock and as a script for sfdisk.
struct Table {
    layout: BootLayout,
    script: String,
    first_sector: u64,
    sectors: u64,
    /// What lies between boot code and table stays as sfdisk made it.
    boot_sector: u64,
}

impl Table {
    fn mbr() -> Self {
        let sectors = DISK / 512 - 2048;
        Self {
            layout: BootLayout::Mbr { signature: 0x1a2b_3c4d, first_partition: 2048 },
            script: format!(
                "label: dos\nlabel-id: 0x1a2b3c4d\nstart=2048, size={sectors}, type=83, bootable\n"
            ),
            first_sector: 2048,
            sectors,
            boot_sector: 1,
        }
    }

    fn gpt() -> Self {
        let sectors = DISK / 512 - 8192;
        let guid = "C0FFEE00-1111-4222-8333-444455556666";
        Self {
            layout: BootLayout::Gpt {
                bios_boot: 2048..4096,
                root_number: 1,
                root_guid: *b"\xc0\xff\xee\x00\x11\x11\x42\x22\x83\x33\x44\x44\x55\x55\x66\x66",
            },
            script: format!(
                "label: gpt\n\
                 1: start=4096, size={sectors}, type=linux, uuid={guid}\n\
                 14: start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649\n"
            ),
            first_sector: 4096,
            sectors,
            boot_sector: 2048,
        }
    }
}

/// Boots a Debian, uses it, has it install its own boot loader, boots it again.
fn boots_from_mbr() -> Result<(), Failed> {
    let work = tempfile::tempdir()?;
    let image = work.path().join("disk.raw");
    let table = Table::mbr();
    let kernel = install(&table, work.path(), &image)?;

    let mut machine = Machine::start(&image)?;
    machine.log_in()?;
    check_running(&mut machine, &kernel)?;
    assert_eq!(machine.shell("echo kept > /root/note && sync && echo done")?, "done");
    assert_eq!(machine.shell("update-grub >/dev/null 2>&1; echo $?")?, "0");
    assert_eq!(machine.shell("grep -c flock /boot/grub/grub.cfg")?, "0");
    let install = "grub-install /dev/vda >/dev/null 2>/root/log; echo $?; cat /root/log";
    let installed = machine.shell(install)?;
    assert!(installed.starts_with("0\n"), "{installed}");
    machine.power_off()?;

    let mut machine = Machine::start(&image)?;
    machine.log_in()?;
    let arguments = machine.shell("cat /proc/cmdline")?;
    assert!(arguments.contains("console=tty0 console=ttyS0,115200n8"), "{arguments}");
    assert_eq!(machine.shell("cat /root/note")?, "kept");
    machine.power_off()?;
    check_file_system(&table, &image)
}

/// The same disk by GPT; and what was written is what a second boot finds.
fn boots_from_gpt() -> Result<(), Failed> {
    let work = tempfile::tempdir()?;
    let image = work.path().join("disk.raw");
    let table = Table::gpt();
    let kernel = install(&table, work.path(), &image)?;
    for boot in 1..3 {
        let mut machine = Machine::start(&image)?;
        machine.log_in()?;
        check_running(&mut machine, &kernel)?;
        let boots = machine.shell("echo >> /root/boots; wc -l < /root/boots")?;
        assert_eq!(boots, boot.to_string());
        machine.power_off()?;
    }
    check_file_system(&table, &image)
}

/// Makes the disk of a Debian that boots. Gives the version of its kernel.
fn install(table: &Table, work: &Path, image: &Path) -> Result<String, Failed> {
    let ctx = Context::new();
    let base = debian()?;
    let mut tree = Tree::new(SourceIndex::from_tar(&base, File::open(&base)?, &ctx)?, &ctx)?;
    let options = BootOptions::new(ROOT_UUID, table.layout.clone()).with_host_grub(None);
    let plan = BootPlan::new(&tree, &options, &ctx)?;
    plan.inject(&mut tree)?;
    make_disk(table, &tree, plan.boot_code().unwrap(), work, image)?;
    Ok(plan.kernels()[0].version.clone())
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

/// A raw disk with the tree in its partition, by the usual tools, and the
/// boot code.
fn make_disk(
    table: &Table,
    tree: &Tree,
    code: &BootCode,
    work: &Path,
    image: &Path,
) -> Result<(), Failed> {
    let (tar, unpacked) = (work.join("root.tar"), work.join("root"));
    TarSink::to_file(&File::create(&tar)?).with_name(&tar).write(tree, &Context::new())?;
    fs::create_dir(&unpacked)?;
    run(Command::new("tar")
        .args(["--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf"])
        .arg(&tar)
        .arg("-C")
        .arg(&unpacked))?;
    let file = File::create(image)?;
    file.set_len(DISK)?;
    let script = work.join("table");
    fs::write(&script, &table.script)?;
    run(Command::new("sfdisk").arg("--quiet").arg(image).stdin(File::open(&script)?))?;
    run(Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-O", "^metadata_csum_seed,^orphan_file"])
        .args(["-U", ROOT_UUID_TEXT, "-d"])
        .arg(&unpacked)
        .arg("-E")
        .arg(format!("offset={}", table.first_sector * 512))
        .arg(image)
        .arg(format!("{}k", table.sectors / 2)))?;
    fs::remove_dir_all(&unpacked)?;
    assert_eq!(code.start_lba, table.boot_sector);
    file.write_all_at(&code.mbr, 0)?;
    file.write_all_at(&code.embedded, code.start_lba * 512)?;
    Ok(())
}

fn check_file_system(table: &Table, image: &Path) -> Result<(), Failed> {
    let offset = table.first_sector * 512;
    let target = format!("{}?offset={offset}", image.display());
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
