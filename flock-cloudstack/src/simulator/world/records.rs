//! What there is in the simulated cloud.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use flock_core::secret::Secret;
use serde::Serialize;
use uuid::Uuid;

use crate::simulator::options::{Hypervisor, Resource, Role};

/// Tags in the order in which they were made.
pub(crate) type Tags = Vec<(String, String)>;

/// An account with its one user.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) id: Uuid,
    pub(crate) user: Uuid,
    pub(crate) name: Arc<str>,
    pub(crate) role: Role,
    pub(crate) is_enabled: bool,
    pub(crate) api_key: String,
    pub(crate) secret_key: Secret,
    pub(crate) denied: BTreeSet<String>,
    pub(crate) limits: BTreeMap<Resource, u64>,
    pub(crate) created: i64,
}

impl Account {
    pub(crate) fn is_admin(&self) -> bool {
        self.role == Role::Admin
    }
}

/// A zone.
#[derive(Debug)]
pub(crate) struct Zone {
    pub(crate) id: Uuid,
    pub(crate) name: Arc<str>,
    pub(crate) hypervisors: Vec<Hypervisor>,
    pub(crate) security_groups: bool,
    pub(crate) capacity: Option<usize>,
}

/// A network of a zone, with the addresses that are taken.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) id: Uuid,
    pub(crate) zone: Uuid,
    pub(crate) name: Arc<str>,
    /// Its first address; it has 65,536.
    pub(crate) base: Ipv4Addr,
    pub(crate) used: HashSet<Ipv4Addr>,
    pub(crate) cursor: u16,
    /// The names of the machines in it.
    pub(crate) names: HashSet<String>,
    pub(crate) tags: Tags,
}

/// A kind of operating system.
#[derive(Debug)]
pub(crate) struct OsType {
    pub(crate) id: Uuid,
    pub(crate) category: Uuid,
    pub(crate) description: &'static str,
}

/// What a machine can be like.
#[derive(Debug)]
pub(crate) struct ServiceOffering {
    pub(crate) id: Uuid,
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
    /// Processors, MHz, MiB; `None` where the caller chooses.
    pub(crate) size: Option<Size>,
    /// GiB of the root disk, where it is not the template's.
    pub(crate) root_disk: Option<u64>,
}

/// How much of a host a machine gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) cpus: u32,
    pub(crate) mhz: u32,
    pub(crate) memory: u32,
}

/// What a volume can be like.
#[derive(Debug)]
pub(crate) struct DiskOffering {
    pub(crate) id: Uuid,
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
    /// GiB; `None` where the caller chooses.
    pub(crate) gib: Option<u64>,
}

/// A security group.
#[derive(Debug)]
pub(crate) struct SecurityGroup {
    pub(crate) id: Uuid,
    pub(crate) owner: Uuid,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) ingress: Vec<Rule>,
    pub(crate) egress: Vec<Rule>,
    pub(crate) tags: Tags,
}

/// A rule of a security group, as replies have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Rule {
    #[serde(rename = "ruleid")]
    pub(crate) id: Uuid,
    pub(crate) protocol: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "startport")]
    pub(crate) start_port: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "endport")]
    pub(crate) end_port: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "icmptype")]
    pub(crate) icmp_type: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "icmpcode")]
    pub(crate) icmp_code: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cidr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "securitygroupname")]
    pub(crate) group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<String>,
    pub(crate) tags: [(); 0],
}

/// An affinity group.
#[derive(Debug)]
pub(crate) struct AffinityGroup {
    pub(crate) id: Uuid,
    pub(crate) owner: Uuid,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) kind: String,
}

/// An SSH key pair; the private key is not kept.
#[derive(Debug)]
pub(crate) struct KeyPair {
    pub(crate) id: Uuid,
    pub(crate) owner: Uuid,
    pub(crate) name: String,
    pub(crate) fingerprint: String,
}

