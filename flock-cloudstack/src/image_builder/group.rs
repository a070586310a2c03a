//! A template as one thing, from what is listed of it for each zone.

use std::collections::BTreeMap;

use flock_core::image_builder::{Image, ImageStatus};
use flock_core::{Owner, Result};
use jiff::Timestamp;

use super::mark;
use super::status::{State, words};
use crate::api::Template;
use crate::api::lenient::moment;
use crate::tags;

/// Parts a name from a version.
const COLON: char = ':';

/// A template in all its zones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) id: String,
    /// The name that flock knows it by: `NAME:VERSION`.
    pub(super) name: String,
    /// Whose it is; `None` if flock has not made it.
    pub(super) owner: Option<Owner>,
    /// Whether its tags say so.
    pub(super) is_tagged: bool,
    /// What is listed of it: one item for each zone, at least one.
    pub(super) zones: Vec<Template>,
}

impl Group {
    /// The groups among these items, in the order of their first items.
    pub(super) fn all(items: Vec<Template>) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        let mut places = BTreeMap::new();
        for item in items {
            let place = *places.entry(item.id.clone()).or_insert(groups.len());
            match groups.get_mut(place) {
                Some(group) => group.zones.push(item),
                None => groups.push(Self::new(item)),
            }
        }
        groups
    }

    fn new(item: Template) -> Self {
        let tagged = Owner::from_pairs(&item.tags);
        Self {
            id: item.id.clone(),
            name: item.tags.get(tags::NAME).unwrap_or(&item.name).clone(),
            is_tagged: tagged.is_some(),
            owner: tagged.or_else(|| mark::read(&item.display_text)),
            zones: vec![item],
        }
    }

    /// How far it is in each of these zones, or in all where none are named.
    pub(super) fn states(&self, zones: Option<&[String]>) -> impl Iterator<Item = State> {
        self.within(zones).map(State::of)
    }

    /// The items of these zones.
    pub(super) fn within(&self, zones: Option<&[String]>) -> impl Iterator<Item = &Template> {
        self.zones.iter().filter(move |item| {
            zones.is_none_or(|zones| item.zone_id.as_ref().is_some_and(|id| zones.contains(id)))
        })
    }

    /// The zones among these that do not have it.
    pub(super) fn missing(&self, zones: &[String]) -> Vec<String> {
        let has = |zone: &String| self.zones.iter().any(|item| item.zone_id.as_ref() == Some(zone));
        zones.iter().filter(|zone| !has(zone)).cloned().collect()
    }

    /// Which of two was there first.
    pub(super) fn seniority(&self) -> (Option<Timestamp>, String) {
        let created = self.zones.first().and_then(|item| moment(&item.created));
        (created, self.id.clone())
    }

    /// As it is told to users of the trait; `None` if flock has not made it.
    /// Its status is that in all zones taken together.
    pub(super) fn image(&self) -> Option<Image> {
        let owner = self.owner.clone()?;
        let (name, version) = self.name.split_once(COLON).unwrap_or((&self.name, ""));
        let mut image = Image::new(self.id.clone(), name, version, owner, self.status());
        image.size = self.zones.iter().find_map(|item| item.size).filter(|size| *size > 0);
        image.details = self.details();
        Some(image)
    }

    fn status(&self) -> ImageStatus {
        let mut all = ImageStatus::Ready;
        for state in self.states(None) {
            match state.status() {
                ImageStatus::Failed => return ImageStatus::Failed,
                ImageStatus::Building => all = ImageStatus::Building,
                _ => {}
            }
        }
        all
    }

    fn details(&self) -> BTreeMap<String, String> {
        let Some(first) = self.zones.first() else { return BTreeMap::new() };
        let facts = [
            ("created", &first.created),
            ("format", &first.format),
            ("hypervisor", &first.hypervisor),
            ("os_type", &first.os_type_name),
        ];
        let known = facts.into_iter().filter(|(_, value)| !value.is_empty());
        let known = known.map(|(name, value)| (name.to_owned(), value.clone()));
        let zones =
            self.zones.iter().map(|item| (format!("zone.{}", zone_name(item)), words(item)));
        known.chain(zones).collect()
    }
}

