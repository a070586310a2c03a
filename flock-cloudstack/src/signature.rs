//! How a request proves whose it is.
//!
//! The procedure is that of CloudStack's developer guide ("Signing API
//! Requests"), in the details as `ApiServer.verifyRequest` of CloudStack 4.22
//! does it: where the two leave room, the server decides. In particular a
//! tilde is encoded, which several clients do not do, and names keep the case
//! in which they are sent while they are sorted.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flock_core::secret::Secret;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

/// What is signed: the parameters sorted by name, byte by byte, `name=value`
/// joined by `&`, all of it in lower case. Values are percent-encoded, names
/// are not. A parameter called `signature` is left out.
///
/// ```
/// use flock_cloudstack::signature::string_to_sign;
///
/// let signed = string_to_sign([("command", "listZones"), ("apikey", "K~1")]);
/// assert_eq!(signed, "apikey=k%7e1&command=listzones");
/// ```
pub fn string_to_sign<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut sorted: Vec<_> =
        parameters.into_iter().filter(|(name, _)| *name != "signature").collect();
    sorted.sort_unstable();
    let mut text = String::new();
    for (name, value) in sorted {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        encode(value, &mut text);
    }
    text.to_lowercase()
}

/// The signature of these parameters: HMAC-SHA1 (RFC 2104) of what
/// [`string_to_sign`] gives, in Base64. It is percent-encoded like any other
/// value when it is sent.
pub fn sign<'a>(
    parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
    secret: &Secret,
) -> String {
    let text = string_to_sign(parameters);
    // HMAC takes keys of any length, so this cannot fail.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.expose().as_bytes()) else {
        return String::new();
    };
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Appends a value as `java.net.URLEncoder` writes it in UTF-8, with `%20` for
/// a space: letters, digits and `-_.*` stay.
pub(crate) fn encode(value: &str, out: &mut String) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => {
                out.push(char::from(byte));
            }
            // Writing to a string cannot fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
}
