//! Passwords of templates that have the script for them.

use std::sync::{Arc, Mutex};

use flock_cloudstack::simulator::Fault;
use flock_cloudstack::{CloudStackProvisioner, Parameters};
use flock_core::progress::ProgressEvent;
use flock_core::provisioner::{DeploySpec, Provisioner as _};
use flock_core::{Context, Error, ErrorKind};

use crate::cloud::{Cloud, client, quick};

/// A cloud with a template for which CloudStack makes passwords.
async fn cloud() -> Cloud {
    let cloud = Cloud::start(quick()).await;
    let api = client(&cloud.simulator, "default");
    let asked = Parameters::new().with("id", cloud.image.as_str()).with("passwordenabled", "true");
    api.call(&Context::new(), "updateTemplate", &asked).await.unwrap();
    cloud
}

type Seen = Arc<Mutex<Vec<(String, String)>>>;

fn with_sink(nodes: &CloudStackProvisioner) -> (CloudStackProvisioner, Seen) {
    let seen = Seen::default();
    let sink = Arc::clone(&seen);
    let nodes = nodes.clone().with_password_sink(move |node, password| {
        sink.lock().unwrap().push((node.name.clone(), password.expose().to_owned()));
        Ok(())
    });
    (nodes, seen)
}

fn spec(cloud: &Cloud) -> DeploySpec {
    cloud.spec("web", &["web-1", "web-2"])
}

#[tokio::test]
async fn each_node_has_its_password_handed_over() {
    let cloud = cloud().await;
    let (nodes, seen) = with_sink(&cloud.nodes);
    let deployed = nodes.deploy(&Context::new(), &spec(&cloud)).await.unwrap();
    let shown = format!("{deployed:?}");
    let mut seen = seen.lock().unwrap().clone();
    seen.sort();
    assert_eq!(seen.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["web-1", "web-2"]);
    assert_ne!(seen[0].1, seen[1].1);
    for (_, password) in seen {
        assert!(!password.is_empty() && !shown.contains(&password));
    }
}

#[tokio::test]
async fn a_sink_may_block() {
    let cloud = cloud().await;
    let nodes = cloud.nodes.clone().with_password_sink(|_, _| {
        // Panics on a thread that has other things to do than to wait.
        tokio::runtime::Handle::current().block_on(tokio::task::yield_now());
        Ok(())
    });
    nodes.deploy(&Context::new(), &spec(&cloud)).await.unwrap().into_nodes().unwrap();
}

#[tokio::test]
async fn a_password_that_was_not_taken_is_handed_over_again() {
    let cloud = cloud().await;
    let full = cloud
        .nodes
        .clone()
        .with_password_sink(|_, _| Err(Error::new(ErrorKind::QuotaExceeded, "the disk is full")));
    let spec = spec(&cloud);
    let deployed = full.deploy(&Context::new(), &spec).await.unwrap();
    for (outcome, error) in deployed.failed() {
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
        assert!(outcome.id.is_some());
    }
    assert_eq!(deployed.failed().count(), 2);
    let (nodes, seen) = with_sink(&cloud.nodes);
    nodes.deploy(&Context::new(), &spec).await.unwrap().into_nodes().unwrap();
    assert_eq!(seen.lock().unwrap().len(), 2);
    assert_eq!(cloud.simulator.machines().len(), 2);
}

#[tokio::test]
async fn where_there_is_no_password_any_more_that_is_said() {
    let cloud = cloud().await;
    cloud.simulator.faults().once("deployVirtualMachine", Fault::FailJobHalfWay);
    let (nodes, seen) = with_sink(&cloud.nodes);
    let spec = cloud.spec("web", &["web-1"]);
    let first = nodes.deploy(&Context::new(), &spec).await.unwrap();
    assert_eq!(first.failed().count(), 1);
    let (ctx, told) = listening();
    nodes.deploy(&ctx, &spec).await.unwrap().into_nodes().unwrap();
    assert_eq!(seen.lock().unwrap().len(), 0);
    let told = told.lock().unwrap();
    assert!(told.iter().any(|text| text.contains("resetPassword")), "{told:?}");
}

/// A context, and what it is told.
fn listening() -> (Context, Arc<Mutex<Vec<String>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let messages = Arc::clone(&told);
    let ctx = Context::new().with_progress_fn(move |event| {
        if let ProgressEvent::Message { text, .. } = event {
            messages.lock().unwrap().push(text);
        }
    });
    (ctx, told)
}

#[tokio::test]
async fn who_does_not_ask_is_told_once_that_there_are_passwords() {
    let cloud = cloud().await;
    let (ctx, told) = listening();
    cloud.nodes.deploy(&ctx, &spec(&cloud)).await.unwrap().into_nodes().unwrap();
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("resetPasswordForVirtualMachine"));
    let requests = cloud.simulator.requests();
    assert!(requests.of("queryAsyncJobResult") <= 2, "no job is asked for nobody: {requests:?}");
}
