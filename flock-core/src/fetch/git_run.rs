//! Running the `git` program so that it never asks and never runs what an
//! address names.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use url::Url;

use super::credentials;
use super::git_source::GitSource;
use super::options::{FetchOptions, ProxyChoice};
use crate::secret::Secret;
use crate::{Context, Error, ErrorKind, Result};

/// How much of git's output is read: what we ask for is far shorter.
const MAX_OUTPUT: u64 = 1 << 20;

/// The context key of what git printed on its error output.
const GIT_SAID: &str = "git";

/// Variables that would lead git to another repository than ours.
const REPOSITORY_VARIABLES: [&str; 9] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_SHALLOW_FILE",
    "GIT_EXTERNAL_DIFF",
];

/// How to run git for one source.
#[derive(Clone)]
pub(super) struct Git {
    /// The address for messages.
    shown: String,
    repository: Option<PathBuf>,
    /// Settings, given by the environment: arguments are seen by everybody.
    settings: Vec<(String, Secret)>,
    quiet_ssh: bool,
    /// The time of commits that are made.
    time: Option<String>,
}

impl Git {
    pub(super) fn new(options: &FetchOptions, source: &GitSource) -> Result<Self> {
        let mut settings = vec![
            ("core.autocrlf".to_owned(), Secret::new("false")),
            ("gc.auto".to_owned(), Secret::new("0")),
        ];
        let url = Url::parse(source.url()).ok().filter(|url| url.scheme().starts_with("http"));
        if let Some(url) = &url {
            if let Some(header) = login(options, source, url)? {
                // Only to this host and port.
                let origin = url.origin().ascii_serialization();
                settings.push((format!("http.{origin}/.extraHeader"), header));
                // git would take the header along to another host.
                settings.push(("http.followRedirects".to_owned(), Secret::new("false")));
            }
            match &options.proxy {
                ProxyChoice::Environment => {}
                ProxyChoice::Direct => settings.push(("http.proxy".to_owned(), Secret::new(""))),
                ProxyChoice::Url(proxy) => {
                    settings.push(("http.proxy".to_owned(), Secret::new(proxy.as_str())));
                }
            }
            if let Some(path) = &options.ca_file {
                let path = Secret::new(path.to_string_lossy());
                settings.push(("http.sslCAInfo".to_owned(), path));
            }
        }
        // Whoever has set a command for SSH has decided how it may ask.
        let own_ssh =
            ["GIT_SSH", "GIT_SSH_COMMAND"].iter().any(|name| std::env::var_os(name).is_some());
        let shown = source.shown();
        Ok(Self {
            shown,
            repository: None,
            settings,
            quiet_ssh: !own_ssh && !has_ssh_setting(),
            time: None,
        })
    }

    pub(super) fn in_repository(mut self, path: &Path) -> Self {
        self.repository = Some(path.to_path_buf());
        self
    }

    /// Makes commits in flock's name at this time, in seconds since 1970.
    pub(super) fn committing_at(mut self, time: &str) -> Self {
        self.time = Some(format!("@{time} +0000"));
        self
    }

    /// Runs git and returns what it printed.
    pub(super) async fn run<S: AsRef<OsStr>>(
        &self,
        ctx: &Context,
        arguments: &[S],
    ) -> Result<String> {
        let (status, printed, said) = self.execute(ctx, arguments, Stdio::piped()).await?;
        if status.success() { Ok(printed) } else { Err(failed(&self.shown, &said)) }
    }

    /// Runs git with its output going elsewhere.
    pub(super) async fn run_into(
        &self,
        ctx: &Context,
        arguments: &[&str],
        output: Stdio,
    ) -> Result<()> {
        let (status, _, said) = self.execute(ctx, arguments, output).await?;
        if status.success() { Ok(()) } else { Err(failed(&self.shown, &said)) }
    }

