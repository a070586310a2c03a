//! Uploads of the base: to a web server, and to the simulator.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use super::link::Link;
use super::nodes::ZONE;
use super::simulator::{Cloud, CloudOptions};
use super::web::Web;
use super::{Run, flock, home};
use crate::measure::{self, Pipeline, Program};
use crate::ways::Places;

const OS_TYPE: &str = "Debian GNU/Linux 12 (64-bit)";
/// How long the simulator may take to fetch and check a template.
const PATIENCE: Duration = Duration::from_secs(600);

/// What uploads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    Curl,
    SumAndCurl,
    Flock,
}

/// How it gets to the web server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Road {
    Loopback,
    Link,
}

/// What uploads need, and what has to arrive.
pub(super) struct Uploads<'a> {
    places: &'a Places,
    cloud: Cloud,
    /// The server and the link to it, or why they are not there.
    web: Result<(Web, Link), String>,
    size: u64,
    sha256: String,
    /// How many templates were made, each of which has a version of its own.
    templates: usize,
    /// Which results were read back.
    verified: Vec<(Tool, Road)>,
}

impl<'a> Uploads<'a> {
    pub(super) fn new(places: &'a Places) -> Result<Self> {
        let base = &places.inputs.base;
        let started = Web::start(places.scratch.join("web")).and_then(|web| {
            let link = Link::start(web.address())?;
            Ok((web, link))
        });
        Ok(Self {
            places,
            cloud: Cloud::start(&CloudOptions::default())?,
            web: started.map_err(|error| format!("{error:#}")),
            size: fs::metadata(base)?.len(),
            sha256: sha256(base)?,
            templates: 0,
            verified: Vec::new(),
        })
    }

    /// Uploads to the web server.
    pub(super) fn run(&mut self, tool: Tool, road: Road) -> Result<Run> {
        let (web, link) = match &self.web {
            Ok(started) => started,
            Err(reason) => bail!("{reason}"),
        };
        let address = match road {
            Road::Loopback => web.address(),
            Road::Link => link.address,
        };
        let (files, url) = (web.files(), format!("http://{address}/files"));
        crate::remove(&files)?;
        fs::create_dir_all(&files)?;
        let (measured, arrived) = match tool {
            Tool::Flock => {
                let run = self.register(&["--upload-url", &url])?;
                (run, files.join("web/web.tar"))
            }
            _ => (self.curl(tool, &url)?, files.join("base.tar")),
        };
        self.verify(&arrived, (tool, road))?;
        Ok(measured)
    }

    /// Uploads to the simulator.
    pub(super) fn direct(&mut self) -> Result<Run> {
        self.register(&["--upload", "direct"])
    }

    fn curl(&self, tool: Tool, url: &str) -> Result<Run> {
        let base = self.places.inputs.base.to_string_lossy();
        let target = format!("{url}/base.tar");
        let curl = step(&["curl", "-sS", "--fail", "-T", &base, &target])?;
        let steps = match tool {
            Tool::SumAndCurl => vec![step(&["openssl", "dgst", "-sha256", &base])?, curl],
            _ => vec![curl],
        };
        crate::settle(&self.places.inputs)?;
        let measured = measure::run(&steps, &self.places.scratch)?;
        Ok(Run { measured, requests: None })
    }

    /// Registers a template, and waits until the cloud has got all of it.
    fn register(&mut self, more: &[&str]) -> Result<Run> {
        self.templates += 1;
        let version = format!("v{}", self.templates);
        let base = self.places.inputs.base.to_string_lossy();
        let args = [
            &["template", "register", "web", "--version", &version, "--file", &base][..],
            &["--format", "tar", "--zone", ZONE, "--os-type", OS_TYPE, "--hypervisor", "LXC"],
            &["--no-wait", "--json"],
            more,
        ];
        let home = home(self.places, &self.cloud.profile())?;
        let programs = vec![flock(self.places, &home, &args.concat())];
        crate::settle(&self.places.inputs)?;
        let steps = [Pipeline { programs, output: None }];
        let measured = measure::run(&steps, &self.places.scratch)?;
        self.wait(&format!("web:{version}"))?;
        Ok(Run { measured, requests: None })
    }

    /// Waits for a template, and compares what the simulator got with what it
    /// has to get.
    fn wait(&mut self, name: &str) -> Result<()> {
        let begun = Instant::now();
        loop {
            let templates = self.cloud.look()?.templates;
            let found = templates.into_iter().find(|template| template.name == name);
            let found = found.with_context(|| format!("there is no template {name}"))?;
            if found.ready {
                let got = (found.size, found.sha256.as_deref());
                ensure!(got == (self.size, Some(&self.sha256)), "the cloud got something else");
                return Ok(());
            }
            ensure!(begun.elapsed() < PATIENCE, "the template is not ready: {}", found.status);
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Compares what the web server got with what it has to get, all of it
    /// once.
    fn verify(&mut self, arrived: &Path, way: (Tool, Road)) -> Result<()> {
        let size = fs::metadata(arrived).context("nothing arrived")?.len();
        ensure!(size == self.size, "{size} bytes arrived, not {}", self.size);
        if !self.verified.contains(&way) {
            ensure!(sha256(arrived)? == self.sha256, "something else arrived");
            self.verified.push(way);
        }
        Ok(())
    }
}

fn step(words: &[&str]) -> Result<Pipeline> {
    let name = words.first().copied().unwrap_or_default();
    let Some(program) = measure::find(name) else { bail!("`{name}` is not installed") };
    let args = words.iter().skip(1).map(|&word| word.to_owned()).collect();
    let programs = vec![Program { name: program, args, env: Vec::new() }];
    Ok(Pipeline { programs, output: None })
}

/// The SHA-256 of a file, in hexadecimal.
fn sha256(path: &Path) -> Result<String> {
    let (mut file, mut hash) = (File::open(path)?, Sha256::new());
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
