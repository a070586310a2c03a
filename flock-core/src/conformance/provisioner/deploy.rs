//! Making nodes: outcomes, repeats, what is refused.

use std::sync::Arc;

use super::super::subject::{expect_one_made, unless};
use super::super::{
    Failure, Fixture, Outcome, SuiteOn, ensure, expect_eq, expect_err, expect_some,
};
use super::life::at_once;
use super::{Subject, SuiteOptions};
use crate::provisioner::{
    DeploySpec, Deployment, Mount, MountSource, NodeStatus, PortMapping, Resources,
};
use crate::{Context, Error, ErrorKind, Owner, RequestId};

type S = Arc<Subject>;
/// Puts something into a spec that may be excluded.
type Ask = fn(&mut DeploySpec);

pub(super) fn cases<F: Fixture<Subject = Subject>>(
    on: SuiteOn<F>,
    why: &SuiteOptions,
) -> SuiteOn<F> {
    let can = &why.capabilities;
    let several = unless(can.max_nodes.is_none_or(|max| max >= 3), "deploys fewer than three");
    let ports = unless(can.ports, "nodes have no port mappings");
    let stops = unless(can.stop_start, "nodes cannot be stopped");
    let bounded = unless(can.max_nodes.is_some(), "deploys any number of nodes");
    let mut on = on
        .case("check_has_no_effect", check_has_no_effect)
        .case("deploy_makes_a_running_node", deploy_makes_a_running_node)
        .case_unless(several, "deploy_answers_in_the_order_of_the_names", order_of_the_names)
        .case("deploy_twice_is_the_same_node", deploy_twice_is_the_same_node)
        .case("deploy_twice_at_once_makes_one", deploy_twice_at_once_makes_one)
        .case_unless(several, "deploy_of_more_names_adds_the_new_ones", deploy_of_more_names)
        .case("deploy_of_another_image_is_a_conflict", deploy_of_another_image)
        .case_unless(stops, "deploy_leaves_a_stopped_node_stopped", deploy_of_a_stopped_node)
        .case("name_of_another_request_already_exists", name_of_another_request)
        .case("name_of_another_application_is_free", name_of_another_application)
        .case_unless(several, "one_failing_node_does_not_stop_the_others", one_failing_node)
        .case("missing_image_fails_the_whole_deploy", missing_image_fails_the_whole_deploy)
        .case_unless(several, "missing_image_spares_nodes_that_are_there", missing_image_spares)
        .case("no_name_is_refused", no_name_is_refused)
        .case("empty_name_is_refused", empty_name_is_refused)
        .case("name_given_twice_is_refused", name_given_twice_is_refused)
        .case("unknown_option_is_refused", unknown_option_is_refused)
        .case("owner_of_another_namespace_is_refused", owner_of_another_namespace)
        .case_unless(bounded, "too_many_nodes_are_unsupported", too_many_nodes)
        .case("what_is_supported_is_accepted", what_is_supported_is_accepted)
        .case_unless(ports, "ports_show", ports_show);
    let twins: [(bool, &str, Ask); 7] = [
        (can.sizes, "size_is_unsupported", |spec| spec.size = Some("any".to_owned())),
        (can.resources, "resources_are_unsupported", |spec| spec.resources = one_cpu()),
        (can.ports, "ports_are_unsupported", |spec| spec.ports = vec![PortMapping::tcp(None, 80)]),
        (can.mounts, "mounts_are_unsupported", |spec| spec.mounts = vec![host_mount()]),
        (can.networks, "networks_are_unsupported", |spec| spec.networks = vec!["any".to_owned()]),
        (can.env, "env_is_unsupported", |spec| {
            spec.env.insert("A".to_owned(), "b".to_owned());
        }),
        (can.user_data, "user_data_is_unsupported", |spec| spec.user_data = Some("#!".to_owned())),
    ];
    for (able, name, ask) in twins {
        if !able {
            on = on.case(name, move |s: S| refused_without_effect(s, ask));
        }
    }
    on
}

fn one_cpu() -> Resources {
    Resources { cpus: Some(1), ..Resources::default() }
}

fn host_mount() -> Mount {
    Mount::new(MountSource::HostPath("/".into()), "/mnt")
}

async fn refused_without_effect(s: S, ask: Ask) -> Outcome {
    let mut spec = s.spec(&["web"]);
    ask(&mut spec);
    expect_err(s.deploy(&spec).await, ErrorKind::Unsupported, "deploy")?;
    s.expect_none().await
}

async fn invalid_without_effect(s: &Subject, spec: &DeploySpec) -> Outcome {
    expect_err(s.deploy(spec).await, ErrorKind::InvalidConfig, "deploy")?;
    s.expect_none().await
}

async fn check_has_no_effect(s: S) -> Outcome {
    let health = s.provisioner.check(&Context::new()).await?;
    expect_eq(health.backend.as_str(), s.provisioner.name(), "the backend's name")?;
    s.expect_none().await
}

