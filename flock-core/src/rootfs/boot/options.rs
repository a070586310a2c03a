//! How an appliance is to boot.

use std::ops::Range;
use std::path::PathBuf;

use super::grub::DIRECTORY;
use crate::{Error, ErrorKind, Result};

/// How the disk is divided that the appliance goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BootLayout {
    /// The file system is the whole disk. The host loads the kernel: Xen's
    /// pygrub for paravirtual guests, or a hypervisor that is given kernel and
    /// RAM disk beside the disk.
    Bare,
    /// A master boot record, whose first partition is the file system.
    Mbr {
        /// The disk's signature in its boot record, at byte 440.
        signature: u32,
        /// The sector of 512 bytes where the first partition begins, usually
        /// 2048. The boot loader goes between the boot record and it.
        first_partition: u64,
    },
    /// A GUID partition table with a partition for the boot loader, whose
    /// type is `21686148-6449-6E6F-744E-656564454649`.
    Gpt {
        /// The sectors of 512 bytes of that partition.
        bios_boot: Range<u64>,
        /// The number of the file system's partition, from 1.
        root_number: u32,
        /// The file system's partition's own GUID, in the order of its text.
        root_guid: [u8; 16],
    },
}

impl BootLayout {
    /// Whether there are no partitions.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        *self == Self::Bare
    }
}

/// How an appliance is to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BootOptions {
    /// The UUID of the root file system, in the order of its text.
    pub root_uuid: [u8; 16],
    /// How the disk is divided.
    pub layout: BootLayout,
    /// The kernel's consoles, as its `console=` takes them; the last one is
    /// where init writes to. By default `tty0` and `ttyS0,115200n8`, and
    /// `hvc0` in the bare layout. (Format: Linux,
    /// `Documentation/admin-guide/serial-console.rst`.)
    ///
    /// systemd starts a login on each of them without further configuration
    /// (systemd-getty-generator(8)); other inits need an entry of their own,
    /// in sysvinit's `/etc/inittab` for example.
    pub consoles: Option<Vec<String>>,
    /// Further arguments for the kernel; none by default.
    pub arguments: Vec<String>,
    /// How long GRUB shows its menu, in seconds; 1 by default.
    pub timeout: u32,
    /// Where this machine has GRUB, for appliances without one; `None` not to
    /// look there. `/usr/lib/grub/i386-pc` by default.
    pub host_grub: Option<PathBuf>,
}

impl BootOptions {
    /// The defaults for this root file system and layout.
    #[must_use]
    pub fn new(root_uuid: [u8; 16], layout: BootLayout) -> Self {
        Self {
            root_uuid,
            layout,
            consoles: None,
            arguments: Vec::new(),
            timeout: 1,
            host_grub: Some(PathBuf::from(DIRECTORY)),
        }
    }

    /// Sets [`consoles`](Self::consoles).
    #[must_use]
    pub fn with_consoles(mut self, consoles: Vec<String>) -> Self {
        self.consoles = Some(consoles);
        self
    }

    /// Sets [`arguments`](Self::arguments).
    #[must_use]
    pub fn with_arguments(mut self, arguments: Vec<String>) -> Self {
        self.arguments = arguments;
        self
    }

    /// Sets [`timeout`](Self::timeout).
    #[must_use]
    pub fn with_timeout(mut self, seconds: u32) -> Self {
        self.timeout = seconds;
        self
    }

    /// Sets [`host_grub`](Self::host_grub).
    #[must_use]
    pub fn with_host_grub(mut self, directory: Option<PathBuf>) -> Self {
        self.host_grub = directory;
        self
    }

    /// Refuses what would break out of the files that it is written to.
    pub(super) fn check(&self) -> Result<()> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._+~/:=,@%[]!".contains(&byte);
        for argument in self.kernel_arguments() {
            if argument.is_empty() || !argument.bytes().all(is_plain) {
                let message = format!("'{argument}' cannot be an argument of the kernel");
                return Err(Error::new(ErrorKind::InvalidConfig, message)
                    .hint("spaces, quotes and signs with a meaning for GRUB are not possible"));
            }
        }
        Ok(())
    }

    /// The consoles, or the layout's own.
    pub(super) fn consoles_or_usual(&self) -> Vec<String> {
        let usual: &[&str] =
            if self.layout.is_bare() { &["hvc0"] } else { &["tty0", "ttyS0,115200n8"] };
        let usual = || usual.iter().map(|console| (*console).to_owned()).collect();
        self.consoles.clone().unwrap_or_else(usual)
    }

    /// Consoles and further arguments.
    pub(super) fn kernel_arguments(&self) -> Vec<String> {
        let consoles =
            self.consoles_or_usual().into_iter().map(|console| format!("console={console}"));
        consoles.chain(self.arguments.iter().cloned()).collect()
    }

    /// The root file system as the kernel finds it. Only programs of a RAM
    /// disk find file systems by UUID; the kernel itself knows partitions.
    /// (Format: Linux, `block/early-lookup.c`.)
    pub(super) fn root_argument(&self, has_initrd: bool) -> String {
        if has_initrd {
            return format!("UUID={}", uuid_text(self.root_uuid));
        }
        match &self.layout {
            // Xen's first disk, whatever it was called in older versions.
            BootLayout::Bare => "/dev/xvda".to_owned(),
            BootLayout::Mbr { signature, .. } => format!("PARTUUID={signature:08x}-01"),
            BootLayout::Gpt { root_guid, .. } => format!("PARTUUID={}", uuid_text(*root_guid)),
        }
    }
}

/// The text form of a UUID.
pub(super) fn uuid_text(uuid: [u8; 16]) -> String {
    uuid::Uuid::from_bytes(uuid).hyphenated().to_string()
}
