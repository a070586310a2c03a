//! What is wanted of nodes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Node, ProvisionerCapabilities};
use crate::{Error, ErrorKind, ImageId, Owner, Result, VolumeId};

/// Nodes wanted: one for each name, alike in all else.
///
/// The environment and the user data may hold secrets: `Debug` shows neither,
/// only the variables' names. Serialised, the spec is complete, as it must be
/// to be read again, so what it was written to is as secret as they are.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeploySpec {
    /// The tag of every node.
    pub owner: Owner,
    /// The nodes' names: not empty, no name twice. Each is unique among the
    /// nodes of the owner's application.
    pub names: Vec<String>,
    /// What they are made from.
    pub image: ImageId,
    /// The backend's name for a size, for example a service offering.
    pub size: Option<String>,
    /// Bounds on what a node may use.
    pub resources: Resources,
    /// Ports of the node made reachable from outside.
    pub ports: Vec<PortMapping>,
    /// Volumes and directories mounted in the node.
    pub mounts: Vec<Mount>,
    /// The backend's names of networks to join; empty for its default.
    pub networks: Vec<String>,
    /// Environment of the main process.
    pub env: BTreeMap<String, String>,
    /// Handed to the node at its first start (cloud-init and the like).
    pub user_data: Option<String>,
    /// Options that only this backend has, by the names it documents. An
    /// unknown one is [`ErrorKind::InvalidConfig`].
    pub options: BTreeMap<String, serde_json::Value>,
}

impl DeploySpec {
    /// Nodes of these names from this image, with the backend's defaults.
    pub fn new(
        owner: Owner,
        image: impl Into<ImageId>,
        names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self {
            owner,
            names: names.into_iter().map(Into::into).collect(),
            image: image.into(),
            size: None,
            resources: Resources::default(),
            ports: Vec::new(),
            mounts: Vec::new(),
            networks: Vec::new(),
            env: BTreeMap::new(),
            user_data: None,
            options: BTreeMap::new(),
        }
    }

    /// Sets [`size`](Self::size).
    #[must_use]
    pub fn with_size(mut self, size: impl Into<String>) -> Self {
        self.size = Some(size.into());
        self
    }

    /// Sets [`resources`](Self::resources).
    #[must_use]
    pub fn with_resources(mut self, resources: Resources) -> Self {
        self.resources = resources;
        self
    }

    /// Adds one more of the [`ports`](Self::ports).
    #[must_use]
    pub fn with_port(mut self, port: PortMapping) -> Self {
        self.ports.push(port);
        self
    }

    /// Adds one more of the [`mounts`](Self::mounts).
    #[must_use]
    pub fn with_mount(mut self, mount: Mount) -> Self {
        self.mounts.push(mount);
        self
    }

    /// Adds one more of the [`networks`](Self::networks).
    #[must_use]
    pub fn with_network(mut self, network: impl Into<String>) -> Self {
        self.networks.push(network.into());
        self
    }

    /// Sets one variable of the [environment](Self::env).
    #[must_use]
    pub fn with_env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Sets [`user_data`](Self::user_data).
    #[must_use]
    pub fn with_user_data(mut self, user_data: impl Into<String>) -> Self {
        self.user_data = Some(user_data.into());
        self
    }

    /// Sets one of the [`options`](Self::options).
    #[must_use]
    pub fn with_option(
        mut self,
        name: impl Into<String>,
        value: impl Into<serde_json::Value>,
    ) -> Self {
        self.options.insert(name.into(), value.into());
        self
    }

    /// Checks what can be checked without the backend: names there, not empty
    /// and unique, and nothing asked for that `capabilities` excludes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`]; [`ErrorKind::Unsupported`].
    pub fn validate(&self, capabilities: &ProvisionerCapabilities) -> Result<()> {
        self.validate_names(capabilities.max_nodes)?;
        let wanted = [
            (self.size.is_some(), capabilities.sizes, "named sizes"),
            (self.resources != Resources::default(), capabilities.resources, "resource bounds"),
            (!self.ports.is_empty(), capabilities.ports, "port mappings"),
            (!self.mounts.is_empty(), capabilities.mounts, "mounts"),
            (!self.networks.is_empty(), capabilities.networks, "named networks"),
            (!self.env.is_empty(), capabilities.env, "environment variables"),
            (self.user_data.is_some(), capabilities.user_data, "user data"),
        ];
        match wanted.into_iter().find(|(asked, able, _)| *asked && !able) {
            Some((_, _, what)) => {
                Err(Error::new(ErrorKind::Unsupported, format!("nodes cannot have {what} here")))
            }
            None => Ok(()),
        }
    }

