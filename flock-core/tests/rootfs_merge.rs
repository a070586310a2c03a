//! The merge, trap by trap: small tars in, the listing of the merged tar out.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use flock_core::rootfs::{
    InjectedFile, ReplaceOptions, Sink as _, SourceIndex, TarSink, Tree, TreeOptions,
};
use flock_core::{Context, ErrorKind};
use support::tars::{Member, Tar, layer, listing, packed, paths};

fn replace(tree: &mut Tree, target: &str, app: Tar) -> flock_core::Result<()> {
    tree.replace(target, app.layer(), &ReplaceOptions::default(), &Context::new())
}

fn base() -> Tar {
    Tar::new()
        .dir("var/", 0o755)
        .dir("var/www/", 0o755)
        .dir("var/www/html/", 0o750)
        .file("var/www/html/index.html", "old")
        .file("etc", "plain")
}

fn app() -> Tar {
    Tar::new().file("index.php", "new").dir("css/", 0o755).file("css/a.css", "a")
}

/// The message of a refused application.
fn refused(app: Tar) -> String {
    let mut tree = base().tree();
    let error = replace(&mut tree, "var/www/html", app).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    error.to_string()
}

#[test]
fn the_application_replaces_what_stands_under_the_target() {
    let mut tree = base().tree();
    replace(&mut tree, "/var/www/html", app()).unwrap();
    let want = [
        "5 755 0:0 @1000 var/",
        "5 755 0:0 @1000 var/www/",
        "5 750 0:0 @1000 var/www/html/",
        "0 644 0:0 @1000 var/www/html/index.php = new",
        "5 755 0:0 @1000 var/www/html/css/",
        "0 644 0:0 @1000 var/www/html/css/a.css = a",
        "0 644 0:0 @1000 etc = plain",
    ];
    assert_eq!(listing(&packed(&tree)), want);
}

#[test]
fn an_untouched_base_is_copied_byte_for_byte() {
    let tar = base().end();
    let tree = base().tree();
    let packed = packed(&tree);
    assert_eq!(packed[..tar.len()], tar);
    assert!(packed[tar.len()..].iter().all(|b| *b == 0));
}

#[test]
fn the_root_entry_of_the_application_is_the_target() {
    let mut tree = base().tree();
    replace(&mut tree, "var/www/html", Tar::new().dir("./", 0o711).file("./a", "1")).unwrap();
    assert!(listing(&packed(&tree)).contains(&"5 711 0:0 @1000 var/www/html/".to_owned()));
}

#[test]
fn missing_parents_are_made() {
    let mut tree = Tar::new().dir("var/", 0o700).tree();
    replace(&mut tree, "srv/a/b", app()).unwrap();
    let want = ["5 755 0:0 @1000 srv/", "5 755 0:0 @1000 srv/a/", "5 755 0:0 @1000 srv/a/b/"];
    assert_eq!(listing(&packed(&tree))[1..4], want);
}

#[test]
fn a_file_in_the_targets_place_becomes_a_directory() {
    let mut tree = base().tree();
    replace(&mut tree, "etc", Tar::new().file("a", "1")).unwrap();
    assert_eq!(paths(&tree)[4..], ["5 etc/", "0 etc/a = 1"]);
    let error = replace(&mut tree, "etc/a/b", app()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.to_string().contains("'etc/a' is not a directory"), "{error}");
}

#[test]
fn a_target_behind_symbolic_links_stays_inside_the_root() {
    for (link, target) in [
        ("var/www", "../srv"),
        ("var/www", "/srv"),
        ("var/www", "../../../../srv"),
        ("var", "/links/var"),
        ("var", "links/./var"),
    ] {
        let mut tree = Tar::new()
            .dir("srv/", 0o755)
            .file("srv/gone", "x")
            .dir("links/", 0o755)
            .dir("links/var/", 0o755)
            .symlink("links/var/www", "/srv")
            .symlink(link, target)
            .tree();
        replace(&mut tree, "/var/www", Tar::new().file("a", "1")).unwrap();
        let paths = paths(&tree);
        assert!(paths.contains(&"0 srv/a = 1".to_owned()), "{link} -> {target}: {paths:?}");
        assert!(paths.contains(&format!("2 {link} -> {target}")), "{paths:?}");
        assert!(!paths.iter().any(|path| path.contains("gone")), "{paths:?}");
    }
}

