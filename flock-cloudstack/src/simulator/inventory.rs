//! What a simulator holds, seen from outside the API: for tests that compare
//! what a client believes with what is there.

use uuid::Uuid;

use super::Simulator;
use super::world::records::{MachineState, VolumeState};
use super::world::template::Stage;
use flock_core::{Error, ErrorKind, Result};

/// A virtual machine that a simulator holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldMachine {
    /// Its id.
    pub id: String,
    /// Its host name.
    pub name: String,
    /// The name that people see.
    pub display_name: String,
    /// Whose it is.
    pub account: String,
    /// What it is doing.
    pub state: MachineState,
    /// Its tags, in the order in which they were made.
    pub tags: Vec<(String, String)>,
    /// Its user data, in Base64.
    pub user_data: Option<String>,
}

/// A template that a simulator holds, in one zone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldTemplate {
    /// Its id, the same in all zones.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The name of the zone.
    pub zone: String,
    /// Whether it can be deployed.
    pub ready: bool,
    /// What `listTemplates` says of its state.
    pub status: String,
    /// The size of the file that came, in bytes; 0 before it came.
    pub physical_size: u64,
    /// The SHA-256 of the file that came, in hexadecimal.
    pub sha256: Option<String>,
}

/// A volume that a simulator holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldVolume {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it is a machine's root disk.
    pub root: bool,
    /// Its size in bytes.
    pub size: u64,
    /// What is with it.
    pub state: VolumeState,
    /// The id of the machine that has it.
    pub machine: Option<String>,
}

impl Simulator {
    /// The virtual machines there are, those of all accounts and in all
    /// states, in the order in which they were made.
    #[must_use]
    pub fn machines(&self) -> Vec<HeldMachine> {
        let world = self.shared.world();
        let held = world.machines.iter().map(|one| HeldMachine {
            id: one.id.to_string(),
            name: one.name.clone(),
            display_name: one.display_name.clone(),
            account: world.account_name(one.owner).to_owned(),
            state: one.state,
            tags: one.tags.clone(),
            user_data: one.user_data.as_deref().map(str::to_owned),
        });
        held.collect()
    }

    /// The templates there are but those that came with the simulator, once
    /// for each zone.
    #[must_use]
    pub fn templates(&self) -> Vec<HeldTemplate> {
        let world = self.shared.world();
        let own = world.templates.iter().filter(|one| one.owner.is_some());
        let held = own.flat_map(|one| {
            one.zones.iter().map(|(zone, copy)| HeldTemplate {
                id: one.id.to_string(),
                name: one.name.to_string(),
                zone: world.zones.get(*zone).map_or_else(String::new, |zone| zone.name.to_string()),
                ready: copy.stage.is_ready(),
                status: copy.stage.status(),
                physical_size: copy.physical_size,
                sha256: copy.sha256.clone(),
            })
        });
        held.collect()
    }

    /// The volumes there are, those of all accounts.
    #[must_use]
    pub fn volumes(&self) -> Vec<HeldVolume> {
        let world = self.shared.world();
        let held = world.volumes.iter().map(|one| HeldVolume {
            id: one.id.to_string(),
            name: one.name.clone(),
            root: one.is_root,
            size: one.size,
            state: one.state,
            machine: one.attached.map(|attached| attached.machine.to_string()),
        });
        held.collect()
    }

    /// Has a host report that a machine runs or does not: the machine changes
    /// between Running and Stopped by itself, without a job.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] if it is neither
    /// Running nor Stopped.
    pub fn report_power(&self, machine: &str, runs: bool) -> Result<()> {
        let mut world = self.shared.world();
        let id = Uuid::parse_str(machine).ok();
        let found = id.and_then(|id| world.machines.get_mut(id));
        let missing = || Error::new(ErrorKind::NotFound, format!("no machine '{machine}'"));
        let found = found.ok_or_else(missing)?;
        if !matches!(found.state, MachineState::Running | MachineState::Stopped) {
            let message = format!("the machine '{machine}' is {}", found.state.as_str());
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        found.state = if runs { MachineState::Running } else { MachineState::Stopped };
        Ok(())
    }

    /// Has a template of an account end in an error with this text, as when
    /// secondary storage fails; it stays so.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such template.
    pub fn fail_template(&self, template: &str, reason: &str) -> Result<()> {
        let mut world = self.shared.world();
        let id = Uuid::parse_str(template).ok();
        let found = id.and_then(|id| world.templates.get_mut(id));
        let missing = || Error::new(ErrorKind::NotFound, format!("no template '{template}'"));
        for copy in found.ok_or_else(missing)?.zones.values_mut() {
            copy.stage = Stage::Failed(reason.to_owned());
        }
        Ok(())
    }
}
