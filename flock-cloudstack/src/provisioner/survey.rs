//! What is there already of the nodes that a deploy is to make.

use std::collections::HashMap;

use flock_core::{Context, ListFilter, Owner, Result};

use super::names::{NodeName, VARIANTS, node_name};
use crate::api::Machine;
use crate::client::{Client, Parameters};
use crate::tags;

/// Up to how many machines are looked for one by one; of more, the list of
/// what is called alike is read.
pub(super) const FEW: usize = 4;
/// The shortest text that a list is narrowed down by.
const SHORTEST_KEYWORD: usize = 3;

/// What there is by the name of one node.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// The machine that this request made.
    pub(super) ours: Option<Machine>,
    /// The node of that name that another request made.
    pub(super) other: Option<Machine>,
    /// Machines of the node's host names that have no tags of flock: perhaps
    /// just made by this request.
    pub(super) untagged: Vec<Machine>,
    /// Machines of the node's host names that are other nodes of flock.
    pub(super) in_the_way: Vec<Machine>,
}

impl Found {
    pub(super) fn is_nothing(&self) -> bool {
        self.ours.is_none() && self.other.is_none() && self.untagged.is_empty()
    }

    fn add(&mut self, owner: &Owner, node: &NodeName, machine: Machine) {
        match tags::owner(&owner.namespace, &machine.tags) {
            Some(theirs)
                if theirs.app == owner.app && node_name(&theirs, &machine) == node.as_str() =>
            {
                let place =
                    if theirs.request == owner.request { &mut self.ours } else { &mut self.other };
                place.get_or_insert(machine);
            }
            None if !machine.tags.contains_key(Owner::NAMESPACE) => self.untagged.push(machine),
            _ => self.in_the_way.push(machine),
        }
    }
}

/// Looks for all nodes of a deploy at once: by the request's tag, and by host
/// name. Gives what there is for each, in the order of the nodes.
///
/// # Errors
/// Those of [`Client::machines`].
pub(super) async fn survey(
    client: &Client,
    ctx: &Context,
    owner: &Owner,
    nodes: &[NodeName],
) -> Result<Vec<Found>> {
    let filter = tags::filter(&owner.namespace, &ListFilter::request(owner));
    let (tagged, named) =
        tokio::try_join!(client.machines(ctx, &filter), called_alike(client, ctx, nodes))?;
    let mut found: Vec<Found> = vec![Found::default(); nodes.len()];
    let mut by_name: HashMap<&str, usize> = HashMap::new();
    let mut by_host: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, node) in nodes.iter().enumerate() {
        by_name.insert(node.as_str(), at);
        for host in (0..VARIANTS).map(|variant| node.host(variant)) {
            by_host.entry(host).or_default().push(at);
        }
    }
    let alive = |machine: &Machine| !machine.is_gone();
    for machine in tagged.into_iter().filter(alive) {
        let Some(theirs) = tags::owner(&owner.namespace, &machine.tags) else { continue };
        let at = by_name.get(node_name(&theirs, &machine).as_str()).copied();
        if let (Some(at), true) = (at, theirs == *owner) {
            found[at].ours.get_or_insert(machine);
        }
    }
    for machine in named.into_iter().filter(alive) {
        let places = by_host.get(&machine.name.to_ascii_lowercase());
        for at in places.into_iter().flatten().copied() {
            found[at].add(owner, &nodes[at], machine.clone());
        }
    }
    Ok(found)
}

/// Looks for one node by its host names.
///
/// # Errors
/// Those of [`Client::machines`].
pub(super) async fn look(
    client: &Client,
    ctx: &Context,
    owner: &Owner,
    node: &NodeName,
) -> Result<Found> {
    let mut found = Found::default();
    for machine in called(client, ctx, node).await? {
        if !machine.is_gone() && node.is_host(&machine.name) {
            found.add(owner, node, machine);
        }
    }
    Ok(found)
}

/// The machines that may have the host names of these nodes, and others.
async fn called_alike(client: &Client, ctx: &Context, nodes: &[NodeName]) -> Result<Vec<Machine>> {
    if nodes.len() > FEW {
        let hosts: Vec<_> = nodes.iter().map(|node| node.host(0)).collect();
        let common = common_start(&hosts);
        let keyword = (common.len() >= SHORTEST_KEYWORD).then_some(common);
        return client.machines(ctx, &Parameters::new().with_some("keyword", keyword)).await;
    }
    let mut machines = Vec::new();
    for node in nodes {
        machines.extend(called(client, ctx, node).await?);
    }
    Ok(machines)
}

/// The machines that may have the host names of a node, and others.
async fn called(client: &Client, ctx: &Context, node: &NodeName) -> Result<Vec<Machine>> {
    // The variants start as the name does, so where CloudStack looks for parts
    // of names this finds them too; where it does not, they are found by tag.
    client.machines(ctx, &Parameters::new().with("name", node.host(0))).await
}

/// What all of these start with.
fn common_start(texts: &[String]) -> &str {
    let Some((first, others)) = texts.split_first() else { return "" };
    let same = |text: &String| first.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
    let length = others.iter().map(same).min().unwrap_or(first.len());
    first.get(..length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_start_of_names() {
        let start = |texts: &[&str]| {
            common_start(&texts.iter().map(ToString::to_string).collect::<Vec<_>>()).to_owned()
        };
        assert_eq!(start(&["web-1", "web-2", "web-10"]), "web-");
        assert_eq!(start(&["web-1"]), "web-1");
        assert_eq!(start(&["a", "b"]), "");
        assert_eq!(start(&[]), "");
    }
}