async fn deploy_makes_a_running_node(s: S) -> Outcome {
    let spec = s.spec(&["web"]);
    let deployment = s.deploy(&spec).await?;
    expect_eq(deployment.nodes.len(), 1, "outcomes")?;
    let outcome = &deployment.nodes[0];
    let node = outcome.result.clone()?;
    expect_eq(outcome.id.as_ref(), Some(&node.id), "the outcome's id")?;
    expect_eq((node.name.as_str(), &node.owner), ("web", &spec.owner), "its name and owner")?;
    expect_eq(node.status, NodeStatus::Running, "its status")?;
    ensure(node.image.as_ref().is_none_or(|image| *image == s.image), "made from another image")?;
    expect_eq(s.get(&node).await?.id, node.id.clone(), "the id that get gives")?;
    expect_eq(s.names().await?, vec!["web"], "names listed")
}

async fn order_of_the_names(s: S) -> Outcome {
    let spec = s.spec(&["z", "a", "m"]);
    let deployment = s.deploy(&spec).await?;
    let names: Vec<_> = deployment.nodes.iter().map(|outcome| outcome.name.as_str()).collect();
    expect_eq(names, vec!["z", "a", "m"], "outcomes")?;
    let nodes = deployment.into_nodes()?;
    let ids: std::collections::BTreeSet<_> = nodes.iter().map(|node| &node.id).collect();
    expect_eq(ids.len(), 3, "ids of three nodes")?;
    expect_eq(s.names().await?, vec!["a", "m", "z"], "names listed")
}

async fn deploy_twice_is_the_same_node(s: S) -> Outcome {
    let spec = s.spec(&["web"]);
    let first = s.deploy(&spec).await?.into_nodes()?;
    let second = s.deploy(&spec).await?.into_nodes()?;
    expect_eq(&second[0].id, &first[0].id, "the second node's id")?;
    expect_eq(s.list().await?.len(), 1, "nodes listed")
}

async fn deploy_twice_at_once_makes_one(s: S) -> Outcome {
    let (ctx, spec) = (Context::new(), s.spec(&["web"]));
    let (a, b) = tokio::join!(s.provisioner.deploy(&ctx, &spec), s.provisioner.deploy(&ctx, &spec));
    let nodes = [a, b].map(|answer| answer.and_then(Deployment::into_nodes));
    let nodes = expect_one_made(nodes)?;
    let listed = s.list().await?;
    expect_eq(listed.len(), 1, "nodes listed")?;
    let same = nodes.iter().flatten().all(|node| node.id == listed[0].id);
    ensure(same, "an answer names a node that is not listed")
}

async fn deploy_of_more_names(s: S) -> Outcome {
    let mut spec = s.spec(&["a"]);
    let first = s.deploy(&spec).await?.into_nodes()?;
    spec.names = vec!["b".to_owned(), "a".to_owned()];
    let second = s.deploy(&spec).await?.into_nodes()?;
    expect_eq(&second[1].id, &first[0].id, "the first node's id")?;
    expect_eq(s.names().await?, vec!["a", "b"], "names listed")
}

async fn deploy_of_another_image(s: S) -> Outcome {
    let mut spec = s.spec(&["web"]);
    let first = s.deploy(&spec).await?.into_nodes()?.swap_remove(0);
    spec.image = s.unknown_image.clone();
    let second = s.deploy(&spec).await.and_then(Deployment::into_nodes);
    match second {
        Err(error) if error.kind() == ErrorKind::Conflict => {
            ensure(!error.is_retryable(), "a retry cannot make it another image's")?;
        }
        // Looked for though the node is there.
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(Failure::from(error).context("the same request, another image")),
        // A backend that no longer knows the image cannot see a difference.
        Ok(nodes) if first.image.is_none() => {
            expect_eq(&nodes[0].id, &first.id, "the second node's id")?;
        }
        Ok(_) => return Err(Failure::new("the same request got a node for another image")),
    }
    let listed = s.list().await?;
    let ids: Vec<_> = listed.iter().map(|node| &node.id).collect();
    expect_eq(ids, vec![&first.id], "nodes listed")?;
    expect_eq(listed[0].status, NodeStatus::Running, "the node's status")
}

async fn deploy_of_a_stopped_node(s: S) -> Outcome {
    let spec = s.spec(&["web"]);
    let node = s.deploy(&spec).await?.into_nodes()?.swap_remove(0);
    s.provisioner.stop(&Context::new(), &node.id, &at_once()).await?;
    let again = s.deploy(&spec).await?.into_nodes()?.swap_remove(0);
    expect_eq((&again.id, again.status), (&node.id, NodeStatus::Stopped), "the second answer")?;
    expect_eq(s.get(&node).await?.status, NodeStatus::Stopped, "the status afterwards")
}

