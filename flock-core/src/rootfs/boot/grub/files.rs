//! The files of an installed GRUB.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::rootfs::Tree;
use crate::rootfs::boot::read::read_file;
use crate::{Error, ErrorKind, Result};

/// Where GRUB's files for BIOS machines are in an appliance, and where its own
/// installer looks for them.
pub(in crate::rootfs::boot) const DIRECTORY: &str = "/usr/lib/grub/i386-pc";

/// The images that boot code is made of.
const IMAGES: [&str; 4] = ["boot.img", "diskboot.img", "kernel.img", "lzma_decompress.img"];

/// More than any of GRUB's files has: its largest have some 100 KiB.
const MAX_FILE: u64 = 8 << 20;

/// GRUB's images, modules and lists, each whole. Together some 3 MB.
pub(in crate::rootfs::boot) struct GrubFiles {
    /// Where they come from, for messages.
    origin: String,
    files: BTreeMap<String, Vec<u8>>,
}

impl GrubFiles {
    /// The files of the appliance's own GRUB, or else those in the directory
    /// `host` of this machine.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if there are none in either place, those
    /// of reading.
    pub(in crate::rootfs::boot) fn find(tree: &Tree, host: Option<&Path>) -> Result<Self> {
        if let Some(found) = Self::of_appliance(tree)? {
            return Ok(found);
        }
        if let Some(host) = host
            && host.join("kernel.img").exists()
        {
            return Self::of_directory(host);
        }
        let message = format!("the appliance has no boot loader: {DIRECTORY} is not in it");
        let mut error = Error::new(ErrorKind::InvalidConfig, message).with("boot", "grub").hint(
            "add the package grub-pc-bin (Debian, Ubuntu) or grub2-pc-modules (Fedora) to the base",
        );
        if let Some(host) = host {
            let host = host.display();
            error = error.hint(format!("or install it on this machine, so that {host} is there"));
        }
        Err(error.hint("or choose the bare layout, for guests whose host loads the kernel"))
    }

    fn of_appliance(tree: &Tree) -> Result<Option<Self>> {
        if tree.resolve(&format!("{DIRECTORY}/kernel.img"))?.is_none() {
            return Ok(None);
        }
        let mut files = BTreeMap::new();
        for name in tree.list(DIRECTORY)? {
            let Some(name) = String::from_utf8(name).ok().filter(|name| is_wanted(name)) else {
                continue;
            };
            if let Some(bytes) = read_file(tree, &format!("{DIRECTORY}/{name}"), MAX_FILE)? {
                files.insert(name, bytes);
            }
        }
        Ok(Some(Self { origin: format!("the appliance's {DIRECTORY}"), files }))
    }

    fn of_directory(host: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(host).map_err(|error| Error::io("list", host, error))? {
            let path = entry.map_err(|error| Error::io("list", host, error))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(name) = name.filter(|name| is_wanted(name)) else { continue };
            files.insert(name.to_owned(), read_limited(&path)?);
        }
        Ok(Self { origin: host.display().to_string(), files })
    }

    /// The file of that name.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] if there is none.
    pub(super) fn get(&self, name: &str) -> Result<&[u8]> {
        self.files.get(name).map(Vec::as_slice).ok_or_else(|| self.broken(name, "is not there"))
    }

    /// The error that one of the files is not what it should be.
    pub(super) fn broken(&self, name: &str, why: &str) -> Error {
        let message = format!("cannot use GRUB's {name} from {}: it {why}", self.origin);
        Error::new(ErrorKind::InvalidData, message)
            .hint("install grub-pc-bin anew there; GRUB 2.02 and later are known to work")
    }

    /// The files that GRUB loads at run time, by name: modules and the lists
    /// that say which module has what.
    pub(in crate::rootfs::boot) fn into_modules(self) -> impl Iterator<Item = (String, Vec<u8>)> {
        self.files.into_iter().filter(|(name, _)| is_module(name))
    }

    /// Files that were made up.
    #[cfg(test)]
    pub(super) fn from_parts(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self { origin: "a test".to_owned(), files }
    }
}

fn is_wanted(name: &str) -> bool {
    IMAGES.contains(&name) || is_module(name)
}

fn is_module(name: &str) -> bool {
    name.ends_with(".mod") || name.ends_with(".lst")
}

fn read_limited(path: &Path) -> Result<Vec<u8>> {
    let failed = |error| Error::io("read", path, error);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        let message = format!("{} has more than {MAX_FILE} bytes", path.display());
        return Err(Error::new(ErrorKind::InvalidData, message));
    }
    Ok(bytes)
}
