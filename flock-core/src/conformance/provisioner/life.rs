//! Finding, stopping, starting and destroying nodes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::subject::{ending_soon, unless};
use super::super::{
    Failure, Fixture, Outcome, SuiteOn, ensure, expect_eq, expect_err, expect_some,
};
use super::{Subject, SuiteOptions};
use crate::provisioner::{Node, NodeStatus, ProvisionerExt, StopOptions};
use crate::volume_driver::{AttachOptions, VolumeSpec};
use crate::{Context, ErrorKind, ListFilter};

type S = Arc<Subject>;

pub(super) fn cases<F: Fixture<Subject = Subject>>(
    on: SuiteOn<F>,
    why: &SuiteOptions,
) -> SuiteOn<F> {
    let stops = unless(why.capabilities.stop_start, "nodes cannot be stopped");
    let stubborn = stops.or(unless(why.stubborn, "no image that does not shut down"));
    let foreign = unless(why.foreign, "no second namespace");
    let volumes = unless(why.volumes, "no volume driver");
    let on = on
        .case("list_of_nothing_is_empty", list_of_nothing_is_empty)
        .case("list_keeps_to_its_filter", list_keeps_to_its_filter)
        .case("list_is_sorted_by_name_and_application", list_is_sorted)
        .case("find_finds_by_name", find_finds_by_name)
        .case("get_unknown_is_not_found", get_unknown_is_not_found)
        .case("destroy_removes_it", destroy_removes_it)
        .case("destroy_twice_is_not_found", destroy_twice_is_not_found)
        .case("destroy_unknown_is_not_found", destroy_unknown_is_not_found)
        .case("destroy_request_leaves_the_others", destroy_request_leaves_the_others)
        .case("name_is_free_after_destroy", name_is_free_after_destroy)
        .case_unless(volumes, "destroy_detaches_volumes_that_stay", destroy_detaches_volumes)
        .case_unless(stops, "stop_and_start_show", stop_and_start_show)
        .case_unless(stops, "stop_twice_is_stopped", stop_twice_is_stopped)
        .case_unless(stops, "stop_with_grace_is_stopped", stop_with_grace_is_stopped)
        .case_unless(stubborn, "stop_waits_for_the_grace_and_no_longer", stop_waits_for_the_grace)
        .case_unless(stubborn, "stop_without_grace_is_at_once", stop_without_grace)
        .case_unless(stops, "start_of_a_running_node_is_running", start_of_a_running_node)
        .case_unless(stops, "stop_and_start_of_unknown_are_not_found", stop_and_start_of_unknown)
        .case_unless(stops, "stopped_node_can_be_destroyed", stopped_node_can_be_destroyed)
        .case_unless(foreign, "foreign_nodes_are_not_listed", foreign_is_not_listed)
        .case_unless(foreign, "foreign_nodes_are_not_found", foreign_is_not_found)
        .case_unless(foreign, "foreign_names_do_not_collide", foreign_names_do_not_collide);
    if why.capabilities.stop_start {
        return on;
    }
    on.case("stop_and_start_are_unsupported", stop_and_start_are_unsupported)
}

/// Stops at once: what runs in the node does not matter here.
pub(super) fn at_once() -> StopOptions {
    StopOptions::default().with_grace(Duration::ZERO)
}

async fn list_of_nothing_is_empty(s: S) -> Outcome {
    s.expect_none().await?;
    s.node("web").await?;
    let none = s.provisioner.list(&Context::new(), &ListFilter::app("another")).await?;
    ensure(none.is_empty(), "another application has this one's node")
}

async fn list_keeps_to_its_filter(s: S) -> Outcome {
    let mut specs = [s.spec(&["a"]), s.spec(&["b"]), s.spec(&["c"])];
    specs[2].owner.app = "other".to_owned();
    for spec in &specs {
        s.deploy(spec).await?.into_nodes()?;
    }
    let filters = [
        (ListFilter::all(), vec!["a", "b", "c"]),
        (ListFilter::app("app"), vec!["a", "b"]),
        (ListFilter::app("ap"), vec![]),
        (ListFilter::request(&specs[1].owner), vec!["b"]),
        (ListFilter::all().with_partial(true), vec!["a", "b", "c"]),
    ];
    for (filter, wanted) in filters {
        let found = s.provisioner.list(&Context::new(), &filter).await?;
        let names: Vec<_> = found.into_iter().map(|node| node.name).collect();
        expect_eq(names, wanted, &format!("names listed for {filter:?}"))?;
    }
    Ok(())
}