    /// Whether git ends with status 0, and not with 1.
    pub(super) async fn succeeds(&self, ctx: &Context, arguments: &[&str]) -> Result<bool> {
        let (status, _, said) = self.execute(ctx, arguments, Stdio::piped()).await?;
        match status.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(failed(&self.shown, &said)),
        }
    }

    async fn execute<S: AsRef<OsStr>>(
        &self,
        ctx: &Context,
        arguments: &[S],
        output: Stdio,
    ) -> Result<(ExitStatus, String, String)> {
        ctx.check()?;
        let mut command = self.command();
        command.args(arguments).stdout(output);
        let mut group = Group(command.spawn().map_err(|source| not_started(&source))?);
        let (out, err) = (group.0.stdout.take(), group.0.stderr.take());
        let work = async {
            let (printed, said) = tokio::try_join!(read(out), read(err))?;
            let status = group.0.wait().await.map_err(lost)?;
            Ok((status, printed, said))
        };
        ctx.run(work).await
    }

    fn command(&self) -> Command {
        let mut command = Command::new("git");
        if let Some(path) = &self.repository {
            command.arg("--git-dir").arg(path);
        }
        // Settings that the user's environment holds already stay.
        let before = std::env::var("GIT_CONFIG_COUNT").ok().and_then(|count| count.parse().ok());
        let before: usize = before.unwrap_or(0);
        for name in REPOSITORY_VARIABLES {
            command.env_remove(name);
        }
        command
            .args(["-c", "protocol.ext.allow=never", "-c", "core.hooksPath=/dev/null"])
            // English, for its messages are read below.
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "")
            .env("SSH_ASKPASS", "")
            .env("GCM_INTERACTIVE", "never")
            .env("GIT_ALLOW_PROTOCOL", "file:git:http:https:ssh")
            .env("GIT_CONFIG_COUNT", (before + self.settings.len()).to_string())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        for (number, (key, value)) in self.settings.iter().enumerate() {
            let number = before + number;
            command.env(format!("GIT_CONFIG_KEY_{number}"), key);
            command.env(format!("GIT_CONFIG_VALUE_{number}"), value.expose());
        }
        if let Some(time) = &self.time {
            for who in ["AUTHOR", "COMMITTER"] {
                command
                    .env(format!("GIT_{who}_NAME"), "flock")
                    .env(format!("GIT_{who}_EMAIL"), "flock@localhost")
                    .env(format!("GIT_{who}_DATE"), time);
            }
        }
        if self.quiet_ssh {
            command.env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes");
        }
        // Its own group, so that its helpers end with it.
        #[cfg(unix)]
        command.process_group(0);
        command
    }
}

/// The header that logs in: of the URL's user, else of the options. Blocks.
fn login(options: &FetchOptions, source: &GitSource, url: &Url) -> Result<Option<Secret>> {
    let value = match source.login() {
        Some(login) => login.expose().to_owned(),
        None => {
            let Some(value) = credentials::for_url(options, url)? else { return Ok(None) };
            value.to_str().map(str::to_owned).map_err(|_| {
                Error::new(ErrorKind::InvalidConfig, "the credential holds bytes beyond ASCII")
            })?
        }
    };
    Ok(Some(Secret::new(format!("Authorization: {value}"))))
}

fn has_ssh_setting() -> bool {
    let mut command = std::process::Command::new("git");
    command.args(["config", "--get", "core.sshCommand"]);
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// A running git; dropped early, it and its helpers are killed.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // No id: it has ended and was waited for.
        #[cfg(unix)]
        if let Some(id) = self.0.id().and_then(|id| i32::try_from(id).ok())
            && let Some(group) = rustix::process::Pid::from_raw(id)
        {
            // It may have ended by itself this moment.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> Result<String> {
    let Some(mut stream) = stream else { return Ok(String::new()) };
    let mut bytes = Vec::new();
    let mut start = (&mut stream).take(MAX_OUTPUT);
    start.read_to_end(&mut bytes).await.map_err(lost)?;
    // The rest must be taken away, or git would wait.
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map_err(lost)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn lost(source: std::io::Error) -> Error {
    Error::new(ErrorKind::Unexpected, "lost contact with git").caused_by(source)
}

/// Checks that there is a `git` program that runs. Blocks.
///
/// # Errors
/// [`ErrorKind::Unsupported`] if there is none.
pub(crate) fn check_git() -> Result<()> {
    let mut command = std::process::Command::new("git");
    let quiet = command.arg("--version").stdin(Stdio::null());
    let status = quiet.stdout(Stdio::null()).stderr(Stdio::null()).status();
    match status.map_err(|source| not_started(&source))? {
        status if status.success() => Ok(()),
        status => {
            Err(Error::new(ErrorKind::Unsupported, "git fails").with("cause", status.to_string()))
        }
    }
}

fn not_started(source: &std::io::Error) -> Error {
    let missing = source.kind() == std::io::ErrorKind::NotFound;
    let error =
        Error::new(ErrorKind::Unsupported, "cannot run git").with("cause", source.to_string());
    if missing { error.hint("install git (Debian: apt install git)") } else { error }
}

/// What a message of git amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    NoShallow,
    NoSuchObject,
    NotGit,
    Redirect,
    NoSuchRepository,
    HostKey,
    Login,
    Refused,
    Certificate,
    Ownership,
    DiskFull,
    Unreachable,
    Other,
}

impl Said {
    /// In the order in which they are looked for: one failure prints several.
    const MARKS: [(Self, &'static [&'static str]); 12] = [
        (Self::NoShallow, &["does not support shallow"]),
        (
            Self::NoSuchObject,
            &[
                "not our ref",
                "unadvertised object",
                "couldn't find remote ref",
                "no such remote ref",
                "unable to find remote ref",
            ],
        ),
        (
            Self::NotGit,
            &[
                "not valid: is this a git repository",
                "invalid server response",
                "could not determine hash algorithm",
                "protocol error: bad line length",
            ],
        ),
        (
            Self::Redirect,
            &[
                "unable to update url base from redirection",
                "returned error: 301",
                "returned error: 302",
                "returned error: 303",
                "returned error: 307",
                "returned error: 308",
                "unsupported protocol",
                "not supported or disabled in libcurl",
                "disabled in libcurl",
            ],
        ),
        (Self::HostKey, &["host key verification failed"]),
        (Self::Ownership, &["dubious ownership"]),
        (Self::DiskFull, &["no space left", "disk quota exceeded"]),
        (
            Self::Login,
            &[
                "authentication failed",
                "could not read username",
                "could not read password",
                "permission denied (",
                "terminal prompts disabled",
                "returned error: 401",
            ],
        ),
        (Self::Refused, &["returned error: 403", "permission denied"]),
        (Self::Certificate, &["certificate"]),
        (
            Self::NoSuchRepository,
            &[
                "not found",
                "does not exist",
                "not appear to be a git repo",
                "no such file",
                "not exported",
            ],
        ),
        (
            Self::Unreachable,
            &[
                "could not resolve",
                "couldn't connect",
                "failed to connect",
                "unable to connect",
                "connection refused",
                "connection timed out",
                "connection reset",
                "connection closed",
                "timed out",
                "network is unreachable",
                "no route to host",
                "unable to access",
                "early eof",
                "hung up",
                "rpc failed",
            ],
        ),
    ];

    pub(super) fn of(error: &Error) -> Self {
        Self::read(error.context_value(GIT_SAID).unwrap_or_default())
    }

    fn read(text: &str) -> Self {
        let text = text.to_lowercase();
        let said = |marks: &[&str]| marks.iter().any(|mark| text.contains(mark));
        Self::MARKS.iter().find(|(_, marks)| said(marks)).map_or(Self::Other, |(kind, _)| *kind)
    }
}

