//! A server that behaves like CloudStack, for tests and for trying things
//! out. **It is not CloudStack.**
//!
//! [`Simulator`] speaks the API of Apache CloudStack 4.19 to 4.22 over plain
//! HTTP, for the commands that flock uses (`listApis` tells which). It checks
//! signatures, takes its time for jobs, really fetches or receives templates
//! and looks into them, and misbehaves where it is told to ([`Faults`]). What
//! it runs are records in memory: no machine starts. Where CloudStack's
//! documentation does not say what happens, the simulator may do otherwise
//! than a given release does; what passes here must be tried on a real cloud
//! before it can be said to work there.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> flock_core::Result<()> {
//! use std::time::Duration;
//!
//! use flock_cloudstack::Client;
//! use flock_cloudstack::simulator::{Fault, Simulator, SimulatorOptions};
//! use flock_core::Context;
//!
//! let options = SimulatorOptions::new().with_job_time(Duration::from_secs(2));
//! let simulator = Simulator::start(options).await?;
//! simulator.faults().once("deployVirtualMachine", Fault::LoseReply);
//! let client = Client::new(simulator.config())?;
//! assert_eq!(client.zones(&Context::new()).await?.len(), 2);
//! assert_eq!(simulator.requests().of("listZones"), 1);
//! simulator.stop().await;
//! # Ok(())
//! # }
//! ```

mod api;
mod auth;
mod clock;
mod commands;
mod content;
mod error;
mod faults;
mod fetch;
mod format;
mod inventory;
mod key_pair;
mod options;
mod reply;
mod request;
mod server;
mod signature;
mod storage;
mod upload;
mod views;
mod world;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use flock_core::secret::Secret;
use flock_core::{Error, ErrorKind, Result};
use tokio_util::sync::CancellationToken;
use url::Url;

pub use self::faults::{Asked, Fault, FaultPlan, FaultRule, Faults, UPLOAD};
pub use self::inventory::{HeldMachine, HeldTemplate, HeldVolume};
pub use self::options::{
    AccountOptions, Hypervisor, Resource, Role, SimulatorOptions, ZoneOptions,
};
pub use self::world::records::{MachineState, VolumeState};

use crate::config::CloudStackConfig;

use self::server::{Listeners, Shared, StopGuard};

/// A simulated CloudStack that is running. It stops when it is dropped.
#[derive(Debug)]
pub struct Simulator {
    shared: Arc<Shared>,
    url: String,
    config: CloudStackConfig,
    stop: CancellationToken,
    _guard: StopGuard,
}

/// The keys of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credentials {
    /// The API key, which stands in every request.
    pub api_key: String,
    /// The secret key, with which requests are signed.
    pub secret_key: Secret,
}

/// How many requests came, by command. Uploads count as [`UPLOAD`], commands
/// that are not known as `unknown`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestCounts(BTreeMap<String, u64>);

impl RequestCounts {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Those of this command.
    #[must_use]
    pub fn of(&self, command: &str) -> u64 {
        self.0.get(command).copied().unwrap_or(0)
    }

    /// Each command with its number, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(command, count)| (command.as_str(), *count))
    }

    /// What came since these earlier counts.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let new = self
            .0
            .iter()
            .map(|(command, count)| (command.clone(), count.saturating_sub(earlier.of(command))));
        Self(new.filter(|(_, count)| *count > 0).collect())
    }
}

