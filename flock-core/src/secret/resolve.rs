//! Secrets of files, variables and programs, bounded in size and time.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use super::{MAX_SECRET, Secret};
use crate::{Context, Error, ErrorKind, Result};

/// How long a wait goes on before the context is asked again.
const PATIENCE: Duration = Duration::from_millis(20);

pub(super) fn from_file(ctx: &Context, path: &Path) -> Result<Secret> {
    let failed = |source| Error::io("read the secret in", path, source);
    // Opening waits where the path leads to a pipe, as `<(…)` of shells does.
    let own = path.to_path_buf();
    let bytes = bounded(move || File::open(own)).map_err(failed)?;
    let bytes = wait(ctx, &bytes)?.map_err(failed)?;
    text(bytes, &format!("the secret in {}", path.display()))
}

pub(super) fn from_variable(name: &str) -> Result<Secret> {
    let what = format!("the secret in the variable {name}");
    match std::env::var(name) {
        Ok(value) if value.len() > MAX_SECRET => Err(too_long(&what)),
        Ok(value) => Ok(Secret(value)),
        Err(std::env::VarError::NotPresent) => {
            let message = format!("no secret in the variable {name}");
            Err(Error::new(ErrorKind::NotFound, message).hint(format!("set {name}")))
        }
        // This error would show the value.
        Err(std::env::VarError::NotUnicode(_)) => Err(not_text(&what)),
    }
}

pub(super) fn from_command(ctx: &Context, command: &[String]) -> Result<Secret> {
    let [program, arguments @ ..] = command else {
        return Err(invalid("the command of a secret is empty"));
    };
    let failed = |source: io::Error| {
        invalid(format!("cannot run the secret's command {program}")).caused_by(source)
    };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    // Its own group, so that what it starts ends with it.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut running = Running { child: command.spawn().map_err(failed)?, ended: false };
    let Some(output) = running.child.stdout.take() else {
        return Err(invalid(format!("the secret's command {program} has no output")));
    };
    let bytes = bounded(move || Ok(output)).map_err(failed)?;
    let bytes = wait(ctx, &bytes)?.map_err(failed)?;
    let what = format!("what the secret's command {program} prints");
    if bytes.len() > MAX_SECRET {
        return Err(too_long(&what));
    }
    let status = running.wait(ctx, failed)?;
    if !status.success() {
        return Err(invalid(format!("the secret's command {program} failed: {status}")));
    }
    text(bytes, &what)
}

/// A program under way. Dropped early, it and what it started are killed.
struct Running {
    child: Child,
    /// Whether it was waited for: its id may belong to another by then.
    ended: bool,
}

impl Running {
    fn wait(&mut self, ctx: &Context, failed: impl Fn(io::Error) -> Error) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait().map_err(&failed)? {
                self.ended = true;
                return Ok(status);
            }
            ctx.check()?;
            std::thread::sleep(PATIENCE);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        #[cfg(unix)]
        if let Ok(id) = i32::try_from(self.child.id())
            && let Some(group) = rustix::process::Pid::from_raw(id)
        {
            // It may have ended by itself this moment.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        // For systems without groups; and its status must be taken.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a little more than a secret may hold, in a thread of its own. The
/// thread is not waited for: it ends when what it reads does.
fn bounded<R: Read>(
    open: impl FnOnce() -> io::Result<R> + Send + 'static,
) -> io::Result<Receiver<io::Result<Vec<u8>>>> {
    let (sender, receiver) = sync_channel(1);
    std::thread::Builder::new().name("secret".to_owned()).spawn(move || {
        let mut bytes = Vec::new();
        let limit = MAX_SECRET as u64 + 1;
        let read = open().and_then(|source| source.take(limit).read_to_end(&mut bytes));
        // Nobody there to take it: the context has ended.
        let _ = sender.send(read.map(|_| bytes));
    })?;
    Ok(receiver)
}

fn wait(ctx: &Context, bytes: &Receiver<io::Result<Vec<u8>>>) -> Result<io::Result<Vec<u8>>> {
    loop {
        ctx.check()?;
        match bytes.recv_timeout(PATIENCE) {
            Ok(bytes) => return Ok(bytes),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::new(ErrorKind::Unexpected, "the reading thread is gone"));
            }
        }
    }
}

/// The bytes as a secret, without one newline at the end.
fn text(mut bytes: Vec<u8>, what: &str) -> Result<Secret> {
    if bytes.len() > MAX_SECRET {
        return Err(too_long(what));
    }
    if bytes.pop_if(|last| *last == b'\n').is_some() {
        bytes.pop_if(|last| *last == b'\r');
    }
    // The error of the conversion would hold the value.
    String::from_utf8(bytes).map(Secret).map_err(|_| not_text(what))
}

fn too_long(what: &str) -> Error {
    invalid(format!("{what} is longer than {MAX_SECRET} bytes"))
        .hint("give the secret alone: a password, a key or a token")
}

fn not_text(what: &str) -> Error {
    invalid(format!("{what} is not UTF-8"))
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}
