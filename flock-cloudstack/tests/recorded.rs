//! Recorded replies of many versions, and signatures, from a directory that is
//! not part of this repository: each must be understood.
//!
//! `FLOCK_CLOUDSTACK_FIXTURES` names the directory. In it are JSON files, each
//! a reply or a map of replies by command, and `signature-vectors.json`.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use flock_cloudstack::signature::{sign, string_to_sign};
use flock_cloudstack::{api, open_reply};
use flock_core::conformance::{self, Failure, Outcome, Suite, ensure, expect_eq, service};
use flock_core::secret::Secret;
use serde::de::DeserializeOwned;
use serde_json::Value;

const DIRECTORY: &str = "FLOCK_CLOUDSTACK_FIXTURES";
/// What holds no replies.
const OTHERS: [&str; 3] = ["signature-vectors.json", "MANIFEST.json", "apis"];

fn main() -> ExitCode {
    let set = std::env::var_os(DIRECTORY).map(drop);
    let probe = set.ok_or_else(|| format!("{DIRECTORY} names no directory"));
    let suite = Suite::new("recorded")
        .with_service(service("cloudstack-fixtures", probe))
        .test("signatures_are_the_same", || async { signatures() })
        .test("replies_are_understood", || async { replies() });
    conformance::main([suite])
}

fn directory() -> PathBuf {
    std::env::var_os(DIRECTORY).map(PathBuf::from).unwrap_or_default()
}

fn read(path: &Path) -> Result<Value, Failure> {
    let failed = |error: String| Failure::new(format!("{}: {error}", path.display()));
    let text = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))
}

fn signatures() -> Outcome {
    let file = read(&directory().join("signature-vectors.json"))?;
    let vectors = file["vectors"].as_array().cloned().unwrap_or_default();
    ensure(!vectors.is_empty(), "there are no vectors")?;
    for vector in vectors {
        let text = |name: &str| vector[name].as_str().unwrap_or_default().to_owned();
        let name = text("name");
        let parameters: BTreeMap<String, String> = serde_json::from_value(vector["params"].clone())
            .map_err(|error| Failure::new(format!("{name}: {error}")))?;
        let pairs = || parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        expect_eq(string_to_sign(pairs()), text("string_to_sign"), &name)?;
        expect_eq(sign(pairs(), &Secret::new(text("secret"))), text("signature"), &name)?;
    }
    Ok(())
}

fn replies() -> Outcome {
    let mut files = Vec::new();
    find(&directory(), &mut files)?;
    let (mut count, mut wrong) = (0, Vec::new());
    for file in files {
        for (name, reply) in replies_in(&file, read(&file)?) {
            count += 1;
            if let Err(why) = understand(&name, &reply) {
                wrong.push(format!("{name}: {why}"));
            }
        }
    }
    ensure(count > 0, "there are no replies")?;
    ensure(wrong.is_empty(), format!("{} of {count} replies:\n{}", wrong.len(), wrong.join("\n")))
}

fn find(directory: &Path, files: &mut Vec<PathBuf>) -> Outcome {
    let failed = |error| Failure::new(format!("{}: {error}", directory.display()));
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if OTHERS.iter().any(|other| path.ends_with(other)) {
            continue;
        }
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    Ok(())
}

/// The replies of a file, each with a name for messages.
fn replies_in(file: &Path, content: Value) -> Vec<(String, Value)> {
    let name = file.display().to_string();
    let is_envelope = |name: &String| {
        name.ends_with("response") || name == "cloudstack-version" || name == "deployvirtualmachine"
    };
    match content {
        Value::Object(members) if !members.keys().any(is_envelope) => members
            .into_iter()
            .map(|(command, reply)| (format!("{name} {command}"), reply))
            .collect(),
        reply => vec![(name, reply)],
    }
}

/// Opens a reply, and reads what flock has a type for.
fn understand(name: &str, reply: &Value) -> Result<(), String> {
    let body = match open_reply(name, reply.to_string().as_bytes()) {
        Ok(body) => body,
        Err(error) if error.context_value("errorcode").is_some() => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    typed(&body)?;
    body.get("jobresult").map_or(Ok(()), typed)
}

fn typed(body: &Value) -> Result<(), String> {
    let Value::Object(members) = body else { return Ok(()) };
    for (kind, member) in members {
        let items = match member {
            Value::Array(items) => items.clone(),
            Value::Object(_) => vec![member.clone()],
            _ => continue,
        };
        for item in items {
            // Some recordings were cut down to nothing.
            if item.get("id").is_none() {
                continue;
            }
            read_as(kind, item).map_err(|error| format!("{kind}: {error}"))?;
        }
    }
    Ok(())
}

fn read_as(kind: &str, item: Value) -> Result<(), serde_json::Error> {
    fn check<T: DeserializeOwned>(item: Value) -> Result<(), serde_json::Error> {
        serde_json::from_value::<T>(item).map(drop)
    }
    match kind {
        "zone" => check::<api::Zone>(item),
        "ostype" => check::<api::OsType>(item),
        "serviceoffering" => check::<api::ServiceOffering>(item),
        "diskoffering" => check::<api::DiskOffering>(item),
        "network" => check::<api::Network>(item),
        "securitygroup" => check::<api::SecurityGroup>(item),
        "volume" => check::<api::Volume>(item),
        "snapshot" => check::<api::Snapshot>(item),
        _ => Ok(()),
    }
}
