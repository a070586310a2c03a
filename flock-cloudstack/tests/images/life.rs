//! What becomes of templates: found, replaced, copied, downloaded, deleted.

use flock_cloudstack::Parameters;
use flock_cloudstack::image_builder::DeleteOptions;
use flock_cloudstack::simulator::{AccountOptions, Role, ZoneOptions};
use flock_core::image_builder::{ImageBuilder as _, ImageBuilderExt as _, ImageStatus};
use flock_core::{Context, ErrorKind};

use crate::place::{Place, quick};

#[tokio::test]
async fn versions_are_found_exactly() {
    let place = Place::new().await;
    for version in ["v1", "v10"] {
        place.build(&place.spec(version)).await.unwrap();
    }
    let mut other = place.spec("v1");
    other.name = "web2".to_owned();
    place.build(&other).await.unwrap();
    let (builder, ctx) = (place.builder(), Context::new());
    let versions = builder.versions(&ctx, "web").await.unwrap();
    let versions: Vec<_> = versions.iter().map(|image| image.version.as_str()).collect();
    assert_eq!(versions, ["v1", "v10"]);
    assert_eq!(builder.find(&ctx, "web", "v1").await.unwrap().name, "web");
    assert!(builder.find(&ctx, "we", "v1").await.is_err());
}

#[tokio::test]
async fn a_name_is_taken_until_it_is_forced() {
    let place = Place::new().await;
    let first = place.build(&place.spec("v1")).await.unwrap();
    let other = place.spec("v1");
    let taken = place.build(&other).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
    assert_eq!(taken.context_value("image"), Some(first.id.as_str()));
    let second = place.build(&other.with_option("force", true)).await.unwrap();
    assert_ne!(second.id, first.id);
    place.expect(&[("web:v1", "zone-1")]);
}

#[tokio::test]
async fn what_flock_has_not_made_is_left_alone() {
    let place = Place::new().await;
    let (ctx, client) = (Context::new(), place.client());
    let zone = client.zones(&ctx).await.unwrap().remove(0);
    let os_type = client.os_types(&ctx).await.unwrap().remove(0);
    let asked = Parameters::new()
        .with("name", "web:v1")
        .with("displaytext", "by hand")
        .with("format", "TAR")
        .with("hypervisor", "LXC")
        .with("ostypeid", os_type.id)
        .with("zoneid", zone.id);
    client.call(&ctx, "getUploadParamsForTemplate", &asked).await.unwrap();
    for force in [false, true] {
        let spec = place.spec("v1").with_option("force", force);
        let error = place.build(&spec).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert!(error.to_string().contains("flock has not made"), "{error}");
    }
    assert!(place.builder().list(&ctx, &Default::default()).await.unwrap().is_empty());
    assert_eq!(place.simulator.templates().len(), 1);
}

#[tokio::test]
async fn a_template_is_copied_and_deleted_zone_by_zone() {
    let two = ["zone-1", "zone-2"].map(ZoneOptions::new);
    let place = Place::with(quick().with_zones(two)).await;
    let (builder, ctx) = (place.builder(), Context::new());
    let image = builder.build(&ctx, &place.spec("v1")).await.unwrap();
    let zones = ["zone-2".to_owned()];
    let copied = builder.copy(&ctx, &image.id, &zones).await.unwrap();
    assert_eq!(copied.details["zone.zone-2"], "Download Complete");
    builder.copy(&ctx, &image.id, &zones).await.unwrap();
    assert_eq!(place.asked("copyTemplate"), 1);
    place.expect(&[("web:v1", "zone-1"), ("web:v1", "zone-2")]);

    let first = DeleteOptions::new().with_zone("zone-1");
    builder.delete_with(&ctx, &image.id, &first).await.unwrap();
    place.expect(&[("web:v1", "zone-2")]);
    let again = builder.delete_with(&ctx, &image.id, &first).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::NotFound);
    builder.delete(&ctx, &image.id).await.unwrap();
    place.expect(&[]);
}

#[tokio::test]
async fn a_template_that_is_needed_stays() {
    // CloudStack tells administrators why, and users nothing.
    for account in [AccountOptions::new("me").with_role(Role::Admin), AccountOptions::new("me")] {
        let place = Place::with(quick().with_account(account)).await;
        let (builder, ctx, client) = (place.builder(), Context::new(), place.client());
        let image = builder.build(&ctx, &place.spec("v1")).await.unwrap();
        let zone = client.zones(&ctx).await.unwrap().remove(0);
        let offering = client.service_offerings(&ctx).await.unwrap().remove(0);
        for name in ["web-1", "web-2", "web-3", "web-4"] {
            let asked = Parameters::new()
                .with("zoneid", &zone.id)
                .with("serviceofferingid", &offering.id)
                .with("templateid", image.id.as_str())
                .with("name", name);
            client.run(&ctx, "deployVirtualMachine", &asked).await.unwrap();
        }
        let refused = builder.delete(&ctx, &image.id).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused:?}");
        let text = refused.to_string();
        assert!(text.ends_with("is needed by web-1, web-2, web-3 and 1 more"), "{text}");
        let forced = DeleteOptions::new().with_force(true);
        builder.delete_with(&ctx, &image.id, &forced).await.unwrap();
        assert!(place.simulator.templates().is_empty());
    }
}

#[tokio::test]
async fn a_template_is_downloaded_as_it_was() {
    let storage = tempfile::tempdir().unwrap();
    let place = Place::with(quick().with_storage(storage.path())).await;
    let (builder, ctx) = (place.builder(), Context::new());
    let closed = builder.build(&ctx, &place.spec("v1")).await.unwrap();
    let refused = builder.extract(&ctx, &closed.id, None).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    let open = place.spec("v2").with_option("extractable", true);
    let open = builder.build(&ctx, &open).await.unwrap();
    let url = builder.extract(&ctx, &open.id, Some("zone-1")).await.unwrap();
    let bytes = reqwest::get(url).await.unwrap().bytes().await.unwrap();
    assert!(bytes == place.bytes);
}

#[tokio::test]
async fn a_failure_is_told_and_mended_by_the_next_build() {
    let place = Place::new().await;
    let spec = place.spec("v1");
    let image = place.build(&spec).await.unwrap();
    let reason = "Template content is unsupported, or mismatch between selected format and \
                  template content. Found: ASCII text";
    place.simulator.fail_template(image.id.as_str(), reason).unwrap();
    let (builder, ctx) = (place.builder(), Context::new());
    let failed = builder.get(&ctx, &image.id).await.unwrap();
    assert_eq!(failed.status, ImageStatus::Failed);
    assert!(failed.details["zone.zone-1"].starts_with("Template content"));
    let error = builder.wait(&ctx, &image.id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert_eq!(error.context_value("image"), Some(image.id.as_str()));
    let mended = place.build(&spec).await.unwrap();
    assert_ne!(mended.id, image.id);
    place.expect(&[("web:v1", "zone-1")]);
}

#[tokio::test]
async fn the_same_content_is_the_same_request() {
    let place = Place::new().await;
    let builder = place.builder();
    let request = |app: &str, version: &str, content: &str| builder.request(app, version, content);
    assert_eq!(request("web", "v1", "sha256:00"), request("web", "v1", "sha256:00"));
    assert_ne!(request("web", "v1", "sha256:00"), request("web", "v1", "sha256:01"));
    assert_ne!(request("web", "v11", "x"), request("web1", "v1", "x"));
}
