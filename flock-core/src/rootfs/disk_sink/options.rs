//! What can be chosen about a disk.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use serde::Serialize;

use crate::rootfs::disk::{DiskFormat, DiskId};
use crate::{Error, ErrorKind, Result};

/// How a disk is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum DiskLayout {
    /// The file system is the whole disk: for paravirtual guests of Xen, whose
    /// host reads `/boot/grub` (pygrub), and for hosts that bring a kernel.
    Bare,
    /// One partition in a master boot record, for machines with a BIOS; at
    /// most 2 TiB.
    #[default]
    Mbr,
    /// A GUID partition table with a partition for the boot loader and one for
    /// the file system, for machines with a BIOS.
    Gpt,
}

impl DiskLayout {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Bare, Self::Mbr, Self::Gpt];

    /// The name in configurations and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Mbr => "mbr",
            Self::Gpt => "gpt",
        }
    }
}

/// What starts the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Bootloader {
    /// GRUB 2, see [`boot`](crate::rootfs::boot). In the bare layout only its
    /// configuration is written, which pygrub reads.
    #[default]
    Grub,
    /// Nothing: the disk is data, or the host brings a kernel. No file of the
    /// tree is changed.
    None,
}

impl Bootloader {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Grub, Self::None];

    /// The name in configurations and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Grub => "grub",
            Self::None => "none",
        }
    }
}

impl fmt::Display for DiskLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Bootloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for DiskLayout {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|layout| layout.as_str() == text)
            .ok_or_else(|| unknown("layout of a disk", text, &Self::ALL.map(Self::as_str)))
    }
}

impl FromStr for Bootloader {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|loader| loader.as_str() == text)
            .ok_or_else(|| unknown("boot loader", text, &Self::ALL.map(Self::as_str)))
    }
}

fn unknown(what: &str, text: &str, known: &[&str]) -> Error {
    let message = format!("'{text}' is no {what}");
    Error::new(ErrorKind::InvalidConfig, message).hint(format!("one of {}", known.join(", ")))
}

/// What can be chosen about a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiskOptions {
    /// How it lies in a file.
    pub format: DiskFormat,
    /// How it is divided; [`DiskLayout::Mbr`] by default.
    pub layout: DiskLayout,
    /// What starts the kernel; [`Bootloader::Grub`] by default.
    pub bootloader: Bootloader,
    /// The size that the machine will see, in bytes, rounded up to what the
    /// format has. By default what the file system takes by
    /// [`Ext4Options::size`](crate::rootfs::ext4::Ext4Options::size), and the
    /// partition table. What is not used costs nothing in formats that leave
    /// it out, and in files with holes.
    pub size: Option<u64>,
    /// The file system's label, at most 16 bytes; none by default.
    pub label: String,
    /// The file system's UUID, from which the other identifiers follow. By
    /// default it follows from the content.
    pub uuid: Option<DiskId>,
    /// The kernel's consoles, see
    /// [`BootOptions::consoles`](crate::rootfs::boot::BootOptions::consoles).
    pub consoles: Option<Vec<String>>,
    /// Further arguments for the kernel; none by default.
    pub kernel_arguments: Vec<String>,
    /// When a VHD says it was made, in seconds since 1970; those before 2000,
    /// as the default 0, become 1 January 2000.
    pub created: i64,
    /// How many threads write: as many as there are cores by default. The
    /// result does not depend on it.
    pub threads: NonZeroUsize,
}

impl DiskOptions {
    /// The defaults for this format.
    #[must_use]
    pub fn new(format: DiskFormat) -> Self {
        Self {
            format,
            layout: DiskLayout::default(),
            bootloader: Bootloader::default(),
            size: None,
            label: String::new(),
            uuid: None,
            consoles: None,
            kernel_arguments: Vec::new(),
            created: 0,
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }

    /// Sets [`layout`](Self::layout).
    #[must_use]
    pub fn with_layout(mut self, layout: DiskLayout) -> Self {
        self.layout = layout;
        self
    }

    /// Sets [`bootloader`](Self::bootloader).
    #[must_use]
    pub fn with_bootloader(mut self, bootloader: Bootloader) -> Self {
        self.bootloader = bootloader;
        self
    }

    /// Sets [`size`](Self::size), in bytes.
    #[must_use]
    pub fn with_size(mut self, bytes: u64) -> Self {
        self.size = Some(bytes);
        self
    }

    /// Sets [`label`](Self::label).
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Sets [`uuid`](Self::uuid).
    #[must_use]
    pub fn with_uuid(mut self, uuid: DiskId) -> Self {
        self.uuid = Some(uuid);
        self
    }

    /// Sets [`consoles`](Self::consoles).
    #[must_use]
    pub fn with_consoles(mut self, consoles: Vec<String>) -> Self {
        self.consoles = Some(consoles);
        self
    }

    /// Sets [`kernel_arguments`](Self::kernel_arguments).
    #[must_use]
    pub fn with_kernel_arguments(mut self, arguments: Vec<String>) -> Self {
        self.kernel_arguments = arguments;
        self
    }

    /// Sets [`created`](Self::created), in seconds since 1970.
    #[must_use]
    pub fn with_created(mut self, seconds: i64) -> Self {
        self.created = seconds;
        self
    }

    /// Sets [`threads`](Self::threads).
    #[must_use]
    pub fn with_threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = threads;
        self
    }
}
