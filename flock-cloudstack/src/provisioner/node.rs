//! Virtual machines as nodes.

use flock_core::provisioner::{Node, NodeStatus};
use flock_core::{ImageId, NodeId, Owner};

use super::names::node_name;
use crate::api::Machine;
use crate::tags;

/// The machine as a node of this namespace; `None` if it is not one, or is
/// destroyed.
pub(super) fn node(namespace: &str, machine: &Machine) -> Option<Node> {
    let owner = tags::owner(namespace, &machine.tags)?;
    (!machine.is_gone()).then(|| node_of(owner, machine))
}

/// The machine as a node of this owner, whatever its tags.
pub(super) fn node_of(owner: Owner, machine: &Machine) -> Node {
    let name = node_name(&owner, machine);
    let mut node = Node::new(NodeId::new(&machine.id), name, owner, status(&machine.state));
    node.image = machine.template_id.as_ref().map(ImageId::new);
    node.size.clone_from(&machine.service_offering_name);
    node.host.clone_from(&machine.host);
    node.addresses = machine.addresses();
    let details = [
        ("state", Some(&machine.state)),
        ("host_name", Some(&machine.name)),
        ("template", machine.template_name.as_ref()),
        ("zone", machine.zone_name.as_ref()),
        ("hypervisor", machine.hypervisor.as_ref()),
        ("created", machine.created.as_ref()),
    ];
    let known = details.into_iter().filter_map(|(name, value)| Some((name, value?)));
    node.details = known.map(|(name, value)| (name.to_owned(), value.clone())).collect();
    node
}

/// A state of CloudStack 4.22's `VirtualMachine.State`, in flock's terms.
pub(super) fn status(state: &str) -> NodeStatus {
    match state {
        "Starting" => NodeStatus::Starting,
        // A machine that moves to another host goes on running.
        "Running" | "Migrating" => NodeStatus::Running,
        "Stopping" => NodeStatus::Stopping,
        "Stopped" | "Shutdown" => NodeStatus::Stopped,
        "Error" => NodeStatus::Failed,
        _ => NodeStatus::Unknown,
    }
}
