//! What libvhdi, XenServer's vhd-util and VirtualBox say of flock's VHDs.

use std::process::Command;
use std::time::Duration;

use flock_core::conformance::Suite;
use flock_core::rootfs::disk::DiskFormat;

use super::{GIB, MIB, Place, corners, open, program, run, write, write_raw};

const SIZES: [u64; 5] = [2 * MIB, 510 * MIB, 5 * GIB, 40 * GIB, 300 * GIB];
const FORMATS: [DiskFormat; 2] = [DiskFormat::VhdFixed, DiskFormat::VhdDynamic];

pub(crate) fn suites() -> [Suite; 3] {
    [
        Suite::new("vhdi").with_service(program("vhdi", "vhdiinfo")).test(
            "it_reads_the_headers",
            || async {
                vhdi();
                Ok(())
            },
        ),
        Suite::new("vhd-util")
            .with_service(program("vhd-util", "vhd-util"))
            .test("it_finds_no_fault", || async {
                vhd_util();
                Ok(())
            })
            .test("it_writes_what_flock_reads", || async {
                vhd_util_writes();
                Ok(())
            }),
        Suite::new("vbox")
            .with_time_limit(Duration::from_secs(300))
            .with_service(program("vbox", "VBoxManage"))
            .test("it_reads_the_same_disk", || async {
                vbox();
                Ok(())
            }),
    ]
}

fn vhdi() {
    let place = Place::new();
    for size in SIZES {
        for (format, kind) in FORMATS.into_iter().zip(["Fixed", "Dynamic"]) {
            let path = write(&place, "image.vhd", format, size, &corners(size));
            let info = run("vhdiinfo", &[&path]);
            assert!(info.contains(kind), "{info}");
            let bytes = format!("({size} bytes)");
            assert!(info.contains(&bytes) || info.contains(&format!(": {size} bytes")), "{info}");
        }
    }
}

fn vhd_util() {
    let place = Place::new();
    for size in SIZES {
        let path = write(&place, "image.vhd", DiskFormat::VhdDynamic, size, &corners(size));
        let checked = run("vhd-util", &["check", "-n", &path]);
        assert!(checked.contains("is valid"), "{checked}");
        let stated = run("vhd-util", &["query", "-v", "-n", &path]);
        assert_eq!(stated.trim(), (size / MIB).to_string());
    }
}

fn vhd_util_writes() {
    let place = Place::new();
    let path = place.path("theirs.vhd");
    run("vhd-util", &["create", "-n", &path, "-s", "64"]);
    open(&path);
    // Into one of flock's, too: the last block is the first that is free.
    let ours = write(&place, "ours.vhd", DiskFormat::VhdDynamic, 64 * MIB, &corners(64 * MIB));
    run("vhd-util", &["modify", "-n", &ours, "-s", &(file_length(&ours) + 4096).to_string()]);
    open(&ours);
}

fn file_length(path: &str) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

/// VBoxManage with a home and a server of its own.
fn vbox_manage(place: &Place, args: &[&str]) -> String {
    let output = Command::new("VBoxManage")
        .args(args)
        .env("VBOX_USER_HOME", place.path("home"))
        .env("VBOX_IPC_SOCKETID", format!("flock-disk-{}", std::process::id()))
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    let words = super::text(&output.stderr);
    assert!(output.status.success(), "{args:?}: {words}");
    super::text(&output.stdout)
}

fn vbox() {
    let place = Place::new();
    let size = 66 * MIB;
    let raw = write_raw(&place, "model", size, &corners(size));
    for (format, kind) in FORMATS.into_iter().zip(["fixed", "dynamic"]) {
        let path = write(&place, "image.vhd", format, size, &corners(size));
        let info = vbox_manage(&place, &["showmediuminfo", "disk", &path]);
        assert!(info.contains("VHD") && info.contains(kind), "{info}");
        assert!(info.contains(&format!("{} MBytes", size / MIB)), "{info}");
        let clone = place.path("clone.img");
        vbox_manage(&place, &["clonemedium", "disk", &path, &clone, "--format", "RAW"]);
        assert!(std::fs::read(&clone).unwrap() == std::fs::read(&raw).unwrap(), "{kind}");
        for medium in [&path, &clone] {
            vbox_manage(&place, &["closemedium", "disk", medium]);
        }
        std::fs::remove_file(&clone).unwrap();
    }
}
