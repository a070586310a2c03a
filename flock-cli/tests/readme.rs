//! The README is true: its tour is run as it stands there.
//!
//! Blocks marked ` ```sh tour ` run one after the other, each in a `bash -euo
//! pipefail` of its own, in one working directory that is empty at first and
//! with `flock` in `PATH`. A block ` ```text tour ` after one has to appear in
//! its output, `…` standing for anything. ` ```sh tour needs=root,network `
//! names what a block cannot do without; where that is missing the tour is
//! ignored, with the reason. A block ` ```sh tour terminal ` is run beside those
//! that follow, as in a terminal of its own, once it has said what it should,
//! and is interrupted at the end, which must be a success for it.

mod harness;

use std::fs;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use flock_core::conformance::{self, Failure, Service, Suite, ensure, service};
use harness::{Doing as _, Outcome, Place};
use rustix::process::{Pid, Signal, kill_process_group};

fn main() -> ExitCode {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = fs::read_to_string(&path).unwrap_or_default();
    let blocks = blocks(&text);
    let mut suite = Suite::new("readme").with_time_limit(Duration::from_secs(1_200));
    for need in blocks.iter().flat_map(|block| &block.needs) {
        suite = suite.with_service(probe(need));
    }
    let needs: Vec<_> = blocks.iter().flat_map(|block| block.needs.clone()).collect();
    let reader = Suite::new("readme_reader")
        .test("blocks_and_wildcards", || async { blocks_and_wildcards() })
        .test("needs_are_known", move || known(needs.clone()));
    conformance::main([suite.test("tour", move || tour(blocks.clone())), reader])
}

const KNOWN: [&str; 4] = ["debian", "git", "network", "root"];

async fn known(needs: Vec<String>) -> Outcome {
    let unknown = needs.iter().find(|need| !KNOWN.contains(&need.as_str()));
    unknown.map_or(Ok(()), |need| Err(Failure::new(format!("nobody knows `{need}`"))))
}

fn probe(need: &str) -> Service {
    match need {
        "root" => harness::root(),
        "git" => harness::programs("git", &["git"]),
        "debian" => harness::programs("debian", &["mmdebstrap"]),
        "network" => {
            let connects = mirror().is_some_and(|host| {
                let addresses = (host.as_str(), 80).to_socket_addrs();
                addresses.is_ok_and(|mut addresses| {
                    addresses
                        .any(|to| TcpStream::connect_timeout(&to, Duration::from_secs(5)).is_ok())
                })
            });
            let proxied = ["http_proxy", "https_proxy", "all_proxy"]
                .iter()
                .any(|name| std::env::var_os(name).is_some());
            let missing = || Err("the mirror of apt's sources cannot be reached".to_owned());
            service("network", if connects || proxied { Ok(()) } else { missing() })
        }
        // `needs_are_known` fails for it.
        other => service(other, Err("nobody knows what that is".to_owned())),
    }
}

/// The host of the first mirror in apt's sources.
fn mirror() -> Option<String> {
    let files = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    // Other names there are not apt's: what was disabled, or left by dpkg (sources.list(5)).
    let is_apts = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "list" || extension == "sources")
    };
    let files = files.map(|file| file.path()).filter(is_apts);
    let files = files.chain(["/etc/apt/sources.list".into()]);
    let text: String = files.filter_map(|file| fs::read_to_string(file).ok()).collect();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let mut words = lines.flat_map(str::split_whitespace);
    let address = words.find_map(|word| word.strip_prefix("http://"))?;
    address.split('/').next().map(str::to_owned)
}

/// A command of the tour, with what it should say.
#[derive(Debug, Clone, Default, PartialEq)]
struct Block {
    line: usize,
    needs: Vec<String>,
    /// Whether it goes on while the next ones run.
    terminal: bool,
    script: String,
    says: Vec<String>,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::<Block>::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(info) = line.trim_start().strip_prefix("```") else { continue };
        let inside = lines.by_ref().map(|(_, line)| line);
        let inside: Vec<_> =
            inside.take_while(|line| !line.trim_start().starts_with("```")).collect();
        let mut words = info.split_whitespace();
        let kind = (words.next(), words.next());
        match (kind, blocks.last_mut()) {
            ((Some("sh"), Some("tour")), _) => blocks.push(Block {
                line: number + 1,
                needs: words
                    .clone()
                    .filter_map(|word| word.strip_prefix("needs="))
                    .flat_map(|needs| needs.split(',').map(str::to_owned))
                    .collect(),
                terminal: words.any(|word| word == "terminal"),
                script: inside.join("\n"),
                says: Vec::new(),
            }),
            ((Some("text"), Some("tour")), Some(block)) => block.says.push(inside.join("\n")),
            _ => {}
        }
    }
    blocks
}

