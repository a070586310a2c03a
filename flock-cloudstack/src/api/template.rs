//! Templates: what virtual machines are made from.

use std::collections::BTreeMap;

use flock_core::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lenient;
use crate::client::{Client, Parameters, read, reply};
use crate::error::not_protocol;

/// A template in one zone: CloudStack lists a template once for each zone that
/// has it, with the same id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Template {
    /// CloudStack's id.
    #[serde(deserialize_with = "lenient::text")]
    pub id: String,
    /// The name, which need not be unique.
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    /// What is said about it.
    #[serde(deserialize_with = "lenient::text", rename = "displaytext")]
    pub display_text: String,
    /// The zone that this is about.
    #[serde(deserialize_with = "lenient::some_text", rename = "zoneid")]
    pub zone_id: Option<String>,
    /// The zone's name.
    #[serde(deserialize_with = "lenient::some_text", rename = "zonename")]
    pub zone_name: Option<String>,
    /// How far it is there, in words: empty just after it was registered.
    #[serde(deserialize_with = "lenient::text")]
    pub status: String,
    /// Whether virtual machines can be made from it there.
    #[serde(deserialize_with = "lenient::truth", rename = "isready")]
    pub is_ready: bool,
    /// How far each copy in the zone's secondary storage is; versions before
    /// 4.11 do not tell.
    #[serde(deserialize_with = "lenient::list", rename = "downloaddetails")]
    pub download_details: Vec<DownloadDetail>,
    /// Its size in bytes, unpacked.
    #[serde(deserialize_with = "lenient::some_number")]
    pub size: Option<u64>,
    /// `VHD`, `QCOW2`, `TAR` and so on.
    #[serde(deserialize_with = "lenient::text")]
    pub format: String,
    /// The hypervisor that it is for.
    #[serde(deserialize_with = "lenient::text")]
    pub hypervisor: String,
    /// The kind of guest operating system.
    #[serde(deserialize_with = "lenient::text", rename = "ostypeid")]
    pub os_type_id: String,
    /// Its name.
    #[serde(deserialize_with = "lenient::text", rename = "ostypename")]
    pub os_type_name: String,
    /// When it was registered: `2021-10-04T08:41:23+0000`.
    #[serde(deserialize_with = "lenient::text")]
    pub created: String,
    /// Whether it may be downloaded.
    #[serde(deserialize_with = "lenient::truth", rename = "isextractable")]
    pub is_extractable: bool,
    /// Whether all accounts may use it.
    #[serde(deserialize_with = "lenient::truth", rename = "ispublic")]
    pub is_public: bool,
    /// Whether it has the script that sets passwords.
    #[serde(deserialize_with = "lenient::truth", rename = "passwordenabled")]
    pub password_enabled: bool,
    /// Its tags.
    #[serde(deserialize_with = "lenient::tags")]
    pub tags: BTreeMap<String, String>,
}

/// How far a copy of a template in secondary storage is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DownloadDetail {
    /// The store's name.
    #[serde(deserialize_with = "lenient::text")]
    pub datastore: String,
    /// Percent of it that are there.
    #[serde(deserialize_with = "lenient::some_number", rename = "downloadPercent")]
    pub percent: Option<u64>,
    /// `DOWNLOADED`, `DOWNLOAD_ERROR` and so on
    /// (`VMTemplateStorageResourceAssoc.Status` of CloudStack 4.22).
    #[serde(deserialize_with = "lenient::text", rename = "downloadState")]
    pub state: String,
}

/// Which templates a list shows, beside what its parameters say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TemplateFilter {
    /// Those that the operator shows to everybody.
    Featured,
    /// The account's own.
    Own,
    /// Of the account's own, those that are ready.
    OwnExecutable,
    /// Those that other accounts let this one use.
    Shared,
    /// All that virtual machines can be made from.
    Executable,
    /// The public ones of other accounts.
    Community,
    /// All of them; for root administrators.
    All,
}

impl TemplateFilter {
    fn as_str(self) -> &'static str {
        match self {
            Self::Featured => "featured",
            Self::Own => "self",
            Self::OwnExecutable => "selfexecutable",
            Self::Shared => "shared",
            Self::Executable => "executable",
            Self::Community => "community",
            Self::All => "all",
        }
    }
}

