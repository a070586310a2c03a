//! Formats of templates, and which names their files may have.

use flock_core::rootfs::decompress::Compression;

/// The format of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Vhd,
    Vhdx,
    Qcow2,
    Ova,
    Tar,
    Raw,
    Vmdk,
    Iso,
}

impl Format {
    const ALL: [Self; 8] = [
        Self::Vhd,
        Self::Vhdx,
        Self::Qcow2,
        Self::Ova,
        Self::Tar,
        Self::Raw,
        Self::Vmdk,
        Self::Iso,
    ];

    /// CloudStack's name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Vhd => "VHD",
            Self::Vhdx => "VHDX",
            Self::Qcow2 => "QCOW2",
            Self::Ova => "OVA",
            Self::Tar => "TAR",
            Self::Raw => "RAW",
            Self::Vmdk => "VMDK",
            Self::Iso => "ISO",
        }
    }

    /// By CloudStack's name, in any case.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str().eq_ignore_ascii_case(text))
    }

    fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Vhd => &["vhd"],
            Self::Vhdx => &["vhdx"],
            Self::Qcow2 => &["qcow2", "img"],
            Self::Ova => &["ova"],
            Self::Tar => &["tar"],
            Self::Raw => &["img", "raw"],
            Self::Vmdk => &["vmdk"],
            Self::Iso => &["iso"],
        }
    }

    /// What a file of this name is compressed with if its name suits the
    /// format, or why it does not. `knows_xz` is whether the server is 4.22
    /// or newer.
    pub(crate) fn check_name(self, name: &str, knows_xz: bool) -> Result<Compression, String> {
        let lower = name.to_ascii_lowercase();
        let (stem, compression) = match lower.rsplit_once('.') {
            Some((stem, "gz")) => (stem, Compression::Gzip),
            Some((stem, "bz2")) => (stem, Compression::Bzip2),
            Some((stem, "xz")) if knows_xz => (stem, Compression::Xz),
            Some((_, "zip")) => {
                return Err(format!("{name}: this simulator does not unpack .zip"));
            }
            _ => (lower.as_str(), Compression::None),
        };
        let extension = stem.rsplit_once('.').map(|(_, extension)| extension);
        if extension.is_some_and(|extension| self.extensions().contains(&extension)) {
            return Ok(compression);
        }
        let format = self.as_str();
        Err(format!(
            "Please specify a valid {}: {name} does not end as such",
            format.to_lowercase()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_formats_and_compressions() {
        let check = |format: Format, name| format.check_name(name, true).ok();
        assert_eq!(check(Format::Tar, "a.tar"), Some(Compression::None));
        assert_eq!(check(Format::Tar, "a.b.TAR.GZ"), Some(Compression::Gzip));
        assert_eq!(check(Format::Vhd, "disk.vhd.bz2"), Some(Compression::Bzip2));
        assert_eq!(check(Format::Qcow2, "x.img"), Some(Compression::None));
        for (format, name) in [
            (Format::Tar, "a.tgz"),
            (Format::Tar, "a.tar.zst"),
            (Format::Tar, "tar"),
            (Format::Vhd, "a.vhdx"),
            (Format::Vhd, "a.vhd.zip"),
            (Format::Raw, "a.gz"),
        ] {
            assert_eq!(check(format, name), None, "{name}");
        }
    }

    #[test]
    fn xz_came_with_4_22() {
        assert_eq!(Format::Tar.check_name("a.tar.xz", true), Ok(Compression::Xz));
        assert!(Format::Tar.check_name("a.tar.xz", false).is_err());
    }

    #[test]
    fn formats_have_cloudstacks_names() {
        for format in Format::ALL {
            assert_eq!(Format::parse(&format.as_str().to_lowercase()), Some(format));
        }
        assert_eq!(Format::parse("tgz"), None);
    }
}
