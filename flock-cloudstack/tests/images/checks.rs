//! What is refused before anything is sent.

use flock_cloudstack::image_builder::TemplateOptions;
use flock_core::image_builder::{ApplianceFormat, ImageBuilder as _, ImageSource};
use flock_core::rootfs::disk::{DiskFormat, DiskImage, convert};
use flock_core::rootfs::output::OutputOptions;
use flock_core::{Context, ErrorKind};
use serde_json::{Value, json};

use crate::place::{OS_TYPE, Place};

const MAKES: [&str; 2] = ["registerTemplate", "getUploadParamsForTemplate"];

async fn refused(place: &Place, options: &[(&str, Value)]) -> (ErrorKind, String) {
    let mut spec = place.spec("v1");
    for (name, value) in options {
        spec.options.insert((*name).to_owned(), value.clone());
    }
    let error = place.build(&spec).await.unwrap_err();
    for command in MAKES {
        assert_eq!(place.asked(command), 0, "{error}");
    }
    let hints: Vec<_> = error.hints().collect();
    (error.kind(), format!("{error}; {}", hints.join("; ")))
}

#[tokio::test]
async fn what_the_zone_has_not_is_refused_with_what_it_has() {
    let place = Place::new().await;
    for (name, value, kind, says) in [
        ("zones", json!("zone-3"), ErrorKind::NotFound, "'zone-1'"),
        ("os_type", json!("Debian GNU/Linux 13"), ErrorKind::NotFound, "Debian GNU/Linux 12"),
        ("hypervisor", json!("XenServer"), ErrorKind::InvalidConfig, "--type vhd"),
        ("hypervisor", json!("Ovm3"), ErrorKind::InvalidConfig, "--type raw"),
        ("hypervisor", json!("External"), ErrorKind::InvalidConfig, "LXC"),
        ("zones", json!("zone-2"), ErrorKind::InvalidConfig, "KVM, XenServer"),
        ("zone", json!("zone-1"), ErrorKind::InvalidConfig, "did you mean 'zones'?"),
        ("upload", json!({"method": "put"}), ErrorKind::InvalidConfig, "upload_url"),
        (
            "upload",
            json!({"method": "url", "url": "http://h/web.zst"}),
            ErrorKind::InvalidConfig,
            ".tar",
        ),
    ] {
        let (found, text) = refused(&place, &[(name, value.clone())]).await;
        assert_eq!(found, kind, "{name} {value}: {text}");
        assert!(text.contains(says), "{name} {value}: {text}");
    }
    let serve = json!({"method": "serve", "listen": "127.0.0.1:0", "display_url": "http://h/"});
    let (kind, _) = refused(&place, &[("upload", serve), ("wait", json!(false))]).await;
    assert_eq!(kind, ErrorKind::InvalidConfig);
}

#[tokio::test]
async fn zone_and_os_type_are_asked_for() {
    let place = Place::new().await;
    let builder = place.builder().with_options(TemplateOptions::new());
    let error = builder.build(&Context::new(), &place.spec("v1")).await.unwrap_err();
    assert!(error.to_string().contains("OS type"), "{error}");
    let builder = place.builder().with_options(TemplateOptions::new().with_os_type(OS_TYPE));
    let error = builder.build(&Context::new(), &place.spec("v1")).await.unwrap_err();
    assert_eq!(error.hints().next(), Some("there are zone-1, zone-2"), "{error}");
}

#[tokio::test]
async fn a_disk_is_looked_into() {
    let place = Place::new().await;
    let (ctx, dir) = (Context::new(), place.dir.path());
    std::fs::write(dir.join("disk.raw"), vec![7; 4 << 20]).unwrap();
    std::fs::write(dir.join("odd.raw"), vec![7; (4 << 20) + 512]).unwrap();
    let image = |name: &str| DiskImage::open(&dir.join(name), &ctx).unwrap();
    let write = |from: &str, format, to: &str| {
        convert(&image(from), format, &dir.join(to), &OutputOptions::default(), &ctx).unwrap();
    };
    write("disk.raw", DiskFormat::VhdDynamic, "good.vhd");
    write("disk.raw", DiskFormat::VhdFixed, "fixed.vhd");
    write("disk.raw", DiskFormat::Qcow2, "good.qcow2");
    let mut cut = std::fs::read(dir.join("good.vhd")).unwrap();
    cut.truncate(cut.len() - 512);
    std::fs::write(dir.join("cut.vhd"), cut).unwrap();
    let spec = |name: &str, format| {
        let mut spec = place.spec(name);
        spec.source = ImageSource::Appliance { path: dir.join(name), format };
        spec
    };
    for (name, format, hypervisor) in [
        ("good.vhd", ApplianceFormat::Vhd, "XenServer"),
        ("good.qcow2", ApplianceFormat::Qcow2, "KVM"),
    ] {
        let image = place.build(&spec(name, format)).await.unwrap();
        assert_eq!(image.details["hypervisor"], hypervisor);
    }
    let made = place.asked("getUploadParamsForTemplate");
    for (name, format, says) in [
        ("fixed.vhd", ApplianceFormat::Vhd, "--subformat dynamic"),
        ("cut.vhd", ApplianceFormat::Vhd, "flock image inspect"),
        ("good.qcow2", ApplianceFormat::Vhd, "flock image convert"),
    ] {
        let error = place.build(&spec(name, format)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{name}");
        assert!(error.hints().any(|hint| hint.contains(says)), "{name}: {error:?}");
    }
    let error = place.build(&spec("web.tar", ApplianceFormat::Qcow2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("tar archive"), "{error}");
    assert_eq!(place.asked("getUploadParamsForTemplate"), made);
}

#[tokio::test]
async fn names_have_their_bounds() {
    let place = Place::new().await;
    for (name, version) in [("a:b", "1"), ("web", "v\u{1}"), ("web", &"v".repeat(260))] {
        let mut spec = place.spec(version);
        spec.name = name.to_owned();
        let error = place.build(&spec).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{name}:{version}");
    }
    let mut spec = place.spec("v1");
    spec.owner.app = String::new();
    assert_eq!(place.build(&spec).await.unwrap_err().kind(), ErrorKind::InvalidConfig);
    assert_eq!(place.simulator.requests().total(), 0);
}
