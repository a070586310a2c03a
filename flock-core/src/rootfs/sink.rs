//! Where a finished tree goes.

use super::tree::Tree;
use crate::{Context, Result};

/// Makes an image of a finished [`Tree`].
///
/// A sink pulls: it iterates over [`Tree::entries`] as often as it likes,
/// lays out its format once it knows every entry and size, and then reads the
/// contents, in any order and from several threads if it wants. Every entry
/// comes with all its metadata; its [`Content`](super::Content) gives ranges
/// of files on disk, so large ones can be copied without passing through the
/// program. What a format cannot hold is an error of kind
/// [`Unsupported`](crate::ErrorKind::Unsupported), not left out.
///
/// A sink asks `ctx` once per chunk whether to go on, reports its progress
/// there, and knows no final name: that a half-written image never stands
/// under one is its caller's care. The same tree must give the same bytes.
///
/// ```
/// use flock_core::rootfs::{EntryKind, Sink, Tree, Written};
/// use flock_core::{Context, Result};
///
/// /// Lists paths and sizes instead of writing an image.
/// struct Listing(String);
///
/// impl Sink for Listing {
///     fn write(&mut self, tree: &Tree, ctx: &Context) -> Result<Written> {
///         let mut entries = 0;
///         for entry in tree.entries() {
///             ctx.check()?;
///             let entry = entry?;
///             let size = match entry.kind {
///                 EntryKind::File { size } => size,
///                 _ => 0,
///             };
///             let path = String::from_utf8_lossy(&entry.path);
///             self.0.push_str(&format!("{path} {size}\n"));
///             entries += 1;
///         }
///         Ok(Written::new(entries, self.0.len() as u64))
///     }
/// }
///
/// # use flock_core::rootfs::{InjectedFile, SourceIndex};
/// # fn main() -> Result<()> {
/// let ctx = Context::new();
/// let mut tree = Tree::new(SourceIndex::from_bytes("empty", vec![0u8; 1024], &ctx)?, &ctx)?;
/// tree.inject(InjectedFile::new("/etc/hostname", "web\n"))?;
/// let mut listing = Listing(String::new());
/// listing.write(&tree, &ctx)?;
/// assert_eq!(listing.0, "etc 0\netc/hostname 4\n");
/// # Ok(())
/// # }
/// ```
pub trait Sink {
    /// Writes the whole tree.
    ///
    /// # Errors
    /// Those of reading a layer; kinds of [`Error::io`](crate::Error::io) for
    /// the output; [`Cancelled`](crate::ErrorKind::Cancelled) and
    /// [`Timeout`](crate::ErrorKind::Timeout) by `ctx`. What was written up
    /// to then is of no use.
    fn write(&mut self, tree: &Tree, ctx: &Context) -> Result<Written>;
}

/// What a sink wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[non_exhaustive]
pub struct Written {
    /// Entries, hard links included.
    pub entries: u64,
    /// Bytes handed to the output.
    pub bytes: u64,
}

impl Written {
    /// That many entries and bytes.
    #[must_use]
    pub fn new(entries: u64, bytes: u64) -> Self {
        Self { entries, bytes }
    }
}
