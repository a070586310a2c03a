//! Lists: pages, filters, and what parameters must be like.

use flock_cloudstack::simulator::SimulatorOptions;
use serde_json::json;

use crate::client::{fresh, start};

#[tokio::test]
async fn lists_come_in_pages() {
    let (_simulator, api) = start(SimulatorOptions::new().with_max_page_size(10)).await;
    let all = api.ok("listOsTypes", &[]).await;
    let count = all["count"].as_u64().unwrap();
    assert!(count > 20, "{count}");
    assert_eq!(all["ostype"].as_array().unwrap().len(), 10);
    let mut seen = Vec::new();
    for page in 1.. {
        let page = page.to_string();
        let list = api.ok("listOsTypes", &[("page", &page), ("pagesize", "7")]).await;
        assert_eq!(list["count"], count);
        match list.get("ostype") {
            Some(items) => seen.extend(items.as_array().unwrap().clone()),
            None => break,
        }
    }
    assert_eq!(seen.len() as u64, count);
    seen.dedup();
    assert_eq!(seen.len() as u64, count);
    for (page, size) in [("1", ""), ("", "5"), ("1", "11"), ("0", "5"), ("1", "-1"), ("x", "1")] {
        let (code, _) = api.refused("listOsTypes", &[("page", page), ("pagesize", size)]).await;
        assert_eq!(code, 431, "{page} {size}");
    }
    let (_, text) = api.refused("listOsTypes", &[("page", "1"), ("pagesize", "501")]).await;
    assert!(text.contains("Page size can't exceed max allowed page size value"), "{text}");
}

#[tokio::test]
async fn empty_lists_are_empty_objects() {
    let (_simulator, api) = fresh().await;
    for command in ["listVirtualMachines", "listVolumes", "listSSHKeyPairs", "listProjects"] {
        assert_eq!(api.ok(command, &[]).await, json!({}), "{command}");
    }
}

#[tokio::test]
async fn what_there_is_to_choose_from() {
    let (_simulator, api) = fresh().await;
    let zones = api.ok("listZones", &[]).await;
    assert_eq!(zones["zone"][0]["name"], "zone-1");
    assert_eq!(zones["zone"][0]["securitygroupsenabled"], true);
    let zone = api.zone().await;
    let found = api.ok("listHypervisors", &[("zoneid", &zone)]).await;
    let expected = json!([{"name": "KVM"}, {"name": "LXC"}, {"name": "XenServer"}]);
    assert_eq!(found["hypervisor"], expected);
    let two = api.first("listZones", "zone", &[("name", "zone-2")]).await;
    let found = api.ok("listHypervisors", &[("zoneid", &two)]).await;
    assert_eq!(found["hypervisor"], json!([{"name": "KVM"}, {"name": "XenServer"}]));
    let debian = api.ok("listOsTypes", &[("description", "Debian GNU/Linux 12")]).await;
    assert_eq!(debian["ostype"][0]["description"], "Debian GNU/Linux 12 (64-bit)");
    let custom = api.ok("listServiceOfferings", &[("name", "custom instance")]).await;
    let custom = &custom["serviceoffering"][0];
    assert_eq!((&custom["iscustomized"], custom.get("memory")), (&true.into(), None));
    let disks = api.ok("listDiskOfferings", &[("keyword", "usto")]).await;
    assert_eq!(
        (&disks["count"], &disks["diskoffering"][0]["iscustomized"]),
        (&1.into(), &true.into())
    );
    let networks = api.ok("listNetworks", &[("zoneid", &zone)]).await;
    assert_eq!(
        (&networks["count"], &networks["network"][0]["name"]),
        (&2.into(), &"default".into())
    );
    let domain = api.ok("listDomains", &[]).await;
    assert_eq!(domain["domain"][0]["name"], "ROOT");
}

/// A configuration that names a zone by its id survives a restart.
#[tokio::test]
async fn ids_are_the_same_after_a_restart() {
    let (first, api) = fresh().await;
    let before = (api.zone().await, api.template("LXC").await);
    first.stop().await;
    assert!(api.try_call("listZones", &[]).await.is_err());
    let (_second, api) = fresh().await;
    assert_eq!((api.zone().await, api.template("LXC").await), before);
}

#[tokio::test]
async fn parameters_are_checked() {
    let (_simulator, api) = fresh().await;
    let (code, text) = api.refused("deployVirtualMachine", &[]).await;
    assert_eq!(code, 431);
    let expected = "Unable to execute API command deployvirtualmachine due to missing parameter ";
    assert!(text.starts_with(expected), "{text}");
    let unknown = "6fe1d0a3-ec9c-4c5b-8a85-5a7e3e0ab4a0";
    for value in ["12", "zone-1", unknown] {
        let (code, text) = api.refused("listZones", &[("id", value)]).await;
        assert_eq!(code, 431);
        let expected = format!("Invalid parameter id value={value} due to incorrect long value");
        assert!(text.contains(&expected), "{text}");
    }
    let long = "x".repeat(256);
    let (code, text) = api.refused("createSecurityGroup", &[("name", &long)]).await;
    assert_eq!(code, 431);
    assert!(text.contains("greater than max allowed length 255 for param: name"), "{text}");
    let (code, text) = api.refused("listZones", &[("name", "a\tb")]).await;
    assert_eq!(code, 431);
    assert!(text.contains("illegal ASCII non-printable characters"), "{text}");
    // What is not known is not looked at, names count in any case.
    let found = api.ok("listZones", &[("NAME", "zone-2"), ("nonsense", "1")]).await;
    assert_eq!(found["count"], 1);
}

