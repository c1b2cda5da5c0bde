//! The daemon's HTTP server: a small API for `dirsyncd status` and its like, and for scripts.
//!
//! It listens on a Unix socket, on which the kernel tells who asks, and on a loopback address if that is
//! configured, where a token tells. `gate.rs` lets requests through, `api.rs` has the routes of
//! `docs/openapi.json`, `health.rs` those for monitoring, `page/` has the status page, `patient.rs` gives up on who does
//! not read, `problem.rs` says why something is not answered. More to be served is another file with routes, merged in
//! [`router`].

mod api;
mod gate;
mod health;
mod page;
mod patient;
mod problem;

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fchmod};
use secrecy::ExposeSecret;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixSocket, UnixStream};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

pub(super) use api::{ENDED, LAST_LINE, PENDING};
pub use api::{PauseOrder, PlanOrder, SyncOrder};
pub(super) use gate::{DATABASE, database_name};
pub use problem::ProblemDetails;

use super::Wish;
use super::state::State;
use crate::apply::Shutdown;
use crate::config::{self, OpenFile, SecretError, beside, expect_own_folders, make_own};
use crate::snapshot::Lock;
use gate::{Known, Peer, Seldom};
use patient::Patient;
use problem::{Kind, Problem};

/// How many connections are open at most, at the socket and at the port each; more wait.
const CONNECTIONS: usize = 64;

/// How many connections wait until they are taken (listen(2)).
const BACKLOG: u32 = 128;

/// How long the head of a request may take to come, also the next one on a connection.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// How long a connection lasts on which nobody has asked who may: so many of them do not keep others out for longer.
const UNKNOWN_FOR: Duration = Duration::from_secs(20);

/// The most octets of the head of a request.
const HEAD: usize = 16 * 1024;

/// How long connections are waited for at the end.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// How long it is waited before a connection is taken again after that has failed, as it does while too many
/// files are open.
const REST: Duration = Duration::from_millis(200);

/// Why nobody can be listened to.
#[derive(Debug, thiserror::Error)]
pub enum CannotListen {
    /// Another daemon listens there.
    #[error(
        "another daemon listens on {}: give this one a socket of its own by `socket` in [daemon]", .0.display()
    )]
    InUse(PathBuf),
    /// There is something else.
    #[error(
        "{} is there and no socket: move it away, or give another path by `socket` in [daemon]", .0.display()
    )]
    NoSocket(PathBuf),
    /// The system does not let.
    #[error(
        "cannot listen on {}: {source}; give another path by `socket` in [daemon], or false for none", path.display()
    )]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others could put another socket there.
    #[error(transparent)]
    Open(#[from] OpenFile),
    /// The system does not let.
    #[error("cannot listen on {address}: {source}; give another port by `listen` in [daemon]")]
    Port {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The token cannot be read.
    #[error("`token` in [daemon]: {0}")]
    Token(#[from] SecretError),
    /// It could be found by trying.
    #[error(
        "`token` in [daemon] has fewer than {} octets: make a longer one, as by `openssl rand -hex 32`",
        gate::SHORTEST_TOKEN
    )]
    ShortToken,
}

/// What every route can reach.
struct App {
    state: Arc<State>,
    wishes: mpsc::Sender<Wish>,
    /// Held for the daemon's life.
    lock: Arc<Lock>,
    stop: Shutdown,
    /// Whoever pauses or resumes does so alone.
    pausing: Mutex<()>,
    /// One dry run at a time: each has a whole directory in its hands.
    dry_run: Arc<Semaphore>,
    /// What the pages keep.
    desk: page::Desk,
    /// That the token cannot be read.
    bad_token: Seldom,
    /// That it is not ready.
    not_ready: Seldom,
}

/// The server; it is there until it is [stopped](Self::stop), or its process ends.
pub(super) struct Server {
    stop: watch::Sender<bool>,
    stopping: Shutdown,
    listeners: Vec<JoinHandle<()>>,
    socket: Option<Socket>,
}

/// A file that goes with this, if it is still the one that was made.
struct Socket {
    path: PathBuf,
    identity: (u64, u64),
    _lock: File,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path)
            .is_ok_and(|file| (file.dev(), file.ino()) == self.identity)
        {
            // Else the next daemon replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Server {
    /// Listens as the configuration says.
    ///
    /// # Errors
    /// When that cannot be.
    pub(super) async fn start(
        config: &config::Daemon,
        state: Arc<State>,
        wishes: mpsc::Sender<Wish>,
        lock: Arc<Lock>,
        stop: Shutdown,
    ) -> Result<Self, CannotListen> {
        let router = router(Arc::new(App {
            state,
            wishes,
            lock,
            stop,
            pausing: Mutex::default(),
            dry_run: Arc::new(Semaphore::new(1)),
            desk: page::Desk::new(),
            bad_token: Seldom::default(),
            not_ready: Seldom::default(),
        }));
        let (sender, stopping) = Shutdown::new();
        let mut server = Server {
            stop: sender,
            stopping,
            listeners: Vec::new(),
            socket: None,
        };
        if let Some(path) = &config.socket {
            let (listener, socket) = bind(path).await?;
            server.socket = Some(socket);
            server.listen(Listener::Unix(listener), router.clone());
        }
        if let Some(listen) = &config.listen {
            if listen.token.read()?.expose_secret().len() < gate::SHORTEST_TOKEN {
                return Err(CannotListen::ShortToken);
            }
            match TcpListener::bind(listen.address).await {
                Ok(listener) => {
                    if let Ok(address) = listener.local_addr() {
                        tracing::info!(%address, "listening");
                    }
                    server.listen(Listener::Tcp(listener), router);
                }
                Err(source) => {
                    let address = listen.address;
                    let error = CannotListen::Port { address, source };
                    // Anybody may take a port; that is not to keep syncs from being made.
                    match &server.socket {
                        Some(_) => tracing::error!("{error}"),
                        None => return Err(error),
                    }
                }
            }
        }
        Ok(server)
    }

    fn listen(&mut self, listener: Listener, router: Router) {
        let stop = self.stopping.clone();
        self.listeners
            .push(tokio::spawn(serve(listener, router, stop)));
    }

    /// Takes no more requests, lets those under way come to their end for a moment, and ends.
    pub(super) async fn stop(self) {
        // Without a listener nobody hears it.
        let _ = self.stop.send(true);
        for listener in self.listeners {
            if let Err(error) = listener.await {
                tracing::error!("the control server broke down: {error}");
            }
        }
    }
}

