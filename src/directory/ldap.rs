//! Full pulls from a directory server.

use super::connect::Session;
use super::follow::Beginning;
use super::{DirectoryError, Full, Request, ServerInfo, follow, search};
use crate::config::Ldap as Server;
use crate::model::{Entry, PullEnd};

/// Reads all entries that the search finds.
pub(super) async fn pull(
    server: &Server,
    request: Request<'_>,
    each: &mut dyn FnMut(Entry),
) -> Result<Full, DirectoryError> {
    let mut session = Session::open(server).await?;
    // Before the entries are read: what changes meanwhile is told again by the next pull.
    let beginning = if request.is_followed {
        follow::begin(&mut session, request).await?
    } else {
        None
    };
    let mut searches = session.searches(request, &request.source.search.filter_text);
    let mut newest = String::new();
    let (found, cookie) = match beginning {
        None => (search::run(searches, each).await?, None),
        Some(Beginning::Known(cookie)) => (search::run(searches, each).await?, Some(cookie)),
        Some(Beginning::Newest {
            attribute,
            containers,
        }) => {
            searches.attributes.push(attribute.to_owned());
            let mut each = |entry: Entry| {
                if let Ok(Some(time)) = entry.text(attribute)
                    && *newest < *time
                {
                    time.clone_into(&mut newest);
                }
                each(entry);
            };
            let found = search::run(searches, &mut each).await?;
            (found, follow::cookie_of_time(containers, &newest))
        }
    };
    session.close().await;
    let clean = match found.referrals.first() {
        Some(first) if !server.ignore_referrals => Err(format!(
            "{} parts of the tree are on other servers and were not read, the first at {first}; name a base below them, or set `ignore_referrals = true`",
            found.referrals.len()
        )),
        _ => Ok(()),
    };
    Ok(Full {
        end: PullEnd {
            entries: found.entries,
            changed: None,
            clean,
        },
        cookie,
    })
}

/// Connects, binds and reads the root DSE.
pub(super) async fn probe(server: &Server) -> Result<ServerInfo, DirectoryError> {
    let mut session = Session::open(server).await?;
    let info = session.info().await?;
    session.close().await;
    Ok(info)
}
