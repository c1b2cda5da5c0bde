//! Full pulls from a directory server.

use super::connect::Session;
use super::follow::Beginning;
use super::search::Referral;
use super::{DirectoryError, Full, Request, ServerInfo, follow, referral, search};
use crate::config::{Incremental, Ldap as Server};
use crate::model::{Entry, PullEnd};

/// A full pull under way.
pub(super) struct Started<'a> {
    request: Request<'a>,
    session: Session<'a>,
    searches: search::Started,
    beginning: Option<Beginning>,
}

/// Connects, binds and begins to search for the people.
pub(super) async fn start<'a>(
    server: &'a Server,
    request: Request<'a>,
) -> Result<Started<'a>, DirectoryError> {
    let mut session = Session::open(server).await?;
    // Before the entries are read: what changes meanwhile is told again by the next pull.
    let beginning = match request.incremental {
        Incremental::Off => None,
        // What other servers tell is not followed.
        _ if !server.follow_referrals.is_empty() => None,
        Incremental::WhereDeparturesShow | Incremental::On => {
            follow::begin(&mut session, request).await?
        }
    };
    let mut searches = session.searches(request, &request.source.search.filter_text);
    if let Some(Beginning::Newest { attribute, .. }) = &beginning {
        searches.attributes.push((*attribute).to_owned());
    }
    Ok(Started {
        request,
        session,
        searches: searches.start(),
        beginning,
    })
}

impl Started<'_> {
    /// Reads all entries that the search finds.
    pub(super) async fn read(self, each: &mut dyn FnMut(Entry)) -> Result<Full, DirectoryError> {
        let Started {
            request,
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
        let (server, origin) = (session.server, session.url.clone());
        session.close().await;
        let followed = referral::follow(server, request, &origin, found.referrals, each).await?;
        Ok(Full {
            end: PullEnd {
                entries: found.entries + followed.entries,
                changed: None,
                clean: all_read(server, &followed.left_out),
            },
            cookie,
        })
    }
}

/// Whether nothing is missing besides what is left out knowingly; else what is.
fn all_read(server: &Server, left_out: &[Referral]) -> Result<(), String> {
    /// So many of the places are named.
    const NAMED: usize = 3;
    let missing: Vec<&Referral> = left_out
        .iter()
        // A base that is missing altogether is no part that can be left out.
        .filter(|referral| referral.is_whole || !server.ignore_referrals)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut places: Vec<&str> = Vec::new();
    for referral in &missing {
        let place = referral
            .urls
            .first()
            .map_or("a place unnamed", String::as_str);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    let others = match places.len() > NAMED {
        true => " and others",
        false => "",
    };
    places.truncate(NAMED);
    Err(format!(
        "{} parts of the tree are on other servers and were not read: {}{others}; name a base below them, name their hosts in `follow_referrals`, or set `ignore_referrals = true`",
        missing.len(),
        places.join(", ")
    ))
}

/// Connects, binds and reads the root DSE.
pub(super) async fn probe(server: &Server) -> Result<ServerInfo, DirectoryError> {
    let mut session = Session::open(server).await?;
    let info = session.info().await?;
    session.close().await;
    Ok(info)
}
