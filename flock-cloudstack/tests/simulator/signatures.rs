//! Who may ask, and how it must be signed.

use std::time::Duration;

use flock_cloudstack::simulator::{AccountOptions, Role, SimulatorOptions};

use crate::client::{Api, fresh, start};

const UNVERIFIED: &str = "unable to verify user credentials and/or request signature";

#[tokio::test]
async fn a_right_signature_is_let_in_by_get_and_by_post() {
    let (simulator, api) = fresh().await;
    let found = api.ok("listCapabilities", &[]).await;
    assert_eq!(found["capability"]["cloudstackversion"], "4.22.0.0");
    let api = api.with_get();
    let found = api.ok("listZones", &[("name", "~ü *'(a)+%/")]).await;
    assert_eq!(found, serde_json::json!({}));
    assert_eq!(simulator.requests().of("listZones"), 1);
    assert_eq!(simulator.requests().total(), 2);
}

#[tokio::test]
async fn everything_wrong_looks_the_same() {
    let (simulator, api) = fresh().await;
    let wrong_secret = Api::new(&api.url, &api.key, "wrong");
    let wrong_key = Api::new(&api.url, "wrong", &api.secret);
    for (api, command, envelope) in [
        (&wrong_secret, "listZones", "listzonesresponse"),
        (&wrong_key, "listZones", "listzonesresponse"),
        (&api, "listNothing", "errorresponse"),
    ] {
        let reply = api.call(command, &[]).await;
        assert_eq!((reply.status, reply.envelope.as_str()), (401, envelope));
        assert_eq!(reply.body["errortext"], UNVERIFIED);
        assert!(reply.body.get("cserrorcode").is_none());
    }
    let key = api.key.clone();
    let none = api.send(&[("response", "json"), ("apikey", &key)]).await.unwrap();
    assert!(none.text().await.unwrap().starts_with("{\"null\":"));
    simulator.set_account_enabled("admin", false).unwrap();
    assert_eq!(api.refused("listZones", &[]).await, (401, UNVERIFIED.to_owned()));
    simulator.set_account_enabled("admin", true).unwrap();
    api.ok("listZones", &[]).await;
}

#[tokio::test]
async fn the_same_parameter_in_two_places_is_refused() {
    let (_simulator, mut api) = fresh().await;
    api.url.push_str("?command=listZones");
    assert_eq!(api.refused("listZones", &[]).await.0, 401);
}

#[tokio::test]
async fn expired_requests_are_refused_by_the_servers_clock() {
    let (simulator, api) = fresh().await;
    let date = |seconds: i64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let at = i64::try_from(now.as_secs()).unwrap() + seconds;
        jiff::Timestamp::from_second(at).unwrap().strftime("%Y-%m-%dT%H:%M:%S+0000").to_string()
    };
    let call = |expires: String| {
        let api = &api;
        async move {
            let more = [("signatureversion", "3"), ("expires", expires.as_str())];
            api.call("listZones", &more).await.status
        }
    };
    assert_eq!(call(date(600)).await, 200);
    assert_eq!(call(date(-10)).await, 401);
    assert_eq!(call("soon".to_owned()).await, 401);
    assert_eq!(api.call("listZones", &[("signatureversion", "3")]).await.status, 401);
    // Without version 3 nobody looks at it.
    assert_eq!(api.call("listZones", &[("expires", "soon")]).await.status, 200);
    simulator.faults().set_clock_skew(3600);
    assert_eq!(call(date(600)).await, 401);
    assert_eq!(call(date(3700)).await, 200);
    let reply = api.call("listZones", &[]).await;
    let shown = reply.headers["date"].to_str().unwrap().to_owned();
    let shown = jiff::fmt::rfc2822::parse(&shown).unwrap().timestamp().as_second();
    let ahead = shown - jiff::Timestamp::now().as_second();
    assert!((3590..=3600).contains(&ahead), "{ahead}");
}

