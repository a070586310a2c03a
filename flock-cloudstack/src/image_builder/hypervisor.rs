//! Which hypervisors take which formats.
//!
//! CloudStack itself does not look whether they go together; a template that
//! does not is found out when the first machine does not start. The table is
//! that of CloudStack 4.22's documentation and user interface.

use flock_core::image_builder::ApplianceFormat;
use flock_core::{Error, ErrorKind, Result};

use crate::api::Hypervisor;
use crate::error::BACKEND;

/// Whether a hypervisor takes a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    Yes,
    No,
    /// CloudStack's simulator, extensions, and names of an operator's own.
    NotKnown,
}

/// What this hypervisor takes.
fn fit(hypervisor: &str, format: ApplianceFormat) -> Fit {
    use ApplianceFormat::{Qcow2, Raw, Tar, Vhd};
    let takes: &[ApplianceFormat] = match hypervisor.to_ascii_lowercase().as_str() {
        "kvm" => &[Qcow2, Raw, Vhd],
        "xenserver" | "hyperv" => &[Vhd],
        "lxc" => &[Tar],
        "ovm" | "ovm3" => &[Raw],
        "vmware" | "baremetal" => &[],
        _ => return Fit::NotKnown,
    };
    if takes.contains(&format) { Fit::Yes } else { Fit::No }
}

/// The hypervisor that flock's formats are for.
fn usual(format: ApplianceFormat) -> &'static str {
    match format {
        ApplianceFormat::Tar => "LXC",
        ApplianceFormat::Vhd => "XenServer",
        _ => "KVM",
    }
}

/// The hypervisor for a format: the one asked for, as CloudStack spells it, or
/// one that suits. `offered` is what every zone concerned has.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] if the zones do not have it, it does not take
/// the format, or none can be chosen.
pub(super) fn choose(
    asked: Option<&str>,
    format: ApplianceFormat,
    offered: &[Hypervisor],
) -> Result<String> {
    let find = |name: &str| {
        offered.iter().map(|one| one.name.as_str()).find(|one| one.eq_ignore_ascii_case(name))
    };
    let Some(asked) = asked else {
        return find(usual(format)).map_or_else(|| only(format, offered), |one| Ok(one.to_owned()));
    };
    if fit(asked, format) == Fit::No {
        let message = format!("{asked} does not run appliances of format {format}");
        return Err(refuse(message).hint(advice(asked)));
    }
    match find(asked) {
        Some(one) => Ok(one.to_owned()),
        None => Err(refuse(format!("the zone has no hypervisor {asked}")).hint(there(offered))),
    }
}

/// The only one of the zones' that takes the format.
fn only(format: ApplianceFormat, offered: &[Hypervisor]) -> Result<String> {
    let mut able = offered.iter().filter(|one| fit(&one.name, format) != Fit::No);
    match (able.next(), able.next()) {
        (Some(one), None) => Ok(one.name.clone()),
        (Some(_), Some(_)) => Err(refuse(format!(
            "several hypervisors of the zone may take appliances of format {format}"
        ))
        .hint(format!("name one of them; {}", there(offered)))),
        (None, _) => {
            let message = format!("no hypervisor of the zone takes appliances of format {format}");
            Err(refuse(message).hint(there(offered)))
        }
    }
}

fn there(offered: &[Hypervisor]) -> String {
    let names: Vec<_> = offered.iter().map(|one| one.name.as_str()).collect();
    match names.is_empty() {
        true => "it has none at all".to_owned(),
        false => format!("it has {}", names.join(", ")),
    }
}

/// What to build for a hypervisor.
fn advice(hypervisor: &str) -> &'static str {
    match hypervisor.to_ascii_lowercase().as_str() {
        "kvm" => "`flock build --type qcow2` makes what it runs",
        "xenserver" | "hyperv" => "`flock build --type vhd` makes what it runs",
        "lxc" => "`flock build --type lxc` makes what it runs",
        "ovm" | "ovm3" => "`flock build --type raw` makes what it runs",
        _ => "flock makes nothing that it runs",
    }
}

fn refuse(message: String) -> Error {
    Error::new(ErrorKind::InvalidConfig, message).in_backend(BACKEND)
}

/// What a person should know of a hypervisor before using it.
pub(super) fn warning(hypervisor: &str) -> Option<&'static str> {
    match hypervisor.to_ascii_lowercase().as_str() {
        "lxc" => Some(
            "CloudStack has not tested LXC for many releases: its ROOT disks need NFS or local \
             storage, and service offerings without a root disk size",
        ),
        "ovm" | "ovm3" | "hyperv" => {
            Some("CloudStack has not tested this hypervisor for many releases")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::ApplianceFormat::{Qcow2, Raw, Tar, Vhd};
    use super::*;

    fn chosen(asked: Option<&str>, format: ApplianceFormat, offered: &[&str]) -> Option<String> {
        let offered: Vec<_> = offered
            .iter()
            .map(|name| serde_json::from_value(serde_json::json!({ "name": name })).unwrap())
            .collect();
        match choose(asked, format, &offered) {
            Ok(name) => Some(name),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::InvalidConfig);
                assert!(error.hints().next().is_some());
                None
            }
        }
    }

    #[test]
    fn the_usual_one_is_chosen_where_it_is() {
        let all = ["KVM", "LXC", "XenServer"];
        for (format, wanted) in [(Tar, "LXC"), (Vhd, "XenServer"), (Qcow2, "KVM"), (Raw, "KVM")] {
            assert_eq!(chosen(None, format, &all).as_deref(), Some(wanted));
        }
        assert_eq!(chosen(None, Tar, &["Simulator", "KVM"]).as_deref(), Some("Simulator"));
        assert_eq!(chosen(None, Vhd, &["KVM", "VMware"]).as_deref(), Some("KVM"));
        assert_eq!(chosen(None, Vhd, &["KVM", "Hyperv"]), None);
        assert_eq!(chosen(None, Tar, &["KVM"]), None);
        assert_eq!(chosen(None, Tar, &[]), None);
    }

    #[test]
    fn the_one_asked_for_must_be_there_and_fit() {
        assert_eq!(chosen(Some("xenserver"), Vhd, &["XenServer"]).as_deref(), Some("XenServer"));
        assert_eq!(chosen(Some("XenServer"), Tar, &["XenServer"]), None);
        assert_eq!(chosen(Some("KVM"), Qcow2, &["LXC"]), None);
        assert_eq!(chosen(Some("VMware"), Vhd, &["VMware"]), None);
        assert_eq!(
            chosen(Some("Cloud's own"), Raw, &["Cloud's own"]).as_deref(),
            Some("Cloud's own")
        );
    }
}
