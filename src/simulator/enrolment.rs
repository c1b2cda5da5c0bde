//! How a SCIM user resource comes to be: a new account, a link to a managed account with that address, or a deleted
//! resource brought back (contract section 7, "POST User"); one at a time or by the thousand.

use serde_json::{Value, json};
use sqlx::SqliteConnection;

use super::accounts::{Account, Profile};
use super::addresses::fold;
use super::answers::ScimError;
use super::limits::Directory;
use super::store::Store;
use super::users::{Claim, Person, User, claims, taken};

/// POST.
pub(super) async fn create(
    store: &Store,
    person: Person,
    now: i64,
    limits: Directory,
) -> Result<User, ScimError> {
    // Nearly always nobody has the address or the name. The unique indexes tell, so it is simply tried.
    if limits.users.is_none() {
        match enrol(store.writer(), &person, now).await {
            Err(EnrolError::Taken) => {}
            Err(EnrolError::Scim(error)) => return Err(error),
            Ok(user) => return Ok(user),
        }
    }
    let mut tx = store.write().await?;
    let user = create_within(&mut tx, person, now).await?;
    users_fit(&mut tx, limits).await?;
    tx.commit().await?;
    Ok(user)
}

/// Makes all or, when one is refused, tells which, by its place; then nothing may be committed.
pub(super) async fn create_all(
    db: &mut SqliteConnection,
    persons: Vec<Person>,
    now: i64,
) -> Result<(), (usize, ScimError)> {
    match enrol_all(db, &persons, now).await {
        Err(EnrolError::Taken) => {}
        Err(EnrolError::Scim(error)) => return Err((0, error)),
        Ok(()) => return Ok(()),
    }
    for (place, person) in persons.into_iter().enumerate() {
        create_within(db, person, now)
            .await
            .map_err(|error| (place, error))?;
    }
    Ok(())
}

/// 400 when the directory holds more users than it may.
pub(super) async fn users_fit(
    db: &mut SqliteConnection,
    limits: Directory,
) -> Result<(), ScimError> {
    if limits.users.is_none() {
        return Ok(());
    }
    let users = sqlx::query_scalar("SELECT coalesce(sum(live), 0) FROM chunks")
        .fetch_one(db)
        .await?;
    limits.users_fit(users)
}

async fn create_within(
    db: &mut SqliteConnection,
    person: Person,
    now: i64,
) -> Result<User, ScimError> {
    let mut claims = claims(db, &person).await?.into_iter();
    match (claims.next(), claims.next()) {
        (Some(Claim::Account(account)), None) => link(db, account, person, now).await,
        (Some(Claim::User(mut user)), None) if user.deleted => {
            user.update(db, person, now).await?;
            Ok(user)
        }
        (Some(Claim::User(user)), _) | (Some(Claim::Account(_)), Some(Claim::User(user))) => {
            Err(taken(&person, &user.account, Some(&user)))
        }
        (Some(Claim::Account(account)), Some(Claim::Account(_))) => {
            Err(taken(&person, &account, None))
        }
        (None, _) => enrol(db, &person, now).await.map_err(|error| match error {
            EnrolError::Scim(error) => error,
            EnrolError::Taken => ScimError::taken("USER", "email", &person.email),
        }),
    }
}

/// A resource for a managed account that had none; the directory's own say on its access ends.
async fn link(
    db: &mut SqliteConnection,
    mut account: Account,
    person: Person,
    now: i64,
) -> Result<User, ScimError> {
    person.shape(&mut account, now)?;
    account.save(db).await?;
    let user = User::new(account, person.attributes, now);
    let row = sqlx::query(
        "INSERT INTO users SELECT NULL, ?1, seq, ?2, ?3, ?4, 0, ?5, ?5 FROM accounts WHERE id = ?6",
    );
    user.bind(row)
        .bind(&user.account.id)
        .execute(&mut *db)
        .await?;
    sqlx::query("DELETE FROM access WHERE account = (SELECT seq FROM accounts WHERE id = ?1)")
        .bind(&user.account.id)
        .execute(db)
        .await?;
    Ok(user)
}

/// Why a new account was not made.
enum EnrolError {
    /// Somebody has the address or the userName.
    Taken,
    Scim(ScimError),
}

impl From<sqlx::Error> for EnrolError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) if error.is_unique_violation() => Self::Taken,
            error => Self::Scim(error.into()),
        }
    }
}

/// The account and the resource of a person who has neither.
fn newcomer(person: &Person, now: i64) -> Result<User, EnrolError> {
    let mut account = Account::new(person.email.clone(), Profile::default());
    person.shape(&mut account, now).map_err(EnrolError::Scim)?;
    let kept_account = person.kept.as_ref().and_then(|kept| kept.account.clone());
    account.id = kept_account.unwrap_or(account.id);
    let mut user = User::new(account, person.attributes.clone(), now);
    if let Some(kept) = &person.kept {
        user.id.clone_from(&kept.user);
    }
    Ok(user)
}

/// Makes an account and its resource in one statement (see the view `enrolments`): one trip to SQLite's thread
/// instead of five, which more than doubles the creates in a second (measured: 1,400 to 3,200).
async fn enrol(
    executor: impl sqlx::SqliteExecutor<'_>,
    person: &Person,
    now: i64,
) -> Result<User, EnrolError> {
    let user = newcomer(person, now)?;
    let row = sqlx::query(
        "INSERT INTO enrolments VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
    );
    user.bind(user.account.bind(row)).execute(executor).await?;
    Ok(user)
}

/// The same for many, all or none, in one statement again.
async fn enrol_all(
    db: &mut SqliteConnection,
    persons: &[Person],
    now: i64,
) -> Result<(), EnrolError> {
    let row = |person| -> Result<Value, EnrolError> {
        let user = newcomer(person, now)?;
        let account = &user.account;
        let profile = &account.profile;
        Ok(json!([
            account.id,
            account.email,
            fold(&account.email),
            profile.name,
            profile.nickname,
            profile.zoneinfo,
            profile.locale,
            Value::Object(profile.extended.clone()).to_string(),
            account.status(),
            account.deactivated_at,
            account.delete_requested_at,
            user.id,
            fold(&person.user_name),
            person.external_id(),
            Value::Object(user.attributes.clone()).to_string(),
            now,
        ]))
    };
    let rows = persons
        .iter()
        .map(row)
        .collect::<Result<Value, EnrolError>>()?;
    sqlx::query(
        "INSERT INTO enrolments SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, \
         value ->> 6, value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13, \
         value ->> 14, value ->> 15 FROM json_each(?1)",
    )
    .bind(rows.to_string())
    .execute(db)
    .await?;
    Ok(())
}
