//! What a `config.yaml` may hold, and what is said about one that is wrong.

use std::path::PathBuf;

use super::parse::{SECTIONS, parse};
use super::*;
use crate::document::{Affects, Position};
use crate::rootfs::compress::Format;

/// The file as flockr's README shows it.
const FLOCKR: &str = include_str!("../../tests/data/flockr-config.yaml");

fn filled_in() -> String {
    FLOCKR
        .replace("base_operating_system_path_or_url", "https://example.org/base.tar.gz")
        .replace("application_repository_git_path_or_url", "git@example.org:site.git")
        .replace("TAR_or_GIT", "GIT")
}

/// A build section with one further line.
fn with(line: &str) -> String {
    filled_in().replace("build:\n", &format!("build:\n  {line}\n"))
}

fn problem(text: &str) -> Problem {
    match parse(text) {
        Err(problems) => in_the_way(problems).remove(0),
        Ok(config) => panic!("parsed: {config:?}"),
    }
}

#[test]
fn flockrs_file_parses_as_it_is() {
    let config = AppConfig::parse(FLOCKR, "config.yaml").unwrap();
    assert_eq!(config.build.base, None);
    assert_eq!(config.build.tmpdir, Some(PathBuf::from("/tmp")));
    assert_eq!(config.template.hypervisor.as_deref(), Some("LXC"));
    assert_eq!(config.template.format, Some(TemplateFormat::Tar));
    assert_eq!(config.template.hvm, Some(false));
    assert_eq!(config.compression(), Format::GZIP);
    let unfinished: Vec<_> =
        config.unfinished().map(|problem| (problem.key.as_str(), problem.at.line)).collect();
    assert_eq!(
        unfinished,
        [
            ("build.base_url", 4),
            ("build.application_repository", 5),
            ("build.repository_type", 7),
            ("template.zoneid", 10),
            ("template.ostype", 11),
            ("template.upload_url", 12),
            ("template.display_url", 13),
            ("deploy.security_groups", 22),
            ("deploy.zoneid", 23),
            ("deploy.instance_size", 24),
        ]
    );
    let error = config.check_buildable("config.yaml").unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("config.yaml:4:13: build.base_url still holds the placeholder"),
        "{said}"
    );
    assert!(!said.contains("template"), "{said}");
}

#[test]
fn a_generated_file_says_the_same_as_flockrs() {
    let parent = tempfile::tempdir().unwrap();
    let path = create(parent.path(), "web", &NewApp::default()).unwrap();
    let ours = AppConfig::load(&path).unwrap();
    let theirs = AppConfig::parse(FLOCKR, "config.yaml").unwrap();
    assert_eq!(
        (ours.build, ours.template, ours.deploy),
        (theirs.build, theirs.template, theirs.deploy)
    );
}

#[test]
fn the_generated_files_comments_are_keys_that_work() {
    let template = include_str!("template.yaml");
    let mut text = String::new();
    for line in template.lines() {
        // Only what looks like a key or a list item: prose has no colon behind
        // its first word.
        let bare = line.trim_start().strip_prefix("# ");
        let is_key = bare.is_some_and(|bare| {
            let word = bare.trim_start().trim_start_matches("- ").split(' ').next().unwrap_or("");
            (word.ends_with(':') && word == word.to_lowercase())
                || bare.trim_start().starts_with("- ")
        });
        match (bare, is_key) {
            (Some(bare), true) => text.push_str(&format!("  {bare}\n")),
            (Some(_), false) => {}
            (None, _) => text.push_str(&format!("{line}\n")),
        }
    }
    let text = text
        .replace("sha256:…", &format!("sha256:{}", "0".repeat(64)))
        .replace("TAR_or_GIT", "GIT")
        .replace("base_operating_system_path_or_url", "base.tar")
        .replace("application_repository_git_path_or_url", "site.git")
        .replace(&format!("application_checksum: sha256:{}", "0".repeat(64)), "");
    let config = AppConfig::parse(&text, "config.yaml").unwrap();
    assert!(config.is_buildable());
    assert_eq!(config.build.applications.len(), 2);
    assert_eq!(config.build.inject.files.len(), 1);
    for (section, keys) in SECTIONS.iter().filter(|(name, _)| name.matches('.').count() == 0) {
        for key in keys.iter().filter(|key| key.name != "version") {
            assert!(template.contains(&format!("{}:", key.name)), "{section}.{}", key.name);
        }
    }
}

#[test]
fn booleans_are_those_of_yaml_1_1() {
    for (text, value) in [("True", true), ("yes", true), ("ON", true), ("No", false), ("n", false)]
    {
        let text = FLOCKR.replace("hvm: false", &format!("hvm: {text}"));
        assert_eq!(AppConfig::parse(&text, "c").unwrap().template.hvm, Some(value));
    }
    let wrong = problem(&FLOCKR.replace("hvm: false", "hvm: maybe"));
    assert_eq!(wrong.message, "template.hvm: 'maybe' is neither true nor false");
    assert_eq!(wrong.at, Position { line: 16, column: 8 });
}

