//! Uploads and certificates with programs that others have written: nginx,
//! curl and OpenSSL.
//!
//! A case whose program is missing is shown as ignored, with the reason; it
//! fails where `FLOCK_TEST_REQUIRE` (a comma list of `nginx`, `curl`,
//! `openssl`) names it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail so")]

#[path = "services/certificates.rs"]
mod certificates;
#[path = "services/front.rs"]
mod front;
#[path = "services/programs.rs"]
mod programs;
// The server of scripted answers that the client's tests have.
mod support;
#[path = "services/tls.rs"]
mod tls;
#[path = "services/uploads.rs"]
mod uploads;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use flock_cloudstack::image_builder::{TemplateOptions, Upload};
use flock_cloudstack::{Client, CloudStackConfig, CloudStackImageBuilder};
use flock_core::conformance::{Outcome, main as run};
use flock_core::image_builder::{ApplianceFormat, ImageSource, ImageSpec};
use flock_core::{Owner, RequestId};
use serde_json::json;

use support::Answer;

const OS_TYPE: &str = "Debian GNU/Linux 12 (64-bit)";

fn main() -> ExitCode {
    run([uploads::put(), uploads::serve(), tls::trust(), tls::protocol()])
}

/// A test that fails by a panic.
async fn passes(test: impl Future<Output = ()>) -> Outcome {
    test.await;
    Ok(())
}

fn builder(config: CloudStackConfig, upload: Upload) -> CloudStackImageBuilder {
    let options =
        TemplateOptions::new().with_zones(["zone-1"]).with_os_type(OS_TYPE).with_upload(upload);
    CloudStackImageBuilder::new(Client::new(config).unwrap()).with_options(options)
}

/// The image `web:1` of an archive, for a new request.
fn spec(tar: &Path) -> ImageSpec {
    let source = ImageSource::Appliance { path: tar.to_owned(), format: ApplianceFormat::Tar };
    ImageSpec::new(Owner::new("default", "web", RequestId::random()), "web", "1", source)
}

/// An archive in the directory, and what is in it.
fn archive(dir: &Path) -> (PathBuf, Vec<u8>) {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(300_000);
    header.set_mode(0o644);
    archive.append_data(&mut header, "var/lib/contents", &[7; 300_000][..]).unwrap();
    let (path, bytes) = (dir.join("appliance.tar"), archive.into_inner().unwrap());
    std::fs::write(&path, &bytes).unwrap();
    (path, bytes)
}

/// What a cloud answers before a template is made, and when jobs end.
fn surroundings(command: &str) -> Answer {
    Answer::ok(match command {
        "listCapabilities" => json!({"capability": {"cloudstackversion": "4.22.0.0"}}),
        "listZones" => json!({"count": 1, "zone": [{"id": "z", "name": "zone-1"}]}),
        "listHypervisors" => json!({"hypervisor": [{"name": "LXC"}]}),
        "listOsTypes" => json!({
            "count": 1,
            "ostype": [{"id": "o", "description": OS_TYPE}],
        }),
        "createTags" | "deleteTemplate" => json!({"jobid": "j"}),
        "queryAsyncJobResult" => json!({"jobstatus": 1, "jobresult": {}}),
        _ => json!({}),
    })
}

fn url(text: &str) -> url::Url {
    text.parse().unwrap()
}
