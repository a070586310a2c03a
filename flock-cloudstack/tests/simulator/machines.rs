//! Virtual machines, from their deployment to their end.

use std::collections::HashSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flock_cloudstack::simulator::{
    AccountOptions, Fault, Hypervisor, MachineState, SimulatorOptions, ZoneOptions,
};

use crate::client::{Api, Pairs, fresh, start};

async fn state(api: &Api, id: &str) -> String {
    let list = api.ok("listVirtualMachines", &[("id", id)]).await;
    list["virtualmachine"][0]["state"].as_str().unwrap().to_owned()
}

/// Long enough to be looked at while it lasts.
fn slow() -> Fault {
    Fault::SlowJob(Duration::from_secs(1))
}

#[tokio::test]
async fn a_life() {
    let (simulator, api) = fresh().await;
    simulator.faults().once("deployVirtualMachine", slow());
    let reply = api.deploy("web-01", &[("displayname", "web 1 of 3")]).await;
    assert_eq!(reply.envelope, "deployvirtualmachineresponse");
    let id = reply.body["id"].as_str().unwrap();
    let list = api.ok("listVirtualMachines", &[("id", id)]).await;
    let item = &list["virtualmachine"][0];
    assert_eq!((&item["state"], &item["jobid"]), (&"Starting".into(), &reply.body["jobid"]));
    let done = api.wait(&reply.body).await.unwrap();
    let machine = &done["virtualmachine"];
    assert_eq!(
        (&machine["state"], &machine["displayname"]),
        (&"Running".into(), &"web 1 of 3".into())
    );
    assert_eq!(machine["nic"][0]["ipaddress"], "10.1.0.2");
    assert_eq!(machine.get("jobid"), None);
    let one = [("id", id)];
    api.run("stopVirtualMachine", &one).await.unwrap();
    assert_eq!(state(&api, id).await, "Stopped");
    // Stopping what is stopped is no mistake.
    api.run("stopVirtualMachine", &[("id", id), ("forced", "true")]).await.unwrap();
    let (code, text) = api.run("rebootVirtualMachine", &one).await.unwrap_err();
    assert_eq!(code, 530);
    assert!(text.contains("it is Stopped"), "{text}");
    let started = api.run("startVirtualMachine", &one).await.unwrap();
    assert_eq!(started["virtualmachine"]["state"], "Running");
    api.run("rebootVirtualMachine", &one).await.unwrap();
    let destroyed = api.run("destroyVirtualMachine", &one).await.unwrap();
    assert_eq!(destroyed["virtualmachine"]["state"], "Destroyed");
    api.run("destroyVirtualMachine", &one).await.unwrap();
    assert_eq!(api.run("startVirtualMachine", &one).await.unwrap_err().0, 530);
    let back = api.ok("recoverVirtualMachine", &one).await;
    assert_eq!(back["virtualmachine"]["state"], "Stopped");
    assert_eq!(api.run("expungeVirtualMachine", &one).await.unwrap_err().0, 530);
    let gone = api.run("destroyVirtualMachine", &[("id", id), ("expunge", "true")]).await.unwrap();
    assert_eq!(gone["virtualmachine"]["state"], "Expunging");
    assert_eq!(api.refused("listVirtualMachines", &one).await.0, 431);
    assert!(simulator.machines().is_empty() && simulator.volumes().is_empty());
}

#[tokio::test]
async fn jobs_on_one_machine_wait_for_each_other() {
    let (simulator, api) = fresh().await;
    simulator.faults().once("deployVirtualMachine", slow());
    let reply = api.deploy("busy", &[]).await;
    let id = reply.body["id"].as_str().unwrap();
    let stop = api.ok("stopVirtualMachine", &[("id", id)]).await;
    let start = api.ok("startVirtualMachine", &[("id", id)]).await;
    let destroy = api.ok("destroyVirtualMachine", &[("id", id)]).await;
    assert_eq!(state(&api, id).await, "Starting");
    let done = api.wait(&destroy).await.unwrap();
    assert_eq!(done["virtualmachine"]["state"], "Destroyed");
    for (job, expected) in [(&reply.body, "Running"), (&stop, "Stopped"), (&start, "Running")] {
        assert_eq!(api.wait(job).await.unwrap()["virtualmachine"]["state"], expected);
    }
}