#[test]
fn unknown_keys_are_shown_with_place_and_neighbour() {
    let wrong = problem(&filled_in().replace("base_url", "base_ulr"));
    assert_eq!(wrong.at, Position { line: 4, column: 3 });
    assert_eq!(wrong.message, "unknown key 'build.base_ulr'");
    assert_eq!(wrong.hint.as_deref(), Some("did you mean 'base_url'?"));
    let nested = problem(&with("inject: {files: [{path: /x, content: y, moed: 1}]}"));
    assert_eq!(nested.message, "unknown key 'build.inject.files.moed'");
    assert_eq!(nested.at, Position { line: 2, column: 43 });
    let far = problem("qqq: 1");
    assert_eq!(far.hint.as_deref(), Some("the keys here are version, build, template, deploy"));
}

#[test]
fn all_problems_come_at_once() {
    let text = filled_in()
        .replace("base_format: TAR", "base_format: ISO")
        .replace("hvm: false", "hvm: maybe")
        .replace("deploy:", "depoly:");
    let error = AppConfig::parse(&text, "web/config.yaml").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    let said = error.to_string();
    assert!(said.starts_with("3 problems in web/config.yaml\n"), "{said}");
    assert!(said.contains("web/config.yaml:3:16: build.base_format: 'ISO'"), "{said}");
    assert!(said.contains("web/config.yaml:21:1: unknown key 'depoly' (did you mean"), "{said}");
}

#[test]
fn what_is_missing_is_named() {
    let config = AppConfig::parse("build: {}\n", "c").unwrap();
    let missing: Vec<_> = config.unfinished().map(|p| p.message.as_str()).collect();
    assert_eq!(
        missing,
        [
            "build.base_url is missing",
            "build.application_repository is missing",
            "build.repository_type is missing",
            "build.application_wwwroot is missing",
        ]
    );
    assert!(config.unfinished().all(|problem| problem.affects == Affects::Build));
    let empty = AppConfig::parse("", "c").unwrap();
    assert!(!empty.is_buildable());
}

#[test]
fn the_base_alone_needs_no_application() {
    let text = FLOCKR
        .replace("base_operating_system_path_or_url", "base.tar")
        .replace("build:\n", "build:\n  deploy_app: no\n");
    let config = AppConfig::parse(&text, "c").unwrap();
    assert!(config.is_buildable());
    assert!(!config.build.deploy_app && config.build.applications.is_empty());
}

#[test]
fn several_applications_keep_their_order() {
    let list = "applications: [{repository: b.tar, type: tar, wwwroot: /srv/b, owner: 33:33, strip_components: 1}]";
    let config = AppConfig::parse(&with(list), "c").unwrap();
    assert!(config.is_buildable());
    let targets: Vec<_> =
        config.build.applications.iter().map(|app| app.wwwroot.as_str()).collect();
    assert_eq!(targets, ["/var/www/html/", "/srv/b"]);
    let second = &config.build.applications[1];
    assert_eq!((second.owner, second.strip_components), (Some(Ids { uid: 33, gid: 33 }), 1));
    let alone = format!("build:\n  base_url: b.tar\n  {list}\n");
    let config = AppConfig::parse(&alone, "c").unwrap();
    assert!(config.is_buildable());
    assert_eq!(config.build.applications.len(), 1);
    let incomplete =
        AppConfig::parse("build: {base_url: b, applications: [{type: GIT}]}", "c").unwrap();
    assert_eq!(incomplete.unfinished().next().unwrap().at, Position { line: 1, column: 37 });
}

#[test]
fn compression_has_a_short_and_a_long_form() {
    for (line, value) in [
        ("compression: zstd", Format::ZSTD),
        ("compression: gzip:9", Format::Gzip { level: 9 }),
        ("compression: {format: zstd, level: 19}", Format::Zstd { level: 19 }),
        ("compression: none", Format::None),
    ] {
        assert_eq!(AppConfig::parse(&with(line), "c").unwrap().compression(), value, "{line}");
    }
    let plain = filled_in().replace("isextractable: true", "isextractable: false");
    assert_eq!(AppConfig::parse(&plain, "c").unwrap().compression(), Format::None);
}

