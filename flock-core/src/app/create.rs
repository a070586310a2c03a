//! Makes the `config.yaml` of a new application.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::{AppConfig, CONFIG_FILE, Location, RepositoryType};
use crate::{Error, ErrorKind, Result};

/// The file as flockr generated it, explained, with the new keys as comments.
const TEMPLATE: &str = include_str!("template.yaml");

/// What is known of a new application; the rest stays a placeholder.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct NewApp {
    /// The base. A relative path is taken from the directory that gets the
    /// application's directory.
    pub base: Option<Location>,
    /// The application's repository; a relative path as for the base.
    pub repository: Option<Location>,
    /// What the repository is.
    pub kind: Option<RepositoryType>,
    /// The directory of the appliance that the application replaces; flockr's
    /// `/var/www/html/` otherwise.
    pub wwwroot: Option<String>,
}

impl NewApp {
    /// Sets [`base`](Self::base).
    #[must_use]
    pub fn with_base(mut self, base: Option<Location>) -> Self {
        self.base = base;
        self
    }

    /// Sets [`repository`](Self::repository).
    #[must_use]
    pub fn with_repository(mut self, repository: Option<Location>) -> Self {
        self.repository = repository;
        self
    }

    /// Sets [`kind`](Self::kind).
    #[must_use]
    pub fn with_kind(mut self, kind: Option<RepositoryType>) -> Self {
        self.kind = kind;
        self
    }

    /// Sets [`wwwroot`](Self::wwwroot).
    #[must_use]
    pub fn with_wwwroot(mut self, wwwroot: Option<String>) -> Self {
        self.wwwroot = wwwroot;
        self
    }
}

/// Makes `parent/name/config.yaml` and returns its path. Not idempotent: a
/// file that is there stays as it is.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] if there is such a file;
/// [`ErrorKind::InvalidConfig`] for a name that is not letters, digits, `.`,
/// `_` and `-`, or for values that the file cannot have; another if it cannot
/// be written. After an error nothing new is there.
pub fn create(parent: &Path, name: &str, new: &NewApp) -> Result<PathBuf> {
    check_name(name)?;
    let directory = parent.join(name);
    let path = directory.join(CONFIG_FILE);
    let text = render(new);
    AppConfig::parse(&text, &path.display().to_string())?;

    let made = match fs::create_dir(&directory) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(Error::io("make the directory", &directory, error)),
    };
    let written = write_new(&directory, &path, &text);
    if written.is_err() && made {
        // The first error is the one to tell.
        let _ = fs::remove_dir(&directory);
    }
    written.map(|()| path)
}

fn write_new(directory: &Path, path: &Path, text: &str) -> Result<()> {
    let failed = |source| Error::io("write", path, source);
    let mut file = tempfile::Builder::new()
        .prefix(".config.yaml.")
        .permissions(readable_by_all())
        .tempfile_in(directory)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            let message = format!("{} is there already", path.display());
            Err(Error::new(ErrorKind::AlreadyExists, message)
                .with("path", path.display().to_string())
                .hint("edit it, or choose another name"))
        }
        Err(error) => Err(failed(error.error)),
    }
}

/// Mode 0666 less the umask, as any new file.
fn readable_by_all() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    fs::Permissions::from_mode(0o666)
}

fn check_name(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let starts = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if starts && name.chars().all(allowed) && name.len() <= 64 {
        return Ok(());
    }
    let message = format!("'{name}' cannot be the name of an application");
    let hint = "use letters, digits, '.', '_' and '-', up to 64, a letter or digit first";
    Err(Error::new(ErrorKind::InvalidConfig, message).hint(hint))
}

fn render(new: &NewApp) -> String {
    let mut text = TEMPLATE.to_owned();
    let mut fill = |key: &str, placeholder: &str, value: Option<String>| {
        if let Some(value) = value {
            let (from, to) = (format!("  {key}: {placeholder}\n"), format!("  {key}: {value}\n"));
            text = text.replacen(&from, &to, 1);
        }
    };
    let location = |location: &Option<Location>| {
        location.as_ref().map(|location| scalar(&location.within(Path::new("..")).expose()))
    };
    let kind = new.kind.map(|kind| match kind {
        RepositoryType::Tar => "TAR".to_owned(),
        RepositoryType::Git => "GIT".to_owned(),
    });
    fill("base_url", "base_operating_system_path_or_url", location(&new.base));
    let repository = location(&new.repository);
    fill("application_repository", "application_repository_git_path_or_url", repository);
    fill("repository_type", "TAR_or_GIT", kind);
    fill("application_wwwroot", "/var/www/html/", new.wwwroot.as_deref().map(scalar));
    text
}

/// A text as a YAML scalar: plain where that is safe, otherwise quoted as in
/// JSON, which YAML contains (YAML 1.2.2, section 1.3).
fn scalar(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "/._-:@+%".contains(c);
    let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/' || c == '.');
    if starts && text.chars().all(safe) && !text.ends_with(':') {
        return text.to_owned();
    }
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_filled_in() {
        let parent = tempfile::tempdir().unwrap();
        let new = NewApp {
            base: Some("base #1: \"x\".tar".parse().unwrap()),
            repository: Some("https://example.org/site.git".parse().unwrap()),
            kind: Some(RepositoryType::Git),
            wwwroot: Some("/srv/www".to_owned()),
        };
        let path = create(parent.path(), "web", &new).unwrap();
        assert_eq!(path, parent.path().join("web/config.yaml"));
        let config = AppConfig::load(&path).unwrap();
        assert!(config.is_buildable());
        assert_eq!(config.build.base, Some(Location::Path("../base #1: \"x\".tar".into())));
        assert_eq!(config.build.applications[0].wwwroot, "/srv/www");
        assert_eq!(config.build.applications[0].kind, RepositoryType::Git);
        let left: Vec<_> = fs::read_dir(parent.path().join("web")).unwrap().collect();
        assert_eq!(left.len(), 1);
    }

    #[test]
    fn what_is_there_stays() {
        let parent = tempfile::tempdir().unwrap();
        let path = create(parent.path(), "web", &NewApp::default()).unwrap();
        fs::write(&path, "mine").unwrap();
        let error = create(parent.path(), "web", &NewApp::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn a_wrong_value_makes_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let new = NewApp { wwwroot: Some("/".to_owned()), ..NewApp::default() };
        assert!(create(parent.path(), "web", &new).is_err());
        for name in ["", "..", "a/b", "-x", ".x", "a b", "é", &"a".repeat(65)] {
            let error = create(parent.path(), name, &NewApp::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{name}");
        }
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
