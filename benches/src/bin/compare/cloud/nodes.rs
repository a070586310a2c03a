//! Nodes: many deployed, and very many listed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::simulator::{Cloud, CloudOptions};
use super::{Run, flock, home};
use crate::measure::{self, Pipeline};
use crate::ways::Places;

/// How many nodes are in the making at once.
pub(super) const AT_ONCE: usize = 50;
/// Milliseconds until the cloud answers, and that its jobs take.
const LATENCY: u64 = 50;
const JOB_TIME: u64 = 2_000;
/// What the simulator has from the start.
pub(super) const TEMPLATE: &str = "Debian 12 (KVM)";
pub(super) const SIZE: &str = "Small Instance";
pub(super) const ZONE: &str = "zone-1";

/// What the cloud and the bound on nodes at once need for a deploy: each node
/// one request and one job.
pub(super) fn least_time(nodes: usize) -> Duration {
    let rounds = u32::try_from(nodes.div_ceil(AT_ONCE)).unwrap_or(u32::MAX);
    Duration::from_millis(LATENCY + JOB_TIME) * rounds
}

/// The part of `flock deploy --json` that is looked at.
#[derive(Deserialize)]
struct Deployed {
    deployed: usize,
    failed: usize,
}

/// The part of `flock node list --json` that is looked at.
#[derive(Deserialize)]
struct Listed {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    name: String,
}

pub(super) fn deploy(places: &Places, nodes: usize) -> Result<Run> {
    let options = CloudOptions { latency: LATENCY, job_time: JOB_TIME, machines: 0 };
    let mut cloud = Cloud::start(&options)?;
    let (count, at_once) = (nodes.to_string(), AT_ONCE.to_string());
    let args = [
        &["deploy", "web", "--template", TEMPLATE, "--zone", ZONE, "--size", SIZE][..],
        &["--nodes", &count, "--concurrency", &at_once, "--json"],
    ];
    let output = places.scratch.join("deployed.json");
    let run = run(places, &mut cloud, &args.concat(), &output)?;
    let Deployed { deployed, failed } = read(&output)?;
    ensure!((deployed, failed) == (nodes, 0), "{deployed} deployed and {failed} failed");
    cloud.look()?.has_just(nodes)?;
    Ok(run)
}

pub(super) fn list(places: &Places, machines: usize) -> Result<Run> {
    let mut cloud = Cloud::start(&CloudOptions { machines, ..CloudOptions::default() })?;
    cloud.look()?.has_just(machines)?;
    let output = places.scratch.join("listed.json");
    let run = run(places, &mut cloud, &["node", "list", "--json"], &output)?;
    let Listed { nodes } = read(&output)?;
    let names: BTreeSet<_> = nodes.iter().map(|node| &node.name).collect();
    let counts = (nodes.len(), names.len());
    ensure!(counts == (machines, machines), "{} nodes with {} names", counts.0, counts.1);
    Ok(run)
}

/// Runs flock, and counts what it asks of the cloud.
fn run(places: &Places, cloud: &mut Cloud, args: &[&str], output: &Path) -> Result<Run> {
    let home = home(places, &cloud.profile())?;
    let programs = vec![flock(places, &home, args)];
    let before = cloud.look()?.requests;
    let pipeline = Pipeline { programs, output: Some(output.to_owned()) };
    let measured = measure::run(&[pipeline], &places.scratch)?;
    let requests = Some(cloud.look()?.requests.since(before));
    Ok(Run { measured, requests })
}

fn read<T: for<'de> Deserialize<'de>>(json: &Path) -> Result<T> {
    serde_json::from_reader(BufReader::new(File::open(json)?)).context("not what flock documents")
}