#[test]
fn files_to_inject() {
    let config = AppConfig::parse(
        &with(
            "inject:\n    hostname: web-1\n    resolv_conf: [192.0.2.1, '2001:db8::1']\n    \
             authorized_keys: ['ssh-ed25519 AAAA me', keys.pub]\n    files:\n      \
             - {path: /etc/x, source: x.txt, mode: 0755, owner: '1:2'}",
        ),
        "c",
    )
    .unwrap();
    let inject = &config.build.inject;
    assert_eq!(
        inject.resolv_conf,
        Some(InjectedContent::Inline("nameserver 192.0.2.1\nnameserver 2001:db8::1\n".to_owned()))
    );
    assert_eq!(
        inject.authorized_keys[0],
        InjectedContent::Inline("ssh-ed25519 AAAA me".to_owned())
    );
    assert_eq!(inject.authorized_keys[1], InjectedContent::File("keys.pub".into()));
    assert_eq!(inject.files[0].mode, 0o755);
    assert_eq!(inject.files[0].content, InjectedContent::File("x.txt".into()));
}

#[test]
fn wrong_values_are_problems_where_they_stand() {
    for line in [
        "base_checksum: abc",
        "deploy_app: 2",
        "application_owner: www-data",
        "application_checksum: sha256:00",
        "strip_components: -1",
        "compression: lzma",
        "compression: {level: 3}",
        "compression: {format: gzip, level: 99}",
        "exclude: ['[']",
        "inject: {hostname: 'a b'}",
        "inject: {resolv_conf: [nowhere]}",
        "inject: {resolv_conf: {content: a, source: b}}",
        "inject: {files: [{path: /../x, content: y}]}",
        "inject: {files: [{path: /x, content: y, mode: 0999}]}",
        "inject: {files: [{path: /x}]}",
        "inject: [a]",
        "max_size: big",
        "applications: [{repository: a, type: GIT, wwwroot: /}]",
        "applications: [{repository: a, type: GIT, wwwroot: /x, strip_components: 1}]",
        "applications: [{repository: a, type: TAR, wwwroot: /x, reference: main}]",
        "applications: [{repository: 'ssh://h/a', type: TAR, wwwroot: /x}]",
        "applications: {}",
        "tmpdir: [a]",
        "base_format: TAR",
    ] {
        assert_eq!(problem(&with(line)).affects, Affects::File, "{line}");
    }
    let text = filled_in();
    for (from, to) in [
        ("https://example.org/base.tar.gz", "ssh://example.org/base"),
        ("https://example.org/base.tar.gz", "ftp://example.org/base"),
        ("url_that_cloudstack_sees", "nowhere"),
        ("/var/www/html/", "../etc"),
        ("build:", "version: 2\nbuild:"),
        ("build:", "build: x\nbuild2:"),
    ] {
        assert!(AppConfig::parse(&text.replace(from, to), "c").is_err(), "{to}");
    }
    assert!(AppConfig::parse("a: [", "c").is_err());
    assert!(AppConfig::parse("- a", "c").is_err());
}

#[test]
fn an_app_is_found_by_its_name() {
    let parent = tempfile::tempdir().unwrap();
    create(parent.path(), "web", &NewApp::default()).unwrap();
    create(parent.path(), "api", &NewApp::default()).unwrap();
    fs::create_dir(parent.path().join("other")).unwrap();
    assert_eq!(list(parent.path()).unwrap(), ["api", "web"]);
    assert_eq!(App::open(parent.path(), "web").unwrap().name, "web");
    assert_eq!(App::open(&parent.path().join("web"), ".").unwrap().name, "web");
    let error = App::open(parent.path(), "wbe").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.hints().next(), Some("did you mean 'web'?"));
}

/// The documentation names the keys that there are, all and no others.
#[test]
fn every_key_is_documented() {
    let text = include_str!("../../../docs/configuration.md");
    let mut documented = Vec::new();
    let mut section = None;
    for line in text.lines() {
        if line.starts_with("# ") {
            section = None;
        }
        if let Some(heading) = line.strip_prefix("## ").or_else(|| line.strip_prefix("### ")) {
            section = SECTIONS.iter().map(|(name, _)| *name).find(|name| {
                heading == format!("`{name}`") || (name.is_empty() && heading == "The file")
            });
        }
        let key = line.strip_prefix("| `").and_then(|row| row.split_once('`'));
        if let (Some(section), Some((key, _))) = (section, key) {
            documented.push((section, key));
        }
    }
    let mut known: Vec<_> = SECTIONS
        .iter()
        .flat_map(|(section, keys)| keys.iter().map(|key| (*section, key.name)))
        .collect();
    documented.sort_unstable();
    known.sort_unstable();
    assert_eq!(documented, known);
}

proptest::proptest! {
    #[test]
    fn no_file_makes_it_panic(
        key in "[a-z_]{1,20}",
        value in "\\PC{0,40}",
        line in 0..24_usize,
    ) {
        let mut lines: Vec<String> = filled_in().lines().map(str::to_owned).collect();
        lines[line] = format!("  {key}: {value}");
        let _ = parse(&lines.join("\n"));
        let mut lines: Vec<String> = filled_in().lines().map(str::to_owned).collect();
        if let Some((key, _)) = lines[line].clone().split_once(':') {
            lines[line] = format!("{key}: {value}");
        }
        let _ = parse(&lines.join("\n"));
    }
}
