//! The suite for image builders, on templates of a simulated CloudStack: with
//! the appliance uploaded to it, and fetched by it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail so")]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use flock_cloudstack::image_builder::{DirectUpload, ServeUpload, TemplateOptions, Upload};
use flock_cloudstack::simulator::{Fault, FaultRule, Faults, Simulator, SimulatorOptions};
use flock_cloudstack::{Client, CloudStackConfig, CloudStackImageBuilder};
use flock_core::conformance::image_builder::{Subject, SuiteOptions, suite};
use flock_core::conformance::{FaultInjector, main as run};
use flock_core::image_builder::{ApplianceFormat, ImageBuilder, ImageSource};
use flock_core::{Operation, Result};

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

async fn subject(upload: Upload) -> Result<Subject> {
    let (quick, tick) = (Duration::from_millis(20), Duration::from_millis(10));
    let options = SimulatorOptions::new()
        .with_job_time(quick)
        .with_install_time(quick)
        .with_upload_interval(tick);
    let simulator = Simulator::start(options).await?;
    let config = |namespace: &str| {
        let url = simulator.url().parse().expect("an address");
        CloudStackConfig::new(url, simulator.api_key(), simulator.secret_key().clone())
            .with_namespace(namespace)
    };
    let options = TemplateOptions::new()
        .with_zones(["zone-1"])
        .with_os_type("Debian GNU/Linux 12 (64-bit)")
        .with_upload(upload);
    let builder = |namespace: &str| -> Result<Arc<dyn ImageBuilder>> {
        let builder = CloudStackImageBuilder::new(Client::new(config(namespace))?);
        Ok(Arc::new(builder.with_options(options.clone())))
    };
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
    let unknown = "00000000-0000-4000-8000-000000000000";
    let (faults, subject) = (
        Broken(simulator.faults().clone()),
        Subject::new(builder("ours")?, "ours", good, source("none.tar", None), unknown),
    );
    let foreign = builder("theirs")?;
    let subject = subject.with_broken(broken).with_foreign(foreign, "theirs").with_faults(faults);
    Ok(subject.with_held((simulator, dir)))
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
    let options =
        SuiteOptions::new(sample.capabilities()).with_foreign().with_faults().with_broken();
    let direct = || subject(Upload::Direct(DirectUpload::default()));
    let serve = || {
        let listen = "127.0.0.1:0".parse().expect("an address");
        let url = "http://127.0.0.1/".parse().expect("an address");
        subject(Upload::Serve(ServeUpload::new(listen, url)))
    };
    run([suite("cloudstack+direct", &options, direct), suite("cloudstack+serve", &options, serve)])
}
