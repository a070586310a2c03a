//! The command line.

mod cloudstack;
mod node;
mod simulator;
mod template;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind as ClapKind};
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use flock_core::app::{CONFIG_FILE, Location, RepositoryType};
use flock_core::image_builder::ApplianceFormat;
use flock_core::rootfs::compress::Format;
use flock_core::settings::{ColorChoice, OTHER_VARIABLES, SETTINGS, parse_age};
use flock_core::{Error, ErrorKind};

pub(crate) use self::cloudstack::{Call, CloudStack, Job, JobOptions};
pub(crate) use self::node::{Deploy, DeployHow, Node, NodeNames};
pub(crate) use self::simulator::{Cloudstack, Simulator};
pub(crate) use self::template::{Delete, Method, Register, Template, TemplateName};
use crate::exit::Exit;
use crate::output::{Printer, Stop};

/// Build appliances from a base operating system and an application.
#[derive(Debug, Parser)]
#[command(name = "flock", version, propagate_version = false)]
#[command(subcommand_required = true, arg_required_else_help = true)]
#[command(after_long_help = after_help())]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Print the result as one JSON document, errors too.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say nothing on standard error but warnings and errors.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Log what is done; twice for more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Run as if started in this directory.
    #[arg(short = 'C', long, global = true, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    /// When to use colours.
    #[arg(long, global = true, value_name = "WHEN", value_parser = ["auto", "always", "never"])]
    pub(crate) color: Option<String>,
    /// How to show progress.
    #[arg(long, global = true, value_name = "HOW", value_parser = ["auto", "json", "none"])]
    pub(crate) progress: Option<String>,
    /// Show no progress.
    #[arg(long, global = true, conflicts_with = "progress")]
    pub(crate) no_progress: bool,
    /// Directory for downloads and unpacked bases.
    #[arg(long, global = true, value_name = "DIR", hide_short_help = true)]
    pub(crate) cache_dir: Option<String>,
    /// How long a download may be used unasked, such as 12h or 30d.
    #[arg(long, global = true, value_name = "AGE", hide_short_help = true)]
    pub(crate) cache_max_age: Option<String>,
    /// PEM file of certificate authorities to trust too.
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub(crate) ca_file: Option<String>,
    /// File with logins by host, as docker's config.json.
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub(crate) credentials_file: Option<String>,
    /// How many threads compress, as far as the memory goes.
    #[arg(long, global = true, value_name = "N", hide_short_help = true)]
    pub(crate) threads: Option<String>,
    /// Most memory for compression, and for what a compressed input needs.
    #[arg(long, global = true, value_name = "SIZE", hide_short_help = true)]
    pub(crate) memory: Option<String>,
}

/// Which profile a command works with; for those that work with one.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ProfileOptions {
    /// File with the profiles (flockr.yaml).
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<String>,
    /// Profile to use.
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
}

impl Cli {
    /// The flags that give a setting, by the setting's key.
    pub(crate) fn settings(&self) -> Vec<(&'static str, &str)> {
        let global = &self.global;
        let none = global.no_progress.then_some("none");
        let profile = self.command.profile();
        [
            ("cache_dir", global.cache_dir.as_deref()),
            ("cache_max_age", global.cache_max_age.as_deref()),
            ("ca_file", global.ca_file.as_deref()),
            ("credentials_file", global.credentials_file.as_deref()),
            ("threads", global.threads.as_deref()),
            ("memory", global.memory.as_deref()),
            ("config", profile.and_then(|options| options.config.as_deref())),
            ("profile", profile.and_then(|options| options.profile.as_deref())),
            ("color", global.color.as_deref()),
            ("progress", global.progress.as_deref().or(none)),
        ]
        .into_iter()
        .filter_map(|(key, text)| text.map(|text| (key, text)))
        .collect()
    }
}

