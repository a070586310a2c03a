//! Booting: what an appliance needs to start from its disk.
//!
//! A [`BootPlan`] is made from a finished [`Tree`](super::Tree) and says what
//! goes into the file system ([`BootPlan::inject`]) and, on a disk with
//! partitions, what goes around it ([`BootPlan::boot_code`]). No program of
//! the appliance runs, nothing is mounted, and nobody has to be root: the boot
//! loader's images are put together here. The same input gives the same bytes.
//!
//! # What is supported
//!
//! | layout | starts on | what is written |
//! | --- | --- | --- |
//! | [`BootLayout::Mbr`] | machines with a BIOS: QEMU and KVM, Xen HVM, VirtualBox, VMware | GRUB, configuration |
//! | [`BootLayout::Gpt`] | the same | the same |
//! | [`BootLayout::Bare`] | Xen PV guests by pygrub; hosts that bring a kernel | configuration |
//!
//! Kernels are Linux for x86, 32 or 64 bits, as a bzImage in `/boot` under the
//! names of Debian, Fedora, openSUSE or Alpine, or behind the link `/vmlinuz`.
//! Each gets an entry in the menu, the newest is the default.
//!
//! # The boot loader
//!
//! GRUB 2 comes from the appliance's own `/usr/lib/grub/i386-pc` (Debian's
//! package `grub-pc-bin`, Fedora's `grub2-pc-modules`), or else from
//! [`BootOptions::host_grub`] of this machine. Its core image holds what is
//! needed to read the file system, show the menu and load Linux, and takes
//! some 150 KiB behind the boot record or in the BIOS boot partition. All
//! modules are copied to `/boot/grub/i386-pc` as `grub-install` does, from
//! the same GRUB, so that a `grub.cfg` by `update-grub` finds them, and both
//! programs work inside of the appliance if it has them.
//!
//! The partition is looked up on the disk that the boot sector came from.
//! So a second disk, also a clone with the same UUID, cannot get in the way.
//!
//! # The configuration
//!
//! | file | written | what it says |
//! | --- | --- | --- |
//! | `/boot/grub/grub.cfg` | if missing | a menu with every kernel, root by UUID, consoles |
//! | `/etc/fstab` | if missing or without entries | the root file system by UUID |
//! | `/etc/default/grub.d/flock.cfg` | if missing, not when bare | keeps the consoles when `update-grub` runs |
//! | `/boot/grub/i386-pc/*` | always, not when bare | GRUB's modules |
//!
//! `/boot/grub2` is used instead where only that is there, as on Fedora.
//! `/etc/default/grub` stays as it is. systemd starts logins on the consoles
//! by itself; sysvinit needs a line in `/etc/inittab`.
//!
//! A kernel without an initial RAM disk does not know file systems by UUID: it
//! gets `root=PARTUUID=`, and must have its drivers built in. Debian's kernels
//! have not.
//!
//! # Limits
//!
//! - No UEFI, no other architecture than x86, no Secure Boot.
//! - `/boot` is part of the root file system, which is ext4 without features
//!   that GRUB cannot read: GRUB before 2.12 refuses `metadata_csum_seed`.
//! - After an update of Debian's `grub-pc` the boot sector stays as it is,
//!   until somebody runs `grub-install`: which disk it is for, that package
//!   keeps in debconf, and nobody answered it. Its modules stay with it.
//! - Sectors have 512 bytes, as BIOS disk calls have it.
//!
//! # Sources
//!
//! - GNU GRUB Manual 2.06, "GRUB image files", "BIOS installation"; GRUB's
//!   `include/grub/offsets.h`, `include/grub/i386/pc/boot.h` and
//!   `include/grub/kernel.h` for offsets and constants.
//! - LZMA SDK, `lzma.txt`: raw LZMA, lc=3, lp=0, pb=2, 64 KiB dictionary.
//! - Linux, `Documentation/arch/x86/boot.rst`, and
//!   `Documentation/admin-guide/kernel-parameters.txt` for `root=`.
//! - Debian Policy Manual, 5.6.12, for the order of versions.

mod bytes;
mod config;
mod grub;
mod kernel;
mod options;
mod plan;
mod read;
mod version;

pub use grub::BootCode;
pub use kernel::Kernel;
pub use options::{BootLayout, BootOptions};
pub use plan::BootPlan;

#[cfg(test)]
mod tests;
