//! `dirsyncd simulate`: the simulator of the organization's API.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use uuid::Uuid;

use super::{Exit, Failure, print, shutdown_on_signals, start_log};
use crate::config::LogFormat;
use crate::simulator::{self, Ids, RateLimit, Simulator};

#[derive(Args)]
pub(super) struct Arguments {
    /// The address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The folder that keeps its accounts and keys; it is made if need be
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// A verified domain of the organization; give several by repeating it
    #[arg(long = "domain", value_name = "DOMAIN")]
    domains: Vec<String>,
    /// The id of the organization when it is made, instead of a random one
    #[arg(long, value_name = "ID", requires = "directory")]
    organization: Option<Uuid>,
    /// The id of its provisioning directory when it is made
    #[arg(long, value_name = "ID", requires = "organization")]
    directory: Option<Uuid>,
    /// How many requests an API (scim, users or orgs) takes in how many seconds, such as scim=600/60; one for each
    /// API by repeating it. Without one there is no limit
    #[arg(long = "limit", value_name = "API=REQUESTS/SECONDS")]
    limits: Vec<RateLimit>,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let Arguments {
        listen,
        state,
        domains,
        organization,
        directory,
        limits,
    } = arguments;
    start_log("warn", LogFormat::Text);
    let stop = shutdown_on_signals()?;
    let folder = std::path::absolute(&state).unwrap_or_else(|_| state.clone());
    let simulator = simulator::start(simulator::Options {
        listen,
        state,
        domains,
        ids: organization
            .zip(directory)
            .map(|(organization, directory)| Ids {
                organization,
                directory,
            }),
    })
    .await
    .map_err(Failure::failed)?;
    for limit in limits {
        simulator.limit(limit);
    }
    print(&format!(
        "listening on {url}\nverified domains: {domains}\n\n# for the configuration:\n{block}",
        url = simulator.url(),
        domains = simulator.domains().join(", "),
        block = organization_block(&simulator, &folder),
    ));
    stop.wait().await;
    simulator.stop().await;
    Ok(Exit::Done)
}

/// The `[organization]` table that reaches this simulator; it names the key files, not the keys.
pub(super) fn organization_block(simulator: &Simulator, folder: &std::path::Path) -> String {
    let text = |value: &str| serde_json::json!(value).to_string();
    let file = |name: &str| text(&folder.join(name).display().to_string());
    format!(
        "[organization]\nid = {}\ndirectory = {}\napi = {}\nscim_key = {{ file = {} }}\nadmin_key = {{ file = {} }}\n",
        text(simulator.organization()),
        text(simulator.directory()),
        text(&simulator.url()),
        file("scim-key"),
        file("admin-key"),
    )
}
