//! What the three traits share: how a backend is doing, and which of its
//! things are meant.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Owner, RequestId, Result};

/// Refuses options that a backend does not have, naming the nearest one it
/// has. For the `options` of every spec.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`].
///
/// ```
/// use flock_core::backend::check_options;
///
/// let options = [("disk-typ".to_owned(), "ssd".into())].into();
/// let refused = check_options(&options, &["disk-type", "zone"]).unwrap_err();
/// assert_eq!(refused.hints().next(), Some("did you mean 'disk-type'?"));
/// ```
pub fn check_options(options: &BTreeMap<String, serde_json::Value>, known: &[&str]) -> Result<()> {
    let Some(name) = options.keys().find(|name| !known.contains(&name.as_str())) else {
        return Ok(());
    };
    let error = Error::new(ErrorKind::InvalidConfig, format!("there is no option '{name}' here"))
        .with("option", name);
    let near = known.iter().map(|known| (strsim::jaro_winkler(known, name), known));
    Err(match near.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((likeness, near)) if likeness > 0.8 => error.hint(format!("did you mean '{near}'?")),
        _ => error,
    })
}

/// How a backend is doing, as its `check` found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Health {
    /// The backend's name.
    pub backend: String,
    /// The places it talks to. One that is down is listed as such; only when
    /// the backend as a whole is of no use does `check` fail.
    pub endpoints: Vec<Endpoint>,
}

/// One place that a backend talks to: an API, an engine, a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Endpoint {
    /// Its address or path, without credentials.
    pub address: String,
    /// Its version, where it told.
    pub version: Option<String>,
    /// Why it cannot be used; `None` for a healthy one.
    pub problem: Option<String>,
}

impl Health {
    /// A backend with these endpoints.
    pub fn new(backend: impl Into<String>, endpoints: Vec<Endpoint>) -> Self {
        Self { backend: backend.into(), endpoints }
    }
}

impl Endpoint {
    /// An endpoint that answered.
    pub fn healthy(address: impl Into<String>, version: Option<String>) -> Self {
        Self { address: address.into(), version, problem: None }
    }

    /// An endpoint that cannot be used, and why.
    pub fn unhealthy(address: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { address: address.into(), version: None, problem: Some(problem.into()) }
    }
}

/// Which of our things a `list` shows. All conditions given must hold; none
/// given shows everything in the backend's namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ListFilter {
    /// Those of this application, matched exactly.
    pub app: Option<String>,
    /// Those that this request made.
    pub request: Option<RequestId>,
    /// Leave out what is on places that cannot be asked now, and tell each of
    /// them as a warning. Without it, such a place makes the call fail with
    /// [`ErrorKind::Unavailable`].
    pub partial: bool,
}

impl ListFilter {
    /// Everything of ours.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// What belongs to this application.
    pub fn app(app: impl Into<String>) -> Self {
        Self { app: Some(app.into()), ..Self::default() }
    }

    /// What this owner's request made.
    #[must_use]
    pub fn request(owner: &Owner) -> Self {
        Self { app: Some(owner.app.clone()), request: Some(owner.request), partial: false }
    }

    /// Sets [`partial`](Self::partial).
    #[must_use]
    pub fn with_partial(mut self, partial: bool) -> Self {
        self.partial = partial;
        self
    }

    /// Whether a thing with this tag is meant.
    #[must_use]
    pub fn matches(&self, owner: &Owner) -> bool {
        self.app.as_ref().is_none_or(|app| *app == owner.app)
            && self.request.is_none_or(|request| request == owner.request)
    }
}
