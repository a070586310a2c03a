//! Brings a build's inputs to this machine.

use std::path::{Path, PathBuf};

use super::BuildRequest;
use crate::app::{ApplicationConfig, Location, RepositoryType};
use crate::cache::Cache;
use crate::rootfs::checksum::Checksum;
use crate::{Context, Error, ErrorKind, Result};

/// The inputs of a build, all on this machine.
pub(super) struct Sources {
    pub(super) base: Vec<Input>,
    /// In the order of the request.
    pub(super) applications: Vec<Input>,
    /// Keeps what was fetched in the cache until the build has read it.
    pub(super) _in_use: Cache,
}

/// One input: a directory, or a tar archive in whatever compression.
pub(super) struct Input {
    pub(super) path: PathBuf,
    /// What is still to be verified of an archive.
    pub(super) checksum: Option<Checksum>,
    /// What it must unpack to.
    pub(super) content: Option<Checksum>,
    /// Where it was downloaded from, if nothing has vouched for its content.
    pub(super) download: Option<String>,
}

impl Sources {
    /// Fetches everything, the base and the applications at the same time.
    pub(super) async fn fetch(ctx: &Context, request: &BuildRequest) -> Result<Self> {
        let cache = Cache::at(&request.cache_dir);
        let remote = Remote::new(request, &cache);
        let mut applications = Vec::new();
        let all = async {
            for application in &request.applications {
                applications.push(remote.application(ctx, application).await?);
            }
            Ok(())
        };
        let base = remote.base(ctx, &request.base, request.base_checksum);
        let (base, ()) = tokio::try_join!(base, all)?;
        Ok(Self { base, applications, _in_use: cache })
    }
}

impl Input {
    fn local(path: &Path, checksum: Option<Checksum>) -> Self {
        Self { path: path.to_path_buf(), checksum, content: None, download: None }
    }
}

#[cfg(feature = "fetch")]
use with_network::Remote;
#[cfg(not(feature = "fetch"))]
use without_network::Remote;

/// Checks without fetching that every source can be asked for.
pub(super) fn check(request: &BuildRequest) -> Result<()> {
    Remote::check_base(&request.base, request.base_checksum)?;
    request.applications.iter().try_for_each(Remote::check_application)
}

/// Checks that the programs that fetching runs are here.
pub(super) fn check_programs(request: &BuildRequest) -> Result<()> {
    let git = |one: &&ApplicationConfig| one.kind == RepositoryType::Git;
    request.applications.iter().filter(git).try_for_each(Remote::check_git)
}

#[cfg(feature = "fetch")]
mod with_network {
    use super::Cache;
    use super::{ApplicationConfig, BuildRequest, Checksum, Context, Input, Location};
    use super::{Error, ErrorKind, Path, RepositoryType, Result};
    use crate::fetch::{self, FetchOptions, Fetcher, GitReference, GitSource};
    use crate::location::ImageReference;

    /// Where everything that is not here comes from.
    pub(super) struct Remote(Fetcher);

    impl Remote {
        pub(super) fn new(request: &BuildRequest, cache: &Cache) -> Self {
            let mut options = FetchOptions::new(cache.clone())
                .with_max_age(request.cache_max_age)
                .with_max_size(request.max_size);
            options.ca_file.clone_from(&request.ca_file);
            options.credentials_file.clone_from(&request.credentials_file);
            Self(Fetcher::new(options))
        }

        pub(super) fn check_base(base: &Location, checksum: Option<Checksum>) -> Result<()> {
            match base {
                Location::Image(image) => without_checksum(image, checksum).map(drop),
                location => archive(location).map(drop),
            }
        }

        pub(super) fn check_application(application: &ApplicationConfig) -> Result<()> {
            match application.kind {
                RepositoryType::Tar => archive(&application.repository).map(drop),
                RepositoryType::Git => repository(application).map(drop),
            }
        }

        /// Checks that there is a git, unless what is wanted may be here.
        pub(super) fn check_git(application: &ApplicationConfig) -> Result<()> {
            match repository(application)?.reference {
                GitReference::Commit(_) => Ok(()),
                _ => fetch::check_git(),
            }
        }

        pub(super) async fn base(
            &self,
            ctx: &Context,
            location: &Location,
            checksum: Option<Checksum>,
        ) -> Result<Vec<Input>> {
            let Location::Image(image) = location else {
                return Ok(vec![self.archive(ctx, location, checksum).await?]);
            };
            let image = self.0.pull(ctx, without_checksum(image, checksum)?).await?;
            // Their digests were verified as the layers came; what is in them
            // is, while they are unpacked.
            let layers = image.layers.iter().map(|layer| {
                let content = Some(layer.diff_id);
                Input { content, ..Input::local(&layer.path, Some(layer.digest)) }
            });
            Ok(layers.collect())
        }

