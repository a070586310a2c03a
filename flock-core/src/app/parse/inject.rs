//! The section `build.inject`: files that are put into the appliance.

use super::{directory, value};
use crate::app::config::{InjectConfig, InjectedContent, InjectedFileConfig};
use crate::app::values::Ids;
use crate::document::{Affects, Key, Node, Reader, Section, Value};

pub(super) const INJECT: &[Key] = &[
    Key::new("hostname"),
    Key::new("resolv_conf"),
    Key::new("authorized_keys"),
    Key::new("files"),
];

pub(super) const CONTENT: &[Key] = &[Key::new("content"), Key::new("source")];

pub(super) const FILE: &[Key] = &[
    Key::new("path"),
    Key::new("content"),
    Key::new("source"),
    Key::new("mode"),
    Key::new("owner"),
];

pub(super) fn read(r: &mut Reader, s: &Section<'_>) -> InjectConfig {
    let Some(node) = r.get(s, "inject") else { return InjectConfig::default() };
    let s = r.section(node, "build.inject", Affects::Build, INJECT);
    let keys = r.texts(&s, "authorized_keys");
    InjectConfig {
        hostname: r.parsed(&s, "hostname", hostname),
        resolv_conf: read_resolv_conf(r, &s),
        authorized_keys: keys.into_iter().map(authorized_key).collect(),
        files: r.list(&s, "files").iter().filter_map(|item| injected_file(r, item)).collect(),
    }
}

/// A host name by RFC 1123, section 2.1, as long as Linux takes it.
fn hostname(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        let inner = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= 64 && text.split('.').all(label) {
        return Ok(text.to_owned());
    }
    Err(format!("'{text}' is not a host name: letters, digits and '-', up to 64 characters"))
}

/// A file's path, a list of name servers, or a map with the content.
fn read_resolv_conf(r: &mut Reader, s: &Section<'_>) -> Option<InjectedContent> {
    const PATH: &str = "build.inject.resolv_conf";
    let node = r.get(s, "resolv_conf")?;
    match &node.value {
        Value::Scalar(path) => Some(InjectedContent::File(path.into())),
        Value::Map(_) => {
            let map = r.section(node, PATH, Affects::Build, CONTENT);
            content(r, &map)
        }
        Value::Null => None,
        Value::List(items) => {
            let mut text = String::new();
            for item in items {
                let server = r.scalar(item, PATH)?;
                if server.parse::<std::net::IpAddr>().is_err() {
                    let message = format!("{PATH}: '{server}' is not the address of a name server");
                    r.problem(item.at, PATH, message);
                    continue;
                }
                text.push_str(&format!("nameserver {server}\n"));
            }
            Some(InjectedContent::Inline(text))
        }
    }
}

/// A key as it stands in an `authorized_keys` file, or the path of a file of
/// them.
fn authorized_key(text: String) -> InjectedContent {
    let key_type = text.split_once(' ').map(|(first, _)| first);
    let inline = |first: &str| ["ssh-", "ecdsa-", "sk-"].iter().any(|p| first.starts_with(p));
    if key_type.is_some_and(inline) {
        InjectedContent::Inline(text)
    } else {
        InjectedContent::File(text.into())
    }
}

fn injected_file(r: &mut Reader, item: &Node) -> Option<InjectedFileConfig> {
    let s = r.section(item, "build.inject.files", Affects::Build, FILE);
    let path = r.parsed(&s, "path", directory);
    if !s.has("path") {
        r.problem(s.at, &s.key("path"), "build.inject.files: a file without a path");
    }
    let content = content(r, &s);
    let mode = r.parsed(&s, "mode", mode).unwrap_or(0o644);
    let owner = value::<Ids>(r, &s, "owner").unwrap_or(Ids::ROOT);
    Some(InjectedFileConfig { path: path?, content: content?, mode, owner })
}

/// The one of `content` and `source` that is given.
fn content(r: &mut Reader, s: &Section<'_>) -> Option<InjectedContent> {
    let content = r.text(s, "content");
    let source = r.text(s, "source");
    match (content, source) {
        (Some(text), None) => Some(InjectedContent::Inline(text)),
        (None, Some(path)) => Some(InjectedContent::File(path.into())),
        (None, None) | (Some(_), Some(_)) => {
            let key = s.key("content");
            let hint = "content is the text itself, source the path of a file that holds it";
            let message = format!(
                "{} needs content or source, one of the two",
                key.trim_end_matches(".content")
            );
            r.problem_with_hint(s.at, &key, message, hint);
            None
        }
    }
}

/// Permission bits, in octal with or without a leading `0` or `0o`.
fn mode(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let octal = !digits.is_empty() && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if octal && mode <= 0o7777 => Ok(mode),
        _ => Err(format!("'{text}' is not a file mode in octal, such as 0644")),
    }
}
