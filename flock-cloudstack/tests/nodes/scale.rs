//! Many nodes by few requests.

use std::num::NonZeroUsize;
use std::time::Duration;

use flock_cloudstack::CloudStackProvisioner;
use flock_core::provisioner::Provisioner as _;
use flock_core::{Context, ListFilter};

use crate::cloud::{Cloud, client, quick};

const NODES: usize = 1000;
/// The most requests for all of them beyond those that make them.
const MOST: u64 = 1_100;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_nodes_take_few_requests() {
    let options = quick().with_job_time(Duration::from_millis(200));
    let cloud = Cloud::start(options).await;
    let nodes = CloudStackProvisioner::new(client(&cloud.simulator, "default"))
        .with_max_concurrency(NonZeroUsize::new(50).unwrap());
    let before = cloud.simulator.requests();
    let (ctx, spec) = (Context::new(), cloud.many("web", NODES));
    nodes.deploy(&ctx, &spec).await.unwrap().into_nodes().unwrap();
    let requests = cloud.simulator.requests().since(&before);
    assert_eq!(requests.of("deployVirtualMachine"), 1000);
    let beyond = requests.total() - 1000;
    assert!(beyond <= MOST, "{beyond} requests beyond the creates: {requests:?}");
    let before = cloud.simulator.requests();
    let listed = nodes.list(&ctx, &ListFilter::app("web")).await.unwrap();
    assert_eq!(listed.len(), NODES);
    assert_eq!(cloud.simulator.requests().since(&before).total(), 2, "pages of 500");
    // All of it is there: a second deploy only looks.
    let before = cloud.simulator.requests();
    nodes.deploy(&ctx, &spec).await.unwrap().into_nodes().unwrap();
    let requests = cloud.simulator.requests().since(&before);
    assert_eq!(requests.of("deployVirtualMachine"), 0);
    assert!(requests.total() < 200, "{requests:?}");
}
