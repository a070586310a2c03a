//! Data disks and their snapshots.

use serde_json::Value;

use crate::client::{Api, fresh};

async fn volume(api: &Api, offering: &str, more: &[(&str, &str)]) -> Value {
    let zone = api.zone().await;
    let offering = api.first("listDiskOfferings", "diskoffering", &[("name", offering)]).await;
    let mut all = vec![("zoneid", zone.as_str()), ("diskofferingid", &offering)];
    all.extend_from_slice(more);
    api.run("createVolume", &all).await.unwrap()["volume"].clone()
}

fn id(item: &Value) -> &str {
    item["id"].as_str().unwrap()
}

#[tokio::test]
async fn a_life() {
    let (simulator, api) = fresh().await;
    let machine = api.deployed("a", &[]).await;
    let other = api.deployed("b", &[]).await;
    let made = volume(&api, "Custom", &[("name", "data"), ("size", "3")]).await;
    assert_eq!((&made["state"], &made["size"]), (&"Allocated".into(), &(3u64 << 30).into()));
    assert_eq!((&made["type"], made.get("virtualmachineid")), (&"DATADISK".into(), None));
    let attach = [("id", id(&made)), ("virtualmachineid", id(&machine))];
    let done = api.run("attachVolume", &attach).await.unwrap();
    let attached = &done["volume"];
    assert_eq!((&attached["state"], &attached["deviceid"]), (&"Ready".into(), &1.into()));
    assert_eq!(attached["vmname"], "a");
    let (code, text) = api.run("attachVolume", &attach).await.unwrap_err();
    assert_eq!((code, text.contains("not attached to any VM")), (530, true));
    let elsewhere = [("id", id(&made)), ("virtualmachineid", id(&other))];
    assert!(api.run("attachVolume", &elsewhere).await.is_err());
    assert_eq!(api.refused("deleteVolume", &[("id", id(&made))]).await.0, 431);
    let list = api.ok("listVolumes", &[("virtualmachineid", id(&machine))]).await;
    assert_eq!(list["count"], 2);
    api.run("detachVolume", &[("id", id(&made))]).await.unwrap();
    assert_eq!(api.run("detachVolume", &[("id", id(&made))]).await.unwrap_err().0, 530);
    assert_eq!(api.ok("deleteVolume", &[("id", id(&made))]).await["success"], true);
    assert_eq!(api.refused("deleteVolume", &[("id", id(&made))]).await.0, 431);
    assert!(simulator.volumes().iter().all(|volume| volume.root));
}

#[tokio::test]
async fn volumes_are_renamed() {
    let (simulator, api) = fresh().await;
    let made = volume(&api, "Small", &[("name", "first")]).await;
    let done = api.run("updateVolume", &[("id", id(&made)), ("name", "second")]).await.unwrap();
    assert_eq!(done["volume"]["name"], "second");
    assert_eq!(simulator.volumes()[0].name, "second");
    assert_eq!(api.refused("updateVolume", &[("name", "second")]).await.0, 431);
}

#[tokio::test]
async fn sizes_are_those_of_the_offering() {
    let (_simulator, api) = fresh().await;
    assert_eq!(volume(&api, "Small", &[]).await["size"], 5u64 << 30);
    let zone = api.zone().await;
    let small = api.first("listDiskOfferings", "diskoffering", &[("name", "Small")]).await;
    let custom = api.first("listDiskOfferings", "diskoffering", &[("name", "Custom")]).await;
    for (offering, size) in [(&small, "3"), (&custom, ""), (&custom, "0"), (&custom, "1025")] {
        let all = [("zoneid", zone.as_str()), ("diskofferingid", offering), ("size", size)];
        assert_eq!(api.refused("createVolume", &all).await.0, 431, "{size}");
    }
    assert_eq!(api.refused("createVolume", &[("zoneid", &zone)]).await.0, 431);
}

