//! Commits of git repositories as plain tar files, by the `git` program: the
//! user's credential helpers, SSH configuration and proxies work as always.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::git_modules::included;
use super::git_run::{Git, Said};
use super::git_source::{GitReference, GitSource};
use super::options::FetchOptions;
use super::{Fetcher, blocking};
use crate::cache::{Cache, CacheKey, CacheLock};
use crate::progress::Unit;
use crate::{Context, Error, ErrorKind, Result};

/// Every file is in the archive as it is in the commit: what the repository's
/// own attributes leave out or rewrite is put back.
const ATTRIBUTES: &str = "* -export-ignore -export-subst -filter\n";

/// Where the fetched commit is in the temporary repository.
const FETCHED: &str = "refs/flock/fetched";

/// A commit of a git repository on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GitCheckout {
    /// A plain tar with every file of the commit, in the cache. Owners are 0,
    /// modes 0644, 0755 or 0777 (links), times that of the commit.
    pub tar: PathBuf,
    /// The commit's full id.
    pub commit: String,
    /// Whether the tar was here already.
    pub from_cache: bool,
}

impl Fetcher {
    /// Brings a commit of a git repository to this machine as a plain tar.
    ///
    /// It asks the repository which commit a branch or tag is at, and fetches
    /// that one commit without its history, unless the cache has it. With a
    /// full commit id there is nothing to ask: what is in the cache needs no
    /// network. Files that `export-ignore` would leave out are in; filters are
    /// not run.
    ///
    /// Submodules are in, and theirs, each at the commit that the one above it
    /// names, but for those with `update = none`. Their addresses may be
    /// relative or by `https`, `http`, `ssh` or `git`; one that leads to this
    /// machine only if it is relative and the repository itself is here, so
    /// that nobody's repository takes files from yours. A login in the options
    /// goes to its own host.
    ///
    /// A commit with files in Git LFS is refused, for what it holds are
    /// pointers, of no use in an appliance.
    ///
    /// It runs `git` (2.31 or later) without a shell, and so that it never
    /// asks: a login comes from the user's credential helpers, an SSH agent or
    /// key file, the options, or the URL, and is never in git's arguments.
    /// Idempotent; cancel-safe.
    ///
    /// # Errors
    /// - [`ErrorKind::Unsupported`]: there is no `git` program; the commit has
    ///   files in Git LFS;
    /// - [`ErrorKind::NotFound`]: no such repository, branch, tag or commit;
    /// - [`ErrorKind::Unauthenticated`]: the server wants a login, or its SSH
    ///   host key is not known;
    /// - [`ErrorKind::Unavailable`]: it cannot be reached;
    /// - [`ErrorKind::InvalidData`]: an untrusted certificate, a server that is
    ///   none of git, a submodule whose address is not allowed;
    /// - [`ErrorKind::QuotaExceeded`]: a full disk;
    /// - [`ErrorKind::InvalidConfig`]: a malformed reference;
    /// - [`ErrorKind::Cancelled`], [`ErrorKind::Timeout`].
    pub async fn checkout(&self, ctx: &Context, source: &GitSource) -> Result<GitCheckout> {
        let ctx = &self.bounded(ctx);
        ctx.check()?;
        let run = async {
            source.reference.checked()?;
            if let GitReference::Commit(commit) = &source.reference
                && let Some(found) = self.cached_commit(ctx, commit).await?
            {
                return Ok(found);
            }
            self.checkout_by_git(ctx, source).await
        };
        run.await
            .map_err(|error: Error| error.during("git.checkout").with("repository", source.shown()))
    }

    async fn cached_commit(&self, ctx: &Context, commit: &str) -> Result<Option<GitCheckout>> {
        let tar = self.lookup(ctx, commit_key(commit)).await?;
        let commit = commit.to_owned();
        Ok(tar.map(|(tar, _)| GitCheckout { tar, commit, from_cache: true }))
    }

