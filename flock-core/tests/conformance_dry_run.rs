//! The suites on a dry run: it answers as the backend would, while that gets
//! nothing but reads.

mod memory;

use std::process::ExitCode;
use std::sync::Arc;

use flock_core::conformance::{
    Failure, Outcome, Suite, ensure, expect_eq, expect_err, image_builder, main as run,
    provisioner, volume_driver,
};
use flock_core::layers::{DryRun, Plan};
use flock_core::memory::MemoryBackend;
use flock_core::provisioner::{DeploySpec, StopOptions};
use flock_core::volume_driver::{AttachOptions, VolumeSpec};
use flock_core::{
    Context, ErrorKind, ImageBuilder, ListFilter, Operation, OperationClass, Provisioner,
    VolumeDriver,
};

/// Cases about what only the backend can judge, see [`DryRun`].
const LEFT_TO_THE_BACKEND: &[&str] = &[
    "volume::unknown_option_is_refused",
    "volume::owner_of_another_namespace_is_refused",
    "volume::attach_to_unknown_node_is_not_found",
    "node::unknown_option_is_refused",
    "node::owner_of_another_namespace_is_refused",
    "node::missing_image_fails_the_whole_deploy",
    "node::missing_image_spares_nodes_that_are_there",
    "node::ports_show",
    "image::unknown_option_is_refused",
    "image::owner_of_another_namespace_is_refused",
    "image::broken_source_is_never_ready",
    "image::image_can_be_deployed",
    "image::delete_in_use_is_a_conflict",
];

/// The three suites on a dry run of this backend. What they need to be there
/// beforehand is made by another one in the same world.
fn suites(backend: &MemoryBackend) -> [Suite; 3] {
    let (volumes, nodes, images) = (backend.clone(), backend.clone(), backend.clone());
    let volume =
        volume_driver::SuiteOptions::new(VolumeDriver::capabilities(backend)).with_nodes(2);
    let node = provisioner::SuiteOptions::new(Provisioner::capabilities(backend));
    let image = image_builder::SuiteOptions::new(ImageBuilder::capabilities(backend)).with_broken();
    [
        volume_driver::suite("", &volume, move || {
            let inner = volumes.clone();
            let beside = inner.in_namespace(inner.namespace());
            async move { memory::volume_subject(beside, |_| DryRun::new(inner.clone())).await }
        }),
        provisioner::suite("", &node, move || {
            let inner = nodes.clone();
            let beside = inner.in_namespace(inner.namespace());
            async move { memory::node_subject(beside, |_| DryRun::new(inner.clone())).await }
        }),
        image_builder::suite("", &image, move || {
            let inner = images.clone();
            let beside = inner.in_namespace(inner.namespace());
            async move { memory::image_subject(beside, |_| DryRun::new(inner.clone())).await }
        }),
    ]
}

/// Runs the nth case on a fresh backend, which must get nothing but reads.
async fn changes_nothing(n: usize) -> Outcome {
    let backend = MemoryBackend::new();
    let suites = suites(&backend);
    let case = suites.iter().flat_map(Suite::cases).nth(n);
    case.ok_or_else(|| Failure::new("no such case"))?.run().await?;
    expect_reads_only(&backend)
}

fn expect_reads_only(backend: &MemoryBackend) -> Outcome {
    let calls = backend.faults().calls();
    let changes = calls.iter().filter(|call| call.operation.class() != OperationClass::Read);
    let changes: Vec<_> = changes.map(ToString::to_string).collect();
    ensure(changes.is_empty(), format!("the backend was asked for {changes:?}"))
}

/// Everything that the suites ask of a backend, and what only a dry run has.
fn suite() -> Suite {
    let mut left: Vec<_> = LEFT_TO_THE_BACKEND.to_vec();
    let mut suite = Suite::new("dry-run")
        .test("plan_tells_every_change_once", plan_tells_every_change_once)
        .test("plan_follows_what_is_there", plan_follows_what_is_there)
        .test("plan_is_shared_among_the_traits", plan_is_shared_among_the_traits);
    for (n, case) in suites(&MemoryBackend::new()).iter().flat_map(Suite::cases).enumerate() {
        let name = case.name().replace("::::", "::");
        if let Some(at) = left.iter().position(|left| *left == name) {
            left.swap_remove(at);
        } else if case.ignored().is_none() {
            suite = suite.test(&name, move || changes_nothing(n));
        }
    }
    suite.test("cases_left_out_are_cases", move || {
        let outcome = ensure(left.is_empty(), format!("no such cases: {left:?}"));
        async { outcome }
    })
}

