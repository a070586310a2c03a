//! Virtual machines, and what they are deployed with.

use std::collections::BTreeMap;
use std::net::IpAddr;

use flock_core::{Context, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::lenient;
use crate::client::{Client, Parameters, Started};
use crate::error::BACKEND;
use crate::naming::Named;

/// Which parts of a virtual machine are asked for: those that are read here.
/// The others (statistics, volumes, groups) cost CloudStack queries.
const DETAILS: &str = "nics,servoff,tmpl";

/// A virtual machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Machine {
    /// CloudStack's id.
    #[serde(deserialize_with = "lenient::text")]
    pub id: String,
    /// The host name, unique in the networks that it is in.
    #[serde(default, deserialize_with = "lenient::text")]
    pub name: String,
    /// What people call it.
    #[serde(default, deserialize_with = "lenient::text", rename = "displayname")]
    pub display_name: String,
    /// The state by CloudStack's name, for example `Running`.
    #[serde(default, deserialize_with = "lenient::text")]
    pub state: String,
    /// The template it was made from.
    #[serde(default, deserialize_with = "lenient::some_text", rename = "templateid")]
    pub template_id: Option<String>,
    /// That template's name.
    #[serde(default, deserialize_with = "lenient::some_text", rename = "templatename")]
    pub template_name: Option<String>,
    /// Its size.
    #[serde(default, deserialize_with = "lenient::some_text", rename = "serviceofferingid")]
    pub service_offering_id: Option<String>,
    /// That size's name.
    #[serde(default, deserialize_with = "lenient::some_text", rename = "serviceofferingname")]
    pub service_offering_name: Option<String>,
    /// The zone's name.
    #[serde(default, deserialize_with = "lenient::some_text", rename = "zonename")]
    pub zone_name: Option<String>,
    /// The hypervisor's kind.
    #[serde(default, deserialize_with = "lenient::some_text")]
    pub hypervisor: Option<String>,
    /// The hypervisor's host that it runs on; told to administrators only.
    #[serde(default, deserialize_with = "lenient::some_text", rename = "hostname")]
    pub host: Option<String>,
    /// When it was made.
    #[serde(default, deserialize_with = "lenient::some_text")]
    pub created: Option<String>,
    /// The job that works on it now.
    #[serde(default, deserialize_with = "lenient::some_text", rename = "jobid")]
    pub job_id: Option<String>,
    /// Whether CloudStack makes a password for it.
    #[serde(default, deserialize_with = "lenient::truth", rename = "passwordenabled")]
    pub password_enabled: bool,
    /// An address that leads to it from outside, by static NAT.
    #[serde(default, deserialize_with = "lenient::some_text", rename = "publicip")]
    pub public_ip: Option<String>,
    /// Its network cards.
    #[serde(default, deserialize_with = "lenient::list", rename = "nic")]
    pub nics: Vec<Nic>,
    /// Its tags, by key.
    #[serde(default, deserialize_with = "lenient::tags")]
    pub tags: BTreeMap<String, String>,
}

/// A network card of a virtual machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Nic {
    /// The network's name.
    #[serde(default, deserialize_with = "lenient::some_text", rename = "networkname")]
    pub network_name: Option<String>,
    /// Its IPv4 address.
    #[serde(default, deserialize_with = "lenient::some_text", rename = "ipaddress")]
    pub ip_address: Option<String>,
    /// Its IPv6 address.
    #[serde(default, deserialize_with = "lenient::some_text", rename = "ip6address")]
    pub ip6_address: Option<String>,
    /// Whether the default route leads over it.
    #[serde(default, deserialize_with = "lenient::truth", rename = "isdefault")]
    pub is_default: bool,
}

/// A set of virtual machines that are kept together, or apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AffinityGroup {
    /// CloudStack's id.
    #[serde(deserialize_with = "lenient::text")]
    pub id: String,
    /// The name.
    #[serde(default, deserialize_with = "lenient::text")]
    pub name: String,
    /// The kind, for example `host anti-affinity`.
    #[serde(default, deserialize_with = "lenient::text", rename = "type")]
    pub kind: String,
}

/// An SSH key that CloudStack puts into virtual machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KeyPair {
    /// The name, which also identifies it within an account.
    #[serde(default, deserialize_with = "lenient::text")]
    pub name: String,
    /// The fingerprint.
    #[serde(default, deserialize_with = "lenient::some_text")]
    pub fingerprint: Option<String>,
}

impl Machine {
    /// Its addresses: those of the default network card first.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        let mut nics: Vec<_> = self.nics.iter().collect();
        nics.sort_by_key(|nic| !nic.is_default);
        let own = nics.iter().flat_map(|nic| [&nic.ip_address, &nic.ip6_address]);
        let all = own.chain([&self.public_ip]).flatten();
        all.filter_map(|address| address.parse().ok()).collect()
    }

    /// Whether it is destroyed, even if it can be recovered for a while.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self.state.as_str(), "Destroyed" | "Expunging" | "Expunged")
    }
}

