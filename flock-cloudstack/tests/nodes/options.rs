//! What a deploy can say, and what CloudStack is told of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flock_cloudstack::{Client, CloudStackProvisioner, DeployOption, Method, Parameters};
use flock_core::provisioner::{DeploySpec, Provisioner as _, Resources};
use flock_core::{Context, ErrorKind};

use crate::cloud::{Cloud, client, config, quick};

async fn machine(cloud: &Cloud, spec: &DeploySpec) -> serde_json::Value {
    let node = cloud.deploy(spec).await.unwrap().into_nodes().unwrap().swap_remove(0);
    let asked = Parameters::new().with("id", node.id.as_str());
    let client = client(&cloud.simulator, "default");
    let listed = client.call(&Context::new(), "listVirtualMachines", &asked).await.unwrap();
    listed["virtualmachine"][0].clone()
}

async fn call(cloud: &Cloud, command: &str, parameters: &[(&str, &str)]) {
    let parameters: Parameters = parameters.iter().copied().collect();
    let client = client(&cloud.simulator, "default");
    client.call(&Context::new(), command, &parameters).await.unwrap();
}

#[tokio::test]
async fn groups_networks_keys_and_user_data_arrive() {
    let cloud = Cloud::start(quick()).await;
    call(&cloud, "createSecurityGroup", &[("name", "frontend")]).await;
    call(&cloud, "createSSHKeyPair", &[("name", "me")]).await;
    let group = [("name", "apart"), ("type", "host anti-affinity")];
    let group: Parameters = group.into_iter().collect();
    let api = client(&cloud.simulator, "default");
    api.run(&Context::new(), "createAffinityGroup", &group).await.unwrap();
    let spec = cloud
        .spec("web", &["web-1"])
        .with_option(DeployOption::SECURITY_GROUPS, "default, frontend")
        .with_option(DeployOption::AFFINITY_GROUPS, vec!["apart"])
        .with_option(DeployOption::KEY_PAIR, "me")
        .with_option(DeployOption::WAIT_FOR_ADDRESS, true)
        .with_option(DeployOption::ROOT_DISK_SIZE, "20GiB")
        .with_network("storage")
        .with_user_data("#cloud-config\n{}\n");
    let machine = machine(&cloud, &spec).await;
    let names = |of: &str| -> Vec<_> {
        let all = machine[of].as_array().unwrap().iter();
        all.map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("securitygroup"), ["default", "frontend"]);
    assert_eq!(names("affinitygroup"), ["apart"]);
    assert!(machine["keypairs"].as_str().unwrap().contains("me"));
    assert_eq!(machine["nic"][0]["networkname"], "storage");
    let held = cloud.simulator.machines();
    let data = STANDARD.decode(held[0].user_data.as_ref().unwrap()).unwrap();
    assert_eq!(data, b"#cloud-config\n{}\n");
    let root = cloud.simulator.volumes().into_iter().find(|volume| volume.root).unwrap();
    assert_eq!(root.size, 20 << 30);
}

#[tokio::test]
async fn a_size_that_leaves_it_open_is_told_processors_and_memory() {
    let cloud = Cloud::start(quick()).await;
    let spec = cloud.spec("web", &["web-1"]).with_size("Custom Instance");
    let open = cloud.refusal(&spec).await;
    assert_eq!(open.kind(), ErrorKind::InvalidConfig);
    let sized = Resources::default().with_cpus(3).with_memory(2 << 30);
    let spec = spec.with_resources(sized).with_option(DeployOption::CPU_SPEED, 1000);
    let machine = machine(&cloud, &spec).await;
    assert_eq!((&machine["cpunumber"], &machine["memory"]), (&3.into(), &2048.into()));
}

#[tokio::test]
async fn bounds_that_a_size_does_not_keep_are_refused() {
    let cloud = Cloud::start(quick()).await;
    let large = cloud.spec("web", &["web-1"]).with_size("Large Instance");
    for (wanted, kind) in [
        (Resources::default().with_cpus(1), ErrorKind::InvalidConfig),
        (Resources::default().with_memory(1 << 30), ErrorKind::InvalidConfig),
        (Resources::default().with_cpu_shares(512), ErrorKind::Unsupported),
    ] {
        let refused = cloud.refusal(&large.clone().with_resources(wanted)).await;
        assert_eq!(refused.kind(), kind);
    }
    let enough = Resources::default().with_cpus(2).with_memory(8 << 30);
    machine(&cloud, &large.with_resources(enough)).await;
}

#[tokio::test]
async fn lxc_gets_no_size_of_its_root_disk() {
    let cloud = Cloud::start(quick()).await;
    let mut spec = cloud.spec("web", &["web-1"]);
    spec.image = cloud.nodes.find_image(&Context::new(), "Debian 12 (LXC)").await.unwrap();
    let with_disk = spec.clone().with_resources(Resources::default().with_disk(20 << 30));
    assert_eq!(cloud.refusal(&with_disk).await.kind(), ErrorKind::InvalidConfig);
    machine(&cloud, &spec).await;
}

#[tokio::test]
async fn user_data_is_bounded_by_the_way_it_is_sent() {
    let cloud = Cloud::start(quick().with_get_only(true)).await;
    let by_get = Client::new(config(&cloud.simulator).with_method(Method::GetOnly)).unwrap();
    let nodes = CloudStackProvisioner::new(by_get);
    let spec = cloud.spec("web", &["web-1"]);
    let ctx = Context::new();
    let too_much = spec.clone().with_user_data("x".repeat(3073));
    let refused = nodes.deploy(&ctx, &too_much).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidConfig);
    let enough = spec.with_user_data("x".repeat(3072));
    nodes.deploy(&ctx, &enough).await.unwrap().into_nodes().unwrap();
    let cloud = Cloud::start(quick()).await;
    let too_much = cloud.spec("web", &["web-1"]).with_user_data("x".repeat(1 << 20));
    assert_eq!(cloud.refusal(&too_much).await.kind(), ErrorKind::InvalidConfig);
    assert!(cloud.simulator.machines().is_empty());
}
