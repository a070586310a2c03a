//! Jobs: waited for, waited for again, found after a lost reply.

use std::sync::Mutex;
use std::time::Duration;

use flock_cloudstack::{Client, JobId, JobStatus, Parameters, Started, is_outcome_unknown};
use flock_core::{Context, ErrorKind};
use serde_json::{Value, json};

use crate::support::{Answer, Request, Server};

fn job(status: u64, result: &Value) -> Answer {
    Answer::ok(json!({
        "jobid": "job-1", "jobstatus": status, "jobresult": result, "jobinstanceid": "id-1",
        "cmd": "org.apache.cloudstack.api.command.user.volume.CreateVolumeCmd",
    }))
}

fn pending() -> Answer {
    Answer::ok(json!({"jobid": "job-1", "jobstatus": 0}))
}

async fn wait(server: &Server) -> flock_core::Result<Value> {
    server.client().wait(&Context::new(), &JobId::new("job-1")).await
}

#[tokio::test]
async fn a_job_is_waited_for() {
    let done = json!({"volume": {"id": "id-1"}});
    let started = Answer::ok(json!({"jobid": "job-1", "id": "id-1"}));
    let server = Server::scripted([started, pending(), pending(), job(1, &done)]).await;
    let result = server.client().run(&Context::new(), "createVolume", &Parameters::new()).await;
    assert_eq!(result.unwrap(), done);
    let asked: Vec<_> = server.requests().iter().map(|r| r.get("jobid").to_owned()).collect();
    assert_eq!(asked, ["", "job-1", "job-1", "job-1"]);
}

#[tokio::test]
async fn a_failed_job_fails_as_the_call_would() {
    let server =
        Server::scripted([job(2, &json!({"errorcode": 533, "errortext": "no capacity"}))]).await;
    let error = wait(&server).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.context_value("job")),
        (ErrorKind::QuotaExceeded, Some("job-1"))
    );
    assert!(error.to_string().contains("createVolume: no capacity"), "{error}");
    for (result, text) in
        [(json!("broken"), "broken"), (json!({}), "no reason"), (Value::Null, "no reason")]
    {
        let error = wait(&Server::scripted([job(2, &result)]).await).await.unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[tokio::test]
async fn a_failed_command_names_what_it_left() {
    let started = Answer::ok(json!({"jobid": "job-1", "id": "id-1"}));
    let failed = job(2, &json!({"errorcode": 530, "errortext": "no"}));
    let server = Server::scripted([started, failed]).await;
    let error =
        server.client().run(&Context::new(), "createVolume", &Parameters::new()).await.unwrap_err();
    assert_eq!(
        (error.context_value("id"), error.context_value("job")),
        (Some("id-1"), Some("job-1"))
    );
}

#[tokio::test]
async fn a_wait_that_ends_early_can_be_taken_up_again() {
    let done = Mutex::new(false);
    let server = Server::new(move |number, _| {
        let mut done = done.lock().unwrap();
        *done |= number > 3;
        if *done { job(1, &json!({"success": true})) } else { pending() }
    })
    .await;
    let brief = Client::new(server.config().with_job_timeout(Duration::from_millis(120))).unwrap();
    let error = brief.wait(&Context::new(), &JobId::new("job-1")).await.unwrap_err();
    assert_eq!((error.kind(), error.context_value("job")), (ErrorKind::Timeout, Some("job-1")));
    // In another process, say.
    assert_eq!(wait(&server).await.unwrap(), json!({"success": true}));
}

#[tokio::test]
async fn a_wait_ends_with_its_context() {
    let server = Server::scripted([pending()]).await;
    let ctx = Context::new();
    let (client, inner) = (server.client(), ctx.clone());
    let waiting = tokio::spawn(async move { client.wait(&inner, &JobId::new("job-1")).await });
    while server.requests().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    ctx.cancel();
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.context_value("job")), (ErrorKind::Cancelled, Some("job-1")));
}

