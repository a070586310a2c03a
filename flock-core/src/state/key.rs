//! Keys and prefixes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// The longest key, in bytes.
pub const MAX_KEY: usize = 512;

/// A record's place: segments with slashes between them, `nodes/web/01`.
///
/// A segment is one or more printable ASCII characters, without spaces, and
/// not `.` or `..`; a key has at most [`MAX_KEY`] bytes. Keys sort by their
/// bytes. Names from outside go through [`Key::child`], which escapes
/// whatever else they are made of.
///
/// ```
/// use flock_core::state::Key;
///
/// let key = Key::new("nodes")?.child("Büro 1/2")?;
/// assert_eq!(key.as_str(), "nodes/B%C3%BCro%201%2F2");
/// assert_eq!(key.name(), "Büro 1/2");
/// assert!(Key::new("nodes//01").is_err());
/// # Ok::<(), flock_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

impl Key {
    /// A key as it is written.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if it breaks the rules above.
    pub fn new(key: impl Into<String>) -> Result<Self> {
        let key = key.into();
        match fault(&key) {
            None => Ok(Self(key)),
            Some(fault) => Err(invalid("key", &key, fault)),
        }
    }

    /// The key below this one for a name from outside: whatever a segment
    /// may not hold is escaped as `%XX`, so that different names are
    /// different keys.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if the name is empty or the key gets too
    /// long.
    pub fn child(&self, name: &str) -> Result<Self> {
        Self::new(format!("{}/{}", self.0, escaped(name)))
    }

    /// The last segment, without its escapes. Escapes that are not UTF-8 are
    /// left as they are.
    #[must_use]
    pub fn name(&self) -> String {
        let segment = self.0.rsplit('/').next().unwrap_or_default();
        unescaped(segment).unwrap_or_else(|| segment.to_owned())
    }

    /// All segments, without their escapes, as [`name`](Self::name) gives the
    /// last one.
    #[must_use]
    pub fn segments(&self) -> Vec<String> {
        let plain = |segment: &str| unescaped(segment).unwrap_or_else(|| segment.to_owned());
        self.0.split('/').map(plain).collect()
    }

    /// The key as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The keys below this one, without itself.
    #[must_use]
    pub fn below(&self) -> Prefix {
        Prefix(format!("{}/", self.0))
    }
}

/// Lets ordered maps look a range of keys up by text.
impl std::borrow::Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Key {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl TryFrom<String> for Key {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::new(text)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0
    }
}

/// The keys below one key, or all of them.
///
/// Whole segments count: below `nodes/web` are `nodes/web/01` and
/// `nodes/web/01/disk`, but neither `nodes/web` nor `nodes/webshop`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Prefix(String);

impl Prefix {
    /// All keys.
    #[must_use]
    pub fn all() -> Self {
        Self(String::new())
    }

    /// Whether the key is below this prefix.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        key.0.starts_with(&self.0)
    }

    /// The first text that sorts among the keys below: they all start with it.
    #[must_use]
    pub fn start(&self) -> &str {
        &self.0
    }

    /// The first text that sorts behind the keys below; `None` for all keys.
    #[must_use]
    pub fn end(&self) -> Option<String> {
        // The prefix ends in '/', and '0' is the byte after that.
        self.0.strip_suffix('/').map(|key| format!("{key}0"))
    }
}

impl FromStr for Prefix {
    type Err = Error;

    /// The keys below a key; the empty text stands for all keys.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "" => Ok(Self::all()),
            key => Key::new(key).map(|key| key.below()),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.strip_suffix('/').unwrap_or("(all)"))
    }
}

fn fault(key: &str) -> Option<&'static str> {
    if key.len() > MAX_KEY {
        return Some("it is longer than 512 bytes");
    }
    for segment in key.split('/') {
        match segment {
            "" => return Some("it has an empty segment"),
            "." | ".." => return Some("it has '.' or '..' as a segment"),
            segment if !segment.bytes().all(|byte| byte.is_ascii_graphic()) => {
                return Some("it has a character that is not printable ASCII");
            }
            _ => {}
        }
    }
    None
}

fn invalid(what: &str, text: &str, fault: &str) -> Error {
    let shown: String = text.chars().take(80).collect();
    Error::new(ErrorKind::InvalidConfig, format!("{shown:?} is not a {what}: {fault}"))
        .hint("a key is like 'nodes/web/01'")
}

fn escaped(name: &str) -> String {
    let mut segment = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'/' | b'%' => push_escape(&mut segment, byte),
            byte if byte.is_ascii_graphic() => segment.push(char::from(byte)),
            byte => push_escape(&mut segment, byte),
        }
    }
    match segment.as_str() {
        "." | ".." => segment.replace('.', "%2E"),
        _ => segment,
    }
}

fn push_escape(segment: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    segment.push('%');
    segment.push(char::from(DIGITS[usize::from(byte >> 4)]));
    segment.push(char::from(DIGITS[usize::from(byte & 15)]));
}

fn unescaped(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let value = digit()? * 16 + digit()?;
        bytes.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_key_is_refused() {
        let long = "x".repeat(MAX_KEY + 1);
        for text in ["", "/", "a/", "/a", "a//b", ".", "a/../b", "a b", "ä", "a\0b", "a\nb", &long]
        {
            assert_eq!(Key::new(text).unwrap_err().kind(), ErrorKind::InvalidConfig, "{text:?}");
        }
        for text in ["a", "a/b", "...", "a/.b", "~!@#$^&*()[]{}?'\"\\%_", &long[1..]] {
            assert!(Key::new(text).is_ok(), "{text:?}");
        }
        assert!(serde_json::from_str::<Key>("\"a//b\"").is_err());
    }

    #[test]
    fn a_prefix_is_of_whole_segments() {
        let web = Key::new("nodes/web").unwrap();
        let below = web.below();
        assert!(below.contains(&web.child("01").unwrap()));
        assert!(!below.contains(&web));
        assert!(!below.contains(&Key::new("nodes/webshop").unwrap()));
        assert!(Prefix::all().contains(&web));
        assert_eq!("".parse::<Prefix>().unwrap(), Prefix::all());
    }

    proptest! {
        #[test]
        fn any_name_survives_as_a_segment(name in "\\PC{1,40}|.{1,40}") {
            let parent = Key::new("names").unwrap();
            let key = parent.child(&name).unwrap();
            prop_assert_eq!(key.name(), name);
            prop_assert!(parent.below().contains(&key));
            prop_assert_eq!(key.as_str().split('/').count(), 2);
        }

        #[test]
        fn no_text_is_a_panic(text in ".*") {
            if let Ok(key) = Key::new(text) {
                prop_assert!(!key.name().is_empty());
                let below = key.below();
                prop_assert!(below.start() < below.end().unwrap().as_str());
            }
        }
    }
}
