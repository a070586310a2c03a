//! Manifests of images: OCI Image Specification 1.1 ("Image Manifest",
//! "Image Index", "Image Configuration") and Docker Image Manifest V2,
//! Schema 2, which differs in the media types only.

use std::fmt;

use serde::Deserialize;

use super::options::Platform;
use crate::location::sha256;
use crate::rootfs::checksum::Checksum;
use crate::{Error, ErrorKind, Result};

/// What we can read, for the `Accept` header.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// How a layer's tar is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayerMediaType {
    /// Not compressed.
    Tar,
    /// gzip (RFC 1952).
    TarGzip,
    /// Zstandard (RFC 8878).
    TarZstd,
}

impl LayerMediaType {
    fn parse(text: &str) -> Result<Self> {
        let known = text
            .strip_prefix("application/vnd.oci.image.layer.")
            .map(|rest| rest.strip_prefix("nondistributable.").unwrap_or(rest))
            .or_else(|| text.strip_prefix("application/vnd.docker.image.rootfs.diff."))
            .or_else(|| text.strip_prefix("application/vnd.docker.image.rootfs.foreign.diff."));
        match known {
            Some("v1.tar" | "tar") => Ok(Self::Tar),
            Some("v1.tar+gzip" | "tar.gzip") => Ok(Self::TarGzip),
            Some("v1.tar+zstd" | "tar.zstd") => Ok(Self::TarZstd),
            _ => {
                let message = format!("layers of type '{}' are not supported", text.escape_debug());
                Err(Error::new(ErrorKind::Unsupported, message).hint(
                    "an image of a root file system has tar layers; this holds something else",
                ))
            }
        }
    }
}

impl fmt::Display for LayerMediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tar => "tar",
            Self::TarGzip => "tar+gzip",
            Self::TarZstd => "tar+zstd",
        })
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    digest: String,
    pub(super) size: u64,
    platform: Option<PlatformJson>,
}

impl Descriptor {
    pub(super) fn digest(&self) -> Result<Checksum> {
        sha256(&self.digest).map_err(|error| match error.kind() {
            ErrorKind::Unsupported => error,
            _ => invalid("a digest in the image's manifest is malformed").caused_by(error),
        })
    }

    pub(super) fn layer_type(&self) -> Result<LayerMediaType> {
        LayerMediaType::parse(&self.media_type)
    }
}

#[derive(Debug, Clone, Deserialize)]
struct PlatformJson {
    architecture: String,
    os: String,
    variant: Option<String>,
}

impl PlatformJson {
    fn fits(&self, wanted: &Platform) -> bool {
        // The specification says that arm64 without a variant is v8.
        let variant = match (&self.variant, self.architecture.as_str()) {
            (None, "arm64") => Some("v8"),
            (variant, _) => variant.as_deref(),
        };
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && (wanted.variant.is_none()
                || variant.is_none()
                || variant == wanted.variant.as_deref())
    }
}

impl fmt::Display for PlatformJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestJson {
    schema_version: u64,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

/// A manifest, or the list of those for several platforms.
#[derive(Debug)]
pub(super) enum Manifest {
    Image { config: Descriptor, layers: Vec<Descriptor> },
    Index(Vec<Descriptor>),
}

impl Manifest {
    /// Reads a manifest. Which kind it is, its own fields say.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let manifest: ManifestJson = serde_json::from_slice(bytes)
            .map_err(|source| invalid("the image's manifest is malformed").caused_by(source))?;
        if manifest.schema_version != 2 {
            let version = manifest.schema_version;
            let message = format!("image manifests of schema version {version} are not supported");
            return Err(Error::new(ErrorKind::Unsupported, message)
                .hint("pull and push the image again with a current docker"));
        }
        match (manifest.config, manifest.layers, manifest.manifests) {
            (Some(config), Some(layers), None) => Ok(Self::Image { config, layers }),
            (None, None, Some(manifests)) => Ok(Self::Index(manifests)),
            _ => Err(invalid("the image's manifest is neither of an image nor an index")),
        }
    }
}

