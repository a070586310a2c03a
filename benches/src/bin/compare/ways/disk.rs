//! The ways to a disk with a file system of [`DISK_SIZE`].

use std::path::{Path, PathBuf};

use super::{Draft, Group, Pipeline, Places, Product, QUICK, Way, text};
use flock_benches::inputs::Inputs;

/// How large every disk is, in the words of `config.yaml`, `truncate` and
/// `mke2fs`.
pub(crate) const DISK_SIZE: &str = "4G";

/// What `qemu-img` is asked for: the same size as the raw disk, not one
/// rounded to its geometry.
const VPC: &str = "force_size=on,subformat=";

pub(super) fn all(places: &Places) -> Vec<Way> {
    [raw(places), fixed(places), dynamic(places)].concat()
}

fn raw(places: &Places) -> Vec<Way> {
    let way = |id, label| {
        let draft = Draft::new(places, Group::Raw, id, label, "raw");
        draft.makes(Product::Disk("raw"))
    };
    vec![
        way("cp-raw", "`cp` of the finished disk, the limit").copy("raw", "fixed"),
        way("flock-raw", "**flock**").flock_disk("raw", "fixed").done(QUICK),
        way("tar2ext4", "tar2ext4 from one merged tar; compact and read-only")
            .tar2ext4_to_output()
            .done(3),
        way("mount", "loop mount, GNU tar: unpack, replace").mounted().done(2),
        way("mke2fs-tar", "`mke2fs -d` from one merged tar").mke2fs_tar_to_output().done(2),
    ]
}

fn fixed(places: &Places) -> Vec<Way> {
    let way = |id, label| {
        let draft = Draft::new(places, Group::FixedVhd, id, label, "vhd");
        draft.makes(Product::Disk("vpc"))
    };
    vec![
        way("cp-fixed", "`cp` of the finished disk, the limit").copy("vhd", "fixed"),
        way("flock-fixed", "**flock**").flock_disk("vhd", "fixed").done(QUICK),
        way("mke2fs-tar-fixed", "`mke2fs -d` from one merged tar, then `qemu-img`")
            .mke2fs_tar()
            .into_vhd("fixed")
            .done(2),
    ]
}

fn dynamic(places: &Places) -> Vec<Way> {
    let way = |id, label| {
        let draft = Draft::new(places, Group::DynamicVhd, id, label, "vhd");
        draft.makes(Product::Disk("vpc"))
    };
    vec![
        way("cp-dynamic", "`cp` of the finished disk, the limit").copy("vhd", "dynamic"),
        way("flock-dynamic", "**flock**").flock_disk("vhd", "dynamic").done(QUICK),
        way("tar2ext4-dynamic", "tar2ext4 from one merged tar, then `qemu-img`; read-only")
            .tar2ext4()
            .into_vhd("dynamic")
            .done(3),
        way("mke2fs-tar-dynamic", "`mke2fs -d` from one merged tar, then `qemu-img`")
            .mke2fs_tar()
            .into_vhd("dynamic")
            .done(3),
        way("mke2fs-dir-dynamic", "GNU tar: unpack, replace; `mke2fs -d`; `qemu-img`")
            .mke2fs_directory()
            .into_vhd("dynamic")
            .done(2),
        way("original-dynamic", "the original's way (an ISO in a VHD, which cannot boot)")
            .original_iso()
            .done(1),
    ]
}