    /// Checks that `node`, which the same request made, is one of this spec, as
    /// far as can be told: its image and its size, where both are known.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`], not retryable.
    pub fn require_same(&self, node: &Node) -> Result<()> {
        let differs = |what: &str, there: &str, wanted: &str| {
            let message = format!(
                "node '{}' was made by this request with {what} '{there}', not '{wanted}'",
                node.name
            );
            Err(Error::new(ErrorKind::Conflict, message)
                .permanent()
                .with("node", node.id.as_str())
                .hint("destroy it first, or deploy under another request"))
        };
        match (&node.image, &node.size, &self.size) {
            (Some(image), ..) if *image != self.image => {
                differs("image", image.as_str(), self.image.as_str())
            }
            (_, Some(there), Some(wanted)) if there != wanted => differs("size", there, wanted),
            _ => Ok(()),
        }
    }

    fn validate_names(&self, max_nodes: Option<u32>) -> Result<()> {
        let invalid = |message: String| Err(Error::new(ErrorKind::InvalidConfig, message));
        if self.names.is_empty() {
            return invalid("no node name given".to_owned());
        }
        let mut seen = std::collections::BTreeSet::new();
        for name in &self.names {
            if name.is_empty() {
                return invalid("a node name is empty".to_owned());
            }
            if !seen.insert(name) {
                return invalid(format!("the node name '{name}' is given twice"));
            }
        }
        match max_nodes {
            Some(max) if self.names.len() > max as usize => Err(Error::new(
                ErrorKind::Unsupported,
                format!("{} nodes asked for, at most {max} at once", self.names.len()),
            )),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for DeploySpec {
    /// Without the values of the environment and the user data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let env: BTreeMap<_, _> = self.env.keys().map(|name| (name, Hidden)).collect();
        f.debug_struct("DeploySpec")
            .field("owner", &self.owner)
            .field("names", &self.names)
            .field("image", &self.image)
            .field("size", &self.size)
            .field("resources", &self.resources)
            .field("ports", &self.ports)
            .field("mounts", &self.mounts)
            .field("networks", &self.networks)
            .field("env", &env)
            .field("user_data", &self.user_data.as_ref().map(|_| Hidden))
            .field("options", &self.options)
            .finish()
    }
}

/// Stands for a value that is not shown.
struct Hidden;

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Bounds on what one node may use; `None` leaves the backend's default.
///
/// Without a [`size`](DeploySpec::size), or with one that leaves them open,
/// they are what the node gets. With a size that is fixed they are the most
/// that the size may have: one with more is [`ErrorKind::InvalidConfig`], one
/// with less is taken as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Resources {
    /// Processors.
    pub cpus: Option<u32>,
    /// Relative weight when processors are scarce, 1 to 1024.
    pub cpu_shares: Option<u32>,
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Size of the root disk in bytes.
    pub disk: Option<u64>,
}

impl Resources {
    /// Sets [`cpus`](Self::cpus).
    #[must_use]
    pub fn with_cpus(mut self, cpus: u32) -> Self {
        self.cpus = Some(cpus);
        self
    }

    /// Sets [`cpu_shares`](Self::cpu_shares).
    #[must_use]
    pub fn with_cpu_shares(mut self, cpu_shares: u32) -> Self {
        self.cpu_shares = Some(cpu_shares);
        self
    }

    /// Sets [`memory`](Self::memory).
    #[must_use]
    pub fn with_memory(mut self, memory: u64) -> Self {
        self.memory = Some(memory);
        self
    }

    /// Sets [`disk`](Self::disk).
    #[must_use]
    pub fn with_disk(mut self, disk: u64) -> Self {
        self.disk = Some(disk);
        self
    }
}

/// A port of a node made reachable on its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PortMapping {
    /// The port on the host; `None` lets the backend choose a free one.
    pub host: Option<u16>,
    /// The port in the node.
    pub node: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

impl PortMapping {
    /// A TCP port of the node at a port of the host, `None` for any free one.
    #[must_use]
    pub fn tcp(host: Option<u16>, node: u16) -> Self {
        Self { host, node, protocol: Protocol::Tcp }
    }

    /// A UDP port of the node at a port of the host, `None` for any free one.
    #[must_use]
    pub fn udp(host: Option<u16>, node: u16) -> Self {
        Self { host, node, protocol: Protocol::Udp }
    }
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// Something mounted in a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Where in the node.
    pub target: PathBuf,
    /// Whether the node may only read it.
    pub read_only: bool,
}

impl Mount {
    /// A writable mount.
    pub fn new(source: MountSource, target: impl Into<PathBuf>) -> Self {
        Self { source, target: target.into(), read_only: false }
    }

    /// Sets [`read_only`](Self::read_only).
    #[must_use]
    pub fn with_read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum MountSource {
    /// A volume of the backend that the node is on.
    Volume(VolumeId),
    /// A directory of the node's host.
    HostPath(PathBuf),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RequestId;

    #[test]
    fn what_may_be_secret_is_not_shown() {
        let owner = Owner::new("default", "web", RequestId::random());
        let spec = DeploySpec::new(owner, "image", ["web"])
            .with_env("TOKEN", "hush")
            .with_user_data("password: hush");
        let shown = format!("{spec:?} {spec:#?}");
        assert!(shown.contains("TOKEN") && !shown.contains("hush"), "{shown}");
        let json = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<DeploySpec>(&json).unwrap(), spec);
    }
}
