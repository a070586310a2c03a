use std::fs;
use std::process::Stdio;

use insta::assert_snapshot;

use crate::Place;

#[test]
fn help_names_the_commands() {
    let ran = Place::new().flock(&["--help"]);
    assert_eq!(ran.code, 0);
    assert_eq!(ran.stderr, "");
    assert_snapshot!(ran.stdout);
}

#[test]
fn every_command_has_help() {
    let place = Place::new();
    let mut all = String::new();
    for command in [
        &["app"][..],
        &["app", "create"],
        &["app", "list"],
        &["app", "show"],
        &["app", "validate"],
        &["build"],
        &["cache"],
        &["cache", "list"],
        &["cache", "prune"],
        &["image"],
        &["image", "inspect"],
        &["image", "convert"],
        &["template"],
        &["template", "register"],
        &["template", "list"],
        &["template", "show"],
        &["template", "wait"],
        &["template", "delete"],
        &["template", "copy"],
        &["template", "extract"],
        &["cloudstack"],
        &["cloudstack", "call"],
        &["job"],
        &["job", "show"],
        &["job", "wait"],
        &["simulator"],
        &["simulator", "cloudstack"],
        &["config"],
        &["config", "show"],
        &["doctor"],
        &["completions"],
        &["man"],
    ] {
        let ran = place.flock(&[command, &["-h"]].concat());
        assert_eq!(ran.code, 0, "{command:?}");
        let own = ran.stdout.split("\nGlobal options:").next().unwrap().to_owned();
        all.push_str(&format!("$ flock {} -h\n{own}\n", command.join(" ")));
    }
    assert_snapshot!(all);
}

#[test]
fn help_is_a_command_too() {
    let place = Place::new();
    for command in [&[][..], &["build"], &["image", "convert"]] {
        let asked = place.flock(&[&["help"], command].concat());
        assert_eq!(asked.code, 0, "{command:?}");
        assert_eq!(asked.stdout, place.flock(&[command, &["--help"]].concat()).stdout);
    }
}

#[test]
fn a_wrong_command_line_is_exit_2() {
    let place = Place::new();
    for args in [
        &[][..],
        &["biuld"],
        &["app"],
        &["app", "create"],
        &["--quiet", "--verbose", "doctor"],
        &["--color", "pink", "doctor"],
        &["--threads", "0", "doctor"],
        &["completions", "tcsh9"],
    ] {
        let ran = place.flock(args);
        assert_eq!(ran.code, 2, "{args:?}");
        assert_eq!(ran.stdout, "", "{args:?}");
        assert_ne!(ran.stderr, "", "{args:?}");
    }
    let error = place.flock(&["biuld", "--json"]).json_error();
    assert_eq!(error["error"]["message"], "unrecognized subcommand 'biuld'");
    assert_eq!(error["error"]["exit_code"], 2);
}

#[test]
fn a_directory_that_is_not_there() {
    assert_snapshot!(Place::new().flock(&["-C", "nowhere", "app", "list"]).all(), @"
    exit 1
    --- stdout
    --- stderr
    error: cannot work in nowhere
    Caused by:
      No such file or directory (os error 2)
    ");
}

#[test]
fn version() {
    let ran = Place::new().flock(&["--version"]);
    assert_eq!((ran.code, ran.stdout), (0, format!("flock {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn completions_for_every_shell() {
    let place = Place::new();
    for (shell, holds) in [
        ("bash", "complete -F _flock"),
        ("zsh", "#compdef flock"),
        ("fish", "complete -c flock"),
        ("elvish", "edit:completion"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let ran = place.flock(&["completions", shell]);
        assert_eq!(ran.code, 0);
        assert!(ran.stdout.contains(holds), "{shell}");
        assert!(ran.stdout.contains("validate"), "{shell}");
    }
}

#[test]
fn manual_pages() {
    let place = Place::new();
    let page = place.flock(&["man"]).stdout;
    for holds in [".TH flock 1", ".SH \"EXIT STATUS\"", ".SH ENVIRONMENT", "doctor"] {
        assert!(page.contains(holds), "{holds}:\n{page}");
    }
    let lines: Vec<_> = page.lines().collect();
    for window in lines.windows(3).filter(|window| window[0] == ".TP") {
        assert!(!window[2].is_empty() && !window[2].starts_with('.'), "{window:?} says nothing");
    }
    for holds in ["PEM file of certificate authorities", "\\fBFLOCK_CACHE_DIR\\fR\nDirectory"] {
        assert!(page.contains(holds), "{holds}:\n{page}");
    }
    assert!(!page.contains("EXTRA"), "{page}");
    assert_eq!(place.flock(&["man", "--dir", "pages"]).code, 0);
    let mut pages: Vec<_> = fs::read_dir(place.dir().join("pages"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    assert_eq!(
        pages,
        [
            "flock-app-create.1",
            "flock-app-list.1",
            "flock-app-show.1",
            "flock-app-validate.1",
            "flock-app.1",
            "flock-build.1",
            "flock-cache-list.1",
            "flock-cache-prune.1",
            "flock-cache.1",
            "flock-cloudstack-call.1",
            "flock-cloudstack.1",
            "flock-completions.1",
            "flock-config-show.1",
            "flock-config.1",
            "flock-deploy.1",
            "flock-doctor.1",
            "flock-image-convert.1",
            "flock-image-inspect.1",
            "flock-image.1",
            "flock-job-show.1",
            "flock-job-wait.1",
            "flock-job.1",
            "flock-man.1",
            "flock-node-destroy.1",
            "flock-node-list.1",
            "flock-node-reboot.1",
            "flock-node-show.1",
            "flock-node-start.1",
            "flock-node-stop.1",
            "flock-node.1",
            "flock-simulator-cloudstack.1",
            "flock-simulator.1",
            "flock-template-copy.1",
            "flock-template-delete.1",
            "flock-template-extract.1",
            "flock-template-list.1",
            "flock-template-register.1",
            "flock-template-show.1",
            "flock-template-wait.1",
            "flock-template.1",
            "flock.1",
        ]
    );
}

#[test]
fn help_works_without_settings_and_home() {
    let place = Place::new();
    place.write("flock.yaml", "broken: [");
    for args in [&["man"][..], &["completions", "bash"], &["--help"]] {
        assert_eq!(place.flock(args).code, 0, "{args:?}");
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let place = Place::new();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_flock"))
        .args(["completions", "bash"])
        .current_dir(place.dir())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn colours_only_where_they_are_wanted() {
    let place = Place::new();
    let plain = place.flock(&["app", "show", "x"]);
    assert!(!plain.stderr.contains('\x1b'));
    let colour = place.flock(&["--color", "always", "app", "show", "x"]);
    assert!(colour.stderr.contains('\x1b'));
    assert_eq!(plain.stderr.lines().count(), colour.stderr.lines().count());
}
