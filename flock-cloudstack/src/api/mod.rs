//! What CloudStack tells about its things, as far as flock reads it, and a
//! call for each.
//!
//! Fields that a version lacks are empty; fields that flock does not know are
//! ignored. The names are CloudStack's, with underscores.

pub(crate) mod lenient;
mod machine;
mod place;
mod template;
mod volume;

pub use machine::{AffinityGroup, KeyPair, Machine, Nic};
pub use place::{DiskOffering, Hypervisor, Network, OsType, SecurityGroup, ServiceOffering, Zone};
pub use template::{DownloadDetail, NewTemplate, Template, TemplateFilter, UploadParams, Zones};
pub use volume::{Snapshot, Volume};
