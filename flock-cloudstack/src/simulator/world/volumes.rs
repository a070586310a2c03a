//! Volumes in the world: which machine has which.

use uuid::Uuid;

use super::World;
use super::records::{Attached, Volume, VolumeState};
use crate::simulator::error::ApiError;

/// The most data disks of a machine.
const MAX_DATA_DISKS: usize = 15;
/// The number of the CD drive, which no volume gets.
const CD_DEVICE: i64 = 3;

impl World {
    /// The volume, for work on it.
    pub(crate) fn volume(&mut self, id: Uuid) -> Result<&mut Volume, ApiError> {
        let gone = || ApiError::internal(format!("Unable to find a volume with id {id}"));
        self.volumes.get_mut(id).ok_or_else(gone)
    }

    /// The volumes of a machine.
    pub(crate) fn disks_of(&self, machine: Uuid) -> Vec<Uuid> {
        self.disks.get(&machine).cloned().unwrap_or_default()
    }

    /// Adds a volume, attached or not.
    pub(crate) fn add_volume(&mut self, volume: Volume) {
        if let Some(attached) = volume.attached {
            self.disks.entry(attached.machine).or_default().push(volume.id);
        }
        self.volumes.insert(volume.id, volume);
    }

    /// Puts on storage what a machine has on paper only.
    pub(crate) fn allot_disks(&mut self, machine: Uuid) {
        for disk in self.disks_of(machine) {
            if let Some(volume) = self.volumes.get_mut(disk)
                && volume.state == VolumeState::Allocated
            {
                volume.state = VolumeState::Ready;
            }
        }
    }

    /// Attaches a volume to a machine at this device, or at the first free
    /// one.
    pub(crate) fn plug(
        &mut self,
        volume: Uuid,
        machine: Uuid,
        device: Option<i64>,
    ) -> Result<(), ApiError> {
        let device = self.free_device(machine, device)?;
        let since = self.clock.now();
        self.volume(volume)?.attached = Some(Attached { machine, device, since });
        self.disks.entry(machine).or_default().push(volume);
        Ok(())
    }

    /// Detaches a volume from the machine that has it.
    pub(crate) fn unplug(&mut self, volume: Uuid) {
        let attached = self.volumes.get_mut(volume).and_then(|volume| volume.attached.take());
        let Some(attached) = attached else { return };
        if let Some(disks) = self.disks.get_mut(&attached.machine) {
            disks.retain(|disk| *disk != volume);
            if disks.is_empty() {
                self.disks.remove(&attached.machine);
            }
        }
    }

    pub(crate) fn remove_volume(&mut self, volume: Uuid) {
        self.unplug(volume);
        self.volumes.remove(volume);
    }

    fn free_device(&self, machine: Uuid, wanted: Option<i64>) -> Result<i64, ApiError> {
        let used: Vec<i64> = self
            .disks_of(machine)
            .into_iter()
            .filter_map(|id| self.volumes.get(id)?.attached.map(|attached| attached.device))
            .collect();
        if used.iter().filter(|device| **device != 0).count() >= MAX_DATA_DISKS {
            return Err(ApiError::internal(format!(
                "The specified VM already has the maximum number of data disks \
                 ({MAX_DATA_DISKS}) attached"
            )));
        }
        let is_free = |device: i64| device > 0 && device != CD_DEVICE && !used.contains(&device);
        match wanted {
            None => (1..).find(|device| is_free(*device)).ok_or_else(|| taken(0)),
            Some(device) if is_free(device) => Ok(device),
            Some(device) => Err(taken(device)),
        }
    }
}

fn taken(device: i64) -> ApiError {
    ApiError::internal(format!("deviceId {device} is used by VM or is not valid for a data disk"))
}