#[tokio::test]
async fn volumes_grow_and_shrink_when_it_is_meant() {
    let (_simulator, api) = fresh().await;
    let made = volume(&api, "Custom", &[("size", "3")]).await;
    let grown = api.run("resizeVolume", &[("id", id(&made)), ("size", "5")]).await.unwrap();
    assert_eq!(grown["volume"]["size"], 5u64 << 30);
    let smaller = [("id", id(&made)), ("size", "4")];
    assert_eq!(api.refused("resizeVolume", &smaller).await.0, 431);
    let meant = [smaller[0], smaller[1], ("shrinkok", "true")];
    api.run("resizeVolume", &meant).await.unwrap();
    let xen = api.template("XenServer").await;
    let machine = api.deployed("a", &[("templateid", &xen)]).await;
    let attach = [("id", id(&made)), ("virtualmachineid", id(&machine))];
    api.run("attachVolume", &attach).await.unwrap();
    let larger = [("id", id(&made)), ("size", "6")];
    assert_eq!(api.run("resizeVolume", &larger).await.unwrap_err().0, 530);
    api.run("stopVirtualMachine", &[("id", id(&machine))]).await.unwrap();
    let grown = api.run("resizeVolume", &larger).await.unwrap();
    assert_eq!(
        (&grown["volume"]["size"], &grown["volume"]["state"]),
        (&(6u64 << 30).into(), &"Ready".into())
    );
}

#[tokio::test]
async fn snapshots_become_volumes() {
    let (simulator, api) = fresh().await;
    let made = volume(&api, "Custom", &[("size", "2")]).await;
    let snapshot = [("volumeid", id(&made)), ("name", "monday")];
    let (code, text) = api.refused("createSnapshot", &snapshot).await;
    assert_eq!((code, text.contains("not in Ready state but Allocated")), (431, true));
    let machine = api.deployed("a", &[]).await;
    let attach = [("id", id(&made)), ("virtualmachineid", id(&machine))];
    api.run("attachVolume", &attach).await.unwrap();
    let taken = api.run("createSnapshot", &snapshot).await.unwrap()["snapshot"].clone();
    assert_eq!((&taken["state"], &taken["name"]), (&"BackedUp".into(), &"monday".into()));
    let copy = [("snapshotid", id(&taken)), ("name", "copy")];
    let copied = api.run("createVolume", &copy).await.unwrap()["volume"].clone();
    assert_eq!((&copied["state"], &copied["size"]), (&"Ready".into(), &made["size"]));
    assert_eq!(copied["snapshotid"], taken["id"]);
    let list = api.ok("listSnapshots", &[("volumeid", id(&made))]).await;
    assert_eq!(list["count"], 1);
    api.run("deleteSnapshot", &[("id", id(&taken))]).await.unwrap();
    assert_eq!(api.ok("listSnapshots", &[]).await, serde_json::json!({}));
    let lxc = api.template("LXC").await;
    api.deployed("container", &[("templateid", &lxc)]).await;
    let root = simulator.volumes().into_iter().rfind(|volume| volume.root).unwrap();
    assert_eq!(api.refused("createSnapshot", &[("volumeid", &root.id)]).await.0, 431);
}

#[tokio::test]
async fn data_disks_survive_their_machine_unless_they_are_named() {
    let (simulator, api) = fresh().await;
    let machine = api.deployed("a", &[]).await;
    let (one, two) = (volume(&api, "Small", &[]).await, volume(&api, "Small", &[]).await);
    for disk in [&one, &two] {
        let attach = [("id", id(disk)), ("virtualmachineid", id(&machine))];
        api.run("attachVolume", &attach).await.unwrap();
    }
    let destroy = [("id", id(&machine)), ("expunge", "true"), ("volumeids", id(&one))];
    api.run("destroyVirtualMachine", &destroy).await.unwrap();
    let left = simulator.volumes();
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].id.as_str(), &left[0].machine), (id(&two), &None));
    let other = api.deployed("b", &[("startvm", "false")]).await;
    let attach = [("id", id(&two)), ("virtualmachineid", id(&other)), ("deviceid", "7")];
    let attached = api.run("attachVolume", &attach).await.unwrap();
    assert_eq!(attached["volume"]["deviceid"], 7);
    let at = [("virtualmachineid", id(&other)), ("deviceid", "7")];
    api.run("detachVolume", &at).await.unwrap();
}
