//! From the text of a `config.yaml` to an [`AppConfig`], with every problem
//! found on the way.

mod disk;
mod inject;

use std::str::FromStr;

use super::config::{
    AppConfig, ApplicationConfig, BaseFormat, BuildConfig, DeployConfig, RepositoryType,
    TemplateConfig, TemplateFormat,
};
use super::values::parse_size;
use crate::document::{Affects, Key, Node, Problem, Reader, Section, Value};
use crate::location::Location;
use crate::rootfs::compress::Format;
use crate::rootfs::exclude;

/// The keys of each section, by the section's name. `docs/configuration.md`
/// is tested against it.
#[cfg(test)]
pub(super) const SECTIONS: &[(&str, &[Key])] = &[
    ("", TOP),
    ("build", BUILD),
    ("build.compression", COMPRESSION),
    ("build.applications", APPLICATION),
    ("build.disk", disk::DISK),
    ("build.inject", inject::INJECT),
    ("build.inject.resolv_conf", inject::CONTENT),
    ("build.inject.files", inject::FILE),
    ("template", TEMPLATE),
    ("deploy", DEPLOY),
];

const TOP: &[Key] =
    &[Key::new("version"), Key::new("build"), Key::new("template"), Key::new("deploy")];

const BUILD: &[Key] = &[
    Key::new("tmpdir"),
    Key::new("base_format"),
    Key::filled_in("base_url", "base_operating_system_path_or_url"),
    Key::new("base_checksum"),
    Key::new("deploy_app"),
    Key::filled_in("application_repository", "application_repository_git_path_or_url"),
    Key::new("application_wwwroot"),
    Key::filled_in("repository_type", "TAR_or_GIT"),
    Key::new("application_reference"),
    Key::new("application_checksum"),
    Key::new("application_owner"),
    Key::new("strip_components"),
    Key::new("applications"),
    Key::new("compression"),
    Key::new("exclude"),
    Key::new("inject"),
    Key::new("disk"),
    Key::new("max_size"),
    Key::new("max_ratio"),
];

const COMPRESSION: &[Key] = &[Key::new("format"), Key::new("level")];

const APPLICATION: &[Key] = &[
    Key::new("repository"),
    Key::new("type"),
    Key::new("wwwroot"),
    Key::new("reference"),
    Key::new("checksum"),
    Key::new("owner"),
    Key::new("strip_components"),
];

const TEMPLATE: &[Key] = &[
    Key::filled_in("zoneid", "cloudstack_zone_id"),
    Key::filled_in("ostype", "cloudstack_os_type_string_name"),
    Key::filled_in("upload_url", "url_to_upload_to-must_have_put_option_enabled"),
    Key::filled_in("display_url", "url_that_cloudstack_sees"),
    Key::new("hypervisor"),
    Key::new("format"),
    Key::new("hvm"),
    Key::new("passwordenabled"),
    Key::new("isextractable"),
    Key::new("versionate"),
];

const DEPLOY: &[Key] = &[
    Key::filled_in("security_groups", "security_groups_separeted_by_comma"),
    Key::filled_in("zoneid", "cloudstack_zone_id"),
    Key::filled_in("instance_size", "instance_size_name"),
];

/// The configuration, or every problem that keeps the text from being one.
pub(super) fn parse(text: &str) -> Result<AppConfig, Vec<Problem>> {
    let mut reader = Reader::default();
    let config = reader.parse(text).map(|root| app(&mut reader, &root));
    let problems = reader.into_problems();
    match config {
        Some(mut config) if problems.iter().all(|found| found.affects != Affects::File) => {
            config.unfinished = problems;
            Ok(config)
        }
        _ => Err(problems),
    }
}

fn app(r: &mut Reader, root: &Node) -> AppConfig {
    let top = r.section(root, "", Affects::File, TOP);
    let version = r.parsed(&top, "version", |text| match text {
        "1" => Ok(1),
        other => Err(format!("'{other}' is not a version of this format; this flock knows 1")),
    });
    let absent = Node { at: top.at, value: Value::Null };
    let build = r.get(&top, "build").unwrap_or(&absent);
    let build = r.section(build, "build", Affects::Build, BUILD);
    let template = r.get(&top, "template").unwrap_or(&absent);
    let template = r.section(template, "template", Affects::Template, TEMPLATE);
    let deploy = r.get(&top, "deploy").unwrap_or(&absent);
    let deploy = r.section(deploy, "deploy", Affects::Deploy, DEPLOY);
    AppConfig {
        version: version.unwrap_or(1),
        build: read_build(r, &build),
        template: read_template(r, &template),
        deploy: read_deploy(r, &deploy),
        unfinished: Vec::new(),
    }
}

