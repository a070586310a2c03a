//! `flock simulator cloudstack`.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use flock_cloudstack::simulator::{FaultPlan, Simulator, SimulatorOptions};
use flock_core::profile::Profiles;
use flock_core::{Error, ErrorKind};
use serde::Serialize;

use super::Session;
use crate::cli::{Cloudstack, Simulator as Command};
use crate::exit::Exit;
use crate::interrupt;
use crate::output::{Result, columns};

/// The name of the profile that is written.
const PROFILE: &str = "simulator";
/// By what a file that flock wrote is known.
const HEADER: &str = "# Written by `flock simulator cloudstack`; valid while it runs.\n";

/// What `flock simulator cloudstack --json` prints when it is ready.
#[derive(Debug, Serialize)]
struct Report<'a> {
    url: &'a str,
    profile: &'static str,
    profile_file: &'a Path,
}

pub(crate) fn run(session: &Session, command: &Command) -> Result<Exit> {
    let Command::Cloudstack(command) = command;
    if session.printer.json && command.profile_file.is_none() {
        let message = "with --json the profile must go to a file, since it holds a secret";
        return Err(Error::new(ErrorKind::InvalidConfig, message)
            .hint("`--profile-file flockr.yaml` names one")
            .into());
    }
    if let Some(path) = &command.profile_file {
        check(path, command.force)?;
    }
    interrupt::serve(async |stopped| {
        let simulator = Simulator::start(options(command)).await?;
        if command.fault_rate > 0.0 {
            let plan = FaultPlan::random(command.fault_seed, command.fault_rate);
            simulator.faults().set_plan(plan);
        }
        announce(session, command, &simulator)?;
        stopped.await;
        simulator.stop().await;
        Ok(Exit::Done)
    })
}

fn options(command: &Cloudstack) -> SimulatorOptions {
    let mut options = SimulatorOptions::new()
        .with_listen(command.listen)
        .with_latency(command.latency)
        .with_job_time(command.job_time)
        .with_install_time(command.job_time)
        .with_expunge_delay(command.expunge_delay)
        .with_version(&command.cloudstack_version)
        .with_clock_skew(command.clock_skew);
    options.upload_listen = command.upload_listen;
    options.storage.clone_from(&command.storage);
    options
}

/// Says that it is ready, and how to reach it.
fn announce(session: &Session, command: &Cloudstack, simulator: &Simulator) -> Result<()> {
    let profile = profile(simulator);
    let Some(path) = &command.profile_file else {
        session.printer.text(&profile)?;
        session.printer.note("CloudStack is simulated until Ctrl-C; the profile is above");
        return Ok(());
    };
    write(path, &profile)?;
    let report = Report { url: simulator.url(), profile: PROFILE, profile_file: path };
    session.printer.result(report, || {
        let rows = [
            ("API", simulator.url().to_owned()),
            ("profile", format!("{PROFILE} in {}", path.display())),
        ];
        format!("CloudStack is simulated until Ctrl-C\n{}", columns(&rows, "  "))
    })
}

/// The profile with which other commands reach the simulator.
fn profile(simulator: &Simulator) -> String {
    let (url, key) = (simulator.url(), simulator.api_key());
    let secret = simulator.secret_key().expose();
    format!("{HEADER}{PROFILE}:\n  apikey: \"{key}\"\n  url: {url}\n  secretkey: \"{secret}\"\n")
}

/// Refuses to replace a file that somebody else wrote, or has added to.
fn check(path: &Path, force: bool) -> Result<(), Error> {
    let there = match fs::read_to_string(path) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
        _ if force => return Ok(()),
        there => there.map_err(|source| Error::io("read", path, source))?,
    };
    let is_ours = |profiles: Profiles| profiles.profiles.iter().all(|one| one.name == PROFILE);
    let name = path.display().to_string();
    if there.starts_with(HEADER) && Profiles::parse(&there, &name).is_ok_and(is_ours) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::AlreadyExists, format!("{} is there already", path.display()))
        .with("path", path.display().to_string())
        .hint("`--force` replaces it, another `--profile-file` leaves it"))
}

/// Writes the profile, for its owner only, in one step.
fn write(path: &Path, profile: &str) -> Result<(), Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(name);
    let failed = |source| Error::io("write", path, source);
    let written = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(profile.as_bytes()))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // What is left of it is of no use; that it stays is no worse.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(failed)
}
