//! The commands: one table, from which requests are checked and run and
//! `listApis` answers.

mod accounts;
mod affinity_groups;
mod call;
mod capabilities;
mod deploy;
mod jobs;
mod key_pairs;
mod lists;
mod machine_jobs;
mod machines;
mod networks;
mod offerings;
mod parameters;
mod permissions;
mod register;
mod security_groups;
mod snapshots;
mod tags;
mod template_jobs;
mod templates;
mod uploads;
mod volume_jobs;
mod volumes;

use std::collections::HashMap;
use std::sync::LazyLock;

pub(crate) use self::call::{Call, Errand, Prepared};
pub(crate) use self::parameters::{Parameter, check};
use super::error::ApiError;

/// The JSON object inside a reply's envelope.
pub(crate) type Outcome = Result<String, ApiError>;

/// A command of the API.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) name: &'static str,
    /// What `listApis` says that it does.
    pub(crate) what: &'static str,
    /// Whether it starts a job.
    pub(crate) is_async: bool,
    /// The name of the reply, where it is not the command's.
    pub(crate) envelope: Option<&'static str>,
    /// What must be done before the world is touched.
    pub(crate) prepare: Option<Prepare>,
    /// The parameters, in groups.
    pub(crate) groups: &'static [&'static [Parameter]],
    pub(crate) run: fn(&mut Call<'_>) -> Outcome,
}

/// What takes time and must not be done under the world's lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prepare {
    /// Ask the address in `url` for the size of what is there.
    RemoteSize,
    /// Make an SSH key pair.
    KeyPair,
}

impl Command {
    /// A command that answers at once.
    const fn sync(
        name: &'static str,
        what: &'static str,
        groups: &'static [&'static [Parameter]],
        run: fn(&mut Call<'_>) -> Outcome,
    ) -> Self {
        Self { name, what, is_async: false, envelope: None, prepare: None, groups, run }
    }

    /// A command that starts a job.
    const fn job(
        name: &'static str,
        what: &'static str,
        groups: &'static [&'static [Parameter]],
        run: fn(&mut Call<'_>) -> Outcome,
    ) -> Self {
        Self { is_async: true, ..Self::sync(name, what, groups, run) }
    }

    const fn preparing(mut self, prepare: Prepare) -> Self {
        self.prepare = Some(prepare);
        self
    }

    const fn in_envelope(mut self, envelope: &'static str) -> Self {
        self.envelope = Some(envelope);
        self
    }

    /// All parameters.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &'static Parameter> {
        self.groups.iter().copied().flatten()
    }

    /// The name of the object that a reply is.
    pub(crate) fn envelope(&self) -> String {
        match self.envelope {
            Some(envelope) => envelope.to_owned(),
            None => format!("{}response", self.name.to_ascii_lowercase()),
        }
    }

    /// Whether it changes something, as CloudStack tells by the name.
    pub(crate) fn is_change(&self) -> bool {
        !["list", "get", "query", "find"].iter().any(|verb| self.name.starts_with(verb))
    }
}

/// Every command, by area.
const ALL: &[&[Command]] = &[
    accounts::COMMANDS,
    affinity_groups::COMMANDS,
    capabilities::COMMANDS,
    deploy::COMMANDS,
    jobs::COMMANDS,
    key_pairs::COMMANDS,
    machines::COMMANDS,
    machine_jobs::COMMANDS,
    networks::COMMANDS,
    offerings::COMMANDS,
    permissions::COMMANDS,
    register::COMMANDS,
    security_groups::COMMANDS,
    snapshots::COMMANDS,
    tags::COMMANDS,
    template_jobs::COMMANDS,
    templates::COMMANDS,
    uploads::COMMANDS,
    volume_jobs::COMMANDS,
    volumes::COMMANDS,
];

/// The commands in the order of their names.
pub(crate) fn all() -> Vec<&'static Command> {
    let mut all: Vec<_> = ALL.iter().copied().flatten().collect();
    all.sort_by_key(|command| command.name);
    all
}

/// The command of this name, in any case.
pub(crate) fn find(name: &str) -> Option<&'static Command> {
    static BY_NAME: LazyLock<HashMap<String, &'static Command>> = LazyLock::new(|| {
        all().into_iter().map(|command| (command.name.to_ascii_lowercase(), command)).collect()
    });
    BY_NAME.get(&name.to_ascii_lowercase()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_there_once_with_sound_parameters() {
        let names: Vec<_> = all().iter().map(|command| command.name).collect();
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
        for command in all() {
            let mut names: Vec<_> = command.parameters().map(|one| one.name).collect();
            names.sort_unstable();
            assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{}", command.name);
            assert!(names.iter().all(|name| *name == name.to_ascii_lowercase()));
        }
    }

    #[test]
    fn commands_are_found_in_any_case() {
        assert_eq!(find("LISTZONES").map(|command| command.name), Some("listZones"));
        assert!(find("listzone").is_none());
        assert!(!find("listZones").unwrap().is_change());
        assert!(find("deployVirtualMachine").unwrap().is_change());
        assert_eq!(
            find("getUploadParamsForTemplate").unwrap().envelope(),
            "postuploadtemplateresponse"
        );
    }

    /// Set to write the documented commands anew instead of comparing them.
    const UPDATE: &str = "FLOCK_UPDATE_DOCS";

    #[test]
    fn the_commands_are_documented() {
        const MARK: &str = "<!-- commands -->\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/simulator.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (before, rest) = text.split_once(MARK).unwrap();
        let (_, after) = rest.split_once(MARK).unwrap();
        let list = |is_async| {
            let names = all().into_iter().filter(|command| command.is_async == is_async);
            names.map(|command| format!("- `{}`\n", command.name)).collect::<String>()
        };
        let (sync, jobs) = (list(false), list(true));
        let expected =
            format!("{before}{MARK}\nAt once:\n\n{sync}\nBy a job:\n\n{jobs}\n{MARK}{after}");
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(path, expected).unwrap();
        } else {
            assert_eq!(text, expected, "{UPDATE}=1 writes the commands into docs/simulator.md");
        }
    }
}
