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
    if text.contains(char::is_control) {
        return Err(format!("'{}' is no label: it has control characters", text.escape_debug()));
    }
    if text.len() > MAX_LABEL {
        return Err(format!("'{text}' is no label: at most {MAX_LABEL} bytes"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_short_and_have_no_control_characters() {
        assert_eq!(label("rootfs grün"), Ok("rootfs grün".to_owned()));
        assert!(label("seventeen letters").unwrap_err().contains("at most 16 bytes"));
        let why = label("a\x1b[31m").unwrap_err();
        assert_eq!(why, r"'a\u{1b}[31m' is no label: it has control characters");
    }
}