/// A router with these routes.
fn routed(routes: impl IntoIterator<Item = api::Routed>) -> Router<Arc<App>> {
    let routes = routes.into_iter();
    routes.fold(Router::new(), |router, (_, path, answer)| {
        router.route(path, answer)
    })
}

/// The routes, each behind the gate, and the pages behind theirs.
fn router(app: Arc<App>) -> Router {
    routed(api::routes().into_iter().chain(health::routes()))
        .fallback(async |request: Request| {
            let detail = format!("there is nothing at {}", request.uri().path());
            Problem::new(Kind::NotFound, detail)
        })
        .method_not_allowed_fallback(async |request: Request| {
            let detail = format!("{} cannot be done to it", request.method());
            Problem::new(Kind::MethodNotAllowed, detail)
        })
        .layer(from_fn_with_state(Arc::clone(&app), gate::pass))
        .merge(page::router(&app))
        .with_state(app)
}

/// Makes the socket, in place of one that nobody listens on any more.
async fn bind(path: &Path) -> Result<(UnixListener, Socket), CannotListen> {
    let failed = |source| CannotListen::Socket {
        path: path.to_owned(),
        source,
    };
    expect_own_folders(path)?;
    let lock = lock(path)?;
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(CannotListen::NoSocket(path.to_owned()));
        }
        Ok(_) => {
            let connected = UnixStream::connect(path).await;
            match connected.map_err(|error| error.kind()) {
                // Of a daemon that was killed.
                Err(ErrorKind::ConnectionRefused) => fs::remove_file(path).map_err(failed)?,
                // It has more to do than it can.
                Ok(_) | Err(ErrorKind::WouldBlock) => {
                    return Err(CannotListen::InUse(path.to_owned()));
                }
                Err(kind) => return Err(failed(kind.into())),
            }
        }
    }
    let socket = UnixSocket::new_stream().map_err(failed)?;
    // The file has the mode of the socket from its beginning (bind in unix(7)).
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR).map_err(|error| failed(error.into()))?;
    socket.bind(path).map_err(failed)?;
    let listener = socket.listen(BACKLOG).map_err(failed)?;
    let file = fs::symlink_metadata(path).map_err(failed)?;
    let socket = Socket {
        path: path.to_owned(),
        identity: (file.dev(), file.ino()),
        _lock: lock,
    };
    Ok((listener, socket))
}

/// Of those who start with one socket only one makes it: whoever has the lock beside it.
fn lock(path: &Path) -> Result<File, CannotListen> {
    let failed = |source| CannotListen::Socket {
        path: path.to_owned(),
        source,
    };
    let name = beside(path, ".lock");
    let made = match make_own(&name) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => File::options()
            .read(true)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
            .open(&name),
        made => made,
    };
    let file = made.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(CannotListen::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// A place where connections come in.
enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// A connection.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<Stream: AsyncRead + AsyncWrite + Send + Unpin> Duplex for Stream {}

impl Listener {
    async fn accept(&self) -> std::io::Result<(Box<dyn Duplex>, Peer)> {
        Ok(match self {
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let peer = Peer::User(stream.peer_cred()?.uid().into());
                (Box::new(stream), peer)
            }
            Listener::Tcp(listener) => (Box::new(listener.accept().await?.0), Peer::Anybody),
        })
    }
}

/// Takes connections until it is to stop; each is served for itself, so that none holds another up.
async fn serve(listener: Listener, router: Router, stop: Shutdown) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    let accepted = async || {
        let place = Arc::clone(&places).acquire_owned().await;
        (listener.accept().await, place)
    };
    loop {
        let (accepted, place) = tokio::select! {
            accepted = accepted() => accepted,
            () = stop.wait() => break,
        };
        while connections.try_join_next().is_some() {}
        match (accepted, place) {
            (Ok((stream, peer)), Ok(place)) => {
                let known = Known::default();
                let router = router.clone().layer(Extension(peer));
                let router = router.layer(Extension(known.clone()));
                let stream = Patient::new(stream);
                connections.spawn(converse(stream, router, known, stop.clone(), place));
            }
            (Err(error), _) => {
                tracing::debug!(%error, "a connection was not taken");
                tokio::time::sleep(REST).await;
            }
            // It is never closed.
            (Ok(_), Err(_)) => break,
        }
    }
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_WITHIN, ended).await.is_err() {
        tracing::debug!("connections are cut off");
    }
}

/// Answers the requests of a connection.
async fn converse(
    stream: Patient,
    router: Router,
    known: Known,
    stop: Shutdown,
    _place: OwnedSemaphorePermit,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let stays_unknown = async {
        tokio::time::sleep(UNKNOWN_FOR).await;
        if known.is_so() {
            std::future::pending::<()>().await;
        }
    };
    let ended = tokio::select! {
        () = stays_unknown => return,
        ended = connection.as_mut() => ended,
        () = stop.wait() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}