impl Command {
    /// The profile that is asked for, of commands that work with one.
    fn profile(&self) -> Option<&ProfileOptions> {
        match self {
            Self::Config(Config::Show(options)) | Self::Doctor(options) => Some(options),
            Self::CloudStack(command) => Some(command.profile()),
            Self::Template(template) => Some(template.profile()),
            Self::Job(job) => Some(job.profile()),
            Self::Deploy(deploy) => Some(&deploy.profile),
            Self::Node(node) => Some(node.profile()),
            _ => None,
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make, list and check applications.
    #[command(subcommand)]
    App(App),
    /// Build an application's appliance.
    Build(Box<Build>),
    /// Show and tidy up what was downloaded and unpacked.
    #[command(subcommand)]
    Cache(Cache),
    /// Look at disk images, and convert them.
    #[command(subcommand)]
    Image(Image),
    /// Register appliances as CloudStack's templates, list and delete them.
    #[command(subcommand)]
    Template(Template),
    /// Make nodes from an application's template.
    Deploy(Box<Deploy>),
    /// List nodes, start and stop them, destroy them.
    #[command(subcommand)]
    Node(Node),
    /// Ask CloudStack for anything that its API can do.
    #[command(subcommand, name = "cloudstack")]
    CloudStack(CloudStack),
    /// Look at jobs that CloudStack works on, and wait for them.
    #[command(subcommand)]
    Job(Job),
    /// Show the settings and where they come from.
    #[command(subcommand)]
    Config(Config),
    /// Simulate a cloud, to try flock and to test with.
    #[command(subcommand)]
    Simulator(Simulator),
    /// Tell what works on this machine, and what to install for the rest.
    Doctor(ProfileOptions),
    /// Print the completions for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual page, or write one for every command.
    Man {
        /// Directory to write the pages to.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// What to do with applications.
#[derive(Debug, Subcommand)]
pub(crate) enum App {
    /// Make NAME/config.yaml, explained, to be filled in.
    Create(Box<Create>),
    /// List the applications in the directory.
    List,
    /// Show what an application is made of.
    Show {
        /// The application's name, or the path of its directory.
        #[arg(value_name = "APP")]
        name: String,
    },
    /// Check an application's config.yaml and list every problem.
    Validate {
        /// The application's name, or the path of its directory.
        #[arg(value_name = "APP")]
        name: String,
    },
}

/// The compression of a text; clap shows nothing but the message of an error.
fn compression(text: &str) -> Result<Format, String> {
    text.parse().map_err(|error: Error| match error.hints().next() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    })
}

/// What is known of a new application.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The new application's name.
    pub(crate) name: String,
    /// The base: a path, an http(s):// address or oci://IMAGE.
    #[arg(long, value_name = "LOCATION")]
    pub(crate) base: Option<Location>,
    /// The application: a path or address of a tar archive or git repository.
    #[arg(long, value_name = "LOCATION")]
    pub(crate) repository: Option<Location>,
    /// What the repository is.
    #[arg(long = "type", value_name = "TYPE", ignore_case = true)]
    pub(crate) kind: Option<Repository>,
    /// Directory of the appliance that the application becomes.
    #[arg(long, value_name = "PATH")]
    pub(crate) wwwroot: Option<String>,
}

/// What to build and how.
#[derive(Debug, Args)]
pub(crate) struct Build {
    /// The application's name, or the path of its directory.
    pub(crate) app: String,
    /// What to build: lxc is a root file system as a tar archive, the others
    /// are disks, which start on a machine unless `build.disk` says otherwise.
    #[arg(long = "type", value_name = "TYPE", default_value = "lxc")]
    pub(crate) kind: BuildType,
    /// File to write, instead of APP/APP.tar (.vhd, .raw, .qcow2) with .gz or
    /// .zst behind; `-` is standard output, for a tar archive.
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,
    /// none, gzip or zstd, with a level as in gzip:9, instead of what the
    /// output's name says or, if it says nothing, the configuration.
    #[arg(long, value_name = "HOW", value_parser = compression)]
    pub(crate) compression: Option<Format>,
    /// Replace an appliance that is there.
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Do not wait until the appliance is on the disk: after a loss of power
    /// it may be incomplete.
    #[arg(long)]
    pub(crate) no_sync: bool,
    /// Check what can be known without fetching, and show what would be built.
    /// Not looked at: what is in archives, their checksums, the servers. Ends
    /// as the build would, as far as that is known: with 1 if the output is
    /// there already, after the plan.
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
}

/// The types of appliance.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum BuildType {
    /// A root file system as a tar archive.
    Lxc,
    /// A disk in Microsoft's Virtual Hard Disk format.
    Vhd,
    /// A disk, byte for byte.
    Raw,
    /// A disk in QEMU's format.
    Qcow2,
}

impl From<BuildType> for ApplianceFormat {
    fn from(kind: BuildType) -> Self {
        match kind {
            BuildType::Lxc => Self::Tar,
            BuildType::Vhd => Self::Vhd,
            BuildType::Raw => Self::Raw,
            BuildType::Qcow2 => Self::Qcow2,
        }
    }
}

/// How an application is kept.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Repository {
    /// A tar archive, compressed or not.
    Tar,
    /// A git repository.
    Git,
}

impl From<Repository> for RepositoryType {
    fn from(kind: Repository) -> Self {
        match kind {
            Repository::Tar => Self::Tar,
            Repository::Git => Self::Git,
        }
    }
}

/// What to do with the cache.
#[derive(Debug, Subcommand)]
pub(crate) enum Cache {
    /// List what is kept, the largest first.
    List,
    /// Remove what was not used for long; never what is in use.
    Prune(Prune),
}

/// What to remove from the cache.
#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// How long it must not have been used, such as 12h or 30d; 0s removes
    /// all that no running flock uses.
    #[arg(long, value_name = "AGE", default_value = "60d", value_parser = parse_age)]
    pub(crate) older_than: Duration,
    /// Show what would be removed, and remove nothing.
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
}