#[test]
fn a_dangling_link_to_the_target_is_followed() {
    let mut tree = Tar::new().symlink("www", "srv/www").tree();
    replace(&mut tree, "www", Tar::new().file("a", "1")).unwrap();
    assert_eq!(paths(&tree), ["2 www -> srv/www", "5 srv/", "5 srv/www/", "0 srv/www/a = 1"]);
}

#[test]
fn targets_that_lead_nowhere_are_refused() {
    for target in ["/", "", "../x", "loop/x", "loop", "to-root", "file/x"] {
        let mut tree = Tar::new()
            .symlink("loop", "loop2")
            .symlink("loop2", "loop")
            .symlink("to-root", "/")
            .file("file", "")
            .tree();
        let error = replace(&mut tree, target, app()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{target}: {error}");
    }
}

#[test]
fn leading_components_are_stripped() {
    let app = Tar::new()
        .dir("app-1.0/", 0o705)
        .file("app-1.0/a", "1")
        .hardlink("app-1.0/b", "app-1.0/a")
        .file("README", "left out");
    let mut tree = base().tree();
    let options = ReplaceOptions::default().with_strip_components(1).with_owner(33, 34);
    tree.replace("var/www/html", app.layer(), &options, &Context::new()).unwrap();
    let want = [
        "5 705 33:34 @1000 var/www/html/",
        "0 644 33:34 @1000 var/www/html/a = 1",
        "1 644 33:34 @1000 var/www/html/b -> var/www/html/a",
        "0 644 0:0 @1000 etc = plain",
    ];
    assert_eq!(listing(&packed(&tree))[2..], want);
}

#[test]
fn a_hard_link_outlives_its_replaced_target() {
    let mut tree = base()
        .hardlink("keep1", "var/www/html/index.html")
        .hardlink("keep2", "var/www/html/index.html")
        .tree();
    replace(&mut tree, "var/www/html", app()).unwrap();
    let paths = paths(&tree);
    assert!(paths.contains(&"0 keep1 = old".to_owned()), "{paths:?}");
    assert!(paths.contains(&"1 keep2 -> keep1".to_owned()), "{paths:?}");
}

#[test]
fn a_file_outlives_its_replaced_hard_links() {
    let mut tree = base().hardlink("var/www/html/also", "etc").tree();
    replace(&mut tree, "var/www/html", app()).unwrap();
    let paths = paths(&tree);
    assert!(paths.contains(&"0 etc = plain".to_owned()), "{paths:?}");
    assert!(!paths.iter().any(|path| path.contains("also")), "{paths:?}");
}

#[test]
fn hard_links_inside_the_application_move_with_it() {
    let mut tree = base().tree();
    replace(&mut tree, "var/www/html", app().hardlink("b", "./css/a.css")).unwrap();
    let paths = paths(&tree);
    assert_eq!(paths[6], "1 var/www/html/b -> var/www/html/css/a.css");
}

#[test]
fn applications_keep_inside_their_target() {
    assert!(refused(app().file("/etc/passwd", "")).contains("'/etc/passwd' has an absolute name"));
    assert!(refused(app().hardlink("a", "/etc")).contains("hard link out of"));
    assert!(refused(app().hardlink("a", "etc")).contains("hard link to 'etc', which is not there"));
    assert!(refused(app().symlink("a", "/etc").file("a/b", "")).contains("symbolic link"));
    assert!(refused(app().symlink("a", "css").file("a/b", "")).contains("symbolic link"));
    assert!(refused(app().symlink("a", "css").hardlink("b", "a/a.css")).contains("symbolic link"));
    for (typeflag, what) in [(b'3', "device"), (b'4', "device"), (b'6', "named pipe")] {
        let member = Member { path: b"x", typeflag, ..Member::default() };
        assert!(refused(app().member(&member)).contains(what));
    }
    for path in ["../x", "a/../../x", "a/.."] {
        let error = layer(&app().file(path, "").end()).unwrap_err();
        assert!(error.to_string().contains("`..`"), "{error}");
    }
    let error = layer(&app().hardlink("a", "../../etc/shadow").end()).unwrap_err();
    assert!(error.to_string().contains("`..`"), "{error}");
}

#[test]
fn symbolic_links_of_an_application_stay_as_they_are() {
    let mut tree = base().tree();
    replace(&mut tree, "var/www/html", app().symlink("out", "../../../../etc/shadow")).unwrap();
    assert_eq!(paths(&tree)[6], "2 var/www/html/out -> ../../../../etc/shadow");
}

#[test]
fn an_application_brings_no_privileges() {
    let suid = Member { path: b"sudo", mode: 0o6755, ..Member::default() };
    let sticky = Member { path: b"tmp", typeflag: b'5', mode: 0o3777, ..Member::default() };
    let capable = Tar::new()
        .member(&suid)
        .member(&sticky)
        .pax(
            b'x',
            &[("SCHILY.xattr.security.capability", b"\x01\0"), ("SCHILY.xattr.user.a", b"b")],
        )
        .file("ping", "");
    let mut tree = base().tree();
    replace(&mut tree, "var/www/html", capable).unwrap();
    assert_eq!(tree.lookup("var/www/html/sudo").unwrap().unwrap().metadata.mode, 0o755);
    assert_eq!(tree.lookup("var/www/html/tmp").unwrap().unwrap().metadata.mode, 0o1777);
    let ping = tree.lookup("var/www/html/ping").unwrap().unwrap();
    assert_eq!(ping.metadata.xattrs.len(), 1);
    assert_eq!(ping.metadata.xattrs[0].name, b"user.a");
}

#[test]
fn several_applications_and_their_order() {
    let mut tree = base().tree();
    replace(&mut tree, "srv", Tar::new().dir("sub/", 0o700).file("sub/x", "1")).unwrap();
    replace(&mut tree, "srv/sub", Tar::new().file("y", "2")).unwrap();
    assert_eq!(paths(&tree)[5..], ["5 srv/", "5 srv/sub/", "0 srv/sub/y = 2"]);
    replace(&mut tree, "srv", Tar::new().file("z", "3")).unwrap();
    assert_eq!(paths(&tree)[5..], ["5 srv/", "0 srv/z = 3"]);
}

#[test]
fn the_last_of_two_entries_wins() {
    let tree = Tar::new()
        .dir("d/", 0o700)
        .file("d/a", "first")
        .hardlink("d/b", "d/a")
        .file("./d/a", "second")
        .dir("./d", 0o755)
        .file("x", "file")
        .dir("x/", 0o711)
        .dir("y/", 0o711)
        .file("y", "file")
        .tree();
    let want = ["5 ./d", "0 d/b = first", "0 ./d/a = second", "5 x/", "0 y = file"];
    assert_eq!(paths(&tree), want);
    assert_eq!(tree.lookup("d").unwrap().unwrap().metadata.mode, 0o755);
}

#[test]
fn an_entry_never_hides_a_whole_directory() {
    for odd in [Tar::new().symlink("var", "/srv"), Tar::new().file("var", "")] {
        let bytes = [base().0, odd.end()].concat();
        let error = Tree::new(layer(&bytes).unwrap(), &Context::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(error.to_string().contains("not empty"), "{error}");
    }
}

#[test]
fn entries_after_a_symbolic_link_of_their_name() {
    let tree = Tar::new()
        .dir("usr/", 0o755)
        .dir("usr/lib/", 0o755)
        .symlink("lib", "usr/lib")
        .file("lib/a.so", "a")
        .symlink("cfg", "/usr/lib")
        .hardlink("b.so", "cfg/a.so")
        .symlink("f", "usr/lib/a.so")
        .file("f", "instead")
        .tree();
    let want = [
        "5 usr/",
        "5 usr/lib/",
        "0 usr/lib/a.so = a",
        "2 lib -> usr/lib",
        "2 cfg -> /usr/lib",
        "1 b.so -> usr/lib/a.so",
        "0 f = instead",
    ];
    assert_eq!(paths(&tree), want);
}

#[test]
fn names_under_a_file_are_refused() {
    let bytes = base().file("etc/passwd", "").end();
    let error = Tree::new(layer(&bytes).unwrap(), &Context::new()).unwrap_err();
    assert!(error.to_string().contains("'etc' is not a directory"), "{error}");
}

#[test]
fn global_headers_fold_into_the_entries() {
    let comment = Tar::new().pax(b'g', &[("comment", b"0123abcd")]).file("a", "1");
    let bytes = comment.clone().end();
    assert_eq!(packed(&comment.tree())[..1024], bytes[1024..2048]);
    let tree = Tar::new()
        .file("before", "")
        .pax(b'g', &[("uid", b"77"), ("mtime", b"5")])
        .file("after", "")
        .pax(b'x', &[("uid", b"78")])
        .file("own", "")
        .tree();
    let uids: Vec<u32> = tree.entries().map(|entry| entry.unwrap().metadata.uid).collect();
    assert_eq!(uids, [0, 77, 78]);
    let want = ["0 644 0:0 @1000 before = ", "0 644 77:0 @5 after = ", "0 644 78:0 @5 own = "];
    assert_eq!(listing(&packed(&tree)), want);
}

#[test]
fn large_ids_and_long_names_survive_a_move() {
    let long = "n".repeat(150);
    let link = "l".repeat(200);
    let app = Tar::new()
        .pax(b'x', &[("uid", b"3000000000"), ("gid", b"2097152"), ("path", long.as_bytes())])
        .file("x", "1")
        .member(&Member {
            path: b"././@LongLink",
            typeflag: b'L',
            content: format!("{long}2\0").as_bytes(),
            ..Member::default()
        })
        .member(&Member {
            path: b"././@LongLink",
            typeflag: b'K',
            content: format!("{link}\0").as_bytes(),
            ..Member::default()
        })
        .symlink("short", "short");
    let mut tree = base().tree();
    replace(&mut tree, "var/www/html", app).unwrap();
    let again = Tree::new(layer(&packed(&tree)).unwrap(), &Context::new()).unwrap();
    for tree in [tree, again] {
        let entries: Vec<_> = tree.entries().map(Result::unwrap).collect();
        let file = &entries[3];
        assert_eq!((file.metadata.uid, file.metadata.gid), (3_000_000_000, 2_097_152));
        assert_eq!(file.path, format!("var/www/html/{long}").as_bytes());
        let last = &entries[4];
        assert_eq!(last.path, format!("var/www/html/{long}2").as_bytes());
        let target = link.as_bytes().to_vec();
        assert_eq!(last.kind, flock_core::rootfs::EntryKind::Symlink { target });
    }
}

#[test]
fn names_need_not_be_utf8() {
    let member = Member { path: b"caf\xe9", content: b"1", ..Member::default() };
    let mut tree = base().member(&member).tree();
    replace(&mut tree, "var/www/html", Tar::new().member(&member)).unwrap();
    let paths = paths(&tree);
    assert!(paths.contains(&"0 caf\\xe9 = 1".to_owned()), "{paths:?}");
    assert_eq!(paths[3], "0 var/www/html/caf\\xe9 = 1");
}

#[test]
fn names_in_the_manner_of_the_base() {
    let mut tree = Tar::new().dir("./", 0o755).file("./a", "1").tree();
    replace(&mut tree, "srv", Tar::new().file("x", "2").hardlink("y", "x")).unwrap();
    let want = ["5 ./", "0 ./a = 1", "5 ./srv/", "0 ./srv/x = 2", "1 ./srv/y -> ./srv/x"];
    assert_eq!(paths(&tree), want);
}

#[test]
fn whiteouts_hide_lower_layers_only() {
    let mut tree = Tar::new()
        .dir("a/", 0o755)
        .file("a/old", "1")
        .file("a/kept", "1")
        .dir("b/", 0o755)
        .file("b/old", "1")
        .hardlink("saved", "b/old")
        .tree();
    let upper = Tar::new()
        .file("b/new", "2")
        .file("b/.wh..wh..opq", "")
        .file("a/.wh.old", "")
        .file("a/old", "back")
        .file("a/.wh..wh.plnk", "")
        .file("none/.wh.x", "");
    tree.overlay(upper.layer(), &Context::new()).unwrap();
    let want = ["5 a/", "0 a/kept = 1", "0 a/old = back", "5 b/", "0 b/new = 2", "0 saved = 1"];
    assert_eq!(paths(&tree), want);
}

#[test]
fn an_overlay_may_replace_a_directory() {
    let mut tree = base().tree();
    tree.overlay(Tar::new().symlink("var", "etc").layer(), &Context::new()).unwrap();
    assert_eq!(paths(&tree), ["0 etc = plain", "2 var -> etc"]);
    let bad = Tar::new().file(".wh...", "").layer();
    assert_eq!(tree.overlay(bad, &Context::new()).unwrap_err().kind(), ErrorKind::InvalidData);
}

#[test]
fn excluded_directories_go_with_what_is_in_them() {
    let mut tree = base().hardlink("kept", "var/www/html/index.html").tree();
    let patterns = |list: &[&str]| list.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
    assert_eq!(tree.exclude(&patterns(&["/var/*/html/", "nothing"])).unwrap(), 2);
    assert_eq!(paths(&tree), ["5 var/", "5 var/www/", "0 etc = plain", "0 kept = old"]);
    assert_eq!(tree.exclude(&patterns(&["v*w"])).unwrap(), 0);
    assert_eq!(tree.exclude(&patterns(&["**/www"])).unwrap(), 1);
    let error = tree.exclude(&patterns(&["a[", "b"])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.to_string().contains("'a['"), "{error}");
}

#[test]
fn injected_files_replace_and_stay_inside() {
    let file = |path: &str| InjectedFile::new(path, "new").with_mode(0o600).with_owner(1, 2);
    let mut tree = Tar::new()
        .dir("etc/", 0o755)
        .symlink("etc/resolv.conf", "../run/resolv.conf")
        .symlink("conf", "/../etc")
        .tree();
    tree.inject(file("/etc/resolv.conf")).unwrap();
    tree.inject(file("conf/hostname")).unwrap();
    tree.inject(file("root/.ssh/authorized_keys")).unwrap();
    let want = [
        "5 755 0:0 @1000 etc/",
        "0 600 1:2 @1000 etc/resolv.conf = new",
        "0 600 1:2 @1000 etc/hostname = new",
        "2 777 0:0 @1000 conf -> /../etc",
        "5 755 0:0 @1000 root/",
        "5 755 0:0 @1000 root/.ssh/",
        "0 600 1:2 @1000 root/.ssh/authorized_keys = new",
    ];
    assert_eq!(listing(&packed(&tree)), want);
    for path in ["/", "etc", "../x", "etc/hostname/x"] {
        assert_eq!(tree.inject(file(path)).unwrap_err().kind(), ErrorKind::InvalidConfig, "{path}");
    }
    assert!(!format!("{:?}", file("x")).contains("new"));
}

#[test]
fn source_date_epoch_sets_back_what_is_newer() {
    let base = Tar::new().file("old", "1").pax(b'x', &[("mtime", b"2000.5")]).file("new", "2");
    let options = TreeOptions::default().with_source_date_epoch(Some(2000));
    let mut tree = Tree::with_options(base.layer(), &options, &Context::new()).unwrap();
    replace(&mut tree, "srv", app()).unwrap();
    let want = ["0 644 0:0 @1000 old = 1", "0 644 0:0 @2000 new = 2", "5 755 0:0 @2000 srv/"];
    assert_eq!(listing(&packed(&tree))[..3], want);
}

#[test]
fn both_ways_to_write_give_the_same_bytes() {
    let big = "x".repeat(700_000);
    let tar = Tar::new().file("big1", &big).file("small", "1").file("big2", &big).end();
    let app = Tar::new().file("big3", &big).file("b", "2").end();
    let dir = tempfile::tempdir().unwrap();
    let open = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        SourceIndex::from_tar(&path, std::fs::File::open(&path).unwrap(), &Context::new()).unwrap()
    };
    let mut tree = Tree::new(open("base.tar", &tar), &Context::new()).unwrap();
    tree.replace("srv", open("app.tar", &app), &ReplaceOptions::default(), &Context::new())
        .unwrap();
    let stream = packed(&tree);
    let path = dir.path().join("out.tar");
    let mut sink = TarSink::to_file(std::fs::File::create(&path).unwrap()).with_name(&path);
    let written = sink.write(&tree, &Context::new()).unwrap();
    assert_eq!(written.entries, 6);
    assert!(std::fs::read(&path).unwrap() == stream);
    assert!(tree.summary().tar_bytes.abs_diff(stream.len() as u64) < 10240);
}

#[test]
fn a_directory_becomes_entries_in_the_order_of_names() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("b")).unwrap();
    std::fs::write(at("b/file"), "1").unwrap();
    std::fs::hard_link(at("b/file"), at("c")).unwrap();
    std::os::unix::fs::symlink("b/file", at("a")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    let from_directory = || SourceIndex::from_directory(dir.path(), &Context::new()).unwrap();
    let mut tree = base().tree();
    let (options, ctx) = (ReplaceOptions::default().with_owner(7, 8), Context::new());
    tree.replace("srv", from_directory(), &options, &ctx).unwrap();
    let want =
        ["5 srv/", "2 srv/a -> b/file", "5 srv/b/", "0 srv/b/file = 1", "1 srv/c -> srv/b/file"];
    assert_eq!(paths(&tree)[5..], want);
    assert_eq!(tree.lookup("srv/a").unwrap().unwrap().metadata.uid, 7);

    // A file that grows behind the index is noticed, not cut off.
    std::fs::write(at("b/file"), "longer").unwrap();
    let error = TarSink::new(Vec::new()).write(&tree, &ctx).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let error = SourceIndex::from_directory(&at("c"), &ctx).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
}

