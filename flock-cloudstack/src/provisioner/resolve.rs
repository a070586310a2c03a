//! Turning the names of a spec into what CloudStack is told: looked up once
//! for all nodes of a deploy.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flock_core::provisioner::{DeploySpec, Resources};
use flock_core::{Context, Error, ErrorKind, ImageId, Result};

use super::options::Options;
use crate::api::{ServiceOffering, Template, TemplateFilter, Zone};
use crate::client::{Client, Parameters};
use crate::config::Method;
use crate::error::BACKEND;
use crate::naming::{Named, find};

/// The most user data in Base64 that a request may carry: in a body, and in
/// an address (CloudStack 4.22, `userdata` of `deployVirtualMachine`).
const MAX_USER_DATA: usize = 1 << 20;
const MAX_USER_DATA_BY_GET: usize = 4096;

/// How many names are shown to choose from.
const NAMED: usize = 5;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// What all nodes of a deploy have in common.
#[derive(Debug)]
pub(super) struct Plan {
    /// The parameters of `deployVirtualMachine` but those of the single node.
    pub(super) parameters: Parameters,
    /// The service offering's name.
    pub(super) size: String,
    /// Whether CloudStack makes a password for each node.
    pub(super) password_enabled: bool,
    pub(super) start: bool,
    pub(super) wait_for_address: bool,
}

/// Looks everything up that the spec names, all at once.
///
/// # Errors
/// [`ErrorKind::NotFound`] for a name that is not there, with the nearest;
/// [`ErrorKind::InvalidConfig`] for one that is not unique, and for what does
/// not fit together; [`ErrorKind::Conflict`] for a template that is not ready.
pub(super) async fn resolve(
    client: &Client,
    ctx: &Context,
    spec: &DeploySpec,
    options: &Options,
) -> Result<Plan> {
    let user_data = user_data(client, spec)?;
    let (zone, templates, offering, groups, affinity, key_pair) = tokio::try_join!(
        zone(client, ctx, options.zone.as_deref()),
        templates(client, ctx, &spec.image),
        offering(client, ctx, spec.size.as_deref()),
        security_groups(client, ctx, options),
        affinity_groups(client, ctx, options),
        key_pair(client, ctx, options),
    )?;
    let template = in_zone(templates, &spec.image, &zone)?;
    let networks = networks(client, ctx, &zone, &spec.networks).await?;
    if !groups.is_empty() && !zone.security_groups_enabled {
        let message = format!("the zone '{}' has no security groups", zone.name);
        return Err(invalid(message).hint("name networks instead, or another zone"));
    }
    let sized = sized(&offering, &spec.resources, options)?;
    let disk = root_disk(&spec.resources, options, &template)?;
    let parameters = Parameters::new()
        .with("zoneid", &zone.id)
        .with("templateid", &template.id)
        .with("serviceofferingid", &offering.id)
        .with_list("networkids", networks)
        .with_list("securitygroupids", groups)
        .with_list("affinitygroupids", affinity)
        .with_some("keypair", key_pair)
        .with_some("hypervisor", options.hypervisor.as_deref())
        .with_some("userdata", user_data)
        .with_some("rootdisksize", disk.map(|gib| gib.to_string()))
        .with_some("startvm", (!options.start).then_some("false"))
        .with_map("details", sized);
    Ok(Plan {
        parameters,
        size: offering.name,
        password_enabled: template.password_enabled,
        start: options.start,
        wait_for_address: options.wait_for_address,
    })
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidConfig, message).in_backend(BACKEND)
}

/// The user data in Base64, as CloudStack wants it.
fn user_data(client: &Client, spec: &DeploySpec) -> Result<Option<String>> {
    let Some(data) = &spec.user_data else { return Ok(None) };
    let encoded = STANDARD.encode(data);
    let (most, how) = match client.config().method {
        Method::GetOnly => (MAX_USER_DATA_BY_GET, "by GET"),
        Method::Post => (MAX_USER_DATA, "at most"),
    };
    if encoded.len() <= most {
        return Ok(Some(encoded));
    }
    let (has, most) = (data.len(), most / 4 * 3);
    Err(invalid(format!("the user data has {has} bytes, CloudStack takes {most} {how}"))
        .hint("let it fetch the rest when the node starts"))
}