impl Named for AffinityGroup {
    const WHAT: &'static str = "affinity group";

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for KeyPair {
    const WHAT: &'static str = "SSH key pair";

    fn id(&self) -> &str {
        &self.name
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Client {
    /// The virtual machines that these parameters of `listVirtualMachines`
    /// choose. Those that are destroyed may be among them
    /// ([`Machine::is_gone`]).
    ///
    /// # Errors
    /// Those of [`list`](Client::list).
    pub async fn machines(&self, ctx: &Context, chosen: &Parameters) -> Result<Vec<Machine>> {
        let asked = chosen.clone().with("details", DETAILS);
        self.list(ctx, "listVirtualMachines", &asked).await
    }

    /// One virtual machine, also one that is destroyed but still known.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; those of [`list`](Client::list).
    pub async fn machine(&self, ctx: &Context, id: &str) -> Result<Machine> {
        let missing = || {
            Error::new(ErrorKind::NotFound, format!("there is no virtual machine '{id}'"))
                .in_backend(BACKEND)
                .with("node", id)
        };
        match self.machines(ctx, &Parameters::new().with("id", id)).await {
            Ok(found) => found.into_iter().find(|machine| machine.id == id).ok_or_else(missing),
            // CloudStack answers so to an id that it never gave.
            Err(error) if error.kind() == ErrorKind::NotFound => Err(missing().caused_by(error)),
            Err(error) => Err(error),
        }
    }

    /// Begins to deploy a virtual machine, by the parameters of
    /// `deployVirtualMachine`. Not safe to repeat.
    ///
    /// # Errors
    /// Those of [`start`](Client::start).
    pub async fn deploy_machine(&self, ctx: &Context, parameters: &Parameters) -> Result<Started> {
        self.start(ctx, "deployVirtualMachine", parameters).await
    }

    /// Begins to start a stopped virtual machine.
    ///
    /// # Errors
    /// Those of [`start`](Client::start).
    pub async fn start_machine(&self, ctx: &Context, id: &str) -> Result<Started> {
        self.start(ctx, "startVirtualMachine", &Parameters::new().with("id", id)).await
    }

    /// Begins to stop a virtual machine: by asking it to shut down, or, if
    /// `forced`, by cutting its power.
    ///
    /// # Errors
    /// Those of [`start`](Client::start).
    pub async fn stop_machine(&self, ctx: &Context, id: &str, forced: bool) -> Result<Started> {
        let asked = Parameters::new().with("id", id).with("forced", forced.to_string());
        self.start(ctx, "stopVirtualMachine", &asked).await
    }

    /// Begins to restart a running virtual machine.
    ///
    /// # Errors
    /// Those of [`start`](Client::start).
    pub async fn reboot_machine(&self, ctx: &Context, id: &str) -> Result<Started> {
        self.start(ctx, "rebootVirtualMachine", &Parameters::new().with("id", id)).await
    }

    /// Begins to destroy a virtual machine. One that is not expunged too is
    /// kept for a while, and keeps its host name; not every account may
    /// expunge.
    ///
    /// # Errors
    /// Those of [`start`](Client::start); the job fails with
    /// [`ErrorKind::PermissionDenied`] if the account may not expunge.
    pub async fn destroy_machine(&self, ctx: &Context, id: &str, expunge: bool) -> Result<Started> {
        let expunge = expunge.then_some("true");
        let asked = Parameters::new().with("id", id).with_some("expunge", expunge);
        self.start(ctx, "destroyVirtualMachine", &asked).await
    }

    /// The account's affinity groups.
    ///
    /// # Errors
    /// Those of [`list`](Client::list).
    pub async fn affinity_groups(&self, ctx: &Context) -> Result<Vec<AffinityGroup>> {
        self.list(ctx, "listAffinityGroups", &Parameters::new()).await
    }

    /// The account's SSH keys.
    ///
    /// # Errors
    /// Those of [`list`](Client::list).
    pub async fn key_pairs(&self, ctx: &Context) -> Result<Vec<KeyPair>> {
        self.list(ctx, "listSSHKeyPairs", &Parameters::new()).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_machine_is_read_as_versions_write_it() {
        let machine: Machine = serde_json::from_value(json!({
            "id": 7, "name": "web-1", "state": "Running", "passwordenabled": "true",
            "nic": {"ipaddress": "10.0.0.7", "isdefault": true, "ip6address": ""},
            "tags": [{"key": "flock.app", "value": "web"}], "memory": "512", "unknown": [1],
        }))
        .unwrap();
        assert_eq!((machine.id.as_str(), machine.password_enabled), ("7", true));
        assert_eq!(machine.addresses(), [IpAddr::from([10, 0, 0, 7])]);
        assert_eq!(machine.tags["flock.app"], "web");
        assert_eq!((machine.display_name.as_str(), machine.job_id), ("", None));
    }

    #[test]
    fn the_default_card_comes_first() {
        let nic = |address: &str, is_default| Nic {
            ip_address: Some(address.to_owned()),
            is_default,
            ..Nic::default()
        };
        let mut machine: Machine = serde_json::from_value(json!({"id": "a"})).unwrap();
        machine.nics = vec![nic("10.0.0.1", false), nic("10.0.0.2", true), nic("none", false)];
        machine.public_ip = Some("192.0.2.1".to_owned());
        let shown: Vec<_> = machine.addresses().iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.2", "10.0.0.1", "192.0.2.1"]);
    }
}