#[test]
fn a_base_that_shrinks_under_the_sink_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("base.tar");
    std::fs::write(&path, Tar::new().file("big", &"x".repeat(300_000)).end()).unwrap();
    let ctx = Context::new();
    let layer = SourceIndex::from_tar(&path, std::fs::File::open(&path).unwrap(), &ctx).unwrap();
    let tree = Tree::new(layer, &ctx).unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(200_000).unwrap();
    let output = std::fs::File::create(dir.path().join("out.tar")).unwrap();
    let error = TarSink::to_file(output).write(&tree, &ctx).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().contains("base.tar"), "{error}");
}

#[test]
fn what_is_no_archive_says_so() {
    let page = b"\n<!DOCTYPE HTML><html><body>404</body></html>".repeat(20);
    let error = layer(&page).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.hints().any(|hint| hint.contains("web page")));
    let whole = base().end();
    for cut in [0, 100, 512, 2600, whole.len() - 1024] {
        let error = layer(&whole[..cut]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(error.to_string().contains("test.tar"), "{error}");
        assert!(error.context_value("offset").is_some());
    }
    let mut flipped = whole;
    flipped[520] ^= 0x20;
    let error = layer(&flipped).unwrap_err();
    assert!(error.to_string().contains("(at byte 512)"), "{error}");
}

