//! What a simulator is told when it is started.

mod account;
mod zone;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use self::account::{AccountOptions, Resource, Role};
pub use self::zone::{Hypervisor, ZoneOptions};

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// How a [`Simulator`](super::Simulator) behaves. Every field has a setter
/// `with_…`; what a field does not say is as in a fresh CloudStack.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SimulatorOptions {
    /// Where the API listens. Default: 127.0.0.1, a free port. Whoever can
    /// reach it can make the simulator fetch addresses and fill its memory,
    /// if they know the keys: leave it on loopback.
    pub listen: SocketAddr,
    /// Where uploads and downloads of templates listen, as CloudStack's
    /// secondary storage virtual machine does. Default: as `listen`, on a
    /// free port.
    pub upload_listen: Option<SocketAddr>,
    /// The version that `listCapabilities` tells, and that decides what is
    /// known: 4.19 to 4.22. Default: `4.22.0.0`.
    pub version: String,
    /// What is added to the time of every API reply. Default: nothing.
    pub latency: Duration,
    /// How long a job takes; a tenth of it for tags, rules and groups.
    /// Default: 100 milliseconds.
    pub job_time: Duration,
    /// How long a template that has arrived is unpacked and installed.
    /// Default: 100 milliseconds.
    pub install_time: Duration,
    /// How often the server looks after uploads (`upload.monitoring.interval`).
    /// Default: 100 milliseconds; CloudStack's is 60 seconds.
    pub upload_interval: Duration,
    /// How long an upload may be begun after it was announced
    /// (`upload.operation.timeout`). Default: an hour.
    pub upload_timeout: Duration,
    /// How long a destroyed machine can be recovered (`expunge.delay`).
    /// Default: 24 hours.
    pub expunge_delay: Duration,
    /// How long a job is remembered after its end (`job.expire.minutes`).
    /// Default: 24 hours.
    pub job_expiry: Duration,
    /// The zones. Default: `zone-1` with LXC, XenServer and KVM, `zone-2`
    /// with KVM and XenServer, both with security groups.
    pub zones: Vec<ZoneOptions>,
    /// The largest `pagesize`, and the size of a list without one
    /// (`default.page.size`). Default: 500.
    pub max_page_size: usize,
    /// The largest template, in bytes (`max.template.iso.size`). Default:
    /// 50 GiB.
    pub max_template_size: u64,
    /// The most characters of user data, in Base64 (`vm.userdata.max.length`).
    /// Default: 32768.
    pub max_user_data: usize,
    /// How many calls an account may make in which time
    /// (`api.throttling.max`, `api.throttling.interval`); root administrators
    /// are not counted. Default: no limit.
    pub rate_limit: Option<(u32, Duration)>,
    /// Whether `customjobid` is obeyed. Default: true.
    pub custom_job_ids: bool,
    /// Whether users may expunge and recover their machines
    /// (`allow.user.expunge.recover.vm`). Default: false.
    pub user_expunge: bool,
    /// Whether calls that change something must be POST and signed with an
    /// `expires` of at most 15 minutes
    /// (`enforce.post.requests.and.timestamps`). Default: false.
    pub post_only: bool,
    /// Whether POST is refused, as some public clouds do. Default: false.
    pub get_only: bool,
    /// By how many seconds the server's clock is ahead; behind if negative.
    /// Default: 0.
    pub clock_skew: i64,
    /// The account that exists from the start. Default: `admin`, a root
    /// administrator with random keys.
    pub account: AccountOptions,
    /// A directory to keep templates in, so that `extractTemplate` can give
    /// them back; it must exist. Default: only size and checksum are kept.
    pub storage: Option<PathBuf>,
}

impl Default for SimulatorOptions {
    fn default() -> Self {
        Self {
            listen: LOOPBACK,
            upload_listen: None,
            version: "4.22.0.0".to_owned(),
            latency: Duration::ZERO,
            job_time: Duration::from_millis(100),
            install_time: Duration::from_millis(100),
            upload_interval: Duration::from_millis(100),
            upload_timeout: Duration::from_secs(60 * 60),
            expunge_delay: Duration::from_secs(24 * 60 * 60),
            job_expiry: Duration::from_secs(24 * 60 * 60),
            zones: vec![
                ZoneOptions::new("zone-1"),
                ZoneOptions::new("zone-2")
                    .with_hypervisors([Hypervisor::Kvm, Hypervisor::XenServer]),
            ],
            max_page_size: 500,
            max_template_size: 50 << 30,
            max_user_data: 32_768,
            rate_limit: None,
            custom_job_ids: true,
            user_expunge: false,
            post_only: false,
            get_only: false,
            clock_skew: 0,
            account: AccountOptions::new("admin").with_role(Role::Admin),
            storage: None,
        }
    }
}

