//! What goes wrong on the way, and what is left of it.

use std::time::Duration;

use flock_cloudstack::CloudStackImageBuilder;
use flock_cloudstack::image_builder::{ChecksumChoice, ServeUpload, TemplateOptions, Upload};
use flock_cloudstack::simulator::{Fault, FaultPlan, FaultRule, UPLOAD};
use flock_core::image_builder::{ImageBuilder as _, ImageSpec, ImageStatus};
use flock_core::rootfs::checksum::Checksum;
use flock_core::{Context, ErrorKind, ListFilter};

use crate::place::{OS_TYPE, Place, listening, quick};

#[tokio::test]
async fn a_cut_upload_is_begun_anew() {
    let place = Place::new().await;
    place.simulator.faults().once(UPLOAD, Fault::CutUpload { after: 100_000 });
    let (ctx, heard) = listening();
    place.builder().build(&ctx, &place.spec("v1")).await.unwrap();
    place.expect(&[("web:v1", "zone-1")]);
    assert_eq!(place.asked(UPLOAD), 2);
    let heard = heard.lock().unwrap();
    assert!(heard.iter().any(|text| text.contains("begun anew")), "{heard:?}");
}

#[tokio::test]
async fn an_upload_whose_answer_is_lost_is_not_sent_again() {
    let place = Place::new().await;
    place.simulator.faults().once(UPLOAD, Fault::LoseReply);
    place.build(&place.spec("v1")).await.unwrap();
    place.expect(&[("web:v1", "zone-1")]);
    assert_eq!(place.asked(UPLOAD), 1);
}

#[tokio::test]
async fn an_upload_that_is_always_cut_ends_with_the_reason() {
    let place = Place::new().await;
    let cut = FaultRule::new(Fault::CutUpload { after: 50_000 }).with_command(UPLOAD);
    place.simulator.faults().add(cut);
    let spec = place.spec("v1");
    let error = place.build(&spec).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    assert_eq!(place.asked(UPLOAD), 3);
    place.simulator.faults().clear();
    place.build(&spec).await.unwrap();
    place.expect(&[("web:v1", "zone-1")]);
}

#[tokio::test]
async fn a_wrong_checksum_is_found_by_cloudstack() {
    let place = Place::new().await;
    let wrong = ChecksumChoice::Known(Checksum::from_bytes([7; 32]));
    let options = TemplateOptions::new().with_checksum(wrong);
    let options = options.with_zones(["zone-1"]).with_os_type(OS_TYPE);
    let builder = place.builder().with_options(options);
    let error = builder.build(&Context::new(), &place.spec("v1")).await.unwrap_err();
    assert!(!error.is_retryable(), "{error:?}");
    assert!(error.to_string().contains("checksum"), "{error:?}");
}

#[tokio::test]
async fn a_lost_registration_is_found() {
    let place = Place::new().await;
    let serve = || {
        let listen = "127.0.0.1:0".parse().unwrap();
        Upload::Serve(ServeUpload::new(listen, "http://127.0.0.1/".parse().unwrap()))
    };
    let options = TemplateOptions::new().with_upload(serve());
    let options = options.with_zones(["zone-1"]).with_os_type(OS_TYPE);
    let builder = place.builder().with_options(options);
    for (version, fault) in [
        ("v1", Fault::LoseReply),
        ("v2", Fault::TruncateReply),
        ("v3", Fault::Proxy { status: 504, effect: true }),
    ] {
        place.simulator.faults().once("registerTemplate", fault);
        builder.build(&Context::new(), &place.spec(version)).await.unwrap();
    }
    place.expect(&[("web:v1", "zone-1"), ("web:v2", "zone-1"), ("web:v3", "zone-1")]);
    assert_eq!(place.asked("registerTemplate"), 3);
}

#[tokio::test]
async fn a_registration_that_never_arrived_can_be_made_again() {
    let place = Place::new().await;
    place.simulator.faults().once("getUploadParamsForTemplate", Fault::CloseConnection);
    place.build(&place.spec("v1")).await.unwrap();
    place.expect(&[("web:v1", "zone-1")]);
}

#[tokio::test]
async fn two_programs_at_once_make_one() {
    let place = Place::new().await;
    let spec = place.spec("v1");
    // Builders of their own know nothing of each other.
    let (one, two) = (place.builder(), place.builder());
    let ctx = Context::new();
    let (first, second) = tokio::join!(one.build(&ctx, &spec), two.build(&ctx, &spec));
    let made: Vec<_> = [first, second].into_iter().filter_map(Result::ok).collect();
    assert!(!made.is_empty());
    let listed = one.list(&ctx, &ListFilter::all()).await.unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(place.build(&spec).await.unwrap().id, listed[0].id);
    place.expect(&[("web:v1", "zone-1")]);
}

