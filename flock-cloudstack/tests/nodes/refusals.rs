//! Bad input, limits, and what else CloudStack says no to.

use std::time::Duration;

use flock_cloudstack::simulator::{
    AccountOptions, Fault, FaultRule, Resource, SimulatorOptions, ZoneOptions,
};
use flock_cloudstack::{
    Client, CloudStackConfig, CloudStackProvisioner, DeployOption, JobId, Parameters,
};
use flock_core::provisioner::{DeploySpec, NodeStatus, Provisioner as _};
use flock_core::secret::Secret;
use flock_core::{Context, Error, ErrorKind};

use crate::cloud::{Cloud, SIZE, client, config, quick};

fn hints(error: &Error) -> String {
    error.hints().collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn names_that_are_not_there_are_answered_with_the_nearest() {
    let cloud = Cloud::start(quick()).await;
    let spec = || cloud.spec("web", &["web-1"]);
    let api = client(&cloud.simulator, "default");
    let pair = Parameters::new().with("name", "my-key");
    api.call(&Context::new(), "createSSHKeyPair", &pair).await.unwrap();
    let wrong: [(DeploySpec, &str); 6] = [
        (spec().with_size("Smal Instance"), "'Small Instance'"),
        (spec().with_option(DeployOption::ZONE, "zone-2"), "'zone-1'"),
        (spec().with_option(DeployOption::SECURITY_GROUPS, "defaul"), "'default'"),
        (spec().with_option(DeployOption::AFFINITY_GROUPS, "apart"), "no affinity group at all"),
        (spec().with_option(DeployOption::KEY_PAIR, "my-kee"), "'my-key'"),
        (spec().with_network("storag"), "'storage'"),
    ];
    for (spec, nearest) in wrong {
        let refused = cloud.refusal(&spec).await;
        assert_eq!(refused.kind(), ErrorKind::NotFound, "{refused}");
        assert!(hints(&refused).contains(nearest), "{refused}: {}", hints(&refused));
    }
    assert_eq!(cloud.simulator.requests().of("deployVirtualMachine"), 0);
}

#[tokio::test]
async fn what_is_missing_and_not_the_only_one_has_to_be_named() {
    let cloud = Cloud::start(quick().with_zones([
        ZoneOptions::new("zone-1"),
        ZoneOptions::new("zone-2").with_security_groups(false),
    ]))
    .await;
    let mut spec = cloud.spec("web", &["web-1"]);
    spec.options.clear();
    let refused = cloud.refusal(&spec).await;
    assert_eq!(refused.kind(), ErrorKind::InvalidConfig);
    assert!(hints(&refused).contains("'zone-2'"));
    let spec = spec.with_option(DeployOption::ZONE, "zone-2");
    cloud.deploy(&spec).await.unwrap().into_nodes().unwrap();
    let groups = spec.clone().with_option(DeployOption::SECURITY_GROUPS, "default");
    assert_eq!(cloud.refusal(&groups).await.kind(), ErrorKind::InvalidConfig);
    let mut no_size = spec;
    no_size.size = None;
    assert_eq!(cloud.refusal(&no_size).await.kind(), ErrorKind::InvalidConfig);
}

#[tokio::test]
async fn templates_are_found_by_their_exact_name() {
    let cloud = Cloud::start(quick()).await;
    let ctx = Context::new();
    let missing = cloud.nodes.find_image(&ctx, "Debian 12").await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(hints(&missing).contains("'Debian 12 (KVM)'"), "{}", hints(&missing));
    let api = client(&cloud.simulator, "default");
    let mut register = Parameters::new()
        .with("name", "web:v1")
        .with("displaytext", "web:v1")
        .with("format", "QCOW2")
        .with("hypervisor", "KVM");
    let (zones, types) = (api.zones(&ctx).await.unwrap(), api.os_types(&ctx).await.unwrap());
    register = register.with("zoneid", &zones[0].id).with("ostypeid", &types[0].id);
    api.call(&ctx, "getUploadParamsForTemplate", &register).await.unwrap();
    let image = cloud.nodes.find_image(&ctx, "web:v1").await.unwrap();
    let mut spec = cloud.spec("web", &["web-1"]);
    spec.image = image;
    let not_ready = cloud.refusal(&spec).await;
    assert_eq!(not_ready.kind(), ErrorKind::Conflict);
    assert!(not_ready.to_string().contains("is not ready"), "{not_ready}");
    api.call(&ctx, "getUploadParamsForTemplate", &register).await.unwrap();
    let ambiguous = cloud.nodes.find_image(&ctx, "web:v1").await.unwrap_err();
    assert_eq!(ambiguous.kind(), ErrorKind::InvalidConfig);
    assert!(hints(&ambiguous).contains(spec.image.as_str()));
}

#[tokio::test]
async fn a_limit_fails_some_nodes_and_not_the_others() {
    let user = AccountOptions::new("user").with_limit(Resource::Machines, 3);
    let cloud = Cloud::start(quick().with_account(user)).await;
    let spec = cloud.many("web", 5);
    let deployed = cloud.deploy(&spec).await.unwrap();
    assert_eq!(deployed.succeeded().count(), 3);
    for (outcome, error) in deployed.failed() {
        assert_eq!((error.kind(), &outcome.id), (ErrorKind::QuotaExceeded, &None), "{error}");
        assert!(hints(error).contains("limit"));
    }
    assert_eq!(cloud.names().await.len(), 3);
    // Once there is room, the same request makes the rest.
    cloud.simulator.set_limit("user", Resource::Machines, None).unwrap();
    cloud.deploy(&spec).await.unwrap().into_nodes().unwrap();
    assert_eq!(cloud.simulator.machines().len(), 5);
}

#[tokio::test]
async fn a_zone_without_room_leaves_nodes_that_are_listed_and_mended() {
    let zone = ZoneOptions::new("zone-1").with_capacity(1);
    let cloud = Cloud::start(quick().with_zones([zone])).await;
    let spec = cloud.many("web", 2);
    let deployed = cloud.deploy(&spec).await.unwrap();
    let (outcome, error) = deployed.failed().next().unwrap();
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error:?}");
    assert!(outcome.id.is_some() && error.context_value("job").is_some());
    assert!(hints(error).contains("same request"));
    let ctx = Context::new();
    let left = cloud.nodes.get(&ctx, outcome.id.as_ref().unwrap()).await.unwrap();
    assert_eq!(left.status, NodeStatus::Failed);
    cloud.simulator.set_capacity("zone-1", None).unwrap();
    let nodes = cloud.deploy(&spec).await.unwrap().into_nodes().unwrap();
    assert!(nodes.iter().all(|node| node.status == NodeStatus::Running));
    assert_eq!(cloud.simulator.machines().len(), 2);
}

