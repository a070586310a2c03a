//! What can be said of a template beside its name and its appliance.

use std::collections::BTreeMap;

use flock_core::app::TemplateConfig;
use flock_core::backend::check_options;
use flock_core::location::Location;
use flock_core::rootfs::checksum::Checksum;
use flock_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::method::{PutUpload, Upload};
use crate::error::BACKEND;

/// The zone that stands for all of them.
pub const ALL_ZONES: &str = "all";

/// The options of a template. Those of a builder hold where an
/// [`ImageSpec`](flock_core::image_builder::ImageSpec) has none of that name;
/// there they are JSON values by the names of the fields here.
///
/// ```
/// use flock_cloudstack::image_builder::{TemplateOptions, Upload};
/// use serde_json::json;
///
/// let options = [("upload".to_owned(), json!("direct")), ("zones".to_owned(), json!(["paris"]))];
/// let options = TemplateOptions::from_values(&options.into())?;
/// assert!(matches!(options.upload, Some(Upload::Direct(_))));
/// # Ok::<(), flock_core::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TemplateOptions {
    /// How the appliance gets to CloudStack. Default: [`Upload::Direct`].
    pub upload: Option<Upload>,
    /// The zones, by name or id; [`ALL_ZONES`] alone stands for every zone,
    /// those to come too, which only root administrators may ask for. Default:
    /// the only zone there is.
    #[serde(deserialize_with = "one_or_more")]
    pub zones: Option<Vec<String>>,
    /// The kind of guest operating system, by name or id: `Debian GNU/Linux 12
    /// (64-bit)`. Must be given.
    pub os_type: Option<String>,
    /// The hypervisor. Default: LXC for a tar, XenServer for a VHD, KVM for
    /// qcow2 and raw disks, if the zones have it; else the only one they have
    /// that takes the format.
    pub hypervisor: Option<String>,
    /// Whether it needs hardware virtualisation (`requireshvm`). Default:
    /// CloudStack's, true.
    pub requires_hvm: Option<bool>,
    /// Whether it has the script that sets passwords. Default: false.
    pub password_enabled: Option<bool>,
    /// Whether it has the script that sets SSH keys. Default: false.
    pub ssh_key_enabled: Option<bool>,
    /// Whether it may be downloaded. Default: false.
    pub extractable: Option<bool>,
    /// Whether all accounts may use it. Default: false.
    pub public: Option<bool>,
    /// Settings of the template that the hypervisor is told (`details`).
    pub details: BTreeMap<String, String>,
    /// Any further parameters of `registerTemplate`, by CloudStack's names:
    /// `arch`, `bits`, `projectid`. What the other options say goes before.
    pub parameters: BTreeMap<String, String>,
    /// What is said about it to people. Default: `NAME:VERSION`. flock writes
    /// the owner behind it.
    pub display_text: Option<String>,
    /// The checksum that CloudStack is to verify. Default:
    /// [`ChecksumChoice::Compute`].
    pub checksum: Option<ChecksumChoice>,
    /// Deletes a template of that name and version first, whoever asked for
    /// it, as long as flock has made it and no virtual machine needs it.
    /// Default: false.
    pub force: Option<bool>,
    /// Whether to wait until it is ready. Without that the answer may have the
    /// status [`Building`](flock_core::image_builder::ImageStatus::Building).
    /// Default: true.
    pub wait: Option<bool>,
}

/// Which checksum CloudStack is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChecksumChoice {
    /// The SHA-256 of the file: computed while it is sent, or beforehand where
    /// CloudStack wants it beforehand. As JSON: `sha256`.
    #[default]
    Compute,
    /// This one, which is not computed again. As JSON: `sha256:DIGITS`.
    Known(Checksum),
    /// None. As JSON: `none`.
    Omit,
}

impl TemplateOptions {
    /// The names of the options.
    pub const NAMES: [&str; 15] = [
        "upload",
        "zones",
        "os_type",
        "hypervisor",
        "requires_hvm",
        "password_enabled",
        "ssh_key_enabled",
        "extractable",
        "public",
        "details",
        "parameters",
        "display_text",
        "checksum",
        "force",
        "wait",
    ];

    /// No options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Options as an [`ImageSpec`](flock_core::image_builder::ImageSpec) has
    /// them.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for one that is not known, or whose value
    /// is not one.
    pub fn from_values(values: &BTreeMap<String, Value>) -> Result<Self> {
        check_options(values, &Self::NAMES).map_err(|error| error.in_backend(BACKEND))?;
        let object = values.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        serde_json::from_value(Value::Object(object)).map_err(|source| {
            Error::new(
                ErrorKind::InvalidConfig,
                format!("the template's options are wrong: {source}"),
            )
            .in_backend(BACKEND)
        })
    }

