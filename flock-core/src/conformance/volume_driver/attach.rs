//! Bringing volumes to nodes and taking them away.

use std::sync::Arc;

use super::super::subject::unless;
use super::super::{Fixture, Outcome, SuiteOn, ensure, expect_eq, expect_err, expect_some};
use super::{Reasons, Subject};
use crate::volume_driver::AttachOptions;
use crate::{Context, ErrorKind};

type S = Arc<Subject>;

pub(super) fn cases<F: Fixture<Subject = Subject>>(on: SuiteOn<F>, why: &Reasons) -> SuiteOn<F> {
    let can = &why.options.capabilities;
    let (one, two) = (why.nodes(1), why.nodes(2));
    let single = two.or(can.attach_many.then_some("attaches to many nodes"));
    let many = two.or(unless(can.attach_many, "attaches to one node only"));
    let over = single.or(unless(can.take_over, "cannot take over"));
    let read = one.or(unless(can.read_only, "cannot attach for reading only"));
    let mut on = on
        .case_unless(one, "attach_shows_where_it_is", attach_shows_where_it_is)
        .case_unless(one, "attach_twice_is_the_same_attachment", attach_twice)
        .case_unless(one, "reattach_works", reattach_works)
        .case_unless(one, "attach_unknown_volume_is_not_found", attach_unknown)
        .case("attach_to_unknown_node_is_not_found", attach_to_unknown_node)
        .case_unless(one, "detach_removes_the_attachment", detach_removes_the_attachment)
        .case_unless(one, "detach_twice_is_not_found", detach_twice_is_not_found)
        .case_unless(one, "detach_unknown_volume_is_not_found", detach_unknown)
        .case_unless(one, "destroy_attached_is_a_conflict", destroy_attached_is_a_conflict)
        .case_unless(one, "devices_of_a_node_differ", devices_of_a_node_differ)
        .case_unless(two, "detach_from_another_node_is_not_found", detach_from_another_node)
        .case_unless(two, "moves_from_node_to_node", moves_from_node_to_node)
        .case_unless(single, "attach_elsewhere_is_a_conflict", attach_elsewhere_is_a_conflict)
        .case_unless(many, "attach_many_shows_every_node", attach_many_shows_every_node)
        .case_unless(over, "take_over_moves_it", take_over_moves_it)
        .case_unless(read, "read_only_shows", read_only_shows)
        .case_unless(read, "other_mode_is_a_conflict", other_mode_is_a_conflict);
    if !can.take_over {
        on = on.case_unless(one, "take_over_is_unsupported", take_over_is_unsupported);
    }
    if !can.read_only {
        on = on.case_unless(one, "read_only_is_unsupported", read_only_is_unsupported);
    }
    on
}

async fn attach_shows_where_it_is(s: S) -> Outcome {
    let (volume, node) = (s.create("data").await?, s.node()?);
    let attachment = s.attach(&volume, node).await?;
    expect_eq(&attachment.node, node, "the attachment's node")?;
    ensure(!attachment.read_only, "attached for reading only without being asked")?;
    expect_eq(s.get(&volume).await?.attachments, vec![attachment.clone()], "what get says")?;
    expect_eq(s.list().await?[0].attachments.clone(), vec![attachment], "what list says")
}

async fn attach_twice(s: S) -> Outcome {
    let (volume, node) = (s.create("data").await?, s.node()?);
    let first = s.attach(&volume, node).await?;
    expect_eq(s.attach(&volume, node).await?, first, "the second answer")?;
    s.expect_attached(&volume, &[node]).await
}

async fn reattach_works(s: S) -> Outcome {
    let (volume, node) = (s.create("data").await?, s.node()?);
    for _ in 0..3 {
        s.attach(&volume, node).await?;
        s.expect_attached(&volume, &[node]).await?;
        s.detach(&volume, node).await?;
    }
    s.expect_attached(&volume, &[]).await
}

async fn attach_unknown(s: S) -> Outcome {
    let (ctx, options) = (Context::new(), AttachOptions::default());
    let attached = s.driver.attach(&ctx, &s.unknown, s.node()?, &options).await;
    expect_err(attached, ErrorKind::NotFound, "attach of an unknown volume").map(drop)
}

async fn attach_to_unknown_node(s: S) -> Outcome {
    let volume = s.create("data").await?;
    let attached = s.attach(&volume, &s.unknown_node).await;
    expect_err(attached, ErrorKind::NotFound, "attach to an unknown node")?;
    s.expect_attached(&volume, &[]).await
}

async fn detach_removes_the_attachment(s: S) -> Outcome {
    let (volume, node) = (s.create("data").await?, s.node()?);
    s.attach(&volume, node).await?;
    s.detach(&volume, node).await?;
    expect_eq(s.get(&volume).await?, volume, "the volume afterwards")
}

async fn detach_twice_is_not_found(s: S) -> Outcome {
    let (volume, node) = (s.create("data").await?, s.node()?);
    let early = s.detach(&volume, node).await;
    expect_err(early, ErrorKind::NotFound, "detach of what was never attached")?;
    s.attach(&volume, node).await?;
    s.detach(&volume, node).await?;
    expect_err(s.detach(&volume, node).await, ErrorKind::NotFound, "the second detach").map(drop)
}

