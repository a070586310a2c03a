//! The examples in `docs/json.md` are what the commands print.

use std::fs;
use std::path::PathBuf;

use crate::Place;

const SITE: &str = "\
build:
  base_url: oci://docker.io/library/debian:13-slim
  application_repository: https://example.org/site.git
  repository_type: GIT
  application_wwwroot: /var/www/html
  compression: zstd
";

const BROKEN: &str = "\
build:
  base_ulr: base.tar
  application_repository: https://example.org/site.git
  repository_type: GIT
  application_wwwroot: /var/www/html
";

const PROFILES: &str = "\
production:
  apikey: abc
  url: https://cloud.example.org/client/api
  secretkey: {file: /home/me/secret}
";

/// Set to write the examples anew instead of comparing them.
const UPDATE: &str = "FLOCK_UPDATE_DOCS";

fn path() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/json.md"))
}

/// The document cut at its headings, each with the section under it.
fn sections(text: &str) -> Vec<(String, String)> {
    text.split("\n## ")
        .skip(1)
        .map(|section| {
            let (heading, body) = section.split_once('\n').unwrap();
            (heading.to_owned(), body.to_owned())
        })
        .collect()
}

/// The first JSON example of a section.
fn example(body: &str) -> &str {
    let start = body.find("```json\n").expect("an example") + "```json\n".len();
    let end = start + body[start..].find("```").unwrap();
    &body[start..end]
}

/// What the command of the heading prints, made the same on every machine.
fn printed(heading: &str) -> String {
    let place = Place::new();
    place.write("site/config.yaml", SITE);
    if heading == "Errors" {
        return place.flock(&["app", "show", "stie", "--json"]).stderr;
    }
    let command = heading.trim_matches('`').strip_prefix("flock ").unwrap();
    if command.contains("broken") {
        place.write("broken/config.yaml", BROKEN);
    }
    if command.starts_with("config") {
        place.write("flockr.yaml", PROFILES);
    }
    if command.starts_with("cloudstack") || command.starts_with("job") {
        return crate::cloudstack::example(command);
    }
    if command.starts_with("cache") {
        crate::cache::fill(&place);
    }
    if command.starts_with("image") {
        crate::image::disk(&place);
    }
    if command.starts_with("image inspect") {
        place.flock(&["image", "convert", "disk.img", "disk.vhd"]);
    }
    let mut args: Vec<&str> = command.split(' ').collect();
    args.extend(["--threads", "2"]);
    place.program("git", "git version 2.47.3");
    let text = place.flock(&args).stdout;
    let text = text.replace("[ROOT]/home", "/home/me");
    let text = fixed(&fixed(&text, "disk_usage", "12288"), "seconds", "0.5");
    steady(&text, "GiB free")
}

/// The text with another value for a key.
fn fixed(text: &str, key: &str, value: &str) -> String {
    let lines =
        text.split_inclusive('\n').map(|line| match line.split_once(&format!("\"{key}\": ")) {
            Some((before, after)) => {
                let end = after.find([',', '\n']).unwrap();
                format!("{before}\"{key}\": {value}{}", &after[end..])
            }
            None => line.to_owned(),
        });
    lines.collect()
}

/// The text with the number before `unit` fixed.
fn steady(text: &str, unit: &str) -> String {
    let mut steady = String::new();
    for line in text.split_inclusive('\n') {
        match line.find(unit) {
            Some(at) => {
                let number = line[..at].trim_end().rfind(['"', ' ']).unwrap() + 1;
                steady.push_str(&format!("{}25.0 {}", &line[..number], &line[at..]));
            }
            None => steady.push_str(line),
        }
    }
    steady
}

#[test]
fn json_examples_are_real() {
    let mut text = fs::read_to_string(path()).unwrap();
    let mut compared = 0;
    for (heading, body) in sections(&text) {
        // Progress is covered by its own tests, the results of a build and of
        // what is done on CloudStack by those of their documents.
        let elsewhere = ["Progress", "`flock build site --json`"].contains(&heading.as_str());
        let kinds = ["`flock template ", "`flock deploy ", "`flock node "];
        if elsewhere || kinds.iter().any(|kind| heading.starts_with(kind)) {
            continue;
        }
        let expected = printed(&heading);
        if std::env::var_os(UPDATE).is_some() {
            let new = body.replacen(
                &format!("```json\n{}```", example(&body)),
                &format!("```json\n{expected}```"),
                1,
            );
            text = text.replace(&body, &new);
        } else {
            assert_eq!(example(&body), expected, "{heading} in docs/json.md");
        }
        compared += 1;
    }
    assert_eq!(compared, 14);
    if std::env::var_os(UPDATE).is_some() {
        fs::write(path(), text).unwrap();
    }
}

#[test]
fn progress_examples_are_events() {
    let text = fs::read_to_string(path()).unwrap();
    let (_, body) = sections(&text).into_iter().find(|(heading, _)| heading == "Progress").unwrap();
    for line in example(&body).lines() {
        let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value.as_object_mut().unwrap().remove("schema"), Some(1.into()));
        let event: flock_core::progress::ProgressEvent =
            serde_json::from_value(value.clone()).unwrap();
        assert_eq!(serde_json::to_value(event).unwrap(), value);
    }
}
