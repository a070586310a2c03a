//! The geometry of a disk in cylinders, heads and sectors.

/// Cylinders, heads and sectors of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) cylinders: u16,
    pub(super) heads: u8,
    pub(super) sectors: u8,
}

impl Geometry {
    /// The largest that the footer can state; readers then know that the disk
    /// may be larger.
    pub(super) const MAX: Self = Self { cylinders: 65535, heads: 16, sectors: 255 };

    /// A geometry for a disk of `size` bytes, a multiple of 2 MiB.
    ///
    /// As long as it can be, it is exact: cylinders of 1 MiB. Old readers
    /// compute the size of the disk from it, and lose nothing. From 31.5 GiB
    /// on it is what the specification computes: XenServer's tools refuse one
    /// with more cylinders.
    pub(super) fn of(size: u64) -> Self {
        let specified = Self::specified(size);
        if specified.sectors == 255 {
            return specified;
        }
        // Below 31.5 GiB there are fewer than 32,256 of them.
        let cylinders = u16::try_from(size >> 20).unwrap_or(u16::MAX);
        Self { cylinders, heads: 16, sectors: 128 }
    }

    /// The geometry of the specification, appendix "CHS Calculation".
    pub(super) fn specified(size: u64) -> Self {
        let most = 65535 * 16 * 255;
        let total = u32::try_from(size / 512).unwrap_or(u32::MAX).min(most);
        let (heads, sectors) = if total >= 65535 * 16 * 63 {
            (16, 255)
        } else {
            let tracks = total / 17;
            let heads = tracks.div_ceil(1024).max(4);
            if heads <= 16 && tracks < heads * 1024 {
                (heads, 17)
            } else if total / 31 < 16 * 1024 {
                (16, 31)
            } else {
                (16, 63)
            }
        };
        let narrow = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
        let cylinders = u16::try_from(total / sectors / heads).unwrap_or(u16::MAX);
        Self { cylinders, heads: narrow(heads), sectors: narrow(sectors) }
    }

    /// The size in bytes of a disk that has just this geometry.
    pub(super) fn size(self) -> u64 {
        u64::from(self.cylinders) * u64::from(self.heads) * u64::from(self.sectors) * 512
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn it_is_exact_as_long_as_it_can_be() {
        for size in [2 * MIB, 4 * MIB, 510 * MIB, 4096 * MIB, 31 << 30] {
            assert_eq!(Geometry::of(size).size(), size);
        }
    }

    #[test]
    fn large_disks_have_what_the_specification_computes() {
        let known = |size, cylinders, heads, sectors| {
            assert_eq!(Geometry::specified(size), Geometry { cylinders, heads, sectors });
        };
        known(2 * MIB, 60, 4, 17);
        known(64 * MIB, 963, 8, 17);
        known(504 * MIB, 1024, 16, 63);
        known(4096 * MIB, 8322, 16, 63);
        known(40 << 30, 20560, 16, 255);
        known(1 << 40, 65535, 16, 255);
        assert_eq!(Geometry::of(40 << 30), Geometry::specified(40 << 30));
        assert_eq!(Geometry::of(1 << 40), Geometry::MAX);
    }

    /// Compared as XenServer's `vhd-util check` does.
    #[test]
    fn it_is_never_larger_than_the_specified_one() {
        let number = |geometry: Geometry| {
            let (heads, sectors) = (u32::from(geometry.heads), u32::from(geometry.sectors));
            u32::from(geometry.cylinders) << 16 | heads << 8 | sectors
        };
        for blocks in (1..20_000).chain([65_000, 100_000, 1_000_000]) {
            let size = blocks * 2 * MIB;
            assert!(number(Geometry::of(size)) <= number(Geometry::specified(size)), "{size}");
        }
    }
}