/// What to do with disk images.
#[derive(Debug, Subcommand)]
pub(crate) enum Image {
    /// Show what is in a disk image, and check it.
    Inspect {
        /// The image: raw, VHD or qcow2, also compressed.
        file: PathBuf,
    },
    /// Write a disk image in another format.
    Convert(Convert),
}

/// What to convert and how.
#[derive(Debug, Args)]
pub(crate) struct Convert {
    /// The image: raw, VHD or qcow2.
    pub(crate) file: PathBuf,
    /// File to write.
    pub(crate) output: PathBuf,
    /// Format to write, instead of what OUTPUT ends in.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<ImageFormat>,
    /// Format of FILE, instead of what it looks like: a machine that is not
    /// trusted can make its raw disk look like another format.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) input_format: Option<ImageFormat>,
    /// How a VHD is stored; dynamic unless given.
    #[arg(long, value_name = "HOW")]
    pub(crate) subformat: Option<Subformat>,
    /// Replace a file that is there.
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Do not wait until the image is on the disk: after a loss of power it
    /// may be incomplete.
    #[arg(long)]
    pub(crate) no_sync: bool,
}

/// The formats of disk images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImageFormat {
    /// The disk byte for byte.
    Raw,
    /// Virtual Hard Disk, for XenServer, Hyper-V and CloudStack.
    Vhd,
    /// QEMU's format.
    Qcow2,
}

/// How a VHD is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subformat {
    /// As large as the disk.
    Fixed,
    /// As large as what is on the disk.
    Dynamic,
}

/// What to do with the settings.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Show every setting with its source, and the profiles without secrets.
    Show(ProfileOptions),
}

/// Parses the command line. Help and version are printed; so are mistakes,
/// and the exit code for either is the error.
pub(crate) fn parse() -> Result<Cli, Exit> {
    Cli::try_parse().map_err(|mut error| {
        let shown = matches!(error.kind(), ClapKind::DisplayHelp | ClapKind::DisplayVersion);
        if let Some(tip) = missing_app(&error) {
            let tips = ContextValue::StyledStrs(vec![tip.into()]);
            error.insert(ContextKind::Suggested, tips);
        }
        if !shown && std::env::args_os().any(|argument| argument == "--json") {
            return usage(&error);
        }
        // A closed pipe is nothing to report.
        let _ = error.print();
        if shown { Exit::Done } else { Exit::Usage }
    })
}

/// What to say where the application's name is missing and the working
/// directory is an application.
fn missing_app(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::Strings(missing)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let is_app = error.kind() == ClapKind::MissingRequiredArgument
        && missing.iter().any(|name| name == "<APP>")
        && Path::new(CONFIG_FILE).is_file();
    let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
    let command = usage.trim().trim_start_matches("Usage: ").replace("<APP>", ".");
    is_app.then(|| format!("this directory is an application: `{command}`"))
}

/// A mistake on the command line, as JSON.
fn usage(error: &clap::Error) -> Exit {
    let rendered = error.render().to_string();
    let message = rendered.split("\n\n").next().unwrap_or_default();
    let message = message.trim_start_matches("error: ").trim_end();
    let tip = missing_app(error);
    let error = Error::new(ErrorKind::InvalidConfig, message);
    let error = tip.into_iter().fold(error, Error::hint).hint("`flock --help` shows the usage");
    Printer::new(true, false, ColorChoice::Never).stop(&Stop::Error(error))
}

/// Reads how long to wait.
fn parse_time(text: &str) -> Result<Duration, String> {
    parse_age(text).map_err(|_| format!("'{text}' is not a time, such as 90s, 30m or 2h"))
}

/// The whole command, for completions and manual pages.
pub(crate) fn command() -> clap::Command {
    Cli::command()
}

/// The environment variables that count, each with its meaning.
pub(crate) fn environment() -> impl Iterator<Item = (&'static str, String)> {
    let settings = SETTINGS.iter().map(|setting| (setting.variable, setting.what));
    let all = settings.chain(OTHER_VARIABLES.iter().copied());
    all.map(|(name, what)| (name, what.replace('`', "")))
}

/// The environment and the exit codes, for the long help.
fn after_help() -> String {
    let mut text = "Environment:\n".to_owned();
    for (name, what) in environment() {
        text.push_str(&format!("  {name:22} {what}\n"));
    }
    text.push_str("\nExit codes:\n");
    for (exit, what) in Exit::ALL {
        text.push_str(&format!("  {:<3} {what}\n", exit.code()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_setting_has_its_flag() {
        let command = command();
        let doctor = command.find_subcommand("doctor").unwrap();
        for setting in SETTINGS {
            let flag = setting.flag.trim_start_matches("--");
            let mut flags = command.get_arguments().chain(doctor.get_arguments());
            assert!(flags.any(|argument| argument.get_long() == Some(flag)), "{}", setting.flag);
        }
    }
}
