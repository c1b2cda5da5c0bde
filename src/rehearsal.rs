//! A rehearsal: the real directory's sync, carried out for real, against a copy of the
//! organization in a private simulator.
//!
//! Floor 8. Of the real organization there is only a [`Reader`], which has no method that
//! writes; the run itself gets a configuration that knows the simulator alone.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use serde_json::{Value, json};

use crate::apply::Control;
use crate::config::{Organization, PrivateFolder, Provisioning, SecretRef};
use crate::model::{Attribute, ScimId};
use crate::org::{ApiError, Reader};
use crate::plan::Plan;
use crate::run::{Finished, Orders, RunError, Setup, dry_run, sync};
use crate::simulator::{self, Simulator, SimulatorError};
use crate::snapshot::{Snapshot, SnapshotError};

/// What a rehearsal showed.
#[derive(Debug)]
pub struct Rehearsal {
    /// How many accounts were copied.
    pub copied: usize,
    /// Accounts that could not be copied, as the simulator would refuse them, with the reason.
    pub left_out: Vec<String>,
    /// The run.
    pub finished: Finished,
    /// The plan right after it: what would still be to do.
    pub rest: Plan,
}

/// Why there was no rehearsal.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// The run, or the plan before it, failed as it would have for real.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The organization could not be read.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The simulator could not be started.
    #[error(transparent)]
    Simulator(#[from] SimulatorError),
    /// The database could not be copied.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// There is no room for the copies.
    #[error(
        "cannot make a temporary folder for the rehearsal: {0}; set TMPDIR to a folder with room"
    )]
    Folder(#[from] std::io::Error),
    /// It was asked to stop.
    #[error("the rehearsal was stopped before its end")]
    Stopped,
    /// Only a provisioning directory can be copied with its ids.
    #[error(
        "a rehearsal needs provisioning = \"scim\": the managed accounts of the admin way cannot be copied with their ids; `dirsyncd plan` shows what a sync would do"
    )]
    AdminWay,
    /// The copy of the organization could not be loaded.
    #[error("the copy of the organization cannot be loaded into the simulator: {0}")]
    Load(String),
    /// The mapping, which compiled before, did not compile again.
    #[error(transparent)]
    Mapping(#[from] crate::mapping::MappingError),
}

/// Rehearses a sync. Nothing is written to the organization, nor to the database.
pub async fn rehearse(
    setup: &Setup,
    orders: Orders<'_>,
    control: &Control<'_>,
) -> Result<Rehearsal, RehearsalError> {
    tokio::select! {
        rehearsal = Box::pin(play(setup, orders, control)) => rehearsal,
        () = control.stop.wait() => Err(RehearsalError::Stopped),
    }
}

async fn play(
    setup: &Setup,
    orders: Orders<'_>,
    control: &Control<'_>,
) -> Result<Rehearsal, RehearsalError> {
    if setup.config.organization.provisioning == Provisioning::Admin {
        return Err(RehearsalError::AdminWay);
    }
    let reader = Reader::new(&setup.config.organization)?;
    let users = reader.export_users().await?;
    let domains = match &setup.config.organization.admin_key {
        Some(_) => reader.verified_domains().await?,
        None => assumed_domains(&dry_run(setup, orders, control).await?, &users),
    };
    let folder = PrivateFolder::new()?;
    let copy = simulator::start(simulator::Options {
        domains: domains.iter().cloned().collect(),
        ..simulator::Options::in_folder(folder.path().join("organization"))
    })
    .await?;
    let result = async {
        let (mut lines, left_out) = loadable(&users, &domains);
        let copied = lines.len();
        if !setup.config.groups.is_empty() {
            let groups = reader.export_groups(&ids(&lines)).await?;
            lines.extend(groups.iter().map(Value::to_string));
        }
        load(&copy, &lines).await?;
        let mut config = setup.config.clone();
        config.database = folder.path().join("dirsyncd.db");
        Snapshot::copy(&setup.config.database, &config.database).await?;
        config.organization = organization_of(&copy, folder.path(), &config.organization)?;
        let rehearsed = Setup::new(config)?;
        let finished = sync(&rehearsed, orders, "rehearsal", control).await?;
        let rest = dry_run(&rehearsed, orders, control).await?;
        Ok(Rehearsal {
            copied,
            left_out,
            finished,
            rest,
        })
    }
    .await;
    copy.stop().await;
    result
}