async fn name_of_another_application(s: S) -> Outcome {
    let ours = s.node("web").await?;
    let mut spec = s.spec(&["web"]);
    spec.owner.app = "other".to_owned();
    let theirs = s.deploy(&spec).await?.into_nodes()?.swap_remove(0);
    ensure(ours.id != theirs.id, "two applications share a node")?;
    expect_eq(s.names().await?, vec!["web", "web"], "names listed")
}

async fn name_of_another_request(s: S) -> Outcome {
    let node = s.node("web").await?;
    let deployment = s.deploy(&s.spec(&["web"])).await?;
    let outcome = expect_some(deployment.nodes.into_iter().next(), "the outcome")?;
    expect_err(outcome.result, ErrorKind::AlreadyExists, "the second request's outcome")?;
    expect_eq(s.list().await?.len(), 1, "nodes listed")?;
    expect_eq(s.get(&node).await?.owner, node.owner, "the first node's owner")
}

async fn one_failing_node(s: S) -> Outcome {
    let taken = s.node("b").await?;
    let spec = s.spec(&["c", "b", "a"]);
    let deployment = s.deploy(&spec).await?;
    let outcomes: Vec<_> = deployment
        .nodes
        .iter()
        .map(|outcome| (outcome.name.as_str(), outcome.result.as_ref().err().map(Error::kind)))
        .collect();
    let wanted = vec![("c", None), ("b", Some(ErrorKind::AlreadyExists)), ("a", None)];
    expect_eq(outcomes, wanted, "outcomes")?;
    expect_eq(s.names().await?, vec!["a", "b", "c"], "names listed")?;
    expect_eq(s.get(&taken).await?.owner, taken.owner, "the owner of the node in the way")
}

async fn missing_image_fails_the_whole_deploy(s: S) -> Outcome {
    let spec = s.spec_for(s.owner(), &s.unknown_image, &["web"]);
    // One error, not the same one in the outcome of every node.
    expect_err(s.deploy(&spec).await, ErrorKind::NotFound, "deploy of an unknown image")?;
    s.expect_none().await
}

async fn missing_image_spares(s: S) -> Outcome {
    let mut spec = s.spec(&["a"]);
    let first = s.deploy(&spec).await?.into_nodes()?.swap_remove(0);
    spec.image = s.unknown_image.clone();
    spec.names = vec!["a".to_owned(), "b".to_owned()];
    expect_err(s.deploy(&spec).await, ErrorKind::NotFound, "deploy of an unknown image")?;
    expect_eq(s.names().await?, vec!["a"], "names listed")?;
    expect_eq(s.get(&first).await?.status, NodeStatus::Running, "the status of what was there")
}

async fn no_name_is_refused(s: S) -> Outcome {
    invalid_without_effect(&s, &s.spec(&[])).await
}

async fn empty_name_is_refused(s: S) -> Outcome {
    invalid_without_effect(&s, &s.spec(&["web", ""])).await
}

async fn name_given_twice_is_refused(s: S) -> Outcome {
    invalid_without_effect(&s, &s.spec(&["web", "web"])).await
}

async fn unknown_option_is_refused(s: S) -> Outcome {
    let mut spec = s.spec(&["web"]);
    spec.options.insert("no-backend-has-this-option".to_owned(), true.into());
    invalid_without_effect(&s, &spec).await
}

async fn owner_of_another_namespace(s: S) -> Outcome {
    let owner = Owner::new(format!("not-{}", s.namespace), "app", RequestId::random());
    invalid_without_effect(&s, &s.spec_for(owner, &s.image, &["web"])).await
}

async fn too_many_nodes(s: S) -> Outcome {
    let max = s.provisioner.capabilities().max_nodes.unwrap_or_default();
    let mut spec = s.spec(&[]);
    spec.names = (0..=max).map(|n| format!("node-{n}")).collect();
    expect_err(s.deploy(&spec).await, ErrorKind::Unsupported, "deploy of too many")?;
    s.expect_none().await
}

async fn what_is_supported_is_accepted(s: S) -> Outcome {
    let can = s.provisioner.capabilities();
    let mut spec = s.spec(&["web"]);
    if can.resources {
        spec.resources = one_cpu();
    }
    if can.env {
        spec.env.insert("GREETING".to_owned(), "hello 'you' \"there\" $HOME".to_owned());
    }
    if can.user_data {
        spec.user_data = Some("#cloud-config\n{}\n".to_owned());
    }
    s.expect_finished(&spec).await
}

async fn ports_show(s: S) -> Outcome {
    let mut spec = s.spec(&["web"]);
    spec.ports = vec![PortMapping::tcp(None, 8080)];
    let node = s.deploy(&spec).await?.into_nodes()?.swap_remove(0);
    let shown = s.get(&node).await?.ports;
    let found = shown.iter().find(|port| port.node == 8080);
    let port = found.ok_or_else(|| Failure::new(format!("no port 8080 in {shown:?}")))?;
    ensure(port.host.is_some_and(|host| host > 0), "the chosen port of the host is not told")
}
