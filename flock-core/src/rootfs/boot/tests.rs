use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::*;
use crate::progress::{ProgressEvent, ProgressReporter};
use crate::rootfs::{InjectedFile, SourceIndex, Tree};
use crate::{Context, Error, ErrorKind};

const UUID: [u8; 16] = *b"\x5c\x1e\x86\x11\x5b\x0a\x4d\x8e\x9d\x4c\x3b\x1f\x0a\x22\x77\x01";
const UUID_TEXT: &str = "5c1e8611-5b0a-4d8e-9d4c-3b1f0a227701";

/// Begins like a bzImage, boot protocol 2.15.
fn bzimage() -> Vec<u8> {
    let mut kernel = vec![0; 1024];
    kernel[0x1fe..0x208].copy_from_slice(b"\x55\xaa\xeb\x66HdrS\x0f\x02");
    kernel[0x211] = 1;
    kernel
}

/// A tar of these files and symbolic links.
fn tree(files: &[(&str, &[u8])], links: &[(&str, &str)]) -> Tree {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, *content).unwrap();
    }
    for (path, target) in links {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, path, target).unwrap();
    }
    let ctx = Context::new();
    Tree::new(SourceIndex::from_bytes("base", tar.into_inner().unwrap(), &ctx).unwrap(), &ctx)
        .unwrap()
}

/// The files of a GRUB that was made up, in the appliance's own directory.
fn with_grub(tree: &mut Tree) {
    for (name, content) in grub::made_up() {
        inject(tree, &format!("/usr/lib/grub/i386-pc/{name}"), content);
    }
}

fn inject(tree: &mut Tree, path: &str, content: impl Into<Vec<u8>>) {
    tree.inject(InjectedFile::new(path, content)).unwrap();
}

/// A system with one kernel, as Debian has it.
fn debian() -> Tree {
    let mut tree = tree(
        &[
            ("boot/vmlinuz-6.1.0-9-amd64", &bzimage()),
            ("boot/initrd.img-6.1.0-9-amd64", b"initrd"),
            ("etc/fstab", b"# UNCONFIGURED FSTAB FOR BASE SYSTEM\n"),
            ("usr/lib/os-release", b"NAME=\"Debian\"\nPRETTY_NAME=\"Debian 12 (bookworm)\"\n"),
            ("usr/lib/systemd/systemd", b"init"),
        ],
        &[
            ("etc/os-release", "../usr/lib/os-release"),
            ("usr/sbin/init", "/lib/systemd/systemd"),
            ("sbin", "usr/sbin"),
            ("lib", "usr/lib"),
        ],
    );
    with_grub(&mut tree);
    tree
}

fn options(layout: BootLayout) -> BootOptions {
    BootOptions::new(UUID, layout).with_host_grub(None)
}

fn mbr() -> BootLayout {
    BootLayout::Mbr { signature: 0x0abc_1234, first_partition: 2048 }
}

fn plan(tree: &Tree, options: &BootOptions) -> crate::Result<BootPlan> {
    BootPlan::new(tree, options, &Context::new())
}

fn text(tree: &Tree, path: &str) -> String {
    let bytes = read::read_file(tree, path, 1 << 20).unwrap();
    String::from_utf8(bytes.unwrap_or_else(|| panic!("no {path}"))).unwrap()
}

fn hints(error: &Error) -> String {
    error.hints().collect::<Vec<_>>().join("\n")
}

#[test]
fn a_debian_gets_what_it_needs() {
    let mut tree = debian();
    let plan = plan(&tree, &options(mbr())).unwrap();
    assert_eq!(plan.kernels().len(), 1);
    plan.inject(&mut tree).unwrap();
    assert_eq!(
        text(&tree, "/boot/grub/grub.cfg"),
        format!(
            "# Written by flock, as the appliance had none; update-grub replaces it.\n\
             set default=0\n\
             set timeout=1\n\
             if serial --unit=0 --speed=115200; then\n\
             \tterminal_input console serial\n\
             \tterminal_output console serial\n\
             fi\n\
             \n\
             menuentry 'Debian 12 (bookworm), Linux 6.1.0-9-amd64' {{\n\
             \tlinux /boot/vmlinuz-6.1.0-9-amd64 root=UUID={UUID_TEXT} ro \
             console=tty0 console=ttyS0,115200n8\n\
             \tinitrd /boot/initrd.img-6.1.0-9-amd64\n\
             }}\n"
        )
    );
    assert!(text(&tree, "/etc/fstab").contains(&format!("UUID={UUID_TEXT} / ext4 errors=")));
    assert!(text(&tree, "/etc/default/grub.d/flock.cfg").contains("console=ttyS0,115200n8\"\n"));
    assert_eq!(text(&tree, "/boot/grub/i386-pc/normal.mod"), "normal!");
    assert!(tree.resolve("/boot/grub/i386-pc/moddep.lst").unwrap().is_some());
    assert!(tree.resolve("/boot/grub/i386-pc/kernel.img").unwrap().is_none());
    let code = plan.boot_code().unwrap();
    assert_eq!((code.start_lba, code.embedded.len() % 512), (1, 0));
}

