//! `flock node`.

use std::collections::BTreeMap;
use std::sync::Arc;

use flock_cloudstack::{Client, CloudStackProvisioner};
use flock_core::provisioner::{Node, StopOptions};
use flock_core::{Context, Error, ErrorKind, ListFilter, Provisioner as _};
use serde::Serialize;
use tokio::task::JoinSet;

use super::Session;
use super::deploy::deployments;
use crate::cli::{self, NodeNames};
use crate::confirm::confirm;
use crate::error::{self, Shown};
use crate::exit::Exit;
use crate::output::{Result, Style, columns, table};
use crate::{backend, interrupt, progress};

/// What `flock node list --json` prints.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    nodes: &'a [Node],
}

/// What `flock node show --json` prints.
#[derive(Debug, Serialize)]
struct Showed<'a> {
    node: &'a Node,
}

/// What `flock node start --json` and its like print.
#[derive(Debug, Serialize)]
struct Changed<'a> {
    nodes: Vec<Outcome<'a>>,
}

#[derive(Debug, Serialize)]
struct Outcome<'a> {
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
enum Change {
    Start,
    Stop(StopOptions),
    Reboot,
    Destroy,
}

impl Change {
    fn done(&self) -> &'static str {
        match self {
            Self::Start => "started",
            Self::Stop(_) => "stopped",
            Self::Reboot => "restarted",
            Self::Destroy => "destroyed",
        }
    }
}

pub(crate) fn run(session: &Session, command: &cli::Node) -> Result<Exit> {
    match command {
        cli::Node::List { app, .. } => list(session, app.as_deref()),
        cli::Node::Show { name, app, .. } => show(session, name, app.as_deref()),
        cli::Node::Start(nodes) => change(session, nodes, &Change::Start, true),
        cli::Node::Stop { nodes, grace } => {
            let options = StopOptions::default().with_grace(*grace);
            change(session, nodes, &Change::Stop(options), true)
        }
        cli::Node::Reboot(nodes) => change(session, nodes, &Change::Reboot, true),
        cli::Node::Destroy { nodes, yes } => change(session, nodes, &Change::Destroy, *yes),
    }
}

/// What a list shows of a node: name, size, addresses, template, state.
pub(crate) fn row(node: &Node) -> Vec<String> {
    let addresses = node.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let template = node.details.get("template").cloned().unwrap_or_default();
    let size = node.size.clone().unwrap_or_default();
    vec![node.name.clone(), size, addresses, template, node.status.to_string()]
}

fn context(session: &Session) -> Context {
    let reporter = progress::reporter(session.settings.progress.value, session.printer);
    Context::new().with_progress(reporter)
}

fn list(session: &Session, app: Option<&str>) -> Result<Exit> {
    let ctx = context(session);
    let nodes = CloudStackProvisioner::new(backend::client(session, &ctx)?);
    let filter = app.map_or_else(ListFilter::all, ListFilter::app);
    let listed = interrupt::run(&ctx, nodes.list(&ctx, &filter))?;
    if listed.is_empty() && !session.printer.json {
        session.printer.note("no nodes; `flock deploy APP` makes some");
    }
    session.printer.result(Listed { nodes: &listed }, || table(listed.iter().map(row)))?;
    Ok(Exit::Done)
}

fn show(session: &Session, name: &str, app: Option<&str>) -> Result<Exit> {
    let ctx = context(session);
    let nodes = CloudStackProvisioner::new(backend::client(session, &ctx)?);
    let node = interrupt::run(&ctx, async {
        let listed = nodes.list(&ctx, &app.map_or_else(ListFilter::all, ListFilter::app)).await?;
        pick(&listed, name).cloned()
    })?;
    session.printer.result(Showed { node: &node }, || describe(&node, session.printer.out))?;
    Ok(Exit::Done)
}

fn describe(node: &Node, style: Style) -> String {
    let mut rows = vec![
        ("status", node.status.to_string()),
        ("id", node.id.to_string()),
        ("app", node.owner.app.clone()),
    ];
    rows.extend(node.addresses.iter().map(|address| ("address", address.to_string())));
    rows.extend(node.size.iter().map(|size| ("size", size.clone())));
    rows.extend(node.details.iter().map(|(key, value)| (key.as_str(), value.clone())));
    rows.push(("request", node.owner.request.to_string()));
    format!("{}\n{}", style.bold(&node.name), columns(&rows, "  "))
}

