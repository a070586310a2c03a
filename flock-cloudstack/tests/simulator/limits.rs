//! Quotas, capacity, and the rate limit.

use std::time::Duration;

use flock_cloudstack::simulator::{AccountOptions, Resource, SimulatorOptions};

use crate::client::{fresh, start};

#[tokio::test]
async fn accounts_have_limits() {
    let (simulator, api) = fresh().await;
    simulator.set_limit("admin", Resource::Machines, Some(1)).unwrap();
    let machine = api.deployed("a", &[]).await;
    let reply = api.deploy("b", &[]).await;
    assert_eq!(reply.status, 535);
    let text = reply.body["errortext"].as_str().unwrap();
    assert!(text.contains("'user_vm'") && text.contains("Resource Limit = 1"), "{text}");
    let limits = api.ok("listResourceLimits", &[("resourcetype", "0")]).await;
    assert_eq!(limits["resourcelimit"][0]["max"], 1);
    assert_eq!(simulator.machines().len(), 1);
    // What is destroyed does not count.
    let id = machine["id"].as_str().unwrap();
    api.run("destroyVirtualMachine", &[("id", id)]).await.unwrap();
    api.deployed("b", &[]).await;
    assert_eq!(api.refused("recoverVirtualMachine", &[("id", id)]).await.0, 535);
    simulator.set_limit("admin", Resource::Machines, None).unwrap();
    simulator.set_limit("admin", Resource::PrimaryStorage, Some(5)).unwrap();
    assert_eq!(api.deploy("c", &[]).await.status, 532);
    assert!(simulator.set_limit("nobody", Resource::Machines, None).is_err());
}

#[tokio::test]
async fn zones_can_be_full() {
    let (simulator, api) = fresh().await;
    simulator.set_capacity("zone-1", Some(1)).unwrap();
    let first = api.deployed("a", &[]).await;
    let reply = api.deploy("b", &[]).await;
    assert_eq!(reply.status, 200);
    let (code, text) = api.wait(&reply.body).await.unwrap_err();
    assert_eq!(code, 533);
    assert!(text.contains("insufficient capacity"), "{text}");
    let id = reply.body["id"].as_str().unwrap();
    let list = api.ok("listVirtualMachines", &[("id", id)]).await;
    assert_eq!(list["virtualmachine"][0]["state"], "Error");
    let gone = api.run("destroyVirtualMachine", &[("id", id)]).await.unwrap();
    assert_eq!(gone["virtualmachine"]["state"], "Expunging");
    assert_eq!(simulator.machines().len(), 1);
    // A machine that was stopped may find its place taken.
    let one = [("id", first["id"].as_str().unwrap())];
    api.run("stopVirtualMachine", &one).await.unwrap();
    api.deployed("c", &[]).await;
    assert_eq!(api.run("startVirtualMachine", &one).await.unwrap_err().0, 533);
    // Those who are no administrators are not told why.
    let user = api.as_other(&simulator.add_account(AccountOptions::new("user")).unwrap());
    let reply = user.deploy("d", &[]).await;
    let (code, text) = user.wait(&reply.body).await.unwrap_err();
    assert_eq!(code, 533);
    assert!(text.contains("contact your system administrator"), "{text}");
}

#[tokio::test]
async fn calls_are_limited_but_for_administrators() {
    let options = SimulatorOptions::new().with_rate_limit(2, Duration::from_secs(2));
    let (simulator, api) = start(options).await;
    let user = api.as_other(&simulator.add_account(AccountOptions::new("user")).unwrap());
    user.ok("listZones", &[]).await;
    let limit = user.ok("getApiLimit", &[]).await;
    assert_eq!(
        (&limit["apilimit"]["apiIssued"], &limit["apilimit"]["apiAllowed"]),
        (&2.into(), &0.into())
    );
    let (code, text) = user.refused("listZones", &[]).await;
    assert_eq!(code, 429);
    let wait = text.split_once("retry after [").unwrap().1.split_once("] ms").unwrap().0;
    tokio::time::sleep(Duration::from_millis(wait.parse::<u64>().unwrap() + 1)).await;
    user.ok("listZones", &[]).await;
    for _ in 0..10 {
        api.ok("listZones", &[]).await;
    }
}
