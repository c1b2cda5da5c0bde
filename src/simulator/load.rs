//! `POST /_simulator/load`: SCIM users by the hundred thousand, and groups of them after them, one JSON object a line, as a `POST` of each would make
//! them, but that a line with ids, such as one copied from another organization, keeps them; all or none. The organization is closed to other writes while the body comes in.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use futures_util::StreamExt;
use serde_json::{Map, Value, json};
use sqlx::SqliteConnection;

use super::answers::{BODY_LIMIT, ListedError, ScimError};
use super::groups;
use super::schema::{self, GROUP, USER};
use super::users::{KeptIds, Person};
use super::{App, Shared, enrolment};

/// How many are made by one statement.
const BATCH: usize = 500;

/// The lines read and not yet made.
struct Loader<'a> {
    app: &'a Shared,
    now: i64,
    /// The lines seen so far, blank ones too.
    lines: usize,
    batch: Vec<(usize, Person)>,
    made: usize,
}

impl Loader<'_> {
    async fn line(&mut self, db: &mut SqliteConnection, line: &[u8]) -> Result<(), ListedError> {
        self.lines += 1;
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let body: Map<String, Value> = serde_json::from_slice(line).map_err(|error| {
            at(
                self.lines,
                ScimError::bad("invalidSyntax", error.to_string()),
            )
        })?;
        if schema::declared(&body, GROUP.urn).is_ok() {
            return self.group(db, &body).await;
        }
        let mut person = schema::declared(&body, USER.urn)
            .and_then(|()| Person::accept(&body, &self.app.domains))
            .map_err(|error| at(self.lines, error))?;
        person.kept = KeptIds::of(&body);
        self.batch.push((self.lines, person));
        if self.batch.len() < BATCH {
            return Ok(());
        }
        self.make(db).await
    }

    /// A group, once the users before it are made.
    async fn group(
        &mut self,
        db: &mut SqliteConnection,
        body: &Map<String, Value>,
    ) -> Result<(), ListedError> {
        self.make(db).await?;
        let kept_id = body.get("id").and_then(Value::as_str);
        let made = async {
            let wanted = groups::Wanted::accept(body)?;
            groups::create(db, wanted, kept_id, self.now).await
        };
        made.await.map_err(|error| at(self.lines, error))?;
        self.made += 1;
        Ok(())
    }

    async fn make(&mut self, db: &mut SqliteConnection) -> Result<(), ListedError> {
        let (lines, persons): (Vec<_>, Vec<_>) = self.batch.drain(..).unzip();
        enrolment::create_all(db, persons, self.now)
            .await
            .map_err(|(place, error)| at(lines.get(place).copied().unwrap_or_default(), error))?;
        self.made += lines.len();
        Ok(())
    }
}

/// The refusal of one line, under its own status.
fn at(line: usize, error: ScimError) -> ListedError {
    let (status, detail) = error.reason();
    ListedError(status, format!("line {line}: {detail}"))
}

fn bad(detail: impl Into<String>) -> ListedError {
    ListedError(StatusCode::BAD_REQUEST, detail.into())
}

pub(super) async fn load(State(app): State<App>, body: Body) -> Result<Json<Value>, ListedError> {
    let mut tx = app.store.write().await?;
    let mut loader = Loader {
        app: &app,
        now: app.store.now(),
        lines: 0,
        batch: Vec::with_capacity(BATCH),
        made: 0,
    };
    let (mut stream, mut rest) = (body.into_data_stream(), Vec::new());
    while let Some(chunk) = stream.next().await {
        rest.extend_from_slice(&chunk.map_err(|error| bad(error.to_string()))?);
        let mut begin = 0;
        while let Some(length) = rest[begin..].iter().position(|byte| *byte == b'\n') {
            loader.line(&mut tx, &rest[begin..begin + length]).await?;
            begin += length + 1;
        }
        rest.drain(..begin);
        if rest.len() > BODY_LIMIT {
            return Err(bad("a line is too long"));
        }
    }
    loader.line(&mut tx, &rest).await?;
    loader.make(&mut tx).await?;
    let loaded = loader.made;
    enrolment::users_fit(&mut tx, app.limits.directory())
        .await
        .map_err(|error| {
            let (status, detail) = error.reason();
            ListedError(status, detail)
        })?;
    tx.commit().await?;
    Ok(Json(json!({"loaded": loaded})))
}
