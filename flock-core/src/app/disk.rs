//! The section `build.disk`: what an appliance is like that is a disk.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::rootfs::{Bootloader, DiskLayout};
use crate::{Error, ErrorKind, Result};

/// What an appliance is like that is a disk.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct DiskConfig {
    /// The size that the machine will see, in bytes; `None` for one that
    /// follows from the content, see
    /// [`DiskOptions::size`](crate::rootfs::DiskOptions::size).
    pub size: Option<u64>,
    /// How it is divided.
    pub layout: DiskLayout,
    /// The file system's label; empty for none.
    pub label: String,
    /// What starts the kernel.
    pub bootloader: Bootloader,
    /// How a VHD is stored.
    pub subformat: VhdSubformat,
    /// The kernel's consoles; `None` for the layout's own, see
    /// [`BootOptions::consoles`](crate::rootfs::boot::BootOptions::consoles).
    pub consoles: Option<Vec<String>>,
    /// Further arguments for the kernel.
    pub kernel_arguments: Vec<String>,
}

/// How a VHD is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum VhdSubformat {
    /// Only the blocks of 2 MiB that hold something.
    #[default]
    Dynamic,
    /// The whole disk, with holes where the file system of the host has them.
    Fixed,
}

impl fmt::Display for VhdSubformat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Dynamic => "dynamic",
            Self::Fixed => "fixed",
        })
    }
}

impl FromStr for VhdSubformat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "dynamic" => Ok(Self::Dynamic),
            "fixed" => Ok(Self::Fixed),
            _ => {
                let message = format!("'{text}' is no subformat of a VHD");
                Err(Error::new(ErrorKind::InvalidConfig, message).hint("dynamic or fixed"))
            }
        }
    }
}

impl Serialize for VhdSubformat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
