//! Virtual machines: what is done to them by jobs.

use uuid::Uuid;

use super::call::{Call, to_json};
use super::deploy::{password, set_state, show};
use super::parameters::{Entity, Parameter, boolean, id, ids, string};
use super::{Command, Outcome};
use crate::simulator::error::ApiError;
use crate::simulator::views::Told;
use crate::simulator::world::World;
use crate::simulator::world::jobs::{MACHINE, Success, Work};
use crate::simulator::world::records::MachineState;

pub(super) const COMMANDS: &[Command] = &[
    Command::job("startVirtualMachine", "Starts a virtual machine.", &[&[MACHINE_ID]], start),
    Command::job(
        "stopVirtualMachine",
        "Stops a virtual machine.",
        &[&[boolean("forced"), MACHINE_ID]],
        stop,
    ),
    Command::job(
        "rebootVirtualMachine",
        "Reboots a virtual machine.",
        &[&[boolean("forced"), MACHINE_ID]],
        reboot,
    ),
    Command::job(
        "destroyVirtualMachine",
        "Destroys a virtual machine.",
        &[&[boolean("expunge"), MACHINE_ID, ids("volumeids", Entity::Volume)]],
        destroy,
    ),
    Command::job(
        "expungeVirtualMachine",
        "Expunge a virtual machine. Once expunged, it cannot be recoverd.",
        &[&[MACHINE_ID]],
        expunge,
    ),
    Command::job(
        "resetPasswordForVirtualMachine",
        "Resets the password for virtual machine. The virtual machine must be in a \"Stopped\" \
         state and the template must already support this feature for this command to take effect.",
        &[&[MACHINE_ID, string("password")]],
        reset_password,
    ),
];

const MACHINE_ID: Parameter = id("id", Entity::Machine).required();

/// What is to be done to a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Start,
    Stop,
    Reboot,
    Destroy { expunge: bool, volumes: Vec<Uuid> },
    Expunge,
    ResetPassword { wanted: Option<String> },
}

/// Does something to a machine.
#[derive(Debug)]
struct Change {
    machine: Uuid,
    action: Action,
    /// The state to go back to when the job fails.
    before: Option<MachineState>,
    is_admin: bool,
}

impl Change {
    fn refuse(&self, what: &str, state: MachineState) -> ApiError {
        let (id, state) = (self.machine, state.as_str());
        ApiError::internal(format!("Unable to {what} the virtual machine {id}: it is {state}"))
    }

    fn may_expunge(&self, world: &World) -> Result<(), ApiError> {
        match self.is_admin || world.options.user_expunge {
            true => Ok(()),
            false => Err(ApiError::denied(
                "Parameter expunge can be passed by Admin only. Or when the \
                 allow.user.expunge.recover.vm key is set.",
            )),
        }
    }

    /// The state that the machine is in meanwhile; `None` where it is as it
    /// was.
    fn meanwhile(
        &self,
        world: &World,
        state: MachineState,
        zone: Uuid,
    ) -> Result<Option<MachineState>, ApiError> {
        use MachineState::{Destroyed, Error, Expunging, Running, Starting, Stopped, Stopping};
        match (&self.action, state) {
            (Action::Start, Running) | (Action::Stop, Stopped) | (Action::Reboot, Running) => {
                Ok(None)
            }
            (Action::Start, Stopped) => {
                world.check_capacity(zone, self.machine)?;
                Ok(Some(Starting))
            }
            (Action::Stop, Running) => Ok(Some(Stopping)),
            (Action::Destroy { expunge, volumes }, state) => {
                if *expunge {
                    self.may_expunge(world)?;
                }
                self.check_volumes(world, volumes)?;
                match state {
                    Expunging => Err(self.refuse("destroy", state)),
                    Running | Starting | Stopping => Ok(Some(Stopping)),
                    Error => Ok(Some(Expunging)),
                    Stopped | Destroyed => Ok(None),
                }
            }
            (Action::Expunge, Destroyed | Error | Expunging) => {
                self.may_expunge(world)?;
                Ok(Some(Expunging))
            }
            (Action::ResetPassword { .. }, Stopped) => Ok(None),
            (Action::Start, state) => Err(self.refuse("start", state)),
            (Action::Stop, state) => Err(self.refuse("stop", state)),
            (Action::Reboot, state) => Err(self.refuse("reboot", state)),
            (Action::Expunge, state) => Err(self.refuse("expunge (destroy it first)", state)),
            (Action::ResetPassword { .. }, state) => {
                Err(self.refuse("reset the password of", state))
            }
        }
    }

