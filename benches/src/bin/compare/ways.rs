//! The ways to make an appliance that are measured against each other.

use std::path::{Path, PathBuf};

use flock_benches::inputs::{Inputs, WWWROOT};

use crate::measure::{self, Pipeline, Program};

/// Ways whose results can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Group {
    /// A plain tar.
    Plain,
    /// A tar compressed by gzip.
    Gzip,
    /// A tar compressed by zstd.
    Zstd,
    /// A plain tar from a base that is compressed.
    CompressedBase,
}

impl Group {
    pub(crate) const ALL: [Self; 4] = [Self::Plain, Self::Gzip, Self::Zstd, Self::CompressedBase];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Plain => "Plain tar",
            Self::Gzip => "tar.gz",
            Self::Zstd => "tar.zst",
            Self::CompressedBase => "Plain tar from base.tar.gz",
        }
    }
}

/// One way to get from the inputs to an appliance.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    pub(crate) id: &'static str,
    pub(crate) group: Group,
    pub(crate) label: String,
    /// What it runs; nothing if a program is missing, which `missing` names.
    pub(crate) steps: Vec<Pipeline>,
    pub(crate) missing: Option<String>,
    pub(crate) output: PathBuf,
    /// At most so many runs, because it is slow.
    pub(crate) most_runs: usize,
    /// Removed before each run.
    pub(crate) remove: Vec<PathBuf>,
    /// Whether the output is an appliance, or only a limit.
    pub(crate) makes_appliance: bool,
}

/// Where things are.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) inputs: Inputs,
    pub(crate) scratch: PathBuf,
    pub(crate) flock: PathBuf,
    pub(crate) script: PathBuf,
    pub(crate) cores: usize,
}

impl Places {
    /// The directory of the `config.yaml` with this base.
    pub(crate) fn app_directory(&self, base: &Path) -> PathBuf {
        let packed = base == self.inputs.base_gz;
        self.scratch.join(if packed { "app-from-gz" } else { "app" })
    }
}

/// All ways, those of a group together, flock's first after the limit.
pub(crate) fn all(places: &Places) -> Vec<Way> {
    [plain(places), gzip(places), zstd(places), compressed_base(places)].concat()
}

const QUICK: usize = usize::MAX;

fn plain(places: &Places) -> Vec<Way> {
    let Inputs { base, app, app_placed, .. } = &places.inputs;
    let way = |id, label| Draft::new(places, Group::Plain, id, label, "tar");
    let cat = way("cat", "`cat base.tar app.tar > out`, the limit").limit();
    let synced = way("cat-sync", "the same, then `sync out`").limit();
    let (out, synced_out) = (cat.way.output.clone(), synced.way.output.clone());
    vec![
        cat.pipe(&out, &[&["cat", &text(base), &text(app)]]).done(QUICK),
        synced
            .pipe(&synced_out, &[&["cat", &text(base), &text(app)]])
            .step(&["sync", &text(&synced_out)])
            .done(QUICK),
        way("flock", "**flock** `--no-sync`").flock(base, "none", false).done(QUICK),
        way("flock-sync", "**flock** as by default, until it is on the disk")
            .flock(base, "none", false)
            .synced()
            .done(QUICK),
        way("bsdtar", "bsdtar `@archive`, application already in place")
            .bsdtar(base, app_placed, &[])
            .done(QUICK),
        way("original", "the original's way (Python: unpack, copytree, pack)")
            .original(base, app, "")
            .done(3),
        way("tar", "GNU tar: unpack, replace, pack").unpack_and_pack(base, app, None).done(3),
    ]
}