#[test]
fn a_cancelled_build_ends() {
    let ctx = Context::new();
    let tree = base().tree();
    ctx.cancel();
    let error = TarSink::new(Vec::new()).write(&tree, &ctx).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[test]
fn a_full_disk_is_an_error() {
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else { return };
    let error = TarSink::to_file(full).write(&base().tree(), &Context::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
}

#[test]
fn a_tar_that_is_written_to_meanwhile_is_noticed() {
    let path = tempfile::NamedTempFile::new().unwrap();
    let bytes = Tar::new().file("a", "one").end();
    std::fs::write(path.path(), &bytes).unwrap();
    let ctx = Context::new();
    let file = std::fs::File::open(path.path()).unwrap();
    let tree = Tree::new(SourceIndex::from_tar(path.path(), file, &ctx).unwrap(), &ctx).unwrap();
    tree.verify_unchanged().unwrap();
    // The clock of a file's times may tick only every few milliseconds.
    std::thread::sleep(std::time::Duration::from_millis(20));
    std::fs::write(path.path(), &bytes).unwrap();
    assert_eq!(tree.verify_unchanged().unwrap_err().kind(), ErrorKind::Conflict);
}

#[test]
fn the_summary_counts_the_content_of_a_link_that_became_the_file() {
    let content = "x".repeat(100_000);
    let base = Tar::new().file("var/www/a", &content).hardlink("b", "var/www/a");
    let mut tree = base.tree();
    tree.exclude(&["./var/www/a".to_owned()]).unwrap();
    let summary = tree.summary();
    assert_eq!(summary.content_bytes, 100_000);
    assert!(summary.tar_bytes > 100_000, "{summary:?}");
}