async fn detach_unknown(s: S) -> Outcome {
    let detached = s.driver.detach(&Context::new(), &s.unknown, s.node()?).await;
    expect_err(detached, ErrorKind::NotFound, "detach of an unknown volume").map(drop)
}

async fn destroy_attached_is_a_conflict(s: S) -> Outcome {
    let (volume, node) = (s.create("data").await?, s.node()?);
    s.attach(&volume, node).await?;
    let refused = s.destroy(&volume).await;
    expect_err(refused, ErrorKind::Conflict, "destroy of an attached volume")?;
    s.expect_attached(&volume, &[node]).await?;
    s.detach(&volume, node).await?;
    s.destroy(&volume).await?;
    s.expect_none().await
}

async fn devices_of_a_node_differ(s: S) -> Outcome {
    if s.driver.capabilities().max_per_node.is_some_and(|most| most < 2) {
        return Ok(());
    }
    let (a, b, node) = (s.create("a").await?, s.create("b").await?, s.node()?);
    let (a, b) = (s.attach(&a, node).await?, s.attach(&b, node).await?);
    ensure(a.device.is_none() || a.device != b.device, "two volumes are one device")?;
    ensure(a.path.is_none() || a.path != b.path, "two volumes are at one path")
}

async fn detach_from_another_node(s: S) -> Outcome {
    let (volume, node) = (s.create("data").await?, s.node()?);
    s.attach(&volume, node).await?;
    let refused = s.detach(&volume, s.other_node()?).await;
    expect_err(refused, ErrorKind::NotFound, "detach from a node that does not have it")?;
    s.expect_attached(&volume, &[node]).await
}

async fn moves_from_node_to_node(s: S) -> Outcome {
    let (volume, from, to) = (s.create("data").await?, s.node()?, s.other_node()?);
    s.attach(&volume, from).await?;
    s.detach(&volume, from).await?;
    s.attach(&volume, to).await?;
    s.expect_attached(&volume, &[to]).await
}

async fn attach_elsewhere_is_a_conflict(s: S) -> Outcome {
    let (volume, node) = (s.create("data").await?, s.node()?);
    s.attach(&volume, node).await?;
    let refused = s.attach(&volume, s.other_node()?).await;
    expect_err(refused, ErrorKind::Conflict, "attach to a second node")?;
    s.expect_attached(&volume, &[node]).await
}

async fn attach_many_shows_every_node(s: S) -> Outcome {
    let (volume, one, two) = (s.create("data").await?, s.node()?, s.other_node()?);
    s.attach(&volume, one).await?;
    s.attach(&volume, two).await?;
    s.expect_attached(&volume, &[one, two]).await?;
    s.detach(&volume, one).await?;
    s.expect_attached(&volume, &[two]).await
}

async fn take_over_moves_it(s: S) -> Outcome {
    let (volume, from, to) = (s.create("data").await?, s.node()?, s.other_node()?);
    let options = AttachOptions::default().with_take_over(true);
    let free = s.driver.attach(&Context::new(), &volume.id, from, &options).await?;
    expect_eq(&free.node, from, "the node that takes a free volume")?;
    s.driver.attach(&Context::new(), &volume.id, to, &options).await?;
    s.expect_attached(&volume, &[to]).await
}

async fn read_only_shows(s: S) -> Outcome {
    let (volume, options) =
        (s.create("data").await?, AttachOptions::default().with_read_only(true));
    let attached = s.driver.attach(&Context::new(), &volume.id, s.node()?, &options).await?;
    ensure(attached.read_only, "the attachment is not for reading only")?;
    let found = s.get(&volume).await?.attachments.pop();
    ensure(expect_some(found, "the attachment")?.read_only, "get does not say so")
}

async fn other_mode_is_a_conflict(s: S) -> Outcome {
    let (volume, node) = (s.create("data").await?, s.node()?);
    s.attach(&volume, node).await?;
    let options = AttachOptions::default().with_read_only(true);
    let refused = s.driver.attach(&Context::new(), &volume.id, node, &options).await;
    expect_err(refused, ErrorKind::Conflict, "attach in the other mode")?;
    let attachments = s.get(&volume).await?.attachments;
    ensure(attachments.len() == 1 && !attachments[0].read_only, "the attachment has changed")
}

async fn take_over_is_unsupported(s: S) -> Outcome {
    refused_without_effect(&s, AttachOptions::default().with_take_over(true)).await
}

async fn read_only_is_unsupported(s: S) -> Outcome {
    refused_without_effect(&s, AttachOptions::default().with_read_only(true)).await
}

async fn refused_without_effect(s: &Subject, options: AttachOptions) -> Outcome {
    let volume = s.create("data").await?;
    let refused = s.driver.attach(&Context::new(), &volume.id, s.node()?, &options).await;
    expect_err(refused, ErrorKind::Unsupported, "attach with options that are excluded")?;
    s.expect_attached(&volume, &[]).await
}
