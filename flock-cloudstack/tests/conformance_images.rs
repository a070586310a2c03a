//! The suite for image builders, on templates of a simulated CloudStack: with
//! the appliance uploaded to it, and fetched by it, and with nodes made from
//! the templates.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail so")]

mod cloud;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use flock_cloudstack::image_builder::{
    DirectUpload, Patience, ServeUpload, TemplateOptions, Upload,
};
use flock_cloudstack::simulator::{
    AccountOptions, Fault, FaultPlan, FaultRule, Faults, Simulator, SimulatorOptions,
};
use flock_cloudstack::{Client, CloudStackConfig, CloudStackImageBuilder};
use flock_core::conformance::image_builder::{Subject, SuiteOptions, suite};
use flock_core::conformance::{FaultInjector, Fixture, main as run};
use flock_core::image_builder::{ApplianceFormat, ImageBuilder, ImageSource};
use flock_core::layers::{Retry, RetryPolicy};
use flock_core::{Operation, Provisioner, Result};

use cloud::{completed, config, provisioner};

/// A valid id that nothing has.
const UNKNOWN: &str = "00000000-0000-4000-8000-000000000000";
/// What makes a template: one way or the other, the first step of a build.
const MAKES: [&str; 2] = ["registerTemplate", "getUploadParamsForTemplate"];

/// Makes requests to the simulator go wrong.
struct Broken(Faults);

impl FaultInjector for Broken {
    fn lose_reply(&self, operation: Operation) {
        self.first_step(operation, Fault::LoseReply);
    }

    /// The template is there, and its tags are not.
    fn fail_half_way(&self, _: Operation) {
        let text = "Unexpected exception".to_owned();
        self.0.once("createTags", Fault::Refuse { code: 530, text });
    }

    fn hang(&self, operation: Operation) {
        self.first_step(operation, Fault::Hang);
    }
}

impl Broken {
    fn first_step(&self, operation: Operation, fault: Fault) {
        let rule = FaultRule::new(fault).with_times(1);
        self.0.add(match operation {
            Operation::ImageDelete => rule.with_command("deleteTemplate"),
            _ => rule.with_predicate(|asked| MAKES.contains(&asked.command)),
        });
    }
}

/// A cloud, and a way to it.
#[derive(Clone)]
struct Cloud {
    upload: Upload,
    latency: Duration,
    /// Whether requests go wrong at random.
    shaky: bool,
    retry: bool,
}

#[async_trait::async_trait]
impl Fixture for Cloud {
    type Subject = Subject;

    async fn set_up(&self) -> Result<Subject> {
        let (quick, tick) = (Duration::from_millis(20), Duration::from_millis(10));
        // A user, who is told less than an administrator.
        let options = SimulatorOptions::new()
            .with_account(AccountOptions::new("me"))
            .with_latency(self.latency)
            .with_job_time(quick)
            .with_install_time(quick)
            .with_upload_interval(tick)
            // A destroyed machine needs its template until it is expunged.
            .with_user_expunge(true);
        let simulator = Simulator::start(options).await?;
        if self.shaky {
            let faults = FaultPlan::default_faults().into_iter().filter(is_survivable);
            simulator.faults().set_plan(FaultPlan::random(1, 0.1).with_faults(faults));
        }
        let dir = tempfile::tempdir().expect("a directory");
        let source = |name: &str, bytes: Option<&[u8]>| {
            let path = dir.path().join(name);
            if let Some(bytes) = bytes {
                std::fs::write(&path, bytes).expect("a file");
            }
            ImageSource::Appliance { path, format: ApplianceFormat::Tar }
        };
        let good = source("good.tar", Some(&tar()));
        let broken = source("broken.tar", Some(b"this is no tar archive"));
        let (ours, theirs) =
            (self.builder(&simulator, "ours")?, self.builder(&simulator, "theirs")?);
        let subject = Subject::new(ours, "ours", good, source("none.tar", None), UNKNOWN);
        let faults = Broken(simulator.faults().clone());
        let subject =
            subject.with_broken(broken).with_foreign(theirs, "theirs").with_faults(faults);
        Ok(subject
            .with_nodes(self.nodes(&simulator, "ours")?)
            .with_adjust(|spec| *spec = completed(spec.clone()))
            .with_held((simulator, dir)))
    }
}

