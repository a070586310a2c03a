//! Sizes: bounds, rounding, resizing.

use std::sync::Arc;

use super::super::subject::unless;
use super::super::{Fixture, Outcome, SuiteOn, expect_eq, expect_err};
use super::{Reasons, Subject};
use crate::volume_driver::VolumeSpec;
use crate::{Context, ErrorKind};

type S = Arc<Subject>;

pub(super) fn cases<F: Fixture<Subject = Subject>>(on: SuiteOn<F>, why: &Reasons) -> SuiteOn<F> {
    let can = &why.options.capabilities;
    let rounds = unless(can.size_unit > 1, "does not round sizes");
    let bounded =
        unless(can.max_size.is_some_and(|max| max < u64::MAX), "does not tell its largest size");
    let grows = unless(can.grow, "volumes cannot grow");
    let shrinks = unless(can.shrink, "volumes cannot shrink");
    let any = grows.and(shrinks);
    let attached = any.or(why.nodes(1)).or(grows);
    let detached_only = attached.or(can.resize_attached.then_some("resizes attached volumes"));
    let in_use = attached.or(unless(can.resize_attached, "resizes detached volumes only"));
    let mut on = on
        .case("size_of_nothing_is_refused", size_of_nothing_is_refused)
        .case("smallest_size_is_given", smallest_size_is_given)
        .case_unless(rounds, "size_is_rounded_up", size_is_rounded_up)
        .case_unless(bounded, "size_above_the_largest_is_refused", size_above_the_largest)
        .case_unless(grows, "grow_shows", grow_shows)
        .case_unless(shrinks, "shrink_shows", shrink_shows)
        .case("resize_to_its_own_size_changes_nothing", resize_to_its_own_size)
        .case_unless(any, "resize_unknown_is_not_found", resize_unknown_is_not_found)
        .case_unless(any, "resize_to_nothing_is_refused", resize_to_nothing_is_refused)
        .case_unless(in_use, "resize_attached_shows", resize_attached_shows)
        .case_unless(detached_only, "resize_attached_is_a_conflict", resize_attached_conflict);
    if !can.grow {
        on = on.case("grow_is_unsupported", grow_is_unsupported);
    }
    if !can.shrink {
        on = on.case("shrink_is_unsupported", shrink_is_unsupported);
    }
    on
}

async fn size_of_nothing_is_refused(s: S) -> Outcome {
    let spec = VolumeSpec::new(s.owner(), "data", 0);
    let refused = s.driver.create(&Context::new(), &spec).await;
    expect_err(refused, ErrorKind::InvalidConfig, "create of no bytes")?;
    s.expect_none().await
}

async fn smallest_size_is_given(s: S) -> Outcome {
    let volume = s.create("data").await?;
    expect_eq(volume.size, s.size()?, "the size of the smallest volume")
}

async fn size_is_rounded_up(s: S) -> Outcome {
    let spec = VolumeSpec::new(s.owner(), "data", s.size()? + 1);
    let volume = s.driver.create(&Context::new(), &spec).await?;
    expect_eq(volume.size, s.larger()?, "the size of a volume one byte larger than the smallest")
}

async fn size_above_the_largest(s: S) -> Outcome {
    let max = s.driver.capabilities().max_size.unwrap_or(u64::MAX - 1);
    let spec = VolumeSpec::new(s.owner(), "data", max + 1);
    let refused = s.driver.create(&Context::new(), &spec).await;
    expect_err(refused, ErrorKind::InvalidConfig, "create of more than the largest size")?;
    s.expect_none().await
}

async fn grow_shows(s: S) -> Outcome {
    let (volume, larger) = (s.create("data").await?, s.larger()?);
    let grown = s.driver.resize(&Context::new(), &volume.id, larger).await?;
    expect_eq((&grown.id, grown.size), (&volume.id, larger), "the answer")?;
    expect_eq(s.get(&volume).await?, grown, "what get says")
}

async fn shrink_shows(s: S) -> Outcome {
    let spec = VolumeSpec::new(s.owner(), "data", s.larger()?);
    let volume = s.driver.create(&Context::new(), &spec).await?;
    let shrunk = s.driver.resize(&Context::new(), &volume.id, s.size()?).await?;
    expect_eq(shrunk.size, s.size()?, "the size answered")?;
    expect_eq(s.get(&volume).await?, shrunk, "what get says")
}

async fn resize_to_its_own_size(s: S) -> Outcome {
    let volume = s.create("data").await?;
    let same = s.driver.resize(&Context::new(), &volume.id, volume.size).await?;
    expect_eq(same, volume, "a volume resized to its own size")
}

async fn resize_unknown_is_not_found(s: S) -> Outcome {
    let refused = s.driver.resize(&Context::new(), &s.unknown, s.larger()?).await;
    expect_err(refused, ErrorKind::NotFound, "resize of an unknown volume").map(drop)
}

async fn resize_to_nothing_is_refused(s: S) -> Outcome {
    let volume = s.create("data").await?;
    let refused = s.driver.resize(&Context::new(), &volume.id, 0).await;
    expect_err(refused, ErrorKind::InvalidConfig, "resize to no bytes")?;
    expect_eq(s.get(&volume).await?, volume, "the volume afterwards")
}

async fn resize_attached_shows(s: S) -> Outcome {
    let (volume, node, larger) = (s.create("data").await?, s.node()?, s.larger()?);
    s.attach(&volume, node).await?;
    let grown = s.driver.resize(&Context::new(), &volume.id, larger).await?;
    expect_eq(grown.size, larger, "the size answered")?;
    s.expect_attached(&volume, &[node]).await
}

async fn resize_attached_conflict(s: S) -> Outcome {
    let (volume, node) = (s.create("data").await?, s.node()?);
    s.attach(&volume, node).await?;
    let refused = s.driver.resize(&Context::new(), &volume.id, s.larger()?).await;
    expect_err(refused, ErrorKind::Conflict, "resize of an attached volume")?;
    expect_eq(s.get(&volume).await?.size, volume.size, "the size afterwards")
}

async fn grow_is_unsupported(s: S) -> Outcome {
    let volume = s.create("data").await?;
    let refused = s.driver.resize(&Context::new(), &volume.id, s.larger()?).await;
    expect_err(refused, ErrorKind::Unsupported, "grow")?;
    expect_eq(s.get(&volume).await?, volume, "the volume afterwards")
}

async fn shrink_is_unsupported(s: S) -> Outcome {
    let spec = VolumeSpec::new(s.owner(), "data", s.larger()?);
    let volume = s.driver.create(&Context::new(), &spec).await?;
    let refused = s.driver.resize(&Context::new(), &volume.id, s.size()?).await;
    expect_err(refused, ErrorKind::Unsupported, "shrink")?;
    expect_eq(s.get(&volume).await?, volume, "the volume afterwards")
}