    /// What the section `template` of an application's `config.yaml` says.
    /// With an `upload_url` the appliance goes there, without one directly to
    /// CloudStack. The format of the appliance is not among the options: it is
    /// that of the file.
    #[must_use]
    pub fn from_config(config: &TemplateConfig) -> Self {
        let url = |location: &Option<Location>| match location {
            Some(Location::Url(url)) => Some(url.clone()),
            _ => None,
        };
        let upload = url(&config.upload_url).map(|upload_url| {
            let mut put = PutUpload::new(upload_url);
            put.display_url = url(&config.display_url);
            put.versioned = config.versionate.unwrap_or(false);
            Upload::Put(put)
        });
        Self {
            upload,
            zones: config.zoneid.clone().map(|zone| vec![zone]),
            os_type: config.ostype.clone(),
            hypervisor: config.hypervisor.clone(),
            requires_hvm: config.hvm,
            password_enabled: config.passwordenabled,
            extractable: config.isextractable,
            ..Self::default()
        }
    }

    /// These options, and where one is not given that of `defaults`.
    #[must_use]
    pub fn or(self, defaults: &Self) -> Self {
        let text = |own: Option<String>, other: &Option<String>| own.or_else(|| other.clone());
        let map = |own: BTreeMap<_, _>, other: &BTreeMap<String, String>| {
            let mut all = other.clone();
            all.extend(own);
            all
        };
        Self {
            upload: self.upload.or_else(|| defaults.upload.clone()),
            zones: self.zones.or_else(|| defaults.zones.clone()),
            os_type: text(self.os_type, &defaults.os_type),
            hypervisor: text(self.hypervisor, &defaults.hypervisor),
            requires_hvm: self.requires_hvm.or(defaults.requires_hvm),
            password_enabled: self.password_enabled.or(defaults.password_enabled),
            ssh_key_enabled: self.ssh_key_enabled.or(defaults.ssh_key_enabled),
            extractable: self.extractable.or(defaults.extractable),
            public: self.public.or(defaults.public),
            details: map(self.details, &defaults.details),
            parameters: map(self.parameters, &defaults.parameters),
            display_text: text(self.display_text, &defaults.display_text),
            checksum: self.checksum.or(defaults.checksum),
            force: self.force.or(defaults.force),
            wait: self.wait.or(defaults.wait),
        }
    }

    /// Sets [`upload`](Self::upload).
    #[must_use]
    pub fn with_upload(mut self, upload: Upload) -> Self {
        self.upload = Some(upload);
        self
    }

    /// Sets [`zones`](Self::zones).
    #[must_use]
    pub fn with_zones(mut self, zones: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.zones = Some(zones.into_iter().map(Into::into).collect());
        self
    }

    /// Sets [`os_type`](Self::os_type).
    #[must_use]
    pub fn with_os_type(mut self, os_type: impl Into<String>) -> Self {
        self.os_type = Some(os_type.into());
        self
    }

    /// Sets [`hypervisor`](Self::hypervisor).
    #[must_use]
    pub fn with_hypervisor(mut self, hypervisor: impl Into<String>) -> Self {
        self.hypervisor = Some(hypervisor.into());
        self
    }

    /// Sets [`requires_hvm`](Self::requires_hvm).
    #[must_use]
    pub fn with_requires_hvm(mut self, requires_hvm: bool) -> Self {
        self.requires_hvm = Some(requires_hvm);
        self
    }

    /// Sets [`password_enabled`](Self::password_enabled).
    #[must_use]
    pub fn with_password_enabled(mut self, password_enabled: bool) -> Self {
        self.password_enabled = Some(password_enabled);
        self
    }

    /// Sets [`ssh_key_enabled`](Self::ssh_key_enabled).
    #[must_use]
    pub fn with_ssh_key_enabled(mut self, ssh_key_enabled: bool) -> Self {
        self.ssh_key_enabled = Some(ssh_key_enabled);
        self
    }

    /// Sets [`extractable`](Self::extractable).
    #[must_use]
    pub fn with_extractable(mut self, extractable: bool) -> Self {
        self.extractable = Some(extractable);
        self
    }

    /// Sets [`public`](Self::public).
    #[must_use]
    pub fn with_public(mut self, public: bool) -> Self {
        self.public = Some(public);
        self
    }

    /// Adds one of the [`details`](Self::details).
    #[must_use]
    pub fn with_detail(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.details.insert(name.into(), value.into());
        self
    }