#[tokio::test]
async fn of_two_requests_for_one_name_one_gets_it() {
    let place = Place::new().await;
    for version in ["v1", "v2", "v3"] {
        let (one, two) = (place.builder(), place.builder());
        let (first, second) = (place.spec(version), place.spec(version));
        let ctx = Context::new();
        let (first, second) = tokio::join!(one.build(&ctx, &first), two.build(&ctx, &second));
        let (made, refused): (Vec<_>, Vec<_>) =
            [first, second].into_iter().partition(Result::is_ok);
        assert_eq!((made.len(), refused.len()), (1, 1), "{made:?} {refused:?}");
        for error in refused.into_iter().filter_map(Result::err) {
            assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}");
        }
    }
    place.expect(&[("web:v1", "zone-1"), ("web:v2", "zone-1"), ("web:v3", "zone-1")]);
}

/// A program that is killed at each of its requests: before the request had
/// its effect, and with the effect yet to come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_killed_at_any_step_is_finished_by_the_next() {
    /// More than a build needs that nothing goes wrong with.
    const STEPS: u64 = 16;
    let serve = || {
        let listen = "127.0.0.1:0".parse().unwrap();
        Upload::Serve(ServeUpload::new(listen, "http://127.0.0.1/".parse().unwrap()))
    };
    let mut killed = tokio::task::JoinSet::new();
    for fault in [Fault::Hang, Fault::Delay(Duration::from_millis(80))] {
        for step in 0..STEPS {
            killed.spawn(killed_at(step, fault.clone(), None));
            killed.spawn(killed_at(step, fault.clone(), Some(serve())));
        }
    }
    let killed = killed.join_all().await.into_iter().filter(|was_killed| *was_killed).count();
    // A build has more than eight; behind the last there is nothing to kill.
    assert!(killed > 4 * 8, "{killed}");
}

/// Tells whether the build was killed before it was done.
async fn killed_at(step: u64, fault: Fault, upload: Option<Upload>) -> bool {
    let place = Place::new().await;
    let faults = place.simulator.faults();
    faults.add(FaultRule::new(fault.clone()).with_skip(step).with_times(1));
    let mut options = TemplateOptions::new().with_zones(["zone-1"]).with_os_type(OS_TYPE);
    options.upload = upload;
    let spec = place.spec("v1");
    let (ctx, builder) = (Context::new(), place.builder().with_options(options.clone()));
    let kill = async {
        while faults.happened().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let was_killed = tokio::select! {
        built = builder.build(&ctx, &spec) => built.map(|_| false).unwrap(),
        () = kill => true,
    };
    // The next program meets nothing bad.
    faults.clear();
    let again = place.builder().with_options(options);
    let image = again.build(&ctx, &spec).await.unwrap();
    let listed = again.list(&ctx, &ListFilter::all()).await.unwrap();
    let ids: Vec<_> = listed.iter().map(|image| &image.id).collect();
    assert_eq!(ids, [&image.id], "step {step}, {fault}");
    place.expect(&[("web:v1", "zone-1")]);
    was_killed
}

#[tokio::test]
async fn a_template_that_never_gets_ready_ends_with_the_wait() {
    let options = quick().with_upload_interval(Duration::from_secs(3600));
    let place = Place::with(options).await;
    let ctx = Context::new().with_timeout(Duration::from_millis(1500));
    let spec = place.spec("v1");
    let error = place.builder().build(&ctx, &spec).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("zone-1"), "{error}");
    assert_eq!(error.context_value("template"), Some("web:v1"));
    let id = error.context_value("image").unwrap().to_owned();
    let listed = place.builder().list(&Context::new(), &ListFilter::all()).await.unwrap();
    assert_eq!((listed[0].id.as_str(), listed[0].status), (id.as_str(), ImageStatus::Building));
    assert_eq!(listed[0].owner, spec.owner);
}

/// Makes a template, again and again until it is there.
async fn persistent(builder: CloudStackImageBuilder, spec: ImageSpec) {
    for tries in 0.. {
        match builder.build(&Context::new(), &spec).await {
            Ok(image) => return assert_eq!(image.status, ImageStatus::Ready),
            Err(error) => assert!(tries < 40, "{error:?}"),
        }
    }
}

/// Whatever goes wrong, making a template again until it is there leaves just
/// that template.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_faults_leave_what_was_asked_for() {
    const TEMPLATES: usize = 60;
    let place = Place::new().await;
    let mut faults = FaultPlan::default_faults();
    faults.push(Fault::CutUpload { after: 10_000 });
    place.simulator.faults().set_plan(FaultPlan::random(7, 0.15).with_faults(faults));
    let builder = &place.builder();
    let versions: Vec<_> = (0..TEMPLATES).map(|n| format!("v{n:02}")).collect();
    let mut builds = tokio::task::JoinSet::new();
    for version in &versions {
        builds.spawn(persistent(builder.clone(), place.spec(version)));
    }
    builds.join_all().await;
    place.simulator.faults().clear();
    let happened: u64 = place.simulator.faults().happened().values().sum();
    assert!(happened > 100, "{happened}");
    let names: Vec<_> = versions.iter().map(|version| format!("web:{version}")).collect();
    let wanted: Vec<_> = names.iter().map(|name| (name.as_str(), "zone-1")).collect();
    place.expect(&wanted);
    let listed = builder.list(&Context::new(), &ListFilter::all()).await.unwrap();
    assert_eq!(listed.len(), TEMPLATES);
}
