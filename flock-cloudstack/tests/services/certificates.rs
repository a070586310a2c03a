//! Certificates that OpenSSL makes.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::programs::command;

/// An elliptic curve, whose keys are made quickly.
const NEW_KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/// A certificate authority in a directory.
pub(crate) struct Authority {
    dir: PathBuf,
}

/// A server's certificate and key, as PEM files.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificate {
    fn at(dir: &Path, name: &str) -> Self {
        let file = |extension| dir.join(name).with_extension(extension);
        Self { certificate: file("pem"), key: file("key") }
    }

    /// One for `localhost` that its own key has signed: as OpenSSL makes it,
    /// an authority's too, or a server's only.
    pub(crate) fn self_signed(dir: &Path, is_authority: bool) -> Self {
        let (name, more) = match is_authority {
            true => ("self-authority", &[][..]),
            false => ("self-server", &["-addext", "basicConstraints=critical,CA:FALSE"][..]),
        };
        let made = Self::at(dir, name);
        let request = ["req", "-x509", "-days", "2", "-subj", "/CN=signed by itself"];
        let names = ["-addext", "subjectAltName=DNS:localhost"];
        openssl(dir, &[&request[..], &NEW_KEY, &names, more].concat(), &made.files());
        made
    }

    fn files(&self) -> [&OsStr; 4] {
        let (key, certificate) = (self.key.as_os_str(), self.certificate.as_os_str());
        ["-keyout".as_ref(), key, "-out".as_ref(), certificate]
    }
}

impl Authority {
    pub(crate) fn new(dir: &Path, name: &str) -> Self {
        let dir = dir.join(name);
        fs::create_dir(&dir).unwrap();
        let files = Certificate::at(&dir, "authority");
        let request = ["req", "-x509", "-days", "2", "-subj", "/CN=an authority"];
        openssl(&dir, &[&request[..], &NEW_KEY].concat(), &files.files());
        fs::write(dir.join("index"), "").unwrap();
        let config = "[ca]\ndefault_ca = it\n[it]\nnew_certs_dir = .\ndatabase = index\n\
                      rand_serial = yes\ndefault_md = sha256\npolicy = any\n\
                      copy_extensions = copy\nunique_subject = no\n[any]\ncommonName = supplied\n";
        fs::write(dir.join("config"), config).unwrap();
        Self { dir }
    }

    /// The file that makes it trusted.
    pub(crate) fn ca_file(&self) -> PathBuf {
        Certificate::at(&self.dir, "authority").certificate
    }

    /// A certificate for a host, valid from now on.
    pub(crate) fn issue(&self, host: &str) -> Certificate {
        self.issue_for(host, host, &["-days", "2"])
    }

    /// A certificate for `localhost` of the year 2020.
    pub(crate) fn issue_expired(&self) -> Certificate {
        let dates = ["-startdate", "20200101000000Z", "-enddate", "20201231000000Z"];
        self.issue_for("expired", "localhost", &dates)
    }

    /// A certificate for `localhost` of the next century.
    pub(crate) fn issue_early(&self) -> Certificate {
        let dates = ["-startdate", "21200101000000Z", "-enddate", "21201231000000Z"];
        self.issue_for("early", "localhost", &dates)
    }

    fn issue_for(&self, name: &str, host: &str, dates: &[&str]) -> Certificate {
        let (dir, made) = (self.dir.as_path(), Certificate::at(&self.dir, name));
        let (subject, names) = (format!("/CN={host}"), format!("subjectAltName=DNS:{host}"));
        let request = ["req", "-new", "-subj", &subject, "-addext", &names];
        let request_file = dir.join("request");
        let files = [made.files()[0], made.files()[1], "-out".as_ref(), request_file.as_os_str()];
        openssl(dir, &[&request[..], &NEW_KEY].concat(), &files);
        let sign = ["ca", "-batch", "-notext", "-config", "config", "-in", "request"];
        let with = ["-cert", "authority.pem", "-keyfile", "authority.key"];
        let files = &made.files()[2..];
        openssl(dir, &[&sign[..], &with, dates].concat(), files);
        made
    }
}

fn openssl(dir: &Path, arguments: &[&str], files: &[&OsStr]) {
    let mut openssl = command("openssl");
    let output = openssl.current_dir(dir).args(arguments).args(files).output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}: {output:?}");
}
