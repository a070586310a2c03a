use insta::assert_snapshot;

use crate::Place;

const FLOCKR: &str = include_str!("../../../flock-core/tests/data/flockr-config.yaml");

/// A configuration that can be built.
const GOOD: &str = "\
build:
  base_url: oci://docker.io/library/debian:13-slim
  application_repository: ../site
  repository_type: GIT
  application_wwwroot: /var/www/html
  application_reference: v1
";

#[test]
fn create_tells_what_is_left_to_do() {
    let place = Place::new();
    assert_snapshot!(place.flock(&["app", "create", "web"]).all(), @"
    exit 0
    --- stdout
    created web/config.yaml
    --- stderr
    To build it, fill in:
      build.base_url (line 12)
      build.application_repository (line 15)
      build.repository_type (line 19)
    `flock app validate web` checks it.
    ");
    assert_snapshot!(place.flock(&["app", "create", "web"]).all(), @"
    exit 1
    --- stdout
    --- stderr
    error: web/config.yaml is there already

    hint: edit it, or choose another name
    ");
}

#[test]
fn create_with_everything_needs_no_editor() {
    let place = Place::new();
    let create = place.flock(&[
        "app",
        "create",
        "web",
        "--base",
        "base.tar",
        "--repository",
        "https://example.org/a.git",
        "--type",
        "GIT",
        "--wwwroot",
        "/srv/www",
    ]);
    assert_snapshot!(create.all(), @"
    exit 0
    --- stdout
    created web/config.yaml
    --- stderr
    ");
    let app = &place.flock(&["app", "show", "web", "--json"]).json();
    assert_eq!(app["config"]["build"]["base"], "../base.tar");
    assert_eq!(app["config"]["build"]["applications"][0]["wwwroot"], "/srv/www");
    assert_eq!(place.flock(&["app", "validate", "web"]).code, 0);
}

#[test]
fn a_bad_name_or_value_makes_nothing() {
    let place = Place::new();
    for args in [
        &["app", "create", "../web"][..],
        &["app", "create", "web", "--base", "gopher://x"],
        &["app", "create", "web", "--wwwroot", "/"],
        &["app", "create", "web", "--type", "svn"],
    ] {
        assert_eq!(place.flock(args).code, 2, "{args:?}");
    }
    assert_eq!(std::fs::read_dir(place.dir()).unwrap().count(), 0);
}

#[test]
fn list_shows_every_app_and_its_state() {
    let place = Place::new();
    assert_eq!(place.flock(&["app", "list"]).stdout, "");
    place.write("web/config.yaml", GOOD);
    place.write("old/config.yaml", FLOCKR);
    place.write("broken/config.yaml", "build: [");
    place.write("other/file", "");
    assert_snapshot!(place.flock(&["app", "list"]).all(), @"
    exit 0
    --- stdout
    broken  config.yaml has mistakes
    old     not filled in
    web     oci://docker.io/library/debian:13-slim
    --- stderr
    ");
    assert_snapshot!(place.flock(&["app", "list", "--json"]).stdout, @r#"
    {
      "schema": 1,
      "apps": [
        {
          "app": "broken",
          "buildable": false,
          "base": null,
          "error": "broken/config.yaml:2:1: while parsing a node, did not find expected node content"
        },
        {
          "app": "old",
          "buildable": false,
          "base": null,
          "error": null
        },
        {
          "app": "web",
          "buildable": true,
          "base": "oci://docker.io/library/debian:13-slim",
          "error": null
        }
      ]
    }
    "#);
}

#[test]
fn show_says_what_it_is_made_of() {
    let place = Place::new();
    place.write("web/config.yaml", GOOD);
    assert_snapshot!(place.flock(&["app", "show", "web"]).all(), @"
    exit 0
    --- stdout
    web
      configuration  web/config.yaml
      base           oci://docker.io/library/debian:13-slim
      application    ../site at v1
        becomes      /var/www/html
      compression    none
    --- stderr
    ");
    assert_snapshot!(place.flock(&["app", "show", "web", "--json"]).stdout, @r#"
    {
      "schema": 1,
      "app": "web",
      "path": "web/config.yaml",
      "config": {
        "version": 1,
        "build": {
          "tmpdir": null,
          "base_format": "tar",
          "base": "oci://docker.io/library/debian:13-slim",
          "base_checksum": null,
          "deploy_app": true,
          "applications": [
            {
              "repository": "../site",
              "type": "git",
              "wwwroot": "/var/www/html",
              "reference": "v1",
              "strip_components": 0,
              "owner": null,
              "checksum": null
            }
          ],
          "compression": null,
          "exclude": [],
          "inject": {
            "hostname": null,
            "resolv_conf": null,
            "authorized_keys": [],
            "files": []
          },
          "disk": {
            "size": null,
            "layout": "mbr",
            "label": "",
            "bootloader": "grub",
            "subformat": "dynamic",
            "consoles": null,
            "kernel_arguments": []
          },
          "max_size": null,
          "max_ratio": null
        },
        "template": {
          "zoneid": null,
          "ostype": null,
          "upload_url": null,
          "display_url": null,
          "hypervisor": null,
          "format": null,
          "hvm": null,
          "passwordenabled": null,
          "isextractable": null,
          "versionate": null
        },
        "deploy": {
          "security_groups": [],
          "zoneid": null,
          "instance_size": null
        }
      },
      "unfinished": []
    }
    "#);
    assert_eq!(place.flock(&["-C", "web", "app", "show", "."]).code, 0);
}

#[test]
fn show_hides_passwords() {
    let place = Place::new();
    let secret = GOOD.replace(
        "oci://docker.io/library/debian:13-slim",
        "https://me:hush@example.org/base.tar?k=hush",
    );
    place.write("web/config.yaml", secret);
    for args in [&["app", "show", "web"][..], &["app", "show", "web", "--json"], &["app", "list"]] {
        let shown = place.flock(args).all();
        assert!(shown.contains("https://example.org/base.tar?…"), "{shown}");
        assert!(!shown.contains("hush"), "{shown}");
    }
}

#[test]
fn validate_lists_every_problem() {
    let place = Place::new();
    let wrong = GOOD.replace("base_url", "base_ulr").replace("GIT", "SVN");
    place.write("web/config.yaml", wrong);
    assert_snapshot!(place.flock(&["app", "validate", "web"]).all(), @"
    exit 2
    --- stdout
    web/config.yaml:2:3: unknown key 'build.base_ulr' (did you mean 'base_url'?)
    web/config.yaml:4:20: build.repository_type: 'SVN' is neither TAR nor GIT
    --- stderr
    ");
    assert_snapshot!(place.flock(&["app", "validate", "web", "--json"]).stdout, @r#"
    {
      "schema": 1,
      "app": "web",
      "path": "web/config.yaml",
      "valid": false,
      "buildable": false,
      "problems": [
        {
          "line": 2,
          "column": 3,
          "key": "build.base_ulr",
          "affects": "file",
          "message": "unknown key 'build.base_ulr'",
          "hint": "did you mean 'base_url'?"
        },
        {
          "line": 4,
          "column": 20,
          "key": "build.repository_type",
          "affects": "file",
          "message": "build.repository_type: 'SVN' is neither TAR nor GIT",
          "hint": null
        }
      ],
      "missing": []
    }
    "#);
    place.write("web/config.yaml", GOOD);
    place.write("site/index.html", "");
    assert_snapshot!(place.flock(&["app", "validate", "web"]).all(), @"
    exit 0
    --- stdout
    web/config.yaml can be built
    --- stderr
    ");
}

#[test]
fn a_fresh_file_is_told_in_a_few_lines() {
    let place = Place::new();
    assert_eq!(place.flock(&["app", "create", "web"]).code, 0);
    assert_snapshot!(place.flock(&["app", "validate", "web"]).all(), @"
    exit 2
    --- stdout
    web/config.yaml:12:13: build.base_url still holds the placeholder 'base_operating_system_path_or_url' (put your own value there)
    web/config.yaml:15:27: build.application_repository still holds the placeholder 'application_repository_git_path_or_url' (put your own value there)
    web/config.yaml:19:20: build.repository_type still holds the placeholder 'TAR_or_GIT' (put your own value there)
    not needed to build, and not filled in: template.zoneid, template.ostype, template.upload_url, template.display_url, deploy.security_groups, deploy.zoneid, deploy.instance_size
    --- stderr
    ");
}

#[test]
fn flockrs_own_file_is_understood() {
    let place = Place::new();
    place.write("myapp/config.yaml", FLOCKR);
    let validated = place.flock(&["app", "validate", "myapp", "--json"]);
    assert_eq!(validated.code, 2);
    assert_eq!(validated.json()["valid"], true);
    assert_eq!(validated.json()["buildable"], false);
    let filled_in = FLOCKR
        .replace("base_operating_system_path_or_url", "/srv/base.tar.gz")
        .replace("application_repository_git_path_or_url", "/srv/app.tar")
        .replace("TAR_or_GIT", "TAR");
    place.write("myapp/config.yaml", filled_in);
    assert_eq!(place.flock(&["app", "validate", "myapp"]).code, 0);
}

#[test]
fn a_missing_app_is_told_apart_from_a_misspelt_one() {
    let place = Place::new();
    place.write("web/config.yaml", GOOD);
    assert_snapshot!(place.flock(&["app", "show", "wbe"]).all(), @"
    exit 1
    --- stdout
    --- stderr
    error: no application 'wbe': wbe/config.yaml is not there

    hint: did you mean 'web'?
    hint: `flock app create wbe` makes a new one
    ");
    let error = place.flock(&["app", "show", "nothing", "--json"]).json_error();
    assert_eq!(error["error"]["kind"], "not_found");
    assert_eq!(error["error"]["exit_code"], 1);
}

#[test]
fn validate_warns_of_inputs_that_are_not_there() {
    let place = Place::new();
    let config = GOOD
        .replace("oci://docker.io/library/debian:13-slim", "../base.tar")
        .replace("build:", "build:\n  inject: {authorized_keys: [key.pub]}");
    place.write("web/config.yaml", config);
    place.write("site/index.html", "");
    assert_snapshot!(place.flock(&["app", "validate", "web"]).all(), @"
    exit 0
    --- stdout
    web/config.yaml is complete
    --- stderr
    warning: build.base_url: base.tar is not there
    warning: build.inject: web/key.pub is not there
    ");
    let ran = place.flock(&["app", "validate", "web", "--json"]);
    let base = serde_json::json!({"key": "build.base_url", "path": "base.tar"});
    assert_eq!((ran.stderr.as_str(), &ran.json()["missing"][0]), ("", &base));
    place.write("base.tar", "");
    place.write("web/key.pub", "");
    assert_snapshot!(place.flock(&["app", "validate", "web"]).all(), @"
    exit 0
    --- stdout
    web/config.yaml can be built
    --- stderr
    ");
}

#[test]
fn list_tells_what_cannot_be_read_from_what_is_wrong() {
    let place = Place::new();
    std::fs::create_dir(place.dir().join("web")).unwrap();
    // A file whose first byte nobody can read, root neither.
    std::os::unix::fs::symlink("/proc/self/mem", place.dir().join("web/config.yaml")).unwrap();
    let said = "web  cannot read web/config.yaml: Input/output error (os error 5)\n";
    assert_eq!(place.flock(&["app", "list"]).stdout, said);
}