/// The node of that name or id.
fn pick<'n>(nodes: &'n [Node], wanted: &str) -> Result<&'n Node, Error> {
    let mut found = nodes.iter().filter(|node| node.name == wanted || node.id.as_str() == wanted);
    match (found.next(), found.next()) {
        (Some(node), None) => Ok(node),
        (Some(_), Some(_)) => {
            let message = format!("several applications have a node '{wanted}'");
            Err(Error::new(ErrorKind::InvalidConfig, message).hint("say which with --app"))
        }
        (None, _) => {
            let message = format!("there is no node '{wanted}'");
            Err(Error::new(ErrorKind::NotFound, message)
                .with("node", wanted)
                .hint("`flock node list` shows the nodes there are"))
        }
    }
}

/// Does something with nodes, all at once, and tells what became of each.
fn change(session: &Session, wanted: &NodeNames, change: &Change, sure: bool) -> Result<Exit> {
    let ctx = context(session);
    let client = backend::client(session, &ctx)?;
    let nodes = Arc::new(CloudStackProvisioner::new(client.clone()));
    let chosen = interrupt::run(&ctx, choose(&ctx, &nodes, wanted))?;
    if chosen.is_empty() {
        session.printer.note("there are no such nodes");
    } else {
        confirm(&question(&chosen), sure)?;
    }
    let outcomes = interrupt::run(&ctx, async {
        let outcomes = all(&ctx, &nodes, &chosen, change).await;
        if let Change::Destroy = change {
            forget(&client, &nodes, &outcomes).await?;
        }
        Ok(outcomes)
    })?;
    let failed = outcomes.iter().filter(|(_, result)| result.is_err()).count();
    session.printer.result(Changed { nodes: outcomes.iter().map(outcome).collect() }, || {
        let good = outcomes.iter().filter(|(_, result)| result.is_ok());
        let done = change.done();
        good.map(|(node, _)| format!("{} {done}\n", node.name)).collect()
    })?;
    if !session.printer.json {
        for (node, error) in
            outcomes.iter().filter_map(|(node, done)| Some((node, done.as_ref().err()?)))
        {
            session.printer.warning(&format!("{} failed:", node.name));
            crate::output::to_stderr(&error::text(error, session.printer.err));
        }
    }
    Ok(match failed {
        0 => Exit::Done,
        _ if ctx.is_cancelled() => Exit::Interrupted,
        _ => Exit::Failed,
    })
}

