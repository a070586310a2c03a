//! The simulated cloud, in its own process and seen from here.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use flock_cloudstack::simulator::{MachineState, Simulator, SimulatorOptions, ZoneOptions};
use flock_cloudstack::{Client, CloudStackConfig, CloudStackProvisioner};
use flock_core::provisioner::DeploySpec;
use flock_core::{Context, Owner, Provisioner as _, RequestId};
use serde::{Deserialize, Serialize};

use super::backdrop::Backdrop;
use super::nodes::{AT_ONCE, SIZE, TEMPLATE, ZONE};
use super::requests::Requests;

/// The profile that leads to it.
pub(super) const PROFILE: &str = "bench";

/// What the cloud is like.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct CloudOptions {
    /// Milliseconds added to each answer
    #[arg(long, default_value_t)]
    pub(super) latency: u64,
    /// Milliseconds that a job takes
    #[arg(long, default_value_t)]
    pub(super) job_time: u64,
    /// Machines that there are from the start
    #[arg(long, default_value_t)]
    pub(super) machines: usize,
}

/// What it says of itself first.
#[derive(Debug, Serialize, Deserialize)]
struct Address {
    url: String,
    api_key: String,
    secret_key: String,
}

/// What it holds, and what it was asked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Snapshot {
    pub(super) requests: Requests,
    pub(super) machines: usize,
    /// How many of the machines run.
    pub(super) running: usize,
    /// How many names the machines have.
    pub(super) names: usize,
    pub(super) templates: Vec<Template>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Template {
    pub(super) name: String,
    pub(super) ready: bool,
    pub(super) status: String,
    pub(super) size: u64,
    pub(super) sha256: Option<String>,
}

/// Serves until standard input ends; answers each line with a snapshot.
pub(super) async fn serve(options: &CloudOptions) -> Result<()> {
    let job_time = Duration::from_millis(options.job_time);
    let cloud = Simulator::start(
        SimulatorOptions::new()
            .with_zones([ZoneOptions::new(ZONE)])
            .with_latency(Duration::from_millis(options.latency))
            .with_job_time(job_time)
            .with_install_time(job_time),
    )
    .await?;
    if options.machines > 0 {
        fill(&cloud, options.machines).await?;
    }
    let (url, api_key) = (cloud.url().to_owned(), cloud.api_key().to_owned());
    let secret_key = cloud.secret_key().expose().to_owned();
    crate::say(&serde_json::to_string(&Address { url, api_key, secret_key })?)?;
    for _asked in std::io::stdin().lines() {
        crate::say(&serde_json::to_string(&Snapshot::of(&cloud))?)?;
    }
    Ok(())
}

async fn fill(cloud: &Simulator, count: usize) -> Result<()> {
    let config =
        CloudStackConfig::new(cloud.url().parse()?, cloud.api_key(), cloud.secret_key().clone());
    let nodes = CloudStackProvisioner::new(Client::new(config)?)
        .with_polling(Duration::from_millis(5), Duration::from_millis(50));
    let ctx = Context::new();
    let image = nodes.find_image(&ctx, TEMPLATE).await?;
    let owner = Owner::new("default", "web", RequestId::random());
    let names = (1..=count).map(|number| format!("web-{number}"));
    let spec = DeploySpec::new(owner, image, names).with_size(SIZE);
    nodes.deploy(&ctx, &spec).await?.into_nodes()?;
    Ok(())
}

impl Snapshot {
    fn of(cloud: &Simulator) -> Self {
        let requests = cloud.requests();
        let machines = cloud.machines();
        let names: BTreeSet<_> = machines.iter().map(|one| &one.name).collect();
        let is_running = |state: MachineState| state == MachineState::Running;
        let templates = cloud.templates().into_iter().map(|held| Template {
            name: held.name,
            ready: held.ready,
            status: held.status,
            size: held.physical_size,
            sha256: held.sha256,
        });
        Self {
            requests: Requests {
                all: requests.total(),
                deploys: requests.of("deployVirtualMachine"),
            },
            machines: machines.len(),
            running: machines.iter().filter(|one| is_running(one.state)).count(),
            names: names.len(),
            templates: templates.collect(),
        }
    }

    /// Fails unless this many machines run, each with a name of its own.
    pub(super) fn has_just(&self, wanted: usize) -> Result<()> {
        let Self { machines, running, names, .. } = self;
        let is_so = [machines, running, names].into_iter().all(|count| *count == wanted);
        ensure!(is_so, "{machines} machines, {running} running, {names} names, not {wanted}");
        Ok(())
    }
}

/// The cloud in its own process; it ends with this.
#[derive(Debug)]
pub(super) struct Cloud {
    process: Backdrop,
    address: Address,
}

impl Cloud {
    pub(super) fn start(options: &CloudOptions) -> Result<Self> {
        let number = |number: u64| number.to_string();
        let (process, address) = Backdrop::start(&[
            "cloud",
            "--latency",
            &number(options.latency),
            "--job-time",
            &number(options.job_time),
            "--machines",
            &options.machines.to_string(),
        ])?;
        let address = serde_json::from_str(&address).context("the cloud has no address")?;
        Ok(Self { process, address })
    }

    /// The text of a `flockr.yaml` with the profile that leads to it.
    pub(super) fn profile(&self) -> String {
        let Address { url, api_key, secret_key } = &self.address;
        format!(
            "{PROFILE}:\n  url: {url}\n  apikey: \"{api_key}\"\n  secretkey: \"{secret_key}\"\n  \
             max_concurrency: {AT_ONCE}\n"
        )
    }

    pub(super) fn look(&mut self) -> Result<Snapshot> {
        Ok(serde_json::from_str(&self.process.ask()?)?)
    }
}
