//! What the suite cannot see: that nothing is made twice, and nothing left.

use std::sync::Arc;
use std::time::Duration;

use flock_cloudstack::simulator::{
    FaultPlan, Hypervisor, Simulator, SimulatorOptions, ZoneOptions,
};
use flock_cloudstack::{CloudStackVolumeDriver, VolumeOption};
use flock_core::conformance::{Failure, Outcome, Suite, ensure, expect_eq, expect_err};
use flock_core::volume_driver::{AttachOptions, SnapshotSpec, VolumeSpec};
use flock_core::{Context, ErrorKind, ListFilter, Owner, RequestId, VolumeDriver};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{client, machines};

const NAMESPACE: &str = "ours";

pub(super) fn suite() -> Suite {
    Suite::new("volumes")
        .with_time_limit(Duration::from_secs(300))
        .test("faults_neither_double_nor_lose_a_volume", || async {
            for seed in 1..=3 {
                through_faults(seed).await?;
            }
            Ok(())
        })
        .test("one_request_from_two_processes_makes_one", one_request_from_two_processes)
        .test("one_name_from_two_requests_goes_to_one", one_name_from_two_requests)
        .test("what_was_made_has_its_own_name", what_was_made_has_its_own_name)
        .test("a_hypervisors_limits_are_told", a_hypervisors_limits_are_told)
        .test("a_size_and_a_place_are_chosen", a_size_and_a_place_are_chosen)
}

async fn cloud() -> Result<Simulator, Failure> {
    cloud_of(Hypervisor::Kvm).await
}

async fn cloud_of(hypervisor: Hypervisor) -> Result<Simulator, Failure> {
    let zone = ZoneOptions::new("zone-1").with_hypervisors([hypervisor]);
    let options = SimulatorOptions::new().with_job_time(Duration::from_millis(5));
    Ok(Simulator::start(options.with_zones([zone])).await?)
}

/// A driver that shares nothing with others, as one in another process.
fn driver(simulator: &Simulator) -> Result<CloudStackVolumeDriver, Failure> {
    Ok(CloudStackVolumeDriver::new(client(simulator, NAMESPACE)?))
}

fn spec(name: &str) -> VolumeSpec {
    VolumeSpec::new(Owner::new(NAMESPACE, "app", RequestId::random()), name, 1 << 30)
}

fn data_disks(simulator: &Simulator) -> Vec<String> {
    let disks = simulator.volumes().into_iter().filter(|volume| !volume.root);
    disks.map(|volume| volume.name).collect()
}

/// Makes volumes and destroys them again while a fifth of all requests goes
/// wrong. Every error but the end of all patience is answered with the same
/// call, as after a crash.
async fn through_faults(seed: u64) -> Outcome {
    const COUNT: usize = 40;
    let simulator = Arc::new(cloud().await?);
    simulator.faults().set_plan(FaultPlan::random(seed, 0.2));
    let room = Arc::new(Semaphore::new(8));
    let mut making = JoinSet::new();
    for number in 0..COUNT {
        let (simulator, room) = (Arc::clone(&simulator), Arc::clone(&room));
        making.spawn(async move {
            let _place = room.acquire().await;
            make(&simulator, &spec(&format!("data-{number:02}"))).await
        });
    }
    while let Some(made) = making.join_next().await {
        made.map_err(|error| Failure::new(error.to_string()))??;
    }
    ensure(simulator.faults().happened().values().sum::<u64>() > 20, "hardly anything went wrong")?;
    simulator.faults().clear();
    let volumes = driver(&simulator)?.list(&Context::new(), &ListFilter::all()).await?;
    let names: Vec<_> = volumes.iter().map(|volume| volume.name.clone()).collect();
    let wanted: Vec<_> = (0..COUNT).map(|number| format!("data-{number:02}")).collect();
    expect_eq(names, wanted, "the volumes that are listed")?;
    expect_eq(data_disks(&simulator).len(), COUNT, "volumes in the cloud")?;

    simulator.faults().set_plan(FaultPlan::random(seed + 100, 0.2));
    for volume in &volumes {
        let driver = driver(&simulator)?;
        for _ in 0..100 {
            match driver.destroy(&Context::new(), &volume.id).await {
                Err(error) if error.kind() != ErrorKind::NotFound => {}
                _ => break,
            }
        }
    }
    expect_eq(
        data_disks(&simulator),
        Vec::<String>::new(),
        "volumes in the cloud after all were destroyed",
    )
}

/// Creates with a new driver each time, until it works.
async fn make(simulator: &Simulator, spec: &VolumeSpec) -> Outcome {
    let mut last = String::new();
    for _ in 0..100 {
        match driver(simulator)?.create(&Context::new(), spec).await {
            Ok(_) => return Ok(()),
            Err(error) => last = error.to_string(),
        }
    }
    Err(Failure::new(format!("{} could not be made: {last}", spec.name)))
}