    fn check_volumes(&self, world: &World, volumes: &[Uuid]) -> Result<(), ApiError> {
        let is_data_disk = |id: &Uuid| {
            world.volumes.get(*id).is_some_and(|volume| {
                !volume.is_root
                    && volume.attached.is_some_and(|attached| attached.machine == self.machine)
            })
        };
        match volumes.iter().find(|id| !is_data_disk(id)) {
            None => Ok(()),
            Some(id) => Err(ApiError::internal(format!(
                "The volume {id} is no data disk of the virtual machine {}",
                self.machine
            ))),
        }
    }

    /// Destroys the machine, and shows how it was at the end.
    fn destroy(
        &self,
        world: &mut World,
        expunge: bool,
        volumes: &[Uuid],
        told: Told<'_>,
    ) -> Result<String, ApiError> {
        volumes.iter().for_each(|volume| world.remove_volume(*volume));
        let at_once = expunge || self.before == Some(MachineState::Error);
        if at_once {
            set_state(world, self.machine, MachineState::Expunging);
        } else if self.before != Some(MachineState::Destroyed) {
            world.destroy(self.machine)?;
        }
        let result = show(world, self.machine, told);
        if at_once {
            world.expunge(self.machine);
        }
        result
    }
}

impl Work for Change {
    fn begin(&mut self, world: &mut World) -> Result<(), ApiError> {
        let machine = world.machine(self.machine)?;
        let (state, zone) = (machine.state, machine.zone);
        let meanwhile = self.meanwhile(world, state, zone)?;
        self.before = Some(state);
        if let Some(meanwhile) = meanwhile {
            set_state(world, self.machine, meanwhile);
        }
        Ok(())
    }

    fn finish(&mut self, world: &mut World) -> Result<String, ApiError> {
        let told = Told { internal: self.is_admin, ..Told::default() };
        match &self.action {
            Action::Start => {
                set_state(world, self.machine, MachineState::Running);
                world.allot_disks(self.machine);
                show(world, self.machine, told)
            }
            Action::Stop => {
                set_state(world, self.machine, MachineState::Stopped);
                show(world, self.machine, told)
            }
            Action::Reboot => show(world, self.machine, told),
            Action::Destroy { expunge, volumes } => self.destroy(world, *expunge, volumes, told),
            Action::Expunge => {
                world.expunge(self.machine);
                to_json(&Success { success: true })
            }
            Action::ResetPassword { wanted } => {
                let password = wanted.clone().unwrap_or_else(password);
                show(world, self.machine, Told { password: Some(&password), ..told })
            }
        }
    }

    fn abandon(&mut self, world: &mut World) {
        if let Some(before) = self.before {
            set_state(world, self.machine, before);
        }
    }
}

fn change(call: &mut Call<'_>, action: Action) -> Outcome {
    let machine = call.required_id("id")?;
    let work = Change { machine, action, before: None, is_admin: call.is_admin };
    call.start(None, Some((MACHINE, machine)), Some(machine), work)
}

fn start(call: &mut Call<'_>) -> Outcome {
    change(call, Action::Start)
}

fn stop(call: &mut Call<'_>) -> Outcome {
    change(call, Action::Stop)
}

fn reboot(call: &mut Call<'_>) -> Outcome {
    change(call, Action::Reboot)
}

fn destroy(call: &mut Call<'_>) -> Outcome {
    let expunge = call.boolean("expunge") == Some(true);
    let volumes = call.ids("volumeids");
    change(call, Action::Destroy { expunge, volumes })
}

fn expunge(call: &mut Call<'_>) -> Outcome {
    change(call, Action::Expunge)
}

fn reset_password(call: &mut Call<'_>) -> Outcome {
    let id = call.required_id("id")?;
    if !call.world.machine(id)?.is_password_enabled {
        return Err(ApiError::parameter(format!(
            "Fail to reset password for the virtual machine {id}, the template is not password \
             enabled"
        )));
    }
    let wanted = call.text("password").map(str::to_owned);
    change(call, Action::ResetPassword { wanted })
}
