//! What only the organization can tell about a plan is asked, for a limited number of accounts.

use futures_util::future::join_all;

use crate::config::Organization;
use crate::model::fold;
use crate::org::Reader;
use crate::plan::{Answers, Questions};

/// How many questions are asked at once; the pace of the API decides how many go out.
const AT_ONCE: usize = 32;

/// Asks the questions that a plan raises. What cannot be asked, or is not answered, is counted as
/// not looked at: whether it goes well shows when the operation is sent.
pub(super) async fn ask(
    reader: &Reader,
    questions: &Questions,
    organization: &Organization,
) -> Answers {
    let Questions {
        rights,
        unknown,
        addresses,
        creations,
    } = questions;
    let most = if organization.admin_key.is_some() {
        organization.forecast_accounts
    } else {
        0
    };
    let mut answers = Answers {
        unseen_rights: unknown + (rights.len() - rights.len().min(most)) as u64,
        unseen_addresses: (addresses.len() - addresses.len().min(most)) as u64,
        ..Answers::default()
    };
    let asked: Vec<_> = rights.iter().take(most).collect();
    for portion in asked.chunks(AT_ONCE) {
        let denied = portion
            .iter()
            .map(|(account, rights)| reader.denied(account, rights));
        for ((account, _), denied) in portion.iter().zip(join_all(denied).await) {
            match denied {
                Ok(denied) if denied.is_empty() => {}
                Ok(denied) => {
                    answers.denied.insert((*account).clone(), denied);
                }
                Err(error) => {
                    tracing::warn!("the rights over {account} are not known: {error}");
                    answers.unseen_rights += 1;
                }
            }
        }
    }
    let asked: Vec<_> = addresses.iter().take(most).collect();
    for portion in asked.chunks(AT_ONCE) {
        let holders = portion.iter().map(|address| reader.holder(address));
        for (address, holder) in portion.iter().zip(join_all(holders).await) {
            match holder {
                Ok(None) => {}
                Ok(Some(holder)) => {
                    answers.holders.insert(fold(address), holder);
                }
                Err(error) => {
                    tracing::warn!("who holds {address} is not known: {error}");
                    answers.unseen_addresses += 1;
                }
            }
        }
    }
    if *creations > 0 && reader.keeps_keys() {
        answers.max_users = Some(organization.max_users);
        answers.users = match reader.user_count().await {
            Ok(users) => Some(users),
            Err(error) => {
                tracing::warn!("how many users the directory has is not known: {error}");
                None
            }
        };
    }
    answers
}
