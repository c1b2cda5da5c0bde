//! How somebody lets through what a hold holds.

use std::collections::BTreeSet;

use super::{HeldOperation, OpenHold};
use crate::model::{Invoker, Timestamp, Who};
use crate::plan::next_run;
use crate::snapshot::error::Context;
use crate::snapshot::{Journal, SnapshotError};

/// Who approves, and why.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Who it is.
    pub by: Invoker,
    /// The reason given.
    pub reason: String,
}

/// Why nothing was approved.
#[derive(Debug, thiserror::Error)]
pub enum ApproveError {
    /// The database.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// No open hold has the name.
    #[error("there is no open hold `{name}`{}; `dirsyncd holds` lists them", open_ones(.open))]
    Unknown {
        /// What was asked for.
        name: String,
        /// The names that there are.
        open: Vec<String>,
    },
    /// The open hold of that name is another one.
    #[error(
        "the open hold `{name}` is number {number}, not {asked}, which is closed: look at it anew by `dirsyncd holds`"
    )]
    Another {
        /// The name.
        name: String,
        /// The number of the open one.
        number: i64,
        /// The number asked for.
        asked: i64,
    },
    /// Its time is over.
    #[error(
        "the hold `{name}` (number {number}) expired at {}: the next {} opens it anew if it still holds something, to be looked at anew", .at.format("%Y-%m-%d %H:%M:%S UTC"), next_run(.name)
    )]
    Expired {
        /// The name.
        name: String,
        /// Its number.
        number: i64,
        /// When.
        at: Timestamp,
    },
    /// It cannot be approved.
    #[error("`{name}` cannot be approved: {message}")]
    Never {
        /// The name.
        name: String,
        /// What it says.
        message: String,
    },
    /// It does not hold what was asked for.
    #[error(
        "the hold `{name}` holds nothing for `{who}`: give a key, an e-mail address, a user name or a DN that `dirsyncd holds` shows for it"
    )]
    NotHeld {
        /// The name.
        name: String,
        /// What was asked for.
        who: String,
    },
    /// Several operations may be meant.
    #[error("`{who}` may be any of {keys} in the hold `{name}`: give the key")]
    Ambiguous {
        /// The name.
        name: String,
        /// What was asked for.
        who: String,
        /// The keys.
        keys: String,
    },
}

fn open_ones(names: &[String]) -> String {
    if names.is_empty() {
        return " (none is open)".to_owned();
    }
    format!(" (open: {})", names.join(", "))
}

impl Journal {
    /// Lets what an open hold holds now through, or of it the operations of these people. The
    /// hold is given by its name, or as `NAME#NUMBER`. Tells the hold with what was approved.
    pub async fn approve(
        &mut self,
        hold: &str,
        only: &[String],
        asked: &Asked,
        now: Timestamp,
    ) -> Result<OpenHold, ApproveError> {
        let mut hold = self.approvable(hold, now).await?;
        if !only.is_empty() {
            let mut chosen: Vec<HeldOperation> = Vec::new();
            for who in only {
                for meant in the_one(&hold, who)? {
                    if !chosen.iter().any(|other| other.digest == meant.digest) {
                        chosen.push(meant);
                    }
                }
            }
            hold.operations = chosen;
        }
        let path = self.path.clone();
        let mut transaction = self.begin().await?;
        let approval = sqlx::query(
            "INSERT INTO approvals (hold_id, reason, asked_by, uid, sudo_user, asked_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(hold.opened.number)
        .bind(&asked.reason)
        .bind(&asked.by.name)
        .bind(asked.by.uid)
        .bind(&asked.by.sudo_user)
        .bind(now.timestamp_millis())
        .bind(hold.opened.until.timestamp_millis())
        .execute(&mut *transaction)
        .await
        .at(&path)?
        .last_insert_rowid();
        for operation in &mut hold.operations {
            sqlx::query(
                "INSERT INTO approved_operations (approval_id, digest, external_id, kind, detail) VALUES (?, ?, ?, ?, ?)",
            )
            .bind(approval)
            .bind(operation.digest.0.as_slice())
            .bind(&operation.key)
            .bind(&operation.kind)
            .bind(serde_json::json!(operation.detail).to_string())
            .execute(&mut *transaction)
            .await
            .at(&path)?;
            operation.is_approved = true;
        }
        transaction.commit().await.at(&path)?;
        Ok(hold)
    }

    /// The open hold of this name, if it can be approved now.
    async fn approvable(&mut self, asked: &str, now: Timestamp) -> Result<OpenHold, ApproveError> {
        let open = self.open_holds(now).await?;
        let numbered = asked
            .rsplit_once('#')
            .and_then(|(name, number)| Some((name, number.parse::<i64>().ok()?)));
        let (name, number) = numbered.map_or((asked, None), |(name, number)| (name, Some(number)));
        let names = open.iter().map(|hold| hold.name.clone()).collect();
        let Some(hold) = open.into_iter().find(|hold| hold.name == name) else {
            return Err(ApproveError::Unknown {
                name: name.to_owned(),
                open: names,
            });
        };
        let OpenHold { name, opened, .. } = &hold;
        let name = name.clone();
        match number {
            Some(asked) if asked != opened.number => {
                return Err(ApproveError::Another {
                    name,
                    number: opened.number,
                    asked,
                });
            }
            _ => {}
        }
        if opened.until <= now {
            return Err(ApproveError::Expired {
                name,
                number: opened.number,
                at: opened.until,
            });
        }
        if !hold.figures.can_be_approved {
            return Err(ApproveError::Never {
                name,
                message: hold.message,
            });
        }
        Ok(hold)
    }
}

/// The operations of the one person or group that is meant, which may be several.
fn the_one(hold: &OpenHold, who: &str) -> Result<Vec<HeldOperation>, ApproveError> {
    let typed = Who::parse(who);
    let meant = hold.operations.iter();
    let meant = meant.filter(|operation| typed.is_any(operation.names()));
    let meant: Vec<&HeldOperation> = meant.collect();
    let whose: BTreeSet<(&str, bool)> = meant.iter().map(|one| one.whose()).collect();
    match whose.len() {
        1 => Ok(meant.into_iter().cloned().collect()),
        0 => Err(ApproveError::NotHeld {
            name: hold.name.clone(),
            who: who.to_owned(),
        }),
        _ => {
            let keys: Vec<&str> = whose.iter().map(|(key, _)| *key).collect();
            Err(ApproveError::Ambiguous {
                name: hold.name.clone(),
                who: who.to_owned(),
                keys: keys.join(", "),
            })
        }
    }
}