        pub(super) async fn application(
            &self,
            ctx: &Context,
            application: &ApplicationConfig,
        ) -> Result<Input> {
            let location = &application.repository;
            match application.kind {
                RepositoryType::Tar => self.archive(ctx, location, application.checksum).await,
                RepositoryType::Git => {
                    let checkout = self.0.checkout(ctx, &repository(application)?).await?;
                    Ok(Input::local(&checkout.tar, None))
                }
            }
        }

        async fn archive(
            &self,
            ctx: &Context,
            location: &Location,
            checksum: Option<Checksum>,
        ) -> Result<Input> {
            match archive(location)? {
                Archive::Here(path) => Ok(Input::local(path, checksum)),
                Archive::There => {
                    let fetched = self.0.fetch(ctx, location, checksum.as_ref()).await?;
                    let download = checksum.is_none().then(|| location.to_string());
                    Ok(Input { download, ..Input::local(&fetched.path, None) })
                }
            }
        }
    }

    /// Where an archive is.
    enum Archive<'a> {
        Here(&'a Path),
        There,
    }

    fn archive(location: &Location) -> Result<Archive<'_>> {
        match location {
            Location::Path(path) => Ok(Archive::Here(path)),
            Location::Url(_) => Ok(Archive::There),
            Location::Image(_) | Location::Ssh(_) => {
                let message = format!("{location} is not the address of an archive");
                Err(Error::new(ErrorKind::InvalidConfig, message)
                    .hint("for a git repository say `repository_type: GIT`"))
            }
        }
    }

    /// Refuses a checksum for an image, which has a digest.
    fn without_checksum(
        image: &ImageReference,
        checksum: Option<Checksum>,
    ) -> Result<&ImageReference> {
        if checksum.is_some() {
            let message = "base_checksum is for archives, and the base is an image";
            return Err(Error::new(ErrorKind::InvalidConfig, message)
                .with("key", "build.base_checksum")
                .hint("name the image by its digest: oci://HOST/NAME@sha256:…"));
        }
        Ok(image)
    }

    fn repository(application: &ApplicationConfig) -> Result<GitSource> {
        let reference = match &application.reference {
            Some(reference) => reference.parse()?,
            None => GitReference::Default,
        };
        GitSource::new(&application.repository.expose(), reference)
    }
}

#[cfg(not(feature = "fetch"))]
mod without_network {
    use super::{ApplicationConfig, BuildRequest, Cache, Checksum, Context, Input, Location};
    use super::{Error, ErrorKind, RepositoryType, Result};

    /// Knows what is here, and says so of the rest.
    pub(super) struct Remote;

    impl Remote {
        pub(super) fn new(_request: &BuildRequest, _cache: &Cache) -> Self {
            Self
        }

        pub(super) fn check_base(base: &Location, checksum: Option<Checksum>) -> Result<()> {
            local(base, checksum).map(drop)
        }

        pub(super) fn check_application(application: &ApplicationConfig) -> Result<()> {
            match application.kind {
                RepositoryType::Tar => local(&application.repository, None).map(drop),
                RepositoryType::Git => Err(unsupported(&application.repository)),
            }
        }

        pub(super) fn check_git(application: &ApplicationConfig) -> Result<()> {
            Err(unsupported(&application.repository))
        }

        #[expect(clippy::unused_async, reason = "the same as with the feature")]
        pub(super) async fn base(
            &self,
            _ctx: &Context,
            location: &Location,
            checksum: Option<Checksum>,
        ) -> Result<Vec<Input>> {
            Ok(vec![local(location, checksum)?])
        }

        #[expect(clippy::unused_async, reason = "the same as with the feature")]
        pub(super) async fn application(
            &self,
            _ctx: &Context,
            application: &ApplicationConfig,
        ) -> Result<Input> {
            match application.kind {
                RepositoryType::Tar => local(&application.repository, application.checksum),
                RepositoryType::Git => Err(unsupported(&application.repository)),
            }
        }
    }

    fn local(location: &Location, checksum: Option<Checksum>) -> Result<Input> {
        match location {
            Location::Path(path) => Ok(Input::local(path, checksum)),
            other => Err(unsupported(other)),
        }
    }

    fn unsupported(location: &Location) -> Error {
        let message = format!("cannot fetch {location}: flock-core was built without it");
        Error::new(ErrorKind::Unsupported, message)
            .hint("build flock-core with its feature `fetch`")
    }
}
