//! What will be done: a spec and its options, checked and resolved before
//! anything has an effect.

use std::collections::BTreeMap;

use flock_core::image_builder::{ApplianceFormat, ImageSource, ImageSpec};
use flock_core::rootfs::decompress::Compression;
use flock_core::{Context, Error, ErrorKind, Owner, RequestId, Result};

use super::appliance::Appliance;
use super::options::{ALL_ZONES, ChecksumChoice, TemplateOptions};
use super::{DirectUpload, Upload, group, hypervisor, mark};
use crate::api::{Hypervisor, NewTemplate, OsType, Zone, Zones};
use crate::client::{Client, Parameters};
use crate::error::BACKEND;
use crate::{blocking, health, naming};

/// The longest display text, in UTF-16 units as Java counts.
const LONGEST_TEXT: usize = 4096;

/// What will be done.
#[derive(Debug)]
pub(super) struct Plan {
    /// `NAME:VERSION`.
    pub(super) name: String,
    /// The image's name alone, and its version.
    pub(super) image: (String, String),
    pub(super) owner: Owner,
    /// The display text, without the owner behind it.
    text: String,
    /// What CloudStack is told, but for the checksum.
    pub(super) template: NewTemplate,
    pub(super) zones: Zones,
    /// The file, unless it is somewhere already.
    pub(super) appliance: Option<Appliance>,
    pub(super) upload: Upload,
    pub(super) checksum: ChecksumChoice,
    pub(super) force: bool,
    pub(super) wait: bool,
}

impl Plan {
    /// Checks the spec, looks at the file, and finds what the options name.
    pub(super) async fn make(
        ctx: &Context,
        client: &Client,
        spec: &ImageSpec,
        options: TemplateOptions,
    ) -> Result<Self> {
        let name = group::full_name(&spec.name, &spec.version)?;
        check_owner(&spec.owner)?;
        let upload = options.upload.clone().unwrap_or(Upload::Direct(DirectUpload::default()));
        let wait = options.wait.unwrap_or(true);
        if !wait && matches!(upload, Upload::Serve(_)) {
            let message = "an appliance that flock serves has to be waited for";
            return Err(refuse(message).hint("upload it otherwise, or wait"));
        }
        let ImageSource::Appliance { path, format } = &spec.source else {
            let message = "templates are made from appliances only";
            return Err(Error::new(ErrorKind::Unsupported, message).in_backend(BACKEND));
        };
        let format = *format;
        let appliance = match &upload {
            Upload::Url(given) => {
                check_extension(given.url.path(), format)?;
                None
            }
            _ => {
                let path = path.clone();
                Some(blocking::run(ctx, move |ctx| Appliance::open(&path, format, ctx)).await?)
            }
        };
        let found = Found::look_up(ctx, client, &options, &upload).await?;
        found.check_version(appliance.as_ref())?;
        let hypervisor =
            hypervisor::choose(options.hypervisor.as_deref(), format, &found.hypervisors)?;
        let text = options.display_text.as_deref().unwrap_or(&name).to_owned();
        let format = format.to_string().to_uppercase();
        let checksum = found.checksum(options.checksum.unwrap_or_default());
        let template = NewTemplate::new(&name, format, hypervisor, &found.os_type.id)
            .with_display_text(display_text(&text, &spec.owner)?)
            .with_more(parameters(&options));
        Ok(Self {
            name,
            image: (spec.name.clone(), spec.version.clone()),
            owner: spec.owner.clone(),
            text,
            template,
            zones: found.zones,
            appliance,
            upload,
            checksum,
            force: options.force.unwrap_or(false),
            wait,
        })
    }

    /// Puts it under another request.
    pub(super) fn set_request(&mut self, request: RequestId) -> Result<()> {
        self.owner.request = request;
        self.template.display_text = display_text(&self.text, &self.owner)?;
        Ok(())
    }

    /// The zones that were named; `None` for all of them.
    pub(super) fn asked(&self) -> Option<&[String]> {
        match &self.zones {
            Zones::Some(ids) => Some(ids),
            Zones::All => None,
        }
    }

    /// What the file is called where it is uploaded or served.
    pub(super) fn file_name(&self, appliance: &Appliance, versioned: bool) -> String {
        let (name, version) = &self.image;
        let extension = appliance.extension();
        match versioned {
            true => format!("{name}-{version}.{extension}"),
            false => format!("{name}.{extension}"),
        }
    }
}

/// What CloudStack has of what the options name.
struct Found {
    zones: Zones,
    hypervisors: Vec<Hypervisor>,
    os_type: OsType,
    /// CloudStack's version, where it is told: 4.22 is `(4, 22)`.
    version: Option<(u32, u32)>,
}

