//! Where things run and of what size: zones, offerings, networks.

use flock_core::{Context, Result};
use serde::{Deserialize, Serialize};

use super::lenient;
use crate::client::{Client, Parameters};
use crate::naming::Named;

/// A zone: a data centre.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Zone {
    /// CloudStack's id.
    #[serde(deserialize_with = "lenient::text")]
    pub id: String,
    /// The name.
    #[serde(default, deserialize_with = "lenient::text")]
    pub name: String,
    /// `Basic` or `Advanced`.
    #[serde(default, deserialize_with = "lenient::text", rename = "networktype")]
    pub network_type: String,
    /// Whether virtual machines are in security groups there.
    #[serde(default, deserialize_with = "lenient::truth", rename = "securitygroupsenabled")]
    pub security_groups_enabled: bool,
}

/// A hypervisor that a zone has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Hypervisor {
    /// The name, for example `XenServer`.
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
}

/// A kind of guest operating system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OsType {
    /// CloudStack's id.
    #[serde(deserialize_with = "lenient::text")]
    pub id: String,
    /// The name, for example `Debian GNU/Linux 12 (64-bit)`.
    #[serde(default, deserialize_with = "lenient::text")]
    pub description: String,
}

/// A size of virtual machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServiceOffering {
    /// CloudStack's id.
    #[serde(deserialize_with = "lenient::text")]
    pub id: String,
    /// The name.
    #[serde(default, deserialize_with = "lenient::text")]
    pub name: String,
    /// Whether processors and memory are chosen for each virtual machine.
    #[serde(default, deserialize_with = "lenient::truth", rename = "iscustomized")]
    pub is_customized: bool,
    /// Processors, unless customized.
    #[serde(default, deserialize_with = "lenient::some_number", rename = "cpunumber")]
    pub cpu_number: Option<u64>,
    /// Memory in MiB, unless customized.
    #[serde(default, deserialize_with = "lenient::some_number")]
    pub memory: Option<u64>,
}

/// A kind and size of data disks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DiskOffering {
    /// CloudStack's id.
    #[serde(deserialize_with = "lenient::text")]
    pub id: String,
    /// The name.
    #[serde(default, deserialize_with = "lenient::text")]
    pub name: String,
    /// Whether the size is chosen for each disk.
    #[serde(default, deserialize_with = "lenient::truth", rename = "iscustomized")]
    pub is_customized: bool,
    /// Size in GiB, unless customized.
    #[serde(default, deserialize_with = "lenient::some_number", rename = "disksize")]
    pub disk_size: Option<u64>,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Network {
    /// CloudStack's id.
    #[serde(deserialize_with = "lenient::text")]
    pub id: String,
    /// The name.
    #[serde(default, deserialize_with = "lenient::text")]
    pub name: String,
    /// The zone that it is in.
    #[serde(default, deserialize_with = "lenient::some_text", rename = "zoneid")]
    pub zone_id: Option<String>,
}

/// A set of firewall rules that virtual machines are members of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SecurityGroup {
    /// CloudStack's id.
    #[serde(deserialize_with = "lenient::text")]
    pub id: String,
    /// The name.
    #[serde(default, deserialize_with = "lenient::text")]
    pub name: String,
}

impl Named for Zone {
    const WHAT: &'static str = "zone";

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for OsType {
    const WHAT: &'static str = "OS type";

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.description
    }
}

impl Named for ServiceOffering {
    const WHAT: &'static str = "service offering";

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for DiskOffering {
    const WHAT: &'static str = "disk offering";

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for Network {
    const WHAT: &'static str = "network";

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for SecurityGroup {
    const WHAT: &'static str = "security group";

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Client {
    /// The zones that the account may use.
    ///
    /// # Errors
    /// Those of [`call`](Client::call).
    pub async fn zones(&self, ctx: &Context) -> Result<Vec<Zone>> {
        self.list(ctx, "listZones", &Parameters::new().with("available", "true")).await
    }

    /// The hypervisors that a zone has; those of all zones without one.
    ///
    /// # Errors
    /// Those of [`call`](Client::call).
    pub async fn hypervisors(&self, ctx: &Context, zone: Option<&str>) -> Result<Vec<Hypervisor>> {
        let asked = Parameters::new().with_some("zoneid", zone);
        let body = self.call(ctx, "listHypervisors", &asked).await?;
        let (items, _) = crate::client::reply::items(body);
        items.into_iter().map(|item| crate::client::read("listHypervisors", item)).collect()
    }

    /// The kinds of guest operating system: some hundreds.
    ///
    /// # Errors
    /// Those of [`call`](Client::call).
    pub async fn os_types(&self, ctx: &Context) -> Result<Vec<OsType>> {
        self.list(ctx, "listOsTypes", &Parameters::new()).await
    }

    /// The sizes of virtual machines that the account may use.
    ///
    /// # Errors
    /// Those of [`call`](Client::call).
    pub async fn service_offerings(&self, ctx: &Context) -> Result<Vec<ServiceOffering>> {
        self.list(ctx, "listServiceOfferings", &Parameters::new()).await
    }

    /// The kinds of data disks that the account may use.
    ///
    /// # Errors
    /// Those of [`call`](Client::call).
    pub async fn disk_offerings(&self, ctx: &Context) -> Result<Vec<DiskOffering>> {
        self.list(ctx, "listDiskOfferings", &Parameters::new()).await
    }

    /// The networks of a zone.
    ///
    /// # Errors
    /// Those of [`call`](Client::call).
    pub async fn networks(&self, ctx: &Context, zone: &str) -> Result<Vec<Network>> {
        self.list(ctx, "listNetworks", &Parameters::new().with("zoneid", zone)).await
    }

    /// The account's security groups.
    ///
    /// # Errors
    /// Those of [`call`](Client::call).
    pub async fn security_groups(&self, ctx: &Context) -> Result<Vec<SecurityGroup>> {
        self.list(ctx, "listSecurityGroups", &Parameters::new()).await
    }
}
