//! Who is who, and whose things are whose.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha512};
use uuid::Uuid;

use super::World;
use super::catalog::stable_id;
use super::records::{Account, SecurityGroup};
use super::template::Template;
use crate::simulator::options::AccountOptions;

/// The name of the security group that every account has.
pub(crate) const DEFAULT_GROUP: &str = "default";

impl World {
    /// The id of the only domain, ROOT.
    pub(crate) fn domain(&self) -> Uuid {
        stable_id("domain", "ROOT")
    }

    pub(crate) fn is_admin(&self, account: Uuid) -> bool {
        self.accounts.get(account).is_some_and(Account::is_admin)
    }

    pub(crate) fn account_named(&self, name: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.name.eq_ignore_ascii_case(name))
    }

    /// The account's name, for replies.
    pub(crate) fn account_name(&self, id: Uuid) -> &str {
        self.accounts.get(id).map_or("system", |account| &account.name)
    }

    /// Adds an account with its default security group.
    pub(crate) fn add_account(&mut self, options: AccountOptions) -> Uuid {
        let id = Uuid::new_v4();
        let api_key = options.api_key.unwrap_or_else(random_key);
        let secret = options.secret_key;
        let account = Account {
            id,
            user: Uuid::new_v4(),
            name: options.name.into(),
            role: options.role,
            is_enabled: true,
            api_key: api_key.clone(),
            secret_key: secret.unwrap_or_else(|| flock_core::secret::Secret::new(random_key())),
            denied: lower(options.denied_commands),
            limits: options.limits,
            created: self.clock.now(),
        };
        self.keys.insert(api_key, id);
        self.accounts.insert(id, account);
        self.add_security_group(id, DEFAULT_GROUP, "Default Security Group");
        id
    }

    /// Adds a security group without rules.
    pub(crate) fn add_security_group(&mut self, owner: Uuid, name: &str, text: &str) -> Uuid {
        let id = Uuid::new_v4();
        let group = SecurityGroup {
            id,
            owner,
            name: name.to_owned(),
            description: text.to_owned(),
            ingress: Vec::new(),
            egress: Vec::new(),
            tags: Vec::new(),
        };
        self.security_groups.insert(id, group);
        id
    }

    /// Whose the security group with this rule is.
    pub(crate) fn rule_owner(&self, rule: Uuid) -> Option<Uuid> {
        let has = |group: &&SecurityGroup| {
            group.ingress.iter().chain(&group.egress).any(|one| one.id == rule)
        };
        self.security_groups.iter().find(has).map(|group| group.owner)
    }

    /// Whether an account may deploy from a template.
    pub(crate) fn may_use(&self, template: &Template, account: Uuid) -> bool {
        template.flags.public
            || template.owner == Some(account)
            || self.is_admin(account)
            || template.shared_with.contains(self.account_name(account))
    }
}

fn lower(names: Vec<String>) -> BTreeSet<String> {
    names.into_iter().map(|name| name.to_ascii_lowercase()).collect()
}

/// 86 random characters, as CloudStack's keys are.
pub(crate) fn random_key() -> String {
    use base64::Engine as _;

    let mut hash = Sha512::new();
    for _ in 0..5 {
        hash.update(Uuid::new_v4().as_bytes());
    }
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(hash.finalize())
}
