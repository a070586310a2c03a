//! The simulated cloud: what there is, and what is yet to happen.
//!
//! Time passes only when somebody looks: [`World::advance`] makes everything
//! happen, in order, that was due before now.

mod access;
pub(crate) mod catalog;
pub(crate) mod jobs;
mod machines;
mod quota;
pub(crate) mod records;
mod table;
pub(crate) mod template;
mod throttle;
mod volumes;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use flock_core::secret::Secret;
use tokio::time::Instant;
use uuid::Uuid;

use self::jobs::Job;
use self::records::{
    Account, AffinityGroup, DiskOffering, KeyPair, Machine, Network, OsType, SecurityGroup,
    ServiceOffering, Snapshot, Volume, Zone,
};
use self::table::Table;
use self::template::{Stage, Template};
use self::throttle::Throttle;
use super::clock::Clock;
use super::content::Findings;
use super::options::SimulatorOptions;

/// Everything there is.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) options: Arc<SimulatorOptions>,
    pub(crate) clock: Arc<Clock>,
    /// Where uploads go: `http://127.0.0.1:40001`.
    pub(crate) upload_url: String,
    /// With which uploads are signed.
    pub(crate) upload_key: Secret,
    pub(crate) accounts: Table<Account>,
    /// Accounts by their API key.
    pub(crate) keys: HashMap<String, Uuid>,
    pub(crate) zones: Table<Zone>,
    pub(crate) networks: Table<Network>,
    pub(crate) os_types: Table<OsType>,
    pub(crate) service_offerings: Table<ServiceOffering>,
    pub(crate) disk_offerings: Table<DiskOffering>,
    pub(crate) templates: Table<Template>,
    pub(crate) machines: Table<Machine>,
    pub(crate) volumes: Table<Volume>,
    /// The volumes of each machine.
    disks: HashMap<Uuid, Vec<Uuid>>,
    pub(crate) snapshots: Table<Snapshot>,
    pub(crate) security_groups: Table<SecurityGroup>,
    pub(crate) affinity_groups: Table<AffinityGroup>,
    pub(crate) key_pairs: Table<KeyPair>,
    pub(crate) jobs: Table<Job>,
    /// Uploads that were announced, by the last part of their address.
    pub(crate) uploads: HashMap<Uuid, Ticket>,
    /// Downloads that were granted, by the last part of their address.
    pub(crate) downloads: HashMap<String, Download>,
    /// Files of templates that are gone, to be removed.
    pub(crate) garbage: Vec<PathBuf>,
    pub(crate) throttle: Throttle,
    /// When what has jobs is free again.
    busy: HashMap<Uuid, Instant>,
    events: BinaryHeap<Reverse<Due>>,
    event_count: u64,
    time: Instant,
}

/// An upload that was announced.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    pub(crate) template: Uuid,
    pub(crate) zone: Uuid,
    pub(crate) metadata: String,
    pub(crate) expires: i64,
    pub(crate) is_used: bool,
}

/// A download that was granted.
#[derive(Debug, Clone)]
pub(crate) struct Download {
    pub(crate) template: Uuid,
    pub(crate) zone: Uuid,
    pub(crate) file: PathBuf,
}

/// What happens by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// A job's turn has come.
    BeginJob(Uuid),
    /// A job is over; with what it was about.
    FinishJob(Uuid, Option<Uuid>),
    /// A job is forgotten.
    ForgetJob(Uuid),
    /// A machine is removed for good, unless it was recovered since: with how
    /// often it had been destroyed.
    Expunge(Uuid, u32),
    /// A template is unpacked in a zone.
    Installed(Uuid, Uuid),
    /// The server hears of an upload: ready, or why not.
    UploadSeen(Uuid, Uuid, Result<(), String>),
    /// An announced upload did not come.
    UploadAbandoned(Uuid),
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Instant,
    number: u64,
    event: Event,
}

