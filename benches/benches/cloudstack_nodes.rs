//! A thousand nodes on a simulated CloudStack: how long, by how many requests,
//! with how much memory.
//!
//! ```sh
//! cargo bench -p flock-benches --bench cloudstack_nodes
//! ```
//!
//! The cloud answers after 50 ms and its jobs take 2 s; 50 nodes are in the
//! making at once. It runs in a process of its own, so that the memory is the
//! client's alone. After that 10,000 machines are made and listed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::num::NonZeroUsize;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use flock_cloudstack::simulator::{Simulator, SimulatorOptions, ZoneOptions};
use flock_cloudstack::{Client, CloudStackConfig, CloudStackProvisioner};
use flock_core::provisioner::DeploySpec;
use flock_core::secret::Secret;
use flock_core::{Context, ListFilter, Owner, Provisioner as _, RequestId};

const LATENCY: Duration = Duration::from_millis(50);
const JOB_TIME: Duration = Duration::from_secs(2);
const AT_ONCE: usize = 50;
const NODES: usize = 1_000;
const LISTED: usize = 10_000;
/// The argument that makes this program the cloud.
const CLOUD: &str = "--be-the-cloud";
/// Those that make it one of the two measurements.
const DEPLOY: &str = "--deploy";
const LIST: &str = "--list";

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match () {
        () if has(CLOUD) => runtime.block_on(be_the_cloud(has("filled"))),
        () if has(DEPLOY) => runtime.block_on(thousand()),
        () if has(LIST) => runtime.block_on(list()),
        () => {
            // Each in a process of its own, so that the memory is its own.
            for part in [DEPLOY, LIST] {
                let ran = Command::new(std::env::current_exe()?).arg(part).status()?;
                ensure!(ran.success(), "{part} failed");
            }
            Ok(())
        }
    }
}

/// Serves until standard input ends, and tells each line how many requests
/// came: all of them and those that deploy.
async fn be_the_cloud(filled: bool) -> Result<()> {
    let options = SimulatorOptions::new().with_zones([ZoneOptions::new("zone-1")]);
    let options = match filled {
        false => options.with_latency(LATENCY).with_job_time(JOB_TIME),
        true => options.with_job_time(Duration::from_millis(1)),
    };
    let cloud = Simulator::start(options).await?;
    if filled {
        fill(&cloud).await?;
    }
    say(&format!("{} {} {}", cloud.url(), cloud.api_key(), cloud.secret_key().expose()))?;
    for _asked in std::io::stdin().lines() {
        let requests = cloud.requests();
        say(&format!("{} {}", requests.total(), requests.of("deployVirtualMachine")))?;
    }
    Ok(())
}

async fn fill(cloud: &Simulator) -> Result<()> {
    let secret = cloud.secret_key().clone();
    let config = CloudStackConfig::new(cloud.url().parse()?, cloud.api_key(), secret);
    let nodes = CloudStackProvisioner::new(Client::new(config)?)
        .with_polling(Duration::from_millis(5), Duration::from_millis(50));
    let deployed = nodes.deploy(&Context::new(), &spec(&nodes, LISTED).await?).await?;
    ensure!(deployed.failed().count() == 0, "some nodes failed");
    Ok(())
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// The cloud in its own process; it ends with this.
struct Cloud {
    process: Child,
    answers: BufReader<std::process::ChildStdout>,
    client: Client,
}

impl Cloud {
    fn start(speed: &str) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args([CLOUD, speed])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut answers = BufReader::new(process.stdout.take().context("no output")?);
        let mut line = String::new();
        answers.read_line(&mut line)?;
        let [url, api_key, secret] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            bail!("the cloud says '{line}'");
        };
        let config = CloudStackConfig::new(url.parse()?, api_key, Secret::new(secret))
            .with_max_concurrency(NonZeroUsize::new(AT_ONCE).context("none")?);
        Ok(Self { process, answers, client: Client::new(config)? })
    }

    /// How many requests came so far: all, and those that deploy.
    fn requests(&mut self) -> Result<(u64, u64)> {
        writeln!(self.process.stdin.as_ref().context("no input")?)?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let (all, deploys) = line.trim().split_once(' ').context("no counts")?;
        Ok((all.parse()?, deploys.parse()?))
    }

    fn nodes(&self) -> Result<CloudStackProvisioner> {
        let at_once = NonZeroUsize::new(AT_ONCE).context("none")?;
        Ok(CloudStackProvisioner::new(self.client.clone()).with_max_concurrency(at_once))
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ended = self.process.wait();
    }
}

async fn spec(nodes: &CloudStackProvisioner, count: usize) -> Result<DeploySpec> {
    let image = nodes.find_image(&Context::new(), "Debian 12 (KVM)").await?;
    let owner = Owner::new("default", "web", RequestId::random());
    let names = (1..=count).map(|number| format!("web-{number}"));
    Ok(DeploySpec::new(owner, image, names).with_size("Small Instance"))
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
async fn thousand() -> Result<()> {
    let mut cloud = Cloud::start("slow")?;
    let nodes = cloud.nodes()?;
    let spec = spec(&nodes, NODES).await?;
    let (before, _) = cloud.requests()?;
    let start = Instant::now();
    let deployed = nodes.deploy(&Context::new(), &spec).await?;
    let took = start.elapsed().as_secs_f64();
    ensure!(deployed.failed().count() == 0, "some nodes failed");
    let (after, deploys) = cloud.requests()?;
    let ideal = (NODES / AT_ONCE) as f64 * (LATENCY + JOB_TIME).as_secs_f64();
    let beyond = (after - before - deploys) as f64 / NODES as f64;
    say(&format!(
        "{NODES} nodes, {AT_ONCE} at once, {LATENCY:?} latency, jobs of {JOB_TIME:?}:\n  \
         {took:.1} s, {:+.1} % of the {ideal:.1} s that these allow\n  \
         {beyond:.3} requests for each node beyond the one that makes it ({deploys} deploys)\n  \
         {:.1} MiB at most",
        (took / ideal - 1.0) * 100.0,
        peak_mib()?
    ))
}

/// Lists many machines.
async fn list() -> Result<()> {
    let mut cloud = Cloud::start("filled")?;
    let nodes = cloud.nodes()?;
    let (before, _) = cloud.requests()?;
    let start = Instant::now();
    let listed = nodes.list(&Context::new(), &ListFilter::all()).await?;
    let took = start.elapsed().as_secs_f64();
    ensure!(listed.len() == LISTED, "{} of {LISTED} nodes are listed", listed.len());
    let (after, _) = cloud.requests()?;
    say(&format!(
        "{LISTED} nodes listed in {took:.2} s by {} requests; {:.1} MiB at most",
        after - before,
        peak_mib()?
    ))
}

/// The most memory that this process had so far: `VmHWM` of proc(5).
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn peak_mib() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib as f64 / 1024.0)
}
