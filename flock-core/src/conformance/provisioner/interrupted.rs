//! Deploys that are cancelled, late, dropped, or half done.

use std::sync::Arc;
use std::time::Duration;

use super::super::subject::{
    INTERRUPTIONS, Interruption, dropped_after, ended_contexts, lost, unless,
};
use super::super::{Failure, Fixture, Outcome, SuiteOn, ensure, expect_eq, expect_err};
use super::{Subject, SuiteOptions};
use crate::provisioner::{DeploySpec, Deployment, NodeStatus};
use crate::{Context, ErrorKind, Operation, Result};

type S = Arc<Subject>;

pub(super) fn cases<F: Fixture<Subject = Subject>>(
    on: SuiteOn<F>,
    why: &SuiteOptions,
) -> SuiteOn<F> {
    let faults = unless(why.faults, "no fault injection");
    on.case("ended_context_has_no_effect", ended_context_has_no_effect)
        .case("cancelled_deploy_is_finished_by_the_next", |s| {
            interrupted_deploy(s, Interruption::Cancelled)
        })
        .case("late_deploy_is_finished_by_the_next", |s| interrupted_deploy(s, Interruption::Late))
        .case("dropped_deploy_is_finished_by_the_next", dropped_deploy)
        .case_unless(faults, "hanging_node_ends_when_cancelled", |s| {
            hanging_node(s, Interruption::Cancelled)
        })
        .case_unless(faults, "hanging_node_ends_at_the_deadline", |s| {
            hanging_node(s, Interruption::Late)
        })
        .case_unless(faults, "deploy_with_a_lost_reply_makes_one", deploy_with_a_lost_reply)
        .case_unless(faults, "node_with_a_lost_reply_is_made_once", node_with_a_lost_reply)
        .case_unless(faults, "half_made_node_is_finished_by_a_second_deploy", half_made)
        .case_unless(faults, "half_made_node_can_be_destroyed", half_made_can_be_destroyed)
        .case_unless(faults, "half_destroyed_node_is_gone_after_the_second", half_destroyed)
        .case_unless(faults, "destroy_with_a_lost_reply_destroys", destroy_with_a_lost_reply)
}

/// Fails unless a deploy that was interrupted answers for every name, with
/// nodes or with errors that say how it ended.
fn expect_every_name(result: &Result<Deployment>, spec: &DeploySpec, kind: ErrorKind) -> Outcome {
    let deployment = match result {
        Ok(deployment) => deployment,
        Err(error) if error.kind() == kind => return Ok(()),
        Err(error) => return Err(Failure::from(error.clone()).context("an interrupted deploy")),
    };
    let names: Vec<_> = deployment.nodes.iter().map(|outcome| &outcome.name).collect();
    expect_eq(names, spec.names.iter().collect::<Vec<_>>(), "outcomes of an interrupted deploy")?;
    for (outcome, error) in deployment.failed() {
        let what = format!("the outcome of '{}', which is '{error}'", outcome.name);
        expect_eq(error.kind(), kind, &what)?;
    }
    Ok(())
}

fn pair(s: &Subject, n: usize) -> DeploySpec {
    let bound = s.provisioner.capabilities().max_nodes.unwrap_or(u32::MAX);
    let (a, b) = (format!("a{n}"), format!("b{n}"));
    if bound < 2 { s.spec(&[&a]) } else { s.spec(&[&a, &b]) }
}

async fn ended_context_has_no_effect(s: S) -> Outcome {
    let (kept, spec) = (s.node("kept").await?, s.spec(&["web"]));
    for (ctx, kind) in ended_contexts() {
        let deployed = s.provisioner.deploy(&ctx, &spec).await;
        expect_every_name(&deployed, &spec, kind)?;
        let made = deployed.is_ok_and(|deployment| deployment.succeeded().next().is_some());
        ensure(!made, "a deploy succeeds in a context that has ended")?;
        expect_err(s.provisioner.destroy(&ctx, &kept.id).await, kind, "destroy")?;
    }
    expect_eq(s.names().await?, vec!["kept"], "names listed")
}

