//! Finding things by the names that people give.

use flock_core::{Error, ErrorKind, Result};

use crate::error::BACKEND;

/// How alike a name must be to be worth mentioning (Jaro-Winkler, 0 to 1).
const LIKE: f64 = 0.7;
/// How many of them are mentioned.
const MENTIONED: usize = 3;

/// What has an id and a name, of which people give either.
pub(crate) trait Named {
    /// What it is called in errors: "zone".
    const WHAT: &'static str;

    fn id(&self) -> &str;
    fn name(&self) -> &str;
}

/// The one with this id or exactly this name.
///
/// # Errors
/// [`ErrorKind::NotFound`] with the nearest names; [`ErrorKind::InvalidConfig`]
/// if several have the name.
pub(crate) fn find<T: Named>(mut things: Vec<T>, wanted: &str) -> Result<T> {
    let by_id = things.iter().position(|thing| thing.id() == wanted);
    let named = |thing: &&T| thing.name() == wanted;
    if by_id.is_none() && things.iter().filter(named).count() > 1 {
        return Err(ambiguous(&things, wanted));
    }
    match by_id.or_else(|| things.iter().position(|thing| thing.name() == wanted)) {
        Some(at) => Ok(things.swap_remove(at)),
        None => Err(missing(&things, wanted)),
    }
}

fn ambiguous<T: Named>(things: &[T], wanted: &str) -> Error {
    let ids: Vec<_> = things.iter().filter(|thing| thing.name() == wanted).map(Named::id).collect();
    Error::new(ErrorKind::InvalidConfig, format!("several {}s are called '{wanted}'", T::WHAT))
        .in_backend(BACKEND)
        .hint(format!("give the id instead: {}", ids.join(", ")))
}

fn missing<T: Named>(things: &[T], wanted: &str) -> Error {
    let error = Error::new(ErrorKind::NotFound, format!("there is no {} '{wanted}'", T::WHAT))
        .in_backend(BACKEND)
        .with(T::WHAT, wanted);
    let lower = wanted.to_lowercase();
    let mut near: Vec<_> = things
        .iter()
        .map(|thing| (strsim::jaro_winkler(&thing.name().to_lowercase(), &lower), thing.name()))
        .filter(|(likeness, _)| *likeness > LIKE)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    near.truncate(MENTIONED);
    let names: Vec<_> = near.into_iter().map(|(_, name)| format!("'{name}'")).collect();
    match (names.is_empty(), things.is_empty()) {
        (false, _) => {
            let verb = if names.len() == 1 { "is" } else { "are" };
            error.hint(format!("the nearest {verb} {}", names.join(", ")))
        }
        (true, true) => error.hint(format!("the account sees no {} at all", T::WHAT)),
        (true, false) if things.len() <= 10 => {
            let all: Vec<_> = things.iter().map(|thing| format!("'{}'", thing.name())).collect();
            error.hint(format!("there are {}", all.join(", ")))
        }
        (true, false) => error.hint(format!("there are {} others", things.len())),
    }
}
