//! The command line of `flock cloudstack` and `flock job`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{ProfileOptions, parse_time};
use crate::commands::Parameter;

/// What to ask CloudStack for.
#[derive(Debug, Subcommand)]
pub(crate) enum CloudStack {
    /// Call a command of CloudStack's API and print the reply.
    Call(Call),
}

/// What to call and how.
#[derive(Debug, Args)]
#[command(after_help = CALL_EXAMPLES)]
pub(crate) struct Call {
    /// The command, spelt as CloudStack does, such as listZones.
    pub(crate) command: String,
    /// The command's parameters. A VALUE of @FILE is read from that file, so
    /// that secrets are not on the command line, of @- from standard input;
    /// one that begins with @ is written @@.
    #[arg(value_name = "KEY=VALUE")]
    pub(crate) parameters: Vec<Parameter>,
    /// Wait for the job that the command begins, and print its result.
    #[arg(short, long)]
    pub(crate) wait: bool,
    /// How long to wait at most, such as 90s or 2h, instead of the profile's
    /// timeout. The job goes on.
    #[arg(long, value_name = "TIME", value_parser = parse_time, requires = "wait")]
    pub(crate) timeout: Option<Duration>,
    /// Print passwords and keys that are in the reply, instead of ***.
    #[arg(long)]
    pub(crate) show_secrets: bool,
    #[command(flatten)]
    pub(crate) profile: ProfileOptions,
}

const CALL_EXAMPLES: &str = "\
Examples:
  flock cloudstack call listZones available=true
  flock cloudstack call stopVirtualMachine id=6f5b2b1e-… --wait
  flock cloudstack call registerUserKeys id=0c1d… --show-secrets
  flock cloudstack call resetSSHKeyForVirtualMachine id=6f5b… keypair=me --wait";

/// What to do with jobs.
#[derive(Debug, Subcommand)]
pub(crate) enum Job {
    /// Show how far a job is.
    Show {
        #[command(flatten)]
        job: JobOptions,
    },
    /// Wait for a job and show what came of it.
    ///
    /// Fails if the job does. When the wait ends early the job goes on, and can
    /// be waited for again.
    Wait {
        #[command(flatten)]
        job: JobOptions,
        /// How long to wait at most, such as 90s or 2h, instead of the
        /// profile's timeout.
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        timeout: Option<Duration>,
    },
}

/// Which job.
#[derive(Debug, Args)]
pub(crate) struct JobOptions {
    /// The job's id.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Print passwords and keys that are in the result, instead of ***.
    #[arg(long)]
    pub(crate) show_secrets: bool,
    #[command(flatten)]
    pub(crate) profile: ProfileOptions,
}

impl CloudStack {
    /// The profile that is asked for.
    pub(super) fn profile(&self) -> &ProfileOptions {
        match self {
            Self::Call(call) => &call.profile,
        }
    }
}

impl Job {
    /// The profile that is asked for.
    pub(super) fn profile(&self) -> &ProfileOptions {
        match self {
            Self::Show { job } | Self::Wait { job, .. } => &job.profile,
        }
    }
}
