//! `flock cloudstack call` and `flock job`, on the simulator.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use flock_cloudstack::simulator::{Simulator, SimulatorOptions};
use insta::assert_snapshot;

use crate::{Place, Ran};

/// A cloud, and a directory with a profile for it.
pub(crate) struct Cloud {
    pub(crate) simulator: Simulator,
    pub(crate) place: Place,
    _runtime: tokio::runtime::Runtime,
}

impl Cloud {
    pub(crate) fn new(options: SimulatorOptions) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let simulator = runtime.block_on(Simulator::start(options)).unwrap();
        let cloud = Self { simulator, place: Place::new(), _runtime: runtime };
        cloud.profile(cloud.simulator.secret_key().expose());
        cloud
    }

    pub(crate) fn quick() -> Self {
        Self::new(SimulatorOptions::new().with_job_time(Duration::from_millis(10)))
    }

    fn profile(&self, secret: &str) {
        let (url, key) = (self.simulator.url(), self.simulator.api_key());
        let text = format!("production:\n  url: {url}\n  apikey: {key}\n  secretkey: {secret}\n");
        self.place.write("flockr.yaml", text);
        let path = self.place.dir().join("flockr.yaml");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Runs a command that is to succeed.
    pub(crate) fn flock(&self, args: &[&str]) -> Ran {
        let ran = self.place.flock(args);
        assert_eq!(ran.code, 0, "{args:?}\n{}", ran.all());
        ran
    }

    fn id(&self, command: &str, kind: &str) -> String {
        let listed = self.flock(&["cloudstack", "call", command]).json();
        listed[kind][0]["id"].as_str().unwrap().to_owned()
    }

    /// Begins to make a volume; its id and the job's.
    fn volume(&self) -> (String, String) {
        let zone = format!("zoneid={}", self.id("listZones", "zone"));
        let offering = format!("diskofferingid={}", self.id("listDiskOfferings", "diskoffering"));
        let started =
            self.flock(&["cloudstack", "call", "createVolume", "name=data", &zone, &offering]);
        let text = |name: &str| started.json()[name].as_str().unwrap().to_owned();
        assert!(started.stderr.contains(&format!("flock job wait {}", text("jobid"))));
        (text("id"), text("jobid"))
    }
}

/// What the documentation shows for a command.
pub(crate) fn example(command: &str) -> String {
    let cloud = Cloud::quick();
    if command.starts_with("job") {
        let (volume, _) = cloud.volume();
        let ids = format!("resourceids={volume}");
        let job = format!("customjobid={}", command.split(' ').nth(2).unwrap());
        let tag = ["cloudstack", "call", "createTags", "resourcetype=Volume", "--wait"];
        cloud.flock(&[&tag[..], &[&ids, &job, "tags[0].key=a", "tags[0].value=b"]].concat());
    }
    cloud.flock(&command.split(' ').collect::<Vec<_>>()).stdout
}

#[test]
fn a_reply_is_printed_as_it_is() {
    let cloud = Cloud::quick();
    let plain = cloud.flock(&["cloudstack", "call", "listZones", "name=zone-1"]);
    assert_eq!((&plain.json()["count"], plain.stderr.as_str()), (&1.into(), ""));
    let zone = &plain.json()["zone"][0];
    let document =
        cloud.flock(&["cloudstack", "call", "listZones", "name=zone-1", "--json"]).json();
    assert_eq!((&document["schema"], &document["command"]), (&1.into(), &"listZones".into()));
    assert_eq!(&document["reply"]["zone"][0], zone);
    assert!(document["job"].is_null() && document["id"].is_null());
}

#[test]
fn a_list_that_is_cut_is_told() {
    let cloud = Cloud::quick();
    let ran = cloud.flock(&["cloudstack", "call", "listOsTypes", "page=1", "pagesize=2"]);
    assert!(ran.stderr.contains("2 of "), "{}", ran.stderr);
}

#[test]
fn jobs_are_begun_and_waited_for() {
    let cloud = Cloud::quick();
    let (volume, job) = cloud.volume();
    let waited = cloud.flock(&["job", "wait", &job, "--json"]).json();
    assert_eq!(
        (&waited["status"], &waited["instance"]),
        (&"succeeded".into(), &volume.clone().into())
    );
    assert_eq!(waited["result"]["volume"]["name"], "data");
    let shown =
        cloud.flock(&["job", "show", &job]).stdout.replace(&job, "[JOB]").replace(&volume, "[ID]");
    assert!(shown.starts_with("job     [JOB]\nstatus  succeeded\nabout   [ID]\n{"), "{shown}");

    let id = format!("id={volume}");
    let call = ["cloudstack", "call", "resizeVolume", &id, "size=7", "--wait"];
    let refused = cloud.place.flock(&call);
    // A fixed size: refused before there is a job.
    assert_eq!(refused.code, 2, "{}", refused.all());
    let call = [
        "cloudstack",
        "call",
        "createTags",
        "resourcetype=Volume",
        "tags[0].key=a",
        "tags[0].value=b",
    ];
    let ids = format!("resourceids={volume}");
    let tagged = cloud.flock(&[&call[..], &[&ids, "--wait"]].concat());
    assert_eq!((&tagged.json()["success"], tagged.stderr.as_str()), (&true.into(), ""));
}

