//! The provisioners' suite, on a simulated CloudStack: with a state store,
//! without one, for an account that may not expunge, and on a cloud where
//! something goes wrong all the time.
#![allow(clippy::expect_used, clippy::panic, reason = "tests")]

mod cloud;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use flock_cloudstack::simulator::{AccountOptions, Fault, FaultPlan, Simulator, SimulatorOptions};
use flock_cloudstack::{Client, CloudStackConfig, CloudStackProvisioner, CloudStackVolumeDriver};
use flock_core::conformance::provisioner::{Subject, SuiteOptions, suite};
use flock_core::conformance::{FaultInjector, main as run};
use flock_core::layers::{Retry, RetryPolicy};
use flock_core::provisioner::{Provisioner, ProvisionerCapabilities};
use flock_core::secret::Secret;
use flock_core::state::MemoryStore;
use flock_core::{Operation, Result};

use cloud::{Cloud, client, completed, provisioner, quick};

/// A valid id that nothing has.
const UNKNOWN: &str = "00000000-0000-4000-8000-000000000000";

/// Faults of the simulated cloud.
struct Faults(Arc<Simulator>);

impl Faults {
    fn once(&self, operation: Operation, fault: Fault) {
        let command = match operation {
            Operation::NodeCreate | Operation::NodeDeploy => "deployVirtualMachine",
            Operation::NodeDestroy => "destroyVirtualMachine",
            other => panic!("{other} has no faults"),
        };
        self.0.faults().once(command, fault);
    }
}

impl FaultInjector for Faults {
    fn lose_reply(&self, operation: Operation) {
        self.once(operation, Fault::LoseReply);
    }

    fn fail_half_way(&self, operation: Operation) {
        self.once(operation, Fault::FailJobHalfWay);
    }

    fn hang(&self, operation: Operation) {
        self.once(operation, Fault::Hang);
    }
}

/// A fresh cloud, and a provisioner in each of two namespaces.
async fn subject<P: Provisioner + 'static>(
    options: SimulatorOptions,
    plan: Option<FaultPlan>,
    with: impl Fn(CloudStackProvisioner) -> P,
) -> Result<Subject> {
    let Cloud { simulator, image, .. } = Cloud::start(options).await;
    if let Some(plan) = plan {
        simulator.faults().set_plan(plan);
    }
    let ours = with(provisioner(client(&simulator, "default")));
    let theirs = with(provisioner(client(&simulator, "theirs")));
    let volumes = CloudStackVolumeDriver::new(client(&simulator, "default"));
    let volumes = Retry::new(volumes, stubborn());
    let simulator = Arc::new(simulator);
    let kept = Arc::clone(&simulator);
    Ok(Subject::new(Arc::new(ours), "default", image.clone(), UNKNOWN, UNKNOWN)
        .with_foreign(Arc::new(theirs), "theirs", image)
        .with_volumes(Arc::new(volumes))
        .with_faults(Faults(simulator))
        .with_adjust(move |spec| {
            // The cloud lives as long as its subject.
            let _ = &kept;
            *spec = completed(spec.clone());
        }))
}

fn capabilities() -> ProvisionerCapabilities {
    let url = "http://127.0.0.1/client/api".parse().expect("an address");
    let config = CloudStackConfig::new(url, "none", Secret::new("none"));
    CloudStackProvisioner::new(Client::new(config).expect("a client")).capabilities()
}

/// One request in ten goes wrong, in a way that can be got over by trying
/// again.
fn shaky() -> FaultPlan {
    let faults = FaultPlan::default_faults().into_iter();
    let faults = faults.filter(|fault| !matches!(fault, Fault::FailJob { .. }));
    FaultPlan::random(1, 0.1).with_faults(faults.filter(|fault| *fault != Fault::FailJobHalfWay))
}

fn stubborn() -> RetryPolicy {
    let mut policy = RetryPolicy::default();
    policy.first_delay = Duration::from_millis(1);
    policy.max_delay = Duration::from_millis(100);
    policy.max_attempts = 50;
    policy
}

fn main() -> ExitCode {
    let options = SuiteOptions::new(capabilities()).with_foreign().with_volumes();
    let faulty = options.clone().with_faults();
    let slow = || quick().with_job_time(Duration::from_millis(150));
    let user = || quick().with_account(AccountOptions::new("user"));
    let stored = |nodes: CloudStackProvisioner| nodes.with_state(Arc::new(MemoryStore::new()));
    let retried = |nodes: CloudStackProvisioner| Retry::new(nodes, stubborn());
    run([
        suite("cloudstack", &faulty, || subject(quick(), None, |nodes| nodes)),
        suite("cloudstack+state", &faulty, move || subject(quick(), None, stored)),
        suite("cloudstack+slow", &faulty, move || subject(slow(), None, |nodes| nodes)),
        suite("cloudstack+user", &faulty, move || subject(user(), None, |nodes| nodes)),
        // What goes wrong by plan and what goes wrong at random do not mix.
        suite("cloudstack-shaky+retry", &options, move || subject(quick(), Some(shaky()), retried))
            .with_time_limit(Duration::from_secs(120)),
    ])
}
