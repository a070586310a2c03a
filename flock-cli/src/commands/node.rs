//! `flock node`.

mod change;

use std::collections::BTreeSet;
use std::time::Duration;

use flock_cloudstack::{Client, CloudStackProvisioner};
use flock_core::deployments::Deployments;
use flock_core::provisioner::{Node, StopOptions};
use flock_core::{Context, Error, ErrorKind, ListFilter, Provisioner as _};
use serde::Serialize;

use self::change::Change;
use super::Session;
use super::deploy::{app_name, deployments};
use crate::cli;
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
struct Shown<'a> {
    node: &'a Node,
}

pub(crate) fn run(session: &Session, command: &cli::Node) -> Result<Exit> {
    match command {
        cli::Node::List { app, .. } => list(session, app.as_deref()),
        cli::Node::Show { name, app, .. } => show(session, name, app.as_deref()),
        cli::Node::Start(nodes) => change::run(session, nodes, &Change::Start),
        cli::Node::Stop { nodes, grace } => {
            let options = StopOptions::default().with_grace(*grace);
            change::run(session, nodes, &Change::Stop(options))
        }
        cli::Node::Reboot(nodes) => change::run(session, nodes, &Change::Reboot),
        cli::Node::Destroy { nodes, no_expunge, yes } => {
            change::run(session, nodes, &Change::Destroy { expunge: !no_expunge, sure: *yes })
        }
    }
}

/// What every command works with.
#[derive(Clone)]
struct Work {
    ctx: Context,
    client: Client,
    nodes: CloudStackProvisioner,
    deployments: Option<Deployments>,
}

impl Work {
    fn new(session: &Session, timeout: Option<Duration>) -> Result<Self> {
        let reporter = progress::reporter(session.settings.progress.value, session.printer);
        let ctx = Context::new().with_progress(reporter);
        let client = backend::client_within(session, &ctx, timeout)?;
        let nodes = CloudStackProvisioner::new(client.clone());
        Ok(Self { ctx, client, nodes, deployments: None })
    }

    /// Uses the state store, which knows of what a killed deploy left.
    async fn with_state(mut self) -> Result<Self, Error> {
        let (store, deployments) = deployments(&self.ctx, &self.client).await?;
        self.nodes = self.nodes.with_state(store);
        self.deployments = Some(deployments);
        Ok(self)
    }

    /// The same for those who only look: without it there may be more.
    async fn with_any_state(self, session: &Session) -> Self {
        match self.clone().with_state().await {
            Ok(work) => work,
            Err(error) => {
                let text = "what deploys that were killed left may be missing";
                session.printer.warning(&format!("{error}; {text}"));
                self
            }
        }
    }

    /// The nodes of an application, or all, by their names: `web-2` before
    /// `web-10`. Says what there is instead if there are none.
    async fn list(&self, session: &Session, app: Option<&str>) -> Result<Vec<Node>, Error> {
        let filter = app.map_or_else(ListFilter::all, ListFilter::app);
        let mut listed = self.nodes.list(&self.ctx, &filter).await?;
        listed.sort_by_cached_key(|node| (node.owner.app.clone(), by_number(&node.name)));
        if let Some(app) = app.filter(|_| listed.is_empty()) {
            let all = self.nodes.list(&self.ctx, &ListFilter::all()).await?;
            let apps: BTreeSet<_> = all.iter().map(|node| node.owner.app.as_str()).collect();
            let apps: Vec<_> = apps.into_iter().collect();
            let others = match apps.as_slice() {
                [] => String::new(),
                apps => format!("; there are some of {}", apps.join(", ")),
            };
            session.printer.note(&format!("no nodes of '{app}'{others}"));
        }
        Ok(listed)
    }
}

/// A name cut before the number that it ends in.
fn by_number(name: &str) -> (String, u64) {
    let text = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (text.to_owned(), name[text.len()..].parse().unwrap_or_default())
}

/// What a list shows of a node: name, size, addresses, template, state.
pub(crate) fn row(node: &Node) -> Vec<String> {
    let addresses = node.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let template = node.details.get("template").cloned().unwrap_or_default();
    let size = node.size.clone().unwrap_or_default();
    vec![node.name.clone(), size, addresses, template, node.status.to_string()]
}

fn list(session: &Session, app: Option<&str>) -> Result<Exit> {
    let app = app.map(app_name).transpose()?;
    let work = Work::new(session, None)?;
    let listed = interrupt::run(&work.ctx.clone(), async {
        work.with_any_state(session).await.list(session, app.as_deref()).await
    })?;
    if listed.is_empty() && app.is_none() {
        session.printer.note("no nodes; `flock deploy APP` makes some");
    }
    let rows = || {
        let whose = |node: &Node| app.is_none().then(|| node.owner.app.clone());
        table(listed.iter().map(|node| row(node).into_iter().chain(whose(node)).collect()))
    };
    session.printer.result(Listed { nodes: &listed }, rows)?;
    Ok(Exit::Done)
}

fn show(session: &Session, name: &str, app: Option<&str>) -> Result<Exit> {
    let app = app.map(app_name).transpose()?;
    let work = Work::new(session, None)?;
    let node = interrupt::run(&work.ctx.clone(), async {
        let listed = work.with_any_state(session).await.list(session, app.as_deref()).await?;
        pick(&listed, name).cloned()
    })?;
    session.printer.result(Shown { node: &node }, || describe(&node, session.printer.out))?;
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
            let message = format!("several nodes are called '{wanted}'");
            Err(Error::new(ErrorKind::InvalidConfig, message)
                .hint("say whose with --app, or give the id that `flock node list --json` shows"))
        }
        (None, _) => {
            let message = format!("there is no node '{wanted}'");
            Err(Error::new(ErrorKind::NotFound, message)
                .with("node", wanted)
                .hint("`flock node list` shows the nodes there are"))
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use flock_core::provisioner::NodeStatus;
    use flock_core::{ImageId, Owner, RequestId};

    use super::super::is_documented;
    use super::change::{Changed, Done, outcome};
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
        is_documented(Shown { node: &node });
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