async fn one_request_from_two_processes() -> Outcome {
    let simulator = cloud().await?;
    for number in 0..20 {
        let spec = spec(&format!("data-{number}"));
        let (one, other) = (driver(&simulator)?, driver(&simulator)?);
        let ctx = Context::new();
        let (one, other) = tokio::join!(one.create(&ctx, &spec), other.create(&ctx, &spec));
        let made: Vec<_> = [one, other].into_iter().filter_map(Result::ok).collect();
        ensure(!made.is_empty(), "both failed")?;
        expect_eq(data_disks(&simulator).len(), number + 1, "volumes in the cloud")?;
        let again = driver(&simulator)?.create(&ctx, &spec).await?;
        ensure(made.iter().all(|volume| volume.id == again.id), "two processes have two volumes")?;
    }
    Ok(())
}

async fn one_name_from_two_requests() -> Outcome {
    let simulator = cloud().await?;
    for number in 0..20 {
        let name = format!("data-{number}");
        let (one, other) = (driver(&simulator)?, driver(&simulator)?);
        let (ctx, mine, theirs) = (Context::new(), spec(&name), spec(&name));
        let (one, other) = tokio::join!(one.create(&ctx, &mine), other.create(&ctx, &theirs));
        let refused: Vec<_> = [one, other].into_iter().filter_map(Result::err).collect();
        expect_eq(refused.len(), 1, "requests that were refused")?;
        expect_eq(refused[0].kind(), ErrorKind::AlreadyExists, "why")?;
        expect_eq(data_disks(&simulator).len(), number + 1, "volumes in the cloud")?;
    }
    Ok(())
}

async fn what_was_made_has_its_own_name() -> Outcome {
    let simulator = cloud().await?;
    driver(&simulator)?.create(&Context::new(), &spec("data")).await?;
    expect_eq(data_disks(&simulator), vec!["data".to_owned()], "the name in CloudStack")
}

async fn a_hypervisors_limits_are_told() -> Outcome {
    let (ctx, options) = (Context::new(), AttachOptions::default());
    for (hypervisor, resize) in
        [(Hypervisor::XenServer, ErrorKind::Conflict), (Hypervisor::Lxc, ErrorKind::Unsupported)]
    {
        let simulator = cloud_of(hypervisor).await?;
        let (driver, nodes) = (driver(&simulator)?, machines(&client(&simulator, "nodes")?).await?);
        let volume = driver.create(&ctx, &spec("data")).await?;
        driver.attach(&ctx, &volume.id, &nodes[0], &options).await?;
        let refused = driver.resize(&ctx, &volume.id, 2 << 30).await;
        expect_err(refused, resize, "resize of a volume in use")?;
        let wanted = SnapshotSpec::new(spec("monday").owner, "monday");
        let snapshot = driver.snapshot(&ctx, &volume.id, &wanted).await;
        driver.detach(&ctx, &volume.id, &nodes[0]).await?;
        let resized = driver.resize(&ctx, &volume.id, 2 << 30).await;
        match hypervisor {
            Hypervisor::Lxc => {
                expect_err(snapshot, ErrorKind::Unsupported, "snapshot")?;
                expect_err(resized, ErrorKind::Unsupported, "resize of a free volume")?;
            }
            _ => {
                expect_eq(snapshot?.name.as_str(), "monday", "the snapshot")?;
                expect_eq(resized?.size, 2 << 30, "the size of a free volume")?;
            }
        }
    }
    Ok(())
}

async fn a_size_and_a_place_are_chosen() -> Outcome {
    let (ctx, simulator) = (Context::new(), cloud().await?);
    let driver = driver(&simulator)?;
    let small = |spec: VolumeSpec| spec.with_option(VolumeOption::DISK_OFFERING, "Small");
    let refused = driver.create(&ctx, &small(spec("one"))).await;
    let error = expect_err(refused, ErrorKind::InvalidConfig, "a size that the offering has not")?;
    ensure(error.to_string().contains("have 5 GiB"), error.to_string())?;
    let mut five = small(spec("five"));
    five.size = 5 << 30;
    let made = driver.create(&ctx, &five).await?;
    expect_eq(
        (made.size, made.details["disk_offering"].as_str()),
        (5 << 30, "Small"),
        "the volume",
    )?;
    expect_eq(made.details["zone"].as_str(), "zone-1", "its zone")?;
    for (option, value) in [(VolumeOption::ZONE, "zone-2"), (VolumeOption::DISK_OFFERING, "Smal")] {
        let refused = driver.create(&ctx, &spec("two").with_option(option, value)).await;
        let error = expect_err(refused, ErrorKind::NotFound, option)?;
        ensure(error.hints().any(|hint| hint.contains("nearest")), format!("{error:?}"))?;
    }
    expect_eq(data_disks(&simulator), vec!["five".to_owned()], "volumes in the cloud")
}
