//! Full pulls from a directory server.

use super::connect::Session;
use super::follow::Beginning;
use super::{DirectoryError, Full, Request, ServerInfo, follow, search};
use crate::config::{Incremental, Ldap as Server};
use crate::model::{Entry, PullEnd};

/// A full pull under way.
pub(super) struct Started<'a> {
    session: Session<'a>,
    searches: search::Started,
    beginning: Option<Beginning>,
}

/// Connects, binds and begins to search for the people.
pub(super) async fn start<'a>(
    server: &'a Server,
    request: Request<'_>,
) -> Result<Started<'a>, DirectoryError> {
    let mut session = Session::open(server).await?;
    // Before the entries are read: what changes meanwhile is told again by the next pull.
    let beginning = match request.incremental {
        Incremental::Off => None,
        Incremental::WhereDeparturesShow | Incremental::On => {
            follow::begin(&mut session, request).await?
        }
    };
    let mut searches = session.searches(request, &request.source.search.filter_text);
    if let Some(Beginning::Newest { attribute, .. }) = &beginning {
        searches.attributes.push((*attribute).to_owned());
    }
    Ok(Started {
        session,
        searches: searches.start(),
        beginning,
    })
}

impl Started<'_> {
    /// Reads all entries that the search finds.
    pub(super) async fn read(self, each: &mut dyn FnMut(Entry)) -> Result<Full, DirectoryError> {
        let Started {
            session,
            searches,
            beginning,
        } = self;
        let (found, cookie) = match beginning {
            None => (searches.read(each).await?, None),
            Some(Beginning::Known(cookie)) => (searches.read(each).await?, Some(cookie)),
            Some(Beginning::Newest { attribute, around }) => {
                let mut newest = String::new();
                let mut each = |entry: Entry| {
                    if let Ok(Some(time)) = entry.text(attribute)
                        && *newest < *time
                    {
                        time.clone_into(&mut newest);
                    }
                    each(entry);
                };
                let found = searches.read(&mut each).await?;
                (found, follow::cookie_of_time(around, &newest))
            }
        };
        let server = session.server;
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
}

/// Connects, binds and reads the root DSE.
pub(super) async fn probe(server: &Server) -> Result<ServerInfo, DirectoryError> {
    let mut session = Session::open(server).await?;
    let info = session.info().await?;
    session.close().await;
    Ok(info)
}
