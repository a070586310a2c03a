//! A deploy: everything looked up once, then the nodes side by side.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flock_core::progress::{Level, Unit};
use flock_core::provisioner::{DeploySpec, Deployment, NodeOutcome};
use flock_core::{Context, Error, ErrorKind, NodeId, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::CloudStackProvisioner;
use super::journal::{Intent, Journal, Writer};
use super::make::Making;
use super::names::NodeName;
use super::options::Options;
use super::resolve::{Plan, resolve};
use super::survey::{FEW, Found, survey};
use super::tagger::Tagger;
use super::watch::{Watch, is_unknown};
use crate::error::BACKEND;

/// How long machines are gathered for one request that tags them, in looks.
const GATHERED_LOOKS: u32 = 4;
/// How long after the end of its context a deploy may go on, to tag what it
/// has made.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// The longest text that CloudStack takes as a name or a tag.
const MAX_TEXT: usize = 255;

/// What the nodes of one deploy share.
pub(super) struct Run {
    pub(super) provisioner: CloudStackProvisioner,
    pub(super) spec: DeploySpec,
    pub(super) plan: Plan,
    pub(super) watch: Arc<Watch>,
    pub(super) tagger: Tagger,
    pub(super) journal: Journal,
    /// Whether an earlier run may have left machines that do not show yet.
    pub(super) is_rerun: bool,
    /// The ids of machines, by node.
    ids: Mutex<HashMap<String, String>>,
    password_is_told: AtomicBool,
}

impl Run {
    /// Remembers the machine of a node.
    pub(super) fn note_id(&self, node: &NodeName, id: &str) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.insert(node.as_str().to_owned(), id.to_owned());
    }

    fn id(&self, node: &str) -> Option<NodeId> {
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.get(node).map(NodeId::new)
    }

    /// Says, once, that there are passwords which nobody asked for.
    pub(super) fn tell_of_passwords(&self, ctx: &Context) {
        if !self.password_is_told.swap(true, Ordering::Relaxed) {
            let text = "CloudStack made a password for each node, which nobody asked for; \
                        resetPasswordForVirtualMachine makes a new one";
            ctx.message(Level::Info, text);
        }
    }
}

/// Deploys the nodes of a spec.
///
/// # Errors
/// As [`Provisioner::deploy`](flock_core::Provisioner::deploy).
pub(super) async fn deploy(
    provisioner: &CloudStackProvisioner,
    ctx: &Context,
    spec: &DeploySpec,
) -> Result<Deployment> {
    let options = check(provisioner, spec)?;
    ctx.check()?;
    let nodes: Vec<_> = spec.names.iter().map(|name| NodeName::new(&spec.owner, name)).collect();
    let _turn = provisioner.under_way.enter(ctx, &nodes).await?;
    let client = &provisioner.client;
    let (journal, writer) = Journal::open(provisioner.state.clone(), &spec.owner)?;
    let (plan, found, intents) = tokio::try_join!(
        resolve(client, ctx, spec, &options),
        survey(client, ctx, &spec.owner, &nodes),
        writer.read(ctx, &spec.owner),
    )?;
    let is_rerun = is_rerun(provisioner, ctx, spec, &nodes, &found).await?;
    let watch = Arc::new(Watch::new(client.clone(), provisioner.polling));
    let gathering = provisioner.polling.shortest * GATHERED_LOOKS;
    let tagger = Tagger::new(client.clone(), spec.owner.clone(), Arc::clone(&watch), gathering);
    let run = Arc::new(Run {
        provisioner: provisioner.clone(),
        spec: spec.clone(),
        plan,
        watch,
        tagger,
        journal,
        is_rerun,
        ids: Mutex::default(),
        password_is_told: AtomicBool::new(false),
    });
    let tasks = nodes.into_iter().zip(found).collect();
    let outcomes = tokio::select! {
        outcomes = all(&run, ctx, tasks, intents) => outcomes,
        never = helpers(&run, ctx, writer) => match never {},
    };
    if ctx.check().is_err() {
        // So that what was made is listed.
        run.tagger.send(&Context::new().with_timeout(LAST_WORDS)).await;
    }
    Ok(Deployment::new(outcomes))
}

/// Checks what can be checked without CloudStack.
fn check(provisioner: &CloudStackProvisioner, spec: &DeploySpec) -> Result<Options> {
    spec.validate(&super::capabilities())?;
    spec.owner.require_namespace(provisioner.namespace())?;
    let options = Options::read(&spec.options)?;
    let texts = spec.names.iter().chain([&spec.owner.app, &spec.owner.namespace]);
    for text in texts {
        if text.is_empty() || text.len() > MAX_TEXT || text.chars().any(char::is_control) {
            let message = format!("'{}' cannot be a name in CloudStack", text.escape_debug());
            return Err(Error::new(ErrorKind::InvalidConfig, message)
                .in_backend(BACKEND)
                .hint(format!("a name has up to {MAX_TEXT} bytes and no control characters")));
        }
    }
    Ok(options)
}

