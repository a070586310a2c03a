//! `flock deploy`.

mod passwords;
mod spec;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use flock_cloudstack::{Client, CloudStackProvisioner};
use flock_core::deployments::Deployments;
use flock_core::provisioner::{DeploySpec, Deployment, Node, NodeOutcome};
use flock_core::state::{SqliteConfig, SqliteStore, StateStore};
use flock_core::{Context, Error, ErrorKind, ImageId, Owner, Provisioner as _, RequestId};
use serde::Serialize;

use super::Session;
use super::node::row;
use crate::cli::Deploy;
use crate::error::{self, Shown};
use crate::exit::Exit;
use crate::output::{Result, table};
use crate::{backend, interrupt, progress};

/// How many failed nodes have their errors shown in full.
const SHOWN: usize = 3;

/// What `flock deploy --json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    app: &'a str,
    /// To be given with `--request` to go on with this deploy.
    request: RequestId,
    /// The template's id.
    image: &'a ImageId,
    deployed: usize,
    failed: usize,
    nodes: Vec<Outcome<'a>>,
    /// Where the passwords are, `null` if nobody asked for them.
    password_file: Option<&'a Path>,
}

#[derive(Debug, Serialize)]
struct Outcome<'a> {
    name: &'a str,
    /// `null` if nothing was made.
    id: Option<&'a str>,
    /// `null` if it failed.
    node: Option<&'a Node>,
    /// `null` unless it failed.
    error: Option<Shown<'a>>,
}

/// What a deploy works with.
struct Tools {
    client: Client,
    nodes: CloudStackProvisioner,
    deployments: Deployments,
    namespace: String,
}

/// The name of an application that is given by its name or directory.
pub(crate) fn app_name(app: &str) -> Result<String, Error> {
    spec::app(app).map(|app| app.name)
}

pub(crate) fn run(session: &Session, command: &Deploy) -> Result<Exit> {
    let reporter = progress::reporter(session.settings.progress.value, session.printer);
    let ctx = Context::new().with_progress(reporter);
    let app = spec::app(&command.app)?;
    spec::check(command)?;
    let client = backend::client_within(session, &ctx, command.timeout)?;
    // Of another run there may be nodes.
    let is_new = !command.resume && command.request.is_none();
    let (spec, done) = interrupt::run(&ctx, async {
        let mut tools = tools(&ctx, client, command).await?;
        if is_new {
            tell_of_unfinished(&ctx, session, &tools, &app.name).await?;
        }
        let spec = spec::spec(&ctx, &tools, &app, command).await?;
        let passwords = passwords(&ctx, &mut tools, &spec, command).await?;
        let done = deploy(&ctx, &tools, &spec, passwords.as_deref(), is_new).await?;
        Ok((spec, Done { passwords, ..done }))
    })?;
    show(session, &spec, &done)?;
    Ok(match done.deployment.failed().next() {
        None => Exit::Done,
        Some(_) if ctx.is_cancelled() => Exit::Interrupted,
        Some(_) => Exit::Failed,
    })
}

async fn tools(ctx: &Context, client: Client, command: &Deploy) -> Result<Tools, Error> {
    let (store, deployments) = deployments(ctx, &client).await?;
    let namespace = client.config().namespace.clone();
    let mut nodes = CloudStackProvisioner::new(client.clone()).with_state(store);
    if let Some(machines) = command.concurrency {
        nodes = nodes.with_max_concurrency(machines);
    }
    Ok(Tools { client, nodes, deployments, namespace })
}

/// Has the passwords written to the file that the command names, or that the
/// deploy which is resumed did; its path.
async fn passwords(
    ctx: &Context,
    tools: &mut Tools,
    spec: &DeploySpec,
    command: &Deploy,
) -> Result<Option<PathBuf>, Error> {
    let path = match &command.password_file {
        Some(path) => {
            let absolute = std::path::absolute(path);
            Some(absolute.map_err(|source| Error::io("find", path, source))?)
        }
        None => tools.deployments.note(ctx, &spec.owner).await?.map(PathBuf::from),
    };
    if let Some(path) = &path {
        let file = passwords::File::open(path)?;
        let sink = move |node: &Node, password| file.add(&node.name, &password);
        tools.nodes = tools.nodes.clone().with_password_sink(sink);
    }
    Ok(path)
}

/// Says which deploys were begun before and did not end: this one may have
/// been meant to be their end.
async fn tell_of_unfinished(
    ctx: &Context,
    session: &Session,
    tools: &Tools,
    app: &str,
) -> Result<(), Error> {
    for spec in tools.deployments.unfinished(ctx, &tools.namespace, app).await? {
        let text = format!("an earlier deploy is under way or unfinished; {}", spec::resume(&spec));
        session.printer.warning(&text);
    }
    Ok(())
}

/// The state store, and what is remembered there of deploys to this cloud.
pub(crate) async fn deployments(
    ctx: &Context,
    client: &Client,
) -> Result<(Arc<dyn StateStore>, Deployments), Error> {
    let store: Arc<dyn StateStore> =
        Arc::new(SqliteStore::open(ctx, SqliteConfig::default()).await?);
    let place = client.config().place();
    let deployments = Deployments::new(Arc::clone(&store), "cloudstack", &place)?;
    Ok((store, deployments))
}

