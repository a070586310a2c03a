//! The Linux kernels of an appliance, with their initial RAM disks.

use super::bytes::{u16_at, u32_at};
use super::read::read_head;
use super::version;
use crate::progress::Level;
use crate::rootfs::Tree;
use crate::rootfs::name;
use crate::{Context, Result};

/// A kernel that can be booted.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Kernel {
    /// Its version as its name says it, for example `6.1.0-40-cloud-amd64`;
    /// empty for one that is only called `vmlinuz`.
    pub version: String,
    /// Its path, for example `/boot/vmlinuz-6.1.0-40-cloud-amd64`.
    pub path: String,
    /// The path of its initial RAM disk, if there is one.
    pub initrd: Option<String>,
}

/// What was found where kernels are.
pub(super) struct Found {
    /// The kernels for x86, the newest first.
    pub(super) kernels: Vec<Kernel>,
    /// Files with a kernel's name that are none for x86, and why.
    pub(super) refused: Vec<(String, &'static str)>,
}

/// What names of kernels in `/boot` begin with.
const PREFIX: &[u8] = b"vmlinuz-";

/// Ends of names that package managers and people give to copies.
const LEFTOVERS: [&str; 7] = [".bak", ".dpkg-", ".hmac", ".old", ".rpmnew", ".rpmorig", ".rpmsave"];

/// Where a kernel without a version is, best first, and its RAM disk: the
/// links of Debian and what Alpine and others have.
const UNVERSIONED: [(&str, &[&str]); 2] = [
    ("/boot/vmlinuz", &["/boot/initrd.img", "/boot/initrd", "/boot/initramfs"]),
    ("/vmlinuz", &["/initrd.img", "/boot/initrd.img"]),
];

/// Finds the kernels of the appliance, the newest first.
///
/// # Errors
/// Those of reading the tree.
pub(super) fn find(tree: &Tree, ctx: &Context) -> Result<Found> {
    let mut found = Found { kernels: Vec::new(), refused: Vec::new() };
    for version in versions(tree, ctx)? {
        let path = format!("/boot/vmlinuz-{version}");
        found.add(tree, &path, &initrd_names(&version), &version)?;
    }
    for (path, initrds) in UNVERSIONED {
        if found.kernels.is_empty() {
            let initrds: Vec<_> = initrds.iter().map(|path| (*path).to_owned()).collect();
            found.add(tree, path, &initrds, "")?;
        }
    }
    let order = |a: &Kernel, b: &Kernel| {
        version::compare(b.version.as_bytes(), a.version.as_bytes())
            .then_with(|| b.version.cmp(&a.version))
    };
    found.kernels.sort_by(order);
    Ok(found)
}

/// The versions in the names of kernels in `/boot`.
fn versions(tree: &Tree, ctx: &Context) -> Result<Vec<String>> {
    let mut versions = Vec::new();
    for file in tree.list("/boot")? {
        let Some(version) = file.strip_prefix(PREFIX) else { continue };
        let text = std::str::from_utf8(version).ok().filter(|text| is_plain(text));
        match text {
            Some(text) if LEFTOVERS.iter().any(|end| text.contains(end)) => {}
            Some(text) => versions.push(text.to_owned()),
            None => ctx.message(
                Level::Warning,
                format!(
                    "left the kernel '/boot/{}' out of the boot menu for its unusual name",
                    name::show(&file)
                ),
            ),
        }
    }
    Ok(versions)
}

/// Names that the RAM disk of that kernel has in Debian, Fedora, openSUSE and
/// Alpine, in this order.
fn initrd_names(version: &str) -> [String; 5] {
    [
        format!("/boot/initrd.img-{version}"),
        format!("/boot/initramfs-{version}.img"),
        format!("/boot/initrd-{version}"),
        format!("/boot/initrd-{version}.img"),
        format!("/boot/initramfs-{version}"),
    ]
}

/// Whether boot loaders and their readers take the text as it is, without
/// quotes.
pub(super) fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._+~/".contains(&byte))
}

impl Found {
    /// Adds what is at `path`, if anything is.
    fn add(&mut self, tree: &Tree, path: &str, initrds: &[String], version: &str) -> Result<()> {
        let Some(path) = real_path(tree, path)? else { return Ok(()) };
        let Some(head) = read_head(tree, &path, HEADER)? else { return Ok(()) };
        if let Err(why) = check_x86(&head) {
            self.refused.push((path, why));
            return Ok(());
        }
        let mut initrd = None;
        for candidate in initrds {
            if initrd.is_none() {
                initrd = real_path(tree, candidate)?;
            }
        }
        self.kernels.push(Kernel { version: version.to_owned(), path, initrd });
        Ok(())
    }
}

/// Where a path leads once symbolic links are followed: not every boot loader
/// follows them. `None` if there is nothing, or a name that would have to be
/// quoted.
fn real_path(tree: &Tree, path: &str) -> Result<Option<String>> {
    let real = tree.resolve(path)?.and_then(|real| String::from_utf8(real).ok());
    Ok(real.filter(|real| is_plain(real)).map(|real| format!("/{real}")))
}

/// How many bytes tell what a kernel is.
const HEADER: u64 = 0x270;

/// Whether this begins a Linux kernel for x86, as a bzImage.
///
/// (Specification: Linux, `Documentation/arch/x86/boot.rst`, "The Real-Mode
/// Kernel Header"; for the others `Documentation/arch/arm64/booting.rst` and
/// `Documentation/arch/riscv/boot-image-header.rst`.)
fn check_x86(head: &[u8]) -> Result<(), &'static str> {
    const LOADED_HIGH: u8 = 1;
    if u16_at(head, 0x1fe) == Some(0xaa55) && head.get(0x202..0x206) == Some(b"HdrS") {
        // Older ones, zImages, load below 1 MiB and ended with Linux 2.6.
        let is_known = u16_at(head, 0x206) >= Some(0x0202);
        let is_high = head.get(0x211).is_some_and(|flags| flags & LOADED_HIGH != 0);
        return if is_known && is_high { Ok(()) } else { Err("a zImage, which is too old") };
    }
    Err(match u32_at(head, 56) {
        Some(0x644d_5241) => "a kernel for arm64",
        Some(0x0543_5352) => "a kernel for RISC-V",
        _ if head.starts_with(b"\x7fELF") => "an ELF file",
        _ if head.starts_with(b"\x1f\x8b") => "compressed with gzip",
        _ => "no Linux kernel for x86",
    })
}
