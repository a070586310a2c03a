//! A simulator, and builders for it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flock_cloudstack::image_builder::{Patience, TemplateOptions};
use flock_cloudstack::simulator::{Simulator, SimulatorOptions};
use flock_cloudstack::{Client, CloudStackConfig, CloudStackImageBuilder};
use flock_core::image_builder::{
    ApplianceFormat, Image, ImageBuilder as _, ImageSource, ImageSpec,
};
use flock_core::progress::ProgressEvent;
use flock_core::{Context, Owner, RequestId, Result};
use sha2::{Digest as _, Sha256};

pub(crate) const OS_TYPE: &str = "Debian GNU/Linux 12 (64-bit)";

pub(crate) struct Place {
    pub(crate) simulator: Simulator,
    pub(crate) dir: tempfile::TempDir,
    /// The appliance, and what is in it.
    pub(crate) tar: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

/// A simulator that does not take its time.
pub(crate) fn quick() -> SimulatorOptions {
    let quick = Duration::from_millis(20);
    SimulatorOptions::new()
        .with_job_time(quick)
        .with_install_time(quick)
        .with_upload_interval(Duration::from_millis(10))
}

impl Place {
    pub(crate) async fn new() -> Self {
        Self::with(quick()).await
    }

    pub(crate) async fn with(options: SimulatorOptions) -> Self {
        let simulator = Simulator::start(options).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (tar, bytes) = (dir.path().join("web.tar"), archive(700_000));
        std::fs::write(&tar, &bytes).unwrap();
        Self { simulator, dir, tar, bytes }
    }

    pub(crate) fn config(&self) -> CloudStackConfig {
        let url = self.simulator.url().parse().unwrap();
        let secret = self.simulator.secret_key().clone();
        CloudStackConfig::new(url, self.simulator.api_key(), secret)
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.config()).unwrap()
    }

    /// A builder for `zone-1`, which does not wait long for anything.
    pub(crate) fn builder(&self) -> CloudStackImageBuilder {
        let options = TemplateOptions::new().with_zones(["zone-1"]).with_os_type(OS_TYPE);
        let mut patience = Patience::default();
        patience.unknown = Duration::from_millis(200);
        patience.upload = Duration::from_secs(2);
        patience.lost_reply = Duration::from_secs(1);
        CloudStackImageBuilder::new(self.client()).with_options(options).with_patience(patience)
    }

    /// An image of the appliance, for a new request.
    pub(crate) fn spec(&self, version: &str) -> ImageSpec {
        let owner = Owner::new("default", "web", RequestId::random());
        let path = self.tar.clone();
        let source = ImageSource::Appliance { path, format: ApplianceFormat::Tar };
        ImageSpec::new(owner, "web", version, source)
    }

    pub(crate) async fn build(&self, spec: &ImageSpec) -> Result<Image> {
        self.builder().build(&Context::new(), spec).await
    }

    /// Fails unless just these templates are there, ready, whole and tagged,
    /// by name and zone.
    pub(crate) fn expect(&self, wanted: &[(&str, &str)]) {
        let held = self.simulator.templates();
        let mut names: Vec<_> =
            held.iter().map(|one| (one.name.as_str(), one.zone.as_str())).collect();
        names.sort_unstable();
        assert_eq!(names, wanted, "{held:?}");
        let sum: String = Sha256::digest(&self.bytes).iter().map(|b| format!("{b:02x}")).collect();
        for one in &held {
            assert!(one.ready, "{one:?}");
            assert_eq!(one.sha256.as_deref(), Some(sum.as_str()), "{one:?}");
        }
    }

    pub(crate) fn asked(&self, command: &str) -> u64 {
        self.simulator.requests().of(command)
    }
}

/// An archive of about this length.
pub(crate) fn archive(length: u64) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(length);
    header.set_mode(0o644);
    let contents: Vec<u8> = (0..length).map(|n| (n * n % 251) as u8).collect();
    archive.append_data(&mut header, "var/lib/contents", &contents[..]).unwrap();
    archive.into_inner().unwrap()
}

/// A context, and the messages and labels of tasks that it hears of.
pub(crate) fn listening() -> (Context, Arc<Mutex<Vec<String>>>) {
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let hears = Arc::clone(&heard);
    let ctx = Context::new().with_progress_fn(move |event| {
        let text = match event {
            ProgressEvent::Message { text, .. } => text,
            ProgressEvent::Started { label, .. } => label,
            _ => return,
        };
        hears.lock().unwrap().push(text);
    });
    (ctx, heard)
}