impl Cloud {
    fn new(upload: Upload) -> Self {
        Self { upload, latency: Duration::ZERO, shaky: false, retry: false }
    }

    fn client(simulator: &Simulator, namespace: &str) -> Result<Client> {
        let config = config(simulator)
            .with_namespace(namespace)
            .with_request_timeout(Duration::from_secs(5));
        Client::new(config)
    }

    fn builder(&self, simulator: &Simulator, namespace: &str) -> Result<Arc<dyn ImageBuilder>> {
        let options = TemplateOptions::new()
            .with_zones(["zone-1"])
            .with_os_type("Debian GNU/Linux 12 (64-bit)")
            .with_upload(self.upload.clone());
        let mut patience = Patience::default();
        patience.lost_reply = Duration::from_secs(1);
        let builder = CloudStackImageBuilder::new(Self::client(simulator, namespace)?)
            .with_options(options)
            .with_patience(patience);
        Ok(match self.retry {
            true => Arc::new(Retry::new(builder, self.policy())),
            false => Arc::new(builder),
        })
    }

    fn nodes(&self, simulator: &Simulator, namespace: &str) -> Result<Arc<dyn Provisioner>> {
        let nodes = provisioner(Self::client(simulator, namespace)?);
        Ok(match self.retry {
            true => Arc::new(Retry::new(nodes, self.policy())),
            false => Arc::new(nodes),
        })
    }

    fn policy(&self) -> RetryPolicy {
        let mut policy = RetryPolicy::default();
        policy.first_delay = Duration::from_millis(1);
        policy.max_delay = Duration::from_millis(100);
        if self.shaky {
            policy.max_attempts = 50;
        }
        policy
    }
}

/// What can be got over by trying again.
fn is_survivable(fault: &Fault) -> bool {
    !matches!(fault, Fault::FailJob { .. } | Fault::FailJobHalfWay)
}

/// A small archive.
fn tar() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(5);
    header.set_mode(0o644);
    archive.append_data(&mut header, "etc/hostname", &b"flock"[..]).expect("an entry");
    archive.into_inner().expect("an archive")
}

fn main() -> ExitCode {
    let sample = "http://127.0.0.1/".parse().expect("an address");
    let sample = CloudStackConfig::new(sample, "", flock_core::secret::Secret::new(""));
    let sample = CloudStackImageBuilder::new(Client::new(sample).expect("a client"));
    let options = SuiteOptions::new(sample.capabilities())
        .with_foreign()
        .with_faults()
        .with_broken()
        .with_nodes();
    let direct = Cloud::new(Upload::Direct(DirectUpload::default()));
    let listen = "127.0.0.1:0".parse().expect("an address");
    let url = "http://127.0.0.1/".parse().expect("an address");
    let serve = Cloud::new(Upload::Serve(ServeUpload::new(listen, url)));
    let slow = Cloud { latency: Duration::from_millis(10), ..direct.clone() };
    let retry = Cloud { retry: true, ..direct.clone() };
    let shaky = Cloud { shaky: true, ..retry.clone() };
    let shaky_serve = Cloud { shaky: true, retry: true, ..serve.clone() };
    run([
        suite("cloudstack+direct", &options, direct),
        suite("cloudstack+serve", &options, serve),
        suite("cloudstack+slow", &options, slow),
        suite("cloudstack+retry", &options, retry),
        suite("cloudstack-shaky+direct+retry", &options, shaky),
        suite("cloudstack-shaky+serve+retry", &options, shaky_serve),
    ])
}
