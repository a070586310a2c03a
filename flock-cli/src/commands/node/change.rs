//! What is done with nodes: start, stop, reboot, destroy.

use std::collections::BTreeMap;

use flock_cloudstack::CloudStackProvisioner;
use flock_core::provisioner::{Node, StopOptions};
use flock_core::{Context, Error, ErrorKind, ListFilter, Provisioner as _};
use serde::Serialize;
use tokio::task::JoinSet;

use super::{Work, pick};
use crate::cli::NodeNames;
use crate::commands::Session;
use crate::commands::deploy::app_name;
use crate::confirm::confirm;
use crate::error::{self, Shown};
use crate::exit::Exit;
use crate::interrupt;
use crate::output::Result;

/// What is printed with `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Changed<'a> {
    pub(super) nodes: Vec<Outcome<'a>>,
}

#[derive(Debug, Serialize)]
pub(super) struct Outcome<'a> {
    name: &'a str,
    app: &'a str,
    id: &'a str,
    /// The node afterwards; `null` if it is destroyed, or if it failed.
    node: Option<&'a Node>,
    /// `null` unless it failed.
    error: Option<Shown<'a>>,
}

/// What is done with nodes.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Start,
    Stop(StopOptions),
    Reboot,
    Destroy {
        /// For good, where the account may.
        expunge: bool,
        /// Nobody is asked.
        sure: bool,
    },
}

impl Change {
    fn done(&self) -> &'static str {
        match self {
            Self::Start => "started",
            Self::Stop(_) => "stopped",
            Self::Reboot => "restarted",
            Self::Destroy { .. } => "destroyed",
        }
    }

    /// Asks, before something is gone.
    fn confirm(&self, nodes: &[Node]) -> Result<(), Error> {
        let Self::Destroy { expunge, sure } = *self else { return Ok(()) };
        let names: Vec<_> = nodes.iter().map(|node| node.name.as_str()).collect();
        let for_good = if expunge { " for good" } else { "" };
        confirm(&format!("Destroy {}{for_good}?", names.join(", ")), sure)
    }
}

/// Does something with nodes, all at once, and tells what became of each.
pub(super) fn run(session: &Session, wanted: &NodeNames, change: &Change) -> Result<Exit> {
    let app = wanted.app.as_deref().map(app_name).transpose()?;
    let mut work = Work::new(session, wanted.timeout)?;
    if let Change::Destroy { expunge: false, .. } = change {
        work.nodes = work.nodes.with_expunge(false);
    }
    let ctx = work.ctx.clone();
    let (work, chosen) = interrupt::run(&ctx, async {
        // Before anything is done: what cannot be written down is not begun.
        let work = work.with_state().await?;
        let chosen = choose(&work, session, wanted, app.as_deref()).await?;
        Ok((work, chosen))
    })?;
    if !chosen.is_empty() {
        change.confirm(&chosen)?;
    }
    let outcomes = interrupt::run(&ctx, async {
        let outcomes = all(&work, &chosen, change).await;
        if let Change::Destroy { .. } = change {
            let all = app.as_deref().filter(|_| wanted.all);
            forget(&work, &outcomes, all).await?;
        }
        Ok(outcomes)
    })?;
    show(session, change, &outcomes)?;
    Ok(match outcomes.iter().filter(|(_, result)| result.is_err()).count() {
        0 => Exit::Done,
        _ if ctx.is_cancelled() => Exit::Interrupted,
        _ => Exit::Failed,
    })
}

fn show(session: &Session, change: &Change, outcomes: &[Done]) -> Result<()> {
    session.printer.result(Changed { nodes: outcomes.iter().map(outcome).collect() }, || {
        let good = outcomes.iter().filter(|(_, result)| result.is_ok());
        good.map(|(node, _)| format!("{} {}\n", node.name, change.done())).collect()
    })?;
    if session.printer.json {
        return Ok(());
    }
    for (node, result) in outcomes {
        if let Err(error) = result {
            session.printer.warning(&format!("{} failed:", node.name));
            crate::output::to_stderr(&error::text(error, session.printer.err));
        }
    }
    Ok(())
}

