//! The files that are written into the appliance.

use super::kernel::Kernel;
use super::options::BootOptions;

/// `/etc/fstab`. (Format: fstab(5).)
pub(super) fn fstab(root_uuid: &str) -> String {
    format!(
        "# <file system> <mount point> <type> <options> <dump> <pass>\n\
         UUID={root_uuid} / ext4 errors=remount-ro 0 1\n"
    )
}

/// Whether an fstab mounts nothing, as the one that bootstrapped systems come
/// with.
pub(super) fn is_empty_fstab(fstab: &[u8]) -> bool {
    fstab.split(|byte| *byte == b'\n').all(|line| {
        let line = line.trim_ascii_start();
        line.is_empty() || line.starts_with(b"#")
    })
}

/// A serial line that Linux and GRUB both have: `ttyS<unit>`.
struct Serial {
    unit: u8,
    speed: u32,
}

impl Serial {
    /// The first serial line of the consoles.
    fn of(options: &BootOptions) -> Option<Self> {
        options.consoles_or_usual().iter().find_map(|console| {
            let (name, mode) = console.split_once(',').unwrap_or((console, ""));
            let unit = name.strip_prefix("ttyS")?.parse().ok().filter(|unit| *unit < 4)?;
            let digits: String = mode.chars().take_while(char::is_ascii_digit).collect();
            // What Linux assumes if no speed is given.
            Some(Self { unit, speed: digits.parse().unwrap_or(9600) })
        })
    }

    fn command(&self) -> String {
        format!("serial --unit={} --speed={}", self.unit, self.speed)
    }
}

/// GRUB's `grub.cfg`: one entry for each kernel, the first is the default.
/// pygrub reads it too, which knows entries and their `linux` and `initrd`,
/// without quotes. (Format: GNU GRUB Manual, "Writing full configuration
/// files directly".)
pub(super) fn grub_cfg(options: &BootOptions, kernels: &[Kernel], system: &str) -> String {
    let mut text = format!(
        "# Written by flock, as the appliance had none; update-grub replaces it.\n\
         set default=0\n\
         set timeout={}\n",
        options.timeout
    );
    if let Some(serial) = Serial::of(options).filter(|_| !options.layout.is_bare()) {
        let command = serial.command();
        text.push_str(&format!(
            "if {command}; then\n\
             \tterminal_input console serial\n\
             \tterminal_output console serial\n\
             fi\n"
        ));
    }
    for kernel in kernels {
        text.push_str(&entry(options, kernel, system));
    }
    text
}

fn entry(options: &BootOptions, kernel: &Kernel, system: &str) -> String {
    let Kernel { version, path, initrd } = kernel;
    let title = format!("{system}, Linux {version}");
    let root = options.root_argument(initrd.is_some());
    let mut linux = format!("\tlinux {path} root={root} ro");
    for argument in options.kernel_arguments() {
        linux.push(' ');
        linux.push_str(&argument);
    }
    let initrd = initrd.as_ref().map_or(String::new(), |path| format!("\tinitrd {path}\n"));
    format!("\nmenuentry '{}' {{\n{linux}\n{initrd}}}\n", title.trim_end())
}

/// A drop-in for `/etc/default/grub.d`, so that the consoles and the timeout
/// stay when the appliance makes its `grub.cfg` anew. (Format: GNU GRUB
/// Manual, "Simple configuration handling"; the directory is Debian's.)
pub(super) fn grub_defaults(options: &BootOptions) -> String {
    let arguments = options.kernel_arguments().join(" ");
    let mut text = format!(
        "# Written by flock: what update-grub puts into grub.cfg for this appliance.\n\
         GRUB_TIMEOUT={}\n\
         GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX {arguments}\"\n",
        options.timeout
    );
    if let Some(serial) = Serial::of(options) {
        let command = serial.command();
        text.push_str("GRUB_TERMINAL=\"console serial\"\n");
        text.push_str(&format!("GRUB_SERIAL_COMMAND=\"{command}\"\n"));
    }
    text
}

/// The system's name from its `os-release`, for titles: characters that would
/// have to be quoted are left out. (Specification: os-release(5).)
pub(super) fn system_name(os_release: &[u8]) -> String {
    let text = String::from_utf8_lossy(os_release);
    let named = |key: &str| {
        text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=').map(str::to_owned))
    };
    let name = named("PRETTY_NAME").or_else(|| named("NAME")).unwrap_or_default();
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || " -._+/()".contains(*c);
    let name: String = name.chars().filter(is_plain).take(80).collect();
    if name.trim().is_empty() { "Linux system".to_owned() } else { name.trim().to_owned() }
}
