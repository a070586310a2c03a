//! Submodules (gitmodules(5), git-submodule(1)): each at the commit that the
//! one above it names, all in one tree.

use std::path::Path;

use super::blocking;
use super::git::{Wanted, fetch};
use super::git_run::Git;
use super::git_source::GitSource;
use super::options::FetchOptions;
use crate::{Context, Error, ErrorKind, Result};

/// How many submodules a commit may have in all, those of submodules too.
const MAX_MODULES: usize = 256;

/// What names a submodule in a listing of git-ls-tree(1).
const GITLINK: &str = "160000 commit ";

/// A submodule and where it goes.
struct Module {
    source: GitSource,
    commit: String,
    /// Its directory, from the top, with a slash at the end.
    prefix: String,
}

/// Fetches the submodules of `commit` into the repository and returns a commit
/// whose tree has them in their places: `commit` itself if it has none.
pub(super) async fn included(
    git: &Git,
    ctx: &Context,
    options: &FetchOptions,
    source: &GitSource,
    commit: &str,
    repository: &Path,
) -> Result<String> {
    let top = Module { source: source.clone(), commit: commit.to_owned(), prefix: String::new() };
    let mut open = below(git, ctx, &top).await?;
    let mut modules: Vec<Module> = Vec::new();
    while let Some(module) = open.pop() {
        if modules.len() == MAX_MODULES {
            let message = format!("{source} has more than {MAX_MODULES} submodules");
            return Err(Error::new(ErrorKind::InvalidData, message));
        }
        bring(ctx, options, &module, repository).await?;
        open.extend(below(git, ctx, &module).await?);
        // Above before below, as `open` gives them.
        modules.push(module);
    }
    if modules.is_empty() {
        return Ok(commit.to_owned());
    }
    merged(git, ctx, commit, &modules, repository).await
}

async fn bring(
    ctx: &Context,
    options: &FetchOptions,
    module: &Module,
    repository: &Path,
) -> Result<()> {
    let (options, source) = (options.clone(), module.source.clone());
    let git = blocking(ctx, move |_| Git::new(&options, &source)).await?;
    let git = git.in_repository(repository);
    let wanted = Wanted { name: module.commit.clone(), commit: module.commit.clone() };
    fetch(&git, ctx, &module.source, &wanted).await.map_err(|error| {
        let place = module.prefix.trim_end_matches('/').to_owned();
        error.with("submodule", place.clone()).hint(format!("it is the submodule '{place}'"))
    })
}

/// The submodules that a commit names itself. Those of `update = none` are
/// left out, as git does.
async fn below(git: &Git, ctx: &Context, above: &Module) -> Result<Vec<Module>> {
    let commit = above.commit.as_str();
    let listed = git.run(ctx, &["ls-tree", "--name-only", commit, "--", ".gitmodules"]).await?;
    if listed.is_empty() {
        return Ok(Vec::new());
    }
    let blob = format!("{commit}:.gitmodules");
    let text = git.run(ctx, &["config", "--blob", &blob, "--null", "--list"]).await?;
    let mut modules = Vec::new();
    for named in named(&text) {
        let (Some(path), Some(url)) = (&named.path, &named.url) else { continue };
        if named.is_off || !is_plain(path) {
            continue;
        }
        let entry = git.run(ctx, &["ls-tree", "-z", commit, "--", path]).await?;
        let entry = entry.split('\0').next().and_then(|line| line.split_once('\t'));
        let Some((what, found)) = entry else { continue };
        let Some(id) = what.strip_prefix(GITLINK).filter(|_| found == path) else { continue };
        let source = above.source.submodule(url, id.trim()).map_err(|error| {
            error.with("submodule", path.clone()).hint(format!("it is the submodule '{path}'"))
        })?;
        let prefix = format!("{}{path}/", above.prefix);
        modules.push(Module { source, commit: id.trim().to_owned(), prefix });
    }
    Ok(modules)
}

/// What `.gitmodules` says of a submodule.
#[derive(Debug, Default, PartialEq, Eq)]
struct Named {
    name: String,
    path: Option<String>,
    url: Option<String>,
    is_off: bool,
}

/// Reads what `git config --null --list` prints of it: `KEY\nVALUE\0`.
fn named(listing: &str) -> Vec<Named> {
    let mut all: Vec<Named> = Vec::new();
    for setting in listing.split('\0') {
        let Some((key, value)) = setting.split_once('\n') else { continue };
        let Some((name, what)) =
            key.strip_prefix("submodule.").and_then(|rest| rest.rsplit_once('.'))
        else {
            continue;
        };
        let at = all.iter().position(|known| known.name == name).unwrap_or_else(|| {
            all.push(Named { name: name.to_owned(), ..Named::default() });
            all.len() - 1
        });
        let Some(known) = all.get_mut(at) else { continue };
        match what {
            "path" => known.path = Some(value.to_owned()),
            "url" => known.url = Some(value.to_owned()),
            "update" => known.is_off = value == "none",
            _ => {}
        }
    }
    all
}

/// Whether a path is one of a tree, and cannot be taken for anything else.
fn is_plain(path: &str) -> bool {
    let is_part = |part: &str| !matches!(part, "" | "." | "..");
    !path.starts_with(['-', ':']) && path.split('/').all(is_part)
}

/// A commit with the submodules' trees in the places of their links. It has
/// the time of the one that was asked for, and so is always the same.
async fn merged(
    git: &Git,
    ctx: &Context,
    commit: &str,
    modules: &[Module],
    repository: &Path,
) -> Result<String> {
    // These commands want a work tree, and do not touch it.
    let tree = format!("--work-tree={}", repository.display());
    git.run(ctx, &[&tree, "read-tree", commit]).await?;
    for module in modules {
        let path = module.prefix.trim_end_matches('/');
        git.run(ctx, &[&tree, "update-index", "--force-remove", "--", path]).await?;
        let prefix = format!("--prefix={}", module.prefix);
        git.run(ctx, &[&tree, "read-tree", &prefix, &module.commit]).await?;
    }
    let whole = git.run(ctx, &[&tree, "write-tree"]).await?;
    let time = git.run(ctx, &["show", "--no-patch", "--format=%ct", commit]).await?;
    let git = git.clone().committing_at(time.trim());
    let made = git.run(ctx, &["commit-tree", whole.trim(), "-m", commit]).await?;
    Ok(made.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gitmodules_says_is_read() {
        let listing = "core.x\ny\0submodule.a.b.path\nlib/a\0submodule.a.b.url\n../a\0\
                       submodule.c.update\nnone\0submodule.c.path\nc\0novalue\0";
        let all = named(listing);
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].name.as_str(), all[0].url.as_deref()), ("a.b", Some("../a")));
        assert!(all[1].is_off && all[1].url.is_none());
        for bad in ["", "-x", ":x", "a/../b", "a//b", "/a", "./a"] {
            assert!(!is_plain(bad), "{bad}");
        }
        assert!(is_plain("vendor/lib.x"));
    }
}
