//! A simulated cloud behind nginx, by HTTP and by HTTPS.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use flock_cloudstack::simulator::{Simulator, SimulatorOptions};
use flock_cloudstack::{Client, CloudStackConfig, Parameters};
use flock_core::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;

use crate::certificates::Certificate;
use crate::programs::{Daemon, free_port, nginx};

/// A simulated cloud, its storage and a web server that takes files, all
/// behind the same two ports of one nginx.
pub(crate) struct Front {
    pub(crate) simulator: Simulator,
    pub(crate) dir: TempDir,
    pub(crate) https: u16,
    pub(crate) http: u16,
    _nginx: Daemon,
}

impl Front {
    pub(crate) async fn start(certificate: &Certificate) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (https, http) = (free_port(), free_port());
        let uploads = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let options = SimulatorOptions::new().with_upload_listen(uploads);
        let simulator = Simulator::start(options).await.unwrap();
        fs::create_dir(dir.path().join("files")).unwrap();
        let (place, api) = (dir.path().display(), simulator.url());
        let (key, certificate) = (certificate.key.display(), certificate.certificate.display());
        // The cloud is made to tell that uploads go through here too.
        let servers = format!(
            "server {{ listen 127.0.0.1:{http}; listen 127.0.0.1:{https} ssl;\n\
             ssl_certificate {certificate}; ssl_certificate_key {key};\n\
             location /client/api {{ proxy_pass {api}; sub_filter_types application/json; \
             sub_filter 'http://{uploads}' 'https://localhost:{https}'; }}\n\
             location /upload {{ proxy_pass http://{uploads}; proxy_http_version 1.1; \
             proxy_request_buffering off; }}\n\
             location /files {{ root {place}; dav_methods PUT; create_full_put_path on; }} }}"
        );
        let nginx = nginx(dir.path(), &servers, &[http, https]);
        Self { simulator, dir, https, http, _nginx: nginx }
    }

    /// The API by HTTPS, as the account that is there from the start.
    pub(crate) fn config(&self) -> CloudStackConfig {
        self.config_at(&format!("https://localhost:{}", self.https))
    }

    pub(crate) fn config_at(&self, origin: &str) -> CloudStackConfig {
        let url = format!("{origin}/client/api").parse().unwrap();
        let (key, secret) = (self.simulator.api_key(), self.simulator.secret_key().clone());
        CloudStackConfig::new(url, key, secret)
    }

    /// The archive to upload, and what is in it.
    pub(crate) fn archive(&self) -> (PathBuf, Vec<u8>) {
        crate::archive(self.dir.path())
    }
}

/// Asks something that has no effect.
pub(crate) async fn ask(config: CloudStackConfig) -> Result<Value> {
    let (client, nothing) = (Client::new(config)?, Parameters::new());
    client.call(&Context::new(), "listZones", &nothing).await
}
