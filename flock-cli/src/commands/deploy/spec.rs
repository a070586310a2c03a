//! What is to be deployed: from the command line, the application's
//! config.yaml, or an earlier deploy.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use flock_cloudstack::api::ServiceOffering;
use flock_cloudstack::{DeployOption, Parameters};
use flock_core::app::{App, DeployConfig};
use flock_core::provisioner::{DeploySpec, Resources};
use flock_core::{
    Context, Error, ErrorKind, ImageId, ListFilter, Owner, Provisioner as _, RequestId, Result,
};

use super::Tools;
use crate::cli::{Deploy, DeployHow};

/// The longest user data, in bytes. CloudStack takes 1 MiB at most, in Base64.
const MAX_USER_DATA: u64 = 512 << 10;

/// An application, as far as a deploy cares.
pub(super) struct Deployed {
    pub(super) name: String,
    config: DeployConfig,
}

/// The application of that name. One without a directory here is deployed by
/// what the command line says.
pub(super) fn app(name: &str) -> Result<Deployed> {
    match App::open(Path::new(""), name) {
        Ok(app) => Ok(Deployed { name: app.name, config: app.config.deploy }),
        Err(error) if error.kind() == ErrorKind::NotFound && !name.contains('/') => {
            Ok(Deployed { name: name.to_owned(), config: DeployConfig::default() })
        }
        Err(error) => Err(error),
    }
}

/// Whether the command says what to make nodes of.
pub(super) fn check(command: &Deploy) -> Result<()> {
    if command.resume || command.template.is_some() || command.template_version.is_some() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidConfig, "which template shall the nodes be made from?")
        .hint(format!("--template-version VERSION takes {}:VERSION", command.app))
        .hint("--template NAME takes any")
        .hint("--resume finishes a deploy that was interrupted"))
}

/// How to finish a deploy.
pub(super) fn resume(spec: &DeploySpec) -> String {
    let Owner { app, request, .. } = &spec.owner;
    let names = match spec.names.as_slice() {
        [first, .., last] => format!("{first} to {last}"),
        names => names.concat(),
    };
    format!("`flock deploy {app} --resume --request {request}` finishes {names}")
}

/// What is to be deployed. Names with numbers are given for good.
pub(super) async fn spec(
    ctx: &Context,
    tools: &Tools,
    app: &Deployed,
    command: &Deploy,
) -> Result<DeploySpec> {
    if command.resume {
        return unfinished(ctx, tools, &app.name, command.request).await;
    }
    let image = image(ctx, tools, &app.name, command).await?;
    let request = command.request.unwrap_or_else(RequestId::random);
    let owner = Owner::new(&tools.namespace, &app.name, request);
    let user_data = user_data(&command.how)?;
    let size = command.how.size.clone().or_else(|| app.config.instance_size.clone());
    check_size(ctx, tools, size.as_deref(), &command.how).await?;
    let names = if command.names.is_empty() {
        let taken = taken(ctx, tools, &app.name).await?;
        tools.deployments.reserve(ctx, &owner, command.nodes, taken).await?
    } else {
        command.names.clone()
    };
    let mut spec = DeploySpec::new(owner, image, names);
    spec.size = size;
    spec.networks.clone_from(&command.how.networks);
    spec.user_data = user_data;
    spec.resources = resources(&command.how);
    Ok(options(spec, &app.config, &command.how))
}

/// The names that nodes of the application cannot have: those of its nodes,
/// and of machines that flock did not make.
async fn taken(ctx: &Context, tools: &Tools, app: &str) -> Result<Vec<String>> {
    let nodes = tools.nodes.list(ctx, &ListFilter::app(app)).await?;
    let alike = Parameters::new().with("keyword", app);
    let machines = tools.client.machines(ctx, &alike).await?;
    let nodes = nodes.into_iter().map(|node| node.name);
    Ok(nodes.chain(machines.into_iter().map(|machine| machine.name)).collect())
}

async fn image(ctx: &Context, tools: &Tools, app: &str, command: &Deploy) -> Result<ImageId> {
    let name = match (&command.template, &command.template_version) {
        (Some(template), _) if is_id(template) => return Ok(ImageId::new(template)),
        (Some(template), _) => template.clone(),
        (None, version) => format!("{app}:{}", version.as_deref().unwrap_or_default()),
    };
    let found = tools.nodes.find_image(ctx, &name).await;
    found.map_err(|error| match error.kind() {
        ErrorKind::NotFound => error.hint("`flock template list` shows the templates there are"),
        _ => error,
    })
}

