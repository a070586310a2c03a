//! What: an image, three nodes and a volume that follows, on the backend in
//! memory; one node breaks half way and is finished by asking again.
//!
//! Needs: nothing.
//!
//! Run: `cargo run -p flock-examples --example in_memory`
//!
//! Prints:
//!
//! ```text
//! image web 1.0 is ready
//! web-1: running on host-1
//! web-2: the connection broke half way (unavailable, worth another try)
//! web-3: running on host-1
//! asked again, web-2 is running, and there are 3 nodes
//! data is at web-1
//! data is at web-3, and still says 'kept'
//! plan for taking it all down:
//! 1. node.destroy: destroy node 'web-1'
//! 2. node.destroy: destroy node 'web-2'
//! 3. node.destroy: destroy node 'web-3'
//! 4. volume.destroy: destroy volume 'data' and its data
//! ```
#![allow(clippy::print_stdout)]

use flock_core::image_builder::{ApplianceFormat, ImageSource, ImageSpec};
use flock_core::layers::DryRun;
use flock_core::memory::MemoryBackend;
use flock_core::provisioner::DeploySpec;
use flock_core::volume_driver::{AttachOptions, VolumeSpec};
use flock_core::{
    Context, Error, ImageBuilder, ListFilter, NodeId, Operation, Provisioner, ProvisionerExt,
    Result, VolumeDriver, VolumeId,
};

#[tokio::main]
async fn main() -> Result<()> {
    let (backend, ctx) = (MemoryBackend::new(), Context::new());

    // Any file will do as an appliance here: it is looked at, not run.
    let path = std::env::current_exe()
        .map_err(|error| Error::io("find", "this program".as_ref(), error))?;
    let source = ImageSource::Appliance { path, format: ApplianceFormat::Raw };
    let spec = ImageSpec::new(backend.owner("web"), "web", "1.0", source);
    let image = backend.build(&ctx, &spec).await?;
    println!("image {} {} is ready", image.name, image.version);

    // One of the three breaks; the answer still tells about each.
    backend.faults().fail_half_way(Operation::NodeCreate, 2);
    let spec = DeploySpec::new(backend.owner("web"), image.id, ["web-1", "web-2", "web-3"]);
    for outcome in backend.deploy(&ctx, &spec).await?.nodes {
        match &outcome.result {
            Ok(node) => println!("{}: {} on {}", node.name, node.status, host(&node.host)),
            Err(error) if error.is_retryable() => {
                println!("{}: {error} ({}, worth another try)", outcome.name, error.kind());
            }
            Err(error) => println!("{}: {error}", outcome.name),
        }
    }
    // The same request again finishes what is half made, and makes nothing twice.
    let nodes = backend.deploy(&ctx, &spec).await?.into_nodes()?;
    let second = &nodes[1];
    let count = Provisioner::list(&backend, &ctx, &ListFilter::app("web")).await?.len();
    println!("asked again, {} is {}, and there are {count} nodes", second.name, second.status);

    let spec = VolumeSpec::new(backend.owner("web"), "data", 1 << 20);
    let volume = backend.create(&ctx, &spec).await?.id;
    backend.attach(&ctx, &volume, &nodes[0].id, &AttachOptions::default()).await?;
    println!("data is at {}", whereabouts(&backend, &ctx, &volume).await?);
    backend.write(&volume, &nodes[0].id, b"kept")?;
    let options = AttachOptions::default().with_take_over(true);
    backend.attach(&ctx, &volume, &nodes[2].id, &options).await?;
    let text = String::from_utf8_lossy(&backend.read(&volume, &nodes[2].id)?).into_owned();
    let place = whereabouts(&backend, &ctx, &volume).await?;
    println!("data is at {place}, and still says '{text}'");

    let dry = DryRun::new(backend);
    dry.destroy_request(&ctx, &nodes[0].owner).await?;
    VolumeDriver::destroy(&dry, &ctx, &volume).await?;
    print!("plan for taking it all down:\n{}", dry.plan());
    Ok(())
}

fn host(host: &Option<String>) -> &str {
    host.as_deref().unwrap_or("an unknown host")
}

async fn whereabouts(backend: &MemoryBackend, ctx: &Context, volume: &VolumeId) -> Result<String> {
    let attachments = VolumeDriver::get(backend, ctx, volume).await?.attachments;
    let Some(node) = attachments.first().map(|attachment| NodeId::clone(&attachment.node)) else {
        return Ok("no node".to_owned());
    };
    Ok(Provisioner::get(backend, ctx, &node).await?.name)
}
