//! Answers that get lost, and runs that are killed: never a second machine.

use std::sync::Arc;
use std::time::Duration;

use flock_cloudstack::simulator::{Fault, FaultRule};
use flock_cloudstack::{CloudStackProvisioner, Parameters};
use flock_core::provisioner::{Deployment, Provisioner as _, StopOptions};
use flock_core::state::{MemoryStore, StateStore};
use flock_core::{Context, ErrorKind, ListFilter};

use crate::cloud::{Cloud, client, provisioner, quick};

const DEPLOY: &str = "deployVirtualMachine";

#[tokio::test]
async fn a_deploy_whose_answer_is_lost_is_sent_once() {
    for fault in [Fault::LoseReply, Fault::TruncateReply] {
        let cloud = Cloud::start(quick()).await;
        cloud.simulator.faults().once(DEPLOY, fault);
        cloud.deploy(&cloud.spec("web", &["web-1"])).await.unwrap().into_nodes().unwrap();
        assert_eq!(cloud.simulator.requests().of(DEPLOY), 1);
        assert_eq!(cloud.names().await, ["web-1"]);
    }
}

#[tokio::test]
async fn a_deploy_that_did_not_arrive_is_sent_again() {
    let cloud = Cloud::start(quick()).await;
    cloud.simulator.faults().once(DEPLOY, Fault::CloseConnection);
    cloud.deploy(&cloud.spec("web", &["web-1"])).await.unwrap().into_nodes().unwrap();
    assert_eq!(cloud.simulator.requests().of(DEPLOY), 2);
    assert_eq!(cloud.simulator.machines().len(), 1);
}

#[tokio::test]
async fn a_deploy_whose_effect_comes_late_is_sent_once() {
    let cloud = Cloud::start(quick()).await;
    cloud.simulator.faults().once(DEPLOY, Fault::Delay(Duration::from_millis(100)));
    let spec = cloud.spec("web", &["web-1"]);
    let hasty = Context::new().with_timeout(Duration::from_millis(50));
    let late = cloud.nodes.deploy(&hasty, &spec).await.and_then(Deployment::into_nodes);
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Timeout);
    tokio::time::sleep(Duration::from_millis(100)).await;
    cloud.deploy(&spec).await.unwrap().into_nodes().unwrap();
    assert_eq!(cloud.simulator.machines().len(), 1);
}

#[tokio::test]
async fn with_a_store_a_late_effect_is_waited_for() {
    let cloud = Cloud::start(quick()).await;
    let store: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
    let stored = || cloud.nodes.clone().with_state(Arc::clone(&store));
    cloud.simulator.faults().once(DEPLOY, Fault::Delay(Duration::from_millis(150)));
    let spec = cloud.spec("web", &["web-1"]);
    let killed = tokio::time::timeout(Duration::from_millis(50), async {
        stored().deploy(&Context::new(), &spec).await
    });
    assert!(killed.await.is_err());
    stored().deploy(&Context::new(), &spec).await.unwrap().into_nodes().unwrap();
    assert_eq!(cloud.simulator.requests().of(DEPLOY), 1);
    assert_eq!(cloud.simulator.machines().len(), 1);
}

#[tokio::test]
async fn a_machine_without_tags_is_adopted_by_its_job() {
    let cloud = Cloud::start(quick()).await;
    let refuse = Fault::Refuse { code: 530, text: "no tags today".to_owned() };
    cloud.simulator.faults().add(FaultRule::new(refuse).with_command("createTags"));
    let spec = cloud.spec("web", &["web-1"]);
    let killed = tokio::time::timeout(Duration::from_millis(200), cloud.deploy(&spec)).await;
    assert!(killed.is_err());
    assert_eq!(cloud.names().await, [""; 0]);
    cloud.simulator.faults().clear();
    // Another request does not get it.
    let other = cloud.refusal(&cloud.spec("web", &["web-1"])).await;
    assert_eq!(other.kind(), ErrorKind::AlreadyExists);
    cloud.deploy(&spec).await.unwrap().into_nodes().unwrap();
    assert_eq!(cloud.names().await, ["web-1"]);
    assert_eq!(cloud.simulator.machines().len(), 1);
}

#[tokio::test]
async fn a_cloud_that_ignores_job_ids_is_looked_through_by_name() {
    let cloud = Cloud::start(quick().with_custom_job_ids(false)).await;
    for store in [None, Some(Arc::new(MemoryStore::new()) as Arc<dyn StateStore>)] {
        let app = if store.is_some() { "stored" } else { "web" };
        let nodes = match &store {
            Some(store) => cloud.nodes.clone().with_state(Arc::clone(store)),
            None => cloud.nodes.clone(),
        };
        cloud.simulator.faults().once(DEPLOY, Fault::LoseReply);
        let spec = cloud.many(app, 2);
        nodes.deploy(&Context::new(), &spec).await.unwrap().into_nodes().unwrap();
        nodes.deploy(&Context::new(), &spec).await.unwrap().into_nodes().unwrap();
        let of_app = |name: &String| name.starts_with(app);
        let names: Vec<_> = cloud.names().await.into_iter().filter(of_app).collect();
        assert_eq!(names.len(), 2);
    }
    assert_eq!(cloud.simulator.machines().len(), 4);
}

