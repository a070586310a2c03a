//! What an announced upload is signed with.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flock_core::secret::Secret;
use uuid::Uuid;

use crate::simulator::signature;

/// What the uploader hands back without looking into it.
pub(crate) fn metadata(template: Uuid, name: &str) -> String {
    STANDARD.encode(format!("{template} {name}"))
}

/// The signature of metadata, address and end of an upload.
pub(crate) fn sign(key: &Secret, metadata: &str, url: &str, expires: &str) -> String {
    signature::sign(key.expose(), &format!("{metadata}{url}{expires}")).unwrap_or_default()
}