fn gzip(places: &Places) -> Vec<Way> {
    let Inputs { base, app, app_placed, .. } = &places.inputs;
    let way = |id, label| Draft::new(places, Group::Gzip, id, label, "tar.gz");
    let threads = places.cores.to_string();
    vec![
        way("flock-gz-6", "**flock**, level 6").flock(base, "gzip:6", false).done(QUICK),
        way("flock-gz-1", "**flock**, level 1").flock(base, "gzip:1", false).done(QUICK),
        way("bsdtar-pigz", "bsdtar `@archive` into `pigz -6`")
            .bsdtar_into(base, app_placed, &["pigz", "-6", "-p", &threads])
            .done(QUICK),
        way("bsdtar-gzip", "bsdtar `@archive` into `gzip -6`")
            .bsdtar_into(base, app_placed, &["gzip", "-6"])
            .done(2),
        way("tar-pigz", "GNU tar: unpack, replace, pack into `pigz -6`")
            .unpack_and_pack(base, app, Some(&["pigz", "-6", "-p", &threads]))
            .done(2),
        way("original-gz", "the original's way (Python, `w:gz`)").original(base, app, "gz").done(1),
    ]
}

fn zstd(places: &Places) -> Vec<Way> {
    let Inputs { base, app, app_placed, .. } = &places.inputs;
    let way = |id, label| Draft::new(places, Group::Zstd, id, label, "tar.zst");
    let options = format!("zstd:compression-level=3,zstd:threads={}", places.cores);
    vec![
        way("flock-zst-3", "**flock**, level 3").flock(base, "zstd:3", false).done(QUICK),
        way("bsdtar-zstd", "bsdtar `@archive --zstd`, level 3, with threads")
            .bsdtar(base, app_placed, &["--zstd", "--options", &options])
            .done(QUICK),
        way("bsdtar-into-zstd", "bsdtar `@archive` into `zstd -3 -T0`")
            .bsdtar_into(base, app_placed, &["zstd", "-q", "-3", "-T0", "-c"])
            .done(QUICK),
        way("tar-zstd", "GNU tar: unpack, replace, pack into `zstd -3 -T0`")
            .unpack_and_pack(base, app, Some(&["zstd", "-q", "-3", "-T0", "-c"]))
            .done(2),
    ]
}

fn compressed_base(places: &Places) -> Vec<Way> {
    let Inputs { base_gz, app_placed, .. } = &places.inputs;
    let way = |id, label| Draft::new(places, Group::CompressedBase, id, label, "tar");
    vec![
        way("flock-first", "**flock**, first build of this base")
            .flock(base_gz, "none", true)
            .done(3),
        way("flock-again", "**flock**, every later build")
            .flock(base_gz, "none", false)
            .done(QUICK),
        way("bsdtar-base-gz", "bsdtar `@archive`, application already in place")
            .bsdtar(base_gz, app_placed, &[])
            .done(3),
    ]
}

/// A way in the making.
struct Draft<'a> {
    way: Way,
    places: &'a Places,
}

impl<'a> Draft<'a> {
    fn new(
        places: &'a Places,
        group: Group,
        id: &'static str,
        label: &str,
        suffix: &'static str,
    ) -> Self {
        let output = places.scratch.join(format!("{id}.{suffix}"));
        let way = Way {
            id,
            group,
            label: label.to_owned(),
            steps: Vec::new(),
            missing: None,
            remove: vec![output.clone()],
            output,
            most_runs: QUICK,
            makes_appliance: true,
        };
        Self { way, places }
    }

    fn done(mut self, most_runs: usize) -> Way {
        self.way.most_runs = most_runs;
        self.way
    }

    fn limit(mut self) -> Self {
        self.way.makes_appliance = false;
        self
    }

    fn program(&mut self, words: &[&str]) -> Program {
        let name = match measure::find(words[0]) {
            Some(path) => path,
            None if Path::new(words[0]).is_absolute() => words[0].into(),
            None => {
                self.way.missing = Some(words[0].to_owned());
                words[0].into()
            }
        };
        let args = words[1..].iter().map(|&word| word.to_owned()).collect();
        Program { name, args, env: Vec::new() }
    }

    fn step(mut self, words: &[&str]) -> Self {
        let programs = vec![self.program(words)];
        self.way.steps.push(Pipeline { programs, output: None });
        self
    }

