//! Templates by address.

use std::time::Duration;

use flock_cloudstack::simulator::{AccountOptions, SimulatorOptions};
use serde_json::Value;

use crate::client::{Api, Pairs, Reply, fresh, start};
use crate::web::{Manner, Web, gzip, sha256, tar};

/// Asks for a template of a root file system.
pub(crate) async fn register(api: &Api, url: &str, more: Pairs<'_>) -> Reply {
    let (zone, os_type) = (api.zone().await, os_type(api).await);
    let usual = [
        ("name", "app:1"),
        ("displaytext", "app:1"),
        ("format", "TAR"),
        ("hypervisor", "LXC"),
        ("zoneid", &zone),
        ("ostypeid", &os_type),
    ];
    let is_given = |name: &str| more.iter().any(|(given, _)| *given == name);
    let mut all: Vec<_> = usual.into_iter().filter(|(name, _)| !is_given(name)).collect();
    all.push(("url", url));
    all.extend_from_slice(more);
    api.call("registerTemplate", &all).await
}

pub(crate) async fn os_type(api: &Api) -> String {
    api.first("listOsTypes", "ostype", &[("description", "Debian GNU/Linux 12")]).await
}

/// Waits until nothing more happens to a template: its items.
pub(crate) async fn settled(api: &Api, id: &str) -> Vec<Value> {
    let filter = [("templatefilter", "all"), ("id", id)];
    loop {
        let list = api.ok("listTemplates", &filter).await;
        let items = list["template"].as_array().unwrap().clone();
        let moves = |item: &Value| {
            let state = item["downloaddetails"][0]["downloadState"].as_str().unwrap();
            matches!(
                state,
                "NOT_DOWNLOADED" | "DOWNLOAD_IN_PROGRESS" | "NOT_UPLOADED" | "UPLOAD_IN_PROGRESS"
            )
        };
        if !items.iter().any(moves) {
            return items;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Registers a template that must be taken, and waits for it.
async fn registered(api: &Api, url: &str, more: Pairs<'_>) -> Value {
    let reply = register(api, url, more).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let id = reply.body["template"][0]["id"].as_str().unwrap();
    settled(api, id).await.remove(0)
}

#[tokio::test]
async fn a_template_is_fetched_and_looked_into() {
    let file = gzip(&tar(300_000));
    let web = Web::serve(file.clone(), Manner::Good).await;
    let (simulator, api) = fresh().await;
    let url = format!("{}/app.tar.gz?version=1", web.base);
    let reply = register(&api, &url, &[("details[0].a", "b")]).await;
    assert_eq!((reply.status, reply.envelope.as_str()), (200, "registertemplateresponse"));
    assert_eq!(reply.body["count"], 1);
    let item = &reply.body["template"][0];
    assert_eq!((&item["isready"], &item["status"]), (&false.into(), &"".into()));
    assert_eq!(item["details"]["a"], "b");
    let id = item["id"].as_str().unwrap();
    let done = settled(&api, id).await.remove(0);
    assert_eq!((&done["isready"], &done["status"]), (&true.into(), &"Download Complete".into()));
    assert_eq!(done["physicalsize"], file.len());
    assert_eq!(done["size"], tar(300_000).len());
    assert_eq!(done["downloaddetails"][0]["downloadPercent"], "100");
    let held = simulator.templates().remove(0);
    assert_eq!(held.sha256, Some(sha256(&file)));
    assert_eq!(web.requests(), ["HEAD", "GET"]);
    let machine = api.deployed("a", &[("templateid", id)]).await;
    assert_eq!(machine["templatename"], "app:1");
    assert_eq!(api.run("deleteTemplate", &[("id", id)]).await.unwrap_err().0, 530);
    api.run("deleteTemplate", &[("id", id), ("forced", "true")]).await.unwrap();
    let filter = [("templatefilter", "self"), ("id", id)];
    assert_eq!(api.refused("listTemplates", &filter).await.0, 431);
}

#[tokio::test]
async fn a_cut_download_is_resumed_where_the_server_can() {
    let file = tar(450_000);
    let cutting = Web::serve(file.clone(), Manner::Cutting).await;
    let (simulator, api) = fresh().await;
    let done = registered(&api, &format!("{}/a.tar", cutting.base), &[]).await;
    assert_eq!(done["isready"], true, "{done}");
    assert_eq!(simulator.templates()[0].sha256, Some(sha256(&file)));
    assert_eq!(cutting.requests().len(), 6);
    let worse = Web::serve(file, Manner::CuttingWithoutRanges).await;
    let done = registered(&api, &format!("{}/a.tar", worse.base), &[("name", "b")]).await;
    assert_eq!((&done["isready"], &done["status"]), (&false.into(), &"Stream closed".into()));
    assert_eq!(done["downloaddetails"][0]["downloadState"], "DOWNLOAD_ERROR");
}

#[tokio::test]
async fn what_is_no_such_file_is_told() {
    let (_simulator, api) = fresh().await;
    let web = Web::serve(tar(10), Manner::Good).await;
    let as_gzip = registered(&api, &format!("{}/a.tar.gz", web.base), &[]).await;
    assert!(as_gzip["status"].as_str().unwrap().contains("uncompress"), "{as_gzip}");
    let disk = [("format", "VHD"), ("hypervisor", "XenServer")];
    let as_disk = registered(&api, &format!("{}/a.vhd", web.base), &disk).await;
    let status = as_disk["status"].as_str().unwrap();
    assert!(status.ends_with("Found: POSIX tar archive"), "{status}");
    let sum = format!("{{SHA-256}}{}", sha256(b"another"));
    let wrong = registered(&api, &format!("{}/a.tar", web.base), &[("checksum", &sum)]).await;
    assert!(wrong["status"].as_str().unwrap().contains("didn't match"), "{wrong}");
    let sum = format!("{{SHA-256}}{}", sha256(&tar(10)));
    let right = registered(&api, &format!("{}/a.tar", web.base), &[("checksum", &sum)]).await;
    assert_eq!((&right["isready"], &right["checksum"]), (&true.into(), &sum.into()));
}

#[tokio::test]
async fn an_address_is_checked_before_anything_is_registered() {
    let (simulator, api) = fresh().await;
    let web = Web::serve(tar(10), Manner::Good).await;
    let missing = Web::serve(tar(10), Manner::Missing).await;
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nowhere = format!("http://{}/a.tar", nobody.local_addr().unwrap());
    drop(nobody);
    for url in [
        format!("{}/a.tgz", web.base),
        format!("{}/a.tar.zst", web.base),
        format!("{}/a.tar.zip", web.base),
        format!("{}/x?name=a.tar", web.base),
        format!("{}/a.tar", missing.base),
        "ftp://example.org/a.tar".to_owned(),
        "not an address".to_owned(),
        nowhere,
    ] {
        let reply = register(&api, &url, &[]).await;
        assert_eq!(reply.status, 431, "{url}: {}", reply.body);
    }
    assert_eq!(missing.requests(), ["HEAD", "GET"]);
    let fine = format!("{}/a.tar", web.base);
    for wrong in [
        ("format", "TGZ"),
        ("hypervisor", "Docker"),
        ("checksum", "{CRC}00"),
        ("zoneid", "zone-1"),
        ("zoneids", "-1"),
        ("ostypeid", ""),
        ("directdownload", "true"),
    ] {
        let reply = register(&api, &fine, &[wrong]).await;
        assert_eq!(reply.status, 431, "{wrong:?}: {}", reply.body);
    }
    assert!(simulator.templates().is_empty());
}

#[tokio::test]
async fn old_servers_know_less() {
    let (_simulator, api) = start(SimulatorOptions::new().with_version("4.20.1.0")).await;
    let web = Web::serve(tar(10), Manner::Good).await;
    let reply = register(&api, &format!("{}/a.tar.xz", web.base), &[]).await;
    assert_eq!(reply.status, 431);
    let found = api.ok("listCapabilities", &[]).await;
    assert_eq!(found["capability"]["cloudstackversion"], "4.20.1.0");
}

#[tokio::test]
async fn templates_are_in_zones() {
    let (simulator, api) = fresh().await;
    let mut disk = vec![0; 4096];
    disk[..4].copy_from_slice(b"QFI\xfb");
    disk[24..32].copy_from_slice(&(1u64 << 30).to_be_bytes());
    let web = Web::serve(disk, Manner::Good).await;
    let url = format!("{}/a.qcow2", web.base);
    let kvm = [("format", "QCOW2"), ("hypervisor", "KVM"), ("zoneid", ""), ("zoneids", "-1")];
    let reply = register(&api, &url, &kvm).await;
    assert_eq!(reply.body["count"], 2, "{}", reply.body);
    let id = reply.body["template"][0]["id"].as_str().unwrap().to_owned();
    let items = settled(&api, &id).await;
    assert!(items.iter().all(|item| item["isready"] == true && item["id"] == *id));
    assert_eq!(items[0]["size"], 1u64 << 30);
    let unique = [("templatefilter", "self"), ("showunique", "true")];
    assert_eq!(api.ok("listTemplates", &unique).await["count"], 1);
    let zone = items[0]["zoneid"].as_str().unwrap();
    let other = items[1]["zoneid"].as_str().unwrap();
    api.run("deleteTemplate", &[("id", &id), ("zoneid", zone)]).await.unwrap();
    assert_eq!(simulator.templates().len(), 1);
    let copy = [("id", id.as_str()), ("sourcezoneid", other), ("destzoneids", zone)];
    api.run("copyTemplate", &copy).await.unwrap();
    assert!(simulator.templates().iter().all(|held| held.ready));
    assert_eq!(simulator.templates().len(), 2);
    // Only administrators register everywhere, and nobody where no host is.
    let user = api.as_other(&simulator.add_account(AccountOptions::new("user")).unwrap());
    assert_eq!(register(&user, &url, &kvm).await.status, 531);
    let two = api.first("listZones", "zone", &[("name", "zone-2")]).await;
    let web = Web::serve(tar(10), Manner::Good).await;
    let reply = register(&api, &format!("{}/a.tar", web.base), &[("zoneid", &two)]).await;
    assert_eq!(reply.status, 431);
}

#[tokio::test]
async fn templates_are_shared() {
    let (simulator, api) = fresh().await;
    let user = api.as_other(&simulator.add_account(AccountOptions::new("user")).unwrap());
    let web = Web::serve(tar(10), Manner::Good).await;
    let item = registered(&api, &format!("{}/a.tar", web.base), &[]).await;
    let id = item["id"].as_str().unwrap();
    let count = async |api: &Api, scope: &str| {
        let list = api.ok("listTemplates", &[("templatefilter", scope), ("name", "app:1")]).await;
        list["count"].as_u64().unwrap_or(0)
    };
    assert_eq!(count(&api, "self").await, 1);
    assert_eq!(count(&user, "executable").await, 0);
    assert_eq!(user.refused("listTemplates", &[("templatefilter", "all")]).await.0, 431);
    assert_eq!(
        user.refused("listTemplates", &[("templatefilter", "self"), ("id", id)]).await.0,
        531
    );
    assert_eq!(user.deploy("a", &[("templateid", id)]).await.status, 531);
    let share = [("id", id), ("op", "add"), ("accounts", "user")];
    api.ok("updateTemplatePermissions", &share).await;
    assert_eq!(count(&user, "shared").await, 1);
    assert_eq!(count(&user, "sharedexecutable").await, 1);
    user.deployed("a", &[("templateid", id)]).await;
    assert_eq!(user.refused("deleteTemplate", &[("id", id)]).await.0, 531);
    let found = api.ok("listTemplatePermissions", &[("id", id)]).await;
    assert_eq!(found["templatepermission"]["account"], serde_json::json!(["user"]));
    api.ok("updateTemplatePermissions", &[("id", id), ("op", "reset")]).await;
    assert_eq!(count(&user, "shared").await, 0);
    api.ok("updateTemplatePermissions", &[("id", id), ("ispublic", "true")]).await;
    assert_eq!(count(&user, "community").await, 1);
    let update = [("id", id), ("name", "app:2"), ("passwordenabled", "true")];
    let changed = api.ok("updateTemplate", &update).await;
    assert_eq!(
        (&changed["template"]["name"], &changed["template"]["passwordenabled"]),
        (&"app:2".into(), &true.into())
    );
}

#[tokio::test]
async fn passwords_are_told_once() {
    let (_simulator, api) = fresh().await;
    let web = Web::serve(tar(10), Manner::Good).await;
    let url = format!("{}/a.tar", web.base);
    let item = registered(&api, &url, &[("passwordenabled", "true")]).await;
    let machine = api.deployed("a", &[("templateid", item["id"].as_str().unwrap())]).await;
    let password = machine["password"].as_str().unwrap();
    assert!(password.len() >= 10);
    let one = [("id", machine["id"].as_str().unwrap())];
    let list = api.ok("listVirtualMachines", &one).await;
    assert_eq!(list["virtualmachine"][0].get("password"), None);
    let (code, _) = api.run("resetPasswordForVirtualMachine", &one).await.unwrap_err();
    assert_eq!(code, 530);
    api.run("stopVirtualMachine", &one).await.unwrap();
    let reset = api.run("resetPasswordForVirtualMachine", &one).await.unwrap();
    let new = reset["virtualmachine"]["password"].as_str().unwrap();
    assert_ne!(new, password);
    let without = api.deployed("b", &[]).await;
    assert_eq!(without.get("password"), None);
    let other = [("id", without["id"].as_str().unwrap())];
    assert_eq!(api.refused("resetPasswordForVirtualMachine", &other).await.0, 431);
}

#[tokio::test]
async fn templates_can_be_had_back() {
    let storage = tempfile::tempdir().unwrap();
    let (_simulator, api) = start(SimulatorOptions::new().with_storage(storage.path())).await;
    let file = gzip(&tar(200_000));
    let web = Web::serve(file.clone(), Manner::Good).await;
    let url = format!("{}/a.tar.gz", web.base);
    let item = registered(&api, &url, &[("isextractable", "true")]).await;
    let id = item["id"].as_str().unwrap();
    let extract = [("id", id), ("mode", "HTTP_DOWNLOAD")];
    let done = api.run("extractTemplate", &extract).await.unwrap();
    let link = done["template"]["url"].as_str().unwrap();
    assert!(link.ends_with(".tar.gz"), "{link}");
    let body = api.http.get(link).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(body, file);
    let rest = api.http.get(link).header("Range", "bytes=1000-").send().await.unwrap();
    assert_eq!(rest.status().as_u16(), 206);
    assert_eq!(rest.bytes().await.unwrap(), file[1000..]);
    assert_eq!(api.refused("extractTemplate", &[("id", id), ("mode", "FTP")]).await.0, 431);
    api.run("deleteTemplate", &[("id", id)]).await.unwrap();
    assert_eq!(api.http.get(link).send().await.unwrap().status().as_u16(), 404);
    api.ok("listZones", &[]).await;
    assert_eq!(std::fs::read_dir(storage.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn too_large_files_are_refused() {
    let (_simulator, api) = start(SimulatorOptions::new().with_max_template_size(10_000)).await;
    let web = Web::serve(tar(20_000), Manner::Good).await;
    let item = registered(&api, &format!("{}/a.tar", web.base), &[]).await;
    assert_eq!(item["status"], "Download file size is too large");
}

#[tokio::test]
async fn a_ready_template_can_be_broken() {
    let (simulator, api) = fresh().await;
    let web = Web::serve(tar(10), Manner::Good).await;
    let item = registered(&api, &format!("{}/a.tar", web.base), &[]).await;
    let id = item["id"].as_str().unwrap();
    simulator.fail_template(id, "Storage is gone").unwrap();
    assert_eq!(settled(&api, id).await[0]["status"], "Storage is gone");
    assert_eq!(api.deploy("a", &[("templateid", id)]).await.status, 431);
}
