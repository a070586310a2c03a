//! The volume driver's suite on the simulator: on a quick cloud, on a slow
//! one, behind retries, and on a cloud where something goes wrong all the
//! time.
#![allow(clippy::panic, reason = "tests")]

#[path = "conformance_volumes/more.rs"]
mod more;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use flock_cloudstack::simulator::{
    AccountOptions, Fault, FaultPlan, Hypervisor, Simulator, SimulatorOptions, ZoneOptions,
};
use flock_cloudstack::{Client, CloudStackConfig, CloudStackVolumeDriver, Parameters};
use flock_core::conformance::volume_driver::{Subject, SuiteOptions, suite};
use flock_core::conformance::{self, FaultInjector, Fixture, Suite};
use flock_core::layers::{Retry, RetryPolicy};
use flock_core::{Context, Error, ErrorKind, NodeId, Operation, Result, VolumeDriver};

/// A valid id that nothing has.
const UNKNOWN: &str = "00000000-0000-4000-8000-000000000000";

fn main() -> ExitCode {
    let quick = || SimulatorOptions::new().with_job_time(Duration::from_millis(5));
    let slow = move || quick().with_latency(Duration::from_millis(10));
    conformance::main([
        volumes("cloudstack", Cloud { options: quick(), shaky: false, retry: false }),
        volumes("cloudstack+slow", Cloud { options: slow(), shaky: false, retry: false }),
        volumes("cloudstack+retry", Cloud { options: quick(), shaky: false, retry: true }),
        volumes("cloudstack-shaky+retry", Cloud { options: quick(), shaky: true, retry: true }),
        more::suite(),
    ])
}

fn volumes(name: &str, cloud: Cloud) -> Suite {
    let client = Client::new(CloudStackConfig::new(
        url("http://127.0.0.1/client/api"),
        "unused",
        flock_core::secret::Secret::new("unused"),
    ));
    let capabilities = client.map(|client| CloudStackVolumeDriver::new(client).capabilities());
    let mut options =
        SuiteOptions::new(capabilities.unwrap_or_default()).with_nodes(2).with_foreign();
    if !cloud.shaky {
        // What goes wrong by plan and what goes wrong at random do not mix.
        options = options.with_faults();
    }
    suite(name, &options, cloud).with_time_limit(Duration::from_secs(120))
}

fn url(text: &str) -> url::Url {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Makes a fresh cloud for every case.
struct Cloud {
    options: SimulatorOptions,
    /// Whether requests go wrong at random.
    shaky: bool,
    retry: bool,
}

#[async_trait::async_trait]
impl Fixture for Cloud {
    type Subject = Subject;

    async fn set_up(&self) -> Result<Subject> {
        let zone = ZoneOptions::new("zone-1").with_hypervisors([Hypervisor::Kvm]);
        // A user, who is told less than an administrator.
        let options =
            self.options.clone().with_zones([zone]).with_account(AccountOptions::new("me"));
        let simulator = Simulator::start(options).await?;
        let nodes = machines(&client(&simulator, "nodes")?).await?;
        if self.shaky {
            let faults = FaultPlan::default_faults().into_iter().filter(is_survivable);
            simulator.faults().set_plan(FaultPlan::random(1, 0.1).with_faults(faults));
        }
        let (ours, theirs) = (self.driver(&simulator, "ours")?, self.driver(&simulator, "theirs")?);
        Ok(Subject::new(ours, "ours", nodes, UNKNOWN, UNKNOWN)
            .with_foreign(theirs, "theirs")
            .with_faults(Mishaps { is_slow: !self.options.latency.is_zero(), simulator }))
    }
}

impl Cloud {
    fn driver(&self, simulator: &Simulator, namespace: &str) -> Result<Arc<dyn VolumeDriver>> {
        let driver = CloudStackVolumeDriver::new(client(simulator, namespace)?);
        if !self.retry {
            return Ok(Arc::new(driver));
        }
        let mut policy = RetryPolicy::default();
        policy.first_delay = Duration::from_millis(1);
        policy.max_delay = Duration::from_millis(100);
        if self.shaky {
            policy.max_attempts = 50;
        }
        Ok(Arc::new(Retry::new(driver, policy)))
    }
}

/// What can be got over by trying again.
fn is_survivable(fault: &Fault) -> bool {
    !matches!(fault, Fault::FailJob { .. } | Fault::FailJobHalfWay)
}

fn client(simulator: &Simulator, namespace: &str) -> Result<Client> {
    let config =
        simulator.config().with_namespace(namespace).with_request_timeout(Duration::from_secs(5));
    Client::new(config)
}

/// Two machines to attach to.
async fn machines(client: &Client) -> Result<Vec<NodeId>> {
    let ctx = Context::new();
    let templates = Parameters::new().with("templatefilter", "featured");
    let templates: Vec<serde_json::Value> = client.list(&ctx, "listTemplates", &templates).await?;
    let template = templates.first().and_then(|template| template["id"].as_str());
    let asked = Parameters::new()
        .with_some("templateid", template)
        .with_some("zoneid", client.zones(&ctx).await?.first().map(|zone| &zone.id))
        .with_some(
            "serviceofferingid",
            client.service_offerings(&ctx).await?.first().map(|one| &one.id),
        );
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let started = client.start(&ctx, "deployVirtualMachine", &asked).await?;
        client.wait(&ctx, &started.job).await?;
        let missing = || Error::new(ErrorKind::InvalidData, "a machine without an id");
        nodes.push(NodeId::new(started.id.ok_or_else(missing)?));
    }
    Ok(nodes)
}

/// Makes the simulator do wrong what the suite asks for.
struct Mishaps {
    simulator: Simulator,
    is_slow: bool,
}

impl Mishaps {
    /// The request that has the effect of an operation.
    fn command(operation: Operation) -> &'static str {
        match operation {
            Operation::VolumeCreate => "createVolume",
            Operation::VolumeAttach => "attachVolume",
            Operation::VolumeDestroy => "deleteVolume",
            other => panic!("{other} has no faults here"),
        }
    }
}

impl FaultInjector for Mishaps {
    fn lose_reply(&self, operation: Operation) {
        self.simulator.faults().once(Self::command(operation), Fault::LoseReply);
    }

    fn fail_half_way(&self, operation: Operation) {
        let broken = Fault::Refuse { code: 530, text: "Unexpected exception".to_owned() };
        match operation {
            // The volume is there, and has no tags.
            Operation::VolumeCreate => self.simulator.faults().once("createTags", broken),
            other => {
                let proxy = Fault::Proxy { status: 502, effect: true };
                self.simulator.faults().once(Self::command(other), proxy);
            }
        }
    }

    fn hang(&self, operation: Operation) {
        // A slow call may be interrupted before it has sent what changes
        // something.
        let command = if self.is_slow { "listVolumes" } else { Self::command(operation) };
        self.simulator.faults().once(command, Fault::Hang);
    }
}
