//! Appliances that are disks.

use std::fs;

use crate::Place;
use crate::build::{CONFIG, directories};

const BARE: &str = "  disk: {layout: bare, bootloader: none, size: 64MiB}\n";

/// The directories, with more in `config.yaml`.
fn place(more: &str) -> Place {
    let place = directories();
    let config = CONFIG.replace("base.tar", "base").replace("app.tar", "app");
    place.write("web/config.yaml", config + more);
    place
}

/// The names in the application's directory.
fn names(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(place.dir().join("web")).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

const NOTHING_MADE: [&str; 3] = ["app", "base", "config.yaml"];

#[test]
fn every_format_is_built_and_inspected() {
    let place = place(BARE);
    for (format, shown) in [("raw", "raw"), ("vhd", "vhd-dynamic"), ("qcow2", "qcow2")] {
        let ran = place.flock(&["build", "web", "--type", format, "--json"]);
        assert_eq!(ran.code, 0, "{}", ran.all());
        assert_eq!(ran.json()["output"], format!("web/web.{format}"));
        let found = place.flock(&["image", "inspect", &format!("web/web.{format}"), "--json"]);
        assert_eq!(found.code, 0, "{}", found.all());
        let found = found.json();
        assert_eq!(found["format"], shown);
        assert_eq!(found["virtual_size"], 64 << 20);
        assert_eq!(found["file_system"]["kind"], "ext4");
        let checks = found["checks"].as_array().unwrap();
        assert!(checks.iter().all(|check| check["outcome"] == "passed"), "{checks:?}");
    }
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let place = place(
        "  disk:\n    size: huge\n    layout: round\n    bootloader: lilo\n    subformat: thin\n    \
         label: a-label-that-is-too-long\n    kernel_arguments: ['quiet \"']\n",
    );
    let ran = place.flock(&["build", "web", "--type", "vhd"]);
    assert_eq!(ran.code, 2, "{}", ran.all());
    for (line, key) in
        [(7, "size"), (8, "layout"), (9, "bootloader"), (10, "subformat"), (11, "label")]
    {
        let said = ran.stderr.lines().any(|said| {
            said.contains(&format!("config.yaml:{line}:"))
                && said.contains(&format!("build.disk.{key}"))
        });
        assert!(said, "{key}: {}", ran.stderr);
    }
    assert_eq!(names(&place), NOTHING_MADE);
}

#[test]
fn a_base_that_cannot_boot_names_what_is_missing() {
    let ran = place("").flock(&["build", "web", "--type", "vhd"]);
    assert_ne!(ran.code, 0);
    assert!(ran.stderr.contains("kernel") && ran.stderr.contains("linux-image"), "{}", ran.stderr);
    for key in ["`build.disk.layout: bare`", "`build.disk.bootloader: none`"] {
        assert!(ran.stderr.contains(key), "{}", ran.stderr);
    }
    let ran = place("").flock(&["build", "web", "--output", "out.img"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("`--type raw` makes one"), "{}", ran.stderr);
}

#[test]
fn a_disk_that_is_too_small_says_how_much_is_needed() {
    let place = place("  disk: {layout: bare, bootloader: none, size: 16MiB}\n");
    fs::write(place.dir().join("web/base/large"), vec![7; 20 << 20]).unwrap();
    let ran = place.flock(&["build", "web", "--type", "raw"]);
    assert_ne!(ran.code, 0);
    let needed = ran.stderr.split_whitespace().find_map(|word| {
        word.trim_matches(|sign: char| !sign.is_ascii_digit())
            .parse::<u64>()
            .ok()
            .filter(|n| *n > 20 << 20)
    });
    assert!(needed.is_some(), "{}", ran.stderr);
    assert!(ran.stderr.contains("`build.disk.size`"), "{}", ran.stderr);
    assert_eq!(names(&place), NOTHING_MADE);
}

#[test]
fn an_extractable_vhd_is_compressed() {
    let place = place(&format!("{BARE}template:\n  isextractable: true\n"));
    let ran = place.flock(&["build", "web", "--type", "vhd"]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    let bytes = fs::read(place.dir().join("web/web.vhd.gz")).unwrap();
    assert_eq!(bytes[..2], [0x1f, 0x8b]);
}

#[test]
fn a_disk_cannot_be_piped() {
    let place = place(BARE);
    let ran = place.flock(&["build", "web", "--type", "vhd", "--output", "-"]);
    assert_eq!(ran.code, 1, "{}", ran.all());
    assert_eq!(ran.stdout, "");
    assert_eq!(names(&place), NOTHING_MADE);
}