/// The zone of that name or id, or the only one.
async fn zone(client: &Client, ctx: &Context, wanted: Option<&str>) -> Result<Zone> {
    let zones = client.zones(ctx).await?;
    match wanted {
        Some(wanted) => find(zones, wanted),
        None => only(zones, "zone"),
    }
}

async fn offering(client: &Client, ctx: &Context, wanted: Option<&str>) -> Result<ServiceOffering> {
    let offerings = client.service_offerings(ctx).await?;
    match wanted {
        Some(wanted) => find(offerings, wanted),
        None => only(offerings, "size"),
    }
}

/// The only one there is, where none was named. `what` is the option's name.
fn only<T: Named>(mut things: Vec<T>, what: &str) -> Result<T> {
    if things.len() > 1 {
        let names = things.iter().take(NAMED).map(|thing| format!("'{}'", thing.name()));
        let names = names.collect::<Vec<_>>().join(", ");
        let more = if things.len() > NAMED { " and more" } else { "" };
        return Err(invalid(format!("no {what} is given, and there are several"))
            .hint(format!("there are {names}{more}")));
    }
    things.pop().ok_or_else(|| invalid(format!("the account sees no {}", T::WHAT)))
}

/// Which templates are looked through: all that can be deployed, those of
/// others too; and, for what is not ready yet, the account's own.
const FILTERS: [TemplateFilter; 2] = [TemplateFilter::Executable, TemplateFilter::Own];

/// The template in each zone that has it.
async fn templates(client: &Client, ctx: &Context, image: &ImageId) -> Result<Vec<Template>> {
    let asked = Parameters::new().with("id", image.as_str());
    for filter in FILTERS {
        let found = match client.templates(ctx, filter, &asked).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            found => found?,
        };
        let found: Vec<_> = found.into_iter().filter(|one| one.id == image.as_str()).collect();
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Err(Error::new(ErrorKind::NotFound, format!("there is no template '{image}'"))
        .in_backend(BACKEND)
        .with("image", image.as_str()))
}

/// The template of exactly this name.
///
/// # Errors
/// [`ErrorKind::NotFound`], with the nearest names; [`ErrorKind::InvalidConfig`]
/// if several have it.
pub(super) async fn template(client: &Client, ctx: &Context, name: &str) -> Result<ImageId> {
    let named = Parameters::new().with("name", name);
    let app = name.split_once(':').map_or(name, |(app, _)| app);
    // Of those alike only the nearest names are of interest.
    let alike = Parameters::new().with("keyword", app);
    let mut templates = Vec::new();
    for asked in [named, alike] {
        for filter in FILTERS {
            templates.extend(client.templates(ctx, filter, &asked).await?);
            if templates.iter().any(|template: &Template| template.name == name) {
                return find(unique(templates), name).map(|found| ImageId::new(found.id));
            }
        }
    }
    if templates.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, format!("there is no template '{name}'"))
            .in_backend(BACKEND)
            .with("image", name)
            .hint(format!("the account sees none with '{app}' in its name")));
    }
    find(unique(templates), name).map(|found| ImageId::new(found.id))
}

/// Each template once; CloudStack lists it for each of its zones.
fn unique(mut templates: Vec<Template>) -> Vec<Template> {
    let mut seen = std::collections::HashSet::new();
    templates.retain(|template| seen.insert(template.id.clone()));
    templates
}

impl Named for Template {
    const WHAT: &'static str = "template";

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// The template as it is in the zone, if nodes can be made of it.
fn in_zone(templates: Vec<Template>, image: &ImageId, zone: &Zone) -> Result<Template> {
    let here = |template: &Template| template.zone_id.as_ref().is_none_or(|id| *id == zone.id);
    let Some(template) = templates.into_iter().find(here) else {
        let message = format!("the template '{image}' is not in the zone '{}'", zone.name);
        return Err(Error::new(ErrorKind::NotFound, message)
            .in_backend(BACKEND)
            .with("image", image.as_str())
            .hint("copy it there, or name a zone that has it"));
    };
    if template.is_ready {
        return Ok(template);
    }
    let status = if template.status.is_empty() { "just registered" } else { &template.status };
    let message = format!("the template '{}' is not ready: {status}", template.name);
    Err(Error::new(ErrorKind::Conflict, message)
        .in_backend(BACKEND)
        .with("image", image.as_str())
        .hint("wait until it is"))
}

async fn networks(
    client: &Client,
    ctx: &Context,
    zone: &Zone,
    wanted: &[String],
) -> Result<Vec<String>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    ids(&client.networks(ctx, &zone.id).await?, wanted)
}