#[tokio::test]
async fn names_are_unique_until_their_machine_is_expunged() {
    let (_simulator, api) = fresh().await;
    let machine = api.deployed("web", &[]).await;
    let reply = api.deploy("WEB", &[]).await;
    assert_eq!(reply.status, 431);
    assert!(reply.body["errortext"].as_str().unwrap().contains("already exists"));
    let zone = api.zone().await;
    let networks = [("name", "storage"), ("zoneid", zone.as_str())];
    let other = api.first("listNetworks", "network", &networks).await;
    let second = api.deployed("web", &[("networkids", &other)]).await;
    assert_eq!(second["nic"][0]["networkname"], "storage");
    let id = machine["id"].as_str().unwrap();
    api.run("destroyVirtualMachine", &[("id", id)]).await.unwrap();
    assert_eq!(api.deploy("web", &[]).await.status, 431);
    api.run("expungeVirtualMachine", &[("id", id)]).await.unwrap();
    api.deployed("web", &[]).await;
    for name in ["1web", "web_1", "-web", "web.example"] {
        assert_eq!(api.deploy(name, &[]).await.status, 431, "{name}");
    }
    let unnamed = api.deployed("", &[]).await;
    assert!(unnamed["name"].as_str().unwrap().starts_with("VM-"));
    assert_eq!(unnamed["name"], unnamed["displayname"]);
}