async fn choose(
    ctx: &Context,
    nodes: &CloudStackProvisioner,
    wanted: &NodeNames,
) -> Result<Vec<Node>, Error> {
    let filter = wanted.app.as_ref().map_or_else(ListFilter::all, ListFilter::app);
    let listed = nodes.list(ctx, &filter).await?;
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

/// The question before nodes are destroyed.
fn question(nodes: &[Node]) -> String {
    let names: Vec<_> = nodes.iter().map(|node| node.name.as_str()).collect();
    format!("Destroy {}?", names.join(", "))
}

type Done = (Node, Result<Option<Node>, Error>);

/// The client bounds how many requests are under way at once.
async fn all(
    ctx: &Context,
    nodes: &Arc<CloudStackProvisioner>,
    chosen: &[Node],
    change: &Change,
) -> Vec<Done> {
    let mut tasks = JoinSet::new();
    for (at, node) in chosen.iter().enumerate() {
        let (ctx, nodes, id) = (ctx.clone(), Arc::clone(nodes), node.id.clone());
        let change = change.clone();
        tasks.spawn(async move {
            let done = match change {
                Change::Start => nodes.start(&ctx, &id).await.map(Some),
                Change::Stop(options) => nodes.stop(&ctx, &id, &options).await.map(Some),
                Change::Reboot => nodes.reboot(&ctx, &id).await.map(Some),
                Change::Destroy => nodes.destroy(&ctx, &id).await.map(|()| None),
            };
            (at, done)
        });
    }
    let mut done: BTreeMap<usize, Result<Option<Node>, Error>> = BTreeMap::new();
    while let Some(ended) = tasks.join_next().await {
        if let Ok((at, result)) = ended {
            done.insert(at, result);
        }
    }
    let lost = || Err(Error::new(ErrorKind::Unexpected, "the work on the node panicked"));
    let outcomes = chosen.iter().enumerate();
    outcomes.map(|(at, node)| (node.clone(), done.remove(&at).unwrap_or_else(lost))).collect()
}

/// Gives the names of destroyed nodes back, and forgets deploys of which
/// nothing is left.
async fn forget(
    client: &Client,
    nodes: &CloudStackProvisioner,
    outcomes: &[Done],
) -> Result<(), Error> {
    let gone = outcomes.iter().filter(|(_, result)| result.is_ok()).map(|(node, _)| node);
    let mut by_app: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in gone {
        by_app.entry(&node.owner.app).or_default().push(&node.name);
    }
    // Also when the command was interrupted.
    let ctx = Context::new();
    let namespace = &client.config().namespace;
    let (_, deployments) = deployments(&ctx, client).await?;
    for (app, names) in by_app {
        deployments.release(&ctx, namespace, app, names).await?;
        let unfinished = deployments.unfinished(&ctx, namespace, app).await?;
        if unfinished.is_empty() {
            continue;
        }
        let left = nodes.list(&ctx, &ListFilter::app(app)).await?;
        let is_left = |name: &String| left.iter().any(|node| node.name == *name);
        for begun in unfinished.iter().filter(|begun| !begun.names.iter().any(is_left)) {
            deployments.end(&ctx, &begun.owner).await?;
            deployments.release(&ctx, namespace, app, &begun.names).await?;
        }
    }
    Ok(())
}

fn outcome((node, result): &Done) -> Outcome<'_> {
    Outcome {
        name: &node.name,
        app: &node.owner.app,
        id: node.id.as_str(),
        node: result.as_ref().ok().and_then(Option::as_ref),
        error: result.as_ref().err().map(Shown::from),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use flock_core::provisioner::NodeStatus;
    use flock_core::{ImageId, Owner, RequestId};

    use super::super::is_documented;
    use super::*;

    pub(in crate::commands) fn example() -> Node {
        let request: RequestId = "6e0f3c4a-93d1-5f0b-8a55-2f4f1d0c7b11".parse().unwrap();
        let owner = Owner::new("default", "site", request);
        let id = "f4b1a1c2-3d65-4f0b-9b2d-0c7d5e8a9f10";
        let mut node = Node::new(id, "site-1", owner, NodeStatus::Running);
        node.image = Some(ImageId::new("5ce8f0b1-a910-4631-a8de-1e332bf3a6b7"));
        node.size = Some("Small".to_owned());
        node.addresses = vec!["192.0.2.17".parse().unwrap()];
        let details = [
            ("created", "2026-11-21T08:43:05+0000"),
            ("host_name", "site-1"),
            ("hypervisor", "LXC"),
            ("state", "Running"),
            ("template", "site:v1.0"),
            ("zone", "paris"),
        ];
        node.details = details.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        node
    }

    /// The examples in the documentation are these documents.
    #[test]
    fn the_documents_are_documented() {
        let node = example();
        is_documented(Listed { nodes: std::slice::from_ref(&node) });
        is_documented(Showed { node: &node });
        let mut stopped = node.clone();
        stopped.status = NodeStatus::Stopped;
        stopped.details.insert("state".to_owned(), "Stopped".to_owned());
        let done: Done = (node, Ok(Some(stopped)));
        is_documented(Changed { nodes: vec![outcome(&done)] });
    }

    #[test]
    fn a_node_is_described() {
        insta::assert_snapshot!(describe(&example(), Style::plain()), @r"
        site-1
          status      running
          id          f4b1a1c2-3d65-4f0b-9b2d-0c7d5e8a9f10
          app         site
          address     192.0.2.17
          size        Small
          created     2026-11-21T08:43:05+0000
          host_name   site-1
          hypervisor  LXC
          state       Running
          template    site:v1.0
          zone        paris
          request     6e0f3c4a-93d1-5f0b-8a55-2f4f1d0c7b11
        ");
    }
}