async fn security_groups(client: &Client, ctx: &Context, options: &Options) -> Result<Vec<String>> {
    if options.security_groups.is_empty() {
        return Ok(Vec::new());
    }
    ids(&client.security_groups(ctx).await?, &options.security_groups)
}

async fn affinity_groups(client: &Client, ctx: &Context, options: &Options) -> Result<Vec<String>> {
    if options.affinity_groups.is_empty() {
        return Ok(Vec::new());
    }
    ids(&client.affinity_groups(ctx).await?, &options.affinity_groups)
}

async fn key_pair(client: &Client, ctx: &Context, options: &Options) -> Result<Option<String>> {
    let Some(wanted) = &options.key_pair else { return Ok(None) };
    find(client.key_pairs(ctx).await?, wanted).map(|pair| Some(pair.name))
}

/// The ids of those that are wanted by name or id, each once.
fn ids<T: Named + Clone>(things: &[T], wanted: &[String]) -> Result<Vec<String>> {
    let mut ids = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        let id = find(things.to_vec(), wanted)?.id().to_owned();
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// What has to be said of a size: nothing of a fixed one, processors and
/// memory of one that leaves them open.
fn sized(
    offering: &ServiceOffering,
    wanted: &Resources,
    options: &Options,
) -> Result<Vec<(&'static str, String)>> {
    if wanted.cpu_shares.is_some() {
        let message = "CloudStack's sizes say how processors are shared: no cpu_shares";
        return Err(Error::new(ErrorKind::Unsupported, message).in_backend(BACKEND));
    }
    let cpus = wanted.cpus.map(u64::from);
    let memory = wanted.memory.map(|bytes| bytes.div_ceil(MIB));
    if !offering.is_customized {
        let bounds =
            [(offering.cpu_number, cpus, "processors"), (offering.memory, memory, "MiB of memory")];
        return match bounds.into_iter().find(|(has, most, _)| has > most && most.is_some()) {
            None => Ok(Vec::new()),
            Some((has, most, what)) => {
                let (has, most) = (has.unwrap_or_default(), most.unwrap_or_default());
                let name = &offering.name;
                Err(invalid(format!("the size '{name}' has {has} {what}, more than {most}"))
                    .hint("name another size, or one that leaves them open"))
            }
        };
    }
    let (Some(cpus), Some(memory)) = (cpus, memory) else {
        let name = &offering.name;
        return Err(invalid(format!("the size '{name}' leaves processors and memory open"))
            .hint("say how many processors and how much memory the nodes get"));
    };
    let speed = options.cpu_speed.map(|speed| ("cpuSpeed", speed.to_string()));
    let details = [("cpuNumber", cpus.to_string()), ("memory", memory.to_string())];
    Ok(details.into_iter().chain(speed).collect())
}

/// The size of the root disk in GiB, where it is not the template's.
fn root_disk(wanted: &Resources, options: &Options, template: &Template) -> Result<Option<u64>> {
    let bytes = match (wanted.disk, options.root_disk_size) {
        (Some(disk), Some(size)) if disk != size => {
            return Err(invalid("two sizes are given for the root disk"));
        }
        (disk, size) => disk.or(size),
    };
    let Some(bytes) = bytes else { return Ok(None) };
    if template.hypervisor.eq_ignore_ascii_case("LXC") {
        // A deploy that says so fails: apache/cloudstack issue 8109.
        return Err(invalid("LXC nodes have no root disk of a size of their own")
            .hint("leave the size of the root disk away"));
    }
    Ok(Some(bytes.div_ceil(GIB)))
}
