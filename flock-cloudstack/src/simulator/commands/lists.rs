//! Lists: pages, counts, and filters that many lists have.

use serde::{Serialize, Serializer};

use super::Outcome;
use super::call::to_json;
use crate::simulator::error::ApiError;
use crate::simulator::world::records::Tags;

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    skip: usize,
    take: usize,
}

impl Page {
    /// By the parameters `page` and `pagesize`, which come together or not at
    /// all.
    pub(crate) fn new(page: Option<i64>, size: Option<i64>, most: usize) -> Result<Self, ApiError> {
        let (page, size) = match (page, size) {
            (None, None) => return Ok(Self { skip: 0, take: most }),
            (Some(page), Some(size)) => (page, size),
            (Some(_), None) => return Err(lonely("page", "pagesize")),
            (None, Some(_)) => return Err(lonely("pagesize", "page")),
        };
        let at_least_one = |value: i64| usize::try_from(value).ok().filter(|value| *value > 0);
        match (at_least_one(page), at_least_one(size)) {
            (Some(page), Some(size)) if size <= most => {
                Ok(Self { skip: (page - 1).saturating_mul(size), take: size })
            }
            (Some(_), Some(_)) => Err(ApiError::parameter(format!(
                "Page size can't exceed max allowed page size value: {most}"
            ))),
            _ => Err(ApiError::parameter(format!(
                "page and pagesize must be greater than 0, not {page} and {size}"
            ))),
        }
    }

    /// Counts the records, and shows those of the page.
    pub(crate) fn list<R, V: Serialize>(
        self,
        key: &'static str,
        records: impl Iterator<Item = R>,
        view: impl Fn(R) -> V,
    ) -> Outcome {
        let mut count = 0;
        let mut items = Vec::new();
        for record in records {
            if count >= self.skip && items.len() < self.take {
                items.push(view(record));
            }
            count += 1;
        }
        to_json(&List { key, count, items })
    }
}

fn lonely(given: &str, missing: &str) -> ApiError {
    ApiError::parameter(format!(
        "\"{missing}\" parameter is required when \"{given}\" is specified"
    ))
}

/// A list in a reply: `{}` if it is empty, without the items where the page
/// has none.
#[derive(Debug)]
struct List<V> {
    key: &'static str,
    count: usize,
    items: Vec<V>,
}

impl<V: Serialize> Serialize for List<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;

        let mut map = serializer.serialize_map(None)?;
        if self.count > 0 {
            map.serialize_entry("count", &self.count)?;
        }
        if !self.items.is_empty() {
            map.serialize_entry(self.key, &self.items)?;
        }
        map.end()
    }
}

/// Whether `text` has `part` in it; case does not count, as in CloudStack's
/// database.
pub(crate) fn contains(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(&part.to_lowercase())
}

/// Whether two names are the same to CloudStack's database.
pub(crate) fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other) || !one.is_ascii() && one.to_lowercase() == other.to_lowercase()
}

/// Whether any of the wanted tags is there. Several are alternatives: so does
/// CloudStack take them.
pub(crate) fn has_any(tags: &Tags, wanted: &[(String, Option<String>)]) -> bool {
    wanted.is_empty()
        || wanted.iter().any(|(key, value)| {
            let is_value = |tag: &str| value.as_ref().is_none_or(|value| same(value, tag));
            tags.iter().any(|(name, tag)| same(name, key) && is_value(tag))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(page: Option<i64>, size: Option<i64>) -> Result<String, u16> {
        let page = Page::new(page, size, 4).map_err(|error| error.code)?;
        Ok(page.list("number", 1..=5, |number| number).unwrap())
    }

    #[test]
    fn pages_are_cut_and_counted() {
        assert_eq!(page(None, None).unwrap(), r#"{"count":5,"number":[1,2,3,4]}"#);
        assert_eq!(page(Some(2), Some(2)).unwrap(), r#"{"count":5,"number":[3,4]}"#);
        assert_eq!(page(Some(3), Some(2)).unwrap(), r#"{"count":5,"number":[5]}"#);
        assert_eq!(page(Some(4), Some(2)).unwrap(), r#"{"count":5}"#);
        assert_eq!(page(Some(i64::MAX), Some(4)).unwrap(), r#"{"count":5}"#);
        for (number, size) in [
            (Some(1), None),
            (None, Some(1)),
            (Some(1), Some(5)),
            (Some(0), Some(1)),
            (Some(1), Some(0)),
            (Some(1), Some(-1)),
        ] {
            assert_eq!(page(number, size), Err(431), "{number:?} {size:?}");
        }
        let none = Page::new(None, None, 4).unwrap();
        assert_eq!(none.list("number", 0..0, |number| number).unwrap(), "{}");
    }

    #[test]
    fn several_tags_are_alternatives() {
        let tags = vec![("app".to_owned(), "web".to_owned())];
        let wanted = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
        assert!(has_any(&tags, &[]));
        assert!(has_any(&tags, &[wanted("APP", Some("Web"))]));
        assert!(has_any(&tags, &[wanted("app", None)]));
        assert!(has_any(&tags, &[wanted("run", Some("1")), wanted("app", Some("web"))]));
        assert!(!has_any(&tags, &[wanted("app", Some("we"))]));
    }
}