#[tokio::test]
async fn a_wait_survives_broken_connections_and_limits() {
    let limited = Answer::error(429, "please retry after [5] ms");
    let down = Answer::html(503);
    let server = Server::scripted([
        pending(),
        Answer::Close,
        limited,
        down,
        job(1, &json!({"success": true})),
    ])
    .await;
    assert_eq!(wait(&server).await.unwrap(), json!({"success": true}));
}

#[tokio::test]
async fn a_job_that_is_forgotten_is_not_found() {
    let text = "Invalid parameter jobid value=job-1 due to incorrect long value format, or entity does not exist";
    let server = Server::scripted([Answer::error(431, text)]).await;
    let error = wait(&server).await.unwrap_err();
    assert_eq!((error.kind(), error.context_value("job")), (ErrorKind::NotFound, Some("job-1")));
}

#[tokio::test]
async fn a_job_is_shown_as_it_is() {
    let server =
        Server::scripted([pending(), job(1, &json!({"success": true})), job(2, &json!("no"))])
            .await;
    let (client, id) = (server.client(), JobId::new("job-1"));
    let first = client.job(&Context::new(), &id).await.unwrap();
    assert!(matches!(first.status, JobStatus::Pending));
    let second = client.job(&Context::new(), &id).await.unwrap();
    assert_eq!(second.instance.as_deref(), Some("id-1"));
    assert!(matches!(second.status, JobStatus::Succeeded(_)));
    let third = client.job(&Context::new(), &id).await.unwrap();
    assert!(
        matches!(third.status, JobStatus::Failed(error) if error.kind() == ErrorKind::Unexpected)
    );
}

#[tokio::test]
async fn after_a_lost_reply_the_job_is_looked_for() {
    let server = Server::new(|number, request: &Request| match (number, request.command()) {
        (0, "attachVolume") => Answer::Close,
        // It shows only a moment later.
        (1, _) => Answer::error(431, "entity does not exist"),
        _ => Answer::ok(json!({
            "jobid": request.get("jobid"), "jobstatus": 1, "jobinstanceid": "id-1",
            "jobresult": {"volume": {"id": "id-1"}},
        })),
    })
    .await;
    let result = server.client().run(&Context::new(), "attachVolume", &Parameters::new()).await;
    assert_eq!(result.unwrap()["volume"]["id"], "id-1");
    let requests = server.requests();
    let chosen = requests[0].get("customjobid");
    // The form that CloudStack insists on.
    assert_eq!((chosen.len(), chosen.to_ascii_lowercase().as_str()), (36, chosen));
    assert!(requests[1..].iter().all(|request| request.get("jobid") == chosen));
    let sent = requests.iter().filter(|request| request.command() == "attachVolume").count();
    assert_eq!(sent, 1);
}

#[tokio::test]
async fn a_job_that_is_not_there_leaves_the_outcome_unknown() {
    let server = Server::new(|_, request: &Request| match request.command() {
        "attachVolume" => Answer::Close,
        _ => Answer::error(431, "entity does not exist"),
    })
    .await;
    let ctx = Context::new();
    let error = server.client().start(&ctx, "attachVolume", &Parameters::new()).await.unwrap_err();
    assert!(is_outcome_unknown(&error));
}

#[tokio::test]
async fn who_chooses_the_jobs_id_looks_for_it() {
    let server = Server::scripted([Answer::Close]).await;
    let asked = Parameters::new().with("customjobid", "11111111-2222-4333-8444-555555555555");
    let error =
        server.client().start(&Context::new(), "deployVirtualMachine", &asked).await.unwrap_err();
    assert!(is_outcome_unknown(&error));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_reply_tells_of_a_job_or_does_not() {
    let started = Started::from_reply(&json!({"jobid": "j", "id": 7})).unwrap();
    assert_eq!((started.job.as_str(), started.id.as_deref()), ("j", Some("7")));
    assert!(Started::from_reply(&json!({"success": true})).is_none());
    assert!(Started::from_reply(&json!({"jobid": "j", "jobstatus": 1})).is_none());
}
