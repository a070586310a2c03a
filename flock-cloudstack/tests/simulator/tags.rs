//! Tags.

use crate::client::fresh;

#[tokio::test]
async fn tags_are_made_listed_and_deleted() {
    let (simulator, api) = fresh().await;
    let one = api.deployed("a", &[]).await["id"].as_str().unwrap().to_owned();
    let two = api.deployed("b", &[]).await["id"].as_str().unwrap().to_owned();
    let both = format!("{one},{two}");
    let app = [("tags[0].key", "app"), ("tags[0].value", "web")];
    let mut create = vec![("resourceids", both.as_str()), ("resourcetype", "uservm")];
    create.extend(app);
    create.extend([("tags[1].key", "run"), ("tags[1].value", "é~*")]);
    api.run("createTags", &create).await.unwrap();
    let (code, text) = api.run("createTags", &create).await.unwrap_err();
    assert_eq!((code, text.contains("tag app already on UserVm")), (530, true));
    let list = api.ok("listVirtualMachines", &app).await;
    assert_eq!(list["count"], 2);
    assert_eq!(list["virtualmachine"][0]["tags"][1]["value"], "é~*");
    let tags = api.ok("listTags", &[("resourceid", &one), ("key", "app")]).await;
    assert_eq!((&tags["count"], &tags["tag"][0]["value"]), (&1.into(), &"web".into()));
    assert_eq!(api.ok("listTags", &[("resourcetype", "Volume")]).await, serde_json::json!({}));
    // Several tags are alternatives.
    let delete =
        [("resourceids", one.as_str()), ("resourcetype", "UserVm"), ("tags[0].key", "app")];
    api.run("deleteTags", &delete).await.unwrap();
    let either = [app[0], app[1], ("tags[1].key", "run"), ("tags[1].value", "é~*")];
    assert_eq!(api.ok("listVirtualMachines", &either).await["count"], 2);
    assert_eq!(api.ok("listVirtualMachines", &app).await["count"], 1);
    let all = [("resourceids", both.as_str()), ("resourcetype", "UserVm")];
    api.run("deleteTags", &all).await.unwrap();
    assert!(simulator.machines().iter().all(|machine| machine.tags.is_empty()));
}

#[tokio::test]
async fn tags_come_to_all_or_to_none() {
    let (simulator, api) = fresh().await;
    let one = api.deployed("a", &[]).await["id"].as_str().unwrap().to_owned();
    let both = format!("{one},6fe1d0a3-ec9c-4c5b-8a85-5a7e3e0ab4a0");
    let tag = [("tags[0].key", "app"), ("tags[0].value", "web")];
    let create = [("resourceids", both.as_str()), ("resourcetype", "UserVm"), tag[0], tag[1]];
    assert_eq!(api.run("createTags", &create).await.unwrap_err().0, 530);
    assert!(simulator.machines()[0].tags.is_empty());
    let wrong = [("resourceids", one.as_str()), ("resourcetype", "Nothing"), tag[0], tag[1]];
    assert_eq!(api.refused("createTags", &wrong).await.0, 431);
    let none = [("resourceids", one.as_str()), ("resourcetype", "UserVm"), tag[0]];
    assert_eq!(api.refused("createTags", &none).await.0, 431);
}
