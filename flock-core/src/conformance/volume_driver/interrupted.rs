//! Calls that are cancelled, late, dropped, or half done.

use std::sync::Arc;
use std::time::Duration;

use super::super::subject::{INTERRUPTIONS, Interruption, dropped_after, ended_contexts, lost};
use super::super::{Fixture, Outcome, SuiteOn, ensure, expect_eq, expect_err};
use super::{Reasons, Subject};
use crate::volume_driver::{AttachOptions, VolumeSpec, VolumeStatus};
use crate::{Context, ErrorKind, Operation};

type S = Arc<Subject>;

pub(super) fn cases<F: Fixture<Subject = Subject>>(on: SuiteOn<F>, why: &Reasons) -> SuiteOn<F> {
    let (one, faults) = (why.nodes(1), why.faults());
    let at_node = faults.or(one);
    on.case("ended_context_has_no_effect", ended_context_has_no_effect)
        .case_unless(one, "attach_with_an_ended_context_has_no_effect", attach_when_ended)
        .case("cancelled_create_is_finished_by_the_next", |s| {
            interrupted_create(s, Interruption::Cancelled)
        })
        .case("late_create_is_finished_by_the_next", |s| interrupted_create(s, Interruption::Late))
        .case("dropped_create_is_finished_by_the_next", dropped_create)
        .case_unless(one, "cancelled_attach_is_finished_by_the_next", cancelled_attach)
        .case("cancelled_destroy_is_finished_by_the_next", cancelled_destroy)
        .case_unless(faults, "hanging_call_ends_when_cancelled", |s| {
            hanging_call(s, Interruption::Cancelled)
        })
        .case_unless(faults, "hanging_call_ends_at_the_deadline", |s| {
            hanging_call(s, Interruption::Late)
        })
        .case_unless(faults, "create_with_a_lost_reply_makes_one", create_with_a_lost_reply)
        .case_unless(faults, "half_made_volume_is_finished_by_a_second_create", half_made)
        .case_unless(faults, "half_made_volume_can_be_destroyed", half_made_can_be_destroyed)
        .case_unless(faults, "half_destroyed_volume_is_gone_after_the_second", half_destroyed)
        .case_unless(at_node, "attach_with_a_lost_reply_attaches_once", attach_with_a_lost_reply)
        .case_unless(faults, "destroy_with_a_lost_reply_destroys", destroy_with_a_lost_reply)
}

impl Subject {
    /// Fails unless a second call with the same spec gives a ready volume that
    /// is the request's only one, whatever the first has left.
    async fn expect_finished(&self, spec: &VolumeSpec) -> Outcome {
        let volume = self.driver.create(&Context::new(), spec).await?;
        expect_eq(volume.status, VolumeStatus::Ready, "the status after the second call")?;
        let named = self.list().await?.into_iter().filter(|volume| volume.name == spec.name);
        expect_eq(named.collect::<Vec<_>>(), vec![volume], "volumes of that name")
    }
}

async fn ended_context_has_no_effect(s: S) -> Outcome {
    let (kept, spec) = (s.create("kept").await?, s.spec("data")?);
    for (ctx, kind) in ended_contexts() {
        expect_err(s.driver.create(&ctx, &spec).await, kind, "create")?;
        expect_err(s.driver.destroy(&ctx, &kept.id).await, kind, "destroy")?;
    }
    s.expect_only(&kept).await
}

async fn attach_when_ended(s: S) -> Outcome {
    let (volume, options) = (s.create("data").await?, AttachOptions::default());
    for (ctx, kind) in ended_contexts() {
        let attached = s.driver.attach(&ctx, &volume.id, s.node()?, &options).await;
        expect_err(attached, kind, "attach")?;
    }
    s.expect_attached(&volume, &[]).await
}

async fn interrupted_create(s: S, how: Interruption) -> Outcome {
    for (n, after) in INTERRUPTIONS.into_iter().enumerate() {
        let spec = s.spec(&format!("data-{n}"))?;
        let call = |ctx| {
            let spec = &spec;
            let s = &s;
            async move { s.driver.create(&ctx, spec).await }
        };
        how.survive(after, call).await?;
        s.expect_finished(&spec).await?;
    }
    Ok(())
}

async fn dropped_create(s: S) -> Outcome {
    for (n, after) in INTERRUPTIONS.into_iter().enumerate() {
        let spec = s.spec(&format!("data-{n}"))?;
        dropped_after(after, s.driver.create(&Context::new(), &spec)).await;
        s.expect_finished(&spec).await?;
    }
    Ok(())
}

