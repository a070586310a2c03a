//! What was written stays.

use std::sync::Arc;

use super::super::subject::unless;
use super::super::{Fixture, Outcome, SuiteOn, ensure, expect_eq};
use super::{Reasons, Subject};
use crate::Context;
use crate::volume_driver::AttachOptions;

type S = Arc<Subject>;

pub(super) fn cases<F: Fixture<Subject = Subject>>(on: SuiteOn<F>, why: &Reasons) -> SuiteOn<F> {
    let can = &why.options.capabilities;
    let data = why.data();
    let two = data.or(why.nodes(2));
    let over = two
        .or(unless(can.take_over, "cannot take over"))
        .or(can.attach_many.then_some("attaches to many nodes"));
    let read = data.or(unless(can.read_only, "cannot attach for reading only"));
    let grows = data.or(unless(can.grow, "volumes cannot grow"));
    let restores =
        data.or(unless(can.snapshots && can.restore, "volumes are not made from snapshots"));
    on.case_unless(data, "data_survives_reattach", data_survives_reattach)
        .case_unless(two, "data_follows_to_another_node", data_follows_to_another_node)
        .case_unless(over, "data_survives_take_over", data_survives_take_over)
        .case_unless(data, "data_survives_a_repeated_create", data_survives_a_repeated_create)
        .case_unless(grows, "data_survives_growing", data_survives_growing)
        .case_unless(read, "read_only_cannot_be_written", read_only_cannot_be_written)
        .case_unless(restores, "snapshot_keeps_the_data_of_its_time", snapshot_keeps_the_data)
}

async fn data_survives_reattach(s: S) -> Outcome {
    let (volume, node, data) = (s.create("data").await?, s.node()?, s.data()?);
    s.attach(&volume, node).await?;
    ensure(data.read(&volume.id, node).await?.is_empty(), "a new volume has data")?;
    data.write(&volume.id, node, b"kept").await?;
    s.detach(&volume, node).await?;
    s.attach(&volume, node).await?;
    expect_eq(data.read(&volume.id, node).await?, b"kept".to_vec(), "data after reattaching")
}

async fn data_follows_to_another_node(s: S) -> Outcome {
    let (volume, from, to) = (s.create("data").await?, s.node()?, s.other_node()?);
    s.attach(&volume, from).await?;
    s.data()?.write(&volume.id, from, b"kept").await?;
    s.detach(&volume, from).await?;
    s.attach(&volume, to).await?;
    expect_eq(s.data()?.read(&volume.id, to).await?, b"kept".to_vec(), "data on the other node")
}

async fn data_survives_take_over(s: S) -> Outcome {
    let (volume, from, to) = (s.create("data").await?, s.node()?, s.other_node()?);
    s.attach(&volume, from).await?;
    s.data()?.write(&volume.id, from, b"kept").await?;
    let options = AttachOptions::default().with_take_over(true);
    s.driver.attach(&Context::new(), &volume.id, to, &options).await?;
    expect_eq(s.data()?.read(&volume.id, to).await?, b"kept".to_vec(), "data taken over")?;
    let late = s.data()?.write(&volume.id, from, b"late").await;
    ensure(late.is_err(), "the node that lost the volume can still write to it")
}

async fn data_survives_a_repeated_create(s: S) -> Outcome {
    let (ctx, spec, node) = (Context::new(), s.spec("data")?, s.node()?);
    let volume = s.driver.create(&ctx, &spec).await?;
    s.attach(&volume, node).await?;
    s.data()?.write(&volume.id, node, b"kept").await?;
    s.driver.create(&ctx, &spec).await?;
    expect_eq(s.data()?.read(&volume.id, node).await?, b"kept".to_vec(), "data afterwards")
}

async fn data_survives_growing(s: S) -> Outcome {
    let (volume, node) = (s.create("data").await?, s.node()?);
    s.attach(&volume, node).await?;
    s.data()?.write(&volume.id, node, b"kept").await?;
    s.detach(&volume, node).await?;
    s.driver.resize(&Context::new(), &volume.id, s.larger()?).await?;
    s.attach(&volume, node).await?;
    expect_eq(s.data()?.read(&volume.id, node).await?, b"kept".to_vec(), "data afterwards")
}

async fn read_only_cannot_be_written(s: S) -> Outcome {
    let (volume, node) = (s.create("data").await?, s.node()?);
    let options = AttachOptions::default().with_read_only(true);
    s.driver.attach(&Context::new(), &volume.id, node, &options).await?;
    let written = s.data()?.write(&volume.id, node, b"x").await;
    ensure(written.is_err(), "a volume attached for reading only was written")
}

async fn snapshot_keeps_the_data(s: S) -> Outcome {
    let (volume, node, data) = (s.create("data").await?, s.node()?, s.data()?);
    s.attach(&volume, node).await?;
    data.write(&volume.id, node, b"old").await?;
    let snapshot = s.snapshot(&volume, "monday").await?;
    data.write(&volume.id, node, b"new").await?;
    s.detach(&volume, node).await?;
    let mut spec = s.spec("copy")?;
    spec.source = Some(snapshot.id);
    let copy = s.driver.create(&Context::new(), &spec).await?;
    s.attach(&copy, node).await?;
    expect_eq(data.read(&copy.id, node).await?, b"old".to_vec(), "data of the snapshot")
}
