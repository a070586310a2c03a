//! What goes wrong when it is told to.

use std::time::Duration;

use flock_cloudstack::simulator::{Fault, FaultPlan, FaultRule, MachineState, VolumeState};

use crate::client::fresh;

const DEPLOY: &str = "deployVirtualMachine";

#[tokio::test]
async fn refusals_have_no_effect() {
    let (simulator, api) = fresh().await;
    let wait = Duration::from_millis(1500);
    simulator.faults().once(DEPLOY, Fault::RateLimit { retry_after: wait });
    let reply = api.deploy("a", &[]).await;
    assert_eq!((reply.status, reply.envelope.as_str()), (429, "deployvirtualmachineresponse"));
    let text = reply.body["errortext"].as_str().unwrap();
    assert!(text.ends_with("please retry after [1500] ms."), "{text}");
    simulator.faults().once(DEPLOY, Fault::unavailable());
    assert_eq!(api.deploy("a", &[]).await.status, 503);
    let full = Fault::Refuse { code: 533, text: "no room".to_owned() };
    simulator.faults().once(DEPLOY, full);
    assert_eq!(api.deploy("a", &[]).await.body["errortext"], "no room");
    assert!(simulator.machines().is_empty());
    assert_eq!(api.deploy("a", &[]).await.status, 200);
    let happened = simulator.faults().happened();
    assert_eq!((happened["rate_limit"], happened["refuse"]), (1, 2));
}

#[tokio::test]
async fn proxies_answer_in_html() {
    let (simulator, api) = fresh().await;
    for (status, effect) in [(502, false), (503, false), (504, true)] {
        simulator.faults().once(DEPLOY, Fault::Proxy { status, effect });
        let reply = api.deploy("a", &[]).await;
        assert_eq!(
            (reply.status, &reply.headers["content-type"]),
            (status, &"text/html".parse().unwrap())
        );
        assert!(reply.body.as_str().unwrap().starts_with("<html>"));
        assert_eq!(simulator.machines().len(), usize::from(effect));
    }
}

#[tokio::test]
async fn connections_break_before_and_after_the_effect() {
    let (simulator, api) = fresh().await;
    // So that the lookups of `deploy` are not in the way.
    let (zone, template) = (api.zone().await, api.template("KVM").await);
    let offering = api.offering("Small Instance").await;
    let deploy = [
        ("zoneid", zone.as_str()),
        ("templateid", &template),
        ("serviceofferingid", &offering),
        ("name", "a"),
    ];
    simulator.faults().once(DEPLOY, Fault::CloseConnection);
    assert!(api.try_call(DEPLOY, &deploy).await.is_err());
    assert!(simulator.machines().is_empty());
    simulator.faults().once(DEPLOY, Fault::LoseReply);
    assert!(api.try_call(DEPLOY, &deploy).await.is_err());
    assert_eq!(simulator.machines().len(), 1);
    let changed = [deploy[0], deploy[1], deploy[2], ("name", "b")];
    simulator.faults().once(DEPLOY, Fault::TruncateReply);
    let error = api.try_call(DEPLOY, &changed).await.err().unwrap();
    assert!(error.is_body() || error.is_decode(), "{error:?}");
    assert_eq!(simulator.machines().len(), 2);
    api.ok("listZones", &[]).await;
}

#[tokio::test]
async fn a_late_effect_comes_though_the_client_has_gone() {
    let (simulator, api) = fresh().await;
    let late = Duration::from_secs(1);
    simulator.faults().once("createSecurityGroup", Fault::Delay(late));
    let call = api.try_call("createSecurityGroup", &[("name", "late")]);
    assert!(tokio::time::timeout(late / 4, call).await.is_err());
    let mut list = api.ok("listSecurityGroups", &[]).await;
    assert_eq!(list["count"], 1);
    while list["count"] == 1 {
        tokio::time::sleep(late / 50).await;
        list = api.ok("listSecurityGroups", &[]).await;
    }
    assert_eq!(list["securitygroup"][1]["name"], "late");
}

