//! Deployment of a virtual machine: what its job does.

use uuid::Uuid;

use crate::simulator::commands::call::named;
use crate::simulator::error::ApiError;
use crate::simulator::views::{self, Told};
use crate::simulator::world::World;
use crate::simulator::world::jobs::Work;
use crate::simulator::world::records::MachineState;

/// Starts a new machine.
#[derive(Debug)]
pub(super) struct Deploy {
    machine: Uuid,
    starts: bool,
    internal: bool,
}

impl Deploy {
    pub(super) fn new(machine: Uuid, starts: bool, internal: bool) -> Self {
        Self { machine, starts, internal }
    }
}

impl Work for Deploy {
    fn begin(&mut self, world: &mut World) -> Result<(), ApiError> {
        let zone = world.machine(self.machine)?.zone;
        if self.starts {
            world.check_capacity(zone, self.machine)?;
            world.machine(self.machine)?.state = MachineState::Starting;
        }
        Ok(())
    }

    fn finish(&mut self, world: &mut World) -> Result<String, ApiError> {
        let machine = world.machine(self.machine)?;
        let password = machine.is_password_enabled.then(password);
        if self.starts {
            machine.state = MachineState::Running;
            world.allot_disks(self.machine);
        }
        let told =
            Told { password: password.as_deref(), internal: self.internal, user_data: false };
        show(world, self.machine, told)
    }

    fn abandon(&mut self, world: &mut World) {
        set_state(world, self.machine, MachineState::Error);
    }

    /// The machine has its disks and was not started.
    fn stop_half_way(&mut self, world: &mut World) {
        world.allot_disks(self.machine);
        set_state(world, self.machine, MachineState::Stopped);
    }
}

/// Notes the state of a machine that may be gone.
pub(crate) fn set_state(world: &mut World, id: Uuid, state: MachineState) {
    if let Some(machine) = world.machines.get_mut(id) {
        machine.state = state;
    }
}

/// The machine as the result of a job.
pub(crate) fn show(world: &World, id: Uuid, told: Told<'_>) -> Result<String, ApiError> {
    let gone = || ApiError::internal(format!("Unable to find a virtual machine with id {id}"));
    let machine = world.machines.get(id).ok_or_else(gone)?;
    named("virtualmachine", &views::machine(world, machine, told))
}

/// A random password without letters that look alike.
pub(crate) fn password() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let bytes = Uuid::new_v4().into_bytes();
    // The bits that every random UUID has alike are in bytes 6 and 8.
    let random = bytes.iter().take(6).chain(bytes.iter().skip(10));
    random.map(|byte| char::from(LETTERS[usize::from(byte & 31)])).collect()
}
