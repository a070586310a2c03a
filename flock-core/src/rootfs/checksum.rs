//! SHA-256 digests as people write them.

use std::fmt;
use std::str::FromStr;

use crate::cache::hex;
use crate::{Error, ErrorKind};

/// A SHA-256 digest (FIPS 180-4).
///
/// In text it is `sha256:` and 64 hexadecimal digits; reading takes the bare
/// digits too, of either case.
///
/// ```
/// use flock_core::rootfs::checksum::Checksum;
///
/// let text = "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855";
/// let checksum: Checksum = text.parse().unwrap();
/// assert_eq!(checksum.to_string(), format!("sha256:{}", text.to_lowercase()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Checksum([u8; 32]);

impl Checksum {
    /// The checksum with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 64 hexadecimal digits, in lower case.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// Fails unless `actual` is this checksum; `what` is what was read.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`].
    pub fn verify(&self, actual: &Self, what: impl fmt::Display) -> Result<(), Error> {
        if self == actual {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InvalidData, format!("{what} has the wrong checksum"))
            .with("expected", self.to_string())
            .with("actual", actual.to_string())
            .hint("fetch the file again; if it was replaced on purpose, update the checksum"))
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl serde::Serialize for Checksum {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Checksum {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let mut bytes = [0; 32];
        let well_formed = digits.len() == 64 && digits.bytes().all(|c| c.is_ascii_hexdigit());
        let mut pairs = digits
            .as_bytes()
            .chunks_exact(2)
            .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        if !well_formed || !bytes.iter_mut().all(|byte| pairs.next().map(|b| *byte = b).is_some()) {
            let message = format!("'{}' is not a SHA-256 checksum", text.escape_default());
            return Err(Error::new(ErrorKind::InvalidConfig, message).hint(
                "write it as sha256: and the 64 hexadecimal digits that `sha256sum` prints",
            ));
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms_and_nothing_else() {
        let digits = "0123456789abcdef".repeat(4);
        let checksum: Checksum = digits.parse().unwrap();
        assert_eq!(checksum.hex(), digits);
        assert_eq!(checksum.to_string().parse::<Checksum>().unwrap(), checksum);
        for bad in ["", "sha256:", "sha512:00", &digits[1..], &digits.replace('0', "g"), "é"] {
            assert_eq!(bad.parse::<Checksum>().unwrap_err().kind(), ErrorKind::InvalidConfig);
        }
        // Two bytes in the place of two digits.
        assert!(digits.replacen("01", "é", 1).parse::<Checksum>().is_err());
    }

    #[test]
    fn a_mismatch_names_both() {
        let [a, b] = [Checksum::from_bytes([1; 32]), Checksum::from_bytes([2; 32])];
        assert!(a.verify(&a, "it").is_ok());
        let error = a.verify(&b, "base.tar").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert_eq!(error.context_value("expected"), Some(a.to_string().as_str()));
        assert_eq!(error.to_string(), "base.tar has the wrong checksum");
    }
}
