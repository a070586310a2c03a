//! What the begin of an image says, where the rest is not at hand.

use super::image::Container;
use super::reader::Source;
use super::{DiskFormat, DiskId, qcow2, vhd};

/// What the headers of an image say.
pub(super) struct Stated {
    pub(super) format: DiskFormat,
    /// The size of the disk in bytes.
    pub(super) size: u64,
    pub(super) id: Option<DiskId>,
}

/// Reads the header of a qcow2 image, or the copy of a VHD's footer.
pub(super) fn read(source: &Source, container: Container) -> Result<Stated, String> {
    match container {
        Container::Raw => Err("a raw disk has no header".to_owned()),
        Container::Vhd => {
            let (size, id) = vhd::stated(source)?;
            Ok(Stated { format: DiskFormat::VhdDynamic, size, id: Some(id) })
        }
        Container::Qcow2 => {
            Ok(Stated { format: DiskFormat::Qcow2, size: qcow2::stated(source)?, id: None })
        }
    }
}
