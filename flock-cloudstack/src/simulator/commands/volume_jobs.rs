//! Volumes: what is done to them by jobs.

use uuid::Uuid;

use super::call::{Call, named};
use super::parameters::{Entity, MADE_FOR, boolean, id, long, string};
use super::volumes::{custom_size, offered_size};
use super::{Command, Outcome};
use crate::simulator::error::ApiError;
use crate::simulator::options::{Hypervisor, Resource};
use crate::simulator::views;
use crate::simulator::world::World;
use crate::simulator::world::jobs::{VOLUME, Work};
use crate::simulator::world::records::{MachineState, Volume, VolumeState};

pub(super) const COMMANDS: &[Command] = &[
    Command::job(
        "createVolume",
        "Creates a disk volume from a disk offering. This disk volume must still be attached to a \
         virtual machine to make use of it.",
        &[
            MADE_FOR,
            &[
                id("diskofferingid", Entity::DiskOffering),
                boolean("displayvolume"),
                string("name"),
                long("size"),
                id("snapshotid", Entity::Snapshot),
                id("zoneid", Entity::Zone),
            ],
        ],
        create_volume,
    ),
    Command::job(
        "attachVolume",
        "Attaches a disk volume to a virtual machine.",
        &[&[
            long("deviceid"),
            id("id", Entity::Volume).required(),
            id("virtualmachineid", Entity::Machine).required(),
        ]],
        attach_volume,
    ),
    Command::job(
        "detachVolume",
        "Detaches a disk volume from a virtual machine.",
        &[&[long("deviceid"), id("id", Entity::Volume), id("virtualmachineid", Entity::Machine)]],
        detach_volume,
    ),
    Command::job(
        "resizeVolume",
        "Resizes a volume",
        &[&[
            id("diskofferingid", Entity::DiskOffering),
            id("id", Entity::Volume).required(),
            boolean("shrinkok"),
            long("size"),
        ]],
        resize_volume,
    ),
    Command::job(
        "updateVolume",
        "Updates the volume.",
        &[&[id("id", Entity::Volume), string("name")]],
        update_volume,
    ),
];

/// The volume as the result of a job.
fn show(world: &World, id: Uuid) -> Result<String, ApiError> {
    let gone = || ApiError::internal(format!("Unable to find a volume with id {id}"));
    let volume = world.volumes.get(id).ok_or_else(gone)?;
    named("volume", &views::volume(world, volume))
}

fn set_state(world: &mut World, id: Uuid, state: VolumeState) {
    if let Some(volume) = world.volumes.get_mut(id) {
        volume.state = state;
    }
}

/// Makes a volume; one from a snapshot is on storage at once.
#[derive(Debug)]
struct Create {
    volume: Uuid,
    is_from_snapshot: bool,
}

impl Work for Create {
    fn begin(&mut self, world: &mut World) -> Result<(), ApiError> {
        if self.is_from_snapshot {
            world.volume(self.volume)?.state = VolumeState::Creating;
        }
        Ok(())
    }

    fn finish(&mut self, world: &mut World) -> Result<String, ApiError> {
        if self.is_from_snapshot {
            world.volume(self.volume)?.state = VolumeState::Ready;
        }
        show(world, self.volume)
    }

    fn abandon(&mut self, world: &mut World) {
        world.remove_volume(self.volume);
    }
}

fn create_volume(call: &mut Call<'_>) -> Outcome {
    let owner = call.owner()?;
    let (size, zone, snapshot) = source(call)?;
    call.world.check_limit(owner, Resource::Volumes, 1)?;
    call.world.check_limit(owner, Resource::PrimaryStorage, size >> 30)?;
    let volume = Uuid::new_v4();
    let name = call.text("name").map_or_else(|| volume.to_string(), str::to_owned);
    let offering = call.id("diskofferingid");
    let created = call.world.clock.now();
    call.world.add_volume(Volume {
        id: volume,
        owner,
        name,
        zone,
        is_root: false,
        size,
        offering,
        template: None,
        snapshot,
        hypervisor: None,
        state: VolumeState::Allocated,
        attached: None,
        created,
        job: None,
        tags: Vec::new(),
    });
    let work = Create { volume, is_from_snapshot: snapshot.is_some() };
    call.start(Some(volume), Some((VOLUME, volume)), Some(volume), work)
}

