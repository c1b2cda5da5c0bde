//! Full pulls from a directory server.

use super::connect::Session;
use super::follow::{Beginning, Newest};
use super::search::Referral;
use super::{DirectoryError, Full, Request, ServerInfo, follow, referral, search};
use crate::config::{Incremental, Ldap as Server};
use crate::model::{Entry, PullEnd};
use url::Url;

/// A full pull under way.
pub(super) struct Started<'a> {
    request: Request<'a>,
    session: Session<'a>,
    searches: search::Started,
    beginning: Option<Beginning>,
    /// Why the source is not followed, though it is to be.
    unfollowed: Option<DirectoryError>,
    /// The servers that are left, should this one turn out to be away.
    others: Vec<Url>,
}

/// Connects, binds and begins to search for the people.
pub(super) async fn start<'a>(
    server: &'a Server,
    request: Request<'a>,
) -> Result<Started<'a>, DirectoryError> {
    let urls = Session::urls(server).await?;
    start_among(server, request, urls).await
}

/// The same with the first of these servers that is there.
async fn start_among<'a>(
    server: &'a Server,
    request: Request<'a>,
    mut urls: Vec<Url>,
) -> Result<Started<'a>, DirectoryError> {
    loop {
        let (place, mut session) = Session::open_among(server, &urls).await?;
        let others = urls.split_off(place + 1);
        // Before the entries are read: what changes meanwhile is told again by the next pull.
        let beginning = match request.incremental {
            Incremental::Off => Ok(None),
            // What other servers tell is not followed.
            _ if !server.follow_referrals.is_empty() => Ok(None),
            Incremental::WhereDeparturesShow | Incremental::On => {
                follow::begin(&mut session, request).await
            }
        };
        let (beginning, unfollowed) = match beginning {
            Ok(beginning) => (beginning, None),
            Err(error) if error.is_away() && !others.is_empty() => {
                pass_over(&error);
                urls = others;
                continue;
            }
            // It can be read in full all the same, or that fails by itself.
            Err(error @ DirectoryError::Search { .. }) => (None, Some(error)),
            Err(error @ DirectoryError::Broken { .. }) => {
                (_, session) = Session::open_among(server, &urls[place..]).await?;
                (None, Some(error))
            }
            Err(error) => return Err(error),
        };
        let mut searches = session.searches(request, &request.source.search.filter_text);
        if let Some(Beginning::Newest { attribute, .. }) = &beginning {
            searches.attributes.push((*attribute).to_owned());
        }
        return Ok(Started {
            request,
            session,
            searches: searches.start(),
            beginning,
            unfollowed,
            others,
        });
    }
}

/// Tells that a server which was taken does not serve after all.
pub(super) fn pass_over(error: &DirectoryError) {
    tracing::warn!(%error, "a server is passed over");
}

impl<'a> Started<'a> {
    /// Reads all entries that the search finds. As long as there was none, another server may
    /// take over.
    pub(super) async fn read(self, each: &mut dyn FnMut(Entry)) -> Result<Full, DirectoryError> {
        let mut started = self;
        loop {
            let (server, request) = (started.session.server, started.request);
            let others = std::mem::take(&mut started.others);
            let unfollowed = started.unfollowed.take();
            let mut has_begun = false;
            let mut each = |entry| {
                has_begun = true;
                each(entry);
            };
            match started.read_from_one(&mut each).await {
                Err(error) if error.is_away() && !has_begun && !others.is_empty() => {
                    pass_over(&error);
                    started = start_among(server, request, others).await?;
                }
                result => {
                    // A pull that fails tells why, which is the same most of the time.
                    if let (Ok(_), Some(error)) = (&result, unfollowed) {
                        tracing::warn!(%error, "the source cannot be followed");
                    }
                    return result;
                }
            }
        }
    }

    async fn read_from_one(self, each: &mut dyn FnMut(Entry)) -> Result<Full, DirectoryError> {
        let Started {
            request,
            session,
            searches,
            beginning,
            ..
        } = self;
        let (found, cookie) = match beginning {
            None => (searches.read(each).await?, None),
            Some(Beginning::Known(cookie)) => (searches.read(each).await?, Some(cookie)),
            Some(Beginning::Newest { attribute, around }) => {
                let mut newest = Newest::of(attribute);
                let mut each = |entry: Entry| {
                    newest.note(&entry);
                    each(entry);
                };
                let found = searches.read(&mut each).await?;
                let cookie = follow::cookie_of_time(around, &session.url, &newest);
                (found, cookie)
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