impl Found {
    async fn look_up(
        ctx: &Context,
        client: &Client,
        options: &TemplateOptions,
        upload: &Upload,
    ) -> Result<Self> {
        let (zones, os_types, version) =
            tokio::try_join!(client.zones(ctx), client.os_types(ctx), version(ctx, client),)?;
        let Some(os_type) = &options.os_type else {
            return Err(refuse("the template's OS type is not given").hint(
                "give its name as CloudStack has it (os_type, `template.ostype`), such as 'Debian \
                 GNU/Linux 12 (64-bit)'",
            ));
        };
        let os_type = naming::find(os_types, os_type)?;
        let all: Vec<_> = zones.iter().map(|zone| zone.id.clone()).collect();
        let zones = match (chosen(&zones, options.zones.as_deref())?, upload) {
            // It goes to one zone, and is copied to the others.
            (Zones::All, Upload::Direct(_)) => Zones::Some(all),
            (zones, _) => zones,
        };
        let hypervisors = offered(ctx, client, &zones).await?;
        Ok(Self { zones, hypervisors, os_type, version })
    }

    /// Fails for what this version of CloudStack cannot unpack.
    fn check_version(&self, appliance: Option<&Appliance>) -> Result<()> {
        let is_xz = appliance.is_some_and(|one| one.compression == Compression::Xz);
        if is_xz && self.version.is_some_and(|version| version < (4, 22)) {
            let message = "CloudStack before 4.22 does not unpack xz";
            return Err(Error::new(ErrorKind::Unsupported, message)
                .in_backend(BACKEND)
                .hint("build the appliance with `--compression gzip`, or with none"));
        }
        Ok(())
    }

    /// Before 4.11 every checksum was taken for one by MD5.
    fn checksum(&self, asked: ChecksumChoice) -> ChecksumChoice {
        match self.version {
            Some(version) if version < (4, 11) => ChecksumChoice::Omit,
            _ => asked,
        }
    }
}

/// CloudStack's version; `None` where it is not told, or not understood.
async fn version(ctx: &Context, client: &Client) -> Result<Option<(u32, u32)>> {
    let health = health::check(client, ctx).await?;
    let text = health.endpoints.first().and_then(|endpoint| endpoint.version.as_deref());
    let mut numbers = text.unwrap_or_default().split('.').map(str::parse);
    Ok(match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Some((major, minor)),
        _ => None,
    })
}