#[test]
fn a_failed_job_is_shown_or_fails_the_wait() {
    let cloud = Cloud::quick();
    let (volume, job) = cloud.volume();
    cloud.flock(&["job", "wait", &job]);
    let id = format!("id={volume}");
    let detached = cloud.flock(&["cloudstack", "call", "detachVolume", &id]).json();
    let job = detached["jobid"].as_str().unwrap().to_owned();
    let waited = cloud.place.flock(&["job", "wait", &job]);
    assert_eq!(waited.code, 1);
    assert!(waited.stderr.contains("is not attached"), "{}", waited.stderr);
    let shown = cloud.flock(&["job", "show", &job, "--json"]).json();
    assert_eq!((&shown["status"], &shown["result"]), (&"failed".into(), &serde_json::Value::Null));
    assert_eq!(shown["error"]["context"]["job"], job);
}

#[test]
fn a_wait_that_ends_early_names_the_job() {
    let cloud = Cloud::new(SimulatorOptions::new().with_job_time(Duration::from_secs(600)));
    let (_, job) = cloud.volume();
    let ran = cloud.place.flock(&["job", "wait", &job, "--timeout", "1s"]);
    assert_eq!(ran.code, 1);
    assert_snapshot!(ran.stderr.replace(&job, "[JOB]"), @r"
    error: job [JOB] has not ended yet; it goes on in CloudStack
    Caused by:
      the deadline passed before it was done

    hint: to wait on: flock job wait [JOB]
    ");
    let shown = cloud.flock(&["job", "show", &job]);
    assert!(shown.stdout.contains("status  pending"), "{}", shown.stdout);
    let unknown = cloud.place.flock(&["job", "show", "00000000-0000-4000-8000-000000000000"]);
    assert_eq!(unknown.code, 1, "{}", unknown.all());
}

#[test]
fn secrets_stay_out_of_sight() {
    let cloud = Cloud::quick();
    cloud.place.write("name", "me\n");
    let make = ["cloudstack", "call", "createSSHKeyPair", "name=@name"];
    let hidden = cloud.flock(&make).json();
    assert_eq!(
        (&hidden["keypair"]["name"], &hidden["keypair"]["privatekey"]),
        (&"me".into(), &"***".into())
    );
    let shown =
        cloud.flock(&["cloudstack", "call", "createSSHKeyPair", "name=you", "--show-secrets"]);
    assert!(shown.json()["keypair"]["privatekey"].as_str().unwrap().contains("PRIVATE KEY"));

    let call =
        ["-vv", "cloudstack", "call", "registerSSHKeyPair", "name=@name", "publickey=hush-hush"];
    let logged = cloud.place.flock(&call);
    assert!(!logged.stderr.is_empty());
    let secret = cloud.simulator.secret_key().expose().to_owned();
    for hidden in [secret.as_str(), "hush-hush", "signature="] {
        assert!(!logged.stderr.contains(hidden), "{hidden}:\n{}", logged.stderr);
    }
}

#[test]
fn refusals_have_their_exit_codes() {
    let cloud = Cloud::quick();
    let code = |args: &[&str]| cloud.place.flock(args).code;
    assert_eq!(code(&["cloudstack", "call", "noSuchCommand"]), 1);
    assert_eq!(code(&["cloudstack", "call", "list Zones"]), 2);
    assert_eq!(code(&["cloudstack", "call", "listZones", "novalue"]), 2);
    assert_eq!(code(&["cloudstack", "call", "listZones", "id=a", "id=b"]), 2);
    assert_eq!(code(&["cloudstack", "call", "listZones", "id=@missing"]), 1);
    assert_eq!(code(&["cloudstack", "call", "listZones", "--timeout", "5s"]), 2);
    cloud.profile("another");
    let wrong = cloud.place.flock(&["cloudstack", "call", "listZones"]);
    assert_eq!(wrong.code, 3);
    assert!(wrong.stderr.contains("hint: check apikey, secretkey and url"), "{}", wrong.stderr);
    fs::remove_file(cloud.place.dir().join("flockr.yaml")).unwrap();
    let none = cloud.place.flock(&["cloudstack", "call", "listZones"]);
    assert_eq!(none.code, 2);
    assert_snapshot!(none.stderr, @r"
    error: there is no flockr.yaml that says how to reach CloudStack

    hint: write one with url, apikey and secretkey as ./flockr.yaml or ~/.config/flock/flockr.yaml, or name it with --config
    hint: `flock config show` tells which file is read
    ");
}
