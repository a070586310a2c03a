//! The owner's tag, as CloudStack's tags.

use std::collections::BTreeMap;

use flock_core::{Context, ListFilter, Owner, Result};

use crate::client::{Client, Parameters, Started};

/// The tag that holds the name which flock knows a thing by: CloudStack's own
/// name may have to differ.
pub(crate) const NAME: &str = "flock.name";

/// Kinds of resource that take tags, as CloudStack calls them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    Template,
    Machine,
    Volume,
    Snapshot,
}

impl Resource {
    fn as_str(self) -> &'static str {
        match self {
            Self::Template => "Template",
            Self::Machine => "UserVm",
            Self::Volume => "Volume",
            Self::Snapshot => "Snapshot",
        }
    }
}

/// Tags several things of one owner at once, beside what they are tagged with.
/// A tag that is there already fails the whole of it in CloudStack, so only
/// untagged things are tagged. Waits for the job.
///
/// # Errors
/// Those of [`Client::run`].
pub(crate) async fn put(
    client: &Client,
    ctx: &Context,
    kind: Resource,
    ids: &[String],
    tags: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
) -> Result<()> {
    let started = begin(client, ctx, kind, ids, tags).await?;
    client.wait(ctx, &started.job).await.map(drop)
}

/// Begins to tag several things of one owner at once; as [`put`], without the
/// wait.
///
/// # Errors
/// Those of [`Client::start`].
pub(crate) async fn begin(
    client: &Client,
    ctx: &Context,
    kind: Resource,
    ids: &[String],
    tags: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
) -> Result<Started> {
    let parameters = Parameters::new()
        .with("resourcetype", kind.as_str())
        .with_list("resourceids", ids)
        .with_pairs("tags", tags);
    client.start(ctx, "createTags", &parameters).await
}

/// The parameters by which a list shows at least what the filter means.
///
/// Of several tags CloudStack takes things that have any
/// (`QueryManagerImpl.searchForUserVMs`), so this names the rarest only: what
/// is listed still has to be compared with the filter.
pub(crate) fn filter(namespace: &str, filter: &ListFilter) -> Parameters {
    let tag = match (&filter.request, &filter.app) {
        (Some(request), _) => (Owner::REQUEST, request.to_string()),
        (None, Some(app)) => (Owner::APP, app.clone()),
        (None, None) => (Owner::NAMESPACE, namespace.to_owned()),
    };
    Parameters::new().with_pairs("tags", [tag])
}

/// The owner that these tags tell of, if it is of this namespace.
pub(crate) fn owner(namespace: &str, tags: &BTreeMap<String, String>) -> Option<Owner> {
    Owner::from_pairs(tags).filter(|owner| owner.namespace == namespace)
}