#[tokio::test]
async fn a_wrong_key_and_a_wrong_clock_are_told_apart() {
    let cloud = Cloud::start(quick()).await;
    let url = cloud.simulator.url().parse().unwrap();
    let wrong = CloudStackConfig::new(url, cloud.simulator.api_key(), Secret::new("not-it"));
    let nodes = CloudStackProvisioner::new(Client::new(wrong).unwrap());
    let ctx = Context::new();
    let refused = nodes.deploy(&ctx, &cloud.spec("web", &["web-1"])).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unauthenticated);
    assert!(hints(&refused).contains("secretkey"), "{}", hints(&refused));
    cloud.simulator.faults().set_clock_skew(3600);
    let refused = cloud.refusal(&cloud.spec("web", &["web-1"])).await;
    assert_eq!(refused.kind(), ErrorKind::Unauthenticated);
    assert!(refused.to_string().contains("clock"), "{refused}");
}

#[tokio::test]
async fn a_command_that_the_account_lacks_is_named() {
    let account = AccountOptions::new("user").with_denied_commands(["deployVirtualMachine"]);
    let cloud = Cloud::start(quick().with_account(account)).await;
    let refused = cloud.refusal(&cloud.spec("web", &["web-1"])).await;
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    assert!(refused.to_string().contains("deployVirtualMachine"), "{refused}");
}

#[tokio::test]
async fn a_job_that_takes_too_long_is_named_and_can_be_awaited() {
    let cloud = Cloud::start(SimulatorOptions::new().with_job_time(Duration::from_secs(3))).await;
    let hasty = config(&cloud.simulator).with_job_timeout(Duration::from_millis(100));
    let nodes = CloudStackProvisioner::new(Client::new(hasty).unwrap());
    let (ctx, spec) = (Context::new(), cloud.spec("web", &["web-1"]));
    let late = nodes.deploy(&ctx, &spec).await.unwrap().into_nodes().unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Timeout);
    let job = JobId::new(late.context_value("job").unwrap());
    client(&cloud.simulator, "default").wait(&ctx, &job).await.unwrap();
    cloud.deploy(&spec).await.unwrap().into_nodes().unwrap();
    assert_eq!(cloud.simulator.machines().len(), 1);
}

#[tokio::test]
async fn a_storm_of_rate_limits_passes() {
    let cloud = Cloud::start(quick()).await;
    let storm = Fault::RateLimit { retry_after: Duration::from_millis(10) };
    cloud.simulator.faults().add(FaultRule::new(storm).with_skip(5).with_times(100));
    cloud.deploy(&cloud.many("web", 20)).await.unwrap().into_nodes().unwrap();
    assert_eq!(cloud.simulator.machines().len(), 20);
}

#[tokio::test]
async fn jobs_that_fail_say_why_and_where() {
    let cloud = Cloud::start(quick()).await;
    let text = "Unable to create a deployment for VM";
    let fault = Fault::FailJob { code: 533, text: text.to_owned() };
    cloud.simulator.faults().once("deployVirtualMachine", fault);
    let failed = cloud.refusal(&cloud.spec("web", &["web-1"])).await;
    assert_eq!(failed.kind(), ErrorKind::QuotaExceeded);
    assert!(failed.to_string().contains(text), "{failed}");
    for key in ["node", "id", "job", "errorcode"] {
        assert_eq!(failed.context().filter(|(name, _)| *name == key).count(), 1, "{failed:?}");
    }
    assert_eq!(failed.context_value("command"), Some("deployVirtualMachine"));
    assert_eq!((failed.backend(), failed.operation()), (Some("cloudstack"), Some("node.create")));
}

#[tokio::test]
async fn a_proxys_page_is_no_answer() {
    let cloud = Cloud::start(quick()).await;
    for effect in [true, false] {
        let page = Fault::Proxy { status: 504, effect };
        cloud.simulator.faults().once("deployVirtualMachine", page);
        let name = format!("web-{}", usize::from(effect));
        let node = cloud.deploy(&cloud.spec("web", &[&name])).await.unwrap().into_nodes().unwrap();
        assert_eq!(node[0].size.as_deref(), Some(SIZE));
    }
    assert_eq!(cloud.simulator.machines().len(), 2);
}