async fn interrupted_deploy(s: S, how: Interruption) -> Outcome {
    for (n, after) in INTERRUPTIONS.into_iter().enumerate() {
        let spec = pair(&s, n);
        let call = |ctx| {
            let (s, spec) = (&s, &spec);
            async move { s.provisioner.deploy(&ctx, spec).await }
        };
        let ended = how.interrupt(after, call).await?;
        expect_every_name(&ended, &spec, how.kind())?;
        s.expect_finished(&spec).await?;
    }
    Ok(())
}

async fn dropped_deploy(s: S) -> Outcome {
    for (n, after) in INTERRUPTIONS.into_iter().enumerate() {
        let spec = pair(&s, n);
        dropped_after(after, s.provisioner.deploy(&Context::new(), &spec)).await;
        s.expect_finished(&spec).await?;
    }
    Ok(())
}

async fn hanging_node(s: S, how: Interruption) -> Outcome {
    s.faults()?.hang(Operation::NodeCreate);
    let spec = s.spec(&["web"]);
    let call = |ctx| {
        let (s, spec) = (&s, &spec);
        async move { s.provisioner.deploy(&ctx, spec).await }
    };
    let ended = how.interrupt(Duration::from_millis(50), call).await?;
    expect_hung(ended, &spec, how.kind())?;
    s.expect_finished(&spec).await
}

fn expect_hung(ended: Result<Deployment>, spec: &DeploySpec, kind: ErrorKind) -> Outcome {
    expect_every_name(&ended, spec, kind)?;
    let nodes = ended.and_then(Deployment::into_nodes);
    expect_err(nodes, kind, "a deploy of a node that hangs").map(drop)
}

async fn deploy_with_a_lost_reply(s: S) -> Outcome {
    let spec = s.spec(&["web"]);
    s.faults()?.lose_reply(Operation::NodeDeploy);
    if let Some(error) = lost(s.deploy(&spec).await) {
        ensure(error.is_retryable(), format!("the lost reply is not retryable: {error}"))?;
        expect_eq(s.names().await?, vec!["web"], "names after the lost reply")?;
    }
    s.expect_finished(&spec).await
}

async fn node_with_a_lost_reply(s: S) -> Outcome {
    let spec = s.spec(&["web"]);
    s.faults()?.lose_reply(Operation::NodeCreate);
    if let Some(error) = lost(s.deploy(&spec).await?.into_nodes()) {
        ensure(error.is_retryable(), format!("the lost reply is not retryable: {error}"))?;
        expect_eq(s.names().await?, vec!["web"], "names after the lost reply")?;
    }
    s.expect_finished(&spec).await
}

async fn half_made(s: S) -> Outcome {
    let spec = pair(&s, 0);
    s.faults()?.fail_half_way(Operation::NodeCreate);
    let deployment = s.deploy(&spec).await?;
    if let Some((outcome, _)) = deployment.failed().next() {
        let id = outcome.id.clone();
        let left = s.list().await?.into_iter().find(|node| node.name == outcome.name);
        let Some(left) = left else {
            return Err(Failure::new("the half-made node is not listed"));
        };
        expect_eq(&left.owner, &spec.owner, "the half-made node's owner")?;
        ensure(left.status != NodeStatus::Running, "a half-made node claims to run")?;
        ensure(id.is_none_or(|id| id == left.id), "the outcome's id is another node's")?;
    }
    s.expect_finished(&spec).await
}

async fn half_made_can_be_destroyed(s: S) -> Outcome {
    s.faults()?.fail_half_way(Operation::NodeCreate);
    s.deploy(&s.spec(&["web"])).await?;
    for node in s.list().await? {
        s.destroy(&node).await?;
    }
    s.expect_none().await?;
    s.expect_finished(&s.spec(&["web"])).await
}

async fn half_destroyed(s: S) -> Outcome {
    let node = s.node("web").await?;
    s.faults()?.fail_half_way(Operation::NodeDestroy);
    if lost(s.destroy(&node).await).is_some() {
        let left = s.get(&node).await?;
        ensure(left.status != NodeStatus::Running, "a half-destroyed node claims to run")?;
        s.destroy(&node).await?;
    }
    s.expect_none().await
}

async fn destroy_with_a_lost_reply(s: S) -> Outcome {
    let node = s.node("web").await?;
    s.faults()?.lose_reply(Operation::NodeDestroy);
    if lost(s.destroy(&node).await).is_some() {
        expect_err(s.destroy(&node).await, ErrorKind::NotFound, "the second destroy")?;
    }
    s.expect_none().await
}
