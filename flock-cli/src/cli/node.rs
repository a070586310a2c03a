//! The commands that make nodes and look after them.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use flock_core::RequestId;
use flock_core::app::parse_size;

use super::{ProfileOptions, parse_time};

/// What to deploy and how.
#[derive(Debug, Args)]
#[command(after_help = DEPLOY_EXAMPLES)]
pub(crate) struct Deploy {
    /// The application's name, or the path of its directory, whose config.yaml
    /// then says what no flag does.
    pub(crate) app: String,
    /// Version of the template to make nodes from, which is called
    /// APP:VERSION.
    #[arg(long, visible_alias = "version", value_name = "VERSION")]
    pub(crate) template_version: Option<String>,
    /// Template to make nodes from, by its name or id.
    #[arg(long, value_name = "NAME", conflicts_with = "template_version")]
    pub(crate) template: Option<String>,
    /// How many nodes; they are called APP-1, APP-2 and so on, by the lowest
    /// free numbers.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) nodes: u32,
    /// Name of a node, instead of one with a number; once for each node.
    #[arg(long = "name", value_name = "NAME", conflicts_with = "nodes")]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) how: DeployHow,
    /// File for the passwords that CloudStack makes, a line `NAME PASSWORD`
    /// for each node; made for you alone, added to if it is there.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// How many nodes are in the making at once.
    #[arg(long, value_name = "N")]
    pub(crate) concurrency: Option<NonZeroUsize>,
    /// The request's id, instead of a new one: a deploy under the same id
    /// finishes the first one, and makes no node twice.
    #[arg(long, value_name = "ID")]
    pub(crate) request: Option<RequestId>,
    /// Finish the deploy of the application that was interrupted or failed in
    /// part, as it was asked for.
    #[arg(long, conflicts_with_all = ["template_version", "template", "nodes", "names", "DeployHow"])]
    pub(crate) resume: bool,
    /// How long to wait at most for each node, such as 90s or 2h, instead of
    /// the profile's timeout. CloudStack goes on.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) profile: ProfileOptions,
}

const DEPLOY_EXAMPLES: &str = "\
Examples:
  flock deploy web --template-version v1.0 --nodes 3
  flock deploy web --template-version v1.0 --name db --size 'Large Instance' --zone paris
  flock deploy web --resume";

/// How nodes are made.
#[derive(Debug, Args)]
#[group(multiple = true)]
pub(crate) struct DeployHow {
    /// Size of the nodes: a service offering's name or id.
    #[arg(long, value_name = "NAME")]
    pub(crate) size: Option<String>,
    /// Zone to make them in, by its name or id.
    #[arg(long, value_name = "NAME")]
    pub(crate) zone: Option<String>,
    /// Network to join, by its name or id; may be given several times.
    #[arg(long = "network", value_name = "NAME")]
    pub(crate) networks: Vec<String>,
    /// Security group of the nodes, by its name or id; may be given several
    /// times.
    #[arg(long = "security-group", value_name = "NAME")]
    pub(crate) security_groups: Vec<String>,
    /// Affinity group of the nodes, by its name or id; may be given several
    /// times.
    #[arg(long = "affinity-group", value_name = "NAME")]
    pub(crate) affinity_groups: Vec<String>,
    /// SSH key pair that is put into the nodes.
    #[arg(long, value_name = "NAME")]
    pub(crate) keypair: Option<String>,
    /// Text file that is handed to each node at its first start.
    #[arg(long, value_name = "FILE")]
    pub(crate) user_data: Option<PathBuf>,
    /// Processors of each node, for a size that leaves them open; others are
    /// refused.
    #[arg(long, value_name = "N")]
    pub(crate) node_cpus: Option<u32>,
    /// Memory of each node, such as 2GiB, for a size that leaves it open;
    /// others are refused.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) node_memory: Option<u64>,
    /// Size of the root disk, such as 20GiB; not for LXC.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) root_disk_size: Option<u64>,
    /// Make the nodes, but do not start them.
    #[arg(long)]
    pub(crate) no_start: bool,
    /// Wait until each node has an address, too.
    #[arg(long)]
    pub(crate) wait_for_address: bool,
}

/// What to do with nodes.
#[derive(Debug, Subcommand)]
#[command(after_help = NODE_EXAMPLES)]
pub(crate) enum Node {
    /// List the nodes.
    List {
        /// Those of this application only.
        app: Option<String>,
        #[command(flatten)]
        profile: ProfileOptions,
    },
    /// Show a node.
    Show {
        /// Its name or id.
        name: String,
        /// The application that it is of.
        #[arg(long, value_name = "APP")]
        app: Option<String>,
        #[command(flatten)]
        profile: ProfileOptions,
    },
    /// Start stopped nodes and wait until they run.
    Start(NodeNames),
    /// Stop running nodes and wait until they have.
    Stop {
        #[command(flatten)]
        nodes: NodeNames,
        /// How long a node may take to shut down before its power is cut, such
        /// as 90s; 0s cuts it at once.
        #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_time)]
        grace: Duration,
    },
    /// Restart running nodes.
    Reboot(NodeNames),
    /// Destroy nodes, for good where the account may. Data disks are detached,
    /// and stay.
    Destroy {
        #[command(flatten)]
        nodes: NodeNames,
        /// Leave them recoverable for as long as CloudStack keeps destroyed
        /// machines.
        #[arg(long)]
        no_expunge: bool,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
}

const NODE_EXAMPLES: &str = "\
Examples:
  flock node list web
  flock node stop web-2 --grace 2m
  flock node destroy --all --app web";

/// Which nodes.
#[derive(Debug, Args)]
pub(crate) struct NodeNames {
    /// Their names or ids.
    #[arg(value_name = "NAME", required_unless_present = "all")]
    pub(crate) names: Vec<String>,
    /// All nodes of the application.
    #[arg(long, requires = "app", conflicts_with = "names")]
    pub(crate) all: bool,
    /// The application that they are of.
    #[arg(long, value_name = "APP")]
    pub(crate) app: Option<String>,
    /// How long to wait at most for each, such as 90s or 2h, instead of the
    /// profile's timeout. CloudStack goes on.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) profile: ProfileOptions,
}

impl Node {
    /// The profile that is asked for.
    pub(super) fn profile(&self) -> &ProfileOptions {
        match self {
            Self::List { profile, .. } | Self::Show { profile, .. } => profile,
            Self::Start(nodes)
            | Self::Stop { nodes, .. }
            | Self::Reboot(nodes)
            | Self::Destroy { nodes, .. } => &nodes.profile,
        }
    }
}

fn size(text: &str) -> Result<u64, String> {
    parse_size(text).map_err(|error| error.to_string())
}
