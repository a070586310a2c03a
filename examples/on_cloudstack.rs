//! What: nodes with numbers on a CloudStack, with time limits and retries; one
//! of them fails, the program ends as if it had crashed, and another run
//! finishes what was begun. The cloud is flock's simulator.
//!
//! Needs: nothing.
//!
//! Run: `cargo run -p flock-examples --example on_cloudstack`
//!
//! Prints:
//!
//! ```text
//! shop-1 is running
//! shop-2: deployVirtualMachine: no capacity left (quota_exceeded, errorcode 533)
//! shop-3 is running
//! another run finds a deploy of 3 nodes unfinished
//! shop-1 is running
//! shop-2 is running
//! shop-3 is running
//! shop-1, shop-2, shop-3 are there, of 4 machines asked for
//! shop-1 was restarted and is running
//! all are destroyed, and their numbers are free again: shop-1
//! ```
#![allow(clippy::print_stdout)]

use std::sync::Arc;
use std::time::Duration;

use flock_cloudstack::simulator::{Fault, FaultRule, Simulator, SimulatorOptions};
use flock_cloudstack::{Client, CloudStackConfig, CloudStackProvisioner, DeployOption};
use flock_core::deployments::Deployments;
use flock_core::layers::{Retry, RetryPolicy, TimeLimits, Timeout};
use flock_core::provisioner::{DeploySpec, NodeStatus};
use flock_core::state::{MemoryStore, StateStore};
use flock_core::{Context, ListFilter, Owner, Provisioner, RequestId, Result};

/// What a run of the program works with. Only the store outlives it.
struct Run {
    /// For what the trait does not say; the layers hold a clone of it.
    cloudstack: CloudStackProvisioner,
    nodes: Arc<dyn Provisioner>,
    deployments: Deployments,
}

impl Run {
    fn new(config: CloudStackConfig, store: &Arc<dyn StateStore>) -> Result<Self> {
        let deployments = Deployments::new(Arc::clone(store), "cloudstack", &config.place())?;
        let cloudstack =
            CloudStackProvisioner::new(Client::new(config)?).with_state(Arc::clone(store));
        let limits = TimeLimits::default().with_long(Duration::from_secs(600));
        let nodes = Timeout::new(cloudstack.clone(), limits);
        let nodes = Arc::new(Retry::new(nodes, RetryPolicy::default()));
        Ok(Self { cloudstack, nodes, deployments })
    }

    /// Deploys, and keeps the deploy in mind until all its nodes are there.
    async fn deploy(&self, ctx: &Context, spec: &DeploySpec) -> Result<()> {
        self.deployments.begin(ctx, spec).await?;
        let deployment = self.nodes.deploy(ctx, spec).await?;
        for outcome in &deployment.nodes {
            match &outcome.result {
                Ok(node) => println!("{} is {}", node.name, node.status),
                Err(error) => {
                    let code = error.context_value("errorcode").unwrap_or("none");
                    println!("{}: {error} ({}, errorcode {code})", outcome.name, error.kind());
                }
            }
        }
        match deployment.failed().next() {
            Some(_) => Ok(()),
            None => self.deployments.end(ctx, &spec.owner).await,
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = SimulatorOptions::new().with_job_time(Duration::from_millis(20));
    let (simulator, ctx) = (Simulator::start(options).await?, Context::new());
    let full = Fault::FailJob { code: 533, text: "no capacity left".to_owned() };
    let second = FaultRule::new(full)
        .with_command("deployVirtualMachine")
        .with_predicate(|asked| asked.parameter("displayname") == Some("shop-2"))
        .with_times(1);
    simulator.faults().add(second);
    // What is to outlive the process would be in flock_core::state::sqlite.
    let store: Arc<dyn StateStore> = Arc::new(MemoryStore::new());

    let run = Run::new(simulator.config(), &store)?;
    let owner = Owner::new("default", "shop", RequestId::random());
    let names = run.deployments.reserve(&ctx, &owner, 3, [""; 0]).await?;
    let image = run.cloudstack.find_image(&ctx, "Debian 12 (KVM)").await?;
    let spec = DeploySpec::new(owner, image, names)
        .with_size("Small Instance")
        .with_option(DeployOption::ZONE, "zone-1");
    run.deploy(&ctx, &spec).await?;
    drop(run);

    let run = Run::new(simulator.config(), &store)?;
    for spec in run.deployments.unfinished(&ctx, "default", "shop").await? {
        println!("another run finds a deploy of {} nodes unfinished", spec.names.len());
        run.deploy(&ctx, &spec).await?;
    }
    let nodes = run.nodes.list(&ctx, &ListFilter::app("shop")).await?;
    let names: Vec<_> = nodes.iter().map(|node| node.name.as_str()).collect();
    let asked = simulator.requests().of("deployVirtualMachine");
    println!("{} are there, of {asked} machines asked for", names.join(", "));
    let again = run.cloudstack.reboot(&ctx, &nodes[0].id).await?;
    assert_eq!(again.status, NodeStatus::Running);
    println!("{} was restarted and is {}", again.name, again.status);

    for node in &nodes {
        run.nodes.destroy(&ctx, &node.id).await?;
    }
    run.deployments.release(&ctx, "default", "shop", &names).await?;
    let owner = Owner::new("default", "shop", RequestId::random());
    let free = run.deployments.reserve(&ctx, &owner, 1, [""; 0]).await?;
    println!("all are destroyed, and their numbers are free again: {}", free.join(", "));
    simulator.stop().await;
    Ok(())
}
