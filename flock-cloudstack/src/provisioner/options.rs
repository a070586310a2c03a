//! The options that a deploy has here beyond those of every backend.

use std::collections::BTreeMap;

use flock_core::app::parse_size;
use flock_core::backend::check_options;
use flock_core::{Error, ErrorKind, Result};
use serde_json::Value;

/// What [`DeploySpec::options`](flock_core::provisioner::DeploySpec::options)
/// may hold for CloudStack. Each constant names one option. Processors, memory
/// and the root disk are the spec's `resources`; what they mean with which size
/// is said at [`CloudStackProvisioner`](crate::CloudStackProvisioner#sizes).
///
/// ```
/// use flock_cloudstack::DeployOption;
/// use flock_core::provisioner::DeploySpec;
/// use flock_core::{Owner, RequestId};
///
/// let owner = Owner::new("default", "web", RequestId::random());
/// let spec = DeploySpec::new(owner, "50459b99-5fe0-11ea-9a56-1e006800018c", ["web-1"])
///     .with_size("small.local")
///     .with_option(DeployOption::ZONE, "zone-1")
///     .with_option(DeployOption::SECURITY_GROUPS, ["default", "web"]);
/// assert_eq!(spec.options["zone"], "zone-1");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct DeployOption;

impl DeployOption {
    /// The zone's name or id. Default: the only one there is.
    pub const ZONE: &'static str = "zone";
    /// Names or ids of security groups: a list, or a text with commas.
    /// Default: CloudStack's, which is the group `default`.
    pub const SECURITY_GROUPS: &'static str = "security-groups";
    /// Names or ids of affinity groups: a list, or a text with commas.
    pub const AFFINITY_GROUPS: &'static str = "affinity-groups";
    /// The name of an SSH key pair that is put into the nodes.
    pub const KEY_PAIR: &'static str = "keypair";
    /// The size of the root disk, `20GiB`, in whole GiB; the same as the
    /// spec's `resources.disk`. Default: the template's. Not for LXC.
    pub const ROOT_DISK_SIZE: &'static str = "root-disk-size";
    /// The speed of each processor in MHz, for a service offering that leaves
    /// it open.
    pub const CPU_SPEED: &'static str = "cpu-speed";
    /// The hypervisor, for an image that does not tell.
    pub const HYPERVISOR: &'static str = "hypervisor";
    /// Whether nodes are started. Default: true. Nodes that are not are
    /// answered as stopped.
    pub const START: &'static str = "start";
    /// Whether a node counts as deployed only once it has an address.
    /// Default: false.
    pub const WAIT_FOR_ADDRESS: &'static str = "wait-for-address";

    const ALL: [&'static str; 9] = [
        Self::ZONE,
        Self::SECURITY_GROUPS,
        Self::AFFINITY_GROUPS,
        Self::KEY_PAIR,
        Self::ROOT_DISK_SIZE,
        Self::CPU_SPEED,
        Self::HYPERVISOR,
        Self::START,
        Self::WAIT_FOR_ADDRESS,
    ];
}

/// The options, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) zone: Option<String>,
    pub(super) security_groups: Vec<String>,
    pub(super) affinity_groups: Vec<String>,
    pub(super) key_pair: Option<String>,
    /// In bytes.
    pub(super) root_disk_size: Option<u64>,
    pub(super) cpu_speed: Option<u64>,
    pub(super) hypervisor: Option<String>,
    pub(super) start: bool,
    pub(super) wait_for_address: bool,
}

impl Options {
    /// Reads them.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for an option that is not known, and for a
    /// value that is not of its kind.
    pub(super) fn read(options: &BTreeMap<String, Value>) -> Result<Self> {
        check_options(options, &DeployOption::ALL)?;
        let read = Reader(options);
        let size = read.text(DeployOption::ROOT_DISK_SIZE)?;
        Ok(Self {
            zone: read.text(DeployOption::ZONE)?,
            security_groups: read.list(DeployOption::SECURITY_GROUPS)?,
            affinity_groups: read.list(DeployOption::AFFINITY_GROUPS)?,
            key_pair: read.text(DeployOption::KEY_PAIR)?,
            root_disk_size: size.as_deref().map(parse_size).transpose()?,
            cpu_speed: read.number(DeployOption::CPU_SPEED)?,
            hypervisor: read.text(DeployOption::HYPERVISOR)?,
            start: read.truth(DeployOption::START)?.unwrap_or(true),
            wait_for_address: read.truth(DeployOption::WAIT_FOR_ADDRESS)?.unwrap_or(false),
        })
    }
}

struct Reader<'a>(&'a BTreeMap<String, Value>);

impl Reader<'_> {
    fn text(&self, name: &str) -> Result<Option<String>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if !text.trim().is_empty() => {
                Ok(Some(text.trim().to_owned()))
            }
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(wrong(name, "a text")),
        }
    }

    fn truth(&self, name: &str) -> Result<Option<bool>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(truth)) => Ok(Some(*truth)),
            Some(_) => Err(wrong(name, "true or false")),
        }
    }

    fn number(&self, name: &str) -> Result<Option<u64>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or_else(|| wrong(name, "a whole number")),
        }
    }

    fn list(&self, name: &str) -> Result<Vec<String>> {
        let names = match self.0.get(name) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(text)) => text.split(',').map(|part| Some(part.trim())).collect(),
            Some(Value::Array(items)) => items.iter().map(Value::as_str).collect(),
            Some(_) => return Err(wrong(name, "a list of names")),
        };
        let names = names.into_iter().map(|name| name.filter(|name| !name.is_empty()));
        let names: Option<Vec<_>> = names.map(|name| name.map(str::to_owned)).collect();
        names.ok_or_else(|| wrong(name, "a list of names"))
    }
}

fn wrong(name: &str, wanted: &str) -> Error {
    Error::new(ErrorKind::InvalidConfig, format!("the option '{name}' must be {wanted}"))
        .with("option", name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(options: &Value) -> Result<Options> {
        Options::read(&serde_json::from_value(options.clone()).unwrap())
    }

    #[test]
    fn options_are_read() {
        let options = json!({
            "zone": "z", "security-groups": "a, b", "affinity-groups": ["c"],
            "root-disk-size": "20GiB", "start": false,
        });
        let options = read(&options).unwrap();
        assert_eq!(options.security_groups, ["a", "b"]);
        assert_eq!((options.affinity_groups.len(), options.start), (1, false));
        assert_eq!(options.root_disk_size, Some(20 << 30));
        let none = read(&json!({})).unwrap();
        assert!(none.start && !none.wait_for_address && none.security_groups.is_empty());
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for wrong in [
            json!({"zones": "z"}),
            json!({"zone": ""}),
            json!({"zone": ["z"]}),
            json!({"security-groups": "a,,b"}),
            json!({"security-groups": [7]}),
            json!({"start": "yes"}),
            json!({"cpu-speed": -1}),
            json!({"root-disk-size": "much"}),
        ] {
            let kind = read(&wrong).err().map(|error| error.kind());
            assert_eq!(kind, Some(ErrorKind::InvalidConfig), "{wrong}");
        }
    }
}
