//! The section `build.disk`.

use super::{said, value};
use crate::app::disk::DiskConfig;
use crate::app::values::parse_size;
use crate::document::{Affects, Key, Reader, Section};

pub(super) const DISK: &[Key] = &[
    Key::new("size"),
    Key::new("layout"),
    Key::new("label"),
    Key::new("bootloader"),
    Key::new("subformat"),
    Key::new("consoles"),
    Key::new("kernel_arguments"),
];

/// How many bytes the label of an ext4 file system may have.
const MAX_LABEL: usize = 16;

pub(super) fn read(r: &mut Reader, s: &Section<'_>) -> DiskConfig {
    let Some(node) = r.get(s, "disk") else { return DiskConfig::default() };
    let s = r.section(node, "build.disk", Affects::Build, DISK);
    let consoles = s.has("consoles").then(|| r.texts(&s, "consoles"));
    DiskConfig {
        size: r.parsed(&s, "size", |text| parse_size(text).map_err(said)),
        layout: value(r, &s, "layout").unwrap_or_default(),
        label: r.parsed(&s, "label", label).unwrap_or_default(),
        bootloader: value(r, &s, "bootloader").unwrap_or_default(),
        subformat: value(r, &s, "subformat").unwrap_or_default(),
        consoles,
        kernel_arguments: r.texts(&s, "kernel_arguments"),
    }
}

fn label(text: &str) -> Result<String, String> {
    if text.len() > MAX_LABEL || text.contains('\0') {
        return Err(format!("'{text}' is no label: at most {MAX_LABEL} bytes"));
    }
    Ok(text.to_owned())
}
