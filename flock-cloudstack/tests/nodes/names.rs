//! Host names that are taken or cannot be.

use flock_cloudstack::Parameters;
use flock_core::{Context, ErrorKind, Provisioner as _};

use crate::cloud::{Cloud, client, quick};

/// Deploys a machine without flock.
async fn by_hand(cloud: &Cloud, name: &str) -> String {
    let client = client(&cloud.simulator, "default");
    let ctx = Context::new();
    let zones = client.zones(&ctx).await.unwrap();
    let sizes = client.service_offerings(&ctx).await.unwrap();
    let asked = Parameters::new()
        .with("zoneid", &zones[0].id)
        .with("serviceofferingid", &sizes[0].id)
        .with("templateid", cloud.image.as_str())
        .with("name", name);
    let started = client.deploy_machine(&ctx, &asked).await.unwrap();
    client.wait(&ctx, &started.job).await.unwrap();
    started.id.unwrap()
}

#[tokio::test]
async fn a_machine_that_flock_did_not_make_is_left_alone() {
    let cloud = Cloud::start(quick()).await;
    let stranger = by_hand(&cloud, "web-1").await;
    let refused = cloud.refusal(&cloud.spec("web", &["web-1"])).await;
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    assert_eq!(refused.context_value("id"), Some(stranger.as_str()));
    let held = cloud.simulator.machines();
    assert_eq!(held.len(), 1);
    assert!(held[0].tags.is_empty());
    let id = flock_core::NodeId::new(stranger);
    let unseen = cloud.nodes.destroy(&Context::new(), &id).await.unwrap_err();
    assert_eq!(unseen.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn nodes_whose_host_names_would_be_the_same_get_others() {
    let cloud = Cloud::start(quick()).await;
    // Both would be `web-1`.
    cloud.deploy(&cloud.spec("web", &["1", "web-1"])).await.unwrap().into_nodes().unwrap();
    // And both of these `web-a-b`.
    cloud.deploy(&cloud.spec("web-a", &["b"])).await.unwrap().into_nodes().unwrap();
    cloud.deploy(&cloud.spec("web", &["a-b"])).await.unwrap().into_nodes().unwrap();
    assert_eq!(cloud.names().await, ["1", "a-b", "b", "web-1"]);
    let mut hosts: Vec<_> = cloud.simulator.machines().into_iter().map(|one| one.name).collect();
    hosts.sort();
    hosts.dedup();
    assert_eq!(hosts.len(), 4, "{hosts:?}");
}

#[tokio::test]
async fn names_that_are_no_host_names_are_kept_in_a_tag() {
    let cloud = Cloud::start(quick()).await;
    let long = "x".repeat(200);
    let names = ["Web 1", "büro", "日本", "web_1", long.as_str()];
    cloud.deploy(&cloud.spec("Shop", &names)).await.unwrap().into_nodes().unwrap();
    let mut wanted = names.map(str::to_owned);
    wanted.sort();
    assert_eq!(cloud.names().await, wanted);
}

#[tokio::test]
async fn what_cannot_be_a_name_is_refused_before_anything_is_made() {
    let cloud = Cloud::start(quick()).await;
    for name in ["a\nb", "\u{7f}", &"x".repeat(256)] {
        let refused = cloud.refusal(&cloud.spec("web", &["web-1", name])).await;
        assert_eq!(refused.kind(), ErrorKind::InvalidConfig, "{name:?}");
    }
    assert!(cloud.simulator.machines().is_empty());
}