/// Size, zone and snapshot of a volume to be made.
fn source(call: &Call<'_>) -> Result<(u64, Uuid, Option<Uuid>), ApiError> {
    let (size, zone) = (call.integer("size"), call.id("zoneid"));
    match (call.id("diskofferingid"), call.id("snapshotid")) {
        (_, Some(snapshot)) => {
            let record = call.world.snapshots.get(snapshot).filter(|one| one.is_ready);
            let record = record.ok_or_else(|| {
                let text = format!("Snapshot id={snapshot} is not in BackedUp state yet");
                ApiError::parameter(text)
            })?;
            let size = size.map_or(Ok(record.size), custom_size)?;
            if size < record.size {
                return Err(ApiError::parameter(format!(
                    "Invalid size for volume creation: the snapshot {snapshot} has {} bytes",
                    record.size
                )));
            }
            if zone.is_some_and(|zone| zone != record.zone) {
                let text = format!("The snapshot {snapshot} is in another zone");
                return Err(ApiError::parameter(text));
            }
            Ok((size, record.zone, Some(snapshot)))
        }
        (Some(offering), None) => {
            let zone = zone.ok_or_else(|| ApiError::parameter("Missing parameter zoneId"))?;
            Ok((offered_size(call.world, offering, size)?, zone, None))
        }
        (None, None) => Err(ApiError::parameter(
            "Either disk Offering Id or snapshot Id must be passed whilst creating volume",
        )),
    }
}

/// Attaches a volume.
#[derive(Debug)]
struct Attach {
    volume: Uuid,
    machine: Uuid,
    device: Option<i64>,
    before: Option<VolumeState>,
}

impl Attach {
    fn check(&self, world: &mut World) -> Result<VolumeState, ApiError> {
        let (machine_zone, state) = {
            let machine = world.machine(self.machine)?;
            (machine.zone, machine.state)
        };
        let volume = world.volume(self.volume)?;
        if volume.attached.is_some() || volume.is_root {
            let text = "Please specify a volume that is not attached to any VM.";
            return Err(ApiError::internal(text));
        }
        if !matches!(volume.state, VolumeState::Allocated | VolumeState::Ready) {
            return Err(ApiError::internal(format!(
                "Volume state must be in Allocated, Ready or in Uploaded state, it is {}",
                volume.state.as_str()
            )));
        }
        if !matches!(state, MachineState::Running | MachineState::Stopped) {
            return Err(ApiError::internal(format!(
                "Please specify a VM that is either running or stopped, it is {}",
                state.as_str()
            )));
        }
        if volume.zone != machine_zone {
            return Err(ApiError::internal("Please specify a VM that is in the volume's zone."));
        }
        Ok(volume.state)
    }
}

impl Work for Attach {
    fn begin(&mut self, world: &mut World) -> Result<(), ApiError> {
        let state = self.check(world)?;
        // Taken now, so that no other job takes the device or the volume.
        world.plug(self.volume, self.machine, self.device)?;
        self.before = Some(state);
        set_state(world, self.volume, VolumeState::Attaching);
        Ok(())
    }

    fn finish(&mut self, world: &mut World) -> Result<String, ApiError> {
        let hypervisor = world.machine(self.machine)?.hypervisor;
        let volume = world.volume(self.volume)?;
        volume.state = VolumeState::Ready;
        volume.hypervisor = Some(hypervisor);
        show(world, self.volume)
    }

    fn abandon(&mut self, world: &mut World) {
        if let Some(before) = self.before {
            world.unplug(self.volume);
            set_state(world, self.volume, before);
        }
    }
}

fn attach_volume(call: &mut Call<'_>) -> Outcome {
    let (volume, machine) = (call.required_id("id")?, call.required_id("virtualmachineid")?);
    let device = call.integer("deviceid");
    let work = Attach { volume, machine, device, before: None };
    call.start(None, Some((VOLUME, volume)), Some(machine), work)
}

/// Detaches a volume.
#[derive(Debug)]
struct Detach(Uuid);

impl Work for Detach {
    fn begin(&mut self, world: &mut World) -> Result<(), ApiError> {
        let volume = world.volume(self.0)?;
        let Some(attached) = volume.attached.filter(|_| !volume.is_root) else {
            let text = "The specified volume is not attached to a virtual machine.";
            return Err(ApiError::internal(text));
        };
        let state = world.machine(attached.machine)?.state;
        match state {
            MachineState::Running | MachineState::Stopped | MachineState::Destroyed => Ok(()),
            state => Err(ApiError::internal(format!(
                "Please specify a VM that is either running or stopped, it is {}",
                state.as_str()
            ))),
        }
    }

    fn finish(&mut self, world: &mut World) -> Result<String, ApiError> {
        world.unplug(self.0);
        show(world, self.0)
    }

    fn abandon(&mut self, _: &mut World) {}
}