/// The zones that are meant, by name or id.
fn chosen(there: &[Zone], asked: Option<&[String]>) -> Result<Zones> {
    match (asked.unwrap_or_default(), there) {
        ([], [only]) => Ok(Zones::Some(vec![only.id.clone()])),
        ([], _) => {
            let names: Vec<_> = there.iter().map(|zone| zone.name.as_str()).collect();
            let hint = match names.is_empty() {
                true => "the account sees no zone at all".to_owned(),
                false => format!("there are {}", names.join(", ")),
            };
            Err(refuse("the template's zone is not given").hint(hint))
        }
        ([all], _) if all == ALL_ZONES && !there.iter().any(|zone| zone.name == *all) => {
            Ok(Zones::All)
        }
        (names, _) => {
            let mut ids = Vec::new();
            for name in names {
                let id = naming::find(there.to_vec(), name)?.id;
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
            Ok(Zones::Some(ids))
        }
    }
}

/// The hypervisors that each of the zones has; of all zones, those of any.
async fn offered(ctx: &Context, client: &Client, zones: &Zones) -> Result<Vec<Hypervisor>> {
    let Zones::Some(ids) = zones else { return client.hypervisors(ctx, None).await };
    let mut common: Option<Vec<Hypervisor>> = None;
    for id in ids {
        let here = client.hypervisors(ctx, Some(id)).await?;
        common = Some(match common {
            Some(common) => common.into_iter().filter(|one| here.contains(one)).collect(),
            None => here,
        });
    }
    Ok(common.unwrap_or_default())
}

/// Fails for an address whose path does not end as CloudStack wants it.
fn check_extension(path: &str, format: ApplianceFormat) -> Result<()> {
    let path = path.to_ascii_lowercase();
    let bare = [".zip", ".bz2", ".gz", ".xz"].iter().find_map(|end| path.strip_suffix(end));
    let bare = bare.unwrap_or(&path);
    let extensions: &[&str] = match format {
        ApplianceFormat::Tar => &[".tar"],
        ApplianceFormat::Vhd => &[".vhd"],
        ApplianceFormat::Qcow2 => &[".qcow2", ".img"],
        _ => &[".raw", ".img"],
    };
    if extensions.iter().any(|extension| bare.ends_with(extension)) {
        return Ok(());
    }
    let message =
        format!("CloudStack does not take that address for an appliance of format {format}");
    Err(refuse(message).hint(format!(
        "its path has to end in {}, with .gz, .bz2 or .zip behind it if it is compressed",
        extensions.join(" or ")
    )))
}

/// CloudStack takes no tag without a value, and none longer than this.
fn check_owner(owner: &Owner) -> Result<()> {
    const LONGEST: usize = 255;

    for (name, value) in owner.to_pairs() {
        if value.is_empty() || value.encode_utf16().count() > LONGEST {
            let message =
                format!("the owner's {name} is empty, or longer than {LONGEST} characters");
            return Err(refuse(message));
        }
    }
    Ok(())
}

fn display_text(text: &str, owner: &Owner) -> Result<String> {
    let marked = mark::write(text, owner);
    if marked.chars().any(char::is_control) {
        return Err(refuse("the display text holds control characters"));
    }
    if marked.encode_utf16().count() > LONGEST_TEXT {
        return Err(refuse("the display text is longer than CloudStack stores"));
    }
    Ok(marked)
}

/// What is told of a template beside the essentials. What has no option of
/// its own goes first, so that an option counts more.
fn parameters(options: &TemplateOptions) -> Parameters {
    let truth = |value: Option<bool>| value.map(|value| value.to_string());
    let more: BTreeMap<_, _> = options.parameters.clone();
    more.into_iter()
        .collect::<Parameters>()
        .with_map("details", &options.details)
        .with_some("requireshvm", truth(options.requires_hvm))
        .with_some("passwordenabled", truth(options.password_enabled))
        .with_some("sshkeyenabled", truth(options.ssh_key_enabled))
        .with_some("isextractable", truth(options.extractable))
        .with("ispublic", options.public.unwrap_or(false).to_string())
}

fn refuse(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidConfig, message).in_backend(BACKEND)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn zones(names: &[&str]) -> Vec<Zone> {
        let zone =
            |name: &&str| serde_json::from_value(json!({"id": format!("id-{name}"), "name": name}));
        names.iter().map(|name| zone(name).unwrap()).collect()
    }

    fn ids(there: &[&str], asked: &[&str]) -> Option<Vec<String>> {
        let asked: Vec<_> = asked.iter().map(|&name| name.to_owned()).collect();
        match chosen(&zones(there), Some(&asked)) {
            Ok(Zones::Some(ids)) => Some(ids),
            Ok(Zones::All) => Some(vec!["*".to_owned()]),
            Err(_) => None,
        }
    }

    #[test]
    fn zones_are_found_by_name_or_id() {
        assert_eq!(ids(&["a"], &[]), Some(vec!["id-a".to_owned()]));
        assert_eq!(ids(&["a", "b"], &[]), None);
        assert_eq!(ids(&["a", "b"], &["b", "id-a", "b"]).unwrap(), ["id-b", "id-a"]);
        assert_eq!(ids(&["a", "b"], &["all"]).unwrap(), ["*"]);
        assert_eq!(ids(&["a", "all"], &["all"]).unwrap(), ["id-all"]);
        assert_eq!(ids(&["a"], &["c"]), None);
    }

    #[test]
    fn an_address_ends_in_its_format() {
        for (path, format, good) in [
            ("/x/web.tar", ApplianceFormat::Tar, true),
            ("/x/web.TAR.gz", ApplianceFormat::Tar, true),
            ("/x/web.tgz", ApplianceFormat::Tar, false),
            ("/x/web.vhd.bz2", ApplianceFormat::Vhd, true),
            ("/x/web.img", ApplianceFormat::Qcow2, true),
            ("/x/web.img", ApplianceFormat::Vhd, false),
            ("/x/web.zst", ApplianceFormat::Raw, false),
        ] {
            assert_eq!(check_extension(path, format).is_ok(), good, "{path}");
        }
    }

    #[test]
    fn a_display_text_has_its_bounds() {
        let owner = Owner::new("default", "web", RequestId::random());
        assert!(display_text("The shop", &owner).is_ok());
        assert!(display_text("a\u{7}b", &owner).is_err());
        assert!(display_text(&"x".repeat(4096), &owner).is_err());
    }

    #[test]
    fn options_go_before_parameters() {
        let mut options = TemplateOptions::new();
        options.parameters =
            [("ispublic".into(), "true".into()), ("arch".into(), "x".into())].into();
        options.details = [("k".into(), "v".into())].into();
        let parameters = parameters(&options);
        assert_eq!(parameters.get("ispublic"), Some("false"));
        assert_eq!(parameters.get("arch"), Some("x"));
        assert_eq!(parameters.get("details[0].k"), Some("v"));
        assert_eq!(parameters.get("requireshvm"), None);
    }
}
