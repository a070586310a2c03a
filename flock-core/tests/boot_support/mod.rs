//! A machine in QEMU that is used over its serial line.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

/// When a machine that says nothing is given up, also without KVM.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs a program to its end and gives what it wrote.
pub(crate) fn run(command: &mut Command) -> Result<String, Failed> {
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}\n{text}{errors}", output.status).into())
}

/// A processor that every KVM on a machine of its own has. (`host` fails on
/// some machines that are virtual themselves.)
const PROCESSOR: &str = "kvm64";

/// Whether KVM has all that the processor must have. There are hosts whose
/// `/dev/kvm` is for guests of a special kind: it opens, and starts a usual
/// kernel that then stands still.
fn kvm_works() -> Result<bool, Failed> {
    let mut probe = Command::new("qemu-system-x86_64")
        .args(["-accel", "kvm", "-machine", "pc", "-cpu", &format!("{PROCESSOR},enforce")])
        .args(["-S", "-nodefaults", "-display", "none", "-monitor", "stdio"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    // One that has stopped already reads no more.
    let _ = probe.stdin.take().ok_or("no input")?.write_all(b"quit\n");
    Ok(probe.wait()?.success())
}

/// A running machine; it is killed when dropped.
pub(crate) struct Machine {
    child: Child,
    input: ChildStdin,
    output: Receiver<Vec<u8>>,
    /// What the machine wrote and nobody asked for yet.
    unread: String,
    commands: u32,
}

impl Machine {
    /// A machine with a BIOS, that disk in the format that QEMU calls so, and
    /// a serial line; by KVM where it works, else emulated.
    pub(crate) fn start(disk: &Path, format: &str) -> Result<Self, Failed> {
        let accelerator = if kvm_works()? { ["-accel", "kvm"] } else { ["-accel", "tcg"] };
        let mut child = Command::new("qemu-system-x86_64")
            .args(accelerator)
            .args(["-machine", "pc", "-cpu", PROCESSOR, "-m", "512", "-smp", "1"])
            .args(["-display", "none", "-monitor", "none", "-serial", "stdio"])
            .args(["-nic", "none", "-no-reboot", "-drive"])
            .arg(format!("file={},format={format},if=virtio,cache=unsafe", disk.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().ok_or("no input")?;
        let mut stdout = child.stdout.take().ok_or("no output")?;
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = stdout.read(&mut buffer) {
                if sender.send(buffer[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, input, output, unread: String::new(), commands: 0 })
    }

    /// Waits for `text` and gives what came before it.
    fn expect(&mut self, text: &str) -> Result<String, Failed> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.unread.find(text) {
                let before = self.unread[..at].to_owned();
                self.unread.drain(..at + text.len());
                return Ok(before);
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.unread.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => {
                    let what = match error {
                        RecvTimeoutError::Timeout => "is silent",
                        RecvTimeoutError::Disconnected => "stopped",
                    };
                    let last = &self.unread;
                    return Err(format!("the machine {what} before '{text}':\n{last}").into());
                }
            }
        }
    }

    /// Waits for the login prompt and logs in as root, who has no password.
    pub(crate) fn log_in(&mut self) -> Result<(), Failed> {
        self.expect("login: ")?;
        self.input.write_all(b"root\n")?;
        self.expect("# ")?;
        self.input.write_all(b"stty -echo; export TERM=dumb PS1=; echo ready''-now\n")?;
        self.expect("ready-now\r\n")?;
        Ok(())
    }

    /// Runs a command in the machine's shell and gives what it wrote.
    pub(crate) fn shell(&mut self, command: &str) -> Result<String, Failed> {
        self.commands += 1;
        let mark = format!("<{}>", self.commands);
        writeln!(self.input, "echo '{mark}'; {command}; echo '/{mark}'")?;
        self.expect(&format!("{mark}\r\n"))?;
        let text = self.expect(&format!("/{mark}\r\n"))?;
        Ok(text.replace("\r\n", "\n").trim().to_owned())
    }

    /// Switches the machine off and waits until it is.
    pub(crate) fn power_off(mut self) -> Result<(), Failed> {
        self.input.write_all(b"sync; systemctl poweroff\n")?;
        let end = Instant::now() + PATIENCE;
        while self.output.recv_timeout(end.saturating_duration_since(Instant::now())).is_ok() {}
        if self.child.try_wait()?.is_none() && Instant::now() >= end {
            return Err("the machine does not switch itself off".into());
        }
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("QEMU: {status}").into()) }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