/// Whether a text is a UUID, by which CloudStack names templates.
fn is_id(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// Refuses to choose processors or memory where the size has its own.
async fn check_size(
    ctx: &Context,
    tools: &Tools,
    size: Option<&str>,
    how: &DeployHow,
) -> Result<()> {
    let (Some(size), true) = (size, how.node_cpus.or(how.node_memory.map(|_| 0)).is_some()) else {
        return Ok(());
    };
    let offerings = tools.client.service_offerings(ctx).await?;
    let is_it = |one: &&ServiceOffering| one.name == size || one.id == size;
    let Some(fixed) = offerings.iter().find(is_it).filter(|one| !one.is_customized) else {
        return Ok(());
    };
    let number = |of: Option<u64>| of.map_or_else(|| "?".to_owned(), |number| number.to_string());
    let message = format!(
        "nodes of the size '{}' have {} processors and {} MiB of memory",
        fixed.name,
        number(fixed.cpu_number),
        number(fixed.memory),
    );
    Err(Error::new(ErrorKind::InvalidConfig, message)
        .hint("leave out --node-cpus and --node-memory, or take another --size"))
}

fn user_data(how: &DeployHow) -> Result<Option<String>> {
    let Some(path) = &how.user_data else { return Ok(None) };
    let failed = |source| Error::io("read", path, source);
    let refused = |message: String, hint: &str| {
        let error = Error::new(ErrorKind::InvalidConfig, message);
        Err(error.with("path", path.display().to_string()).hint(hint))
    };
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return refused(format!("{} is no file", path.display()), "user data has to be in one");
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(MAX_USER_DATA + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_USER_DATA {
        let message = format!("{} is longer than 512 KiB", path.display());
        return refused(message, "have it fetch the rest itself");
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(_) => refused(
            format!("{} is no text in UTF-8", path.display()),
            "user data is handed over as text: a script, or cloud-init's YAML",
        ),
    }
}

fn resources(how: &DeployHow) -> Resources {
    let mut resources = Resources::default();
    resources.cpus = how.node_cpus;
    resources.memory = how.node_memory;
    resources.disk = how.root_disk_size;
    resources
}

fn options(mut spec: DeploySpec, config: &DeployConfig, how: &DeployHow) -> DeploySpec {
    let groups = match how.security_groups.as_slice() {
        // Who names networks has no use for the groups of other zones.
        [] if how.networks.is_empty() => &config.security_groups,
        [] => &Vec::new(),
        _ => &how.security_groups,
    };
    if let Some(zone) = how.zone.as_ref().or(config.zoneid.as_ref()) {
        spec = spec.with_option(DeployOption::ZONE, zone.as_str());
    }
    if !groups.is_empty() {
        spec = spec.with_option(DeployOption::SECURITY_GROUPS, groups.clone());
    }
    if !how.affinity_groups.is_empty() {
        spec = spec.with_option(DeployOption::AFFINITY_GROUPS, how.affinity_groups.clone());
    }
    if let Some(keypair) = &how.keypair {
        spec = spec.with_option(DeployOption::KEY_PAIR, keypair.as_str());
    }
    if how.no_start {
        spec = spec.with_option(DeployOption::START, false);
    }
    if how.wait_for_address {
        spec = spec.with_option(DeployOption::WAIT_FOR_ADDRESS, true);
    }
    spec
}

/// The deploy of the application that is not finished.
async fn unfinished(
    ctx: &Context,
    tools: &Tools,
    app: &str,
    request: Option<RequestId>,
) -> Result<DeploySpec> {
    let mut begun = tools.deployments.unfinished(ctx, &tools.namespace, app).await?;
    if let Some(request) = request {
        begun.retain(|spec| spec.owner.request == request);
    }
    if begun.len() > 1 {
        let requests = begun.iter().map(resume);
        let message = format!("several deploys of '{app}' are not finished");
        let error = Error::new(ErrorKind::InvalidConfig, message);
        return Err(requests.fold(error, Error::hint));
    }
    begun.pop().ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("no deploy of '{app}' is unfinished"))
            .with("app", app)
            .hint("it is known where it was begun, to the user who began it")
    })
}
