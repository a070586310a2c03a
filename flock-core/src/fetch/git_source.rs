//! Git repositories and what is wanted of them, as people write it.

use std::fmt;
use std::str::FromStr;

use url::Url;

use super::redact::{base64, percent_decoded, redacted};
use crate::location::{invalid, scheme};
use crate::secret::Secret;
use crate::{Error, ErrorKind};

/// Which commit of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GitReference {
    /// The one that the repository's `HEAD` points to.
    #[default]
    Default,
    /// The last one of a branch.
    Branch(String),
    /// The one that a tag names.
    Tag(String),
    /// The last one of the branch of that name, else the one of the tag.
    Name(String),
    /// This one: 40 hexadecimal digits (SHA-1) or 64 (SHA-256).
    Commit(String),
}

impl FromStr for GitReference {
    type Err = Error;

    /// Reads a full commit id, `refs/heads/BRANCH`, `refs/tags/TAG`, `HEAD`,
    /// or a name that is either. Names follow git-check-ref-format(1) and do
    /// not begin with a hyphen.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`].
    fn from_str(text: &str) -> Result<Self, Error> {
        let own = |name: &str| check_name(name, text).map(|()| name.to_owned());
        if matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self::Commit(text.to_ascii_lowercase()));
        }
        if text == "HEAD" {
            return Ok(Self::Default);
        }
        if let Some(branch) = text.strip_prefix("refs/heads/") {
            return own(branch).map(Self::Branch);
        }
        if let Some(tag) = text.strip_prefix("refs/tags/") {
            return own(tag).map(Self::Tag);
        }
        own(text).map(Self::Name)
    }
}

impl GitReference {
    /// The reference checked again, for it may have been made without
    /// [`FromStr`].
    pub(super) fn checked(&self) -> Result<(), Error> {
        match self {
            Self::Default => Ok(()),
            Self::Branch(name) | Self::Tag(name) | Self::Name(name) => check_name(name, name),
            Self::Commit(id) => match id.parse()? {
                Self::Commit(_) => Ok(()),
                _ => Err(invalid(format!("'{}' is not a full commit id", id.escape_debug()))
                    .hint("give all 40 (or 64) digits, as `git rev-parse` prints them")),
            },
        }
    }
}

impl fmt::Display for GitReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("HEAD"),
            Self::Branch(name) => write!(f, "refs/heads/{name}"),
            Self::Tag(name) => write!(f, "refs/tags/{name}"),
            Self::Name(name) | Self::Commit(name) => f.write_str(name),
        }
    }
}

/// A repository and the commit that is wanted of it.
///
/// In text: `URL` or `URL#REFERENCE`. The URL is one that git takes: by
/// `https`, `http`, `ssh`, `git` or `file`, `user@host:path`, or a local path,
/// which is taken from the working directory when the source is made.
///
/// ```
/// use flock_core::fetch::{GitReference, GitSource};
///
/// let source: GitSource = "https://example.org/shop.git#v2.1".parse()?;
/// assert_eq!(source.url(), "https://example.org/shop.git");
/// assert_eq!(source.reference, GitReference::Name("v2.1".to_owned()));
/// # Ok::<(), flock_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct GitSource {
    /// Without user and password, if it is by HTTP(S).
    url: String,
    login: Option<Secret>,
    /// The commit wanted.
    pub reference: GitReference,
}

impl GitSource {
    /// The repository at `url`, at `reference`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for a URL that git would not take or that
    /// it would take for an option, a remote helper (`ext::`) or a password
    /// where none can be; for a malformed reference.
    pub fn new(url: &str, reference: GitReference) -> Result<Self, Error> {
        reference.checked()?;
        let (url, login) = checked_url(url)?;
        Ok(Self { url, login, reference })
    }

    /// The repository's address, without user and password if it is by
    /// HTTP(S).
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The value of HTTP's `Authorization` header for the user and password
    /// that the URL held.
    pub(super) fn login(&self) -> Option<&Secret> {
        self.login.as_ref()
    }