async fn plan_tells_every_change_once() -> Outcome {
    let (backend, ctx) = (MemoryBackend::new(), Context::new());
    let dry = DryRun::new(backend.clone());
    let owner = backend.owner("web");
    let spec = VolumeSpec::new(owner.clone(), "data", 5000);
    let volume = dry.create(&ctx, &spec).await?;
    dry.create(&ctx, &spec).await?;
    ensure(volume.id.as_str().starts_with("dry-run:"), "a planned id that looks real")?;
    let nodes = dry.deploy(&ctx, &DeploySpec::new(owner, "image-9", ["a", "b"])).await?;
    let nodes = nodes.into_nodes()?;
    dry.attach(&ctx, &volume.id, &nodes[0].id, &AttachOptions::default()).await?;
    let over = AttachOptions::default().with_take_over(true);
    dry.attach(&ctx, &volume.id, &nodes[1].id, &over).await?;
    dry.stop(&ctx, &nodes[1].id, &StopOptions::default()).await?;
    let text = dry.plan().to_string();
    let wanted = "1. volume.create: make volume 'data' of 8192 bytes\n\
        2. node.create: make node 'a' from image 'image-9'\n\
        3. node.create: make node 'b' from image 'image-9'\n\
        4. volume.attach: attach volume 'data' to node 'dry-run:node-2'\n\
        5. volume.attach: take over volume 'data' to node 'dry-run:node-3'\n\
        6. node.stop: stop node 'b'\n";
    expect_eq(text.as_str(), wanted, "the plan")?;
    let json = serde_json::to_value(&dry.plan().steps()[5])?;
    let wanted = serde_json::json!({
        "operation": "node.stop",
        "target": "dry-run:node-3",
        "summary": "stop node 'b'",
    });
    expect_eq(json, wanted, "a step in JSON")?;
    expect_reads_only(&backend)
}

async fn plan_follows_what_is_there() -> Outcome {
    let (beside, ctx) = (MemoryBackend::new(), Context::new());
    let nodes = memory::nodes(&beside).await?;
    let spec = VolumeSpec::new(beside.owner("web"), "data", 4096);
    let volume = beside.create(&ctx, &spec).await?;
    beside.attach(&ctx, &volume.id, &nodes[0], &AttachOptions::default()).await?;

    let backend = beside.in_namespace("default");
    let dry = DryRun::new(backend.clone());
    let refused = VolumeDriver::destroy(&dry, &ctx, &volume.id).await;
    expect_err(refused, ErrorKind::Conflict, "destroy of an attached volume")?;
    expect_eq(dry.plan().steps().len(), 0, "steps of a call that cannot work")?;
    // With its node gone it is free.
    Provisioner::destroy(&dry, &ctx, &nodes[0]).await?;
    let found = VolumeDriver::get(&dry, &ctx, &volume.id).await?;
    ensure(found.attachments.is_empty(), "attached to a node that would be gone")?;
    let options = AttachOptions::default();
    let gone = dry.attach(&ctx, &volume.id, &nodes[0], &options).await;
    expect_err(gone, ErrorKind::NotFound, "attach to a node that would be gone")?;
    dry.attach(&ctx, &volume.id, &nodes[1], &options).await?;
    dry.detach(&ctx, &volume.id, &nodes[1]).await?;
    VolumeDriver::destroy(&dry, &ctx, &volume.id).await?;
    let listed = VolumeDriver::list(&dry, &ctx, &ListFilter::all()).await?;
    ensure(listed.is_empty(), "a volume that would be gone is listed")?;
    expect_reads_only(&backend)
}

async fn plan_is_shared_among_the_traits() -> Outcome {
    let (backend, ctx, plan) = (MemoryBackend::new(), Context::new(), Plan::default());
    let nodes: Arc<dyn Provisioner> = Arc::new(backend.clone());
    let volumes: Arc<dyn VolumeDriver> = Arc::new(backend.clone());
    let nodes = DryRun::with_plan(nodes, plan.clone());
    let volumes = DryRun::with_plan(volumes, plan.clone());
    let owner = backend.owner("web");
    let node = nodes.deploy(&ctx, &DeploySpec::new(owner.clone(), "image-9", ["a"])).await?;
    let node = node.into_nodes()?.swap_remove(0);
    let volume = volumes.create(&ctx, &VolumeSpec::new(owner, "data", 4096)).await?;
    volumes.attach(&ctx, &volume.id, &node.id, &AttachOptions::default()).await?;
    nodes.destroy(&ctx, &node.id).await?;
    volumes.destroy(&ctx, &volume.id).await?;
    let operations: Vec<_> = plan.steps().into_iter().map(|step| step.operation).collect();
    let wanted = vec![
        Operation::NodeCreate,
        Operation::VolumeCreate,
        Operation::VolumeAttach,
        Operation::NodeDestroy,
        Operation::VolumeDestroy,
    ];
    expect_eq(operations, wanted, "operations planned")?;
    expect_reads_only(&backend)
}

fn main() -> ExitCode {
    run([suite()])
}