    fn pipe(mut self, output: &Path, pipeline: &[&[&str]]) -> Self {
        let programs = pipeline.iter().map(|words| self.program(words)).collect();
        self.way.steps.push(Pipeline { programs, output: Some(output.to_owned()) });
        self
    }

    /// As by default: until the appliance is on the disk.
    fn synced(mut self) -> Self {
        let programs = self.way.steps.iter_mut().flat_map(|step| &mut step.programs);
        programs.for_each(|program| program.args.retain(|word| word != "--no-sync"));
        self
    }

    /// Like the peers it does not wait for the disk. `fresh` forgets what
    /// earlier builds left in the cache.
    fn flock(mut self, base: &Path, compression: &str, fresh: bool) -> Self {
        let app = self.places.app_directory(base);
        let home = self.places.scratch.join("home");
        let mut program = self.program(&[
            &text(&self.places.flock),
            "build",
            &text(&app),
            "--output",
            &text(&self.way.output),
            "--compression",
            compression,
            "--no-sync",
        ]);
        for (key, below) in [
            ("HOME", ""),
            ("XDG_CACHE_HOME", "cache"),
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_DATA_HOME", "data"),
            ("XDG_STATE_HOME", "state"),
        ] {
            program.env.push((key.to_owned(), text(&home.join(below))));
        }
        if fresh {
            self.way.remove.push(home);
        }
        self.way.steps.push(Pipeline { programs: vec![program], output: None });
        self
    }

    /// bsdtar takes the entries of both archives over; it cannot move paths of
    /// only one of them.
    fn bsdtar_words(base: &Path, app_placed: &Path, options: &[&str], output: &str) -> Vec<String> {
        let leave_out = format!("{}placeholder-*", WWWROOT.trim_start_matches('/'));
        let mut words = vec!["bsdtar".to_owned(), "-cf".to_owned(), output.to_owned()];
        words.extend(options.iter().map(|&option| option.to_owned()));
        words.extend(["--exclude".to_owned(), leave_out]);
        words.extend([base, app_placed].map(|archive| format!("@{}", archive.display())));
        words
    }

    fn bsdtar(self, base: &Path, app_placed: &Path, options: &[&str]) -> Self {
        let words = Self::bsdtar_words(base, app_placed, options, &text(&self.way.output));
        self.step(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn bsdtar_into(self, base: &Path, app_placed: &Path, compressor: &[&str]) -> Self {
        let words = Self::bsdtar_words(base, app_placed, &[], "-");
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let output = self.way.output.clone();
        self.pipe(&output, &[&words, compressor])
    }

    fn unpack_and_pack(self, base: &Path, app: &Path, compressor: Option<&[&str]>) -> Self {
        let mut draft = self;
        let root = draft.places.scratch.join(format!("{}-root", draft.way.id));
        draft.way.remove.push(root.clone());
        let (root, output) = (text(&root), draft.way.output.clone());
        let target = format!("{root}{}", WWWROOT.trim_end_matches('/'));
        let unpack = ["tar", "--numeric-owner", "-xpf"];
        let pack = ["tar", "--numeric-owner", "-C", &root, "-cf"];
        let draft = draft
            .step(&["mkdir", &root])
            .step(&[&unpack[..], &[&text(base), "-C", &root]].concat())
            .step(&["rm", "-rf", &target])
            .step(&["mkdir", &target])
            .step(&[&unpack[..], &[&text(app), "-C", &target]].concat());
        match compressor {
            None => draft.step(&[&pack[..], &[&text(&output), "."]].concat()),
            Some(compressor) => {
                draft.pipe(&output, &[&[&pack[..], &["-", "."]].concat(), compressor])
            }
        }
    }

    fn original(mut self, base: &Path, app: &Path, compression: &str) -> Self {
        let directory = self.places.scratch.join(format!("{}-tmp", self.way.id));
        self.way.remove.push(directory.clone());
        let script = text(&self.places.script);
        let (base, app, output) = (text(base), text(app), text(&self.way.output));
        self.step(&[
            "python3",
            &script,
            &base,
            &app,
            WWWROOT,
            &text(&directory),
            &output,
            compression,
        ])
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