fn read_build(r: &mut Reader, s: &Section<'_>) -> BuildConfig {
    let base_format = r.parsed(s, "base_format", |text| {
        if text.eq_ignore_ascii_case("tar") {
            return Ok(BaseFormat::Tar);
        }
        Err(format!("'{text}' is not a format of a base; TAR is the only one"))
    });
    let base = r.parsed(s, "base_url", base_location);
    if base.is_none() {
        r.missing(s, "base_url", "name the base operating system: a path, a URL or oci://IMAGE");
    }
    let deploy_app = r.boolean(s, "deploy_app").unwrap_or(true);
    let applications = read_applications(r, s, deploy_app);
    BuildConfig {
        tmpdir: r.text(s, "tmpdir").map(Into::into),
        base_format: base_format.unwrap_or_default(),
        base,
        base_checksum: value(r, s, "base_checksum"),
        deploy_app,
        applications,
        compression: read_compression(r, s),
        exclude: read_exclude(r, s),
        inject: inject::read(r, s),
        disk: disk::read(r, s),
        max_size: r.parsed(s, "max_size", |text| parse_size(text).map_err(said)),
        max_ratio: r.parsed(s, "max_ratio", ratio),
    }
}

/// The application of the `application_…` keys, then those of the list.
fn read_applications(r: &mut Reader, s: &Section<'_>, deploy_app: bool) -> Vec<ApplicationConfig> {
    const SINGLE: [&str; 7] = [
        "application_repository",
        "repository_type",
        "application_wwwroot",
        "application_reference",
        "application_checksum",
        "application_owner",
        "strip_components",
    ];
    let mut applications = Vec::new();
    let listed = s.has("applications");
    if SINGLE.iter().any(|key| s.has(key)) || !listed {
        // Without applications to merge, its keys may stay as generated.
        let before = r.mark();
        let single = application(r, s, SINGLE);
        if !deploy_app {
            r.forget_unfinished(before);
        }
        applications.extend(single);
    }
    for item in r.list(s, "applications") {
        let affects = Affects::Build;
        let section = r.section(item, "build.applications", affects, APPLICATION);
        let keys =
            ["repository", "type", "wwwroot", "reference", "checksum", "owner", "strip_components"];
        applications.extend(application(r, &section, keys));
    }
    applications
}

fn application(r: &mut Reader, s: &Section<'_>, keys: [&str; 7]) -> Option<ApplicationConfig> {
    let [repository, kind, wwwroot, reference, checksum, owner, strip] = keys;
    let source = r.parsed(s, repository, |text| text.parse::<Location>().map_err(said));
    if source.is_none() {
        r.missing(
            s,
            repository,
            "name the application: a path or a URL of a tar or of a git repository",
        );
    }
    let repository_type = r.parsed(s, kind, repository_type);
    if repository_type.is_none() {
        r.missing(s, kind, "say TAR or GIT");
    }
    let target = r.parsed(s, wwwroot, directory);
    if target.is_none() {
        r.missing(s, wwwroot, "name the directory of the appliance that the application replaces");
    }
    let reference_text = r.text(s, reference);
    let checksum_value = value(r, s, checksum);
    let strip_components = r.parsed(s, strip, number).unwrap_or(0);
    let owner = value(r, s, owner);
    match (repository_type, &source) {
        (Some(RepositoryType::Git), Some(Location::Image(_))) => {
            r.problem(s.at(repository), &s.key(repository), "an OCI image is no git repository");
        }
        (Some(RepositoryType::Git), _) => {
            if checksum_value.is_some() {
                only_for(r, s, checksum, "a TAR; a commit as the reference pins a GIT repository");
            }
            if strip_components > 0 {
                only_for(r, s, strip, "a TAR");
            }
        }
        (Some(RepositoryType::Tar), source) => {
            if reference_text.is_some() {
                only_for(r, s, reference, "a GIT repository");
            }
            tar_source(r, s, repository, source.as_ref());
        }
        (None, _) => {}
    }
    Some(ApplicationConfig {
        repository: source?,
        kind: repository_type?,
        wwwroot: target?,
        reference: reference_text,
        strip_components,
        owner,
        checksum: checksum_value,
    })
}

fn only_for(r: &mut Reader, s: &Section<'_>, key: &str, what: &str) {
    let path = s.key(key);
    r.problem(s.at(key), &path, format!("{path} is only for {what}"));
}

fn tar_source(r: &mut Reader, s: &Section<'_>, key: &str, source: Option<&Location>) {
    let fits = match source {
        None | Some(Location::Path(_)) => true,
        Some(Location::Url(url)) => matches!(url.scheme(), "http" | "https"),
        Some(Location::Image(_) | Location::Ssh(_)) => false,
    };
    if !fits {
        let path = s.key(key);
        let message = format!("{path}: a TAR comes from a path or by http:// or https://");
        r.problem(s.at(key), &path, message);
    }
}

fn base_location(text: &str) -> Result<Location, String> {
    match text.parse::<Location>().map_err(said)? {
        Location::Url(url) if !matches!(url.scheme(), "http" | "https") => {
            Err(format!("a base cannot be fetched by {}://", url.scheme()))
        }
        Location::Ssh(_) => {
            Err("this is neither a path nor a URL; write ./ before a path with a colon".to_owned())
        }
        fine => Ok(fine),
    }
}