/// A virtual machine.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) id: Uuid,
    /// The internal id, of which `instancename` is made.
    pub(crate) number: u64,
    pub(crate) owner: Uuid,
    pub(crate) name: String,
    pub(crate) display_name: String,
    pub(crate) group: Option<String>,
    pub(crate) zone: Uuid,
    pub(crate) template: Uuid,
    pub(crate) template_name: Arc<str>,
    pub(crate) template_text: Arc<str>,
    pub(crate) os_type: Uuid,
    pub(crate) is_password_enabled: bool,
    pub(crate) offering: Uuid,
    pub(crate) size: Size,
    pub(crate) hypervisor: Hypervisor,
    pub(crate) state: MachineState,
    pub(crate) created: i64,
    pub(crate) nics: Vec<Nic>,
    pub(crate) security_groups: Vec<Uuid>,
    pub(crate) affinity_groups: Vec<Uuid>,
    pub(crate) key_pairs: Vec<String>,
    pub(crate) user_data: Option<Box<str>>,
    pub(crate) details: BTreeMap<String, String>,
    /// The job that works on it.
    pub(crate) job: Option<Uuid>,
    /// Counts how often it was destroyed, so that a recovered machine is not
    /// expunged when the time of its first destruction comes.
    pub(crate) destructions: u32,
    pub(crate) tags: Tags,
}

/// A network card.
#[derive(Debug, Clone)]
pub(crate) struct Nic {
    pub(crate) id: Uuid,
    pub(crate) network: Uuid,
    pub(crate) address: Ipv4Addr,
}

/// What a machine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub enum MachineState {
    /// It is being started.
    Starting,
    /// It runs.
    Running,
    /// It is being stopped.
    Stopping,
    /// It does not run.
    Stopped,
    /// It was destroyed and can be recovered.
    Destroyed,
    /// It is being removed for good.
    Expunging,
    /// Its deployment failed.
    Error,
}

impl MachineState {
    /// CloudStack's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "Starting",
            Self::Running => "Running",
            Self::Stopping => "Stopping",
            Self::Stopped => "Stopped",
            Self::Destroyed => "Destroyed",
            Self::Expunging => "Expunging",
            Self::Error => "Error",
        }
    }

    /// Whether it counts against its account's limits.
    pub(crate) fn counts(self) -> bool {
        !matches!(self, Self::Destroyed | Self::Expunging | Self::Error)
    }

    /// Whether it takes room on a host.
    pub(crate) fn is_on_host(self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Stopping)
    }
}

/// A volume.
#[derive(Debug)]
pub(crate) struct Volume {
    pub(crate) id: Uuid,
    pub(crate) owner: Uuid,
    pub(crate) name: String,
    pub(crate) zone: Uuid,
    pub(crate) is_root: bool,
    /// Bytes.
    pub(crate) size: u64,
    pub(crate) offering: Option<Uuid>,
    pub(crate) template: Option<Uuid>,
    pub(crate) snapshot: Option<Uuid>,
    pub(crate) hypervisor: Option<Hypervisor>,
    pub(crate) state: VolumeState,
    pub(crate) attached: Option<Attached>,
    pub(crate) created: i64,
    pub(crate) job: Option<Uuid>,
    pub(crate) tags: Tags,
}

/// Where a volume is attached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attached {
    pub(crate) machine: Uuid,
    pub(crate) device: i64,
    pub(crate) since: i64,
}

/// What is with a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub enum VolumeState {
    /// It exists on paper; storage is taken when it is first attached.
    Allocated,
    /// It is being made on storage.
    Creating,
    /// It is on storage.
    Ready,
    /// It is being attached.
    Attaching,
    /// It is being resized.
    Resizing,
    /// A snapshot of it is being taken.
    Snapshotting,
}

impl VolumeState {
    /// CloudStack's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allocated => "Allocated",
            Self::Creating => "Creating",
            Self::Ready => "Ready",
            Self::Attaching => "Attaching",
            Self::Resizing => "Resizing",
            Self::Snapshotting => "Snapshotting",
        }
    }
}

/// A snapshot of a volume.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) id: Uuid,
    pub(crate) owner: Uuid,
    pub(crate) name: String,
    pub(crate) zone: Uuid,
    pub(crate) volume: Uuid,
    pub(crate) volume_name: String,
    pub(crate) is_of_root: bool,
    pub(crate) size: u64,
    pub(crate) is_ready: bool,
    pub(crate) created: i64,
    pub(crate) tags: Tags,
}