fn detach_volume(call: &mut Call<'_>) -> Outcome {
    let volume = match (call.id("id"), call.integer("deviceid"), call.id("virtualmachineid")) {
        (Some(id), None, None) => id,
        (None, Some(device), Some(machine)) => at_device(call.world, machine, device)?,
        _ => {
            let text = "Please provide either a volume id, or a tuple(device id, instance id)";
            return Err(ApiError::parameter(text));
        }
    };
    let machine = call.world.volume(volume)?.attached.map(|attached| attached.machine);
    let queue = machine.unwrap_or(volume);
    call.start(None, Some((VOLUME, volume)), Some(queue), Detach(volume))
}

fn at_device(world: &World, machine: Uuid, device: i64) -> Result<Uuid, ApiError> {
    let is_there = |id: &Uuid| {
        world.volumes.get(*id).and_then(|one| one.attached).is_some_and(|at| at.device == device)
    };
    let text = || format!("The virtual machine {machine} has no volume at the device {device}");
    let found = world.disks_of(machine).into_iter().find(is_there);
    found.ok_or_else(|| ApiError::parameter(text()))
}

/// Gives a volume another size.
#[derive(Debug)]
struct Resize {
    volume: Uuid,
    size: u64,
    offering: Option<Uuid>,
    before: Option<VolumeState>,
}

impl Work for Resize {
    fn begin(&mut self, world: &mut World) -> Result<(), ApiError> {
        let volume = world.volume(self.volume)?;
        if !matches!(volume.state, VolumeState::Allocated | VolumeState::Ready) {
            return Err(ApiError::internal(format!(
                "Volume should be in ready or allocated state before attempting a resize. The \
                 volume is {}",
                volume.state.as_str()
            )));
        }
        self.before = Some(volume.state);
        let (shrinks, attached) = (self.size < volume.size, volume.attached);
        if let Some(attached) = attached {
            let machine = world.machine(attached.machine)?;
            let runs = machine.state != MachineState::Stopped;
            if runs && (shrinks || machine.hypervisor == Hypervisor::XenServer) {
                return Err(ApiError::internal(format!(
                    "The virtual machine {} must be stopped before its volume is resized so",
                    machine.id
                )));
            }
        }
        set_state(world, self.volume, VolumeState::Resizing);
        Ok(())
    }

    fn finish(&mut self, world: &mut World) -> Result<String, ApiError> {
        let volume = world.volume(self.volume)?;
        volume.size = self.size;
        volume.offering = self.offering.or(volume.offering);
        volume.state = self.before.unwrap_or(VolumeState::Ready);
        show(world, self.volume)
    }

    fn abandon(&mut self, world: &mut World) {
        if let Some(before) = self.before {
            set_state(world, self.volume, before);
        }
    }
}

fn resize_volume(call: &mut Call<'_>) -> Outcome {
    let id = call.required_id("id")?;
    let size = call.integer("size");
    let wanted = call.id("diskofferingid");
    let volume = call.world.volume(id)?;
    let (current, owner, offering) = (volume.size, volume.owner, volume.offering);
    let queue = volume.attached.map_or(id, |attached| attached.machine);
    let new = match (wanted, size, offering) {
        (Some(offering), size, _) => offered_size(call.world, offering, size)?,
        (None, Some(size), Some(offering)) => offered_size(call.world, offering, Some(size))?,
        (None, Some(size), None) => custom_size(size)?,
        (None, None, _) => {
            return Err(ApiError::parameter("Either a size or a disk offering must be given"));
        }
    };
    if new < current && call.boolean("shrinkok") != Some(true) {
        return Err(ApiError::parameter(format!(
            "Going from existing size of {current} to size of {new} would shrink the volume. Need \
             to sign off by supplying the shrinkok parameter with value of true."
        )));
    }
    call.world.check_limit(owner, Resource::PrimaryStorage, new.saturating_sub(current) >> 30)?;
    let work = Resize { volume: id, size: new, offering: wanted, before: None };
    call.start(None, Some((VOLUME, id)), Some(queue), work)
}

/// Gives a volume another name.
#[derive(Debug)]
struct Update {
    volume: Uuid,
    name: Option<String>,
}

impl Work for Update {
    fn begin(&mut self, world: &mut World) -> Result<(), ApiError> {
        world.volume(self.volume).map(drop)
    }

    fn finish(&mut self, world: &mut World) -> Result<String, ApiError> {
        if let Some(name) = self.name.take() {
            world.volume(self.volume)?.name = name;
        }
        show(world, self.volume)
    }

    fn abandon(&mut self, _: &mut World) {}
}

fn update_volume(call: &mut Call<'_>) -> Outcome {
    let id = call.required_id("id")?;
    let name = call.text("name").map(str::to_owned);
    let work = Update { volume: id, name };
    call.start(None, Some((VOLUME, id)), Some(id), work)
}
