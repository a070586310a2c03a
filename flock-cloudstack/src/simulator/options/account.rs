//! Accounts, what they are and what they may have.

use std::collections::BTreeMap;

use flock_core::secret::Secret;

/// An account with one user and one pair of keys.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AccountOptions {
    /// The account's name, which is the user's too.
    pub name: String,
    /// What it may do. Default: [`Role::User`].
    pub role: Role,
    /// Commands that its role does not have. Default: none.
    pub denied_commands: Vec<String>,
    /// What it may have at most. Default: no limits.
    pub limits: BTreeMap<Resource, u64>,
    /// Its API key. Default: a random one.
    pub api_key: Option<String>,
    /// Its secret key. Default: a random one.
    pub secret_key: Option<Secret>,
}

impl AccountOptions {
    /// A user's account of this name, with random keys.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            role: Role::User,
            denied_commands: Vec::new(),
            limits: BTreeMap::new(),
            api_key: None,
            secret_key: None,
        }
    }

    /// Sets [`role`](Self::role).
    #[must_use]
    pub fn with_role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// Sets [`denied_commands`](Self::denied_commands).
    #[must_use]
    pub fn with_denied_commands(
        mut self,
        names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.denied_commands = names.into_iter().map(Into::into).collect();
        self
    }

    /// Adds one of the [`limits`](Self::limits).
    #[must_use]
    pub fn with_limit(mut self, resource: Resource, most: u64) -> Self {
        self.limits.insert(resource, most);
        self
    }

    /// Sets [`api_key`](Self::api_key) and [`secret_key`](Self::secret_key).
    #[must_use]
    pub fn with_keys(mut self, api_key: impl Into<String>, secret_key: Secret) -> Self {
        self.api_key = Some(api_key.into());
        self.secret_key = Some(secret_key);
        self
    }
}

/// What an account is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// Sees and changes its own only.
    User,
    /// Sees everything, and may do everything.
    Admin,
}

/// What an account's limits are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Resource {
    /// Virtual machines (`user_vm`).
    Machines,
    /// Volumes, of machines and by themselves (`volume`).
    Volumes,
    /// Snapshots of volumes (`snapshot`).
    Snapshots,
    /// Templates (`template`).
    Templates,
    /// Virtual processors (`cpu`).
    Processors,
    /// Memory of machines, in MiB (`memory`).
    Memory,
    /// Storage of volumes, in GiB (`primary_storage`).
    PrimaryStorage,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Machines,
        Self::Volumes,
        Self::Snapshots,
        Self::Templates,
        Self::Processors,
        Self::Memory,
        Self::PrimaryStorage,
    ];

    /// CloudStack's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Machines => "user_vm",
            Self::Volumes => "volume",
            Self::Snapshots => "snapshot",
            Self::Templates => "template",
            Self::Processors => "cpu",
            Self::Memory => "memory",
            Self::PrimaryStorage => "primary_storage",
        }
    }

    /// CloudStack's number.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Machines => 0,
            Self::Volumes => 2,
            Self::Snapshots => 3,
            Self::Templates => 4,
            Self::Processors => 8,
            Self::Memory => 9,
            Self::PrimaryStorage => 10,
        }
    }
}