/// What is told of a new template.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewTemplate {
    /// The name.
    pub name: String,
    /// What is said about it.
    pub display_text: String,
    /// `VHD`, `QCOW2`, `RAW`, `TAR` and so on.
    pub format: String,
    /// The hypervisor that it is for.
    pub hypervisor: String,
    /// The id of its kind of guest operating system.
    pub os_type_id: String,
    /// What its bytes sum up to: `{SHA-256}` and digits, from 4.11 on.
    pub checksum: Option<String>,
    /// Any other parameter of `registerTemplate` that
    /// `getUploadParamsForTemplate` has too, such as `requireshvm`.
    pub more: Parameters,
}

impl NewTemplate {
    /// A template of that name, which is its display text too.
    pub fn new(
        name: impl Into<String>,
        format: impl Into<String>,
        hypervisor: impl Into<String>,
        os_type_id: impl Into<String>,
    ) -> Self {
        let name = name.into();
        Self {
            display_text: name.clone(),
            name,
            format: format.into(),
            hypervisor: hypervisor.into(),
            os_type_id: os_type_id.into(),
            checksum: None,
            more: Parameters::new(),
        }
    }

    /// Sets [`display_text`](Self::display_text).
    #[must_use]
    pub fn with_display_text(mut self, text: impl Into<String>) -> Self {
        self.display_text = text.into();
        self
    }

    /// Sets [`checksum`](Self::checksum).
    #[must_use]
    pub fn with_checksum(mut self, checksum: Option<String>) -> Self {
        self.checksum = checksum;
        self
    }

    /// Sets [`more`](Self::more).
    #[must_use]
    pub fn with_more(mut self, more: Parameters) -> Self {
        self.more = more;
        self
    }

    fn parameters(&self) -> Parameters {
        self.more
            .clone()
            .with("name", &self.name)
            .with("displaytext", &self.display_text)
            .with("format", &self.format)
            .with("hypervisor", &self.hypervisor)
            .with("ostypeid", &self.os_type_id)
            .with_some("checksum", self.checksum.as_deref())
    }
}

/// Where a template is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Zones {
    /// In the zones with these ids.
    Some(Vec<String>),
    /// In every zone, those to come too; for root administrators.
    All,
}

/// Where and how a template may be uploaded, once.
///
/// `Debug` does not show the signature: it is worth as much as a password
/// until it expires.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct UploadParams {
    /// The template, which is there from now on.
    #[serde(deserialize_with = "lenient::text")]
    pub id: String,
    /// Where to send it.
    #[serde(rename = "postURL", alias = "posturl")]
    pub post_url: String,
    /// What goes with it; opaque.
    pub metadata: String,
    /// Until when.
    #[serde(deserialize_with = "lenient::text")]
    pub expires: String,
    /// The signature of the others.
    pub signature: String,
}

