//! Hiding secrets in replies.

use serde_json::Value;

/// What stands for a secret, as everywhere in flock.
const MASK: &str = "***";
/// A field whose name has one of these in it holds a secret.
const SECRET: [&str; 9] = [
    "password",
    "secret",
    "privatekey",
    "sessionkey",
    "sharedkey",
    "psk",
    "token",
    // Whoever has these of an upload can do the upload.
    "signature",
    "metadata",
];

/// Puts `***` in place of every secret text, at any depth.
pub(crate) fn mask(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if is_secret(name) && !text.is_empty() => {
                        *text = MASK.to_owned();
                    }
                    member => mask(member),
                }
            }
        }
        _ => {}
    }
}

/// Whether a field of that name holds a secret. `passwordenabled` holds
/// `"true"` in old versions.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !name.ends_with("enabled") && SECRET.iter().any(|secret| name.contains(secret))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_hidden_at_any_depth() {
        let mut reply = json!({
            "virtualmachine": {"id": "1", "password": "hush", "passwordenabled": "true"},
            "user": [{"secretkey": "hush", "apikey": "a", "secretkeyenabled": true}],
            "keypair": {"name": "k", "privatekey": "hush"},
            "getuploadparams": {"postURL": "u", "signature": "hush", "metadata": "hush"},
            "jobresult": {"details": {"vnc.password": "hush"}, "password": ""},
        });
        mask(&mut reply);
        assert_eq!(
            reply,
            json!({
                "virtualmachine": {"id": "1", "password": "***", "passwordenabled": "true"},
                "user": [{"secretkey": "***", "apikey": "a", "secretkeyenabled": true}],
                "keypair": {"name": "k", "privatekey": "***"},
                "getuploadparams": {"postURL": "u", "signature": "***", "metadata": "***"},
                "jobresult": {"details": {"vnc.password": "***"}, "password": ""},
            })
        );
    }
}
