use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use insta::assert_snapshot;

use crate::Place;

pub(crate) const CONFIG: &str = "\
build:
  base_url: base.tar
  application_repository: app.tar
  repository_type: TAR
  application_wwwroot: /var/www/html
";

fn place() -> Place {
    let place = Place::new();
    place.write("web/config.yaml", CONFIG);
    place.write("web/base.tar", [0; 10240]);
    place.write("web/app.tar", [0; 10240]);
    place
}

#[test]
fn a_dry_run_shows_the_plan_and_makes_nothing() {
    let place = place();
    let ran = place.flock(&["build", "web", "--dry-run", "--compression", "zstd"]);
    assert_snapshot!(ran.all(), @"
    exit 0
    --- stdout
    web would be built, nothing is done
      base         web/base.tar
      application  web/app.tar
        becomes    /var/www/html
      compression  zstd:3
      output       web/web.tar.zst
    --- stderr
    ");
    assert!(!place.dir().join("web/web.tar.zst").exists());
    let ran = place.flock(&["build", "web", "--dry-run", "--json", "--threads", "2"]);
    assert_snapshot!(ran.stdout, @r#"
    {
      "schema": 1,
      "dry_run": true,
      "output_exists": false,
      "plan": {
        "app": "web",
        "base": "web/base.tar",
        "base_checksum": null,
        "applications": [
          {
            "repository": "web/app.tar",
            "type": "tar",
            "wwwroot": "/var/www/html",
            "reference": null,
            "strip_components": 0,
            "owner": null,
            "checksum": null
          }
        ],
        "exclude": [],
        "inject": {
          "hostname": null,
          "resolv_conf": null,
          "authorized_keys": [],
          "files": []
        },
        "max_size": 68719476736,
        "max_ratio": 1000,
        "format": "tar",
        "disk": {
          "size": null,
          "layout": "mbr",
          "label": "",
          "bootloader": "grub",
          "subformat": "dynamic",
          "consoles": null,
          "kernel_arguments": []
        },
        "compression": "none",
        "output": "web/web.tar",
        "force": false,
        "cache_dir": "[ROOT]/home/.cache/flock",
        "threads": 2,
        "memory": null,
        "sync": true,
        "source_date_epoch": null
      }
    }
    "#);
}

#[test]
fn what_cannot_be_built_is_refused_before_anything_happens() {
    let place = place();
    place.write("web/web.tar", "old");
    let there = place.flock(&["build", "web"]);
    assert_snapshot!(there.all(), @"
    exit 1
    --- stdout
    --- stderr
    error: web/web.tar is there already

    hint: remove it, choose another name, or allow it to be overwritten
    hint: `--force` replaces it, `--output PATH` writes elsewhere
    ");
    assert_eq!(place.flock(&["build", "web", "--force", "--dry-run"]).code, 0);

    fs::remove_file(place.dir().join("web/base.tar")).unwrap();
    let missing = place.flock(&["build", "web", "--output", "other.tar"]);
    assert_snapshot!(missing.all(), @"
    exit 1
    --- stdout
    --- stderr
    error: cannot find web/base.tar
    Caused by:
      No such file or directory (os error 2)

    hint: `build.base_url` names it; relative paths are taken from web
    ");
    assert_eq!(place.flock(&["build", "web", "--output", "nowhere/x.tar"]).code, 1);
    let rar = place.flock(&["build", "web", "--compression", "rar"]);
    assert_eq!(rar.code, 2);
    assert!(rar.stderr.contains("say none, gzip, zstd"), "{}", rar.stderr);
    assert_eq!(place.flock(&["build", "web", "--type", "vmdk"]).code, 2);
    assert_eq!(place.flock(&["build", "wbe"]).code, 1);
}

#[test]
fn a_bound_that_cannot_be_kept_is_told() {
    let place = place();
    let run = |how, memory| {
        place.flock(&["build", "web", "-n", "--compression", how, "--memory", memory])
    };
    let said = run("zstd:19", "32MiB").stderr;
    let told =
        "warning: compressing with zstd:19 takes 98.0 MiB, more than the 32.0 MiB of `memory`\n";
    assert_eq!(said, told);
    assert_eq!(run("zstd:9", "32MiB").stderr, "");
    let little = run("zstd", "1MiB");
    assert_eq!(little.code, 2);
    assert!(little.stderr.contains("16MiB is the least"), "{}", little.stderr);
}

/// As the build would, which cannot fetch without it; a commit may be here.
#[test]
fn a_dry_run_misses_git() {
    let place = place();
    let config = CONFIG.replace("app.tar", "https://example.org/a.git").replace("TAR", "GIT");
    place.write("web/config.yaml", &config);
    let run = || {
        let mut command = place.command();
        let output = command.args(["build", "web", "-n"]).env("PATH", "/nonexistent").output();
        crate::Ran::from(output.unwrap(), place.root.path())
    };
    assert_snapshot!(run().all(), @"
    exit 1
    --- stdout
    --- stderr
    error: cannot run git

    hint: install git (Debian: apt install git)
    ");
    let commit = "0123456789abcdef0123456789abcdef01234567";
    place.write("web/config.yaml", format!("{config}  application_reference: {commit}\n"));
    assert_eq!(run().code, 0);
}

#[test]
fn an_unfinished_configuration_is_refused() {
    let place = Place::new();
    assert_eq!(place.flock(&["app", "create", "web"]).code, 0);
    let error = place.flock(&["build", "web", "--json"]).json_error();
    assert_eq!(error["error"]["kind"], "invalid_config");
    assert_eq!(error["error"]["exit_code"], 2);
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("3 problems in web/config.yaml\n"), "{message}");
}

/// A base that is a directory, and an application that is another.
pub(crate) fn directories() -> Place {
    let place = Place::new();
    place.write("web/config.yaml", CONFIG.replace("base.tar", "base").replace("app.tar", "app"));
    place.write("web/base/etc/os-release", "ID=test\n");
    place.write("web/base/var/www/html/old.html", "old");
    place.write("web/app/index.html", "new");
    place
}

#[test]
fn it_builds_and_says_what_to_do_next() {
    let place = directories();
    let ran = place.flock(&["build", "web"]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert!(ran.stdout.starts_with("built web/web.tar\n"), "{}", ran.all());
    assert_snapshot!(ran.stderr, @"
    Next:
      list it:            tar tvf web/web.tar
      unpack it, as root: tar xpf web/web.tar --numeric-owner -C DIR
    ");
    let bytes = fs::read(place.dir().join("web/web.tar")).unwrap();
    let holds = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(holds("var/www/html/index.html") && holds("etc/os-release"));
    assert!(!holds("old.html"));

    let again = place.flock(&["build", "web", "--quiet", "--json", "--force"]);
    assert_eq!((again.code, again.stderr.as_str()), (0, ""));
    let report = again.json();
    assert_eq!(report["output"], "web/web.tar");
    assert_eq!(report["compression"], "none");
    assert_eq!(report["size"], bytes.len());
    assert_eq!(fs::read(place.dir().join("web/web.tar")).unwrap(), bytes);
}

#[test]
fn compression_and_output_are_by_flag() {
    let place = directories();
    assert_eq!(place.flock(&["build", "web", "--compression", "gzip:1"]).code, 0);
    assert_eq!(place.flock(&["build", "web", "--compression", "zstd", "-o", "x"]).code, 0);
    assert_eq!(place.flock(&["build", "web", "-o", "y.tar.zst"]).code, 0);
    let starts = |path: &str, magic: &[u8]| {
        assert!(fs::read(place.dir().join(path)).unwrap().starts_with(magic), "{path}");
    };
    starts("web/web.tar.gz", &[0x1f, 0x8b]);
    starts("x", &[0x28, 0xb5, 0x2f, 0xfd]);
    starts("y.tar.zst", &[0x28, 0xb5, 0x2f, 0xfd]);
    let other = place.flock(&["build", "web", "--compression", "gzip", "-o", "z.tar.zst"]);
    assert_snapshot!(other.all(), @"
    exit 2
    --- stdout
    --- stderr
    error: the output z.tar.zst has a name for zstd, not for gzip

    hint: leave the compression away, or let the name end in .tar.gz
    ");
}

/// The plan is there, and the exit code is what the build's would be.
#[test]
fn a_dry_run_says_that_the_output_is_there() {
    let place = place();
    place.write("web/web.tar", "old");
    let ran = place.flock(&["build", "web", "--dry-run"]);
    assert_snapshot!(ran.all(), @"
    exit 1
    --- stdout
    web would be built, nothing is done
      base         web/base.tar
      application  web/app.tar
        becomes    /var/www/html
      compression  none
      output       web/web.tar (there already)
    --- stderr
    error: web/web.tar is there already

    hint: remove it, choose another name, or allow it to be overwritten
    hint: `--force` replaces it, `--output PATH` writes elsewhere
    ");
    let json = place.flock(&["build", "web", "--dry-run", "--json"]);
    assert_eq!((json.code, &json.json()["output_exists"]), (1, &true.into()));
}

#[test]
fn standard_output_takes_the_appliance() {
    let place = directories();
    assert_eq!(place.flock(&["build", "web"]).code, 0);
    let output = place.command().args(["build", "web", "-o", "-"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout == fs::read(place.dir().join("web/web.tar")).unwrap());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("built standard output\n"), "{said}");
    assert!(!place.dir().join("-").exists());

    let gzip = place.command().args(["build", "web", "-o-", "--compression=gzip"]).output();
    assert!(gzip.unwrap().stdout.starts_with(&[0x1f, 0x8b]));
    assert_eq!(place.flock(&["build", "web", "-o", "-", "--json"]).code, 2);
    let plan = place.flock(&["build", "web", "-o", "-", "-n"]);
    assert!(plan.stdout.contains("standard output"), "{}", plan.all());

    // Whoever reads it must not take a part for the whole.
    let mut child = Command::new(env!("CARGO_BIN_EXE_flock"))
        .args(["build", "web", "-o", "-"])
        .env("HOME", place.root.path().join("home"))
        .current_dir(place.dir())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_sink_is_not_a_file() {
    let ran = directories().flock(&["build", "web", "--output", "/dev/null", "--force"]);
    assert_snapshot!(ran.all(), @"
    exit 2
    --- stdout
    --- stderr
    error: cannot write /dev/null: it is not a regular file

    hint: name a file; it would be replaced, not written to
    hint: `--output - > /dev/null` sends the appliance there
    ");
}

#[test]
fn in_an_application_the_hint_is_a_dot() {
    let place = directories();
    let text = place.flock(&["-C", "web", "build", "."]);
    assert_eq!(text.code, 0, "{}", text.all());
    let mut command = place.command();
    let output = command.arg("build").current_dir(place.dir().join("web")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("this directory is an application: `flock build .`"), "{said}");
    assert!(!place.flock(&["build"]).stderr.contains("this directory"));
}

#[test]
fn a_name_that_is_not_text_is_reported() {
    use std::os::unix::ffi::OsStrExt as _;
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.tar");
    let place = directories();
    let output = place.command().args(["build", "web", "--json", "-o"]).arg(name).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["output"], "caf\u{fffd}.tar");
    assert_eq!(report["output_hex"], "636166e92e746172");
    assert!(place.dir().join(name).exists());
}

#[test]
fn paths_are_shown_without_detours() {
    let place = place();
    place.write("web/config.yaml", CONFIG.replace("base.tar", "../bases/debian.tar"));
    let ran = place.flock(&["build", "web"]);
    assert!(ran.stderr.starts_with("error: cannot find bases/debian.tar\n"), "{}", ran.all());
}

#[test]
fn progress_can_be_lines_of_json() {
    let ran = directories().flock(&["build", "web", "--progress", "json", "--quiet"]);
    assert_eq!(ran.code, 0);
    let events: Vec<serde_json::Value> =
        ran.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().any(|event| event["event"] == "started"), "{}", ran.stderr);
    assert!(events.iter().all(|event| event["schema"] == 1), "{}", ran.stderr);
}

#[test]
fn a_wrong_epoch_is_refused() {
    let place = directories();
    let mut command = place.command();
    let output = command.args(["build", "web"]).env("SOURCE_DATE_EPOCH", "now").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(!place.dir().join("web/web.tar").exists());
}

#[test]
fn an_interrupt_cleans_up() {
    let place = directories();
    // A server that takes the connection and never answers.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let config = CONFIG.replace("base.tar", &format!("http://{address}/base.tar"));
    place.write("web/config.yaml", config.replace("app.tar", "app"));
    let child = Command::new(env!("CARGO_BIN_EXE_flock"))
        .args(["build", "web"])
        .env("HOME", place.root.path().join("home"))
        .env("no_proxy", "*")
        .current_dir(place.dir())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let connection = server.accept().unwrap();
    let kill = Command::new("sh").arg("-c").arg(format!("kill -INT {}", child.id())).status();
    assert!(kill.unwrap().success());
    let output = child.wait_with_output().unwrap();
    drop(connection);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("cleaning up"), "{stderr}");
    let left: Vec<_> = fs::read_dir(place.dir().join("web"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !["config.yaml", "base", "app"].contains(&name.as_str()))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}
