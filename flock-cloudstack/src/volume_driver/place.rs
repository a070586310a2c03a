//! Where a new volume goes and of what kind it is.

use flock_core::volume_driver::VolumeSpec;
use flock_core::{Context, Error, ErrorKind, Result};

use super::{CloudStackVolumeDriver, GIB};
use crate::api::{DiskOffering, Zone};
use crate::client::Parameters;
use crate::naming::{self, Named};

/// What [`VolumeSpec::options`] may hold for CloudStack. Each constant names
/// one option.
///
/// ```
/// use flock_cloudstack::VolumeOption;
/// use flock_core::volume_driver::VolumeSpec;
/// use flock_core::{Owner, RequestId};
///
/// let owner = Owner::new("default", "web", RequestId::random());
/// let spec = VolumeSpec::new(owner, "data", 20 << 30)
///     .with_option(VolumeOption::ZONE, "zone-1")
///     .with_option(VolumeOption::DISK_OFFERING, "Custom");
/// assert_eq!(spec.options["disk-offering"], "Custom");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct VolumeOption;

impl VolumeOption {
    /// The zone's name or id. Default: the driver's, or the only one there is.
    pub const ZONE: &'static str = "zone";
    /// The disk offering's name or id. Default: the driver's, or the only one
    /// that fits. Not for a volume from a snapshot, which is of the kind of
    /// the snapshot's.
    pub const DISK_OFFERING: &'static str = "disk-offering";

    pub(super) const ALL: [&'static str; 2] = [Self::ZONE, Self::DISK_OFFERING];
}

const ZONE: &str = VolumeOption::ZONE;
const DISK_OFFERING: &str = VolumeOption::DISK_OFFERING;

impl CloudStackVolumeDriver {
    /// The parameters that say where a new volume of `size` bytes goes and of
    /// what kind it is. One from a snapshot is of the kind of the snapshot's
    /// volume, and as large as that was.
    pub(super) async fn place(
        &self,
        ctx: &Context,
        spec: &VolumeSpec,
        size: u64,
    ) -> Result<Parameters> {
        let zone = option(spec, ZONE)?.or(self.zone.as_deref());
        let offering = option(spec, DISK_OFFERING)?.or(self.disk_offering.as_deref());
        let zone = zone_id(self.client.zones(ctx).await?, zone)?;
        let place = Parameters::new().with("zoneid", zone);
        if let Some(snapshot) = &spec.source {
            return Ok(place.with("snapshotid", snapshot.as_str()));
        }
        let offering = choose(self.client.disk_offerings(ctx).await?, offering, size)?;
        let place = place.with("diskofferingid", &offering.id);
        Ok(match offering.is_customized {
            true => place.with("size", (size / GIB).to_string()),
            false => place,
        })
    }
}

/// The text of an option.
fn option<'a>(spec: &'a VolumeSpec, name: &str) -> Result<Option<&'a str>> {
    let Some(value) = spec.options.get(name) else { return Ok(None) };
    value.as_str().map(Some).ok_or_else(|| {
        Error::new(ErrorKind::InvalidConfig, format!("the option '{name}' must be a text"))
            .with("option", name)
    })
}

fn zone_id(zones: Vec<Zone>, wanted: Option<&str>) -> Result<String> {
    if let Some(wanted) = wanted {
        return Ok(naming::find(zones, wanted)?.id);
    }
    match zones.as_slice() {
        [only] => Ok(only.id.clone()),
        several => Err(undecided(several.iter(), ZONE)),
    }
}

/// The offering asked for, or the only one that fits.
fn choose(offerings: Vec<DiskOffering>, wanted: Option<&str>, size: u64) -> Result<DiskOffering> {
    if let Some(wanted) = wanted {
        let offering = naming::find(offerings, wanted)?;
        return if fits(&offering, size) { Ok(offering) } else { Err(unfit(&offering, size)) };
    }
    let mut fitting: Vec<_> = offerings.into_iter().filter(|one| fits(one, size)).collect();
    let is_choice = |one: &DiskOffering| one.is_customized;
    if fitting.iter().any(is_choice) {
        fitting.retain(is_choice);
    }
    match fitting.len() {
        1 => Ok(fitting.remove(0)),
        _ => Err(undecided(fitting.iter(), DISK_OFFERING)),
    }
}

/// Whether volumes of this offering can have that size.
fn fits(offering: &DiskOffering, size: u64) -> bool {
    offering.is_customized
        || offering.disk_size.and_then(|size| size.checked_mul(GIB)) == Some(size)
}

fn unfit(offering: &DiskOffering, size: u64) -> Error {
    let (name, fixed) = (&offering.name, offering.disk_size.unwrap_or(0));
    let message =
        format!("volumes of the disk offering '{name}' have {fixed} GiB, not {} GiB", size / GIB);
    Error::new(ErrorKind::InvalidConfig, message)
        .with(DISK_OFFERING, name)
        .hint("ask for that size, or name an offering whose size can be chosen")
}

/// The error where nothing was asked for and not just one thing is there.
fn undecided<'a, T: Named + 'a>(
    things: impl Iterator<Item = &'a T>,
    option: &'static str,
) -> Error {
    let names: Vec<_> = things.map(|thing| format!("'{}'", thing.name())).collect();
    let what = T::WHAT;
    match names.as_slice() {
        [] => Error::new(ErrorKind::InvalidConfig, format!("no {what} fits this volume"))
            .hint(format!("`flock cloudstack call {}` shows what there is", listing(option))),
        _ => Error::new(ErrorKind::InvalidConfig, format!("there are several {what}s"))
            .hint(format!("set {option} to one of {}", names.join(", "))),
    }
}

fn listing(option: &str) -> &'static str {
    if option == ZONE { "listZones" } else { "listDiskOfferings" }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn offering(name: &str, size: Option<u64>) -> DiskOffering {
        let is_customized = size.is_none();
        serde_json::from_value(json!({
            "id": format!("id-{name}"), "name": name, "iscustomized": is_customized, "disksize": size,
        }))
        .unwrap()
    }

    fn chosen(
        offerings: &[DiskOffering],
        wanted: Option<&str>,
        gib: u64,
    ) -> Result<String, ErrorKind> {
        choose(offerings.to_vec(), wanted, gib * GIB)
            .map(|one| one.name)
            .map_err(|error| error.kind())
    }

    #[test]
    fn the_only_offering_that_fits_is_taken() {
        let all =
            [offering("Small", Some(5)), offering("Large", Some(100)), offering("Custom", None)];
        assert_eq!(chosen(&all, None, 7).as_deref(), Ok("Custom"));
        assert_eq!(chosen(&all[..2], None, 5).as_deref(), Ok("Small"));
        assert_eq!(chosen(&all[..2], None, 7), Err(ErrorKind::InvalidConfig));
        let twice = [offering("Custom", None), offering("Fast", None)];
        let error = choose(twice.to_vec(), None, GIB).unwrap_err();
        assert_eq!(error.hints().next(), Some("set disk-offering to one of 'Custom', 'Fast'"));
    }

    #[test]
    fn an_offering_that_is_named_must_fit() {
        let all = [offering("Small", Some(5)), offering("Custom", None)];
        assert_eq!(chosen(&all, Some("Small"), 5).as_deref(), Ok("Small"));
        assert_eq!(chosen(&all, Some("id-Custom"), 9).as_deref(), Ok("Custom"));
        assert_eq!(chosen(&all, Some("Small"), 9), Err(ErrorKind::InvalidConfig));
        assert_eq!(chosen(&all, Some("Smal"), 5), Err(ErrorKind::NotFound));
    }
}
