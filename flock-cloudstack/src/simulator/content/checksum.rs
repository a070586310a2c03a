//! Checksums as CloudStack writes them: `{SHA-256}hex`, or bare for MD5.

use md5::Md5;
use sha1::Sha1;
use sha2::digest::DynDigest;
use sha2::{Sha224, Sha256, Sha384, Sha512};

/// A checksum that a file must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checksum {
    algorithm: Algorithm,
    /// In lower case.
    hex: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// Hashes what comes, with whatever algorithm was asked for.
pub(super) type Hasher = Box<dyn DynDigest + Send>;

impl Algorithm {
    const ALL: [Self; 6] =
        [Self::Md5, Self::Sha1, Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512];

    fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA-1",
            Self::Sha224 => "SHA-224",
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
        }
    }

    fn hasher(self) -> Hasher {
        match self {
            Self::Md5 => Box::new(Md5::default()),
            Self::Sha1 => Box::new(Sha1::default()),
            Self::Sha224 => Box::new(Sha224::default()),
            Self::Sha256 => Box::new(Sha256::default()),
            Self::Sha384 => Box::new(Sha384::default()),
            Self::Sha512 => Box::new(Sha512::default()),
        }
    }
}

impl Checksum {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (algorithm, hex) = match text.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((name, hex)) => {
                let is_it = |one: &Algorithm| one.as_str().eq_ignore_ascii_case(name);
                let found = Algorithm::ALL.into_iter().find(is_it);
                (found.ok_or_else(|| format!("Invalid checksum algorithm: {name}"))?, hex)
            }
            None => (Algorithm::Md5, text),
        };
        let digits = algorithm.hasher().output_size() * 2;
        if hex.len() != digits || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let name = algorithm.as_str();
            return Err(format!("Invalid checksum: {name} has {digits} hexadecimal digits"));
        }
        Ok(Self { algorithm, hex: hex.to_ascii_lowercase() })
    }

    pub(super) fn hasher(&self) -> Hasher {
        self.algorithm.hasher()
    }

    /// Compares with what was hashed.
    pub(super) fn check(&self, hasher: Hasher) -> Result<(), String> {
        let found = hex(&hasher.finalize());
        let (name, wanted) = (self.algorithm.as_str(), &self.hex);
        match found == *wanted {
            true => Ok(()),
            false => Err(format!(
                "Failed post download script: checksum {{{name}}}{wanted} didn't match, the \
                 file has {found}"
            )),
        }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_have_an_algorithm_or_are_md5() {
        let bare = Checksum::parse("d41d8cd98f00b204e9800998ecf8427e").unwrap();
        assert_eq!(bare.check(bare.hasher()), Ok(()));
        let text = "{sha-256}E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855";
        let sha = Checksum::parse(text).unwrap();
        assert_eq!(sha.check(sha.hasher()), Ok(()));
        let mut other = sha.hasher();
        other.update(b"x");
        assert!(sha.check(other).unwrap_err().contains("didn't match"));
        for wrong in ["", "{SHA-256}abc", "{CRC}00", "zz", "{MD5", "{SHA3-256}00"] {
            assert!(Checksum::parse(wrong).is_err(), "{wrong}");
        }
    }
}