#[tokio::test]
async fn destroyed_machines_are_expunged_in_time() {
    let options = SimulatorOptions::new().with_expunge_delay(Duration::from_secs(2));
    let (simulator, api) = start(options).await;
    let user = api.as_other(&simulator.add_account(AccountOptions::new("user")).unwrap());
    let machine = user.deployed("web", &[]).await;
    let id = machine["id"].as_str().unwrap();
    let expunge = [("id", id), ("expunge", "true")];
    let (code, _) = user.run("destroyVirtualMachine", &expunge).await.unwrap_err();
    assert_eq!(code, 530);
    user.run("destroyVirtualMachine", &[("id", id)]).await.unwrap();
    // Users do not see what is destroyed, nor get it back.
    assert_eq!(user.ok("listVirtualMachines", &[]).await, serde_json::json!({}));
    assert_eq!(user.refused("recoverVirtualMachine", &[("id", id)]).await.0, 531);
    assert_eq!(simulator.machines()[0].state, MachineState::Destroyed);
    while !simulator.machines().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn custom_offerings_want_their_size() {
    let (_simulator, api) = fresh().await;
    let custom = api.offering("Custom Instance").await;
    let offering = ("serviceofferingid", custom.as_str());
    assert_eq!(api.deploy("a", &[offering]).await.status, 431);
    let cpus = ("details[0].cpuNumber", "2");
    assert_eq!(api.deploy("a", &[offering, cpus]).await.status, 431);
    let machine = api.deployed("a", &[offering, cpus, ("details[0].memory", "768")]).await;
    assert_eq!((&machine["cpunumber"], &machine["memory"]), (&2.into(), &768.into()));
    assert_eq!(api.deploy("b", &[cpus]).await.status, 431);
}

#[tokio::test]
async fn root_disks_have_the_size_that_was_asked_for() {
    let (simulator, api) = fresh().await;
    api.deployed("a", &[("rootdisksize", "8")]).await;
    assert_eq!(simulator.volumes()[0].size, 8 << 30);
    assert_eq!(api.deploy("b", &[("rootdisksize", "1")]).await.status, 431);
    let lxc = api.template("LXC").await;
    let offering = api.offering("Small Instance with 20 GB root disk").await;
    let template = ("templateid", lxc.as_str());
    for more in [("rootdisksize", "8"), ("serviceofferingid", offering.as_str())] {
        let reply = api.deploy("c", &[template, more]).await;
        assert_eq!(reply.status, 431);
        let text = reply.body["errortext"].as_str().unwrap();
        assert_eq!(text, "Hypervisor LXC does not support rootdisksize override");
    }
    api.deployed("c", &[template]).await;
}

#[tokio::test]
async fn user_data_is_base64_and_bounded() {
    let (simulator, api) = fresh().await;
    let data = STANDARD.encode("#cloud-config\n");
    let machine = api.deployed("a", &[("userdata", &data)]).await;
    assert_eq!(simulator.machines()[0].user_data.as_deref(), Some(data.as_str()));
    let id = machine["id"].as_str().unwrap();
    let found = api.ok("getVirtualMachineUserData", &[("virtualmachineid", id)]).await;
    assert_eq!(found["virtualmachineuserdata"]["userdata"], data);
    assert_eq!(machine.get("userdata"), None);
    assert_eq!(api.deploy("b", &[("userdata", "not base64!")]).await.status, 431);
    let long = STANDARD.encode(vec![b'x'; 24_000]);
    api.deployed("b", &[("userdata", &long)]).await;
    let longer = STANDARD.encode(vec![b'x'; 25_000]);
    assert_eq!(api.deploy("c", &[("userdata", &longer)]).await.status, 431);
    assert_eq!(api.with_get().deploy("c", &[("userdata", &long)]).await.status, 431);
}

#[tokio::test]
async fn what_is_asked_for_must_be_there() {
    let (_simulator, api) = fresh().await;
    let two = api.first("listZones", "zone", &[("name", "zone-2")]).await;
    let network = api.first("listNetworks", "network", &[("zoneid", &two)]).await;
    let xen = api.template("XenServer").await;
    let cases: [Pairs<'_>; 8] = [
        &[("networkids", &network)],
        &[("securitygroupnames", "nothing")],
        &[("securitygroupnames", "default"), ("securitygroupids", "x")],
        &[("affinitygroupnames", "nothing")],
        &[("keypair", "nothing")],
        &[("hypervisor", "VMware")],
        &[("templateid", &xen), ("hypervisor", "KVM")],
        &[("ipaddress", "10.9.9.9.9")],
    ];
    for more in cases {
        let reply = api.deploy("a", more).await;
        assert_eq!(reply.status, 431, "{more:?}: {}", reply.body);
    }
    assert_eq!(api.deploy("a", &[("ipaddress", "10.9.0.9")]).await.status, 533);
    let machine = api.deployed("a", &[("ipaddress", "10.1.7.7")]).await;
    assert_eq!(machine["nic"][0]["ipaddress"], "10.1.7.7");
    assert_eq!(api.deploy("b", &[("ipaddress", "10.1.7.7")]).await.status, 533);
}

#[tokio::test]
async fn zones_without_security_groups_have_none() {
    let zone = ZoneOptions::new("zone-1")
        .with_security_groups(false)
        .with_hypervisors([Hypervisor::Kvm])
        .with_networks(["lan"]);
    let (_simulator, api) = start(SimulatorOptions::new().with_zones([zone])).await;
    let machine = api.deployed("a", &[]).await;
    assert_eq!(machine["securitygroup"], serde_json::json!([]));
    assert_eq!(api.deploy("b", &[("securitygroupnames", "default")]).await.status, 431);
}

#[tokio::test]
async fn a_machine_can_be_made_and_not_started() {
    let (_simulator, api) = fresh().await;
    let machine = api.deployed("a", &[("startvm", "false")]).await;
    assert_eq!(machine["state"], "Stopped");
    let id = machine["id"].as_str().unwrap();
    let disks = api.ok("listVolumes", &[("virtualmachineid", id)]).await;
    assert_eq!(disks["volume"][0]["state"], "Allocated");
    api.run("startVirtualMachine", &[("id", id)]).await.unwrap();
    let disks = api.ok("listVolumes", &[("virtualmachineid", id)]).await;
    assert_eq!(
        (&disks["volume"][0]["state"], &disks["volume"][0]["type"]),
        (&"Ready".into(), &"ROOT".into())
    );
}

#[tokio::test]
async fn machines_are_filtered() {
    let (simulator, api) = fresh().await;
    let mut ids = Vec::new();
    for name in ["web-1", "web-2", "db-1"] {
        ids.push(api.deployed(name, &[]).await["id"].as_str().unwrap().to_owned());
    }
    simulator.report_power(&ids[2], false).unwrap();
    let count = async |more: Pairs<'_>| {
        let list = api.ok("listVirtualMachines", more).await;
        list["count"].as_u64().unwrap_or(0)
    };
    assert_eq!(count(&[("name", "web-1")]).await, 1);
    assert_eq!(count(&[("name", "web")]).await, 0);
    assert_eq!(count(&[("keyword", "WEB")]).await, 2);
    assert_eq!(count(&[("state", "Running")]).await, 2);
    assert_eq!(count(&[("state", "Present")]).await, 3);
    assert_eq!(count(&[("hypervisor", "LXC")]).await, 0);
    let two = format!("{},{}", ids[0], ids[2]);
    assert_eq!(count(&[("ids", &two)]).await, 2);
    assert_eq!(count(&[("ids", &two), ("state", "Stopped")]).await, 1);
    let update = [("id", ids[0].as_str()), ("displayname", "first"), ("name", "web-9")];
    let changed = api.ok("updateVirtualMachine", &update).await;
    assert_eq!(changed["virtualmachine"]["displayname"], "first");
    assert_eq!(count(&[("name", "web-9")]).await, 1);
    let taken = [("id", ids[0].as_str()), ("name", "db-1")];
    assert_eq!(api.refused("updateVirtualMachine", &taken).await.0, 431);
    api.deployed("web-1", &[]).await;
}

