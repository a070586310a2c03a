//! The tag on everything flock makes: whose it is, what it is for, and which
//! request made it.
//!
//! A backend writes the tag beside the thing itself (CloudStack tags, Docker
//! labels, extra data of a virtual machine, dataset metadata), so a lost local
//! state can be rebuilt from what is there, `list` shows only what is ours,
//! and a create whose reply was lost can be looked up before it is repeated.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Error, ErrorKind, Result};

/// Chosen by the caller, once per thing wanted: a second create with the same
/// request id is the same request, not a second thing.
///
/// A UUID, because services that take client-chosen ids (CloudStack's
/// `customjobid`) want one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(Uuid);

impl RequestId {
    /// A new random request id.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RequestId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Uuid::parse_str(text).map(Self).map_err(|source| {
            Error::new(ErrorKind::InvalidConfig, format!("'{text}' is not a request id"))
                .hint("a request id is a UUID")
                .caused_by(source)
        })
    }
}

/// Whose a thing is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Owner {
    /// Separates users of flock that share a backend. A backend's `list`
    /// shows one namespace only: the one in its configuration.
    pub namespace: String,
    /// The application that the thing belongs to.
    pub app: String,
    /// The request that made it.
    pub request: RequestId,
}

impl Owner {
    /// The tag's name for [`Owner::namespace`].
    pub const NAMESPACE: &'static str = "flock.namespace";
    /// The tag's name for [`Owner::app`].
    pub const APP: &'static str = "flock.app";
    /// The tag's name for [`Owner::request`].
    pub const REQUEST: &'static str = "flock.request";

    /// An owner tag for what this request makes.
    pub fn new(namespace: impl Into<String>, app: impl Into<String>, request: RequestId) -> Self {
        Self { namespace: namespace.into(), app: app.into(), request }
    }

    /// Refuses an owner of another namespace than the backend's, so that
    /// nothing is made that the backend would not list.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`].
    pub fn require_namespace(&self, namespace: &str) -> Result<()> {
        if self.namespace == namespace {
            return Ok(());
        }
        let message = format!(
            "the owner's namespace '{}' is not the backend's '{namespace}'",
            self.namespace
        );
        Err(Error::new(ErrorKind::InvalidConfig, message).with("namespace", &self.namespace))
    }

    /// The tag as names and values, for the backend to store.
    #[must_use]
    pub fn to_pairs(&self) -> [(&'static str, String); 3] {
        [
            (Self::NAMESPACE, self.namespace.clone()),
            (Self::APP, self.app.clone()),
            (Self::REQUEST, self.request.to_string()),
        ]
    }

    /// The tag read back; `None` where it is missing or not one of ours.
    #[must_use]
    pub fn from_pairs(pairs: &BTreeMap<String, String>) -> Option<Self> {
        Some(Self {
            namespace: pairs.get(Self::NAMESPACE)?.clone(),
            app: pairs.get(Self::APP)?.clone(),
            request: pairs.get(Self::REQUEST)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_survives_the_backend() {
        let owner = Owner::new("default", "web", RequestId::random());
        let stored = owner.to_pairs().map(|(k, v)| (k.to_owned(), v)).into_iter().collect();
        assert_eq!(Owner::from_pairs(&stored), Some(owner));
    }

    #[test]
    fn a_foreign_tag_is_none() {
        assert_eq!(Owner::from_pairs(&BTreeMap::new()), None);
        let broken = [Owner::NAMESPACE, Owner::APP, Owner::REQUEST]
            .map(|k| (k.to_owned(), "x".to_owned()))
            .into_iter()
            .collect();
        assert_eq!(Owner::from_pairs(&broken), None);
    }
}