#[test]
fn the_same_input_gives_the_same_plan() {
    let made = || plan(&debian(), &options(mbr())).unwrap();
    let (one, other) = (made(), made());
    assert_eq!(one.boot_code(), other.boot_code());
    let files = |plan: &BootPlan| {
        let (mut tree, mut files) = (debian(), BTreeMap::new());
        plan.inject(&mut tree).unwrap();
        for entry in tree.entries() {
            let entry = entry.unwrap();
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry.content().reader(), &mut content).unwrap();
            files.insert(entry.path, (entry.metadata, content));
        }
        files
    };
    assert_eq!(files(&one), files(&other));
}

#[test]
fn the_newest_kernel_is_the_default() {
    let mut tree = debian();
    for name in ["vmlinuz-6.1.0-18-amd64", "initrd.img-6.1.0-18-amd64", "vmlinuz-6.2~rc1-amd64"] {
        inject(&mut tree, &format!("/boot/{name}"), bzimage());
    }
    for name in ["vmlinuz-7.0.dpkg-new", "vmlinuz-7.0.old", "vmlinuz-7 $x", "vmlinux-7.0"] {
        inject(&mut tree, &format!("/boot/{name}"), bzimage());
    }
    inject(&mut tree, "/boot/vmlinuz-7.1-arm64", [&[0; 56][..], b"ARM\x64"].concat());
    let heard = Arc::new(Heard::default());
    let ctx = Context::new().with_progress(heard.clone());
    let plan = BootPlan::new(&tree, &options(mbr()), &ctx).unwrap();
    let versions: Vec<_> = plan.kernels().iter().map(|kernel| kernel.version.as_str()).collect();
    assert_eq!(versions, ["6.2~rc1-amd64", "6.1.0-18-amd64", "6.1.0-9-amd64"]);
    let initrd = plan.kernels()[1].initrd.as_deref();
    assert_eq!(initrd, Some("/boot/initrd.img-6.1.0-18-amd64"));
    let heard = heard.0.lock().unwrap().join("\n");
    for left_out in ["/boot/vmlinuz-7.1-arm64 out of the boot menu", "'/boot/vmlinuz-7 $x' out of"]
    {
        assert!(heard.contains(left_out), "{heard}");
    }
}

#[test]
fn other_distributions_have_other_names() {
    let names = [
        ("6.5.6-300.fc39.x86_64", "initramfs-6.5.6-300.fc39.x86_64.img"),
        ("6.4.0-150600-default", "initrd-6.4.0-150600-default"),
        ("virt", "initramfs-virt"),
        ("linux", "initramfs-linux.img"),
    ];
    for (version, initrd) in names {
        let files = [
            (format!("boot/vmlinuz-{version}"), bzimage()),
            (format!("boot/{initrd}"), Vec::new()),
            ("sbin/init".to_owned(), Vec::new()),
        ];
        let files: Vec<_> = files.iter().map(|(p, c)| (p.as_str(), c.as_slice())).collect();
        let plan = plan(&tree(&files, &[]), &options(BootLayout::Bare)).unwrap();
        assert_eq!(plan.kernels()[0].initrd, Some(format!("/boot/{initrd}")), "{version}");
    }
}

#[test]
fn a_kernel_behind_links_is_named_as_it_is() {
    let tree = tree(
        &[("boot/kernels/a", &bzimage()), ("boot/kernels/b", b""), ("sbin/init", b"")],
        &[("vmlinuz", "boot/kernels/a"), ("initrd.img", "/boot/kernels/b")],
    );
    let plan = plan(&tree, &options(BootLayout::Bare)).unwrap();
    assert_eq!(
        plan.kernels(),
        [Kernel {
            version: String::new(),
            path: "/boot/kernels/a".to_owned(),
            initrd: Some("/boot/kernels/b".to_owned()),
        }]
    );
}