async fn cancelled_attach(s: S) -> Outcome {
    let (volume, node, options) = (s.create("data").await?, s.node()?, AttachOptions::default());
    for after in INTERRUPTIONS {
        let call = |ctx| {
            let (s, volume, options) = (&s, &volume, &options);
            async move { s.driver.attach(&ctx, &volume.id, node, options).await }
        };
        Interruption::Cancelled.survive(after, call).await?;
        s.attach(&volume, node).await?;
        s.expect_attached(&volume, &[node]).await?;
        s.detach(&volume, node).await?;
    }
    Ok(())
}

async fn cancelled_destroy(s: S) -> Outcome {
    for after in INTERRUPTIONS {
        let volume = s.create("data").await?;
        let call = |ctx| {
            let (s, volume) = (&s, &volume);
            async move { s.driver.destroy(&ctx, &volume.id).await }
        };
        Interruption::Cancelled.survive(after, call).await?;
        match s.destroy(&volume).await {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => s.expect_none().await?,
        }
    }
    Ok(())
}

async fn hanging_call(s: S, how: Interruption) -> Outcome {
    s.faults()?.hang(Operation::VolumeCreate);
    let spec = s.spec("data")?;
    let call = |ctx| {
        let (s, spec) = (&s, &spec);
        async move { s.driver.create(&ctx, spec).await }
    };
    let ended = how.interrupt(Duration::from_millis(50), call).await?;
    expect_err(ended, how.kind(), "a call that hangs and is interrupted")?;
    s.expect_finished(&spec).await
}

async fn create_with_a_lost_reply(s: S) -> Outcome {
    let spec = s.spec("data")?;
    s.faults()?.lose_reply(Operation::VolumeCreate);
    if let Some(error) = lost(s.driver.create(&Context::new(), &spec).await) {
        ensure(error.is_retryable(), format!("the lost reply is not retryable: {error}"))?;
        expect_eq(s.list().await?.len(), 1, "volumes after the lost reply")?;
    }
    s.expect_finished(&spec).await
}

async fn half_made(s: S) -> Outcome {
    let spec = s.spec("data")?;
    s.faults()?.fail_half_way(Operation::VolumeCreate);
    if lost(s.driver.create(&Context::new(), &spec).await).is_some() {
        let left = s.list().await?;
        expect_eq(left.len(), 1, "volumes listed after half a create")?;
        expect_eq(&left[0].owner, &spec.owner, "the half-made volume's owner")?;
        ensure(left[0].status != VolumeStatus::Ready, "a half-made volume claims to be ready")?;
    }
    s.expect_finished(&spec).await
}

async fn half_made_can_be_destroyed(s: S) -> Outcome {
    s.faults()?.fail_half_way(Operation::VolumeCreate);
    let _left_or_finished = s.create("data").await;
    for volume in s.list().await? {
        s.destroy(&volume).await?;
    }
    s.expect_none().await?;
    let again = s.create("data").await?;
    s.expect_only(&again).await
}

async fn half_destroyed(s: S) -> Outcome {
    let volume = s.create("data").await?;
    s.faults()?.fail_half_way(Operation::VolumeDestroy);
    if lost(s.destroy(&volume).await).is_some() {
        let left = s.get(&volume).await?;
        ensure(left.status != VolumeStatus::Ready, "a half-destroyed volume claims to be ready")?;
        s.destroy(&volume).await?;
    }
    s.expect_none().await
}

async fn attach_with_a_lost_reply(s: S) -> Outcome {
    let (volume, node) = (s.create("data").await?, s.node()?);
    s.faults()?.lose_reply(Operation::VolumeAttach);
    let _lost_or_made_up_for = s.attach(&volume, node).await;
    s.expect_attached(&volume, &[node]).await?;
    s.attach(&volume, node).await?;
    s.expect_attached(&volume, &[node]).await
}

async fn destroy_with_a_lost_reply(s: S) -> Outcome {
    let volume = s.create("data").await?;
    s.faults()?.lose_reply(Operation::VolumeDestroy);
    if lost(s.destroy(&volume).await).is_some() {
        expect_err(s.destroy(&volume).await, ErrorKind::NotFound, "the second destroy")?;
    }
    s.expect_none().await
}
