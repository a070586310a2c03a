//! A simulated cloud, and provisioners that work in it.

// Every test program uses another part of it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::num::NonZeroUsize;
use std::time::Duration;

use flock_cloudstack::simulator::{
    Credentials, Hypervisor, Simulator, SimulatorOptions, ZoneOptions,
};
use flock_cloudstack::{Client, CloudStackConfig, CloudStackProvisioner, DeployOption};
use flock_core::provisioner::{DeploySpec, Deployment, Node};
use flock_core::{Context, Error, ImageId, ListFilter, Owner, Provisioner as _, RequestId, Result};

pub const ZONE: &str = "zone-1";
pub const SIZE: &str = "Small Instance";
pub const TEMPLATE: &str = "Debian 12 (KVM)";

/// A simulated CloudStack with a template to deploy.
pub struct Cloud {
    pub simulator: Simulator,
    pub nodes: CloudStackProvisioner,
    pub image: ImageId,
}

/// Jobs that take no longer than a moment.
pub fn quick() -> SimulatorOptions {
    let zone = ZoneOptions::new(ZONE).with_hypervisors([Hypervisor::Kvm, Hypervisor::Lxc]);
    SimulatorOptions::new().with_job_time(Duration::from_millis(10)).with_zones([zone])
}

impl Cloud {
    pub async fn start(options: SimulatorOptions) -> Self {
        let simulator = Simulator::start(options).await.unwrap();
        let nodes = provisioner(client(&simulator, "default"));
        let image = nodes.find_image(&Context::new(), TEMPLATE).await.unwrap();
        Self { simulator, nodes, image }
    }

    /// Nodes of these names, as a new request.
    pub fn spec(&self, app: &str, names: &[&str]) -> DeploySpec {
        let owner = Owner::new("default", app, RequestId::random());
        completed(DeploySpec::new(owner, self.image.clone(), names.iter().copied()))
    }

    /// `count` nodes, as a new request.
    pub fn many(&self, app: &str, count: usize) -> DeploySpec {
        let names: Vec<_> = (1..=count).map(|number| format!("{app}-{number}")).collect();
        self.spec(app, &names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    pub async fn deploy(&self, spec: &DeploySpec) -> Result<Deployment> {
        self.nodes.deploy(&Context::new(), spec).await
    }

    /// One running node of the application `web`.
    pub async fn node(&self, name: &str) -> Node {
        self.deploy(&self.spec("web", &[name])).await.unwrap().into_nodes().unwrap().swap_remove(0)
    }

    /// The error of a deploy of this, for the whole call or its only node.
    pub async fn refusal(&self, spec: &DeploySpec) -> Error {
        self.deploy(spec).await.and_then(Deployment::into_nodes).unwrap_err()
    }

    pub async fn names(&self) -> Vec<String> {
        let listed = self.nodes.list(&Context::new(), &ListFilter::all()).await.unwrap();
        listed.into_iter().map(|node| node.name).collect()
    }
}

/// Says what the simulated cloud cannot do without.
pub fn completed(spec: DeploySpec) -> DeploySpec {
    spec.with_size(SIZE).with_option(DeployOption::ZONE, ZONE)
}

pub fn client(simulator: &Simulator, namespace: &str) -> Client {
    Client::new(config(simulator).with_namespace(namespace)).unwrap()
}

pub fn config(simulator: &Simulator) -> CloudStackConfig {
    simulator.config().with_max_concurrency(NonZeroUsize::new(64).unwrap())
}

pub fn config_of(simulator: &Simulator, account: &Credentials) -> CloudStackConfig {
    let url = simulator.url().parse().unwrap();
    CloudStackConfig::new(url, &account.api_key, account.secret_key.clone())
}

/// A provisioner with no patience, as fits jobs of milliseconds.
pub fn provisioner(client: Client) -> CloudStackProvisioner {
    CloudStackProvisioner::new(client)
        .with_polling(Duration::from_millis(5), Duration::from_millis(50))
        .with_settle_time(Duration::from_millis(300))
}