#[test]
fn without_a_kernel_the_package_is_named() {
    let base = tree(&[("etc/hostname", b"web\n")], &[]);
    let error = plan(&base, &options(mbr())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    for word in ["linux-image-amd64", "linux-image-cloud-amd64", "kernel (Fedora)", "bare layout"] {
        assert!(hints(&error).contains(word), "{word}");
    }
    let arm = tree(&[("boot/vmlinuz-6", &[&[0; 56][..], b"ARM\x64"].concat())], &[]);
    let error = plan(&arm, &options(mbr())).unwrap_err();
    assert!(error.to_string().ends_with("/boot/vmlinuz-6 is a kernel for arm64"), "{error}");
    let old = tree(
        &[("boot/vmlinuz-2.4", &{
            let mut old = bzimage();
            old[0x211] = 0;
            old
        })],
        &[],
    );
    assert!(plan(&old, &options(mbr())).unwrap_err().to_string().contains("zImage"));
}

#[test]
fn without_an_init_the_package_is_named() {
    let base = tree(&[("boot/vmlinuz-6", &bzimage())], &[("sbin/init", "/lib/none")]);
    let error = plan(&base, &options(BootLayout::Bare)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(hints(&error).contains("systemd-sysv"));
    let named = options(BootLayout::Bare).with_arguments(vec!["init=/app".to_owned()]);
    assert!(plan(&base, &named).is_ok());
}

#[test]
fn without_grub_the_package_is_named() {
    let base = tree(&[("boot/vmlinuz-6", &bzimage()), ("sbin/init", b"")], &[]);
    let none = options(mbr()).with_host_grub(Some("/nowhere/grub".into()));
    let error = plan(&base, &none).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(hints(&error).contains("grub-pc-bin") && hints(&error).contains("/nowhere/grub"));
}

#[test]
fn grub_of_this_machine_serves_where_there_is_none() {
    let host = tempfile::tempdir().unwrap();
    for (name, content) in grub::made_up() {
        std::fs::write(host.path().join(name), content).unwrap();
    }
    let mut base = tree(&[("boot/vmlinuz-6", &bzimage()), ("sbin/init", b"")], &[]);
    let with_host = options(mbr()).with_host_grub(Some(host.path().to_owned()));
    let plan = plan(&base, &with_host).unwrap();
    plan.inject(&mut base).unwrap();
    assert_eq!(text(&base, "/boot/grub/i386-pc/normal.mod"), "normal!");
    // The appliance's own is preferred.
    let mut debian = debian();
    inject(&mut debian, "/usr/lib/grub/i386-pc/normal.mod", "its own");
    BootPlan::new(&debian, &with_host, &Context::new()).unwrap().inject(&mut debian).unwrap();
    assert_eq!(text(&debian, "/boot/grub/i386-pc/normal.mod"), "its own");
}

#[test]
fn the_bare_layout_has_configuration_only() {
    let mut tree = debian();
    let plan = plan(&tree, &options(BootLayout::Bare)).unwrap();
    assert!(plan.boot_code().is_none());
    plan.inject(&mut tree).unwrap();
    let grub = text(&tree, "/boot/grub/grub.cfg");
    assert!(grub.contains(" ro console=hvc0\n") && !grub.contains("serial"), "{grub}");
    assert_eq!(tree.list("/boot/grub").unwrap(), [b"grub.cfg"]);
    assert!(tree.resolve("/etc/default").unwrap().is_none());
}

#[test]
fn the_bare_layout_needs_no_kernel() {
    let mut tree = tree(&[], &[]);
    plan(&tree, &options(BootLayout::Bare)).unwrap().inject(&mut tree).unwrap();
    assert!(text(&tree, "/etc/fstab").contains(UUID_TEXT));
    assert!(tree.resolve("/boot").unwrap().is_none());
}

#[test]
fn without_a_ram_disk_the_root_is_a_partition() {
    let files: &[(&str, &[u8])] = &[("boot/vmlinuz-6", &bzimage()), ("sbin/init", b"")];
    let guid = UUID.map(|byte| byte ^ 0xff);
    let cases = [
        (mbr(), "PARTUUID=0abc1234-01".to_owned()),
        (
            BootLayout::Gpt { bios_boot: 34..2048, root_number: 1, root_guid: guid },
            "PARTUUID=a3e179ee-a4f5-b271-62b3-c4e0f5dd88fe".to_owned(),
        ),
        (BootLayout::Bare, "/dev/xvda".to_owned()),
    ];
    for (layout, root) in cases {
        let mut tree = tree(files, &[]);
        with_grub(&mut tree);
        let heard = Arc::new(Heard::default());
        let ctx = Context::new().with_progress(heard.clone());
        BootPlan::new(&tree, &options(layout), &ctx).unwrap().inject(&mut tree).unwrap();
        let text = text(&tree, "/boot/grub/grub.cfg");
        assert!(text.contains(&format!(" root={root} ro ")), "{text}");
        let heard = heard.0.lock().unwrap().join("\n");
        assert!(heard.contains("no initial RAM disk") && heard.contains(&root), "{heard}");
    }
}

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl ProgressReporter for Heard {
    fn report(&self, event: ProgressEvent) {
        if let ProgressEvent::Message { text, .. } = event {
            self.0.lock().unwrap().push(text);
        }
    }
}

#[test]
fn what_is_there_stays_and_is_told_if_it_does_not_fit() {
    let mut tree = debian();
    inject(&mut tree, "/etc/fstab", "UUID=0000-1111 / xfs defaults 0 1\n");
    inject(&mut tree, "/boot/grub/grub.cfg", format!("linux /vmlinuz root=UUID={UUID_TEXT}\n"));
    inject(&mut tree, "/etc/default/grub.d/flock.cfg", "mine\n");
    let heard = Arc::new(Heard::default());
    let ctx = Context::new().with_progress(heard.clone());
    BootPlan::new(&tree, &options(mbr()), &ctx).unwrap().inject(&mut tree).unwrap();
    assert!(text(&tree, "/etc/fstab").contains("xfs"));
    assert!(text(&tree, "/boot/grub/grub.cfg").starts_with("linux /vmlinuz"));
    assert_eq!(text(&tree, "/etc/default/grub.d/flock.cfg"), "mine\n");
    let heard = heard.0.lock().unwrap();
    assert!(heard.len() == 1 && heard[0].starts_with("kept /etc/fstab"), "{heard:?}");
}

#[test]
fn red_hats_directory_is_kept() {
    let mut tree = debian();
    inject(&mut tree, "/boot/grub2/fonts/none", "");
    plan(&tree, &options(mbr())).unwrap().inject(&mut tree).unwrap();
    assert!(tree.resolve("/boot/grub2/grub.cfg").unwrap().is_some());
    assert!(tree.resolve("/boot/grub2/i386-pc/normal.mod").unwrap().is_some());
    assert!(tree.resolve("/boot/grub").unwrap().is_none());
}

#[test]
fn arguments_cannot_break_out() {
    for bad in ["", "a b", "x'\n}", "$x", "a;b", "quiet\"", "{", "ä"] {
        let arguments = options(mbr()).with_arguments(vec![bad.to_owned()]);
        let error = plan(&debian(), &arguments).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{bad:?}");
        let consoles = options(mbr()).with_consoles(vec![format!("ttyS0{bad} ")]);
        assert!(plan(&debian(), &consoles).is_err(), "{bad:?}");
    }
    let good = options(mbr()).with_arguments(vec!["net.ifnames=0".to_owned()]);
    assert!(plan(&debian(), &good).is_ok());
}

#[test]
fn consoles_decide_what_grub_uses() {
    let with = |consoles: &[&str]| {
        let consoles = consoles.iter().map(|console| (*console).to_owned()).collect();
        let mut tree = debian();
        let plan = plan(&tree, &options(mbr()).with_consoles(consoles).with_timeout(5)).unwrap();
        plan.inject(&mut tree).unwrap();
        text(&tree, "/boot/grub/grub.cfg")
    };
    assert!(with(&["ttyS1,38400"]).contains("serial --unit=1 --speed=38400;"));
    assert!(with(&["ttyS0"]).contains("serial --unit=0 --speed=9600;"));
    let none = with(&["tty0"]);
    assert!(!none.contains("serial") && none.contains("set timeout=5\n"));
    assert!(with(&[]).contains(" ro\n"));
}

#[test]
fn titles_hold_no_quotes() {
    assert_eq!(config::system_name(b"PRETTY_NAME='It''s $(x) \"1\"'\n"), "Its (x) 1");
    assert_eq!(config::system_name(b"NAME=Alpine\n"), "Alpine");
    assert_eq!(config::system_name(b"\xff"), "Linux system");
}