/// The first manifest of an index that fits the platform.
pub(super) fn choose<'a>(manifests: &'a [Descriptor], wanted: &Platform) -> Result<&'a Descriptor> {
    let fits = |entry: &&Descriptor| entry.platform.as_ref().is_some_and(|own| own.fits(wanted));
    manifests.iter().find(fits).ok_or_else(|| {
        let there: Vec<String> = manifests
            .iter()
            .filter_map(|entry| Some(entry.platform.as_ref()?.to_string()))
            .collect();
        Error::new(ErrorKind::NotFound, format!("the image is not there for {wanted}"))
            .with("platforms", there.join(", "))
            .hint(format!("choose a platform that it is there for: {}", there.join(", ")))
    })
}

#[derive(Deserialize)]
struct ConfigJson {
    architecture: String,
    os: String,
    variant: Option<String>,
    rootfs: RootfsJson,
}

#[derive(Deserialize)]
struct RootfsJson {
    #[serde(default)]
    diff_ids: Vec<String>,
}

/// What the image's configuration says about its file system.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) platform: Platform,
    pub(super) diff_ids: Vec<Checksum>,
}

impl Config {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let malformed = || invalid("the image's configuration is malformed");
        let config: ConfigJson =
            serde_json::from_slice(bytes).map_err(|source| malformed().caused_by(source))?;
        let ConfigJson { architecture, os, variant, rootfs } = config;
        let ids = rootfs.diff_ids.iter().map(|id| sha256(id));
        let diff_ids =
            ids.collect::<Result<_>>().map_err(|source| malformed().caused_by(source))?;
        Ok(Self { platform: Platform { os, architecture, variant }, diff_ids })
    }
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn layer_types() {
        let read = |text: &str| LayerMediaType::parse(text);
        for (text, kind) in [
            ("application/vnd.oci.image.layer.v1.tar", LayerMediaType::Tar),
            ("application/vnd.oci.image.layer.v1.tar+zstd", LayerMediaType::TarZstd),
            (
                "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
                LayerMediaType::TarGzip,
            ),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", LayerMediaType::TarGzip),
            ("application/vnd.docker.image.rootfs.diff.tar", LayerMediaType::Tar),
        ] {
            assert_eq!(read(text).unwrap(), kind);
        }
        assert_eq!(read("application/wasm").unwrap_err().kind(), ErrorKind::Unsupported);
        assert!(read("").is_err());
    }

    fn index() -> Vec<Descriptor> {
        let entry = |arch: &str, variant: &str| {
            let digest = format!("sha256:{}", "0".repeat(64));
            let json = format!(
                r#"{{"digest":"{digest}","size":1,"mediaType":"{arch}",
                "platform":{{"os":"linux","architecture":"{arch}"{variant}}}}}"#
            );
            serde_json::from_str(&json).unwrap()
        };
        vec![
            entry("amd64", ""),
            entry("arm", r#","variant":"v5""#),
            entry("arm", r#","variant":"v7""#),
            entry("arm64", ""),
        ]
    }

    #[test]
    fn the_platform_is_chosen() {
        let pick = |architecture: &str, variant: Option<&str>| {
            let variant = variant.map(str::to_owned);
            let wanted =
                Platform { os: "linux".into(), architecture: architecture.into(), variant };
            choose(&index(), &wanted).map(|d| d.platform.clone().unwrap().to_string())
        };
        assert_eq!(pick("amd64", None).unwrap(), "linux/amd64");
        assert_eq!(pick("arm", Some("v7")).unwrap(), "linux/arm/v7");
        assert_eq!(pick("arm64", Some("v8")).unwrap(), "linux/arm64");
        let error = pick("riscv64", None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.hints().any(|hint| hint.contains("linux/arm/v7")));
    }

    #[test]
    fn malformed_manifests_are_refused() {
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"schemaVersion":2}"#,
            "<html>",
            r#"{"schemaVersion":2,"manifests":[{}]}"#,
        ] {
            assert_eq!(Manifest::parse(bad.as_bytes()).unwrap_err().kind(), ErrorKind::InvalidData);
        }
        let old = Manifest::parse(br#"{"schemaVersion":1,"fsLayers":[]}"#).unwrap_err();
        assert_eq!(old.kind(), ErrorKind::Unsupported);
        assert!(Config::parse(br#"{"os":"linux"}"#).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Manifest::parse(&bytes);
            let _ = Config::parse(&bytes);
        }
    }
}
