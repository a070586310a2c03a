//! What an appliance's file is called.

use std::path::Path;

use crate::image_builder::ApplianceFormat;
use crate::rootfs::compress::Format;

/// What the appliance of an application is called, as with flockr.
pub(crate) fn file_name(app: &str, format: ApplianceFormat, compression: Format) -> String {
    format!("{app}.{format}{}", compression.extension())
}

/// The format that a file name speaks of, behind the extension of a
/// compression; `None` if of none.
pub(crate) fn named_format(path: &Path) -> Option<ApplianceFormat> {
    let extension = |path: &Path| {
        let extension = path.extension().map(|extension| extension.to_string_lossy());
        extension.unwrap_or_default().to_ascii_lowercase()
    };
    let last = extension(path);
    let before = path.file_stem().map(Path::new).map(extension).unwrap_or_default();
    let named = |extension: &str| match extension {
        "tar" | "tgz" | "taz" | "tzst" => Some(ApplianceFormat::Tar),
        "vhd" => Some(ApplianceFormat::Vhd),
        "raw" | "img" => Some(ApplianceFormat::Raw),
        "qcow2" => Some(ApplianceFormat::Qcow2),
        _ => None,
    };
    match last.as_str() {
        "gz" | "zst" | "bz2" | "xz" => named(&before),
        other => named(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_speaks_of_its_format() {
        for (name, format) in [
            ("a/web.tar", Some(ApplianceFormat::Tar)),
            ("web.TGZ", Some(ApplianceFormat::Tar)),
            ("web.vhd", Some(ApplianceFormat::Vhd)),
            ("web.vhd.gz", Some(ApplianceFormat::Vhd)),
            ("web.img.zst", Some(ApplianceFormat::Raw)),
            ("web.vhd.bz2", Some(ApplianceFormat::Vhd)),
            ("web.qcow2", Some(ApplianceFormat::Qcow2)),
            ("web", None),
            ("vhd.gz", None),
        ] {
            assert_eq!(named_format(Path::new(name)), format, "{name}");
        }
    }
}