#[tokio::test]
async fn a_request_makes_its_nodes_again_after_they_were_destroyed() {
    let cloud = Cloud::start(quick()).await;
    let (ctx, spec) = (Context::new(), cloud.many("web", 12));
    for _ in 0..3 {
        let nodes = cloud.deploy(&spec).await.unwrap().into_nodes().unwrap();
        assert_eq!(nodes.len(), 12);
        for node in nodes {
            cloud.nodes.destroy(&ctx, &node.id).await.unwrap();
        }
    }
    assert!(cloud.simulator.machines().is_empty());
}

#[tokio::test]
async fn what_a_cancelled_deploy_has_made_is_listed() {
    let cloud = Cloud::start(quick().with_job_time(Duration::from_secs(2))).await;
    let (ctx, spec) = (Context::new(), cloud.many("web", 8));
    let deploy = cloud.nodes.deploy(&ctx, &spec);
    let (deployed, ()) = tokio::join!(deploy, async {
        while cloud.simulator.machines().len() < 8 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        ctx.cancel();
    });
    let deployed = deployed.unwrap();
    assert_eq!(deployed.nodes.len(), 8);
    for (outcome, error) in deployed.failed() {
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{}", outcome.name);
    }
    let told = deployed.nodes.iter().filter(|outcome| outcome.id.is_some()).count();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(cloud.names().await.len(), told);
}

#[tokio::test]
async fn lost_answers_of_other_changes_are_looked_up() {
    let cloud = Cloud::start(quick()).await;
    let (ctx, node) = (Context::new(), cloud.node("web-1").await);
    for fault in [Fault::LoseReply, Fault::CloseConnection] {
        cloud.simulator.faults().once("stopVirtualMachine", fault.clone());
        cloud.nodes.stop(&ctx, &node.id, &StopOptions::default()).await.unwrap();
        cloud.simulator.faults().once("startVirtualMachine", fault);
        cloud.nodes.start(&ctx, &node.id).await.unwrap();
    }
    cloud.simulator.faults().once("destroyVirtualMachine", Fault::LoseReply);
    cloud.nodes.destroy(&ctx, &node.id).await.unwrap();
    assert!(cloud.simulator.machines().is_empty());
}

#[tokio::test]
async fn two_processes_with_one_request_make_one_machine_each_node() {
    let cloud = Cloud::start(quick()).await;
    // They share nothing but the cloud.
    let nodes: [CloudStackProvisioner; 3] =
        std::array::from_fn(|_| provisioner(client(&cloud.simulator, "default")));
    let (ctx, spec) = (Context::new(), cloud.many("web", 6));
    let (a, b, c) = tokio::join!(
        nodes[0].deploy(&ctx, &spec),
        nodes[1].deploy(&ctx, &spec),
        nodes[2].deploy(&ctx, &spec),
    );
    for deployed in [a, b, c] {
        for (outcome, error) in deployed.unwrap().failed() {
            assert!(error.is_retryable(), "{}: {error:?}", outcome.name);
        }
    }
    cloud.deploy(&spec).await.unwrap().into_nodes().unwrap();
    let listed = cloud.nodes.list(&ctx, &ListFilter::all()).await.unwrap();
    assert_eq!((listed.len(), cloud.simulator.machines().len()), (6, 6));
}

#[tokio::test]
async fn a_used_up_job_id_does_not_leave_a_machine_behind() {
    let cloud = Cloud::start(quick()).await;
    let (ctx, spec) = (Context::new(), cloud.many("web", 12));
    let nodes = cloud.deploy(&spec).await.unwrap().into_nodes().unwrap();
    for node in nodes {
        cloud.nodes.destroy(&ctx, &node.id).await.unwrap();
    }
    // With a store that knows nothing of it, nobody looks for the jobs first.
    let stored = cloud.nodes.clone().with_state(Arc::new(MemoryStore::new()));
    stored.deploy(&ctx, &spec).await.unwrap().into_nodes().unwrap();
    assert_eq!(cloud.simulator.machines().len(), 12);
    let api = client(&cloud.simulator, "default");
    let running = Parameters::new().with("state", "Running");
    assert_eq!(api.machines(&ctx, &running).await.unwrap().len(), 12);
}