impl std::fmt::Debug for UploadParams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UploadParams")
            .field("id", &self.id)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// The templates that `filter` and the parameters of `listTemplates` mean,
    /// once for each zone. Safe to cancel.
    ///
    /// # Errors
    /// Those of [`call`](Client::call).
    pub async fn templates(
        &self,
        ctx: &Context,
        filter: TemplateFilter,
        parameters: &Parameters,
    ) -> Result<Vec<Template>> {
        let asked = parameters.clone().with("templatefilter", filter.as_str());
        self.list(ctx, "listTemplates", &asked).await
    }

    /// Registers a template that CloudStack then fetches from `url`; answers
    /// before it is there. Not idempotent: a second call makes another one.
    ///
    /// # Errors
    /// Those of [`call`](Client::call).
    pub async fn register_template(
        &self,
        ctx: &Context,
        template: &NewTemplate,
        url: &str,
        zones: &Zones,
    ) -> Result<Vec<Template>> {
        const COMMAND: &str = "registerTemplate";
        let asked = template.parameters().with("url", url);
        let asked = match zones {
            // The plural is not in every version.
            Zones::Some(ids) if ids.len() == 1 => asked.with_list("zoneid", ids),
            Zones::Some(ids) => asked.with_list("zoneids", ids),
            Zones::All => asked.with("zoneid", "-1"),
        };
        let (items, _) = reply::items(self.call(ctx, COMMAND, &asked).await?);
        let made: Vec<Template> =
            items.into_iter().map(|item| read(COMMAND, item)).collect::<Result<_>>()?;
        match made.is_empty() {
            true => Err(not_protocol(COMMAND, "the reply names no template")),
            false => Ok(made),
        }
    }

    /// Registers a template that is then uploaded, in one zone, as the answer
    /// says. Not idempotent: a second call makes another one.
    ///
    /// # Errors
    /// Those of [`call`](Client::call).
    pub async fn template_upload_params(
        &self,
        ctx: &Context,
        template: &NewTemplate,
        zone: &str,
    ) -> Result<UploadParams> {
        let asked = template.parameters().with("zoneid", zone);
        self.call_as(ctx, "getUploadParamsForTemplate", &asked).await
    }

    /// Deletes a template from one zone, or from all; `forced` also if virtual
    /// machines were made from it. Waits for the job. Can be repeated.
    ///
    /// # Errors
    /// Those of [`run`](Client::run).
    pub async fn delete_template(
        &self,
        ctx: &Context,
        id: &str,
        zone: Option<&str>,
        forced: bool,
    ) -> Result<()> {
        let asked = Parameters::new()
            .with("id", id)
            .with_some("zoneid", zone)
            .with_some("forced", forced.then_some("true"));
        self.run(ctx, "deleteTemplate", &asked).await.map(drop)
    }

    /// Copies a template to other zones. Waits for the job.
    ///
    /// # Errors
    /// Those of [`run`](Client::run).
    pub async fn copy_template(
        &self,
        ctx: &Context,
        id: &str,
        source: Option<&str>,
        zones: &[String],
    ) -> Result<()> {
        let destination = if zones.len() == 1 { "destzoneid" } else { "destzoneids" };
        let asked = Parameters::new()
            .with("id", id)
            .with_some("sourcezoneid", source)
            .with_list(destination, zones);
        self.run(ctx, "copyTemplate", &asked).await.map(drop)
    }

    /// The address from which a template can be downloaded, for some hours.
    /// It wants no login. Waits for the job.
    ///
    /// # Errors
    /// Those of [`run`](Client::run).
    pub async fn extract_template(
        &self,
        ctx: &Context,
        id: &str,
        zone: Option<&str>,
    ) -> Result<String> {
        const COMMAND: &str = "extractTemplate";
        let asked = Parameters::new()
            .with("id", id)
            .with("mode", "HTTP_DOWNLOAD")
            .with_some("zoneid", zone);
        let result = reply::single(self.run(ctx, COMMAND, &asked).await?);
        let url = result.get("url").and_then(Value::as_str).filter(|url| !url.is_empty());
        url.map(str::to_owned).ok_or_else(|| not_protocol(COMMAND, "the result names no address"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_template_of_any_version_is_read() {
        let new: Template = serde_json::from_value(json!({
            "id": "5ce8f0b1", "name": "web:1", "isready": true, "size": 5_242_880,
            "zoneid": "z", "status": "Download Complete", "created": "2021-10-04T08:41:23+0000",
            "downloaddetails": [
                {"downloadState": "DOWNLOADED", "datastore": "secon", "downloadPercent": "100"},
            ],
            "tags": [{"key": "flock.app", "value": "web"}], "unknown": {},
        }))
        .unwrap();
        assert_eq!(new.download_details[0].percent, Some(100));
        assert_eq!(new.tags["flock.app"], "web");
        assert!(new.is_ready);
        let old: Template =
            serde_json::from_value(json!({"id": 7, "zoneid": 1, "isready": "true"})).unwrap();
        assert_eq!((old.id.as_str(), old.zone_id.as_deref(), old.size), ("7", Some("1"), None));
        assert!(old.is_ready && old.tags.is_empty());
    }

    #[test]
    fn an_uploads_signature_is_not_shown() {
        let params: UploadParams = serde_json::from_value(json!({
            "id": "1", "postURL": "https://h/upload/x?signature=hush", "metadata": "hush",
            "expires": "2026-01-01T00:00:00+0000", "signature": "hush",
        }))
        .unwrap();
        assert!(!format!("{params:?}").contains("hush"));
    }
}