async fn tour(blocks: Vec<Block>) -> Outcome {
    ensure(!blocks.is_empty(), "the README has no tour")?;
    let place = Place::new()?;
    let directory = place.path("tour");
    fs::create_dir(&directory).doing("make a directory")?;
    let mut terminals = Vec::new();
    for block in blocks {
        let mut run = Run::start(&place, &directory, block)?;
        if run.block.terminal {
            run.wait_until_ready()?;
            terminals.push(run);
        } else {
            run.end()?;
        }
    }
    terminals.into_iter().rev().try_for_each(Run::interrupt)
}

/// A block of the tour under way.
struct Run {
    block: Block,
    log: PathBuf,
    bash: Child,
}

impl Run {
    fn start(place: &Place, directory: &Path, block: Block) -> Outcome<Self> {
        let log = place.path(&format!("log-{}", block.line));
        let file = fs::File::create(&log).doing("make the log")?;
        let flock = Path::new(env!("CARGO_BIN_EXE_flock")).parent().unwrap_or(Path::new("."));
        let mut path = flock.as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", &block.script]).current_dir(directory);
        command.env("PATH", path).env("XDG_CACHE_HOME", place.path("cache"));
        command.env("XDG_CONFIG_HOME", place.path("config"));
        command.env("XDG_DATA_HOME", place.path("data")).stdin(Stdio::null());
        command.stdout(file.try_clone().doing("share the log")?).stderr(file).process_group(0);
        let bash = command.spawn().doing("run bash")?;
        Ok(Self { block, log, bash })
    }

    fn output(&self) -> Outcome<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.log).doing("read the log")?).into_owned())
    }

    fn fail(&self, what: &str) -> Outcome {
        let Block { line, script, .. } = &self.block;
        let output = self.output()?;
        Err(Failure::new(format!("README.md:{line}: {what}\n{script}\n--- it said:\n{output}")))
    }

    /// What it should have said and has not.
    fn missing(&self) -> Outcome<Option<&String>> {
        let output = self.output()?;
        Ok(self.block.says.iter().find(|expected| !says(&output, expected)))
    }

    /// Waits until it has ended, and looks at what it said.
    fn end(&mut self) -> Outcome {
        let status = self.bash.wait().doing("wait for bash")?;
        if !status.success() {
            return self.fail(&status.to_string());
        }
        match self.missing()? {
            Some(expected) => self.fail(&format!("it does not say\n{expected}\n--- the commands:")),
            None => Ok(()),
        }
    }

    /// Waits until it has said what it should.
    fn wait_until_ready(&mut self) -> Outcome {
        let patience = Instant::now() + Duration::from_secs(60);
        while self.missing()?.is_some() {
            if self.bash.try_wait().doing("look at bash")?.is_some() {
                return self.fail("it has ended");
            }
            if Instant::now() > patience {
                return self.fail("it does not say in time what it should");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Ctrl-C, after which it has to end well.
    fn interrupt(mut self) -> Outcome {
        let group = i32::try_from(self.bash.id()).ok().and_then(Pid::from_raw);
        group.map_or(Ok(()), |group| {
            kill_process_group(group, Signal::INT).doing("interrupt a terminal")
        })?;
        self.end()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Where it has ended already there is nothing to do.
        let group = i32::try_from(self.bash.id()).ok().and_then(Pid::from_raw);
        if let (Some(group), Ok(None)) = (group, self.bash.try_wait()) {
            let _ = kill_process_group(group, Signal::KILL);
            let _ = self.bash.wait();
        }
    }
}

/// Whether the output has the text, with `…` standing for anything.
fn says(output: &str, expected: &str) -> bool {
    let mut rest = output;
    expected.trim().split('…').all(|part| match rest.find(part.trim_matches('\n')) {
        Some(at) => {
            rest = &rest[at + part.trim_matches('\n').len()..];
            true
        }
        None => false,
    })
}

fn blocks_and_wildcards() -> Outcome {
    ensure(says("built web in 3 s\nnext: x\n", "built web in … s\nnext:"), "should fit")?;
    ensure(!says("built web in 3 s\n", "built app in … s"), "should not fit")?;
    ensure(!says("b a", "a…b"), "order counts")?;
    let text = "```sh tour terminal needs=root,git\na\nb\n```\nwords\n```text tour\nc\n```\n```sh\nno\n```\n";
    let block = Block {
        line: 1,
        needs: vec!["root".into(), "git".into()],
        terminal: true,
        script: "a\nb".into(),
        says: vec!["c".into()],
    };
    conformance::expect_eq(blocks(text), vec![block], "blocks")
}