#[tokio::test]
async fn a_hanging_request_has_no_effect() {
    let (simulator, api) = fresh().await;
    simulator.faults().once("createSecurityGroup", Fault::Hang);
    let call = api.try_call("createSecurityGroup", &[("name", "never")]);
    assert!(tokio::time::timeout(Duration::from_millis(50), call).await.is_err());
    assert_eq!(api.ok("listSecurityGroups", &[]).await["count"], 1);
    // Nor does it keep the simulator from stopping.
    simulator.faults().once("listZones", Fault::Hang);
    let hanging = tokio::spawn(async move { api.try_call("listZones", &[]).await });
    while simulator.requests().of("listZones") == 0 {
        tokio::task::yield_now().await;
    }
    simulator.stop().await;
    assert!(hanging.await.unwrap().is_err());
}

#[tokio::test]
async fn jobs_fail_and_are_slow() {
    let (simulator, api) = fresh().await;
    simulator.faults().once(DEPLOY, Fault::FailJob { code: 534, text: "no host".to_owned() });
    let reply = api.deploy("a", &[]).await;
    assert_eq!(api.wait(&reply.body).await.unwrap_err(), (534, "no host".to_owned()));
    assert_eq!(simulator.machines()[0].state, MachineState::Error);
    simulator.faults().once(DEPLOY, Fault::FailJobHalfWay);
    let reply = api.deploy("b", &[]).await;
    assert_eq!(api.wait(&reply.body).await.unwrap_err().0, 530);
    assert_eq!(simulator.machines()[1].state, MachineState::Stopped);
    assert_eq!(simulator.volumes()[1].state, VolumeState::Ready);
    let id = simulator.machines()[1].id.clone();
    let start = "startVirtualMachine";
    simulator.faults().once(start, Fault::FailJob { code: 530, text: String::new() });
    assert!(api.run(start, &[("id", &id)]).await.is_err());
    assert_eq!(simulator.machines()[1].state, MachineState::Stopped);
    simulator.faults().once(start, Fault::FailJobHalfWay);
    assert!(api.run(start, &[("id", &id)]).await.is_err());
    assert_eq!(simulator.machines()[1].state, MachineState::Running);
    let slow = Duration::from_millis(150);
    simulator.faults().once(start, Fault::SlowJob(slow));
    let since = tokio::time::Instant::now();
    api.run(start, &[("id", &id)]).await.unwrap();
    assert!(since.elapsed() >= slow);
}

#[tokio::test]
async fn rules_look_at_requests() {
    let (simulator, api) = fresh().await;
    let rule = FaultRule::new(Fault::unavailable())
        .with_command("createsecuritygroup")
        .with_predicate(|asked| asked.parameter("name").is_some_and(|name| name.ends_with('2')))
        .with_skip(1)
        .with_times(1);
    simulator.faults().add(rule);
    let mut codes = Vec::new();
    for name in ["a1", "a2", "b2", "c2"] {
        codes.push(api.call("createSecurityGroup", &[("name", name)]).await.status);
    }
    assert_eq!(codes, [200, 200, 503, 200]);
}

#[tokio::test]
async fn random_plans_hit_everything_sooner_or_later() {
    let (simulator, api) = fresh().await;
    let faults = FaultPlan::default_faults().into_iter();
    let quick = faults.filter(|fault| !matches!(fault, Fault::Delay(_) | Fault::SlowJob(_)));
    simulator.faults().set_plan(FaultPlan::random(7, 0.5).with_faults(quick));
    let mut failed = 0;
    for number in 0..200 {
        let name = format!("g{number}");
        let done = api.try_call("createSecurityGroup", &[("name", &name)]).await;
        failed += u64::from(done.is_err());
    }
    simulator.faults().clear();
    let happened = simulator.faults().happened();
    for name in
        ["rate_limit", "refuse", "proxy", "close_connection", "lose_reply", "truncate_reply"]
    {
        assert!(happened.contains_key(name), "{name}: {happened:?}");
    }
    let broken = happened["close_connection"] + happened["lose_reply"] + happened["truncate_reply"];
    // The client sends again by itself where a kept connection was closed.
    assert!(failed > 0 && failed <= broken, "{failed} of {broken}");
}
