//! The command line of `flock template`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use flock_core::image_builder::ApplianceFormat;
use flock_core::url::Url;

use super::{ProfileOptions, parse_time};

/// What to do with templates.
#[derive(Debug, Subcommand)]
pub(crate) enum Template {
    /// Upload an appliance, register it as a template, and wait until it is
    /// ready. Run again, it finishes what was interrupted.
    Register(Box<Register>),
    /// List flock's templates, and how far they are.
    List {
        /// Those of this application only.
        app: Option<String>,
        #[command(flatten)]
        profile: ProfileOptions,
    },
    /// Show all about a template.
    Show(OneTemplate),
    /// Wait until a template is ready; fails with the reason if it will not
    /// be.
    Wait {
        #[command(flatten)]
        template: OneTemplate,
        /// How long to wait at most, such as 90s or 2h, instead of the
        /// profile's timeout.
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        timeout: Option<Duration>,
    },
    /// Delete a template.
    Delete(Delete),
    /// Copy a template to further zones, and wait until it is ready there.
    Copy {
        #[command(flatten)]
        template: OneTemplate,
        /// Zone to copy it to, by name or id; may be given several times.
        #[arg(long, value_name = "ZONE", required = true)]
        zone: Vec<String>,
    },
    /// Print an address from which a template can be downloaded, for some
    /// hours and without a login.
    Extract {
        #[command(flatten)]
        template: OneTemplate,
        /// Zone to take it from, by name or id.
        #[arg(long, value_name = "ZONE")]
        zone: Option<String>,
    },
}

impl Template {
    /// The profile that is asked for.
    pub(super) fn profile(&self) -> &ProfileOptions {
        match self {
            Self::Register(register) => &register.profile,
            Self::List { profile, .. } => profile,
            Self::Show(template)
            | Self::Wait { template, .. }
            | Self::Delete(Delete { template, .. })
            | Self::Copy { template, .. }
            | Self::Extract { template, .. } => &template.profile,
        }
    }
}

/// Which template.
#[derive(Debug, Args)]
pub(crate) struct OneTemplate {
    /// The template, APP:VERSION.
    #[arg(value_name = "APP:VERSION")]
    pub(crate) name: TemplateName,
    #[command(flatten)]
    pub(crate) profile: ProfileOptions,
}

/// The name of a template: the application's, a colon, and a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TemplateName {
    pub(crate) app: String,
    pub(crate) version: String,
}

impl FromStr for TemplateName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some((app, version)) if !app.is_empty() && !version.is_empty() => {
                Ok(Self { app: app.to_owned(), version: version.to_owned() })
            }
            _ => Err("a template is called APP:VERSION, such as myapp:v1.0".to_owned()),
        }
    }
}

impl std::fmt::Display for TemplateName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.app, self.version)
    }
}

/// What to register and how. What is not said here is taken from the section
/// `template` of the application's config.yaml.
#[derive(Debug, Args)]
#[command(after_help = REGISTER_EXAMPLES)]
pub(crate) struct Register {
    /// The application's name, or the path of its directory.
    pub(crate) app: String,
    /// The template's version: it is called APP:VERSION.
    #[arg(long = "template-version", visible_alias = "version", value_name = "VERSION")]
    pub(crate) version: String,
    /// The appliance, instead of the one that `flock build APP` has made.
    #[arg(long, value_name = "PATH")]
    pub(crate) file: Option<PathBuf>,
    /// What the appliance is, instead of what the configuration or the file's
    /// name says.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
    /// Zone to register it in, by name or id; may be given several times. `all`
    /// is every zone, for root administrators.
    #[arg(long, value_name = "ZONE")]
    pub(crate) zone: Vec<String>,
    /// CloudStack's name for the operating system, such as 'CentOS 7'.
    #[arg(long, value_name = "NAME")]
    pub(crate) os_type: Option<String>,
    /// Hypervisor that the template is for.
    #[arg(long, value_name = "NAME")]
    pub(crate) hypervisor: Option<String>,
    /// How the appliance gets to CloudStack: direct, unless an address is
    /// given here or in the configuration.
    #[arg(long, value_name = "HOW")]
    pub(crate) upload: Option<Method>,
    /// Directory of a web server that takes files by HTTP PUT; --upload put.
    #[arg(long, value_name = "URL", conflicts_with_all = ["listen", "url"])]
    pub(crate) upload_url: Option<Url>,
    /// Where CloudStack sees what is uploaded or served.
    #[arg(long, value_name = "URL")]
    pub(crate) display_url: Option<Url>,
    /// Address to serve the appliance at until the template is ready, such as
    /// 0.0.0.0:8099, with --display-url; --upload serve.
    #[arg(long, value_name = "ADDRESS", requires = "display_url", conflicts_with = "url")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where the appliance is already, for CloudStack to fetch; --upload url.
    #[arg(long, value_name = "URL", conflicts_with = "file")]
    pub(crate) url: Option<Url>,
    /// Do not verify the certificate that a direct upload is sent to.
    #[arg(long, conflicts_with_all = ["upload_url", "listen", "url"])]
    pub(crate) insecure_upload: bool,
    /// Replace a template of that name and version.
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Do not wait until the template is ready.
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// How long to wait at most, such as 90s or 2h, instead of the profile's
    /// timeout. CloudStack goes on.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) profile: ProfileOptions,
}

const REGISTER_EXAMPLES: &str = "\
Examples:
  flock template register web --template-version v1.0
  flock template register web --template-version v1.0 --upload-url https://files.example.org/images
  flock template register web --template-version v1.0 --listen 0.0.0.0:8099 \\
      --display-url http://192.0.2.7:8099/";

/// How an appliance gets to CloudStack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Method {
    /// It is sent to CloudStack's secondary storage VM.
    Direct,
    /// It is sent to a web server by HTTP PUT.
    Put,
    /// CloudStack fetches it from flock.
    Serve,
    /// CloudStack fetches it from where it is.
    Url,
}

/// The formats of appliances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A root file system as a tar archive, for LXC.
    Tar,
    /// A Virtual Hard Disk, for XenServer.
    Vhd,
    /// A disk in QEMU's format, for KVM.
    Qcow2,
    /// A disk, byte for byte.
    Raw,
}

impl From<Format> for ApplianceFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Tar => Self::Tar,
            Format::Vhd => Self::Vhd,
            Format::Qcow2 => Self::Qcow2,
            Format::Raw => Self::Raw,
        }
    }
}

/// What to delete and how.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    pub(crate) template: OneTemplate,
    /// Delete it from this zone only, by name or id.
    #[arg(long, value_name = "ZONE")]
    pub(crate) zone: Option<String>,
    /// Delete it even if virtual machines were made from it.
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_has_an_app_and_a_version() {
        let name: TemplateName = "web:v1:2".parse().unwrap();
        assert_eq!((name.app.as_str(), name.version.as_str()), ("web", "v1:2"));
        assert_eq!(name.to_string(), "web:v1:2");
        for wrong in ["web", "web:", ":v1", ""] {
            assert!(wrong.parse::<TemplateName>().is_err(), "{wrong}");
        }
    }
}
