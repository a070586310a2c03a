//! Values: JSON documents, and the envelope that carries their version.

use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// The longest JSON text of a document, in bytes: 1 MiB, so that etcd's
/// default request limit of 1.5 MiB leaves room for the rest.
pub const MAX_DOCUMENT: usize = 1 << 20;

/// A JSON text. Cheap to clone; equal if the texts are.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Document(Arc<str>);

impl Document {
    /// The document of any serialisable value.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if the value has no JSON form (a map with
    /// keys that are not texts).
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        serde_json::to_string(value).map(|text| Self(text.into())).map_err(|source| {
            let what = format!("a {} has no JSON form", std::any::type_name::<T>());
            Error::new(ErrorKind::InvalidConfig, what).caused_by(source)
        })
    }

    /// A document from a JSON text, which is kept as it is.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] if the text is not JSON.
    pub fn parse(text: impl Into<Arc<str>>) -> Result<Self> {
        let text = text.into();
        match serde_json::from_str::<IgnoredAny>(&text) {
            Ok(_) => Ok(Self(text)),
            Err(source) => Err(Error::new(ErrorKind::InvalidData, "the text is not JSON")
                .with("length", text.len().to_string())
                .caused_by(source)),
        }
    }

    /// A document as a store kept it; it was checked when it was written.
    #[cfg(feature = "sqlite")]
    pub(super) fn stored(text: String) -> Self {
        Self(text.into())
    }

    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The document as a value of that type.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] if it is not one.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.0).map_err(|source| {
            let what = format!("the document is not a {}", std::any::type_name::<T>());
            Error::new(ErrorKind::InvalidData, what).caused_by(source)
        })
    }
}

/// The length alone: documents may hold what a log should not show.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({} bytes)", self.0.len())
    }
}

/// A type of record, with the version of its JSON form.
///
/// A record is stored as `{"version": 1, "record": …}`. A change to the type
/// that old readers would misread, or that cannot read old records, takes the
/// next version, and [`upgrade`](StateRecord::upgrade) reads the old ones.
///
/// ```
/// use flock_core::state::{Document, StateRecord};
/// use flock_core::{Error, ErrorKind, Result};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Node { name: String, tags: Vec<String> }
///
/// impl StateRecord for Node {
///     const VERSION: u32 = 2;
///
///     fn upgrade(version: u32, record: &Document) -> Option<Result<Self>> {
///         // Version 1 was the name alone.
///         (version == 1).then(|| Ok(Node { name: record.to()?, tags: Vec::new() }))
///     }
/// }
///
/// let old = Document::parse(r#"{"version": 1, "record": "web"}"#)?;
/// assert_eq!(Node::from_document(&old)?.name, "web");
/// # Ok::<(), Error>(())
/// ```
pub trait StateRecord: Serialize + DeserializeOwned + Send {
    /// The version that is written.
    const VERSION: u32;

    /// Reads a record of an older version; `None` if it knows no such.
    fn upgrade(version: u32, record: &Document) -> Option<Result<Self>> {
        let _ = (version, record);
        None
    }

    /// The record in its envelope.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if it has no JSON form.
    fn to_document(&self) -> Result<Document> {
        #[derive(Serialize)]
        struct Envelope<'a, T> {
            version: u32,
            record: &'a T,
        }
        Document::of(&Envelope { version: Self::VERSION, record: self })
    }

    /// The record out of its envelope, upgraded where it is an older one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] if the document is not such an envelope;
    /// [`ErrorKind::Unsupported`] if the version is unknown, for example
    /// because a newer flock wrote it.
    fn from_document(document: &Document) -> Result<Self> {
        #[derive(Deserialize)]
        struct Envelope<T> {
            record: T,
        }
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = document.to()?;
        if version == Self::VERSION {
            return document.to::<Envelope<Self>>().map(|envelope| envelope.record);
        }
        let old: Envelope<Box<serde_json::value::RawValue>> = document.to()?;
        let old = Document(Arc::from(Box::<str>::from(old.record)));
        Self::upgrade(version, &old).unwrap_or_else(|| Err(unknown(version, Self::VERSION)))
    }
}

fn unknown(found: u32, known: u32) -> Error {
    let what = format!("the record is of version {found}, and this flock writes version {known}");
    let error = Error::new(ErrorKind::Unsupported, what);
    if found > known { error.hint("a newer flock wrote it: use that one") } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Count(u64);

    impl StateRecord for Count {
        const VERSION: u32 = 2;

        fn upgrade(version: u32, record: &Document) -> Option<Result<Self>> {
            (version == 1).then(|| record.to::<String>().map(|text| Self(text.len() as u64)))
        }
    }

    #[test]
    fn a_record_is_read_in_its_version_and_the_one_before() {
        let document = Count(7).to_document().unwrap();
        assert_eq!(document.as_str(), r#"{"version":2,"record":7}"#);
        assert_eq!(Count::from_document(&document).unwrap(), Count(7));
        let old = Document::parse(r#"{"record": "abc", "version": 1}"#).unwrap();
        assert_eq!(Count::from_document(&old).unwrap(), Count(3));
    }

    #[test]
    fn unknown_versions_and_foreign_documents_are_errors() {
        let newer = Document::parse(r#"{"version":3,"record":{}}"#).unwrap();
        let error = Count::from_document(&newer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.hints().next().is_some());
        for text in ["7", r#"{"record":7}"#, r#"{"version":2}"#, r#"{"version":2,"record":"x"}"#] {
            let foreign = Document::parse(text).unwrap();
            let error = Count::from_document(&foreign).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{text}");
        }
        assert!(Document::parse("{").is_err());
    }
}