/// Whether an earlier run of the same request may have begun machines that no
/// list shows yet. Where intents are kept, they tell.
async fn is_rerun(
    provisioner: &CloudStackProvisioner,
    ctx: &Context,
    spec: &DeploySpec,
    nodes: &[NodeName],
    found: &[Found],
) -> Result<bool> {
    if found.iter().any(|found| !found.is_nothing()) {
        return Ok(true);
    }
    let Some(first) = nodes.first().filter(|_| provisioner.state.is_none()) else {
        return Ok(false);
    };
    if nodes.len() <= FEW {
        // Each looks for its job then: no more than this look.
        return Ok(true);
    }
    match provisioner.client.job(ctx, &first.job(&spec.owner, 0)).await {
        Ok(_) => Ok(true),
        Err(error) if is_unknown(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What works for all nodes while they are made.
async fn helpers(run: &Run, ctx: &Context, writer: Writer) -> Infallible {
    // They end with the context, and leave it to the nodes to say so.
    tokio::join!(run.watch.run(ctx), run.tagger.run(ctx), writer.run(ctx));
    std::future::pending().await
}

/// Makes all nodes, as many at once as may be; the outcomes are in the order
/// of the nodes.
async fn all(
    run: &Arc<Run>,
    ctx: &Context,
    nodes: Vec<(NodeName, Found)>,
    mut intents: HashMap<String, Intent>,
) -> Vec<NodeOutcome> {
    let total = u64::try_from(nodes.len()).ok();
    let progress = ctx.task(format!("deploy {}", run.spec.owner.app), Unit::Items, total);
    let slots = Arc::new(Semaphore::new(run.provisioner.max_concurrency.get()));
    let mut outcomes: Vec<Option<NodeOutcome>> = nodes.iter().map(|_| None).collect();
    let mut tasks = JoinSet::new();
    for (at, (node, found)) in nodes.into_iter().enumerate() {
        let Ok(slot) = slot(ctx, &slots).await else { break };
        let intent = intents.remove(node.as_str());
        let (run, ctx) = (Arc::clone(run), ctx.clone());
        tasks.spawn(async move { (at, one(run, ctx, node, found, intent, slot).await) });
        while let Some(Ok((at, outcome))) = tasks.try_join_next() {
            progress.advance(1);
            keep(&mut outcomes, at, outcome);
        }
    }
    while let Some(ended) = tasks.join_next().await {
        if let Ok((at, outcome)) = ended {
            progress.advance(1);
            keep(&mut outcomes, at, outcome);
        }
    }
    let named = outcomes.into_iter().zip(&run.spec.names);
    let outcomes: Vec<_> = named
        .map(|(outcome, name)| outcome.unwrap_or_else(|| unfinished(run, ctx, name)))
        .collect();
    if outcomes.iter().all(|outcome| outcome.result.is_ok()) {
        progress.done();
    }
    outcomes
}

async fn slot(ctx: &Context, slots: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit> {
    let closed = |_| Error::new(ErrorKind::Unexpected, "the deploy is over").in_backend(BACKEND);
    ctx.run(async { Arc::clone(slots).acquire_owned().await.map_err(closed) }).await
}

fn keep(outcomes: &mut [Option<NodeOutcome>], at: usize, outcome: NodeOutcome) {
    if let Some(place) = outcomes.get_mut(at) {
        *place = Some(outcome);
    }
}

/// The outcome of a node that has none: its turn had not come.
fn unfinished(run: &Run, ctx: &Context, name: &str) -> NodeOutcome {
    let panicked = || Error::new(ErrorKind::Unexpected, "the deploy of the node panicked");
    let error = ctx.check().err().unwrap_or_else(panicked).in_backend(BACKEND).with("node", name);
    NodeOutcome::failed(name, run.id(name), error.during("node.create"))
}

/// Makes one node.
async fn one(
    run: Arc<Run>,
    ctx: Context,
    node: NodeName,
    found: Found,
    intent: Option<Intent>,
    slot: OwnedSemaphorePermit,
) -> NodeOutcome {
    let name = node.as_str().to_owned();
    let making = Making::new(Arc::clone(&run), ctx.clone(), node, intent);
    let error = match making.make(found, slot).await {
        Ok(node) => return NodeOutcome::ready(node),
        Err(error) => error,
    };
    let error = match ctx.check() {
        Ok(()) => error,
        Err(ended) if ended.kind() == error.kind() => error,
        Err(ended) => ended.caused_by(error),
    };
    let id = run.id(&name);
    let mut error = error.in_backend(BACKEND).during("node.create").with("node", &name);
    if let Some(id) = &id {
        error = error.with("id", id.as_str());
    }
    NodeOutcome::failed(name, id, error)
}
