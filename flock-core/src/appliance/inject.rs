//! The files that a build puts into the appliance.

use std::fs;

use super::BuildRequest;
use crate::app::InjectedContent;
use crate::rootfs::InjectedFile;
use crate::{Error, ErrorKind, Result};

/// The files that the request puts in.
pub(super) fn files(request: &BuildRequest) -> Result<Vec<InjectedFile>> {
    let root =
        |path: &str, mode, content: Vec<u8>| InjectedFile::new(path, content).with_mode(mode);
    let inject = &request.inject;
    let mut files = Vec::new();
    if let Some(name) = &inject.hostname {
        files.push(root("/etc/hostname", 0o644, format!("{name}\n").into_bytes()));
    }
    if let Some(content) = &inject.resolv_conf {
        files.push(root("/etc/resolv.conf", 0o644, read(content)?));
    }
    if !inject.authorized_keys.is_empty() {
        let mut keys = Vec::new();
        for content in &inject.authorized_keys {
            let key = read(content)?;
            check_public(&key, content)?;
            keys.extend(key);
            if !keys.ends_with(b"\n") {
                keys.push(b'\n');
            }
        }
        // sshd refuses keys in directories that others can write to (sshd(8)).
        let keys = root("/root/.ssh/authorized_keys", 0o600, keys);
        files.push(keys.with_directory_mode(0o700));
    }
    for file in &inject.files {
        let put = InjectedFile::new(&file.path, read(&file.content)?).with_mode(file.mode);
        files.push(put.with_owner(file.owner.uid, file.owner.gid));
    }
    Ok(files)
}

/// Refuses what is no list of public keys: a private one in its place would
/// be shipped with the appliance. (Format: sshd(8), "AUTHORIZED_KEYS FILE
/// FORMAT".)
fn check_public(key: &[u8], content: &InjectedContent) -> Result<()> {
    let is_type = |word: &str| {
        ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|kind| word.starts_with(kind))
    };
    let is_public = |line: &str| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || line.split_whitespace().any(is_type)
    };
    if std::str::from_utf8(key).is_ok_and(|text| text.lines().all(is_public)) {
        return Ok(());
    }
    let what = match content {
        InjectedContent::Inline(_) => "an entry of `authorized_keys`".to_owned(),
        InjectedContent::File(path) => path.display().to_string(),
    };
    let message = format!("{what} holds something that is not a public SSH key");
    Err(Error::new(ErrorKind::InvalidConfig, message)
        .hint("name the public half, which ends in .pub"))
}

/// Files that are put in are read whole: they are settings, not data.
const MAX_INJECTED: u64 = 64 << 20;

fn read(content: &InjectedContent) -> Result<Vec<u8>> {
    let path = match content {
        InjectedContent::Inline(text) => return Ok(text.clone().into_bytes()),
        InjectedContent::File(path) => path,
    };
    let failed = |source| Error::io("read", path, source);
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.is_file() && metadata.len() <= MAX_INJECTED {
        return fs::read(path).map_err(failed);
    }
    let message = format!("{} is not a file of at most 64 MiB", path.display());
    Err(Error::new(ErrorKind::InvalidConfig, message)
        .hint("put larger things in as an application"))
}
