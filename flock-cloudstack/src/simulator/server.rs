//! The listeners, and what all connections share.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::http::Request;
use axum::response::Response;
use axum::routing::{any, get, post};
use flock_core::{Error, ErrorKind};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::clock::Clock;
use super::faults::Faults;
use super::options::SimulatorOptions;
use super::reply::Sever;
use super::world::World;
use super::{api, upload};

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Arc<SimulatorOptions>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) faults: Faults,
    pub(crate) http: reqwest::Client,
    world: Mutex<World>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Shared {
    pub(crate) fn new(
        options: Arc<SimulatorOptions>,
        upload_url: String,
        stop: CancellationToken,
    ) -> Result<Self, Error> {
        let clock = Arc::new(Clock::new(options.clock_skew));
        let world = World::new(Arc::clone(&options), Arc::clone(&clock), upload_url);
        Ok(Self {
            options,
            faults: Faults::new(Arc::clone(&clock)),
            clock,
            http: super::fetch::client()?,
            world: Mutex::new(world),
            tasks: TaskTracker::new(),
            stop,
        })
    }

    /// The world as it is now.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.advance();
        world
    }

    /// Runs something until it ends or the simulator stops, whoever waits for
    /// it.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<Option<T>> {
        let stop = self.stop.clone();
        self.tasks.spawn(async move { stop.run_until_cancelled(work).await })
    }

    /// Waits until nothing runs any more, after the stop.
    pub(crate) async fn stopped(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Both listeners, bound and not yet served.
#[derive(Debug)]
pub(crate) struct Listeners {
    api: TcpListener,
    uploads: TcpListener,
    pub(crate) api_address: SocketAddr,
    pub(crate) upload_address: SocketAddr,
}

impl Listeners {
    pub(crate) async fn bind(options: &SimulatorOptions) -> Result<Self, Error> {
        let uploads = options.upload_listen.unwrap_or(SocketAddr::new(options.listen.ip(), 0));
        let (api, api_address) = bind(options.listen).await?;
        let (uploads, upload_address) = bind(uploads).await?;
        Ok(Self { api, uploads, api_address, upload_address })
    }

    /// Serves both until the simulator stops.
    pub(crate) fn serve(self, shared: &Arc<Shared>) {
        let api =
            Router::new().route("/client/api", any(api::handle)).with_state(Arc::clone(shared));
        let uploads = Router::new()
            .route("/upload/{number}", post(upload::receive))
            .route("/userdata/{name}", get(upload::download))
            // Templates are large, and not kept in memory.
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(shared));
        shared.spawn(accept(Arc::clone(shared), self.api, api));
        shared.spawn(accept(Arc::clone(shared), self.uploads, uploads));
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source: io::Error| {
        Error::new(ErrorKind::Conflict, format!("cannot listen on {address}"))
            .hint("port 0 takes a free one")
            .caused_by(source)
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

async fn accept(shared: Arc<Shared>, listener: TcpListener, router: Router) {
    let service = TowerToHyperService::new(router);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                shared.spawn(connection(stream, service.clone()));
            }
            // Out of file descriptors: others must close first.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: TowerToHyperService<Router>) {
    // Replies are small and written at once.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| respond(router.clone(), request));
    let mut server = http1::Builder::new();
    let served = server.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Closes the connection where that is what the response says.
async fn respond(
    router: TowerToHyperService<Router>,
    request: Request<hyper::body::Incoming>,
) -> io::Result<Response<Body>> {
    let Ok(response) = router.call(request).await;
    match response.extensions().get::<Sever>() {
        None => Ok(response),
        Some(Sever) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "closed on demand")),
    }
}

/// What stops the simulator when it is dropped.
#[derive(Debug)]
pub(crate) struct StopGuard(#[expect(dead_code, reason = "it acts when dropped")] DropGuard);

impl StopGuard {
    pub(crate) fn new(token: CancellationToken) -> Self {
        Self(token.drop_guard())
    }
}
