//! What is in a reply, whatever its envelope is called.

use serde_json::{Map, Value};

use crate::error::{ApiError, not_protocol};
use flock_core::Result;

/// The key that versions before 4.2 put beside the envelope.
const VERSION_KEY: &str = "cloudstack-version";

/// What a reply says.
pub(super) enum Reply {
    /// The object within the envelope.
    Body(Value),
    /// The error within it.
    Refused(ApiError),
}

/// The object within the envelope of a reply to `command`, for replies that
/// came another way than by [`Client`](crate::Client): recorded ones, or those
/// of another program.
///
/// # Errors
/// What the reply says went wrong, as [`Client::call`](crate::Client::call)
/// would say it; [`InvalidData`](flock_core::ErrorKind::InvalidData) for what
/// is no reply.
pub fn open_reply(command: &str, body: &[u8]) -> Result<Value> {
    match open(command, body)? {
        Reply::Body(body) => Ok(body),
        Reply::Refused(error) => Err(error.into_error(command)),
    }
}

/// Opens the envelope: the one member that is an object. Its name usually is
/// the command's in lower case and `response`, but not always, so it does not
/// count.
///
/// # Errors
/// [`InvalidData`](flock_core::ErrorKind::InvalidData) for what is no such
/// reply.
pub(super) fn open(command: &str, bytes: &[u8]) -> Result<Reply> {
    let parsed: Value = serde_json::from_slice(bytes)
        .map_err(|error| not_protocol(command, "the reply is not JSON").caused_by(error))?;
    let Value::Object(members) = parsed else {
        return Err(not_protocol(command, "the reply is not an object"));
    };
    let mut bodies =
        members.into_iter().filter(|(name, body)| name != VERSION_KEY && !body.is_null());
    let body = match (bodies.next(), bodies.next()) {
        (Some((_, body @ Value::Object(_))), None) => body,
        // Version 2 answers a few commands without an object within.
        (None, _) => Value::Object(Map::new()),
        _ => return Err(not_protocol(command, "the reply has no single object within")),
    };
    Ok(match ApiError::read(&body) {
        Some(error) => Reply::Refused(error),
        None => Reply::Body(body),
    })
}

/// The items of a list, and how many there are on all pages. An empty list has
/// neither.
pub(crate) fn items(body: Value) -> (Vec<Value>, Option<u64>) {
    let count = body.get("count").and_then(crate::error::number);
    let Value::Object(members) = body else { return (Vec::new(), count) };
    let list = members.into_iter().find_map(|(_, member)| match member {
        Value::Array(items) => Some(items),
        _ => None,
    });
    (list.unwrap_or_default(), count)
}

/// The one thing that a reply or a job's result is about: `{"zone": {…}}`,
/// also as the single item of a list. What has no such shape is given as it is.
pub(crate) fn single(body: Value) -> Value {
    let Value::Object(members) = &body else { return body };
    let mut inner = members.values().filter_map(|member| match member {
        Value::Object(_) => Some(member),
        Value::Array(items) if items.len() == 1 => items.first(),
        _ => None,
    });
    match (inner.next(), inner.next()) {
        (Some(thing), None) => thing.clone(),
        _ => body,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(reply: &Value) -> Value {
        match open("x", reply.to_string().as_bytes()) {
            Ok(Reply::Body(body)) => body,
            Ok(Reply::Refused(error)) => json!({"refused": error.code}),
            Err(error) => json!({"error": error.to_string()}),
        }
    }

    #[test]
    fn the_envelope_may_have_any_name() {
        for name in ["listzonesresponse", "postuploadtemplateresponse", "deployvirtualmachine"] {
            assert_eq!(body(&json!({name: {"count": 1}})), json!({"count": 1}));
        }
        let old = json!({"cloudstack-version": "4.1.0", "listzonesresponse": {"count": 2}});
        assert_eq!(body(&old), json!({"count": 2}));
        assert_eq!(body(&json!({"xresponse": {"errorcode": 431}})), json!({"refused": 431}));
        assert!(body(&json!([])).get("error").is_some());
        assert!(body(&json!({"a": {}, "b": {}})).get("error").is_some());
    }

    #[test]
    fn lists_are_found_by_their_shape() {
        let (found, count) = items(json!({"count": 7, "zone": [{"id": "1"}]}));
        assert_eq!((found.len(), count), (1, Some(7)));
        assert_eq!(items(json!({})), (vec![], None));
        assert_eq!(items(json!({"count": "3"})), (vec![], Some(3)));
    }

    #[test]
    fn one_thing_is_unwrapped() {
        assert_eq!(single(json!({"zone": {"id": "1"}})), json!({"id": "1"}));
        assert_eq!(single(json!({"count": 1, "template": [{"id": "2"}]})), json!({"id": "2"}));
        assert_eq!(single(json!({"success": true})), json!({"success": true}));
    }
}