async fn list_is_sorted(s: S) -> Outcome {
    for (app, name) in [("b", "m"), ("b", "z"), ("b", "a"), ("a", "m"), ("c", "m")] {
        let mut spec = s.spec(&[name]);
        spec.owner.app = app.to_owned();
        s.deploy(&spec).await?.into_nodes()?;
    }
    let listed = s.list().await?;
    let order: Vec<_> = listed.iter().map(|node| (&*node.name, &*node.owner.app)).collect();
    let wanted = vec![("a", "b"), ("m", "a"), ("m", "b"), ("m", "c"), ("z", "b")];
    expect_eq(order, wanted, "names and applications listed")
}

async fn find_finds_by_name(s: S) -> Outcome {
    let (ctx, node) = (Context::new(), s.node("web").await?);
    expect_eq(s.provisioner.find(&ctx, "app", "web").await?.id, node.id, "the node found")?;
    let none = s.provisioner.find(&ctx, "app", "we").await;
    expect_err(none, ErrorKind::NotFound, "find of part of a name").map(drop)
}

async fn get_unknown_is_not_found(s: S) -> Outcome {
    let got = s.provisioner.get(&Context::new(), &s.unknown).await;
    expect_err(got, ErrorKind::NotFound, "get of an unknown node").map(drop)
}

async fn destroy_removes_it(s: S) -> Outcome {
    let (gone, _stays) = (s.node("gone").await?, s.node("stays").await?);
    s.destroy(&gone).await?;
    expect_err(s.get(&gone).await, ErrorKind::NotFound, "get of a destroyed node")?;
    expect_eq(s.names().await?, vec!["stays"], "names listed")
}

async fn destroy_twice_is_not_found(s: S) -> Outcome {
    let node = s.node("web").await?;
    s.destroy(&node).await?;
    expect_err(s.destroy(&node).await, ErrorKind::NotFound, "the second destroy").map(drop)
}

async fn destroy_unknown_is_not_found(s: S) -> Outcome {
    s.node("web").await?;
    let refused = s.provisioner.destroy(&Context::new(), &s.unknown).await;
    expect_err(refused, ErrorKind::NotFound, "destroy of an unknown node")?;
    expect_eq(s.names().await?, vec!["web"], "names listed")
}

async fn destroy_request_leaves_the_others(s: S) -> Outcome {
    let (ctx, spec) = (Context::new(), s.spec(&["web"]));
    s.deploy(&spec).await?.into_nodes()?;
    s.node("other").await?;
    expect_eq(s.provisioner.destroy_request(&ctx, &spec.owner).await?, 1, "nodes destroyed")?;
    expect_eq(s.names().await?, vec!["other"], "names listed")?;
    expect_eq(s.provisioner.destroy_request(&ctx, &spec.owner).await?, 0, "the second time")
}

async fn name_is_free_after_destroy(s: S) -> Outcome {
    let first = s.node("web").await?;
    s.destroy(&first).await?;
    s.node("web").await?;
    expect_eq(s.names().await?, vec!["web"], "names listed")
}

async fn destroy_detaches_volumes(s: S) -> Outcome {
    let (ctx, node) = (Context::new(), s.node("web").await?);
    let volumes = expect_some(s.volumes.as_ref(), "the subject's volume driver")?;
    let size = volumes.capabilities().min_size;
    let volume = volumes.create(&ctx, &VolumeSpec::new(s.owner(), "data", size)).await?;
    volumes.attach(&ctx, &volume.id, &node.id, &AttachOptions::default()).await?;
    s.destroy(&node).await?;
    expect_eq(volumes.get(&ctx, &volume.id).await?, volume, "the volume afterwards")
}

async fn stop_and_start_show(s: S) -> Outcome {
    let (ctx, node) = (Context::new(), s.node("web").await?);
    let stopped = s.provisioner.stop(&ctx, &node.id, &at_once()).await?;
    expect_eq((&stopped.id, stopped.status), (&node.id, NodeStatus::Stopped), "stop's answer")?;
    expect_eq(s.get(&node).await?.status, NodeStatus::Stopped, "the status after a stop")?;
    let started = s.provisioner.start(&ctx, &node.id).await?;
    expect_eq((&started.id, started.status), (&node.id, NodeStatus::Running), "start's answer")?;
    expect_eq(s.get(&node).await?.status, NodeStatus::Running, "the status after a start")
}

async fn stop_twice_is_stopped(s: S) -> Outcome {
    let (ctx, node) = (Context::new(), s.node("web").await?);
    s.provisioner.stop(&ctx, &node.id, &at_once()).await?;
    let again = s.provisioner.stop(&ctx, &node.id, &at_once()).await?;
    expect_eq(again.status, NodeStatus::Stopped, "the second answer")
}

/// For a node that shuts down when it is asked to, or does not.
async fn stop_with_grace_is_stopped(s: S) -> Outcome {
    let node = s.node("web").await?;
    let options = StopOptions::default().with_grace(Duration::from_secs(1));
    let stopped = s.provisioner.stop(&Context::new(), &node.id, &options).await?;
    expect_eq(stopped.status, NodeStatus::Stopped, "the answer")?;
    expect_eq(s.get(&node).await?.status, NodeStatus::Stopped, "the status afterwards")
}