/// The error for a git that ended with a failure.
fn failed(shown: &str, said: &str) -> Error {
    let (kind, message, hint) = match Said::read(said) {
        Said::NoShallow => (ErrorKind::Unsupported, "the server gives whole histories only", ""),
        Said::NoSuchObject => (
            ErrorKind::NotFound,
            "the repository has no such branch, tag or commit",
            "`git ls-remote` lists the branches and tags",
        ),
        Said::NotGit => (
            ErrorKind::InvalidData,
            "the server answers, but not as a git server; it may be a web page",
            "open the address in a browser and take the one for cloning",
        ),
        Said::Redirect => (
            ErrorKind::InvalidData,
            "the git server redirects to an address that is not followed",
            "give the address that it leads to in the end; with a login none is followed, \
             and never one that is not http or https",
        ),
        Said::NoSuchRepository => (
            ErrorKind::NotFound,
            "there is no such git repository",
            "check the address; a private repository may hide behind this: check the login too",
        ),
        Said::HostKey => (
            ErrorKind::Unauthenticated,
            "the SSH host key of the git server is not known",
            "connect to it once with ssh and compare the key, or add it to known_hosts",
        ),
        Said::Login => (
            ErrorKind::Unauthenticated,
            "the git server wants a login",
            "set up a git credential helper or an SSH key, and try `git ls-remote` by hand",
        ),
        Said::Refused => (
            ErrorKind::PermissionDenied,
            "the git server refuses access",
            "check that this login may read the repository",
        ),
        Said::Certificate => (
            ErrorKind::InvalidData,
            "the git server's certificate is not trusted",
            "if the server is your own, name its certificate authority's file: the setting `ca_file` \
             (--ca-file, FLOCK_CA_FILE)",
        ),
        Said::Ownership => (
            ErrorKind::PermissionDenied,
            "the repository belongs to another user",
            "allow it with `git config --global --add safe.directory PATH`",
        ),
        Said::DiskFull => (
            ErrorKind::QuotaExceeded,
            "the disk is full",
            "free some space there, or place the cache elsewhere",
        ),
        Said::Unreachable => (
            ErrorKind::Unavailable,
            "the git server cannot be reached",
            "check how the host is spelt, the network, and the proxy settings (HTTPS_PROXY)",
        ),
        Said::Other => (ErrorKind::Unexpected, "git failed", ""),
    };
    let error = Error::new(kind, format!("{shown}: {message}")).with(GIT_SAID, tail(said));
    if hint.is_empty() { error } else { error.hint(hint) }
}

/// The last lines of what git printed.
fn tail(said: &str) -> String {
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_their_kinds() {
        for (text, kind) in [
            ("fatal: couldn't find remote ref refs/heads/x", ErrorKind::NotFound),
            (
                "fatal: unable to access 'https://h/': Could not resolve host: h",
                ErrorKind::Unavailable,
            ),
            (
                "fatal: could not read Username for 'https://h': terminal prompts disabled",
                ErrorKind::Unauthenticated,
            ),
            (
                "git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.",
                ErrorKind::Unauthenticated,
            ),
            ("Host key verification failed.\nfatal: Could not read", ErrorKind::Unauthenticated),
            ("fatal: '/x' does not appear to be a git repository", ErrorKind::NotFound),
            (
                "fatal: unable to access 'https://h/': The requested URL returned error: 403",
                ErrorKind::PermissionDenied,
            ),
            (
                "fatal: unable to access 'https://h/': SSL certificate problem: self-signed",
                ErrorKind::InvalidData,
            ),
            ("something else", ErrorKind::Unexpected),
        ] {
            assert_eq!(failed("x", text).kind(), kind, "{text}");
        }
    }
}
