//! GRUB 2 for BIOS machines (its platform `i386-pc`): from the files of an
//! installed GRUB to what a disk needs to boot.

mod core_image;
mod dependencies;
mod elf;
mod files;

pub use self::core_image::BootCode;
pub(super) use self::core_image::CoreImage;
pub(super) use self::files::{DIRECTORY, GrubFiles};

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) use self::tests::made_up;
