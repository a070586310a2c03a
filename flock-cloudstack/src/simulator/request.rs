//! The parameters of one API request: from the query and the body to values.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::error::ApiError;
use super::faults::Parameters;

/// One API request as it came.
#[derive(Debug, Default)]
pub(super) struct Request {
    /// Whether it came by POST.
    pub(super) is_post: bool,
    /// Names as sent and decoded values; of a name given twice the last value.
    sent: BTreeMap<String, String>,
    /// A name stands in the address and in the body: no signature fits both.
    is_ambiguous: bool,
    /// Plain parameters by their name in lower case.
    plain: HashMap<String, String>,
    /// `name[index].field=value`, by the name in lower case.
    maps: HashMap<String, BTreeMap<u32, BTreeMap<String, String>>>,
}

impl Request {
    /// Takes the parameters out of a query and a form.
    pub(super) fn parse(is_post: bool, query: &[u8], form: &[u8]) -> Self {
        let mut request = Self { is_post, ..Self::default() };
        let mut in_query: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(query) {
            in_query.insert(name.into_owned(), value.into_owned());
        }
        for (name, value) in url::form_urlencoded::parse(form) {
            request.is_ambiguous |= in_query.contains_key(&*name);
            request.sent.insert(name.into_owned(), value.into_owned());
        }
        request.sent.append(&mut in_query);
        request.sort();
        request
    }

    fn sort(&mut self) {
        for (name, value) in &self.sent {
            match indexed(name) {
                Some((name, index, field)) => {
                    let entries = self.maps.entry(name.to_ascii_lowercase()).or_default();
                    entries.entry(index).or_default().insert(field.to_owned(), value.clone());
                }
                None => {
                    self.plain.insert(name.to_ascii_lowercase(), value.clone());
                }
            }
        }
    }

    /// Names as sent with their values, in the byte order of the names.
    pub(super) fn sent(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sent.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether a parameter was given twice, in two places.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.is_ambiguous
    }

    /// A parameter whose name must be written just so.
    pub(super) fn exact(&self, name: &str) -> Option<&str> {
        self.sent.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A plain parameter; an empty value is as none.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.plain.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A boolean, as Java reads it: what is not `true` is false.
    pub(super) fn boolean(&self, name: &str) -> Option<bool> {
        self.text(name).map(|value| value.eq_ignore_ascii_case("true"))
    }

    /// A number; `None` also for what is none, which the check of the
    /// parameters refuses.
    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        self.text(name).and_then(|value| value.trim().parse().ok())
    }

    /// An id; `None` also for what is none, as [`Request::integer`].
    pub(super) fn id(&self, name: &str) -> Option<Uuid> {
        self.text(name).and_then(|value| Uuid::parse_str(value).ok())
    }

    /// The parts of a list with commas.
    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        let parts = self.text(name).into_iter().flat_map(|value| value.split(','));
        parts.map(str::trim).filter(|part| !part.is_empty()).collect()
    }

    /// The ids in a list with commas.
    pub(super) fn ids(&self, name: &str) -> Vec<Uuid> {
        self.list(name).into_iter().filter_map(|part| Uuid::parse_str(part).ok()).collect()
    }

    /// The entries of `name[0].field`, in the order of the indexes.
    pub(super) fn map(&self, name: &str) -> impl Iterator<Item = &BTreeMap<String, String>> {
        self.maps.get(name).into_iter().flat_map(BTreeMap::values)
    }

    /// All fields of all entries together, for `details[0].cpuNumber=2`.
    pub(super) fn fields(&self, name: &str) -> BTreeMap<String, String> {
        self.map(name).flat_map(BTreeMap::clone).collect()
    }

    /// Key and value of every entry, for `tags[0].key=a&tags[0].value=b`.
    pub(super) fn pairs(&self, name: &str) -> Vec<(String, Option<String>)> {
        let pair = |entry: &BTreeMap<String, String>| {
            entry.get("key").map(|key| (key.clone(), entry.get("value").cloned()))
        };
        self.map(name).filter_map(pair).collect()
    }

    /// Refuses control characters other than line feed and carriage return.
    pub(super) fn check_characters(&self) -> Result<(), ApiError> {
        let is_bad = |byte: u8| byte.is_ascii_control() && byte != b'\n' && byte != b'\r';
        match self.sent().find(|(_, value)| value.bytes().any(is_bad)) {
            None => Ok(()),
            Some((name, value)) => Err(ApiError::parameter(format!(
                "Received value {value} for parameter {name} is invalid, contains illegal ASCII \
                 non-printable characters"
            ))),
        }
    }
}

impl Parameters for Request {
    fn get(&self, name: &str) -> Option<&str> {
        self.text(name)
    }
}

/// Takes `name[index].field` apart.
fn indexed(name: &str) -> Option<(&str, u32, &str)> {
    let (name, rest) = name.split_once('[')?;
    let (index, field) = rest.split_once(']')?;
    Some((name, index.parse().ok()?, field.strip_prefix('.')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_come_from_query_and_body() {
        let request = Request::parse(true, b"command=listZones&a=1&a=2", b"Name=x+y&empty=");
        assert_eq!(request.exact("command"), Some("listZones"));
        assert_eq!(request.text("a"), Some("2"));
        assert_eq!(request.text("name"), Some("x y"));
        assert_eq!(request.text("empty"), None);
        let sent: Vec<_> = request.sent().map(|(name, _)| name).collect();
        assert_eq!(sent, ["Name", "a", "command", "empty"]);
        assert!(!request.is_ambiguous());
        assert!(Request::parse(true, b"a=1", b"a=1").is_ambiguous());
    }

    #[test]
    fn maps_keep_the_case_of_their_fields() {
        let query = b"Details[0].cpuNumber=2&details[0].memory=512&tags[1].key=b&tags[1].value=v\
                      &tags[0].key=a&odd[x].key=1";
        let request = Request::parse(false, query, b"");
        let fields = request.fields("details");
        assert_eq!(fields.get("cpuNumber").map(String::as_str), Some("2"));
        assert_eq!(fields.get("memory").map(String::as_str), Some("512"));
        let pairs = request.pairs("tags");
        assert_eq!(pairs, [("a".into(), None), ("b".into(), Some("v".into()))]);
        assert!(request.pairs("odd").is_empty());
    }

    #[test]
    fn control_characters_are_refused() {
        let with = |text: &str| Request::parse(false, format!("a={text}").as_bytes(), b"");
        for text in ["%00", "%09", "%0B", "%1F", "%7F"] {
            assert_eq!(with(text).check_characters().unwrap_err().code, 431, "{text}");
        }
        assert_eq!(with("a%0Ab%0Dc%C3%A9~").check_characters(), Ok(()));
    }

    #[test]
    fn lists_are_split_at_commas() {
        let request = Request::parse(false, b"ids=a,,+b&flag=TRUE&no=yes", b"");
        assert_eq!(request.list("ids"), ["a", "b"]);
        assert_eq!((request.boolean("flag"), request.boolean("no")), (Some(true), Some(false)));
    }
}