    async fn checkout_by_git(&self, ctx: &Context, source: &GitSource) -> Result<GitCheckout> {
        let (options, own) = (self.options().clone(), source.clone());
        let git = blocking(ctx, move |_| Git::new(&options, &own)).await?;
        let wanted = match &source.reference {
            GitReference::Commit(commit) => Wanted { name: commit.clone(), commit: commit.clone() },
            reference => advertised(&git, ctx, source, reference).await?,
        };
        if let Some(found) = self.cached_commit(ctx, &wanted.commit).await? {
            return Ok(found);
        }
        let task = ctx.task(format!("fetch {source}"), Unit::Items, Some(1));
        let cache = self.options().cache.clone();
        let url = source.url().to_owned();
        let room = blocking(ctx, move |ctx| Room::open(&cache, &url, ctx)).await?;
        // Whoever held the room before us may have brought it.
        if let Some(found) = self.cached_commit(ctx, &wanted.commit).await? {
            task.skip("another call brought it");
            return Ok(found);
        }
        let git = git.in_repository(&room.path);
        let made = bring(&git, ctx, source, &wanted, self.options(), &room.path).await;
        let closed = blocking(&Context::new(), move |_| room.close()).await;
        let found = made?;
        closed?;
        task.advance(1);
        task.done();
        self.prune_once(ctx).await;
        Ok(found)
    }
}

fn commit_key(commit: &str) -> CacheKey {
    CacheKey::derived("git-tar", &[commit, "with submodules"])
}

/// What to ask the server for.
pub(super) struct Wanted {
    /// A full reference name, or a commit id.
    pub(super) name: String,
    /// The commit that it stood for when we asked.
    pub(super) commit: String,
}

/// Asks the repository what the reference stands for.
async fn advertised(
    git: &Git,
    ctx: &Context,
    source: &GitSource,
    reference: &GitReference,
) -> Result<Wanted> {
    // In the order of preference.
    let names = match reference {
        GitReference::Default => vec!["HEAD".to_owned()],
        GitReference::Name(name) => vec![format!("refs/heads/{name}"), format!("refs/tags/{name}")],
        other => vec![other.to_string()],
    };
    let mut arguments = vec!["ls-remote".to_owned(), "--".to_owned(), source.url().to_owned()];
    arguments.extend(names.iter().cloned());
    // What an annotated tag points to is listed under this name.
    arguments.extend(names.iter().map(|name| format!("{name}^{{}}")));
    let listing = git.run(ctx, &arguments).await?;
    let id_of = |name: &str| {
        let mut lines = listing.lines().filter_map(|line| line.split_once('\t'));
        lines.find(|(_, listed)| *listed == name).map(|(id, _)| id.to_owned())
    };
    for name in names {
        if let Some(commit) = id_of(&format!("{name}^{{}}")).or_else(|| id_of(&name)) {
            return Ok(Wanted { name, commit });
        }
    }
    let message = match reference {
        GitReference::Default => format!("{} is empty", source.shown()),
        _ => format!("{} has no branch or tag '{reference}'", source.shown()),
    };
    Err(Error::new(ErrorKind::NotFound, message)
        .hint("`git ls-remote` lists the branches and tags; a commit needs its full id"))
}

/// Fetches the commit and writes its tar.
async fn bring(
    git: &Git,
    ctx: &Context,
    source: &GitSource,
    wanted: &Wanted,
    options: &FetchOptions,
    repository: &Path,
) -> Result<GitCheckout> {
    let cache = &options.cache;
    let format = if wanted.commit.len() == 64 { "sha256" } else { "sha1" };
    let format = format!("--object-format={format}");
    let path = repository.to_string_lossy();
    // An empty template: no hooks or settings of the user come along.
    git.run(ctx, &["init", "--quiet", "--bare", "--template=", &format, "--", &path]).await?;
    let info = repository.join("info");
    blocking(ctx, move |_| {
        let attributes = info.join("attributes");
        fs::create_dir_all(&info)
            .and_then(|()| fs::write(&attributes, ATTRIBUTES))
            .map_err(|error| Error::io("write", &attributes, error))
    })
    .await?;
    fetch(git, ctx, source, wanted).await?;
    let peeled = format!("{FETCHED}^{{commit}}");
    let found = git.run(ctx, &["rev-parse", "--verify", "--quiet", &peeled]).await?;
    let commit = found.trim().to_owned();
    let whole = included(git, ctx, options, source, &commit, repository).await?;
    refuse_pointers(git, ctx, source, &whole).await?;

    let key = commit_key(&commit);
    let (place, name) = (cache.clone(), key.clone());
    let (writer, output) = blocking(ctx, move |_| {
        let writer = place.insert(&name)?;
        let output = writer.file().try_clone();
        let output = output.map_err(|error| Error::io("write", writer.path(), error))?;
        Ok((writer, output))
    })
    .await?;
    let arguments = ["-c", "tar.umask=0022", "archive", "--format=tar", &whole];
    git.run_into(ctx, &arguments, Stdio::from(output)).await?;
    let (cache, origin) = (cache.clone(), format!("{} {commit}", source.shown()));
    let tar = blocking(ctx, move |_| {
        let tar = writer.commit()?;
        cache.set_origin(&key, &origin)?;
        Ok(tar)
    })
    .await?;
    Ok(GitCheckout { tar, commit, from_cache: false })
}

