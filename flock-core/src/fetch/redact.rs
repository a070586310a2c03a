//! URLs without what may be secret in them.

use url::Url;

pub(super) use crate::location::redacted;

/// What a person calls the thing behind the URL: the last part of its path,
/// else the host.
pub(super) fn short_name(url: &Url) -> String {
    let mut segments = url.path_segments().into_iter().flatten();
    let last = segments.rfind(|segment| !segment.is_empty());
    last.or_else(|| url.host_str()).unwrap_or("file").to_owned()
}

/// Base64 with padding (RFC 4648, section 4), for HTTP's Basic scheme.
pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let index = (bits >> (18 - 6 * at)) & 63;
            text.push(if at <= chunk.len() { char::from(ALPHABET[index as usize]) } else { '=' });
        }
    }
    text
}

/// Undoes percent-encoding (RFC 3986, section 2.1), for the user and password
/// of a URL.
pub(super) fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let code = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) if byte == b'%' => {
                bytes.push(decoded);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_in_the_rfc() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }

    #[test]
    fn percent_codes_are_undone_and_others_kept() {
        assert_eq!(percent_decoded("a%40b%3a"), b"a@b:");
        assert_eq!(percent_decoded("%zz%4"), b"%zz%4");
    }

    #[test]
    fn names_are_short() {
        let name = |text: &str| short_name(&Url::parse(text).unwrap());
        assert_eq!(name("https://u:p@h/a/b.tar?x"), "b.tar");
        assert_eq!(name("https://h/"), "h");
    }
}
