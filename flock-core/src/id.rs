//! Names that a backend gives to what it makes. Opaque: only the backend that
//! gave one knows what is in it.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the backend's own name for it.
            pub fn new(id: impl Into<String>) -> Self {
                Self(id.into())
            }

            /// The backend's own name for it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<T: Into<String>> From<T> for $name {
            fn from(id: T) -> Self {
                Self(id.into())
            }
        }
    };
}

id! {
    /// A backend's name for a node: a CloudStack virtual machine's UUID, a
    /// container's id behind its engine's, a VirtualBox machine's UUID.
    NodeId
}
id! {
    /// A backend's name for an image: a template's UUID, an image digest, the
    /// UUID of a machine kept as an image.
    ImageId
}
id! {
    /// A backend's name for a volume: a data disk's UUID, a volume's name
    /// behind its engine's, a medium's UUID, a dataset id.
    VolumeId
}
id! {
    /// A backend's name for a snapshot of a volume.
    SnapshotId
}
