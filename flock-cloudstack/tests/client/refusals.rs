//! What answers mean that are not what was hoped for.

use flock_cloudstack::Parameters;
use flock_core::{Context, Error, ErrorKind};
use serde_json::json;

use crate::support::{Answer, Request, Server};

const UNVERIFIED: &str = "unable to verify user credentials and/or request signature";

async fn failure(server: &Server, command: &str) -> Error {
    server.client().call(&Context::new(), command, &Parameters::new()).await.unwrap_err()
}

fn commands(server: &Server) -> Vec<String> {
    server.requests().iter().map(|request| request.command().to_owned()).collect()
}

#[tokio::test]
async fn a_wrong_key_is_told() {
    let server = Server::scripted([Answer::error(401, UNVERIFIED)]).await;
    let error = failure(&server, "listZones").await;
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.hints().any(|hint| hint.contains("apikey")), "{error:?}");
    assert_eq!(commands(&server), ["listZones", "listCapabilities"]);
}

#[tokio::test]
async fn a_command_that_is_forbidden_is_told_from_a_wrong_key() {
    let server = Server::new(|_, request: &Request| match request.command() {
        "listCapabilities" => Answer::ok(json!({"capability": {}})),
        _ => Answer::error(401, UNVERIFIED),
    })
    .await;
    let error = failure(&server, "listHosts").await;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("listHosts"), "{error}");
    assert_eq!(error.context_value("errorcode"), Some("401"));
}

#[tokio::test]
async fn a_wrong_clock_is_told_from_a_wrong_key_with_the_difference() {
    let unverified =
        json!({"errorresponse": {"errorcode": 401, "errortext": UNVERIFIED}}).to_string();
    for (seconds, word) in [(7200, "behind"), (-7200, "ahead of")] {
        let server_time = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
        let date = server_time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let headers = vec![("Content-Type", "application/json".to_owned()), ("Date", date)];
        let refused = || Answer::Page(401, headers.clone(), unverified.clone());
        let good = Answer::ok(json!({"capability": {}}));
        // The same key, by the server's own clock.
        let server = Server::scripted([refused(), refused(), good]).await;
        let error = failure(&server, "listZones").await;
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert!(error.to_string().contains(word), "{error}");
        let told: i64 = error.context_value("clock_difference_seconds").unwrap().parse().unwrap();
        assert!((7190..=7210).contains(&told), "{told}");
        // A wrong key is wrong by any clock.
        let server = Server::scripted([refused(), refused(), refused()]).await;
        let error = failure(&server, "listZones").await;
        assert!(error.context_value("clock_difference_seconds").is_none(), "{error}");
    }
}

#[tokio::test]
async fn a_gateway_without_time_is_asked_again() {
    let headers = vec![("Content-Type", "application/json".to_owned())];
    let said = json!({"message": "API rate limit exceeded"}).to_string();
    let good = Answer::ok(json!({"count": 0}));
    for status in [429, 503] {
        let busy = Answer::Page(status, headers.clone(), said.clone());
        let server = Server::scripted([busy, good.clone()]).await;
        let client = server.client();
        client.call(&Context::new(), "listZones", &Parameters::new()).await.unwrap();
        assert_eq!(commands(&server), ["listZones", "listZones"]);
    }
}

#[tokio::test]
async fn a_clock_that_is_right_is_not_blamed() {
    let now = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let headers = vec![("Content-Type", "application/json".to_owned()), ("Date", now)];
    let body = json!({"errorresponse": {"errorcode": 401, "errortext": UNVERIFIED}}).to_string();
    let server = Server::scripted([Answer::Page(401, headers, body)]).await;
    let error = failure(&server, "listZones").await;
    assert!(error.context_value("clock_difference_seconds").is_none(), "{error}");
}

#[tokio::test]
async fn a_second_factor_is_no_wrong_key() {
    let server = Server::scripted([Answer::error(511, "2FA is needed")]).await;
    assert_eq!(failure(&server, "listZones").await.kind(), ErrorKind::Unauthenticated);
    assert_eq!(commands(&server), ["listZones"]);
}

#[tokio::test]
async fn html_is_named_as_what_it_is() {
    let server = Server::scripted([Answer::html(200)]).await;
    let error = failure(&server, "listZones").await;
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().contains("text/html"), "{error}");
    assert_eq!(server.requests().len(), 1);
    let down = Server::scripted([Answer::html(503)]).await;
    // A read is asked for again and again; a change fails at once.
    let error = failure(&down, "createVolume").await;
    assert_eq!(
        (error.kind(), error.context_value("http_status")),
        (ErrorKind::Unavailable, Some("503"))
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::scripted([Answer::ok(json!({}))]).await;
    let headers = vec![("Location", format!("{}?leak=1", elsewhere.url))];
    let server = Server::scripted([Answer::Page(302, headers, String::new())]).await;
    for command in ["listZones", "createVolume"] {
        let error = failure(&server, command).await;
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(error.to_string().contains(&elsewhere.url), "{error}");
        assert!(!error.to_string().contains("leak"), "{error}");
    }
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn json_that_is_no_reply_is_refused() {
    for body in [json!([]), json!({"a": {}, "b": {}}), json!({"a": 1})] {
        let server = Server::scripted([Answer::Json(400, body)]).await;
        assert_eq!(failure(&server, "listZones").await.kind(), ErrorKind::InvalidData);
    }
    let server = Server::scripted([Answer::Json(500, json!({"a": {"b": 1}}))]).await;
    let error = failure(&server, "createVolume").await;
    assert!(error.to_string().contains("HTTP 500"), "{error}");
}

#[tokio::test]
async fn old_servers_say_javascript() {
    let headers = vec![("Content-Type", "text/javascript; charset=UTF-8".to_owned())];
    let body = json!({"listzonesresponse": {"zone": [{"id": 1, "name": "z"}]}}).to_string();
    let server = Server::scripted([Answer::Page(200, headers, body)]).await;
    let zones = server.client().zones(&Context::new()).await.unwrap();
    assert_eq!((zones[0].id.as_str(), zones[0].name.as_str()), ("1", "z"));
}

#[tokio::test]
async fn a_value_of_another_kind_is_told_with_the_command() {
    let server = Server::scripted([Answer::ok(json!({"count": 1, "zone": [{"name": "z"}]}))]).await;
    let error = server.client().zones(&Context::new()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.context_value("command")),
        (ErrorKind::InvalidData, Some("listZones"))
    );
}