    /// The submodule at `url`, as `.gitmodules` of this repository has it, and
    /// `commit`. A login of this one's URL is good for the same server only.
    pub(super) fn submodule(&self, url: &str, commit: &str) -> Result<Self, Error> {
        let is_relative = url.starts_with("./") || url.starts_with("../");
        let place = if is_relative { joined(&self.url, url)? } else { url.to_owned() };
        let mut source = Self::new(&place, GitReference::Commit(commit.to_owned()))?;
        if is_local(&source.url) && !(is_relative && is_local(&self.url)) {
            let message = "a submodule's address leads to this machine, which is not followed";
            return Err(Error::new(ErrorKind::InvalidData, message).hint(
                "give it an address by https or ssh, or a relative one in a repository here",
            ));
        }
        let origin = |url: &str| Url::parse(url).ok().map(|url| url.origin());
        if source.login.is_none() && origin(&source.url) == origin(&self.url) {
            source.login.clone_from(&self.login);
        }
        Ok(source)
    }

    /// The address for messages.
    pub(super) fn shown(&self) -> String {
        match Url::parse(&self.url) {
            Ok(url) if url.has_host() => redacted(&url),
            _ => self.url.clone(),
        }
    }
}

impl FromStr for GitSource {
    type Err = Error;

    /// # Errors
    /// As [`GitSource::new`].
    fn from_str(text: &str) -> Result<Self, Error> {
        match text.rsplit_once('#') {
            Some((url, reference)) => Self::new(url, reference.parse()?),
            None => Self::new(text, GitReference::Default),
        }
    }
}

impl fmt::Display for GitSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())?;
        match &self.reference {
            GitReference::Default => Ok(()),
            reference => write!(f, "#{reference}"),
        }
    }
}

impl fmt::Debug for GitSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GitSource({self})")
    }
}

/// A local path from the root, for git runs elsewhere; `user@host:path` as it
/// is. git tells the two apart by a colon before the first slash (git-fetch(1),
/// "Git URLs").
fn absolute(text: &str) -> Result<String, Error> {
    let is_remote = text.split('/').next().is_some_and(|head| head.contains(':'));
    if is_remote {
        return Ok(text.to_owned());
    }
    let path = std::path::absolute(text)
        .map_err(|source| invalid("the repository's path cannot be used").caused_by(source))?;
    path.into_os_string().into_string().map_err(|_| invalid("the repository's path is not UTF-8"))
}

/// Whether git reads the repository from this machine's disk.
fn is_local(url: &str) -> bool {
    url.starts_with('/') || scheme(url).is_some_and(|name| name.eq_ignore_ascii_case("file"))
}

/// A relative address of a submodule, from that of the repository above it, as
/// git-submodule(1), "add", has it.
fn joined(base: &str, relative: &str) -> Result<String, Error> {
    let malformed = || {
        Error::new(ErrorKind::InvalidData, "a submodule's relative address leads nowhere")
            .with("address", relative)
    };
    let mut base = base.trim_end_matches('/');
    let mut rest = relative;
    // What names the server is not taken off.
    let host = base.find("://").map_or(0, |at| at + 3);
    loop {
        if let Some(next) = rest.strip_prefix("./") {
            rest = next;
        } else if let Some(next) = rest.strip_prefix("../") {
            let path = base.get(host..).unwrap_or_default();
            let at = path.rfind('/').or_else(|| path.rfind(':').filter(|_| host == 0));
            let keep = at.ok_or_else(malformed)?;
            // The colon of HOST:PATH stays.
            let colon = usize::from(path.as_bytes().get(keep) == Some(&b':'));
            base = base.get(..host + keep + colon).unwrap_or_default();
            rest = next;
        } else {
            break;
        }
    }
    let slash = if base.ends_with(':') { "" } else { "/" };
    Ok(format!("{base}{slash}{rest}"))
}