#[tokio::test]
async fn key_pairs() {
    let (_simulator, api) = fresh().await;
    let key =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ~me";
    let register = [("name", "laptop"), ("publickey", key)];
    let made = api.ok("registerSSHKeyPair", &register).await;
    let print = made["keypair"]["fingerprint"].as_str().unwrap();
    assert_eq!(print, "0f:a2:0a:d7:38:3e:65:45:08:6b:63:84:1c:ff:dc:ba");
    assert_eq!(api.refused("registerSSHKeyPair", &register).await.0, 431);
    let again = [("name", "other"), ("publickey", key)];
    assert_eq!(api.refused("registerSSHKeyPair", &again).await.0, 431);
    let (_, text) = api.refused("registerSSHKeyPair", &[("name", "x"), ("publickey", "x")]).await;
    assert_eq!(text, "Public key is invalid");
    let made = api.ok("createSSHKeyPair", &[("name", "temporary")]).await;
    let private = made["keypair"]["privatekey"].as_str().unwrap();
    assert!(private.starts_with("-----BEGIN PRIVATE KEY-----"));
    let list = api.ok("listSSHKeyPairs", &[]).await;
    assert_eq!(list["count"], 2);
    assert!(!list.to_string().contains("PRIVATE"));
    api.ok("deleteSSHKeyPair", &[("name", "temporary")]).await;
    assert_eq!(api.refused("deleteSSHKeyPair", &[("name", "temporary")]).await.0, 431);
}

#[tokio::test]
async fn security_groups() {
    let (_simulator, api) = fresh().await;
    let group = [("name", "web"), ("description", "the web")];
    let made = api.ok("createSecurityGroup", &group).await;
    let id = made["securitygroup"]["id"].as_str().unwrap();
    assert_eq!(api.refused("createSecurityGroup", &group).await.0, 431);
    let rule = [
        ("securitygroupname", "web"),
        ("protocol", "TCP"),
        ("startport", "80"),
        ("endport", "81"),
        ("cidrlist", "10.0.0.0/8,192.168.0.0/16"),
    ];
    let done = api.run("authorizeSecurityGroupIngress", &rule).await.unwrap();
    let rules = done["securitygroup"]["ingressrule"].as_array().unwrap();
    assert_eq!(rules.len(), 2);
    assert_eq!(api.run("authorizeSecurityGroupIngress", &rule).await.unwrap_err().0, 530);
    let id_of_rule = rules[0]["ruleid"].as_str().unwrap();
    api.run("revokeSecurityGroupIngress", &[("id", id_of_rule)]).await.unwrap();
    let list = api.ok("listSecurityGroups", &[("id", id)]).await;
    assert_eq!(list["securitygroup"][0]["ingressrule"].as_array().unwrap().len(), 1);
    for wrong in [("protocol", "quic"), ("startport", "90"), ("cidrlist", "10.0.0.0/40")] {
        let mut changed = rule.to_vec();
        changed.retain(|(name, _)| *name != wrong.0);
        changed.push(wrong);
        assert_eq!(
            api.refused("authorizeSecurityGroupIngress", &changed).await.0,
            431,
            "{wrong:?}"
        );
    }
    let machine = api.deployed("web", &[("securitygroupnames", "web")]).await;
    assert_eq!(machine["securitygroup"][0]["name"], "web");
    assert_eq!(api.refused("deleteSecurityGroup", &[("id", id)]).await.0, 536);
    assert_eq!(api.refused("deleteSecurityGroup", &[("name", "default")]).await.0, 431);
    let destroy = [("id", machine["id"].as_str().unwrap()), ("expunge", "true")];
    api.run("destroyVirtualMachine", &destroy).await.unwrap();
    assert_eq!(api.ok("deleteSecurityGroup", &[("id", id)]).await["success"], true);
}

#[tokio::test]
async fn affinity_groups() {
    let (_simulator, api) = fresh().await;
    let group = [("name", "apart"), ("type", "host anti-affinity")];
    let made = api.run("createAffinityGroup", &group).await.unwrap();
    let id = made["affinitygroup"]["id"].as_str().unwrap();
    let machine = api.deployed("a", &[("affinitygroupnames", "apart")]).await;
    assert_eq!(machine["affinitygroup"][0]["id"], id);
    let list = api.ok("listAffinityGroups", &[("name", "apart")]).await;
    assert_eq!(list["affinitygroup"][0]["virtualmachineIds"][0], machine["id"]);
    assert_eq!(api.run("deleteAffinityGroup", &[("id", id)]).await.unwrap_err().0, 530);
    let wrong = [("name", "x"), ("type", "nothing")];
    assert_eq!(api.refused("createAffinityGroup", &wrong).await.0, 431);
}
