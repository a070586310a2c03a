//! GRUB's `kernel.img`: a 32-bit ELF program for a fixed address.
//!
//! (Specification: System V ABI, "Object Files" and "Program Loading", as in
//! elf(5).)

use crate::rootfs::boot::bytes::{u16_at, u32_at};

/// Where GRUB's kernel runs (`GRUB_KERNEL_I386_PC_LINK_ADDR` in
/// `include/grub/offsets.h`).
pub(super) const LINK_ADDRESS: usize = 0x9000;

/// Where the memory ends that GRUB leaves to its kernel.
const MEMORY_END: usize = 0x6_8000;

const ELF_32_LITTLE_ENDIAN: &[u8] = b"\x7fELF\x01\x01";
const EXECUTABLE: u16 = 2;
const I386: u16 = 3;
const LOAD: u32 = 1;

/// What an ELF program for [`LINK_ADDRESS`] looks like in memory, from there
/// to the last byte that is in the file. Else why it is none.
pub(super) fn load(elf: &[u8]) -> Result<Vec<u8>, &'static str> {
    const SHORT: &str = "is cut off";
    if !elf.starts_with(ELF_32_LITTLE_ENDIAN) {
        return Err("is not a 32-bit ELF file");
    }
    if (u16_at(elf, 16), u16_at(elf, 18)) != (Some(EXECUTABLE), Some(I386)) {
        return Err("is not an ELF program for i386");
    }
    let entry = u32_at(elf, 24).ok_or(SHORT)?;
    if to_usize(entry) != LINK_ADDRESS {
        return Err("does not begin where GRUB's kernel does");
    }
    let table = to_usize(u32_at(elf, 28).ok_or(SHORT)?);
    let size = usize::from(u16_at(elf, 42).ok_or(SHORT)?);
    let count = usize::from(u16_at(elf, 44).ok_or(SHORT)?);
    let mut image = Vec::new();
    for row in 0..count {
        let header = size.checked_mul(row).and_then(|at| at.checked_add(table)).ok_or(SHORT)?;
        let field = |at: usize| header.checked_add(at).and_then(|at| u32_at(elf, at)).ok_or(SHORT);
        if field(0)? != LOAD {
            continue;
        }
        let (offset, address) = (to_usize(field(4)?), to_usize(field(8)?));
        let (in_file, in_memory) = (to_usize(field(16)?), to_usize(field(20)?));
        let end = address.checked_add(in_memory.max(in_file)).filter(|end| *end <= MEMORY_END);
        let start = address.checked_sub(LINK_ADDRESS).filter(|_| end.is_some());
        let start = start.ok_or("does not fit into the memory for GRUB's kernel")?;
        let bytes = offset.checked_add(in_file).and_then(|end| elf.get(offset..end));
        place(&mut image, start, bytes.ok_or(SHORT)?);
    }
    if image.is_empty() { Err("has nothing to load") } else { Ok(image) }
}

/// Puts `bytes` at `start`, with zeros before them if nothing is there yet.
fn place(image: &mut Vec<u8>, start: usize, bytes: &[u8]) {
    let end = start + bytes.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[start..end].copy_from_slice(bytes);
}

fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