/// The URL as git gets it, and the login that it must not see in its
/// arguments. Errors do not show the text: it may hold a password.
fn checked_url(text: &str) -> Result<(String, Option<Secret>), Error> {
    if text.is_empty() {
        return Err(invalid("the repository's address is empty"));
    }
    if text.starts_with('-') || text.chars().any(char::is_control) {
        return Err(invalid(
            "the repository's address begins with '-' or holds control characters",
        ));
    }
    let Some(scheme) = scheme(text) else {
        // `NAME::ADDRESS` runs the program git-remote-NAME.
        let helper = text.split_once("::").is_some_and(|(name, _)| !name.contains(['/', '[', '@']));
        if helper {
            return Err(invalid("git's remote helpers (NAME::ADDRESS) are not used")
                .hint("use https://, ssh://, git://, file:// or a path"));
        }
        return Ok((absolute(text)?, None));
    };
    let scheme = scheme.to_ascii_lowercase();
    let malformed = |source| invalid("the repository's URL is malformed").caused_by(source);
    match scheme.as_str() {
        "file" => Ok((text.to_owned(), None)),
        "http" | "https" => without_login(Url::parse(text).map_err(malformed)?),
        "ssh" | "git" => {
            let url = Url::parse(text).map_err(malformed)?;
            let host = url.host_str().unwrap_or_default();
            if host.is_empty() || host.starts_with('-') || url.username().starts_with('-') {
                return Err(invalid("the repository's URL names no usable host"));
            }
            if url.password().is_some() {
                return Err(invalid(format!("a password cannot be used with {scheme}://"))
                    .hint("use a key with ssh-agent, or https"));
            }
            Ok((text.to_owned(), None))
        }
        other => Err(invalid(format!("git repositories are not fetched by '{other}://'"))
            .hint("use https://, ssh://, git://, file:// or a path")),
    }
}

fn without_login(mut url: Url) -> Result<(String, Option<Secret>), Error> {
    let (user, password) = (url.username(), url.password());
    let login = (!user.is_empty() || password.is_some()).then(|| {
        let mut pair = percent_decoded(user);
        pair.push(b':');
        pair.extend(percent_decoded(password.unwrap_or_default()));
        Secret::new(format!("Basic {}", base64(&pair)))
    });
    let removed = url.set_username("").and_then(|()| url.set_password(None));
    removed.map_err(|()| invalid("the repository's URL names no host"))?;
    Ok((url.into(), login))
}