/// The zone of an item, as people call it.
pub(super) fn zone_name(item: &Template) -> &str {
    item.zone_name.as_deref().or(item.zone_id.as_deref()).unwrap_or("of no name")
}

/// The name of the template for an image of that name and version.
///
/// # Errors
/// [`InvalidConfig`](flock_core::ErrorKind::InvalidConfig) for what cannot be
/// told apart again, or what CloudStack does not store.
pub(super) fn full_name(name: &str, version: &str) -> Result<String> {
    use flock_core::{Error, ErrorKind};

    /// What CloudStack stores of a name, in UTF-16 units as Java counts.
    const LONGEST: usize = 255;

    let full = format!("{name}{COLON}{version}");
    let refuse = |why: &str| {
        let shown = full.escape_debug();
        Err(Error::new(
            ErrorKind::InvalidConfig,
            format!("a template cannot be called '{shown}': {why}"),
        )
        .in_backend(crate::error::BACKEND))
    };
    if name.contains(COLON) {
        return refuse("the name holds a colon, which parts it from the version");
    }
    if full.chars().any(char::is_control) {
        return refuse("it holds control characters");
    }
    if full.trim() != full || name.trim() != name {
        return refuse("it begins or ends with a space");
    }
    // MySQL's utf8, in which many clouds keep names.
    if full.chars().any(|c| u32::from(c) > 0xFFFF) {
        return refuse("it holds characters that CloudStack cannot store");
    }
    if full.encode_utf16().count() > LONGEST {
        return refuse("it is longer than 255 characters");
    }
    Ok(full)
}

#[cfg(test)]
mod tests {
    use flock_core::{ErrorKind, RequestId};
    use serde_json::json;

    use super::*;

    fn item(id: &str, zone: &str, ready: bool, owner: Option<&Owner>) -> Template {
        let tags: Vec<_> = owner
            .into_iter()
            .flat_map(Owner::to_pairs)
            .map(|(key, value)| json!({"key": key, "value": value}))
            .collect();
        let item = json!({
            "id": id, "name": "web:1:2", "zoneid": zone, "isready": ready, "tags": tags, "size": 9,
        });
        serde_json::from_value(item).unwrap()
    }

    #[test]
    fn a_template_of_several_zones_is_one_image() {
        let owner = Owner::new("default", "app", RequestId::random());
        let items = ["a", "b"].map(|zone| item("1", zone, zone == "a", Some(&owner)));
        let [other] = [item("2", "a", true, None)];
        let groups = Group::all([items[0].clone(), other, items[1].clone()].into());
        assert_eq!(groups.len(), 2);
        let image = groups[0].image().unwrap();
        assert_eq!((image.name.as_str(), image.version.as_str()), ("web", "1:2"));
        assert_eq!((image.status, image.size), (ImageStatus::Building, Some(9)));
        assert_eq!(image.details["zone.b"], "just registered");
        assert_eq!(groups[0].missing(&["a".into(), "c".into()]), ["c"]);
        assert!(groups[1].image().is_none());
    }

    #[test]
    fn the_display_text_counts_without_tags() {
        let (first, second) = ("first", "second");
        let [first, second] =
            [first, second].map(|app| Owner::new("default", app, RequestId::random()));
        let mut marked = item("1", "a", true, None);
        marked.display_text = mark::write("web:1:2", &first);
        let group = &Group::all(vec![marked.clone()])[0];
        assert_eq!((group.owner.as_ref(), group.is_tagged), (Some(&first), false));
        marked.tags = second.to_pairs().map(|(key, value)| (key.to_owned(), value)).into();
        let group = &Group::all(vec![marked])[0];
        assert_eq!((group.owner.as_ref(), group.is_tagged), (Some(&second), true));
    }

    #[test]
    fn names_that_cloudstack_cannot_keep_are_refused() {
        assert_eq!(full_name("web", "v1.0").unwrap(), "web:v1.0");
        assert!(full_name("web", "1:2").is_ok());
        let long = "x".repeat(255);
        for (name, version) in
            [("a:b", "1"), ("a\tb", "1"), (" a", "1"), ("a", "1 "), ("🦜", "1"), (&long, "1")]
        {
            let error = full_name(name, version).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{name}");
        }
    }
}
