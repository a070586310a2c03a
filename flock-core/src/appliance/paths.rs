//! Paths as a person would write them.

use std::path::{Component, Path, PathBuf};

/// The same path without what says nothing: `web/../base.tar` is `base.tar`.
/// A name is only folded with the `..` behind it if it is a directory and not
/// a symbolic link, whose parent is elsewhere.
pub(super) fn tidy(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if is_own_directory(&out) => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    if out.as_os_str().is_empty() { PathBuf::from(".") } else { out }
}

/// Whether the path ends in the name of a directory, and not in one of a link.
fn is_own_directory(path: &Path) -> bool {
    matches!(path.components().next_back(), Some(Component::Normal(_)))
        && path.symlink_metadata().is_ok_and(|there| there.is_dir())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_says_nothing_goes() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("apps/web")).unwrap();
        symlink("apps/web", root.join("link")).unwrap();
        for (written, want) in [
            ("apps/web/../base.tar", "apps/base.tar"),
            ("apps/./web//../../base.tar", "base.tar"),
            ("link/../base.tar", "link/../base.tar"),
            ("missing/../base.tar", "missing/../base.tar"),
            ("apps/web/..", "apps"),
        ] {
            assert_eq!(tidy(&root.join(written)), root.join(want), "{written}");
        }
        assert_eq!(tidy(Path::new("../../x")), Path::new("../../x"));
        assert_eq!(tidy(Path::new("./")), Path::new("."));
    }
}