/// The rules of git-check-ref-format(1) for a name below `refs/heads/`.
fn check_name(name: &str, shown: &str) -> Result<(), Error> {
    let forbidden = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    let bad_part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    let well_formed = !name.starts_with('-')
        && name != "@"
        && !name.contains("..")
        && !name.contains("@{")
        && !name.contains(forbidden)
        && !name.ends_with('.')
        && !name.split('/').any(bad_part);
    if well_formed {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidConfig,
        format!("'{}' is no name of a branch or tag", shown.escape_debug()),
    )
    .hint("give a branch, a tag or a full commit id"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn references() {
        let read = |text: &str| text.parse::<GitReference>().unwrap();
        let id = "A1".repeat(20);
        assert_eq!(read(&id), GitReference::Commit("a1".repeat(20)));
        assert_eq!(read("HEAD"), GitReference::Default);
        assert_eq!(read("refs/heads/a/b"), GitReference::Branch("a/b".to_owned()));
        assert_eq!(read("refs/tags/v1"), GitReference::Tag("v1".to_owned()));
        assert_eq!(read("a1a1a1a"), GitReference::Name("a1a1a1a".to_owned()));
        for bad in [
            "",
            "-x",
            "--upload-pack=x",
            "a..b",
            "a b",
            "a:b",
            "/a",
            "a/",
            "a//b",
            ".a",
            "a.lock",
            "a/.b",
            "@",
            "a@{1}",
            "a^",
            "a\n",
            "refs/heads/",
            "refs/heads/-x",
            "a.",
        ] {
            let error = bad.parse::<GitReference>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{bad}");
        }
        assert!(GitReference::Commit("--x".to_owned()).checked().is_err());
        assert!(GitReference::Commit("abc".to_owned()).checked().is_err());
    }

    #[test]
    fn addresses() {
        for good in ["https://h/x", "ssh://git@h/x", "git@h:x.git", "/a/b", "git://h/x"] {
            assert_eq!(good.parse::<GitSource>().unwrap().url(), good);
        }
        let here = std::env::current_dir().unwrap().join("a:b/../c");
        let source: GitSource = "./a:b/../c".parse().unwrap();
        assert_eq!(source.url(), here.to_str().unwrap());
        for bad in [
            "",
            "-x",
            "--upload-pack=x",
            "ext::sh -c x",
            "fd::7",
            "ftp://h/x",
            "ssh://-oX/x",
            "ssh://u:p@h/x",
            "https://",
            "a\nb",
            "https://h/x#-b",
            "#main",
        ] {
            assert_eq!(bad.parse::<GitSource>().unwrap_err().kind(), ErrorKind::InvalidConfig);
        }
    }

    #[test]
    fn submodules_are_where_git_looks_for_them() {
        let id = "0".repeat(40);
        let place = |base: &str, url: &str| {
            let above: GitSource = base.parse().unwrap();
            above.submodule(url, &id).map(|source| source.url().to_owned())
        };
        for (base, url, expected) in [
            ("https://h/a/shop.git", "../lib.git", "https://h/a/lib.git"),
            ("https://h/a/shop/", "./lib", "https://h/a/shop/lib"),
            ("https://h/a/shop", "../../b/lib", "https://h/b/lib"),
            ("git@h:a/shop", "../lib", "git@h:a/lib"),
            ("git@h:shop", "../lib", "git@h:lib"),
            ("/srv/shop", "../lib", "/srv/lib"),
            ("file:///srv/shop", "../lib", "file:///srv/lib"),
            ("/srv/shop", "https://h/lib", "https://h/lib"),
            ("https://h/shop", "git@h:lib", "git@h:lib"),
        ] {
            assert_eq!(place(base, url).unwrap(), expected);
        }
        for (base, url) in [
            ("https://h/shop", "/etc/private"),
            ("https://h/shop", "file:///etc/private"),
            ("https://h/shop", "lib"),
            ("/srv/shop", "/srv/private"),
            ("https://h/shop", "../../lib"),
            ("https://h/shop", "ext::sh -c x"),
            ("https://h/shop", "-x"),
        ] {
            let error = place(base, url).unwrap_err();
            let refused = matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::InvalidConfig);
            assert!(refused, "{base} {url}: {error}");
        }
        let above: GitSource = "https://me:hush@h/shop".parse().unwrap();
        assert!(above.submodule("../lib", &id).unwrap().login().is_some());
        assert!(above.submodule("https://other/lib", &id).unwrap().login().is_none());
    }

    #[test]
    fn a_password_is_kept_apart() {
        let source: GitSource = "https://me:hu%40sh@h/x#main".parse().unwrap();
        assert_eq!(source.url(), "https://h/x");
        assert_eq!(source.to_string(), "https://h/x#main");
        assert_eq!(source.login().unwrap().expose(), format!("Basic {}", base64(b"me:hu@sh")));
        assert!(!format!("{source:?}").contains("sh@"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "((https|ssh|file|ext)(://|::)|)\\PC*(#\\PC*|)") {
            if let Ok(source) = text.parse::<GitSource>() {
                prop_assert!(!source.url().starts_with('-'));
                prop_assert!(!source.reference.to_string().starts_with('-'));
            }
        }
    }
}
