//! What is sent.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flock_cloudstack::{Client, Method, Parameters};
use flock_core::{Context, ErrorKind};
use serde_json::json;

use crate::support::{Answer, Server};

fn parameters() -> Parameters {
    Parameters::new().with("name", "a b~c*d+e").with_map("details", [("cpuNumber", "2")])
}

#[tokio::test]
async fn reads_are_sent_by_get_and_changes_by_post() {
    let server = Server::scripted([Answer::ok(json!({}))]).await;
    let (ctx, client) = (Context::new(), server.client());
    for command in ["listVolumes", "queryAsyncJobResult", "getApiLimit", "findHostsForMigration"] {
        client.call(&ctx, command, &parameters()).await.unwrap();
    }
    for command in ["createVolume", "getUploadParamsForTemplate", "login"] {
        client.call(&ctx, command, &parameters()).await.unwrap();
    }
    let methods: Vec<_> = server.requests().iter().map(|r| (r.method.clone(), r.in_body)).collect();
    let (get, post) = (("GET".to_owned(), false), ("POST".to_owned(), true));
    assert_eq!(methods[..4], vec![get; 4]);
    assert_eq!(methods[4..], vec![post; 3]);
    for request in server.requests() {
        assert_eq!(request.path, "/client/api");
        // `Server` has checked the signature: over the values as they arrive.
        assert_eq!(request.get("name"), "a b~c*d+e");
        assert_eq!(request.get("details[0].cpuNumber"), "2");
        assert!(request.expires.ends_with("+0000"), "{}", request.expires);
    }
}

#[tokio::test]
async fn a_cloud_without_post_gets_none() {
    let server = Server::scripted([Answer::ok(json!({}))]).await;
    let client = Client::new(server.config().with_method(Method::GetOnly)).unwrap();
    client.call(&Context::new(), "createVolume", &parameters()).await.unwrap();
    assert_eq!(server.requests()[0].method, "GET");
}

#[tokio::test]
async fn what_every_request_has_is_not_the_callers() {
    let server = Server::scripted([Answer::ok(json!({}))]).await;
    let asked = Parameters::new()
        .with("command", "deleteVolume")
        .with("apikey", "another")
        .with("expires", "never")
        .with("signature", "forged");
    server.client().call(&Context::new(), "listZones", &asked).await.unwrap();
    assert_eq!(server.requests()[0].command(), "listZones");
}

#[tokio::test]
async fn what_is_no_command_is_not_sent() {
    let server = Server::scripted([Answer::ok(json!({}))]).await;
    for command in ["", "list Zones", "listZones&apikey=x", "../admin"] {
        let error = server.client().call(&Context::new(), command, &Parameters::new()).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidConfig);
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn no_more_requests_are_under_way_than_allowed() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = (Arc::clone(&now), Arc::clone(&most));
    let server = Server::new(move |_, _| {
        let count = seen.0.fetch_add(1, Ordering::SeqCst) + 1;
        seen.1.fetch_max(count, Ordering::SeqCst);
        std::thread::sleep(std::time::Duration::from_millis(5));
        seen.0.fetch_sub(1, Ordering::SeqCst);
        Answer::ok(json!({}))
    })
    .await;
    let config = server.config().with_max_concurrency(NonZeroUsize::MIN);
    let client = Client::new(config).unwrap();
    let calls = (0..10).map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            client.call(&Context::new(), "listZones", &Parameters::new()).await.unwrap();
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    assert_eq!((most.load(Ordering::SeqCst), server.requests().len()), (1, 10));
}

#[tokio::test]
async fn a_call_ends_with_its_context() {
    let server = Server::scripted([Answer::Hang]).await;
    let ctx = Context::new();
    let (client, inner) = (server.client(), ctx.clone());
    let call =
        tokio::spawn(async move { client.call(&inner, "listZones", &Parameters::new()).await });
    while server.requests().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    ctx.cancel();
    assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
    let error = server.client().call(&ctx, "createVolume", &Parameters::new()).await.unwrap_err();
    assert_eq!((error.kind(), server.requests().len()), (ErrorKind::Cancelled, 1));
}
