//! What accounts use, and their limits.

use uuid::Uuid;

use super::World;
use super::records::Machine;
use crate::simulator::error::ApiError;
use crate::simulator::options::Resource;

impl World {
    /// How much of a resource an account has.
    pub(crate) fn usage(&self, account: Uuid, resource: Resource) -> u64 {
        let machines = || {
            let counts = |one: &&Machine| one.owner == account && one.state.counts();
            self.machines.iter().filter(counts)
        };
        let volumes = || self.volumes.iter().filter(|one| one.owner == account);
        match resource {
            Resource::Machines => number(machines().count()),
            Resource::Processors => machines().map(|one| u64::from(one.size.cpus)).sum(),
            Resource::Memory => machines().map(|one| u64::from(one.size.memory)).sum(),
            Resource::Volumes => number(volumes().count()),
            Resource::PrimaryStorage => volumes().map(|one| one.size).sum::<u64>() >> 30,
            Resource::Snapshots => {
                number(self.snapshots.iter().filter(|one| one.owner == account).count())
            }
            Resource::Templates => {
                number(self.templates.iter().filter(|one| one.owner == Some(account)).count())
            }
        }
    }

    /// Refuses when an account would have more than its limit. Machines and
    /// what comes with them are refused with 535, the rest with 532.
    pub(crate) fn check_limit(
        &self,
        account: Uuid,
        resource: Resource,
        more: u64,
    ) -> Result<(), ApiError> {
        let Some(account) = self.accounts.get(account) else { return Ok(()) };
        let Some(limit) = account.limits.get(&resource).copied() else { return Ok(()) };
        let used = self.usage(account.id, resource);
        if used.saturating_add(more) <= limit {
            return Ok(());
        }
        let (kind, name) = (resource.as_str(), &account.name);
        let text = format!(
            "Maximum amount of resources of Type = '{kind}' for Account Name = {name} is \
             exceeded: Account Resource Limit = {limit}, Current Account Resource Amount = \
             {used}, Requested Resource Amount = {more}."
        );
        Err(match resource {
            Resource::Machines | Resource::Processors | Resource::Memory => {
                ApiError::allocation(text)
            }
            _ => ApiError::account_limit(text),
        })
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