impl SimulatorOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`listen`](Self::listen).
    #[must_use]
    pub fn with_listen(mut self, listen: SocketAddr) -> Self {
        self.listen = listen;
        self
    }

    /// Sets [`upload_listen`](Self::upload_listen).
    #[must_use]
    pub fn with_upload_listen(mut self, listen: SocketAddr) -> Self {
        self.upload_listen = Some(listen);
        self
    }

    /// Sets [`version`](Self::version).
    #[must_use]
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Sets [`latency`](Self::latency).
    #[must_use]
    pub fn with_latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Sets [`job_time`](Self::job_time).
    #[must_use]
    pub fn with_job_time(mut self, time: Duration) -> Self {
        self.job_time = time;
        self
    }

    /// Sets [`install_time`](Self::install_time).
    #[must_use]
    pub fn with_install_time(mut self, time: Duration) -> Self {
        self.install_time = time;
        self
    }

    /// Sets [`upload_interval`](Self::upload_interval).
    #[must_use]
    pub fn with_upload_interval(mut self, interval: Duration) -> Self {
        self.upload_interval = interval;
        self
    }

    /// Sets [`upload_timeout`](Self::upload_timeout).
    #[must_use]
    pub fn with_upload_timeout(mut self, timeout: Duration) -> Self {
        self.upload_timeout = timeout;
        self
    }

    /// Sets [`expunge_delay`](Self::expunge_delay).
    #[must_use]
    pub fn with_expunge_delay(mut self, delay: Duration) -> Self {
        self.expunge_delay = delay;
        self
    }

    /// Sets [`job_expiry`](Self::job_expiry).
    #[must_use]
    pub fn with_job_expiry(mut self, expiry: Duration) -> Self {
        self.job_expiry = expiry;
        self
    }

    /// Sets [`zones`](Self::zones).
    #[must_use]
    pub fn with_zones(mut self, zones: impl IntoIterator<Item = ZoneOptions>) -> Self {
        self.zones = zones.into_iter().collect();
        self
    }

    /// Sets [`max_page_size`](Self::max_page_size).
    #[must_use]
    pub fn with_max_page_size(mut self, size: usize) -> Self {
        self.max_page_size = size;
        self
    }

    /// Sets [`max_template_size`](Self::max_template_size).
    #[must_use]
    pub fn with_max_template_size(mut self, bytes: u64) -> Self {
        self.max_template_size = bytes;
        self
    }

    /// Sets [`max_user_data`](Self::max_user_data).
    #[must_use]
    pub fn with_max_user_data(mut self, characters: usize) -> Self {
        self.max_user_data = characters;
        self
    }

    /// Sets [`rate_limit`](Self::rate_limit).
    #[must_use]
    pub fn with_rate_limit(mut self, calls: u32, interval: Duration) -> Self {
        self.rate_limit = Some((calls, interval));
        self
    }

    /// Sets [`custom_job_ids`](Self::custom_job_ids).
    #[must_use]
    pub fn with_custom_job_ids(mut self, obeyed: bool) -> Self {
        self.custom_job_ids = obeyed;
        self
    }

    /// Sets [`user_expunge`](Self::user_expunge).
    #[must_use]
    pub fn with_user_expunge(mut self, allowed: bool) -> Self {
        self.user_expunge = allowed;
        self
    }

    /// Sets [`post_only`](Self::post_only).
    #[must_use]
    pub fn with_post_only(mut self, post_only: bool) -> Self {
        self.post_only = post_only;
        self
    }

    /// Sets [`get_only`](Self::get_only).
    #[must_use]
    pub fn with_get_only(mut self, get_only: bool) -> Self {
        self.get_only = get_only;
        self
    }

    /// Sets [`clock_skew`](Self::clock_skew).
    #[must_use]
    pub fn with_clock_skew(mut self, seconds: i64) -> Self {
        self.clock_skew = seconds;
        self
    }

    /// Sets [`account`](Self::account).
    #[must_use]
    pub fn with_account(mut self, account: AccountOptions) -> Self {
        self.account = account;
        self
    }

    /// Sets [`storage`](Self::storage).
    #[must_use]
    pub fn with_storage(mut self, directory: impl Into<PathBuf>) -> Self {
        self.storage = Some(directory.into());
        self
    }
}
