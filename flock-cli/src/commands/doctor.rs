//! `flock doctor`.

use flock_core::doctor::{self, Check, State};
use serde::Serialize;

use super::Session;
use crate::exit::Exit;
use crate::output::{Result, Style};

/// What `flock doctor --json` prints.
#[derive(Debug, Serialize)]
struct Examined<'a> {
    /// Whether nothing is broken.
    ok: bool,
    checks: &'a [Check],
}

pub(crate) fn run(session: &Session) -> Result<Exit> {
    let checks = doctor::examine(&session.settings, &session.places);
    let ok = checks.iter().all(|check| check.state != State::Broken);
    let style = session.printer.out;
    session.printer.result(Examined { ok, checks: &checks }, || {
        checks.iter().map(|check| line(check, style)).collect()
    })?;
    Ok(if ok { Exit::Done } else { Exit::Failed })
}

fn line(check: &Check, style: Style) -> String {
    let state = match check.state {
        State::Ok => style.green("ok     "),
        State::Broken => style.red("broken "),
        _ => style.yellow("warning"),
    };
    let mut line = format!("{state}  {}: {}\n", check.name, check.detail);
    if let Some(hint) = &check.hint {
        line.push_str(&format!("         {hint}\n"));
    }
    line
}
