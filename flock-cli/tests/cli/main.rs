//! The `flock` binary as its users see it: output, exit codes, files made.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod app;
mod build;
mod cache;
mod cloudstack;
mod config;
mod disk;
mod docs;
mod help;
mod image;
mod node;
mod simulator;
mod template;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use assert_cmd::Command;

/// A working directory with nothing around it: no settings, no profiles.
struct Place {
    root: tempfile::TempDir,
}

/// What a run printed, and its exit code.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for directory in ["work", "home"] {
            fs::create_dir(root.path().join(directory)).unwrap();
        }
        Self { root }
    }

    /// The working directory.
    fn dir(&self) -> std::path::PathBuf {
        self.root.path().join("work")
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.dir().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Puts a program of that name before all others, which prints `says`.
    fn program(&self, name: &str, says: &str) {
        let path = self.root.path().join("bin").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn command(&self) -> Command {
        let bin = self.root.path().join("bin");
        let others = std::env::var_os("PATH").unwrap_or_default();
        let all = std::iter::once(bin).chain(std::env::split_paths(&others));
        let path = std::env::join_paths(all).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_flock"));
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.root.path().join("home"))
            .current_dir(self.dir());
        command
    }

    fn flock(&self, args: &[&str]) -> Ran {
        Ran::from(self.command().args(args).output().unwrap(), self.root.path())
    }
}

impl Ran {
    /// Paths of this run's directory are shown as `[ROOT]`.
    fn from(output: Output, root: &Path) -> Self {
        let text = |bytes: Vec<u8>| {
            String::from_utf8(bytes).unwrap().replace(root.to_str().unwrap(), "[ROOT]")
        };
        Self {
            code: output.status.code().expect("ended by itself"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Everything about the run in one text.
    fn all(&self) -> String {
        let Self { code, stdout, stderr } = self;
        format!("exit {code}\n--- stdout\n{stdout}--- stderr\n{stderr}")
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("not JSON:\n{}", self.all()))
    }

    /// The error that a run with `--json` printed.
    fn json_error(&self) -> serde_json::Value {
        assert_eq!(self.stdout, "");
        serde_json::from_str(&self.stderr).unwrap_or_else(|_| panic!("not JSON:\n{}", self.all()))
    }
}
