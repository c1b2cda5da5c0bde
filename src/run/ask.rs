//! What only the organization can tell about a plan is asked, for a limited number of accounts.

use std::collections::{BTreeSet, VecDeque};

use futures_util::future::join_all;

use super::LOOK_UPS;
use crate::config::Organization;
use crate::org::{ApiError, Reader};
use crate::plan::{Answers, Holder, Questions};

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
    let (holders, unseen_addresses) = holders(reader, addresses, most).await;
    let mut answers = Answers {
        denied: denied
            .into_iter()
            .filter(|(_, denied)| !denied.is_empty())
            .collect(),
        holders: holders.into_iter().collect(),
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

/// Who holds these addresses, and for how many that is not known. They are looked for one by one,
/// or among all managed accounts where that takes fewer requests.
async fn holders(
    reader: &Reader,
    addresses: &BTreeSet<String>,
    most: usize,
) -> (Vec<(String, Holder)>, u64) {
    let one_by_one = addresses.len().min(most) as u64;
    let lists = one_by_one > LOOK_UPS as u64
        && matches!(reader.account_pages().await, Ok(Some(pages)) if pages < one_by_one);
    let (found, unseen) = if lists {
        match reader.holders(addresses).await {
            Ok(found) => (found, 0),
            Err(error) => {
                tracing::warn!("who holds new addresses is not known: {error}");
                (Vec::new(), addresses.len() as u64)
            }
        }
    } else {
        let asked = each(addresses, most, async |address| {
            let holder = reader.holder(address).await?;
            Ok(holder.map(|holder| (address.clone(), holder)))
        });
        let (found, unseen) = asked.await;
        (found.into_iter().flatten().collect(), unseen)
    };
    let owned = each(found, most, async |(address, holder)| {
        let owner = reader.owner(&holder.account).await?;
        Ok((address, Holder { owner, ..holder }))
    });
    let (owned, unknown) = owned.await;
    (owned, unseen + unknown)
}

/// The answers for at most so many of these, and for how many there is none. Where nothing is
/// answered any more, nothing more is asked.
async fn each<Item, Answer>(
    all: impl IntoIterator<Item = Item>,
    most: usize,
    asked: impl AsyncFn(Item) -> Result<Answer, ApiError>,
) -> (Vec<Answer>, u64) {
    let mut all: VecDeque<Item> = all.into_iter().collect();
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
