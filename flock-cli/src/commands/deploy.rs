//! `flock deploy`.

mod passwords;
mod spec;

use std::path::Path;
use std::sync::Arc;

use flock_cloudstack::CloudStackProvisioner;
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
    nodes: CloudStackProvisioner,
    deployments: Deployments,
    namespace: String,
}

pub(crate) fn run(session: &Session, command: &Deploy) -> Result<Exit> {
    let reporter = progress::reporter(session.settings.progress.value, session.printer);
    let ctx = Context::new().with_progress(reporter);
    let app = spec::app(&command.app)?;
    let client = backend::client(session, &ctx)?;
    let (spec, done) = interrupt::run(&ctx, async {
        let tools = tools(&ctx, client, command).await?;
        let spec = spec::spec(&ctx, &tools, &app, command).await?;
        // Of another run there may be nodes.
        let is_new = !command.resume && command.request.is_none();
        let done = deploy(&ctx, &tools, &spec, is_new).await?;
        Ok((spec, done))
    })?;
    show(session, command, &spec, &done)?;
    Ok(match done.deployment.failed().next() {
        None => Exit::Done,
        Some(_) if ctx.is_cancelled() => Exit::Interrupted,
        Some(_) => Exit::Failed,
    })
}

async fn tools(
    ctx: &Context,
    client: flock_cloudstack::Client,
    command: &Deploy,
) -> Result<Tools, Error> {
    let (store, deployments) = deployments(ctx, &client).await?;
    let namespace = client.config().namespace.clone();
    let mut nodes = CloudStackProvisioner::new(client).with_state(store);
    if let Some(machines) = command.concurrency {
        nodes = nodes.with_max_concurrency(machines);
    }
    if let Some(path) = &command.password_file {
        let file = passwords::File::open(path)?;
        nodes = nodes.with_password_sink(move |node, password| file.add(&node.name, &password));
    }
    Ok(Tools { nodes, deployments, namespace })
}

/// The state store, and what is remembered there of deploys to this cloud.
pub(crate) async fn deployments(
    ctx: &Context,
    client: &flock_cloudstack::Client,
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
}

/// Deploys, and remembers what is not finished.
async fn deploy(
    ctx: &Context,
    tools: &Tools,
    spec: &DeploySpec,
    is_new: bool,
) -> Result<Done, Error> {
    let Tools { nodes, deployments, .. } = tools;
    deployments.begin(ctx, spec).await?;
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
    Ok(Done { deployment: deployed?, is_over })
}

/// Whether nothing came of a node, and nothing may come yet.
fn is_nothing(outcome: &NodeOutcome, error: &Error) -> bool {
    let is_open = matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Timeout);
    outcome.id.is_none() && !error.is_retryable() && !is_open
}

fn show(session: &Session, command: &Deploy, spec: &DeploySpec, done: &Done) -> Result<()> {
    let deployed = &done.deployment;
    let (good, bad) = (deployed.succeeded().count(), deployed.failed().count());
    let report = Report {
        app: &spec.owner.app,
        request: spec.owner.request,
        image: &spec.image,
        deployed: good,
        failed: bad,
        nodes: deployed.nodes.iter().map(outcome).collect(),
        password_file: command.password_file.as_deref(),
    };
    session.printer.result(report, || {
        let rows = deployed.nodes.iter().map(|outcome| match &outcome.result {
            Ok(node) => row(node),
            Err(_) => vec![outcome.name.clone(), "failed".to_owned()],
        });
        let failed = if bad == 0 { String::new() } else { format!(", {bad} failed") };
        format!("{}{good} {} deployed{failed}\n", table(rows), nodes(good))
    })?;
    if !session.printer.json {
        for (outcome, error) in deployed.failed().take(SHOWN) {
            session.printer.warning(&format!("{} failed:", outcome.name));
            crate::output::to_stderr(&error::text(error, session.printer.err));
        }
        if bad > SHOWN {
            session.printer.warning(&format!("so did {} more; --json tells why", bad - SHOWN));
        }
    }
    if !done.is_over {
        let app = &spec.owner.app;
        session.printer.note(&format!("to go on with it: flock deploy {app} --resume"));
    }
    Ok(())
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
