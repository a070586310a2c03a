//! `flock deploy` and `flock node`, on the simulator.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flock_cloudstack::simulator::{Fault, FaultRule, MachineState, Resource, SimulatorOptions};
use insta::assert_snapshot;
use rustix::process::{Pid, Signal, kill_process};

use crate::Ran;
use crate::cloudstack::Cloud;

const TEMPLATE: [&str; 8] = [
    "deploy",
    "web",
    "--template",
    "Debian 12 (KVM)",
    "--zone",
    "zone-1",
    "--size",
    "Small Instance",
];

fn deploy<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&TEMPLATE[..], more].concat()
}

fn slow(time: Duration) -> Cloud {
    Cloud::new(SimulatorOptions::new().with_job_time(time))
}

/// The names of the machines that the cloud has, in order.
fn machines(cloud: &Cloud) -> Vec<String> {
    let held = cloud.simulator.machines().into_iter();
    let mut names: Vec<_> =
        held.filter(|one| one.state == MachineState::Running).map(|one| one.name).collect();
    names.sort();
    names
}

/// What a run printed, without what is another each time.
fn steady(ran: &Ran) -> String {
    let line = |line: &str| {
        let word = |word: &str| match word.len() {
            36 if word.matches('-').count() == 4 => "[ID]".to_owned(),
            _ if word.starts_with("20") && word.ends_with("+0000") => "[WHEN]".to_owned(),
            _ if word.parse::<std::net::IpAddr>().is_ok() => "[ADDRESS]".to_owned(),
            _ => word.to_owned(),
        };
        line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
    };
    ran.all().lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn nodes_are_deployed_listed_and_destroyed() {
    let cloud = Cloud::quick();
    assert_snapshot!(steady(&cloud.flock(&deploy(&["--nodes", "3"]))), @r"
    exit 0
    --- stdout
    web-1 Small Instance [ADDRESS] Debian 12 (KVM) running
    web-2 Small Instance [ADDRESS] Debian 12 (KVM) running
    web-3 Small Instance [ADDRESS] Debian 12 (KVM) running
    3 nodes deployed
    --- stderr
    ");
    assert_snapshot!(steady(&cloud.flock(&["node", "list", "web"])), @r"
    exit 0
    --- stdout
    web-1 Small Instance [ADDRESS] Debian 12 (KVM) running
    web-2 Small Instance [ADDRESS] Debian 12 (KVM) running
    web-3 Small Instance [ADDRESS] Debian 12 (KVM) running
    --- stderr
    ");
    assert_snapshot!(steady(&cloud.flock(&["node", "show", "web-2"])), @r"
    exit 0
    --- stdout
    web-2
    status running
    id [ID]
    app web
    address [ADDRESS]
    size Small Instance
    created [WHEN]
    host_name web-2
    hypervisor KVM
    state Running
    template Debian 12 (KVM)
    zone zone-1
    request [ID]
    --- stderr
    ");
    assert_snapshot!(steady(&cloud.flock(&["node", "destroy", "web-1", "web-3", "--yes"])), @r"
    exit 0
    --- stdout
    web-1 destroyed
    web-3 destroyed
    --- stderr
    ");
    assert_eq!(machines(&cloud), ["web-2"]);
    // The lowest free numbers are given again.
    cloud.flock(&deploy(&["--nodes", "2"]));
    assert_eq!(machines(&cloud), ["web-1", "web-2", "web-3"]);
    let rest = ["node", "destroy", "--all", "--app", "web", "--yes"];
    assert_snapshot!(steady(&cloud.flock(&rest)), @r"
    exit 0
    --- stdout
    web-1 destroyed
    web-2 destroyed
    web-3 destroyed
    --- stderr
    ");
    assert_snapshot!(steady(&cloud.flock(&["node", "list"])), @r"
    exit 0
    --- stdout
    --- stderr
    no nodes; `flock deploy APP` makes some
    ");
    assert_snapshot!(steady(&cloud.flock(&rest)), @r"
    exit 0
    --- stdout
    --- stderr
    no nodes of 'web'
    ");
}

#[test]
fn nodes_are_stopped_started_and_rebooted() {
    let cloud = Cloud::quick();
    cloud.flock(&deploy(&["--name", "one", "--name", "two"]));
    let stop = ["node", "stop", "one", "two", "--grace", "0s"];
    assert_snapshot!(steady(&cloud.flock(&stop)), @r"
    exit 0
    --- stdout
    one stopped
    two stopped
    --- stderr
    ");
    assert_eq!(machines(&cloud), [""; 0]);
    let started = cloud.flock(&["node", "start", "one", "--json"]).json();
    assert_eq!(started["nodes"][0]["node"]["status"], "running");
    assert!(started["nodes"][0]["error"].is_null());
    // Host names are the account's: they begin with the application's.
    assert_eq!(machines(&cloud), ["web-one"]);
    assert_snapshot!(steady(&cloud.flock(&["node", "reboot", "one"])), @r"
    exit 0
    --- stdout
    one restarted
    --- stderr
    ");
    // What cannot be done to one is done to the others.
    let mixed = cloud.place.flock(&["node", "reboot", "two", "one"]);
    assert_snapshot!(steady(&mixed), @r"
    exit 1
    --- stdout
    one restarted
    --- stderr
    warning: two failed:
    error: the node is in state Stopped and cannot be restarted
    ");
}

#[test]
fn what_failed_in_part_is_finished() {
    let cloud = Cloud::quick();
    cloud.simulator.set_capacity("zone-1", Some(2)).unwrap();
    let failed = cloud.place.flock(&deploy(&["--nodes", "3", "--json"]));
    assert_eq!(failed.code, 1, "{}", failed.all());
    let report = failed.json();
    assert_eq!((&report["deployed"], &report["failed"]), (&2.into(), &1.into()));
    let nodes = report["nodes"].as_array().unwrap();
    let bad: Vec<_> = nodes.iter().filter(|node| node["node"].is_null()).collect();
    assert_eq!(bad.len(), 1);
    assert_eq!(bad[0]["error"]["kind"], "quota_exceeded", "{report}");
    let again = cloud.place.flock(&["deploy", "web", "--resume"]);
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("flock deploy web --resume"), "{}", again.all());

    cloud.simulator.set_capacity("zone-1", None).unwrap();
    cloud.flock(&["deploy", "web", "--resume"]);
    assert_eq!(machines(&cloud), ["web-1", "web-2", "web-3"]);
    let nothing = cloud.place.flock(&["deploy", "web", "--resume"]);
    assert_snapshot!(steady(&nothing), @r"
    exit 1
    --- stdout
    --- stderr
    error: no deploy of 'web' is unfinished

    hint: it is known where it was begun, to the user who began it
    ");
}

#[test]
fn a_deploy_of_which_nothing_came_leaves_nothing() {
    let cloud = Cloud::quick();
    cloud.simulator.set_limit("admin", Resource::Machines, Some(0)).unwrap();
    let failed = cloud.place.flock(&deploy(&["--nodes", "2"]));
    assert_eq!(failed.code, 1, "{}", failed.all());
    assert!(!failed.stderr.contains("--resume"), "{}", failed.all());
    cloud.simulator.set_limit("admin", Resource::Machines, None).unwrap();
    assert_eq!(cloud.place.flock(&["deploy", "web", "--resume"]).code, 1);
    cloud.flock(&deploy(&[]));
    assert_eq!(machines(&cloud), ["web-1"]);
}

/// Begins to deploy; returns once the cloud was asked for a machine.
fn begun(cloud: &Cloud, args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flock"));
    command.args(args).env_clear().env("HOME", cloud.place.root.path().join("home"));
    command.current_dir(cloud.place.dir()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().unwrap();
    let patience = Instant::now() + Duration::from_secs(60);
    while cloud.simulator.requests().of("deployVirtualMachine") == 0 {
        assert!(Instant::now() < patience, "it never asked for a machine");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

#[test]
fn what_was_interrupted_is_finished() {
    for (how, code) in [(Signal::INT, Some(130)), (Signal::KILL, None)] {
        let cloud = slow(Duration::from_millis(500));
        let mut child = begun(&cloud, &deploy(&["--nodes", "4", "--concurrency", "2"]));
        signal(&child, how);
        assert_eq!(child.wait().unwrap().code(), code);
        let other = cloud.flock(&deploy(&["--name", "other"]));
        assert!(other.stderr.contains("finishes web-1 to web-4"), "{}", other.all());
        cloud.flock(&["node", "destroy", "other", "--yes"]);
        cloud.flock(&["deploy", "web", "--resume"]);
        assert_eq!(machines(&cloud), ["web-1", "web-2", "web-3", "web-4"], "{how:?}");
    }
}

/// A cloud in which a deploy was killed before its machines had tags: not one
/// of them has any.
fn killed_before_tags() -> Cloud {
    let cloud = Cloud::quick();
    cloud.simulator.faults().add(FaultRule::new(Fault::Hang).with_command("createTags"));
    let mut child = begun(&cloud, &deploy(&["--nodes", "2"]));
    let patience = Instant::now() + Duration::from_secs(60);
    while machines(&cloud).len() < 2 {
        assert!(Instant::now() < patience, "it never made two machines");
        std::thread::sleep(Duration::from_millis(5));
    }
    signal(&child, Signal::KILL);
    child.wait().unwrap();
    cloud.simulator.faults().clear();
    cloud
}

#[test]
fn machines_without_tags_are_listed_and_destroyed() {
    let cloud = killed_before_tags();
    let there = machines(&cloud);
    assert!(!there.is_empty());
    let listed = cloud.flock(&["node", "list", "web", "--json"]).json();
    let listed: Vec<_> =
        listed["nodes"].as_array().unwrap().iter().map(|node| &node["name"]).collect();
    assert_eq!(listed, there.iter().collect::<Vec<_>>());
    cloud.flock(&["node", "destroy", "--all", "--app", "web", "--yes"]);
    assert_eq!(machines(&cloud), [""; 0]);
    assert_eq!(cloud.place.flock(&["deploy", "web", "--resume"]).code, 1);
}

#[test]
fn a_request_is_open_until_nothing_of_it_is_left() {
    let cloud = killed_before_tags();
    let first = machines(&cloud).swap_remove(0);
    cloud.flock(&["node", "destroy", &first, "--yes"]);
    cloud.flock(&["deploy", "web", "--resume"]);
    assert_eq!(machines(&cloud), ["web-1", "web-2"]);
}

#[test]
fn numbers_pass_by_what_others_made() {
    let cloud = Cloud::quick();
    let id = |command: &str, kind: &str, name: &str| {
        let listed = cloud.flock(&["cloudstack", "call", command, "templatefilter=executable"]);
        let listed = listed.json();
        let all = listed[kind].as_array().unwrap();
        all.iter().find(|one| one["name"] == name).unwrap()["id"].as_str().unwrap().to_owned()
    };
    let zone = format!("zoneid={}", id("listZones", "zone", "zone-1"));
    let template = format!("templateid={}", id("listTemplates", "template", "Debian 12 (KVM)"));
    let size = id("listServiceOfferings", "serviceoffering", "Small Instance");
    let size = format!("serviceofferingid={size}");
    let call = ["cloudstack", "call", "deployVirtualMachine", "name=web-1", "--wait"];
    cloud.flock(&[&call[..], &[&zone, &template, &size]].concat());
    cloud.flock(&deploy(&["--nodes", "2"]));
    assert_eq!(machines(&cloud), ["web-1", "web-2", "web-3"]);
}

#[test]
fn two_at_once_share_no_name() {
    let cloud = slow(Duration::from_millis(200));
    let mut children: Vec<_> = (0..3).map(|_| begun(&cloud, &deploy(&["--nodes", "2"]))).collect();
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    let wanted: Vec<_> = (1..=6).map(|number| format!("web-{number}")).collect();
    assert_eq!(machines(&cloud), wanted);
}

#[test]
fn the_same_request_makes_nothing_twice() {
    let cloud = Cloud::quick();
    let request = "6e0f3c4a-93d1-5f0b-8a55-2f4f1d0c7b11";
    let args = deploy(&["--nodes", "2", "--request", request, "--json"]);
    let first = cloud.flock(&args).json();
    assert_eq!(first["request"], request);
    assert_eq!(cloud.flock(&args).json()["nodes"], first["nodes"]);
    assert_eq!(machines(&cloud), ["web-1", "web-2"]);
}

#[test]
fn passwords_go_to_a_file_for_the_user_alone() {
    let cloud = Cloud::quick();
    let listed = ["cloudstack", "call", "listTemplates", "templatefilter=executable"];
    let listed = cloud.flock(&listed).json();
    let templates = listed["template"].as_array().unwrap();
    let template = templates.iter().find(|one| one["name"] == "Debian 12 (KVM)").unwrap();
    let id = format!("id={}", template["id"].as_str().unwrap());
    cloud.flock(&["cloudstack", "call", "updateTemplate", &id, "passwordenabled=true"]);

    let args = deploy(&["--nodes", "2", "--password-file", "passwords"]);
    let ran = cloud.flock(&args);
    let path = cloud.place.dir().join("passwords");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<_> = text.lines().map(|line| line.split_once(' ').unwrap()).collect();
    lines.sort_unstable();
    assert_eq!(lines.iter().map(|line| line.0).collect::<Vec<_>>(), ["web-1", "web-2"]);
    assert!(lines.iter().all(|(_, word)| word.len() > 5 && !ran.all().contains(word)));

    // The file is remembered until the deploy is finished.
    cloud.simulator.set_capacity("zone-1", Some(3)).unwrap();
    let more = deploy(&["--nodes", "2", "--password-file", "more"]);
    assert_eq!(cloud.place.flock(&more).code, 1);
    cloud.simulator.set_capacity("zone-1", None).unwrap();
    cloud.flock(&["deploy", "web", "--resume"]);
    assert_eq!(fs::read_to_string(cloud.place.dir().join("more")).unwrap().lines().count(), 2);

    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = cloud.place.flock(&args);
    assert_snapshot!(steady(&refused), @r"
    exit 1
    --- stdout
    --- stderr
    error: others may read [ROOT]/work/passwords, where passwords are to go

    hint: chmod 600 [ROOT]/work/passwords
    ");
    assert_eq!(machines(&cloud).len(), 4);
}

#[test]
fn mistakes_are_told_before_anything_is_made() {
    let cloud = Cloud::quick();
    let said = |args: &[&str]| steady(&cloud.place.flock(args));
    assert_snapshot!(said(&["deploy", "web"]), @r"
    exit 2
    --- stdout
    --- stderr
    error: which template shall the nodes be made from?

    hint: --template-version VERSION takes web:VERSION
    hint: --template NAME takes any
    hint: --resume finishes a deploy that was interrupted
    ");
    assert_snapshot!(said(&["deploy", "web", "--template-version", "v1"]), @r"
    exit 1
    --- stdout
    --- stderr
    error: there is no template 'web:v1'

    hint: the account sees none with 'web' in its name
    hint: `flock template list` shows the templates there are
    ");
    let size = ["deploy", "web", "--template", "Debian 12 (KVM)", "--zone", "zone-1"];
    assert_snapshot!(said(&[&size[..], &["--size", "Smal"]].concat()), @r"
    exit 1
    --- stdout
    --- stderr
    error: there is no service offering 'Smal'

    hint: the nearest are 'Small Instance', 'Small Instance with 20 GB root disk'
    ");
    let small = [&size[..], &["--size", "Small Instance", "--node-cpus", "4"]].concat();
    assert_snapshot!(said(&small), @r"
    exit 2
    --- stdout
    --- stderr
    error: nodes of the size 'Small Instance' have 1 processors and 512 MiB of memory

    hint: leave out --node-cpus and --node-memory, or take another --size
    ");
    assert_snapshot!(said(&["node", "list", "wbe"]), @r"
    exit 0
    --- stdout
    --- stderr
    no nodes of 'wbe'
    ");
    assert_snapshot!(said(&["deploy", "web", "--resume", "--size", "Small"]), @r"
    exit 2
    --- stdout
    --- stderr
    error: the argument '--resume' cannot be used with:
    --size <NAME>
    --zone <NAME>
    --network <NAME>
    --security-group <NAME>
    --affinity-group <NAME>
    --keypair <NAME>
    --user-data <FILE>
    --node-cpus <N>
    --node-memory <SIZE>
    --root-disk-size <SIZE>
    --no-start
    --wait-for-address

    Usage: flock deploy --resume <APP>

    For more information, try '--help'.
    ");
    assert_snapshot!(said(&["node", "show", "web-1"]), @r"
    exit 1
    --- stdout
    --- stderr
    error: there is no node 'web-1'

    hint: `flock node list` shows the nodes there are
    ");
    assert_snapshot!(said(&["node", "stop", "web-1"]), @r"
    exit 1
    --- stdout
    --- stderr
    error: there is no node 'web-1'

    hint: `flock node list` shows the nodes there are
    ");
    assert_snapshot!(said(&["node", "destroy"]), @r"
    exit 2
    --- stdout
    --- stderr
    error: the following required arguments were not provided:
    <NAME>...

    Usage: flock node destroy <NAME>...

    For more information, try '--help'.
    ");
    assert_eq!(cloud.simulator.machines().len(), 0);
}

#[test]
fn nobody_is_destroyed_unasked() {
    let cloud = Cloud::quick();
    cloud.flock(&deploy(&[]));
    let refused = cloud.place.flock(&["node", "destroy", "web-1"]);
    assert_snapshot!(steady(&refused), @r"
    exit 2
    --- stdout
    --- stderr
    error: Destroy web-1 for good? There is no terminal to ask at

    hint: `--yes` answers it
    ");
    assert_eq!(machines(&cloud), ["web-1"]);
}

#[test]
fn a_name_that_two_applications_have_is_refused() {
    let cloud = Cloud::quick();
    cloud.flock(&deploy(&["--name", "db"]));
    let mut other = deploy(&["--name", "db"]);
    other[1] = "shop";
    cloud.flock(&other);
    let refused = cloud.place.flock(&["node", "stop", "db"]);
    assert_eq!(refused.code, 2, "{}", refused.all());
    assert!(refused.stderr.contains("--app"), "{}", refused.all());
    cloud.flock(&["node", "stop", "db", "--app", "shop"]);
    assert_eq!(machines(&cloud).len(), 1);
}
