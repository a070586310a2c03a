use std::collections::BTreeMap;

use liblzma::stream::{Action, Filters, LzmaOptions, Stream};

use super::{CoreImage, GrubFiles};
use crate::ErrorKind;
use crate::rootfs::boot::bytes::put;

/// A GRUB of the right shapes, none of which runs.
pub(in crate::rootfs::boot) fn made_up() -> BTreeMap<String, Vec<u8>> {
    let mut boot = vec![0x11; 512];
    for (at, bytes) in [(0x5a, &b"\x00\x80"[..]), (0x64, b"\xff"), (0x66, b"\xeb\x05")] {
        put(&mut boot, at, bytes).unwrap();
    }
    let mut diskboot = vec![0; 512];
    put(&mut diskboot, 500, b"\x02\0\0\0\0\0\0\0\0\0\x20\x08").unwrap();
    let modules = "normal: terminal extcmd\nextcmd:\nterminal:\next2: fshelp\nfshelp:\n";
    let mut files: BTreeMap<_, _> = [
        ("boot.img", boot),
        ("diskboot.img", diskboot),
        ("kernel.img", elf(b"GRUB's kernel")),
        ("lzma_decompress.img", vec![0x22; 100]),
        ("moddep.lst", modules.as_bytes().to_vec()),
    ]
    .map(|(name, content)| (name.to_owned(), content))
    .into();
    for name in
        "biosdisk ext2 extcmd fshelp linux normal part_gpt part_msdos serial terminal".split(' ')
    {
        files.insert(format!("{name}.mod"), format!("{name}!").into_bytes());
    }
    files
}

/// An ELF program for GRUB's address with this in its only segment.
fn elf(content: &[u8]) -> Vec<u8> {
    let mut elf = vec![0; 84];
    let length = u32::try_from(content.len()).unwrap();
    let fields: [(usize, &[u8]); 12] = [
        (0, b"\x7fELF\x01\x01\x01"),
        (16, b"\x02\0\x03\0"),
        (24, &0x9000u32.to_le_bytes()),
        (28, &52u32.to_le_bytes()),
        (42, &32u16.to_le_bytes()),
        (44, &1u16.to_le_bytes()),
        (52, &1u32.to_le_bytes()),
        (56, &84u32.to_le_bytes()),
        (60, &0x9000u32.to_le_bytes()),
        (68, &length.to_le_bytes()),
        (72, &(length + 0x100).to_le_bytes()),
        (80, &32u32.to_le_bytes()),
    ];
    for (at, bytes) in fields {
        put(&mut elf, at, bytes).unwrap();
    }
    elf.extend_from_slice(content);
    elf
}

fn files() -> GrubFiles {
    GrubFiles::from_parts(made_up())
}

fn decompress(packed: &[u8], size: usize) -> Vec<u8> {
    let mut options = LzmaOptions::new_preset(6).unwrap();
    options.dict_size(1 << 16).literal_context_bits(3).literal_position_bits(0).position_bits(2);
    let mut filters = Filters::new();
    filters.lzma1(&options);
    let mut decoder = Stream::new_raw_decoder(&filters).unwrap();
    let mut plain = Vec::with_capacity(size);
    decoder.process_vec(packed, &mut plain, Action::Run).unwrap();
    plain
}

#[test]
fn a_core_image_is_made_of_its_parts() {
    let files = files();
    let core = CoreImage::build(&files, &["normal"], "(,msdos1)/boot/grub").unwrap();
    let code = core.at(0x12_3456_789a, u64::MAX).unwrap();
    assert_eq!(code.mbr[0x5c..0x64], 0x12_3456_789a_u64.to_le_bytes());
    assert_eq!(code.mbr[0x66..0x68], [0x90, 0x90]);
    assert_eq!(code.mbr[0x68..], [0x11; 440 - 0x68]);
    let sectors = u16::try_from(code.embedded.len() / 512 - 1).unwrap();
    assert_eq!(code.embedded[500..508], 0x12_3456_789b_u64.to_le_bytes());
    assert_eq!(code.embedded[508..510], sectors.to_le_bytes());
    assert_eq!(code.embedded[510..512], [0x20, 0x08]);

    let decompressor = &code.embedded[512..612];
    let field = |at: usize| u32::from_le_bytes(decompressor[at..at + 4].try_into().unwrap());
    assert_eq!(field(0x10), 0);
    let plain = decompress(&code.embedded[612..612 + field(8) as usize], field(12) as usize);
    let mut expected = b"GRUB's kernelmimg\x0c\0\0\0".to_vec();
    expected.extend(92u32.to_le_bytes());
    for (kind, object) in [
        (0, &b"extcmd!\0"[..]),
        (0, b"terminal!\0\0\0"),
        (0, b"normal!\0"),
        (3, b"(,msdos1)/boot/grub\0"),
    ] {
        expected.extend(u32::to_le_bytes(kind));
        expected.extend(u32::try_from(object.len() + 8).unwrap().to_le_bytes());
        expected.extend(object);
    }
    assert_eq!(plain.escape_ascii().to_string(), expected.escape_ascii().to_string());
}

#[test]
fn it_must_fit_before_the_partition() {
    let files = files();
    let core = CoreImage::build(&files, &["normal"], "/").unwrap();
    let needed = core.at(1, 2048).unwrap().embedded.len() as u64 / 512;
    assert!(core.at(1, 1 + needed).is_ok());
    for end in [0, 1, needed] {
        assert_eq!(core.at(1, end).unwrap_err().kind(), ErrorKind::InvalidConfig);
    }
}

#[test]
fn damaged_files_are_refused() {
    let damages: [(&str, &[u8]); 11] = [
        ("boot.img", b"short"),
        ("boot.img", &[0; 512]),
        ("diskboot.img", &[0; 511]),
        ("diskboot.img", &[0xff; 512]),
        ("kernel.img", b"raw code, as before GRUB 2.02"),
        ("kernel.img", b"\x7fELF\x01\x01"),
        ("lzma_decompress.img", b"short"),
        ("lzma_decompress.img", &[0; 0xe01]),
        ("moddep.lst", b"\xff"),
        ("moddep.lst", b"normal: nowhere\n"),
        ("normal.mod", &[]),
    ];
    for (name, content) in damages {
        let mut parts = made_up();
        parts.insert(name.to_owned(), content.to_vec());
        if content.is_empty() {
            parts.remove(name);
        }
        let files = GrubFiles::from_parts(parts);
        let built = CoreImage::build(&files, &["normal"], "/").and_then(|core| core.at(1, 2048));
        assert_eq!(built.unwrap_err().kind(), ErrorKind::InvalidData, "{name}");
    }
}

#[test]
fn no_kernel_image_makes_it_panic() {
    let whole = elf(b"content");
    for at in 0..84 {
        for value in [0, 1, 0x7f, 0xff] {
            let mut changed = whole.clone();
            changed[at] = value;
            if let Ok(image) = super::elf::load(&changed) {
                assert!(image.len() < 0x10_0000);
            }
        }
        assert!(super::elf::load(&whole[..at]).is_err());
    }
    assert_eq!(super::elf::load(&whole).unwrap(), b"content");
}

#[test]
fn too_large_an_image_is_refused() {
    let mut parts = made_up();
    // Nothing to compress: a generator's output.
    let mut state = 1u32;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    });
    parts.insert("normal.mod".to_owned(), noise.take(500_000).collect());
    let files = GrubFiles::from_parts(parts);
    let error = CoreImage::build(&files, &["normal"], "/").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
}