#[tokio::test]
async fn job_ids_can_be_chosen() {
    let (_simulator, api) = fresh().await;
    let job = "0b2c5a36-3a3a-4a77-a2a9-7d04b0bdd0c1";
    assert_eq!(api.refused("queryAsyncJobResult", &[("jobid", job)]).await.0, 431);
    let reply = api.deploy("a", &[("customjobid", job)]).await;
    assert_eq!(reply.body["jobid"], job);
    let found = api.ok("queryAsyncJobResult", &[("jobid", job)]).await;
    assert_eq!(found["jobinstanceid"], reply.body["id"]);
    assert_eq!(api.deploy("b", &[("customjobid", job)]).await.status, 530);
    assert_eq!(api.ok("listVirtualMachines", &[]).await["count"], 1);
    assert_eq!(api.deploy("b", &[("customjobid", "mine")]).await.status, 431);
    assert_eq!(api.ok("listAsyncJobs", &[]).await["count"], 1);
    let (_simulator, api) = start(SimulatorOptions::new().with_custom_job_ids(false)).await;
    assert_ne!(api.deploy("a", &[("customjobid", job)]).await.body["jobid"], job);
}

#[tokio::test]
async fn jobs_are_forgotten() {
    let options = SimulatorOptions::new().with_job_expiry(Duration::from_millis(50));
    let (_simulator, api) = start(options).await;
    let job = api.deploy("a", &[]).await.body["jobid"].as_str().unwrap().to_owned();
    loop {
        let reply = api.call("queryAsyncJobResult", &[("jobid", &job)]).await;
        if reply.status == 431 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(api.ok("listVirtualMachines", &[]).await["virtualmachine"][0]["state"], "Running");
}

#[tokio::test]
async fn addresses_are_used_again_late_and_never_twice() {
    let (_simulator, api) = fresh().await;
    let mut seen = HashSet::new();
    for _ in 0..5 {
        let machine = api.deployed("again", &[]).await;
        let address = machine["nic"][0]["ipaddress"].as_str().unwrap().to_owned();
        assert!(seen.insert(address));
        let id = machine["id"].as_str().unwrap();
        api.run("destroyVirtualMachine", &[("id", id), ("expunge", "true")]).await.unwrap();
    }
}
