//! The signature of a request, as the server checks it.
//!
//! Written apart from the client's on purpose, so that one tests the other.
//! After `ApiServer.verifyRequest` of Apache CloudStack 4.22.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

use super::request::Request;

/// Whether the request's `signature` is that of `secret`.
pub(super) fn is_valid(request: &Request, secret: &str) -> bool {
    let Some((_, signature)) = request.sent().find(|(name, _)| is_signature(name)) else {
        return false;
    };
    let Ok(signature) = STANDARD.decode(signature) else { return false };
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.as_bytes()) else { return false };
    mac.update(to_sign(request).as_bytes());
    mac.verify_slice(&signature).is_ok()
}

/// HMAC-SHA1 of `text` in Base64.
pub(super) fn sign(secret: &str, text: &str) -> Option<String> {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(text.as_bytes());
    Some(STANDARD.encode(mac.finalize().into_bytes()))
}

fn is_signature(name: &str) -> bool {
    name.eq_ignore_ascii_case("signature")
}

/// What is signed: names as they are, in their byte order, values encoded, the
/// whole in lower case.
fn to_sign(request: &Request) -> String {
    let mut text = String::new();
    for (name, value) in request.sent().filter(|(name, _)| !is_signature(name)) {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        encode(value, &mut text);
    }
    text.to_lowercase()
}

/// As `java.net.URLEncoder` does, with `%20` for a space.
fn encode(value: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => {
                out.push(char::from(byte));
            }
            _ => {
                out.push('%');
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(pairs: &[(&str, &str)]) -> Request {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        Request::parse(false, query.extend_pairs(pairs).finish().as_bytes(), b"")
    }

    /// The example in Apache CloudStack's developer guide.
    #[test]
    fn the_published_signature_is_valid() {
        let secret = "VDaACYb0LV9eNjTetIOElcVQkvJck_J_QljX_FcHRj87ZKiy0z0ty0ZsYBkoXkY9b7eq1EhwJaw7\
                      FF3akA3KBQ";
        let key = "plgWJfZK4gyS3mOMTVmjUVg-X-jlWlnfaUJ9GAbBbf9EdM-kAYMmAiLqzzq1ElZLYq_u38zCm0bewzG\
                   UdP66mg";
        let signature = "TTpdDq/7j/J58XCRHomKoQXEQds=";
        let with = |signature| {
            let pairs = [("command", "listUsers"), ("apikey", key), ("response", "json")];
            request(&[&pairs[..], &[("signature", signature)]].concat())
        };
        assert!(is_valid(&with(signature), secret));
        assert!(!is_valid(&with(signature), "another"));
        assert!(!is_valid(&with("TTpdDq/7j/J58XCRHomKoQXEQdt="), secret));
        assert!(!is_valid(&with("no base64"), secret));
        assert!(!is_valid(&request(&[("command", "listUsers")]), secret));
    }

    #[test]
    fn only_what_java_leaves_stays() {
        let request = request(&[("b", "a*b ~c/é"), ("a[0].Key", "x+y")]);
        assert_eq!(to_sign(&request), "a[0].key=x%2by&b=a*b%20%7ec%2f%c3%a9");
    }
}