impl Draft<'_> {
    fn makes(mut self, product: Product) -> Self {
        self.way.product = product;
        self
    }

    /// Copies what flock made beforehand.
    fn copy(mut self, kind: &str, subformat: &str) -> Way {
        let finished = PathBuf::from(self.directory(&format!("finished.{kind}")));
        // Needed by every run.
        self.way.remove.retain(|path| *path != finished);
        let output = text(&self.way.output);
        let program = self.flock_disk_program(kind, subformat, &finished);
        self.way.prepare.push(Pipeline { programs: vec![program], output: None });
        self.step(&["cp", &text(&finished), &output]).limit().done(QUICK)
    }

    fn flock_disk(mut self, kind: &str, subformat: &str) -> Self {
        let output = self.way.output.clone();
        let program = self.flock_disk_program(kind, subformat, &output);
        self.way.steps.push(Pipeline { programs: vec![program], output: None });
        self
    }

    fn flock_disk_program(
        &mut self,
        kind: &str,
        subformat: &str,
        output: &Path,
    ) -> crate::measure::Program {
        let app = self.places.disk_directory(subformat);
        self.flock_build(&app, &["--type", kind, "--output", &text(output), "--force"])
    }

    /// The merged tar, which costs these ways nothing: bsdtar makes it
    /// beforehand.
    fn merged(&mut self) -> String {
        let Inputs { base, app_placed, .. } = &self.places.inputs;
        let merged = text(&self.places.scratch.join("merged.tar"));
        let words = Self::bsdtar_words(base, app_placed, &[], &merged);
        let program = self.program(&words.iter().map(String::as_str).collect::<Vec<_>>());
        self.way.prepare.push(Pipeline { programs: vec![program], output: None });
        merged
    }

    /// A raw disk on the way to the output.
    fn between(&mut self) -> String {
        self.directory("between.raw")
    }

    fn tar2ext4(mut self) -> Self {
        let (merged, raw) = (self.merged(), self.between());
        self.step(&["tar2ext4", "-i", &merged, "-o", &raw])
    }

    fn tar2ext4_to_output(mut self) -> Self {
        let (merged, output) = (self.merged(), text(&self.way.output));
        self.step(&["tar2ext4", "-i", &merged, "-o", &output])
    }

    /// `mke2fs`, which takes the contents from `from` if there is something.
    fn mke2fs(self, from: Option<&str>, raw: &str) -> Self {
        let mut words = vec!["mke2fs", "-q", "-F", "-t", "ext4"];
        words.extend(from.into_iter().flat_map(|from| ["-d", from]));
        words.extend([raw, DISK_SIZE]);
        self.step(&words)
    }

    fn mke2fs_tar(mut self) -> Self {
        let (merged, raw) = (self.merged(), self.between());
        self.mke2fs(Some(&merged), &raw)
    }

    fn mke2fs_tar_to_output(mut self) -> Self {
        let (merged, output) = (self.merged(), text(&self.way.output));
        self.mke2fs(Some(&merged), &output)
    }

    fn mke2fs_directory(mut self) -> Self {
        let Inputs { base, app, .. } = &self.places.inputs;
        let (root, raw) = (self.directory("root"), self.between());
        self.step(&["mkdir", &root]).unpack(base, app, &root).mke2fs(Some(&root), &raw)
    }

    fn mounted(mut self) -> Self {
        let Inputs { base, app, .. } = &self.places.inputs;
        let (root, output) = (self.directory("root"), text(&self.way.output));
        self.step(&["mkdir", &root])
            .mke2fs(None, &output)
            .step(&["mount", "-o", "loop", &output, &root])
            .unpack(base, app, &root)
            .step(&["umount", &root])
    }

    /// The last step of most ways: the raw disk becomes a VHD.
    fn into_vhd(mut self, subformat: &str) -> Self {
        let (raw, output) = (self.between(), text(&self.way.output));
        let options = format!("{VPC}{subformat}");
        self.step(&["qemu-img", "convert", "-O", "vpc", "-o", &options, "-f", "raw", &raw, &output])
    }

    fn original_iso(mut self) -> Self {
        let Inputs { base, app, .. } = &self.places.inputs;
        let (root, iso) = (self.directory("root"), self.directory("between.iso"));
        let output = text(&self.way.output);
        self.way.product = Product::Limit;
        self.step(&["mkdir", &root])
            .unpack(base, app, &root)
            .step(&["genisoimage", "-quiet", "-R", "-o", &iso, &root])
            .step(&["qemu-img", "convert", "-O", "vpc", "-f", "raw", &iso, &output])
    }
}
