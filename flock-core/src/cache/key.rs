//! Names of files in the cache.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::{Error, ErrorKind, Result};

/// The name of a file in the cache; always a safe file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheKey(String);

impl CacheKey {
    /// The key of the content with this SHA-256 digest, in hexadecimal.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if it is not 64 hexadecimal digits.
    pub fn sha256(hex: &str) -> Result<Self> {
        if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let message = format!("'{}' is not a SHA-256 digest", hex.escape_default());
            return Err(Error::new(ErrorKind::InvalidConfig, message)
                .hint("a SHA-256 digest is 64 hexadecimal digits, as `sha256sum` prints it"));
        }
        Ok(Self(format!("sha256-{}", hex.to_ascii_lowercase())))
    }

    /// The key of something that these parts, in this order, determine.
    ///
    /// `kind` says what it is; its letters, digits and hyphens begin the name.
    #[must_use]
    pub fn derived(kind: &str, parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in std::iter::once(&kind).chain(parts) {
            // Lengths keep ["ab", "c"] apart from ["a", "bc"].
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let safe = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
        let prefix: String = kind.chars().filter(safe).take(32).collect();
        Self(format!("{prefix}-{}", hex(&hash.finalize())))
    }

    /// The key as the file name it is.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lower-case hexadecimal digits of `bytes`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
