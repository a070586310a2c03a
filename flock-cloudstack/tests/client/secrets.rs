//! No error shows what must not be seen.

use flock_cloudstack::{Client, Parameters};
use flock_core::Context;
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{Answer, SECRET, Server, all_of};

const PASSWORD: &str = "pa55-w0rd";

/// Every way to fail that there is.
fn failures() -> Vec<Answer> {
    let location = vec![("Location", "https://elsewhere.example.org/?x=1".to_owned())];
    vec![
        Answer::Close,
        Answer::Half(json!({"x": {"id": 1}})),
        Answer::html(200),
        Answer::html(503),
        Answer::Page(302, location, String::new()),
        Answer::Json(200, json!([1])),
        Answer::Json(500, json!({"a": {"b": 1}})),
        Answer::error(401, "unable to verify user credentials and/or request signature"),
        Answer::error(431, "no"),
        Answer::error(530, "no"),
    ]
}

#[tokio::test]
async fn errors_hold_neither_secrets_nor_signatures() {
    // Side by side, as what only reads is tried for some seconds.
    let mut tries = JoinSet::new();
    for answer in failures() {
        tries.spawn(shows_nothing(answer.clone(), "createVolume"));
        tries.spawn(shows_nothing(answer, "listZones"));
    }
    tries.join_all().await;
}

async fn shows_nothing(answer: Answer, command: &'static str) {
    let server = Server::scripted([answer.clone()]).await;
    let asked = Parameters::new().with("password", PASSWORD);
    let error = server.client().call(&Context::new(), command, &asked).await.unwrap_err();
    let text = all_of(&error);
    for secret in [SECRET, PASSWORD, "signature=", "expires="] {
        assert!(!text.contains(secret), "{answer:?}: {text}");
    }
}

#[tokio::test]
async fn nothing_shows_them_by_debug() {
    let server = Server::scripted([Answer::Close]).await;
    let client = Client::new(server.config()).unwrap();
    let asked = Parameters::new().with("password", PASSWORD);
    let text = format!("{client:?} {:?} {asked:?}", server.config());
    assert!(text.contains("password"), "{text}");
    assert!(!text.contains(SECRET) && !text.contains(PASSWORD), "{text}");
    let json = serde_json::to_string(&server.config()).unwrap();
    assert!(json.contains("***") && !json.contains(SECRET), "{json}");
}
