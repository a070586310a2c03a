//! Builds that are cancelled, late, dropped, or half done.

use std::sync::Arc;
use std::time::Duration;

use super::super::subject::{
    INTERRUPTIONS, Interruption, dropped_after, ended_contexts, lost, unless,
};
use super::super::{Fixture, Outcome, SuiteOn, ensure, expect_eq, expect_err};
use super::{Subject, SuiteOptions};
use crate::image_builder::ImageStatus;
use crate::{Context, ErrorKind, Operation};

type S = Arc<Subject>;

pub(super) fn cases<F: Fixture<Subject = Subject>>(
    on: SuiteOn<F>,
    why: &SuiteOptions,
) -> SuiteOn<F> {
    let faults = unless(why.faults, "no fault injection");
    on.case("ended_context_has_no_effect", ended_context_has_no_effect)
        .case("cancelled_build_is_finished_by_the_next", |s| {
            interrupted_build(s, Interruption::Cancelled)
        })
        .case("late_build_is_finished_by_the_next", |s| interrupted_build(s, Interruption::Late))
        .case("dropped_build_is_finished_by_the_next", dropped_build)
        .case_unless(faults, "hanging_build_ends_when_cancelled", |s| {
            hanging_build(s, Interruption::Cancelled)
        })
        .case_unless(faults, "hanging_build_ends_at_the_deadline", |s| {
            hanging_build(s, Interruption::Late)
        })
        .case_unless(faults, "build_with_a_lost_reply_makes_one", build_with_a_lost_reply)
        .case_unless(faults, "half_made_image_is_finished_by_a_second_build", half_made)
        .case_unless(faults, "half_made_image_can_be_deleted", half_made_can_be_deleted)
        .case_unless(faults, "delete_with_a_lost_reply_deletes", delete_with_a_lost_reply)
}

async fn ended_context_has_no_effect(s: S) -> Outcome {
    let (kept, spec) = (s.build("kept", "1").await?, s.spec("web", "1"));
    for (ctx, kind) in ended_contexts() {
        expect_err(s.builder.build(&ctx, &spec).await, kind, "build")?;
        expect_err(s.builder.delete(&ctx, &kept.id).await, kind, "delete")?;
    }
    s.expect_only(&kept).await
}

async fn interrupted_build(s: S, how: Interruption) -> Outcome {
    for (n, after) in INTERRUPTIONS.into_iter().enumerate() {
        let spec = s.spec(&format!("web-{n}"), "1");
        let call = |ctx| {
            let (s, spec) = (&s, &spec);
            async move { s.builder.build(&ctx, spec).await }
        };
        how.survive(after, call).await?;
        s.expect_finished(&spec).await?;
    }
    Ok(())
}

async fn dropped_build(s: S) -> Outcome {
    for (n, after) in INTERRUPTIONS.into_iter().enumerate() {
        let spec = s.spec(&format!("web-{n}"), "1");
        dropped_after(after, s.builder.build(&Context::new(), &spec)).await;
        s.expect_finished(&spec).await?;
    }
    Ok(())
}

async fn hanging_build(s: S, how: Interruption) -> Outcome {
    s.faults()?.hang(Operation::ImageBuild);
    let spec = s.spec("web", "1");
    let call = |ctx| {
        let (s, spec) = (&s, &spec);
        async move { s.builder.build(&ctx, spec).await }
    };
    let ended = how.interrupt(Duration::from_millis(50), call).await?;
    expect_err(ended, how.kind(), "a build that hangs and is interrupted")?;
    s.expect_finished(&spec).await
}

async fn build_with_a_lost_reply(s: S) -> Outcome {
    let spec = s.spec("web", "1");
    s.faults()?.lose_reply(Operation::ImageBuild);
    if let Some(error) = lost(s.builder.build(&Context::new(), &spec).await) {
        ensure(error.is_retryable(), format!("the lost reply is not retryable: {error}"))?;
        expect_eq(s.list().await?.len(), 1, "images after the lost reply")?;
    }
    s.expect_finished(&spec).await
}

async fn half_made(s: S) -> Outcome {
    let spec = s.spec("web", "1");
    s.faults()?.fail_half_way(Operation::ImageBuild);
    if let Some(error) = lost(s.builder.build(&Context::new(), &spec).await) {
        let left = s.list().await?;
        expect_eq(left.len(), 1, "images listed after half a build")?;
        expect_eq(&left[0].owner, &spec.owner, "the half-made image's owner")?;
        ensure(left[0].status != ImageStatus::Ready, "a half-made image claims to be ready")?;
        let named = error.context_value("image");
        ensure(named.is_none_or(|id| id == left[0].id.as_str()), "the error names another image")?;
    }
    s.expect_finished(&spec).await
}

async fn half_made_can_be_deleted(s: S) -> Outcome {
    s.faults()?.fail_half_way(Operation::ImageBuild);
    let _left_or_finished = s.build("web", "1").await;
    for image in s.list().await? {
        s.delete(&image).await?;
    }
    s.expect_none().await?;
    let again = s.build("web", "1").await?;
    s.expect_only(&again).await
}

async fn delete_with_a_lost_reply(s: S) -> Outcome {
    let image = s.build("web", "1").await?;
    s.faults()?.lose_reply(Operation::ImageDelete);
    if lost(s.delete(&image).await).is_some() {
        expect_err(s.delete(&image).await, ErrorKind::NotFound, "the second delete")?;
    }
    s.expect_none().await
}