fn repository_type(text: &str) -> Result<RepositoryType, String> {
    match text.to_ascii_uppercase().as_str() {
        "TAR" => Ok(RepositoryType::Tar),
        "GIT" => Ok(RepositoryType::Git),
        _ => Err(format!("'{text}' is neither TAR nor GIT")),
    }
}

/// The path of a directory in the appliance, without the way out of it.
fn directory(text: &str) -> Result<String, String> {
    if text.split('/').any(|part| part == "..") {
        return Err(format!("'{text}' holds '..'"));
    }
    if text.split('/').all(|part| part.is_empty() || part == ".") {
        return Err(format!("'{text}' is the root, and would replace the whole base"));
    }
    no_nul(text)
}

fn no_nul(text: &str) -> Result<String, String> {
    if text.contains('\0') {
        return Err("a path cannot hold a NUL character".to_owned());
    }
    Ok(text.to_owned())
}

fn read_compression(r: &mut Reader, s: &Section<'_>) -> Option<Format> {
    let node = r.get(s, "compression")?;
    if !matches!(node.value, Value::Map(_)) {
        return value(r, s, "compression");
    }
    let map = r.section(node, "build.compression", Affects::Build, COMPRESSION);
    let level = r.parsed(&map, "level", |text| {
        text.parse::<u8>().map_err(|_| format!("'{text}' is not a level of compression"))
    });
    if !map.has("format") {
        let message = "build.compression.format is missing";
        r.problem_with_hint(map.at, "build.compression.format", message, "use none, gzip or zstd");
    }
    r.parsed(&map, "format", |text| match level {
        Some(level) => format!("{text}:{level}").parse().map_err(said),
        None => text.parse().map_err(said),
    })
}

fn read_exclude(r: &mut Reader, s: &Section<'_>) -> Vec<String> {
    let items = r.list(s, "exclude");
    let mut globs = Vec::new();
    for item in items {
        let Some(text) = r.scalar(item, "build.exclude") else { continue };
        match exclude::glob(text) {
            Ok(_) => globs.push(text.to_owned()),
            Err(error) => {
                let message = format!("build.exclude: {}", said(error));
                r.problem(item.at, "build.exclude", message);
            }
        }
    }
    globs
}

fn read_template(r: &mut Reader, s: &Section<'_>) -> TemplateConfig {
    TemplateConfig {
        zoneid: r.text(s, "zoneid"),
        ostype: r.text(s, "ostype"),
        upload_url: r.parsed(s, "upload_url", web_address),
        display_url: r.parsed(s, "display_url", web_address),
        hypervisor: r.text(s, "hypervisor"),
        format: r.parsed(s, "format", |text| match text.to_ascii_uppercase().as_str() {
            "TAR" => Ok(TemplateFormat::Tar),
            "VHD" => Ok(TemplateFormat::Vhd),
            "QCOW2" => Ok(TemplateFormat::Qcow2),
            "RAW" => Ok(TemplateFormat::Raw),
            _ => Err(format!("'{text}' is none of TAR, VHD, QCOW2 and RAW")),
        }),
        hvm: r.boolean(s, "hvm"),
        passwordenabled: r.boolean(s, "passwordenabled"),
        isextractable: r.boolean(s, "isextractable"),
        versionate: r.boolean(s, "versionate"),
    }
}

fn web_address(text: &str) -> Result<Location, String> {
    match text.parse::<Location>().map_err(said)? {
        Location::Url(url) if matches!(url.scheme(), "http" | "https") => Ok(Location::Url(url)),
        _ => Err("this must be an address with http:// or https://".to_owned()),
    }
}

fn read_deploy(r: &mut Reader, s: &Section<'_>) -> DeployConfig {
    let groups = r.texts(s, "security_groups");
    DeployConfig {
        security_groups: groups
            .iter()
            .flat_map(|text| text.split(','))
            .map(|group| group.trim().to_owned())
            .filter(|group| !group.is_empty())
            .collect(),
        zoneid: r.text(s, "zoneid"),
        instance_size: r.text(s, "instance_size"),
    }
}

/// The value of a key whose type knows its own text.
fn value<T: FromStr<Err = crate::Error>>(r: &mut Reader, s: &Section<'_>, name: &str) -> Option<T> {
    r.parsed(s, name, |text| text.parse().map_err(said))
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("'{text}' is not a whole number"))
}

fn ratio(text: &str) -> Result<u64, String> {
    let ratio = text.parse().ok().filter(|ratio| *ratio > 0);
    ratio.ok_or_else(|| format!("'{text}' is not a whole number above 0"))
}

/// An error's message with its advice, for a problem.
#[expect(clippy::needless_pass_by_value, reason = "so that it fits map_err")]
fn said(error: crate::Error) -> String {
    match error.hints().next() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}
