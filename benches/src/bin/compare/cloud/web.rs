//! A web server that takes files.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::measure;
use anyhow::{Context as _, Result, bail};

const PATIENCE: Duration = Duration::from_secs(10);

/// nginx as it comes, with a directory `files` that takes uploads; it ends
/// with this.
#[derive(Debug)]
pub(super) struct Web {
    process: Child,
    place: PathBuf,
    address: SocketAddr,
}

impl Web {
    pub(super) fn start(place: PathBuf) -> Result<Self> {
        let Some(program) = measure::find("nginx") else { bail!("`nginx` is not installed") };
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        fs::create_dir_all(place.join("files"))?;
        let config = place.join("nginx.conf");
        fs::write(&config, configuration(&place, address))?;
        let process = Command::new(program)
            .args(["-p".as_ref(), place.as_os_str(), "-c".as_ref(), config.as_os_str()])
            .args(["-e".as_ref(), place.join("log").as_os_str()])
            .stdout(Stdio::null())
            .stderr(fs::File::create(place.join("complaints"))?)
            .spawn()
            .context("cannot start nginx")?;
        let mut web = Self { process, place, address };
        web.wait()?;
        Ok(web)
    }

    fn wait(&mut self) -> Result<()> {
        let begun = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if self.process.try_wait()?.is_some() || begun.elapsed() > PATIENCE {
                let said = fs::read_to_string(self.place.join("complaints")).unwrap_or_default();
                bail!("nginx does not run: {}", said.trim());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where what is uploaded comes to.
    pub(super) fn files(&self) -> PathBuf {
        self.place.join("files")
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// In one process, which ends when it is told to, and writes all below `place`.
fn configuration(place: &Path, address: SocketAddr) -> String {
    let shown = place.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path \"{shown}/tmp-{kind}\";"))
        .join(" ");
    format!(
        "daemon off; master_process off; pid \"{shown}/pid\"; error_log \"{shown}/log\";\n\
         events {{ }}\n\
         http {{ access_log off; {temporary}\n\
         server {{ listen {address}; root \"{shown}\"; client_max_body_size 0;\n\
         location /files {{ dav_methods PUT; create_full_put_path on; }} }} }}\n"
    )
}