    /// Adds one of the [`parameters`](Self::parameters).
    #[must_use]
    pub fn with_parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.insert(name.into(), value.into());
        self
    }

    /// Sets [`display_text`](Self::display_text).
    #[must_use]
    pub fn with_display_text(mut self, display_text: impl Into<String>) -> Self {
        self.display_text = Some(display_text.into());
        self
    }

    /// Sets [`checksum`](Self::checksum).
    #[must_use]
    pub fn with_checksum(mut self, checksum: ChecksumChoice) -> Self {
        self.checksum = Some(checksum);
        self
    }

    /// Sets [`force`](Self::force).
    #[must_use]
    pub fn with_force(mut self, force: bool) -> Self {
        self.force = Some(force);
        self
    }

    /// Sets [`wait`](Self::wait).
    #[must_use]
    pub fn with_wait(mut self, wait: bool) -> Self {
        self.wait = Some(wait);
        self
    }
}

impl<'de> Deserialize<'de> for ChecksumChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "sha256" => Ok(Self::Compute),
            "none" => Ok(Self::Omit),
            text => text.parse().map(Self::Known).map_err(de::Error::custom),
        }
    }
}

/// A list of texts, or a single one.
fn one_or_more<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMore {
        One(String),
        More(Vec<String>),
    }
    Ok(Option::deserialize(deserializer)?.map(|given| match given {
        OneOrMore::One(one) => vec![one],
        OneOrMore::More(more) => more,
    }))
}

#[cfg(test)]
mod tests {
    use flock_core::app::AppConfig;
    use serde_json::json;
    use url::Url;

    use super::*;

    fn options(value: Value) -> Result<TemplateOptions> {
        let Value::Object(map) = value else { panic!("no object") };
        TemplateOptions::from_values(&map.into_iter().collect())
    }

    #[test]
    fn the_names_are_those_of_the_fields() {
        let values = TemplateOptions::NAMES.map(|name| {
            let value = match name {
                "upload" => json!("direct"),
                "zones" => json!("all"),
                "details" | "parameters" => json!({"a": "b"}),
                "checksum" => json!("none"),
                "os_type" | "hypervisor" | "display_text" => json!("x"),
                _ => json!(true),
            };
            (name.to_owned(), value)
        });
        let options = TemplateOptions::from_values(&values.into()).unwrap();
        assert_eq!(options.zones, Some(vec!["all".to_owned()]));
        assert_eq!(options.clone().or(&TemplateOptions::new()), options);
        assert_eq!(TemplateOptions::new().or(&options), options);
    }

    #[test]
    fn options_of_a_program_are_those_of_a_spec() {
        let made = TemplateOptions::new()
            .with_upload(Upload::Direct(super::super::DirectUpload::default()))
            .with_zones(["z"])
            .with_os_type("o")
            .with_hypervisor("h")
            .with_requires_hvm(true)
            .with_password_enabled(true)
            .with_ssh_key_enabled(false)
            .with_extractable(true)
            .with_public(false)
            .with_detail("a", "b")
            .with_parameter("c", "d")
            .with_display_text("t")
            .with_checksum(ChecksumChoice::Omit)
            .with_force(true)
            .with_wait(false);
        let read = options(json!({
            "upload": "direct", "zones": "z", "os_type": "o", "hypervisor": "h",
            "requires_hvm": true, "password_enabled": true, "ssh_key_enabled": false,
            "extractable": true, "public": false, "details": {"a": "b"},
            "parameters": {"c": "d"}, "display_text": "t", "checksum": "none", "force": true,
            "wait": false,
        }));
        assert_eq!(made, read.unwrap());
    }

    #[test]
    fn mistakes_are_refused() {
        for wrong in [json!({"os_typ": "x"}), json!({"force": "yes"}), json!({"checksum": "md5"})] {
            let error = options(wrong.clone()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{wrong}");
        }
    }

    #[test]
    fn a_configuration_of_flockr_becomes_options() {
        let config = "template:\n  zoneid: z\n  ostype: CentOS 7\n  upload_url: https://h/up\n  \
            display_url: http://d/up\n  hypervisor: LXC\n  format: tar\n  hvm: false\n  \
            isextractable: true\n  versionate: true\n";
        let config = AppConfig::parse(config, "config.yaml").unwrap();
        let options = TemplateOptions::from_config(&config.template);
        let Some(Upload::Put(put)) = &options.upload else { panic!("not put") };
        assert_eq!(put.display_url.as_ref().map(Url::as_str), Some("http://d/up"));
        assert!(put.versioned);
        assert_eq!((options.requires_hvm, options.extractable), (Some(false), Some(true)));
        let bare = AppConfig::parse("template:\n  zoneid: z\n", "config.yaml").unwrap();
        assert_eq!(TemplateOptions::from_config(&bare.template).upload, None);
    }
}