impl Simulator {
    /// Starts a simulator. It listens when this returns.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for a version that is none, or a storage
    /// directory that is not there; [`ErrorKind::Conflict`] if an address
    /// cannot be listened on.
    pub async fn start(options: SimulatorOptions) -> Result<Self> {
        check(&options)?;
        let options = Arc::new(options);
        let listeners = Listeners::bind(&options).await?;
        let upload_url = format!("http://{}", reachable(listeners.upload_address));
        let url = format!("http://{}/client/api", reachable(listeners.api_address));
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared::new(Arc::clone(&options), upload_url, stop.clone())?);
        let Credentials { api_key, secret_key } = add(&shared, options.account.clone())?;
        let config = CloudStackConfig::new(address(&url)?, api_key, secret_key);
        listeners.serve(&shared);
        Ok(Self { shared, url, config, _guard: StopGuard::new(stop.clone()), stop })
    }

    /// The address of the API: `http://127.0.0.1:PORT/client/api`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The API key of the account that was there from the start.
    #[must_use]
    pub fn api_key(&self) -> &str {
        &self.config.api_key
    }

    /// The secret key of the account that was there from the start.
    #[must_use]
    pub fn secret_key(&self) -> &Secret {
        &self.config.secret_key
    }

    /// How a client reaches it, as the account that was there from the start,
    /// with all else as [`CloudStackConfig::new`] has it.
    #[must_use]
    pub fn config(&self) -> CloudStackConfig {
        self.config.clone()
    }

    /// What is to go wrong.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// How many requests came so far.
    #[must_use]
    pub fn requests(&self) -> RequestCounts {
        RequestCounts(self.shared.faults.counts())
    }

    /// Adds an account.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] for a name or API key that another
    /// account has.
    pub fn add_account(&self, options: AccountOptions) -> Result<Credentials> {
        add(&self.shared, options)
    }

    /// Locks an account out, or lets it in again.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such account.
    pub fn set_account_enabled(&self, name: &str, enabled: bool) -> Result<()> {
        self.change_account(name, |account| account.is_enabled = enabled)
    }

    /// Sets a limit of an account; `None` lifts it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such account.
    pub fn set_limit(&self, name: &str, resource: Resource, most: Option<u64>) -> Result<()> {
        self.change_account(name, |account| match most {
            Some(most) => drop(account.limits.insert(resource, most)),
            None => drop(account.limits.remove(&resource)),
        })
    }

    /// Sets how many machines can run in a zone; `None` for as many as are
    /// wanted.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such zone.
    pub fn set_capacity(&self, zone: &str, machines: Option<usize>) -> Result<()> {
        let mut world = self.shared.world();
        let found = world.zones.iter_mut().find(|one| *one.name == *zone);
        let missing = || Error::new(ErrorKind::NotFound, format!("no zone '{zone}'"));
        found.ok_or_else(missing)?.capacity = machines;
        Ok(())
    }

    /// Stops: connections are closed, and what was under way is given up.
    pub async fn stop(self) {
        self.stop.cancel();
        self.shared.stopped().await;
    }

    fn change_account(
        &self,
        name: &str,
        change: impl FnOnce(&mut world::records::Account),
    ) -> Result<()> {
        let mut world = self.shared.world();
        let found = world.accounts.iter_mut().find(|account| *account.name == *name);
        let missing = || Error::new(ErrorKind::NotFound, format!("no account '{name}'"));
        change(found.ok_or_else(missing)?);
        Ok(())
    }
}

fn check(options: &SimulatorOptions) -> Result<()> {
    let is_number = |part: &str| part.parse::<u32>().is_ok();
    if !options.version.split('.').all(is_number) || !options.version.contains('.') {
        let message = format!("'{}' is not a version of CloudStack", options.version);
        return Err(Error::new(ErrorKind::InvalidConfig, message).hint("for example 4.20.1.0"));
    }
    match &options.storage {
        Some(directory) if !directory.is_dir() => {
            let message = format!("{} is not a directory", directory.display());
            Err(Error::new(ErrorKind::InvalidConfig, message))
        }
        _ => Ok(()),
    }
}

fn address(url: &str) -> Result<Url> {
    url.parse().map_err(|error| {
        let message = format!("'{url}' is no address to reach the simulator at");
        Error::new(ErrorKind::Unexpected, message).caused_by(error)
    })
}

/// The address to reach a listener at from this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        ip if ip.is_unspecified() => {
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port())
        }
        _ => address,
    }
}

fn add(shared: &Shared, options: AccountOptions) -> Result<Credentials> {
    let mut world = shared.world();
    let is_taken = world.account_named(&options.name).is_some()
        || options.api_key.as_ref().is_some_and(|key| world.keys.contains_key(key));
    if is_taken {
        let message = format!("the account '{}' or its API key is there already", options.name);
        return Err(Error::new(ErrorKind::AlreadyExists, message));
    }
    let id = world.add_account(options);
    let lost = || Error::new(ErrorKind::Unexpected, "the new account is gone");
    let account = world.accounts.get(id).ok_or_else(lost)?;
    Ok(Credentials { api_key: account.api_key.clone(), secret_key: account.secret_key.clone() })
}
