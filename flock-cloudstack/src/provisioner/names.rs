//! What a node is called in CloudStack, and its deploys.

use flock_core::Owner;
use uuid::Uuid;

use crate::api::Machine;
use crate::client::JobId;
use crate::config::DEFAULT_NAMESPACE;
use crate::tags;

/// The longest label of a host name (RFC 1123, section 2.1; RFC 1035, 2.3.4).
const MAX_LABEL: usize = 63;
/// How many hexadecimal digits tell names apart that would be alike.
const DIGITS: usize = 8;
/// How many host names one node may try: its own, and others for when that is
/// taken by something else.
pub(super) const VARIANTS: u32 = 4;

/// A node wanted: an application's, by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NodeName {
    namespace: String,
    app: String,
    name: String,
}

impl NodeName {
    pub(super) fn new(owner: &Owner, name: &str) -> Self {
        Self { namespace: owner.namespace.clone(), app: owner.app.clone(), name: name.to_owned() }
    }

    /// The name that flock knows the node by.
    pub(super) fn as_str(&self) -> &str {
        &self.name
    }

    /// The host name in CloudStack: letters, digits and hyphens, a letter
    /// first, as `NetUtils.verifyDomainNameLabel` of CloudStack 4.22 wants it.
    ///
    /// A name that has to be changed for that gets digits that tell it from
    /// others. So do the variants above 0.
    pub(super) fn host(&self, variant: u32) -> String {
        let Self { namespace, app, name } = self;
        let own = if name.starts_with(&format!("{app}-")) {
            name.clone()
        } else {
            format!("{app}-{name}")
        };
        let wanted =
            if namespace == DEFAULT_NAMESPACE { own } else { format!("{namespace}-{own}") };
        let label = label(&wanted, MAX_LABEL);
        if variant == 0 && label == wanted {
            return label;
        }
        let identity = format!("{namespace}/{app}/{name}/{variant}");
        let mut digits =
            Uuid::new_v5(&Uuid::NAMESPACE_OID, identity.as_bytes()).simple().to_string();
        digits.truncate(DIGITS);
        let label = self::label(&wanted, MAX_LABEL - DIGITS - 1);
        format!("{}-{digits}", label.trim_end_matches('-'))
    }

    /// Whether a virtual machine of that host name may be this node's.
    pub(super) fn is_host(&self, host: &str) -> bool {
        (0..VARIANTS).any(|variant| self.host(variant).eq_ignore_ascii_case(host))
    }

    /// The job of the `attempt`th deploy of this node by a request, from 0:
    /// always the same, so that a deploy can be found again by its job.
    pub(super) fn job(&self, owner: &Owner, attempt: u32) -> JobId {
        // A request id is a UUID, so this has no other case.
        let request = owner.request.to_string().parse().unwrap_or(Uuid::NAMESPACE_OID);
        let Self { namespace, app, name } = self;
        let identity = format!("{namespace}/{app}/{name}/{attempt}");
        JobId::new(Uuid::new_v5(&request, identity.as_bytes()).to_string())
    }
}

/// The name that flock knows a machine of this owner by: its tag where the
/// host name had to differ; otherwise the display name, as long as nobody has
/// changed it.
pub(super) fn node_name(owner: &Owner, machine: &Machine) -> String {
    if let Some(name) = machine.tags.get(tags::NAME) {
        return name.clone();
    }
    let shown = NodeName::new(owner, &machine.display_name);
    if !machine.display_name.is_empty() && shown.is_host(&machine.name) {
        return machine.display_name.clone();
    }
    machine.name.clone()
}

/// As much of the text as can be a label of a host name.
fn label(text: &str, longest: usize) -> String {
    let mut label = String::new();
    for c in text.chars() {
        match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9') => label.push(c),
            _ if label.ends_with('-') => {}
            _ => label.push('-'),
        }
    }
    let mut label = label.trim_matches('-').to_owned();
    if !label.starts_with(|c: char| c.is_ascii_lowercase()) {
        label.insert_str(0, "n-");
    }
    label.truncate(longest);
    label.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use flock_core::RequestId;

    use super::*;

    fn host(namespace: &str, app: &str, name: &str) -> String {
        NodeName::new(&Owner::new(namespace, app, RequestId::random()), name).host(0)
    }

    fn is_label(text: &str) -> bool {
        text.len() <= MAX_LABEL
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && !text.ends_with('-')
    }

    #[test]
    fn good_names_stay() {
        assert_eq!(host("default", "web", "web-7"), "web-7");
        assert_eq!(host("default", "web", "db"), "web-db");
        assert_eq!(host("test", "web", "web-7"), "test-web-7");
    }

    #[test]
    fn every_name_becomes_a_host_name_of_its_own() {
        let long = "x".repeat(200);
        let names = ["Web_1", "web 1", "web.1", "büro", "1", "-", "--", "日本", "WEB-1", &long];
        let mut seen = std::collections::HashSet::new();
        for (app, name) in names.iter().flat_map(|app| names.map(|name| (*app, name))) {
            let host = host("default", app, name);
            assert!(is_label(&host), "{app} {name}: {host}");
            assert!(seen.insert(host.clone()), "{app} {name}: {host} twice");
        }
    }

    #[test]
    fn variants_and_jobs_differ() {
        let owner = Owner::new("default", "web", RequestId::random());
        let node = NodeName::new(&owner, "web-1");
        let hosts: std::collections::HashSet<_> = (0..VARIANTS).map(|n| node.host(n)).collect();
        assert_eq!(hosts.len(), VARIANTS as usize);
        assert!(hosts.iter().all(|host| is_label(host) && node.is_host(host)));
        assert!(node.is_host("WEB-1") && !node.is_host("web-2"));
        assert_eq!(node.job(&owner, 0), node.job(&owner, 0));
        assert_ne!(node.job(&owner, 0), node.job(&owner, 1));
        assert_ne!(node.job(&owner, 0), NodeName::new(&owner, "web-2").job(&owner, 0));
    }
}
