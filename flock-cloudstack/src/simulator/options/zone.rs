//! Zones and what runs in them.

/// A zone.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ZoneOptions {
    /// The zone's name. Its id follows from the name, so that it is the same
    /// after a restart.
    pub name: String,
    /// What runs there. Default: LXC, XenServer and KVM.
    pub hypervisors: Vec<Hypervisor>,
    /// Whether machines are put into security groups. Default: true.
    pub security_groups: bool,
    /// The names of its networks, the first of which is taken where none is
    /// asked for. Default: `default` and `storage`.
    pub networks: Vec<String>,
    /// How many machines can run. Default: as many as are wanted.
    pub capacity: Option<usize>,
}

impl ZoneOptions {
    /// A zone with the defaults.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            hypervisors: vec![Hypervisor::Lxc, Hypervisor::XenServer, Hypervisor::Kvm],
            security_groups: true,
            networks: vec!["default".to_owned(), "storage".to_owned()],
            capacity: None,
        }
    }

    /// Sets [`hypervisors`](Self::hypervisors).
    #[must_use]
    pub fn with_hypervisors(mut self, all: impl IntoIterator<Item = Hypervisor>) -> Self {
        self.hypervisors = all.into_iter().collect();
        self
    }

    /// Sets [`security_groups`](Self::security_groups).
    #[must_use]
    pub fn with_security_groups(mut self, enabled: bool) -> Self {
        self.security_groups = enabled;
        self
    }

    /// Sets [`networks`](Self::networks).
    #[must_use]
    pub fn with_networks(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.networks = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets [`capacity`](Self::capacity).
    #[must_use]
    pub fn with_capacity(mut self, machines: usize) -> Self {
        self.capacity = Some(machines);
        self
    }
}

/// What runs machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Hypervisor {
    /// Linux containers.
    Lxc,
    /// XenServer and XCP-ng.
    XenServer,
    /// The Linux kernel's own.
    Kvm,
    /// VMware vSphere.
    Vmware,
    /// Microsoft Hyper-V.
    Hyperv,
    /// CloudStack's simulated hosts, which take any template.
    Simulator,
}

impl Hypervisor {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Lxc, Self::XenServer, Self::Kvm, Self::Vmware, Self::Hyperv, Self::Simulator];

    /// CloudStack's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lxc => "LXC",
            Self::XenServer => "XenServer",
            Self::Kvm => "KVM",
            Self::Vmware => "VMware",
            Self::Hyperv => "Hyperv",
            Self::Simulator => "Simulator",
        }
    }

    /// By CloudStack's name, in any case.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str().eq_ignore_ascii_case(text))
    }
}
