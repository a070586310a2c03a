//! A thousand deploys while requests, replies and jobs go wrong and runs are
//! killed: what is there in the end is exactly what was asked for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::print_stderr, reason = "`--nocapture` shows what happened")]

mod cloud;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flock_cloudstack::CloudStackProvisioner;
use flock_cloudstack::simulator::{AccountOptions, Fault, FaultPlan, MachineState, Role};
use flock_core::provisioner::{DeploySpec, NodeStatus, Provisioner as _};
use flock_core::state::{MemoryStore, StateStore};
use flock_core::{Context, Error, ListFilter};
use tokio::task::JoinSet;

use cloud::{Cloud, client, provisioner, quick};

/// How many deploys there are in each run; two runs make a thousand.
const DEPLOYS: u64 = 500;
/// How many of them are under way at once.
const AT_ONCE: u64 = 25;
/// How many requests of a hundred go wrong.
const FAULT_RATE: f64 = 0.10;
/// How often a deploy is run again before it counts as stuck.
const MAX_RUNS: u32 = 60;

/// What goes wrong: everything that a deploy has to live with.
fn faults() -> Vec<Fault> {
    let mut faults = FaultPlan::default_faults();
    faults.retain(|fault| !matches!(fault, Fault::Delay(_) | Fault::SlowJob(_)));
    faults.extend([
        Fault::Delay(Duration::from_millis(30)),
        Fault::SlowJob(Duration::from_millis(40)),
        Fault::Hang,
    ]);
    faults
}

/// Numbers that only look random, so that a run can be repeated.
struct Dice(u64);

impl Dice {
    /// One of `sides`, from 0. The output function of SplitMix64.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

#[derive(Default)]
struct Tally {
    runs: AtomicU64,
    killed: AtomicU64,
    failed: AtomicU64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_a_state_store() {
    thousand(Some(Arc::new(MemoryStore::new()))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_nothing_but_the_cloud() {
    thousand(None).await;
}

async fn thousand(store: Option<Arc<dyn StateStore>>) {
    let account = AccountOptions::new("admin").with_role(Role::Admin);
    let cloud = Cloud::start(quick().with_account(account)).await;
    let plan = FaultPlan::random(7, FAULT_RATE).with_faults(faults());
    let specs: Vec<_> = (0..DEPLOYS).map(|number| spec(&cloud, number)).collect();
    cloud.simulator.faults().set_plan(plan);
    let tally = Arc::new(Tally::default());
    let mut tasks = JoinSet::new();
    for (seed, spec) in (1..).zip(specs.clone()) {
        if tasks.len() as u64 >= AT_ONCE {
            tasks.join_next().await.unwrap().unwrap();
        }
        let (store, tally) = (store.clone(), Arc::clone(&tally));
        // Every run is a process of its own: it shares the store, if any.
        let make = {
            let client = hasty(&cloud);
            move || {
                let nodes = provisioner(client.clone());
                match &store {
                    Some(store) => nodes.with_state(Arc::clone(store)),
                    None => nodes,
                }
            }
        };
        tasks.spawn(async move { until_done(&make, &spec, Dice(seed), &tally).await });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let happened = cloud.simulator.faults().happened();
    cloud.simulator.faults().clear();
    let counts = [&tally.runs, &tally.killed, &tally.failed];
    let [runs, killed, failed] = counts.map(|count| count.load(Ordering::Relaxed));
    eprintln!("{runs} runs, {killed} killed, {failed} with failures; faults: {happened:?}");
    assert!(killed > DEPLOYS / 4, "only {killed} runs were killed");
    assert!(happened.len() >= 10, "some faults did not happen: {happened:?}");
    expect_exactly(&cloud, &specs).await;
}

/// One to three nodes of an application of their own or a shared one.
fn spec(cloud: &Cloud, number: u64) -> DeploySpec {
    let names: Vec<_> = (0..=number % 3).map(|node| format!("node-{number}-{node}")).collect();
    let app = if number.is_multiple_of(5) { "shared".to_owned() } else { format!("app-{number}") };
    cloud.spec(&app, &names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A client that does not wait long for an answer that never comes.
fn hasty(cloud: &Cloud) -> flock_cloudstack::Client {
    let config = cloud::config(&cloud.simulator).with_request_timeout(Duration::from_millis(500));
    flock_cloudstack::Client::new(config).unwrap()
}

/// Deploys, is killed at any moment, and deploys again, until all is there.
async fn until_done(
    make: &impl Fn() -> CloudStackProvisioner,
    spec: &DeploySpec,
    mut dice: Dice,
    tally: &Tally,
) {
    let mut last: Vec<Error> = Vec::new();
    for run in 0..MAX_RUNS {
        tally.runs.fetch_add(1, Ordering::Relaxed);
        // Half of the first runs are killed.
        let life = if run < 3 && dice.roll(2) == 0 { dice.roll(120) } else { 60_000 };
        let deploy = async { make().deploy(&Context::new(), spec).await };
        match tokio::time::timeout(Duration::from_millis(life), deploy).await {
            Err(_) => drop(tally.killed.fetch_add(1, Ordering::Relaxed)),
            Ok(Ok(deployed)) => {
                last = deployed.failed().map(|(_, error)| error.clone()).collect();
                if last.is_empty() {
                    return;
                }
                tally.failed.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Err(error)) => {
                tally.failed.fetch_add(1, Ordering::Relaxed);
                last = vec![error];
            }
        }
    }
    panic!("{:?} is not there after {MAX_RUNS} runs: {last:#?}", spec.names);
}

/// Fails unless the cloud holds one running machine for each node asked for,
/// with its tags, and nothing else.
async fn expect_exactly(cloud: &Cloud, specs: &[DeploySpec]) {
    let wanted: BTreeSet<_> = specs
        .iter()
        .flat_map(|spec| spec.names.iter().map(|name| (spec.owner.app.clone(), name.clone())))
        .collect();
    let ctx = Context::new();
    let nodes = provisioner(client(&cloud.simulator, "default"));
    let listed = nodes.list(&ctx, &ListFilter::all()).await.unwrap();
    let there: BTreeSet<_> =
        listed.iter().map(|node| (node.owner.app.clone(), node.name.clone())).collect();
    assert_eq!(there, wanted);
    assert_eq!(listed.len(), wanted.len(), "a node is there twice");
    assert!(listed.iter().all(|node| node.status == NodeStatus::Running));
    let held = cloud.simulator.machines();
    let mut by_name: BTreeMap<&str, u32> = BTreeMap::new();
    for machine in &held {
        *by_name.entry(&machine.display_name).or_default() += 1;
    }
    let twice: Vec<_> = by_name.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "machines too many: {twice:?}");
    assert_eq!(held.len(), wanted.len(), "machines in the cloud");
    assert!(held.iter().all(|machine| machine.state == MachineState::Running));
}
