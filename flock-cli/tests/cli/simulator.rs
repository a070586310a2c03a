//! `flock simulator cloudstack`, from its start to Ctrl-C.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};

use flock_core::Context;
use flock_core::profile::Profiles;
use rustix::process::{Pid, Signal, kill_process};

use crate::Place;

const RUN: [&str; 2] = ["simulator", "cloudstack"];

/// A simulator that runs until it is interrupted.
struct Running {
    child: Child,
    /// What it printed until it was ready, so many lines.
    printed: String,
}

impl Running {
    fn start(place: &Place, args: &[&str], lines: usize) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_flock"))
            .args(RUN)
            .args(args)
            .env_clear()
            .env("HOME", place.dir())
            .current_dir(place.dir())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut printed = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        for _ in 0..lines {
            stdout.read_line(&mut printed).unwrap();
        }
        Self { child, printed }
    }

    /// Interrupts it: the exit code, and what it said on standard error.
    fn interrupt(mut self) -> (Option<i32>, String) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        let code = self.child.wait().unwrap().code();
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (code, said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It is gone already where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_writes_a_profile_serves_and_ends() {
    let place = Place::new();
    let running = Running::start(&place, &["--profile-file", "flockr.yaml"], 3);
    let file = place.dir().join("flockr.yaml");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let profiles = Profiles::load(&file).unwrap();
    let profile = profiles.select(None).unwrap();
    assert_eq!(profile.name, "simulator");
    let secret = profile.secretkey.as_ref().unwrap().resolve(&Context::new()).unwrap();
    let url = profile.url.clone().unwrap();
    assert!(running.printed.contains(url.as_str()), "{}", running.printed);
    assert!(!running.printed.contains(secret.expose()));
    let mut stream = TcpStream::connect(url.socket_addrs(|| None).unwrap()[0]).unwrap();
    let request = "GET /client/api?command=listZones&response=json HTTP/1.0\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.0 401"), "{reply}");
    assert!(reply.contains("unable to verify user credentials"), "{reply}");
    assert_eq!(running.interrupt(), (Some(0), String::new()));
    // The next one takes the place of this one's profile.
    let again = Running::start(&place, &["--profile-file", "flockr.yaml"], 3);
    assert_ne!(Profiles::load(&file).unwrap(), profiles);
    again.interrupt();
}

#[test]
fn without_a_file_the_profile_is_printed() {
    let place = Place::new();
    let running = Running::start(&place, &["--job-time", "50ms", "--fault-rate", "0.5"], 5);
    let profiles = Profiles::parse(&running.printed, "printed").unwrap();
    assert!(profiles.select(Some("simulator")).unwrap().secretkey.is_some());
    let (code, said) = running.interrupt();
    assert_eq!(code, Some(0));
    assert!(said.contains("until Ctrl-C"), "{said}");
}

#[test]
fn as_json_it_tells_no_secret() {
    let place = Place::new();
    let running = Running::start(&place, &["--json", "--profile-file", "p.yaml"], 6);
    let report: serde_json::Value = serde_json::from_str(&running.printed).unwrap();
    assert_eq!((&report["schema"], &report["profile"]), (&1.into(), &"simulator".into()));
    assert_eq!(report["profile_file"], "p.yaml");
    assert_eq!(report.as_object().unwrap().len(), 4);
    running.interrupt();
    let refused = place.flock(&[&RUN[..], &["--json"]].concat());
    assert_eq!(refused.code, 2);
    assert!(refused.json_error()["error"]["message"].to_string().contains("secret"));
}

#[test]
fn a_file_of_somebody_else_stays() {
    let place = Place::new();
    let header = "# Written by `flock simulator cloudstack`; valid while it runs.\n";
    place.write("added.yaml", format!("{header}simulator: {{apikey: a}}\nmine: {{apikey: b}}\n"));
    let refused = place.flock(&[&RUN[..], &["--profile-file", "added.yaml"]].concat());
    assert_eq!(refused.code, 1, "{}", refused.all());
    place.write("flockr.yaml", "production: {apikey: mine}\n");
    let refused = place.flock(&[&RUN[..], &["--profile-file", "flockr.yaml"]].concat());
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("flockr.yaml is there already"), "{}", refused.stderr);
    assert!(refused.stderr.contains("hint: `--force` replaces it"), "{}", refused.stderr);
    let file = place.dir().join("flockr.yaml");
    assert_eq!(fs::read_to_string(&file).unwrap(), "production: {apikey: mine}\n");
    let forced = Running::start(&place, &["--profile-file", "flockr.yaml", "--force"], 3);
    assert_eq!(Profiles::load(&file).unwrap().profiles[0].name, "simulator");
    forced.interrupt();
    assert_eq!(fs::read_dir(place.dir()).unwrap().count(), 2);
}

#[test]
fn wrong_options_are_told() {
    let place = Place::new();
    for (args, code) in [
        (&["--latency", "5"][..], 2),
        (&["--fault-rate", "2"], 2),
        (&["--listen", "here"], 2),
        (&["--force"], 2),
        (&["--cloudstack-version", "new"], 2),
        (&["--storage", "nowhere"], 2),
        (&["--listen", "192.0.2.1:80"], 1),
        (&["--profile-file", "nowhere/p.yaml"], 1),
    ] {
        let ran = place.flock(&[&RUN[..], args].concat());
        assert_eq!(ran.code, code, "{args:?}: {}", ran.all());
        assert_eq!(ran.stdout, "");
    }
}