/// Fetches the one commit; with its history where the server cannot do less.
pub(super) async fn fetch(
    git: &Git,
    ctx: &Context,
    source: &GitSource,
    wanted: &Wanted,
) -> Result<()> {
    let spec = format!("+{}:{FETCHED}", wanted.name);
    let url = source.url();
    let base = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules"];
    let alone = [&base[..], &["--depth=1", "--", url, &spec]].concat();
    let first = match git.run(ctx, &alone).await {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    match Said::of(&first) {
        Said::NoShallow => {
            let deep = [&base[..], &["--", url, &spec]].concat();
            match git.run(ctx, &deep).await {
                Err(error) if Said::of(&error) == Said::NoSuchObject => {}
                other => return other.map(drop),
            }
        }
        // Not every server gives a commit by its id: look in all there is.
        Said::NoSuchObject if wanted.name == wanted.commit => {}
        _ => return Err(first),
    }
    let all = ["--", url, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
    git.run(ctx, &[&base[..], &all].concat()).await?;
    let peeled = format!("{}^{{commit}}", wanted.commit);
    let update = ["update-ref", FETCHED, &wanted.commit];
    let known = git.run(ctx, &["rev-parse", "--verify", "--quiet", &peeled]).await;
    if known.is_err() {
        ctx.check()?;
        let message = format!("{} has no commit {}", source.shown(), wanted.commit);
        return Err(Error::new(ErrorKind::NotFound, message)
            .hint("check the id; commits that no branch or tag leads to are removed in time"));
    }
    git.run(ctx, &update).await.map(drop)
}

/// Fails if the commit has pointers in place of files (git-lfs,
/// `docs/spec.md`).
async fn refuse_pointers(git: &Git, ctx: &Context, source: &GitSource, commit: &str) -> Result<()> {
    let attributes = ":(glob)**/.gitattributes";
    let search = ["grep", "-q", "-F", "-e", "filter=lfs", commit, "--", attributes];
    if !git.succeeds(ctx, &search).await? {
        return Ok(());
    }
    let pointer = "^version https://git-lfs.github.com/spec/v1$";
    if !git.succeeds(ctx, &["grep", "-q", "-e", pointer, commit]).await? {
        return Ok(());
    }
    let files = git.run(ctx, &["grep", "-l", "-e", pointer, commit]).await?;
    let first = files.lines().next().and_then(|line| line.split_once(':'));
    let first = first.map_or("", |(_, path)| path);
    let message =
        format!("{source} has files in Git LFS, '{first}' for one, and only pointers here");
    Err(Error::new(ErrorKind::Unsupported, message)
        .with("file", first)
        .hint("clone it, run `git lfs pull`, and build from that directory with the type TAR"))
}

/// The directory of the cache where a repository is while its commit is
/// brought. Locked by URL, so what is found there is a killed run's leftover.
struct Room {
    path: PathBuf,
    _lock: CacheLock,
}

impl Room {
    fn open(cache: &Cache, url: &str, ctx: &Context) -> Result<Self> {
        let key = CacheKey::derived("git", &[url]);
        let lock = cache.lock(&key, ctx)?;
        let parent = std::path::absolute(cache.dir().join("git"))
            .map_err(|error| Error::io("find", cache.dir(), error))?;
        fs::create_dir_all(&parent).map_err(|error| Error::io("create", &parent, error))?;
        let path = parent.join(key.as_str());
        remove(&path)?;
        cache.remove_work_leftovers()?;
        Ok(Self { path, _lock: lock })
    }

    fn close(self) -> Result<()> {
        remove(&self.path)
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove", path, error))
        }
        _ => Ok(()),
    }
}