impl World {
    pub(crate) fn new(
        options: Arc<SimulatorOptions>,
        clock: Arc<Clock>,
        upload_url: String,
    ) -> Self {
        let zones = catalog::zones(&options.zones);
        let networks = catalog::networks(&options.zones);
        let templates = catalog::templates(&zones, clock.now());
        let throttle = Throttle::new(options.rate_limit);
        Self {
            options,
            clock,
            upload_url,
            upload_key: Secret::new(access::random_key()),
            accounts: Table::default(),
            keys: HashMap::new(),
            zones,
            networks,
            os_types: catalog::os_types(),
            service_offerings: catalog::service_offerings(),
            disk_offerings: catalog::disk_offerings(),
            templates,
            machines: Table::default(),
            volumes: Table::default(),
            disks: HashMap::new(),
            snapshots: Table::default(),
            security_groups: Table::default(),
            affinity_groups: Table::default(),
            key_pairs: Table::default(),
            jobs: Table::default(),
            uploads: HashMap::new(),
            downloads: HashMap::new(),
            garbage: Vec::new(),
            throttle,
            busy: HashMap::new(),
            events: BinaryHeap::new(),
            event_count: 0,
            time: Instant::now(),
        }
    }

    /// Makes happen what was due.
    pub(crate) fn advance(&mut self) {
        let now = Instant::now();
        while self.events.peek().is_some_and(|Reverse(due)| due.at <= now) {
            let Some(Reverse(due)) = self.events.pop() else { break };
            self.time = due.at;
            self.happen(due.event);
        }
        self.time = now;
    }

    /// Has something happen later.
    pub(crate) fn schedule(&mut self, at: Instant, event: Event) {
        self.event_count += 1;
        self.events.push(Reverse(Due { at, number: self.event_count, event }));
    }

    /// Has something happen so much later.
    pub(crate) fn schedule_in(&mut self, delay: std::time::Duration, event: Event) {
        self.schedule(self.time + delay, event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::BeginJob(job) => self.begin_job(job),
            Event::FinishJob(job, queue) => self.finish_job(job, queue),
            Event::ForgetJob(job) => {
                self.jobs.remove(job);
            }
            Event::Expunge(machine, destructions) => self.expunge_if(machine, destructions),
            Event::Installed(template, zone) => self.set_stage(template, zone, Stage::Ready),
            Event::UploadSeen(template, zone, Ok(())) => {
                self.set_stage(template, zone, Stage::Ready);
            }
            Event::UploadSeen(template, zone, Err(reason)) => {
                self.set_stage(template, zone, Stage::UploadError(reason));
            }
            Event::UploadAbandoned(ticket) => self.abandon_upload(ticket),
        }
    }

    /// Notes how far a template is, if it is still there.
    pub(crate) fn set_stage(&mut self, template: Uuid, zone: Uuid, stage: Stage) {
        if let Some(copy) =
            self.templates.get_mut(template).and_then(|template| template.zones.get_mut(&zone))
        {
            copy.stage = stage;
        }
    }

    /// Notes what came; whether the template is still wanted.
    pub(crate) fn set_findings(
        &mut self,
        template: Uuid,
        zone: Uuid,
        findings: &Findings,
        file: Option<PathBuf>,
    ) -> bool {
        let template = self.templates.get_mut(template);
        let Some(copy) = template.and_then(|template| template.zones.get_mut(&zone)) else {
            return false;
        };
        copy.physical_size = findings.physical_size;
        copy.size = findings.size;
        copy.sha256 = Some(findings.sha256.clone());
        copy.file = file;
        true
    }

    fn abandon_upload(&mut self, ticket: Uuid) {
        if let Some(ticket) = self.uploads.remove(&ticket)
            && !ticket.is_used
        {
            self.set_stage(ticket.template, ticket.zone, Stage::UploadAbandoned);
        }
    }

    /// The version as major and minor number.
    pub(crate) fn version(&self) -> (u32, u32) {
        let mut parts = self.options.version.split('.').map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    }

    /// Whether templates may be compressed with xz.
    pub(crate) fn knows_xz(&self) -> bool {
        self.version() >= (4, 22)
    }
}
