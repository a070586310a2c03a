//! What makes an appliance boot, decided before anything is written.

use super::config;
use super::grub::{BootCode, CoreImage, GrubFiles};
use super::kernel::{self, Found, Kernel};
use super::options::{BootLayout, BootOptions, uuid_text};
use super::read::read_file;
use crate::progress::Level;
use crate::rootfs::{InjectedFile, Tree};
use crate::{Context, Error, ErrorKind, Result};

/// What GRUB needs to show its menu and load a kernel from an ext4 file
/// system, without loading any module from there.
const MODULES: [&str; 6] = ["biosdisk", "ext2", "normal", "linux", "serial", "terminal"];

/// Files that are looked into are settings: a few KiB.
const MAX_CONFIG: u64 = 1 << 20;

/// What makes an appliance boot: files for its file system and, for a disk
/// with partitions, code outside of it. See the [module's page](super).
#[derive(Debug, Clone)]
pub struct BootPlan {
    kernels: Vec<Kernel>,
    files: Vec<InjectedFile>,
    code: Option<BootCode>,
}

impl BootPlan {
    /// Decides how the appliance in `tree` boots. Reads its kernels' headers
    /// and its boot loader, or this machine's; changes nothing. What was kept
    /// though it may not fit is told to `ctx`.
    ///
    /// # Errors
    /// - [`ErrorKind::InvalidConfig`] if the appliance has no kernel for x86
    ///   or no boot loader (neither is needed in the bare layout), or has a
    ///   kernel but no `/sbin/init`; if an argument cannot be written to
    ///   `grub.cfg`; if the boot loader needs more room than there is before
    ///   the partition.
    /// - [`ErrorKind::InvalidData`] if the boot loader's files are not in the
    ///   known format.
    /// - Those of reading a layer, or the boot loader on this machine.
    pub fn new(tree: &Tree, options: &BootOptions, ctx: &Context) -> Result<Self> {
        ctx.check()?;
        options.check()?;
        let found = kernel::find(tree, ctx)?;
        if found.kernels.is_empty() && !options.layout.is_bare() {
            return Err(no_kernel(&found));
        }
        let planner = Planner { tree, options, ctx, kernels: &found.kernels };
        for (path, what) in &found.refused {
            planner.warn(format!("left {path} out of the boot menu: it is {what}"));
        }
        planner.check_init()?;
        planner.tell_of_missing_initrd();
        let directory = planner.grub_directory()?;
        let mut files = planner.config_files(directory)?;
        let code = planner.boot_loader(directory, &mut files)?;
        Ok(Self { kernels: found.kernels, files, code })
    }

    /// The kernels that the boot menu has, the default first.
    #[must_use]
    pub fn kernels(&self) -> &[Kernel] {
        &self.kernels
    }

    /// The code outside of the file system; `None` in the bare layout.
    #[must_use]
    pub fn boot_code(&self) -> Option<&BootCode> {
        self.code.as_ref()
    }

    /// Puts configuration and modules of the boot loader into the tree, which
    /// must be the one that was planned for.
    ///
    /// # Errors
    /// As [`Tree::inject`]; the tree is then half changed and of no more use.
    pub fn inject(&self, tree: &mut Tree) -> Result<()> {
        self.files.iter().try_for_each(|file| tree.inject(file.clone()))
    }
}

fn no_kernel(found: &Found) -> Error {
    let message = match found.refused.first() {
        None => "the appliance has no kernel to boot: there is none in /boot".to_owned(),
        Some((path, what)) => {
            format!("the appliance has no kernel to boot on x86: {path} is {what}")
        }
    };
    Error::new(ErrorKind::InvalidConfig, message)
        .with("boot", "kernel")
        .hint(
            "add a kernel package to the base: linux-image-amd64 or linux-image-cloud-amd64 \
             (Debian), linux-image-virtual (Ubuntu), kernel (Fedora), linux-virt (Alpine)",
        )
        .hint("or choose the bare layout, for guests whose host brings the kernel")
}

struct Planner<'a> {
    tree: &'a Tree,
    options: &'a BootOptions,
    ctx: &'a Context,
    kernels: &'a [Kernel],
}