/// What came of a deploy.
struct Done {
    deployment: Deployment,
    /// Whether it is over: all nodes are there, or nothing came of it.
    is_over: bool,
    /// The file with the passwords.
    passwords: Option<PathBuf>,
}

/// Deploys, and remembers what is not finished.
async fn deploy(
    ctx: &Context,
    tools: &Tools,
    spec: &DeploySpec,
    passwords: Option<&Path>,
    is_new: bool,
) -> Result<Done, Error> {
    let Tools { nodes, deployments, .. } = tools;
    let note = passwords.and_then(Path::to_str).map(str::to_owned);
    if let Err(error) = deployments.begin_with_note(ctx, spec, note).await {
        if is_new {
            let Owner { namespace, app, .. } = &spec.owner;
            deployments.release(&Context::new(), namespace, app, &spec.names).await?;
        }
        return Err(error);
    }
    let deployed = nodes.deploy(ctx, spec).await;
    let is_over = match &deployed {
        Ok(deployed) => {
            let made = deployed.nodes.iter().any(|outcome| outcome.id.is_some());
            let nothing = || deployed.failed().all(|(one, error)| is_nothing(one, error));
            deployed.failed().count() == 0 || is_new && !made && nothing()
        }
        // Nothing has begun.
        Err(_) => is_new,
    };
    if is_over {
        // Also when the command was interrupted.
        let ctx = &Context::new();
        deployments.end(ctx, &spec.owner).await?;
        let unmade: Vec<_> = match &deployed {
            Ok(deployed) => deployed.failed().map(|(outcome, _)| outcome.name.as_str()).collect(),
            Err(_) => spec.names.iter().map(String::as_str).collect(),
        };
        let Owner { namespace, app, .. } = &spec.owner;
        deployments.release(ctx, namespace, app, unmade).await?;
    }
    Ok(Done { deployment: deployed?, is_over, passwords: None })
}

/// Whether nothing came of a node, and nothing may come yet.
fn is_nothing(outcome: &NodeOutcome, error: &Error) -> bool {
    let is_open = matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Timeout);
    outcome.id.is_none() && !error.is_retryable() && !is_open
}

fn show(session: &Session, spec: &DeploySpec, done: &Done) -> Result<()> {
    let deployed = &done.deployment;
    let (good, bad) = (deployed.succeeded().count(), deployed.failed().count());
    let report = Report {
        app: &spec.owner.app,
        request: spec.owner.request,
        image: &spec.image,
        deployed: good,
        failed: bad,
        nodes: deployed.nodes.iter().map(outcome).collect(),
        password_file: done.passwords.as_deref(),
    };
    session.printer.result(report, || table_of(deployed))?;
    if !session.printer.json {
        tell_of_failures(session, deployed);
    }
    if !done.is_over {
        session.printer.note(&spec::resume(spec));
    }
    Ok(())
}

/// A line for each node, and one for all.
fn table_of(deployed: &Deployment) -> String {
    let rows = deployed.nodes.iter().map(|outcome| match &outcome.result {
        Ok(node) => row(node),
        Err(error) => vec![outcome.name.clone(), word(error).to_owned()],
    });
    let mut text = table(rows);
    let good = deployed.succeeded().count();
    text.push_str(&format!("{good} {} deployed", nodes(good)));
    for kind in ["failed", "interrupted"] {
        match deployed.failed().filter(|(_, error)| word(error) == kind).count() {
            0 => {}
            count => text.push_str(&format!(", {count} {kind}")),
        }
    }
    text + "\n"
}

/// What became of a node that is not there.
fn word(error: &Error) -> &'static str {
    if error.kind() == ErrorKind::Cancelled { "interrupted" } else { "failed" }
}

fn tell_of_failures(session: &Session, deployed: &Deployment) {
    let failed = || deployed.failed().filter(|(_, error)| word(error) == "failed");
    for (outcome, error) in failed().take(SHOWN) {
        session.printer.warning(&format!("{} failed:", outcome.name));
        crate::output::to_stderr(&error::text(error, session.printer.err));
    }
    let more = failed().count().saturating_sub(SHOWN);
    if more > 0 {
        session.printer.warning(&format!("so did {more} more; --json tells why"));
    }
}

fn nodes(count: usize) -> &'static str {
    if count == 1 { "node" } else { "nodes" }
}

fn outcome(outcome: &NodeOutcome) -> Outcome<'_> {
    Outcome {
        name: &outcome.name,
        id: outcome.id.as_ref().map(flock_core::NodeId::as_str),
        node: outcome.result.as_ref().ok(),
        error: outcome.result.as_ref().err().map(Shown::from),
    }
}

#[cfg(test)]
mod tests {
    use super::super::is_documented;
    use super::super::node::tests::example;
    use super::*;

    /// The example in the documentation is this document.
    #[test]
    fn the_document_is_documented() {
        let node = example();
        let message = "the zone has no room for another machine";
        let error = Error::new(ErrorKind::QuotaExceeded, message);
        let outcomes =
            [NodeOutcome::ready(node.clone()), NodeOutcome::failed("site-2", None, error)];
        is_documented(Report {
            app: "site",
            request: node.owner.request,
            image: &ImageId::new("5ce8f0b1-a910-4631-a8de-1e332bf3a6b7"),
            deployed: 1,
            failed: 1,
            nodes: outcomes.iter().map(outcome).collect(),
            password_file: None,
        });
    }
}
