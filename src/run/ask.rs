//! What only the organization can tell about a plan is asked, for a limited number of accounts.

use futures_util::future::join_all;

use crate::config::Organization;
use crate::org::{ApiError, Reader};
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
    let denied = each(rights, most, async |(account, rights)| {
        Ok((account.clone(), reader.denied(account, rights).await?))
    });
    let (denied, unseen_rights) = denied.await;
    let holders = each(addresses, most, async |address| {
        Ok((address.clone(), reader.holder(address).await?))
    });
    let (holders, unseen_addresses) = holders.await;
    let mut answers = Answers {
        denied: denied
            .into_iter()
            .filter(|(_, denied)| !denied.is_empty())
            .collect(),
        holders: holders
            .into_iter()
            .filter_map(|(address, holder)| Some((address, holder?)))
            .collect(),
        unseen_rights: unseen_rights + unknown,
        unseen_addresses,
        ..Answers::default()
    };
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

/// The answers for at most so many of these, and for how many there is none. Where nothing is
/// answered any more, nothing more is asked.
async fn each<Item, Answer>(
    all: impl IntoIterator<Item = Item>,
    most: usize,
    asked: impl AsyncFn(Item) -> Result<Answer, ApiError>,
) -> (Vec<Answer>, u64) {
    let mut all: std::collections::VecDeque<Item> = all.into_iter().collect();
    let count = all.len();
    let mut answers = Vec::new();
    let mut left = most;
    while left > 0 && !all.is_empty() {
        let portion = left.min(AT_ONCE).min(all.len());
        left -= portion;
        let answered = join_all(all.drain(..portion).map(|item| asked(item))).await;
        let before = answers.len();
        let mut first_error = None;
        for answer in answered {
            match answer {
                Ok(answer) => answers.push(answer),
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        if let Some(error) = first_error {
            tracing::warn!("not everything can be foreseen: {error}");
        }
        if answers.len() == before {
            break;
        }
    }
    let unseen = (count - answers.len()) as u64;
    (answers, unseen)
}