async fn choose(
    work: &Work,
    session: &Session,
    wanted: &NodeNames,
    app: Option<&str>,
) -> Result<Vec<Node>, Error> {
    let listed = work.list(session, app).await?;
    if wanted.all {
        return Ok(listed);
    }
    let mut chosen: Vec<Node> = Vec::new();
    for name in &wanted.names {
        let node = pick(&listed, name)?;
        if !chosen.contains(node) {
            chosen.push(node.clone());
        }
    }
    Ok(chosen)
}

/// A node as it was, and what came of it.
pub(super) type Done = (Node, Result<Option<Node>, Error>);

/// The client bounds how many requests are under way at once.
async fn all(work: &Work, chosen: &[Node], change: &Change) -> Vec<Done> {
    let mut tasks = JoinSet::new();
    for (at, node) in chosen.iter().enumerate() {
        let (ctx, nodes, node) = (work.ctx.clone(), work.nodes.clone(), node.clone());
        let change = change.clone();
        tasks.spawn(async move { (at, one(&ctx, &nodes, &node, &change).await) });
    }
    let mut done: BTreeMap<usize, Result<Option<Node>, Error>> = BTreeMap::new();
    while let Some(ended) = tasks.join_next().await {
        // One that panicked is missing, and told below.
        done.extend(ended.ok());
    }
    let lost = || Err(Error::new(ErrorKind::Unexpected, "the work on the node panicked"));
    let outcomes = chosen.iter().enumerate();
    outcomes.map(|(at, node)| (node.clone(), done.remove(&at).unwrap_or_else(lost))).collect()
}

async fn one(
    ctx: &Context,
    nodes: &CloudStackProvisioner,
    node: &Node,
    change: &Change,
) -> Result<Option<Node>, Error> {
    match change {
        Change::Start => nodes.start(ctx, &node.id).await.map(Some),
        Change::Stop(options) => nodes.stop(ctx, &node.id, options).await.map(Some),
        Change::Reboot => nodes.reboot(ctx, &node.id).await.map(Some),
        Change::Destroy { .. } => nodes.destroy(ctx, &node.id).await.map(|()| None),
    }
}

/// Gives the names of destroyed nodes back, and forgets deploys of which
/// nothing is left: those that a destroyed node is of, or all of an
/// application.
async fn forget(work: &Work, outcomes: &[Done], all_of: Option<&str>) -> Result<(), Error> {
    let gone = outcomes.iter().filter(|(_, result)| result.is_ok()).map(|(node, _)| node);
    let mut by_app: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in gone {
        by_app.entry(&node.owner.app).or_default().push(&node.name);
    }
    by_app.extend(all_of.filter(|app| !by_app.contains_key(app)).map(|app| (app, Vec::new())));
    // Also when the command was interrupted.
    let ctx = Context::new();
    let namespace = &work.client.config().namespace;
    let Some(deployments) = &work.deployments else { return Ok(()) };
    for (app, names) in by_app {
        deployments.release(&ctx, namespace, app, &names).await?;
        let mut over = deployments.unfinished(&ctx, namespace, app).await?;
        over.retain(|begun| {
            all_of == Some(app) || begun.names.iter().any(|name| names.contains(&name.as_str()))
        });
        if over.is_empty() {
            continue;
        }
        let left = work.nodes.list(&ctx, &ListFilter::app(app)).await?;
        let is_left = |name: &String| left.iter().any(|node| node.name == *name);
        for begun in over.iter().filter(|begun| !begun.names.iter().any(is_left)) {
            deployments.end(&ctx, &begun.owner).await?;
            deployments.release(&ctx, namespace, app, &begun.names).await?;
        }
    }
    Ok(())
}

pub(super) fn outcome((node, result): &Done) -> Outcome<'_> {
    Outcome {
        name: &node.name,
        app: &node.owner.app,
        id: node.id.as_str(),
        node: result.as_ref().ok().and_then(Option::as_ref),
        error: result.as_ref().err().map(Shown::from),
    }
}
