//! The ways to make an appliance that are measured against each other.

mod disk;

use std::path::{Path, PathBuf};

use flock_benches::inputs::{Inputs, WWWROOT};

pub(crate) use self::disk::DISK_SIZE;
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
    /// A disk with an ext4 file system, byte for byte.
    Raw,
    /// The same as a fixed VHD.
    FixedVhd,
    /// The same as a dynamic VHD.
    DynamicVhd,
}

impl Group {
    pub(crate) const ALL: [Self; 7] = [
        Self::Plain,
        Self::Gzip,
        Self::Zstd,
        Self::CompressedBase,
        Self::Raw,
        Self::FixedVhd,
        Self::DynamicVhd,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Plain => "Plain tar",
            Self::Gzip => "tar.gz",
            Self::Zstd => "tar.zst",
            Self::CompressedBase => "Plain tar from base.tar.gz",
            Self::Raw => "Raw disk with ext4",
            Self::FixedVhd => "Fixed VHD with ext4",
            Self::DynamicVhd => "Dynamic VHD with ext4",
        }
    }

    /// The way that is about what the kernel needs to write as much.
    pub(crate) fn limit(self) -> &'static str {
        match self {
            Self::Plain | Self::Gzip | Self::Zstd | Self::CompressedBase => "cat",
            Self::Raw => "cp-raw",
            Self::FixedVhd => "cp-fixed",
            Self::DynamicVhd => "cp-dynamic",
        }
    }

    /// The program of that way.
    pub(crate) fn limit_program(self) -> &'static str {
        if self.limit() == "cat" { "cat" } else { "cp" }
    }

    /// The way of flock that the group's others are compared with.
    pub(crate) fn measure(self) -> &'static str {
        match self {
            Self::Plain => "flock",
            Self::Gzip => "flock-gz-6",
            Self::Zstd => "flock-zst-3",
            Self::CompressedBase => "flock-again",
            Self::Raw => "flock-raw",
            Self::FixedVhd => "flock-fixed",
            Self::DynamicVhd => "flock-dynamic",
        }
    }
}

/// What comes out of a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Product {
    /// Nothing but the time that it took.
    Limit,
    /// An appliance as a tar.
    Tar,
    /// An appliance as a disk with one file system and no partitions, in the
    /// format that `qemu-img` calls so.
    Disk(&'static str),
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
    /// What it needs beforehand, which is not measured: run once.
    pub(crate) prepare: Vec<Pipeline>,
    pub(crate) product: Product,
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

    /// The directory of the `config.yaml` of a disk.
    pub(crate) fn disk_directory(&self, subformat: &str) -> PathBuf {
        self.scratch.join(format!("app-{subformat}"))
    }
}

/// All ways, those of a group together, flock's first after the limit.
pub(crate) fn all(places: &Places) -> Vec<Way> {
    [plain(places), gzip(places), zstd(places), compressed_base(places), disk::all(places)].concat()
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
            .done(2),
        way("tar", "GNU tar: unpack, replace, pack").unpack_and_pack(base, app, None).done(2),
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
            .done(1),
        way("tar-pigz", "GNU tar: unpack, replace, pack into `pigz -6`")
            .unpack_and_pack(base, app, Some(&["pigz", "-6", "-p", &threads]))
            .done(1),
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
            .done(1),
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
            prepare: Vec::new(),
            product: Product::Tar,
        };
        Self { way, places }
    }

    fn done(mut self, most_runs: usize) -> Way {
        self.way.most_runs = most_runs;
        self.way
    }

    fn limit(mut self) -> Self {
        self.way.product = Product::Limit;
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
        let output = text(&self.way.output);
        let program = self.flock_build(&app, &["--output", &output, "--compression", compression]);
        if fresh {
            self.way.remove.push(self.places.scratch.join("home"));
        }
        self.way.steps.push(Pipeline { programs: vec![program], output: None });
        self
    }

    /// `flock build --no-sync` with a home of its own.
    fn flock_build(&mut self, app: &Path, options: &[&str]) -> Program {
        let home = self.places.scratch.join("home");
        let words = [&text(&self.places.flock), "build", &text(app), "--no-sync"];
        let mut program = self.program(&[&words, options].concat());
        program.env = environment(&home);
        program
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

    /// Unpacks both archives below `root`, which is there already.
    fn unpack(self, base: &Path, app: &Path, root: &str) -> Self {
        let target = format!("{root}{}", WWWROOT.trim_end_matches('/'));
        let unpack = ["tar", "--numeric-owner", "-xpf"];
        self.step(&[&unpack[..], &[&text(base), "-C", root]].concat())
            .step(&["rm", "-rf", &target])
            .step(&["mkdir", &target])
            .step(&[&unpack[..], &[&text(app), "-C", &target]].concat())
    }

    /// A directory for this way alone, removed before and after each run.
    fn directory(&mut self, name: &str) -> String {
        let directory = self.places.scratch.join(format!("{}-{name}", self.way.id));
        self.way.remove.push(directory.clone());
        text(&directory)
    }

    fn unpack_and_pack(mut self, base: &Path, app: &Path, compressor: Option<&[&str]>) -> Self {
        let (root, output) = (self.directory("root"), self.way.output.clone());
        let pack = ["tar", "--numeric-owner", "-C", &root, "-cf"];
        let draft = self.step(&["mkdir", &root]).unpack(base, app, &root);
        match compressor {
            None => draft.step(&[&pack[..], &[&text(&output), "."]].concat()),
            Some(compressor) => {
                draft.pipe(&output, &[&[&pack[..], &["-", "."]].concat(), compressor])
            }
        }
    }

    fn original(mut self, base: &Path, app: &Path, compression: &str) -> Self {
        let directory = self.directory("tmp");
        let script = text(&self.places.script);
        let (base, app, output) = (text(base), text(app), text(&self.way.output));
        self.step(&["python3", &script, &base, &app, WWWROOT, &directory, &output, compression])
    }
}

/// The environment with which a program keeps all below `home`.
pub(crate) fn environment(home: &Path) -> Vec<(String, String)> {
    let variables = [
        ("HOME", ""),
        ("XDG_CACHE_HOME", "cache"),
        ("XDG_CONFIG_HOME", "config"),
        ("XDG_DATA_HOME", "data"),
        ("XDG_STATE_HOME", "state"),
    ];
    variables.map(|(key, below)| (key.to_owned(), text(&home.join(below)))).into()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
