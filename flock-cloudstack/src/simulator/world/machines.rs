//! Machines in the world: addresses, names, hosts, and their end.

use std::net::Ipv4Addr;

use uuid::Uuid;

use super::records::{Machine, MachineState, Network, Nic};
use super::{Event, World};
use crate::simulator::error::ApiError;

impl Network {
    /// The address of the router, which no machine gets.
    pub(crate) fn gateway(&self) -> Ipv4Addr {
        self.address(1)
    }

    fn address(&self, host: u16) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base.to_bits() | u32::from(host))
    }

    /// Takes this address, or the next free one.
    fn take(&mut self, wanted: Option<Ipv4Addr>) -> Result<Ipv4Addr, ApiError> {
        let address = match wanted {
            Some(address) => self.check(address)?,
            None => self.next_free()?,
        };
        self.used.insert(address);
        Ok(address)
    }

    fn check(&self, address: Ipv4Addr) -> Result<Ipv4Addr, ApiError> {
        let is_here = address.to_bits() >> 16 == self.base.to_bits() >> 16;
        let host = address.to_bits() & 0xffff;
        if is_here && (2..0xffff).contains(&host) && !self.used.contains(&address) {
            return Ok(address);
        }
        let name = &self.name;
        Err(ApiError::capacity(format!("The address {address} is not free in the network {name}")))
    }

    fn next_free(&mut self) -> Result<Ipv4Addr, ApiError> {
        for _ in 0..u16::MAX {
            self.cursor = self.cursor.wrapping_add(1);
            let address = self.address(self.cursor);
            if (2..u16::MAX).contains(&self.cursor) && !self.used.contains(&address) {
                return Ok(address);
            }
        }
        let name = &self.name;
        Err(ApiError::capacity(format!("No address is free in the network {name}")))
    }
}

impl World {
    /// Gives a new machine a card in each of these networks, the first of
    /// them with the address that was asked for.
    pub(crate) fn connect(
        &mut self,
        networks: &[Uuid],
        name: &str,
        wanted: Option<Ipv4Addr>,
    ) -> Result<Vec<Nic>, ApiError> {
        let mut nics = Vec::new();
        let mut wanted = wanted;
        for id in networks {
            let Some(network) = self.networks.get_mut(*id) else { continue };
            match network.take(wanted.take()) {
                Ok(address) => nics.push(Nic { id: Uuid::new_v4(), network: *id, address }),
                Err(error) => {
                    self.disconnect(&nics, name);
                    return Err(error);
                }
            }
            network.names.insert(name.to_ascii_lowercase());
        }
        Ok(nics)
    }

    fn disconnect(&mut self, nics: &[Nic], name: &str) {
        for nic in nics {
            if let Some(network) = self.networks.get_mut(nic.network) {
                network.used.remove(&nic.address);
                network.names.remove(&name.to_ascii_lowercase());
            }
        }
    }

    /// How a machine's name changes in its networks.
    pub(crate) fn rename(&mut self, nics: &[Nic], from: &str, to: &str) {
        for nic in nics {
            if let Some(network) = self.networks.get_mut(nic.network) {
                network.names.remove(&from.to_ascii_lowercase());
                network.names.insert(to.to_ascii_lowercase());
            }
        }
    }

    /// The machine, for work on it.
    pub(crate) fn machine(&mut self, id: Uuid) -> Result<&mut Machine, ApiError> {
        let gone = || ApiError::internal(format!("Unable to find a virtual machine with id {id}"));
        self.machines.get_mut(id).ok_or_else(gone)
    }

    /// Refuses when no host of the zone has room for one more machine.
    pub(crate) fn check_capacity(&self, zone: Uuid, machine: Uuid) -> Result<(), ApiError> {
        let Some(capacity) = self.zones.get(zone).and_then(|zone| zone.capacity) else {
            return Ok(());
        };
        let there = |one: &&Machine| one.zone == zone && one.id != machine;
        let running = self.machines.iter().filter(there).filter(|one| one.state.is_on_host());
        if running.count() < capacity {
            return Ok(());
        }
        Err(ApiError::capacity(format!(
            "Unable to create a deployment for the virtual machine {machine}: insufficient \
             capacity in the zone"
        )))
    }

    /// Marks a machine as destroyed, to be expunged when its time has come.
    pub(crate) fn destroy(&mut self, id: Uuid) -> Result<(), ApiError> {
        let machine = self.machine(id)?;
        machine.state = MachineState::Destroyed;
        machine.destructions += 1;
        let event = Event::Expunge(id, machine.destructions);
        self.schedule_in(self.options.expunge_delay, event);
        Ok(())
    }

    pub(super) fn expunge_if(&mut self, id: Uuid, destructions: u32) {
        let is_due = self.machines.get(id).is_some_and(|machine| {
            machine.state == MachineState::Destroyed && machine.destructions == destructions
        });
        if is_due {
            self.expunge(id);
        }
    }

    /// Removes a machine for good, with its root disk; its data disks are
    /// detached.
    pub(crate) fn expunge(&mut self, id: Uuid) {
        let Some(machine) = self.machines.remove(id) else { return };
        self.disconnect(&machine.nics, &machine.name);
        for volume in self.disks_of(id) {
            let is_root = self.volumes.get(volume).is_some_and(|volume| volume.is_root);
            match is_root {
                true => self.remove_volume(volume),
                false => self.unplug(volume),
            }
        }
    }
}