impl Planner<'_> {
    fn warn(&self, text: impl Into<String>) {
        self.ctx.message(Level::Warning, text);
    }

    fn exists(&self, path: &str) -> Result<bool> {
        Ok(self.tree.resolve(path)?.is_some())
    }

    /// A kernel without an init stops with a panic, and bases from container
    /// registries have none. Where the host brings the kernel, it may bring an
    /// init too.
    fn check_init(&self) -> Result<()> {
        let is_named = |argument: &String| argument.starts_with("init=");
        if self.kernels.is_empty()
            || self.options.arguments.iter().any(is_named)
            || self.exists("/sbin/init")?
        {
            return Ok(());
        }
        let message = "the appliance has a kernel but no /sbin/init that it could start";
        Err(Error::new(ErrorKind::InvalidConfig, message)
            .hint(
                "add an init to the base: systemd-sysv or sysvinit-core (Debian), systemd (Fedora)",
            )
            .hint("or name the program to start with the kernel argument init=PATH"))
    }

    fn tell_of_missing_initrd(&self) {
        let Some(Kernel { path, initrd: None, .. }) = self.kernels.first() else { return };
        let root = self.options.root_argument(false);
        self.warn(format!(
            "{path} has no initial RAM disk (initramfs-tools or dracut make one): it must have \
             the drivers of its disk and file system built in, and looks for root={root}"
        ));
    }

    /// Where the appliance's own tools keep GRUB's configuration.
    fn grub_directory(&self) -> Result<&'static str> {
        let is_red_hat = self.exists("/boot/grub2")? && !self.exists("/boot/grub")?;
        Ok(if is_red_hat { "/boot/grub2" } else { "/boot/grub" })
    }

    /// The configuration that is missing.
    fn config_files(&self, directory: &str) -> Result<Vec<InjectedFile>> {
        let mut files = Vec::new();
        let uuid = uuid_text(self.options.root_uuid);
        let fstab = read_file(self.tree, "/etc/fstab", MAX_CONFIG)?;
        match fstab.filter(|fstab| !config::is_empty_fstab(fstab)) {
            None => files.push(InjectedFile::new("/etc/fstab", config::fstab(&uuid))),
            Some(kept) => self.check_kept("/etc/fstab", &kept, &uuid),
        }
        if self.kernels.is_empty() {
            return Ok(files);
        }
        let path = format!("{directory}/grub.cfg");
        match read_file(self.tree, &path, MAX_CONFIG)? {
            None => {
                let os_release = read_file(self.tree, "/etc/os-release", MAX_CONFIG)?;
                let system = config::system_name(&os_release.unwrap_or_default());
                let text = config::grub_cfg(self.options, self.kernels, &system);
                files.push(InjectedFile::new(path, text));
            }
            Some(kept) => self.check_kept(&path, &kept, &uuid),
        }
        let defaults = "/etc/default/grub.d/flock.cfg";
        if !self.options.layout.is_bare() && !self.exists(defaults)? {
            files.push(InjectedFile::new(defaults, config::grub_defaults(self.options)));
        }
        Ok(files)
    }

    /// Tells of a file of the base that names file systems, but not this one.
    fn check_kept(&self, path: &str, kept: &[u8], uuid: &str) {
        let contains = |text: &str| kept.windows(text.len()).any(|part| part == text.as_bytes());
        if contains("UUID=") && !contains(uuid) {
            self.warn(format!(
                "kept {path} of the base, which names other file systems than this one, {uuid}: \
                 the appliance may not boot; without the file flock writes one"
            ));
        }
    }

    /// GRUB's code for the layout, and its modules for the file system: as
    /// with its own installer, they are of the same build as the code.
    fn boot_loader(
        &self,
        directory: &str,
        files: &mut Vec<InjectedFile>,
    ) -> Result<Option<BootCode>> {
        let (partition, table, free) = match &self.options.layout {
            BootLayout::Bare => return Ok(None),
            BootLayout::Mbr { first_partition, .. } => {
                ("msdos1".to_owned(), "part_msdos", 1..*first_partition)
            }
            BootLayout::Gpt { bios_boot, root_number, .. } => {
                (format!("gpt{root_number}"), "part_gpt", bios_boot.clone())
            }
        };
        let grub = GrubFiles::find(self.tree, self.options.host_grub.as_deref())?;
        let modules: Vec<_> = MODULES.into_iter().chain([table]).collect();
        // Without a drive: the one that the boot sector came from.
        let prefix = format!("(,{partition}){directory}");
        let code = CoreImage::build(&grub, &modules, &prefix)?.at(free.start, free.end)?;
        for (name, bytes) in grub.into_modules() {
            files.push(InjectedFile::new(format!("{directory}/i386-pc/{name}"), bytes));
        }
        Ok(Some(code))
    }
}
