//! What is sent again, and what never.

use std::time::Duration;

use flock_cloudstack::{Client, CloudStackConfig, Parameters, is_outcome_unknown};
use flock_core::secret::Secret;
use flock_core::{Context, Error, ErrorKind};
use serde_json::{Value, json};

use crate::support::{Answer, Server};

const LIMITED: &str =
    "The given user has reached his/her account api limit, please retry after [20] ms.";

async fn call(server: &Server, command: &str) -> Result<Value, Error> {
    server.client().call(&Context::new(), command, &Parameters::new()).await
}

/// What becomes of a command after this answer and then a good one, and how
/// often it was sent.
async fn after(answer: Answer, command: &str) -> (Result<Value, Error>, usize) {
    let server = Server::scripted([answer, Answer::ok(json!({"good": true}))]).await;
    (call(&server, command).await, server.requests().len())
}

/// Whatever gets a request lost: nobody knows whether it had an effect.
fn losses() -> Vec<Answer> {
    vec![
        Answer::Close,
        Answer::Half(json!({"x": {"id": 1}})),
        Answer::html(502),
        Answer::html(503),
        Answer::html(504),
    ]
}

#[tokio::test]
async fn reads_that_get_lost_are_sent_again() {
    for loss in losses() {
        let (reply, sent) = after(loss.clone(), "listZones").await;
        assert_eq!((reply.unwrap()["good"].clone(), sent), (json!(true), 2), "{loss:?}");
    }
}

#[tokio::test]
async fn changes_that_get_lost_are_not() {
    for loss in losses() {
        let (reply, sent) = after(loss.clone(), "createVolume").await;
        let error = reply.unwrap_err();
        assert!(is_outcome_unknown(&error) && !error.is_retryable(), "{loss:?}: {error}");
        assert_eq!((error.context_value("command"), sent), (Some("createVolume"), 1), "{loss:?}");
        assert!(error.hints().any(|hint| hint.contains("look before")), "{error:?}");
    }
    // It makes a record, whatever its name says.
    let (reply, sent) = after(Answer::Close, "getUploadParamsForTemplate").await;
    assert!(is_outcome_unknown(&reply.unwrap_err()) && sent == 1);
}

#[tokio::test]
async fn a_change_without_an_answer_in_time_is_lost_too() {
    let server = Server::scripted([Answer::Hang]).await;
    let config = server.config().with_request_timeout(Duration::from_millis(100));
    let client = Client::new(config).unwrap();
    let error = client.call(&Context::new(), "createVolume", &Parameters::new()).await.unwrap_err();
    assert!(is_outcome_unknown(&error));
    assert_eq!((error.kind(), server.requests().len()), (ErrorKind::Timeout, 1));
}

#[tokio::test]
async fn what_was_turned_away_is_sent_again() {
    for command in ["listZones", "createVolume"] {
        for refusal in [Answer::error(429, LIMITED), Answer::error(503, "Maintenance or shutdown")]
        {
            let server = Server::scripted([refusal.clone(), refusal, Answer::ok(json!({}))]).await;
            call(&server, command).await.unwrap();
            assert_eq!(server.requests().len(), 3, "{command}");
        }
    }
}

#[tokio::test]
async fn a_limit_outlasts_any_number_of_tries() {
    let refusal = Answer::error(429, "please retry after [1] ms");
    let script = std::iter::repeat_n(refusal, 7).chain([Answer::ok(json!({}))]);
    let server = Server::scripted(script).await;
    let client = server.client();
    let ctx = Context::new().with_timeout(Duration::from_secs(120));
    client.call(&ctx, "createVolume", &Parameters::new()).await.unwrap();
    assert_eq!(server.requests().len(), 8);
}

#[tokio::test]
async fn a_limit_that_outlasts_the_context_is_the_cause() {
    let server = Server::scripted([Answer::error(429, "please retry after [90000] ms")]).await;
    let ctx = Context::new().with_timeout(Duration::from_millis(200));
    let error = server.client().call(&ctx, "listZones", &Parameters::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("please retry after [90000] ms"), "{cause}");
}

#[tokio::test]
async fn a_proxys_limit_is_a_limit() {
    let headers = vec![("Content-Type", "text/html".to_owned()), ("Retry-After", "0".to_owned())];
    let limited = Answer::Page(429, headers, "slow down".to_owned());
    for command in ["listZones", "createVolume"] {
        let (reply, sent) = after(limited.clone(), command).await;
        assert!(reply.is_ok() && sent == 2, "{command}: {reply:?}");
    }
}

#[tokio::test]
async fn refusals_are_final() {
    for (code, command) in [
        (431, "listZones"),
        (431, "createVolume"),
        (530, "createVolume"),
        (533, "createVolume"),
        (432, "listZones"),
    ] {
        let (reply, sent) = after(Answer::error(code, "no"), command).await;
        let error = reply.unwrap_err();
        assert_eq!((error.context_value("errorcode"), sent), (Some(code.to_string().as_str()), 1));
        assert!(!is_outcome_unknown(&error));
    }
}

#[tokio::test]
async fn an_internal_error_of_a_read_may_pass() {
    let (reply, sent) =
        after(Answer::error(530, "Deadlock found when trying to get lock"), "listZones").await;
    assert!(reply.is_ok() && sent == 2);
}

#[tokio::test]
async fn reads_are_not_sent_for_ever() {
    let server = Server::scripted([Answer::Close]).await;
    let error = call(&server, "listZones").await.unwrap_err();
    assert_eq!((error.kind(), server.requests().len()), (ErrorKind::Unavailable, 5));
    assert!(error.is_retryable() && !is_outcome_unknown(&error));
}

#[tokio::test]
async fn where_nobody_listens_nothing_was_changed() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/client/api", free.local_addr().unwrap());
    drop(free);
    let client =
        Client::new(CloudStackConfig::new(url.parse().unwrap(), "k", Secret::new("s"))).unwrap();
    let error = client.call(&Context::new(), "createVolume", &Parameters::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.is_retryable() && !is_outcome_unknown(&error));
    assert!(error.to_string().contains("cannot connect to 127.0.0.1"), "{error}");
}
