//! The simulator of the organization's admin API: a real HTTP server (`dirsyncd simulate`) for the demo, rehearsals
//! and end-to-end tests.
//!
//! It is written from the API's contract alone and shares no type with the client in `org/`: an error in our client
//! must not be able to hide in our server. Nothing from the rest of the crate may be imported here.
//!
//! Map: [`folder`] lock and keys; [`store`] database and clock, [`tables`] its format; [`accounts`], [`users`],
//! [`enrolment`], [`groups`], [`people`], [`org_groups`] the model and its rules; [`schema`], [`patch`], [`query`] what SCIM says about
//! attributes, changes and lists; [`scim`], [`management`], [`organization`], [`directory`], [`control`], [`load`] the
//! routes; [`gate`] what every request passes; [`limits`], [`faults`], [`spoil`], [`past`], [`journal`], [`line`] the
//! means of a rehearsal; [`answers`] the shapes of errors.

mod accounts;
mod addresses;
mod answers;
mod control;
mod directory;
mod enrolment;
mod faults;
mod folder;
mod gate;
mod groups;
mod journal;
mod limits;
mod line;
mod load;
mod management;
mod org_groups;
mod organization;
mod past;
mod patch;
mod people;
mod query;
mod schema;
mod scim;
mod spoil;
mod store;
mod tables;
mod users;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

use addresses::Domains;
use faults::Faults;
use folder::Folder;
use journal::Journal;
use limits::Limits;
pub use limits::RateLimit;
use line::{Line, Lines};
use store::Store;

/// Verified domains of a new organization when none are named: the documentation domains of RFC 2606.
const DEFAULT_DOMAINS: [&str; 3] = ["example.com", "example.org", "example.net"];

/// How long [`Simulator::stop`] waits for requests under way.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Where the simulator listens and what it keeps.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address to bind; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The folder of the database and the two keys; made when missing.
    pub state: PathBuf,
    /// The organization's verified domains. Empty keeps the stored ones, or the documentation domains at first.
    pub domains: Vec<String>,
    /// The ids that an organization gets which is made. None are random; a stored one keeps its own.
    pub ids: Option<Ids>,
}

impl Options {
    /// Those of an organization in this folder, on a free port of loopback.
    pub fn in_folder(state: PathBuf) -> Self {
        Options {
            listen: ([127, 0, 0, 1], 0).into(),
            state,
            domains: Vec::new(),
            ids: None,
        }
    }
}

/// How a configuration names an organization.
#[derive(Debug, Clone, Copy)]
pub struct Ids {
    /// The organization's.
    pub organization: Uuid,
    /// Its provisioning directory's.
    pub directory: Uuid,
}

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// The state folder cannot be made or written.
    #[error("cannot use the simulator's state folder {}: {source}; give a folder that this user can write", path.display())]
    Folder {
        /// The folder or the file in it.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another simulator holds the state folder.
    #[error("the state folder {} is in use by another simulator{}; stop that one or give another folder",
        path.display(), holder.as_ref().map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The process id that the holder left in the lock file.
        holder: Option<String>,
    },
    /// A key file is there but holds no key.
    #[error("the key file {} holds no usable key; remove it to have a new one made", path.display())]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// The database cannot be opened or read.
    #[error("cannot use the simulator's database {}: {source}; move it away to begin with an empty organization", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: sqlx::Error,
    },
    /// The database was written by a newer version of the simulator.
    #[error("the simulator's database {} has format {found}, this version knows up to {known}; use the newer dirsyncd or another state folder", path.display())]
    NewerDatabase {
        /// The file.
        path: PathBuf,
        /// The format in the file.
        found: i64,
        /// The newest format known here.
        known: i64,
    },
    /// A verified domain is not a domain name.
    #[error("`{domain}` is not a domain name; give one like example.com")]
    Domain {
        /// What was given.
        domain: String,
    },
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {source}; give another address, or port 0 for a free one")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What every handler can reach.
struct Shared {
    organization: String,
    directory: String,
    scim_key: String,
    admin_key: String,
    domains: Domains,
    url: String,
    store: Store,
    faults: Faults,
    limits: Limits,
    journal: Journal,
}

type App = Arc<Shared>;

/// A running simulator; dropping it ends the server at once, [`Simulator::stop`] ends it in order.
pub struct Simulator {
    address: SocketAddr,
    shared: App,
    quit: Option<oneshot::Sender<()>>,
    server: JoinHandle<std::io::Result<()>>,
    /// Held for its lock.
    _folder: Folder,
}

/// Binds the address, opens (or makes) the state and serves in a task of the current runtime.
///
/// # Errors
/// When the folder, the database or the address cannot be used: see [`SimulatorError`].
pub async fn start(options: Options) -> Result<Simulator, SimulatorError> {
    let Options {
        listen,
        state,
        domains,
        ids,
    } = options;
    let folder = Folder::claim(&state)?;
    let store = Store::open(&folder.file("simulator.db"), &domains, ids).await?;
    let unbound = |source| SimulatorError::Listen {
        address: listen,
        source,
    };
    let listener = TcpListener::bind(listen).await.map_err(unbound)?;
    let address = listener.local_addr().map_err(unbound)?;
    let identity = store.identity().clone();
    let shared = Arc::new(Shared {
        organization: identity.organization,
        directory: identity.directory,
        domains: identity.domains,
        scim_key: folder.key("scim-key")?,
        admin_key: folder.key("admin-key")?,
        url: format!("http://{}", reachable(address)),
        store,
        faults: Faults::default(),
        limits: Limits::default(),
        journal: Journal::default(),
    });
    let service = gate::router(Arc::clone(&shared)).into_make_service_with_connect_info::<Line>();
    let (quit, quitting) = oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        axum::serve(Lines(listener), service)
            .with_graceful_shutdown(async {
                // An error means that the sender is gone, which asks for the same.
                let _ = quitting.await;
            })
            .await
    });
    Ok(Simulator {
        address,
        shared,
        quit: Some(quit),
        server,
        _folder: folder,
    })
}

/// The address a client on this machine can use for a listener bound to `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => {
            SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port())
        }
        IpAddr::V6(ip) if ip.is_unspecified() => {
            SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), address.port())
        }
        _ => address,
    }
}

impl Simulator {
    /// The bound address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL, without a trailing slash: what `https://api.atlassian.com` is for the real API.
    #[must_use]
    pub fn url(&self) -> String {
        self.shared.url.clone()
    }

    /// The organization's id.
    #[must_use]
    pub fn organization(&self) -> &str {
        &self.shared.organization
    }

    /// The id of the SCIM directory.
    #[must_use]
    pub fn directory(&self) -> &str {
        &self.shared.directory
    }

    /// The key of the SCIM endpoints.
    #[must_use]
    pub fn scim_key(&self) -> &str {
        &self.shared.scim_key
    }

    /// The key of the user-management and organization endpoints.
    #[must_use]
    pub fn admin_key(&self) -> &str {
        &self.shared.admin_key
    }

    /// The verified domains.
    #[must_use]
    pub fn domains(&self) -> Vec<String> {
        self.shared.domains.names().map(str::to_owned).collect()
    }

    /// Limits the requests of one API, till the end of the process or another limit of it.
    pub fn limit(&self, limit: RateLimit) {
        self.shared.limits.limit(limit);
    }

    /// Finishes the requests under way (for a few seconds), writes the database out and releases the folder.
    pub async fn stop(mut self) {
        drop(self.quit.take());
        if tokio::time::timeout(STOP_WITHIN, &mut self.server)
            .await
            .is_err()
        {
            self.server.abort();
        }
        self.shared.store.close().await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.server.abort();
    }
}