/// Without the admin key the verified domains cannot be read: those that accounts have, and
/// those that the plan would give them, count as verified.
fn assumed_domains(plan: &Plan, users: &[Value]) -> BTreeSet<String> {
    let planned = plan
        .operations
        .iter()
        .filter_map(|planned| planned.operation.after.get(Attribute::Email));
    let existing = users.iter().filter_map(primary_address);
    planned.chain(existing).filter_map(domain_of).collect()
}

fn domain_of(address: &str) -> Option<String> {
    Some(address.rsplit_once('@')?.1.to_lowercase())
}

fn primary_address(user: &Value) -> Option<&str> {
    let emails = user["emails"].as_array()?;
    let primary = emails.iter().find(|email| email["primary"] == true);
    primary.or(emails.first())?["value"].as_str()
}

/// The users as the simulator takes them, and those whom it would refuse.
fn loadable(users: &[Value], domains: &BTreeSet<String>) -> (Vec<String>, Vec<String>) {
    let mut lines = Vec::with_capacity(users.len());
    let mut left_out = Vec::new();
    for user in users {
        let name = user["userName"].as_str().unwrap_or("(no userName)");
        let address = primary_address(user);
        match address.and_then(domain_of) {
            None => left_out.push(format!("{name} has no e-mail address")),
            Some(domain) if !domains.contains(&domain) => left_out.push(format!(
                "{name} has an address on a domain that is not verified, {domain}"
            )),
            Some(_) => {
                // Of several addresses only the primary one is managed.
                let mut user = user.clone();
                user["emails"] = json!([{ "value": address, "type": "work", "primary": true }]);
                lines.push(user.to_string());
            }
        }
    }
    (lines, left_out)
}

/// The ids of users as they are loaded.
fn ids(lines: &[String]) -> HashSet<ScimId> {
    let users = lines
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok());
    users
        .filter_map(|user: Value| user["id"].as_str().map(ScimId::new))
        .collect()
}

/// Loads the copy by the simulator's control endpoint.
async fn load(copy: &Simulator, lines: &[String]) -> Result<(), RehearsalError> {
    let failed = |error: reqwest::Error| RehearsalError::Load(error.to_string());
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .build()
        .map_err(failed)?;
    let answer = client
        .post(format!("{}/_simulator/load", copy.url()))
        .body(lines.join("\n"))
        .send()
        .await
        .map_err(failed)?;
    if answer.status().is_success() {
        return Ok(());
    }
    Err(RehearsalError::Load(answer.text().await.map_err(failed)?))
}

/// How the simulator is reached; nothing in it leads to the real organization.
fn organization_of(
    copy: &Simulator,
    folder: &Path,
    real: &Organization,
) -> Result<Organization, RehearsalError> {
    let state = folder.join("organization");
    let root =
        url::Url::parse(&copy.url()).map_err(|error| RehearsalError::Load(error.to_string()))?;
    Ok(Organization {
        id: copy.organization().to_owned(),
        api: root,
        provisioning: Provisioning::Scim {
            directory: copy.directory().to_owned(),
            key: SecretRef::File(state.join("scim-key")),
        },
        admin_key: real
            .admin_key
            .as_ref()
            .map(|_| SecretRef::File(state.join("admin-key"))),
        ca_file: None,
        timeout: real.timeout,
        operation_timeout: real.operation_timeout,
        requests_per_second: None,
        max_users: real.max_users,
        forecast_accounts: real.forecast_accounts,
    })
}
