//! What a new volume is called until it is tagged.

use std::fmt;

use flock_core::{Error, ErrorKind, Owner, Result};

/// What every mark begins with.
const FLOCK: &str = "flock";
/// The most characters, in Java's count, that CloudStack takes for a name.
const MAX_NAME: usize = 255;

/// Whose a volume is and what it is called, written as its name in CloudStack:
/// `flock:NAMESPACE:NAME:APP:REQUEST`. In the parts `%` and `:` are encoded as
/// in URLs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) owner: Owner,
    pub(super) name: String,
}

impl Mark {
    /// What all marks of a namespace begin with.
    pub(super) fn prefix(namespace: &str) -> String {
        format!("{FLOCK}:{}:", encode(namespace))
    }

    /// What the marks of all volumes of a name begin with.
    pub(super) fn prefix_of_name(namespace: &str, name: &str) -> String {
        format!("{}{}:", Self::prefix(namespace), encode(name))
    }

    /// The mark of a new volume.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if it would be too long for CloudStack.
    pub(super) fn new(owner: &Owner, name: &str) -> Result<Self> {
        let mark = Self { owner: owner.clone(), name: name.to_owned() };
        let length = mark.to_string().encode_utf16().count();
        if length <= MAX_NAME {
            return Ok(mark);
        }
        let message = format!("the volume's name is too long by {}", length - MAX_NAME);
        Err(Error::new(ErrorKind::InvalidConfig, message).hint(format!(
            "namespace, application and name may have about {} characters together",
            MAX_NAME - 45
        )))
    }

    /// Reads a mark; `None` for any other name.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let mut next = || parts.next().map(decode);
        if next()? != FLOCK {
            return None;
        }
        let (namespace, name, app, request) = (next()?, next()?, next()?, next()?);
        let owner = Owner::new(namespace, app, request.parse().ok()?);
        parts.next().is_none().then_some(Self { owner, name })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { owner, name } = self;
        let prefix = Self::prefix_of_name(&owner.namespace, name);
        write!(f, "{prefix}{}:{}", encode(&owner.app), owner.request)
    }
}

fn encode(part: &str) -> String {
    part.replace('%', "%25").replace(':', "%3A")
}

fn decode(part: &str) -> String {
    part.replace("%3A", ":").replace("%25", "%")
}

#[cfg(test)]
mod tests {
    use flock_core::RequestId;

    use super::*;

    #[test]
    fn a_mark_survives_the_backend() {
        for (namespace, app, name) in
            [("default", "web", "data"), ("a:b", "%3A", "x%25:y"), ("", "", "ü")]
        {
            let owner = Owner::new(namespace, app, RequestId::random());
            let mark = Mark::new(&owner, name).unwrap();
            let text = mark.to_string();
            assert!(text.starts_with(&Mark::prefix_of_name(namespace, name)), "{text}");
            assert_eq!(Mark::parse(&text), Some(mark));
        }
    }

    #[test]
    fn other_names_are_no_marks() {
        for name in ["data", "flock:a:b:c", "flock:a:b:c:d", "flock:a:b:c:d:e", "", "ROOT-7"] {
            assert_eq!(Mark::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_name_that_is_too_long_is_refused() {
        let owner = Owner::new("default", "web", RequestId::random());
        assert!(Mark::new(&owner, &"n".repeat(190)).is_ok());
        let error = Mark::new(&owner, &"n".repeat(300)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    }
}