#[tokio::test]
async fn where_post_is_enforced_changes_need_it() {
    let (_simulator, api) = start(SimulatorOptions::new().with_post_only(true)).await;
    let soon = jiff::Timestamp::now() + Duration::from_secs(600);
    let late = jiff::Timestamp::now() + Duration::from_secs(3600);
    let (soon, late) = (soon.to_string(), late.to_string());
    let signed = |expires| [("signatureversion", "3"), ("expires", expires), ("name", "g")];
    assert_eq!(api.refused("listZones", &[]).await.0, 401);
    assert_eq!(api.refused("listZones", &signed(&late)).await.0, 401);
    api.ok("createSecurityGroup", &signed(&soon)).await;
    let api = api.with_get();
    api.ok("listZones", &signed(&soon)).await;
    let (code, text) = api.refused("createSecurityGroup", &signed(&soon)).await;
    assert_eq!(code, 400);
    assert!(text.contains("needs to be sent using POST request"), "{text}");
}

#[tokio::test]
async fn where_only_get_is_allowed_post_is_refused() {
    let (_simulator, api) = start(SimulatorOptions::new().with_get_only(true)).await;
    assert_eq!(api.call("listZones", &[]).await.status, 405);
    api.with_get().ok("listZones", &[]).await;
}

#[tokio::test]
async fn roles_lack_commands() {
    let (simulator, api) = fresh().await;
    let user = AccountOptions::new("user").with_denied_commands(["deleteTemplate"]);
    let user = api.as_other(&simulator.add_account(user).unwrap());
    let (code, text) = user.refused("deleteTemplate", &[("id", "x")]).await;
    assert_eq!(code, 401);
    assert!(text.contains("'deleteTemplate' either does not exist, is not available"), "{text}");
    user.ok("listCapabilities", &[]).await;
    let apis = user.ok("listApis", &[]).await;
    let names: Vec<_> = apis["api"].as_array().unwrap().iter().map(|api| &api["name"]).collect();
    assert!(names.contains(&&"listZones".into()) && !names.contains(&&"deleteTemplate".into()));
    let one = user.ok("listApis", &[("name", "deployVirtualMachine")]).await;
    assert_eq!((&one["count"], &one["api"][0]["isasync"]), (&1.into(), &true.into()));
    let parameters = one["api"][0]["params"].as_array().unwrap();
    let zone = parameters.iter().find(|one| one["name"] == "zoneid").unwrap();
    assert_eq!((&zone["type"], &zone["required"]), (&"uuid".into(), &true.into()));
    assert_eq!(user.refused("listApis", &[("name", "nothing")]).await.0, 530);
}

#[tokio::test]
async fn accounts_see_their_own() {
    let (simulator, api) = fresh().await;
    let user = api.as_other(&simulator.add_account(AccountOptions::new("user")).unwrap());
    assert!(simulator.add_account(AccountOptions::new("user")).is_err());
    let machine = api.deployed("theirs", &[]).await;
    let id = machine["id"].as_str().unwrap();
    assert_eq!(user.ok("listVirtualMachines", &[]).await, serde_json::json!({}));
    assert_eq!(user.refused("listVirtualMachines", &[("id", id)]).await.0, 531);
    user.deployed("own", &[]).await;
    assert_eq!(user.ok("listVirtualMachines", &[("listall", "true")]).await["count"], 1);
    assert_eq!(api.ok("listVirtualMachines", &[]).await["count"], 1);
    assert_eq!(api.ok("listVirtualMachines", &[("listall", "true")]).await["count"], 2);
    assert_eq!(api.ok("listVirtualMachines", &[("account", "user")]).await["count"], 1);
    assert_eq!(user.ok("listAccounts", &[("listall", "true")]).await["count"], 1);
    assert_eq!(api.ok("listAccounts", &[("listall", "true")]).await["count"], 2);
    let me = user.ok("getUser", &[("userapikey", &user.key)]).await;
    assert_eq!((&me["user"]["username"], &me["user"]["accounttype"]), (&"user".into(), &0.into()));
    assert_eq!(user.refused("getUser", &[("userapikey", &api.key)]).await.0, 431);
    let admin = AccountOptions::new("other").with_role(Role::Admin);
    let admin = api.as_other(&simulator.add_account(admin).unwrap());
    assert_eq!(admin.ok("listUsers", &[]).await["count"], 3);
}

#[tokio::test]
async fn without_json_the_reply_is_xml() {
    let (_simulator, api) = fresh().await;
    let key = api.key.clone();
    let response = api.send(&[("command", "listZones"), ("apikey", &key)]).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/xml; charset=UTF-8");
    let text = response.text().await.unwrap();
    assert!(text.contains("<listzonesresponse><count>2</count><zone>"), "{text}");
}
