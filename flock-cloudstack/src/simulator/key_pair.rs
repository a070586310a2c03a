//! SSH keys: those that users bring, and those that are made for them.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flock_core::secret::Secret;
use md5::{Digest as _, Md5};

/// An SSH key pair that was just made.
#[derive(Debug)]
pub(crate) struct GeneratedKey {
    /// PEM (PKCS #8).
    pub(crate) private_key: Secret,
    pub(crate) fingerprint: String,
}

/// Makes an RSA key pair of 2048 bits; takes a while.
pub(crate) fn generate() -> Option<GeneratedKey> {
    let pair = KeyPair::generate(KeySize::Rsa2048).ok()?;
    let der: Pkcs8V1Der<'_> = pair.as_der().ok()?;
    let blob = rsa_blob(pair.public_key().as_ref())?;
    Some(GeneratedKey {
        private_key: Secret::new(pem("PRIVATE KEY", der.as_ref())),
        fingerprint: fingerprint(&blob),
    })
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for (index, character) in text.chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem + &format!("\n-----END {label}-----\n")
}

/// The public key as SSH has it (RFC 4253, section 6.6), from the
/// RSAPublicKey of RFC 8017, appendix A.1.1. The integers of both formats
/// have the same bytes.
fn rsa_blob(der: &[u8]) -> Option<Vec<u8>> {
    let (sequence, _) = element(der, 0x30)?;
    let (modulus, rest) = element(sequence, 0x02)?;
    let (exponent, _) = element(rest, 0x02)?;
    let mut blob = Vec::new();
    for part in [b"ssh-rsa", exponent, modulus] {
        blob.extend(u32::try_from(part.len()).ok()?.to_be_bytes());
        blob.extend(part);
    }
    Some(blob)
}

/// The contents of the first DER element, which must have this tag, and what
/// follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = der.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match length {
        0..0x80 => (usize::from(length), rest),
        _ => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
    };
    rest.split_at_checked(length)
}

/// The fingerprint of a public key in OpenSSH's format, or `None` if it is
/// none.
pub(crate) fn public_fingerprint(key: &str) -> Option<String> {
    const KINDS: [&str; 5] = [
        "ssh-rsa",
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
    ];
    let mut parts = key.split_whitespace();
    let (kind, blob) = (parts.next()?, parts.next()?);
    let blob = STANDARD.decode(blob).ok()?;
    let (length, rest) = blob.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let is_sound = KINDS.contains(&kind) && rest.get(..length) == Some(kind.as_bytes());
    (is_sound && rest.len() > length).then(|| fingerprint(&blob))
}

/// MD5 in pairs of digits, which is CloudStack's way.
fn fingerprint(blob: &[u8]) -> String {
    let digits: Vec<_> = Md5::digest(blob).iter().map(|byte| format!("{byte:02x}")).collect();
    digits.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_key_is_an_ssh_key() {
        let made = generate().unwrap();
        assert!(made.private_key.expose().starts_with("-----BEGIN PRIVATE KEY-----\n"));
        assert_eq!(made.fingerprint.len(), 16 * 3 - 1);
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let blob = rsa_blob(pair.public_key().as_ref()).unwrap();
        let line = format!("ssh-rsa {} me@here", STANDARD.encode(&blob));
        assert_eq!(public_fingerprint(&line), Some(fingerprint(&blob)));
    }

    /// `ssh-keygen -l -E md5` says the same of this key.
    #[test]
    fn fingerprints_are_those_of_ssh_keygen() {
        let key =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
        assert_eq!(
            public_fingerprint(key).as_deref(),
            Some("0f:a2:0a:d7:38:3e:65:45:08:6b:63:84:1c:ff:dc:ba")
        );
    }

    #[test]
    fn what_is_no_key_has_no_fingerprint() {
        for key in ["", "ssh-rsa", "ssh-rsa AAAA", "ssh-rsa !", "ssh-dss AAAAB3NzaC1yc2E="] {
            assert_eq!(public_fingerprint(key), None, "{key}");
        }
    }
}
