//! The parameters of a call.

use std::collections::BTreeMap;
use std::fmt;

/// The parameters of a call, by CloudStack's names. `Debug` shows the names
/// only: values may be user data, keys and passwords.
///
/// ```
/// use flock_cloudstack::Parameters;
///
/// let parameters = Parameters::new()
///     .with("name", "web-1")
///     .with_list("securitygroupids", ["a", "b"])
///     .with_map("details", [("cpuNumber", "2")]);
/// assert_eq!(parameters.get("securitygroupids"), Some("a,b"));
/// assert_eq!(parameters.get("details[0].cpuNumber"), Some("2"));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// No parameters.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets one; a value that was there is replaced, as CloudStack takes the
    /// last of several.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// Sets one, if there is a value.
    #[must_use]
    pub fn with_some(self, name: &str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Sets one that takes a list: values with commas between. None sets
    /// nothing.
    #[must_use]
    pub fn with_list(self, name: &str, values: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let values: Vec<_> = values.into_iter().map(|value| value.as_ref().to_owned()).collect();
        if values.is_empty() { self } else { self.with(name, values.join(",")) }
    }

    /// Sets one that takes a map of names and values, as `details` does:
    /// `details[0].NAME=VALUE`.
    #[must_use]
    pub fn with_map(
        self,
        name: &str,
        pairs: impl IntoIterator<Item = (impl AsRef<str>, impl Into<String>)>,
    ) -> Self {
        pairs.into_iter().fold(self, |parameters, (key, value)| {
            parameters.with(format!("{name}[0].{}", key.as_ref()), value)
        })
    }

    /// Sets one that takes keys and values in pairs, as `tags` does:
    /// `tags[0].key=NAME`, `tags[0].value=VALUE`.
    #[must_use]
    pub fn with_pairs(
        self,
        name: &str,
        pairs: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Self {
        pairs.into_iter().enumerate().fold(self, |parameters, (number, (key, value))| {
            parameters
                .with(format!("{name}[{number}].key"), key)
                .with(format!("{name}[{number}].value"), value)
        })
    }

    /// The value of one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Parameters {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(pairs: T) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}
