//! Reads back what a way made.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use flock_benches::tree::Tree;

use crate::measure::{self, Pipeline, Program};
use crate::ways::{Places, Product, Way};

/// Compares what `way` made with the tree that has to come out.
///
/// # Errors
/// When it differs or cannot be read.
pub(crate) fn product(way: &Way, places: &Places, expected: &Tree, owners: bool) -> Result<()> {
    let tree = match way.product {
        Product::Limit => return Ok(()),
        Product::Tar => Tree::read(&way.output, owners).context("cannot read the output")?,
        Product::Disk(_) if !owners => bail!("only root can look into a disk"),
        Product::Disk(format) => in_disk(&way.output, format, &places.scratch)?,
    };
    let differences = tree.differences(expected);
    if !differences.is_empty() {
        bail!("wrong result: {}", differences.join("; "));
    }
    Ok(())
}

/// The tree in a disk, as the kernel sees it: mounted, and packed by GNU tar.
fn in_disk(disk: &Path, format: &str, scratch: &Path) -> Result<Tree> {
    let raw = scratch.join("verify.raw");
    let mount = scratch.join("verify-mount");
    let packed = scratch.join("verify.tar");
    fs::create_dir_all(&mount)?;
    let mounted = mount.to_string_lossy();
    let (disk, raw_name) = (disk.to_string_lossy(), raw.to_string_lossy());
    let run = |words: &[&str]| run(words, scratch);
    run(&["qemu-img", "convert", "-f", format, "-O", "raw", &disk, &raw_name])?;
    run(&["mount", "-o", "loop,ro", &raw_name, &mounted])?;
    let tar = packed.to_string_lossy();
    let pack =
        ["tar", "--numeric-owner", "--exclude=./lost+found", "-C", &mounted, "-cf", &tar, "."];
    let result = run(&pack);
    run(&["umount", &mounted])?;
    result?;
    let tree = Tree::read(&packed, true)?;
    fs::remove_file(&raw)?;
    fs::remove_file(&packed)?;
    Ok(tree)
}

fn run(words: &[&str], scratch: &Path) -> Result<()> {
    let name = measure::find(words[0]).with_context(|| format!("no {}", words[0]))?;
    let args = words[1..].iter().map(|&word| word.to_owned()).collect();
    let programs = vec![Program { name, args, env: Vec::new() }];
    measure::run(&[Pipeline { programs, output: None }], scratch)?;
    Ok(())
}
