//! Many machines at once, and many there.

use std::collections::HashSet;
use std::sync::Arc;

use flock_cloudstack::simulator::{MachineState, SimulatorOptions};

use crate::client::start;

const MACHINES: usize = 1000;
const AT_ONCE: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_machines_are_deployed_and_listed() {
    let (simulator, api) = start(SimulatorOptions::new()).await;
    let (zone, template) = (api.zone().await, api.template("KVM").await);
    let offering = api.offering("Small Instance").await;
    let (api, simulator) = (Arc::new(api), Arc::new(simulator));
    let workers: Vec<_> = (0..AT_ONCE)
        .map(|worker| {
            let (api, zone) = (Arc::clone(&api), zone.clone());
            let (template, offering) = (template.clone(), offering.clone());
            tokio::spawn(async move {
                for number in (worker..MACHINES).step_by(AT_ONCE) {
                    let name = format!("node-{number}");
                    let all = [
                        ("zoneid", zone.as_str()),
                        ("templateid", &template),
                        ("serviceofferingid", &offering),
                        ("name", &name),
                    ];
                    api.ok("deployVirtualMachine", &all).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    let is_running = || simulator.machines().iter().all(|one| one.state == MachineState::Running);
    while !is_running() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let (mut names, mut addresses) = (HashSet::new(), HashSet::new());
    for page in ["1", "2", "3"] {
        let list = api.ok("listVirtualMachines", &[("page", page), ("pagesize", "500")]).await;
        assert_eq!(list["count"], MACHINES);
        for item in list["virtualmachine"].as_array().into_iter().flatten() {
            names.insert(item["name"].as_str().unwrap().to_owned());
            addresses.insert(item["nic"][0]["ipaddress"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!((names.len(), addresses.len()), (MACHINES, MACHINES));
}
