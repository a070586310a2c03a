//! From a deploy to the end of a node.

use std::time::Duration;

use flock_cloudstack::simulator::{AccountOptions, MachineState};
use flock_cloudstack::{Client, CloudStackVolumeDriver, Parameters};
use flock_core::provisioner::{NodeStatus, StopOptions};
use flock_core::volume_driver::{AttachOptions, VolumeSpec};
use flock_core::{
    Context, ErrorKind, ListFilter, NodeId, Owner, Provisioner as _, RequestId, VolumeDriver as _,
};

use crate::cloud::{Cloud, SIZE, TEMPLATE, ZONE, client, quick};

#[tokio::test]
async fn a_node_is_what_was_asked_for_and_carries_its_tags() {
    let cloud = Cloud::start(quick()).await;
    let spec = cloud.spec("shop", &["web", "shop-7"]);
    let nodes = cloud.deploy(&spec).await.unwrap().into_nodes().unwrap();
    let (web, seven) = (&nodes[0], &nodes[1]);
    assert_eq!((web.status, web.name.as_str()), (NodeStatus::Running, "web"));
    assert_eq!(web.image.as_ref(), Some(&cloud.image));
    assert_eq!(web.size.as_deref(), Some(SIZE));
    assert_eq!(web.addresses.len(), 1);
    let detail = |name: &str| web.details.get(name).map(String::as_str);
    assert_eq!((detail("host_name"), detail("state")), (Some("shop-web"), Some("Running")));
    assert_eq!((detail("template"), detail("zone")), (Some(TEMPLATE), Some(ZONE)));
    assert_eq!(seven.details["host_name"], "shop-7");
    let held = cloud.simulator.machines();
    for (machine, node) in held.iter().zip(&nodes) {
        let tag = |key: &str| {
            machine.tags.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str())
        };
        assert_eq!(machine.display_name, node.name);
        assert_eq!(tag(Owner::APP), Some("shop"));
        assert_eq!(tag(Owner::NAMESPACE), Some("default"));
        assert_eq!(tag(Owner::REQUEST), Some(spec.owner.request.to_string().as_str()));
    }
    // The host name does not tell the node's, so a tag does.
    assert!(held[0].tags.contains(&("flock.name".to_owned(), "web".to_owned())));
    let listed = cloud.nodes.list(&Context::new(), &ListFilter::app("shop")).await.unwrap();
    assert_eq!(listed, [seven.clone(), web.clone()]);
}

#[tokio::test]
async fn a_renamed_machine_keeps_its_node_name() {
    let cloud = Cloud::start(quick()).await;
    let (web, seven) = (cloud.node("db").await, cloud.node("web-7").await);
    let client = client(&cloud.simulator, "default");
    for node in [&web, &seven] {
        let asked = Parameters::new().with("id", node.id.as_str()).with("displayname", "Frontend");
        client.call(&Context::new(), "updateVirtualMachine", &asked).await.unwrap();
    }
    assert_eq!(cloud.names().await, ["db", "web-7"]);
}

#[tokio::test]
async fn a_node_is_rebooted() {
    let cloud = Cloud::start(quick()).await;
    let (ctx, node) = (Context::new(), cloud.node("web-1").await);
    let again = cloud.nodes.reboot(&ctx, &node.id).await.unwrap();
    assert_eq!(again, node);
    cloud.nodes.stop(&ctx, &node.id, &StopOptions::default()).await.unwrap();
    let refused = cloud.nodes.reboot(&ctx, &node.id).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    let missing = NodeId::new("00000000-0000-4000-8000-000000000000");
    let refused = cloud.nodes.reboot(&ctx, &missing).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn destroying_expunges_where_that_is_allowed() {
    let cloud = Cloud::start(quick()).await;
    let node = cloud.node("web-1").await;
    cloud.nodes.destroy(&Context::new(), &node.id).await.unwrap();
    assert!(cloud.simulator.machines().is_empty());
}

#[tokio::test]
async fn a_user_destroys_without_expunging_and_has_the_name_back() {
    let cloud = Cloud::start(quick().with_account(AccountOptions::new("user"))).await;
    for wanted in 1..=3 {
        let node = cloud.node("web-1").await;
        cloud.nodes.destroy(&Context::new(), &node.id).await.unwrap();
        let held = cloud.simulator.machines();
        assert!(held.iter().all(|machine| machine.state == MachineState::Destroyed));
        assert_eq!(held.len(), wanted, "destroyed machines");
    }
    assert_eq!(cloud.names().await, [""; 0]);
    let requests = cloud.simulator.requests();
    assert_eq!(requests.of("destroyVirtualMachine"), 4, "one of them refused");
}

#[tokio::test]
async fn data_disks_outlive_their_node() {
    let cloud = Cloud::start(quick()).await;
    let (ctx, node) = (Context::new(), cloud.node("web-1").await);
    let volumes = CloudStackVolumeDriver::new(client(&cloud.simulator, "default"));
    let owner = Owner::new("default", "web", RequestId::random());
    for name in ["one", "two"] {
        let size = volumes.capabilities().min_size;
        let volume = VolumeSpec::new(owner.clone(), name, size);
        let volume = volumes.create(&ctx, &volume).await.unwrap();
        volumes.attach(&ctx, &volume.id, &node.id, &AttachOptions::default()).await.unwrap();
    }
    cloud.nodes.destroy(&ctx, &node.id).await.unwrap();
    let left = volumes.list(&ctx, &ListFilter::all()).await.unwrap();
    assert_eq!(left.len(), 2);
    assert!(left.iter().all(|volume| volume.attachments.is_empty()));
}

#[tokio::test]
async fn a_node_that_is_not_started_is_stopped() {
    let cloud = Cloud::start(quick()).await;
    let spec = cloud.spec("web", &["web-1"]).with_option("start", false);
    for _ in 0..2 {
        let node = cloud.deploy(&spec).await.unwrap().into_nodes().unwrap().swap_remove(0);
        assert_eq!(node.status, NodeStatus::Stopped);
    }
}

#[tokio::test]
async fn check_tells_the_version() {
    let cloud = Cloud::start(quick().with_version("4.20.1.0")).await;
    let health = cloud.nodes.check(&Context::new()).await.unwrap();
    assert_eq!(health.endpoints[0].version.as_deref(), Some("4.20.1.0"));
}

#[tokio::test]
async fn ten_nodes_stop_and_start_at_once() {
    let cloud = Cloud::start(quick()).await;
    let nodes = cloud.deploy(&cloud.many("web", 10)).await.unwrap().into_nodes().unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for node in nodes {
        let provisioner = cloud.nodes.clone();
        tasks.spawn(async move {
            let ctx = Context::new().with_timeout(Duration::from_secs(20));
            let stopped = provisioner.stop(&ctx, &node.id, &StopOptions::default()).await.unwrap();
            assert_eq!(stopped.status, NodeStatus::Stopped);
            let started = provisioner.start(&ctx, &node.id).await.unwrap();
            assert_eq!(started.status, NodeStatus::Running);
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

#[test]
fn a_provisioner_shows_no_secret() {
    let url = "http://127.0.0.1/client/api".parse().unwrap();
    let secret = flock_core::secret::Secret::new("hush");
    let config = flock_cloudstack::CloudStackConfig::new(url, "key", secret);
    let nodes = flock_cloudstack::CloudStackProvisioner::new(Client::new(config).unwrap());
    assert!(!format!("{nodes:?}").contains("hush"));
}