async fn stop_waits_for_the_grace(s: S) -> Outcome {
    let grace = Duration::from_millis(200);
    let (took, node) = stop_stubborn(&s, grace).await?;
    ensure(took >= grace, format!("it was cut off after {took:?} of {grace:?} grace"))?;
    expect_eq(s.get(&node).await?.status, NodeStatus::Stopped, "the status afterwards")
}

async fn stop_without_grace(s: S) -> Outcome {
    let (_, node) = stop_stubborn(&s, Duration::ZERO).await?;
    expect_eq(s.get(&node).await?.status, NodeStatus::Stopped, "the status afterwards")
}

/// How long it takes to stop a node that does not shut down by itself. Fails
/// if that is not done soon after the grace.
async fn stop_stubborn(s: &Subject, grace: Duration) -> Result<(Duration, Node), Failure> {
    let image = expect_some(s.stubborn.as_ref(), "the subject's image that does not shut down")?;
    let spec = s.spec_for(s.owner(), image, &["stubborn"]);
    let node = s.deploy(&spec).await?.into_nodes()?.swap_remove(0);
    let (ctx, options) = (Context::new(), StopOptions::default().with_grace(grace));
    let start = Instant::now();
    let stopped = ending_soon(grace, s.provisioner.stop(&ctx, &node.id, &options)).await??;
    expect_eq(stopped.status, NodeStatus::Stopped, "the answer")?;
    Ok((start.elapsed(), node))
}

async fn start_of_a_running_node(s: S) -> Outcome {
    let node = s.node("web").await?;
    let again = s.provisioner.start(&Context::new(), &node.id).await?;
    expect_eq((again.id, again.status), (node.id, NodeStatus::Running), "the answer")
}

async fn stop_and_start_of_unknown(s: S) -> Outcome {
    let ctx = Context::new();
    let stopped = s.provisioner.stop(&ctx, &s.unknown, &at_once()).await;
    expect_err(stopped, ErrorKind::NotFound, "stop of an unknown node")?;
    let started = s.provisioner.start(&ctx, &s.unknown).await;
    expect_err(started, ErrorKind::NotFound, "start of an unknown node").map(drop)
}

async fn stopped_node_can_be_destroyed(s: S) -> Outcome {
    let node = s.node("web").await?;
    s.provisioner.stop(&Context::new(), &node.id, &at_once()).await?;
    s.destroy(&node).await?;
    s.expect_none().await
}

async fn stop_and_start_are_unsupported(s: S) -> Outcome {
    let (ctx, node) = (Context::new(), s.node("web").await?);
    let stopped = s.provisioner.stop(&ctx, &node.id, &at_once()).await;
    expect_err(stopped, ErrorKind::Unsupported, "stop")?;
    expect_err(s.provisioner.start(&ctx, &node.id).await, ErrorKind::Unsupported, "start")?;
    expect_eq(s.get(&node).await?.status, NodeStatus::Running, "the status afterwards")
}

async fn foreign_is_not_listed(s: S) -> Outcome {
    let (foreign, owner, image) = s.foreign()?;
    let theirs = s.spec_for(owner, image, &["theirs"]);
    foreign.deploy(&Context::new(), &theirs).await?.into_nodes()?;
    s.expect_none().await?;
    s.node("ours").await?;
    expect_eq(s.names().await?, vec!["ours"], "names listed")?;
    let listed = foreign.list(&Context::new(), &ListFilter::all()).await?;
    let names: Vec<_> = listed.into_iter().map(|node| node.name).collect();
    expect_eq(names, vec!["theirs"], "names listed in the other namespace")
}

async fn foreign_is_not_found(s: S) -> Outcome {
    let (ctx, (foreign, owner, image)) = (Context::new(), s.foreign()?);
    let spec = s.spec_for(owner, image, &["theirs"]);
    let theirs = foreign.deploy(&ctx, &spec).await?.into_nodes()?.swap_remove(0);
    expect_err(s.get(&theirs).await, ErrorKind::NotFound, "get of a foreign node")?;
    expect_err(s.destroy(&theirs).await, ErrorKind::NotFound, "destroy of a foreign node")?;
    let after = foreign.get(&ctx, &theirs.id).await?;
    expect_eq(after.status, NodeStatus::Running, "the foreign node's status afterwards")
}

async fn foreign_names_do_not_collide(s: S) -> Outcome {
    let (foreign, owner, image) = s.foreign()?;
    let spec = s.spec_for(owner, image, &["web"]);
    let theirs = foreign.deploy(&Context::new(), &spec).await?.into_nodes()?.swap_remove(0);
    let ours = s.node("web").await?;
    ensure(ours.id != theirs.id, "two namespaces share a node")
}
