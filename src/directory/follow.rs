//! Pulls of what changed since an earlier pull: by content synchronization (RFC 4533), by
//! Active Directory's update sequence numbers, or else by modifyTimestamp.
//!
//! All three see changes of the entries themselves. That a container above them was renamed or
//! moved shows in none of them, so the containers are listed each time; when they differ, the
//! source is read in full.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::ControlFlow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ldap3::controls::{
    Control, ControlType, EntryState, MakeCritical, RawControl, RefreshMode, SyncDone, SyncInfo,
    SyncRequest, SyncState, parse_syncinfo,
};
use ldap3::{LdapResult, ResultEntry};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::connect::{ServerKind, Session, describe, in_words, waited};
use super::ldap::pass_over;
use super::search::{self, Patience, Searches, decode, failed, malformed, scope};
use super::{Changes, DirectoryError, Event, Request, Selection};
use crate::config::{Incremental, Ldap as Server};
use crate::mapping::key_of_id;
use crate::model::{Entry, ExternalId, Scope};

/// The content synchronization control (RFC 4533 section 2.2).
pub(super) const CONTENT_SYNC: &str = "1.3.6.1.4.1.4203.1.9.1.1";
/// Deleted objects are found too (Active Directory, LDAP_SERVER_SHOW_DELETED_OID).
pub(super) const SHOW_DELETED: &str = "1.2.840.113556.1.4.417";
/// e-syncRefreshRequired (RFC 4533 section 2.6).
const REFRESH_REQUIRED: u32 = 4096;

/// 389 Directory Server's id of an entry.
const NS_UNIQUE_ID: &str = "nsUniqueId";
/// The filter that finds every entry.
const EVERYTHING: &str = "(objectClass=*)";
/// Above so many changes a full pull is the better way.
pub const MANY_CHANGES: usize = 10_000;

/// What containers are, wherever people may stand below one.
const CONTAINERS: &str = "(|(objectClass=organizationalUnit)(objectClass=organization)(objectClass=container)(objectClass=nsContainer)(objectClass=domain)(objectClass=dcObject)(objectClass=locality)(objectClass=country)(objectClass=builtinDomain))";

/// modifyTimestamp has seconds, and entries are not written in the order of their times: each
/// pull asks again for what was changed so many seconds before the newest that it has seen.
const OVERLAP: i64 = 300;

/// Where a pull of what changed begins.
#[derive(Debug, Serialize, Deserialize)]
struct Cookie {
    around: Around,
    way: Way,
}

/// What decides who the people are besides their entries: when it differs, the source is read in
/// full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Around {
    /// The digest of the containers below the bases.
    containers: String,
    /// The digest of the members of the groups that select people; empty where none do.
    members: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    /// The server's cookies (RFC 4533 section 2.1.2), one for each base, in base64.
    ContentSync(Vec<String>),
    /// The same, of a synchronization of all entries, whatever the filter.
    WholeContentSync(Vec<String>),
    /// The domain controller's invocation id, in base64, and its highest update sequence number.
    UpdateSequence { invocation: String, usn: u64 },
    /// Changed at this time or later, in generalized time (RFC 4517 section 3.3.13).
    Time {
        /// Which server: another one may lag behind it.
        server: String,
        since: String,
    },
}

/// In words, how the pull works that a cookie begins.
pub fn way(cookie: &str) -> &'static str {
    match serde_json::from_str::<Cookie>(cookie).map(|cookie| cookie.way) {
        Ok(Way::ContentSync(_) | Way::WholeContentSync(_)) => "by content synchronization",
        Ok(Way::UpdateSequence { .. }) => "by update sequence numbers",
        Ok(Way::Time { .. }) => "by the time of change (departures show in full pulls only)",
        Err(_) => "in a way of another version",
    }
}

/// A way to follow a source, before its first full pull.
pub(super) enum Beginning {
    /// The cookie is known before the pull.
    Known(String),
    /// It is the newest value of this attribute among the entries.
    Newest {
        /// `modifyTimestamp`, or Active Directory's `whenChanged`.
        attribute: &'static str,
        around: Around,
    },
}

/// What the newest time among the entries makes of a [`Beginning::Newest`].
pub(super) fn cookie_of_time(around: Around, server: &str, newest: &Newest) -> Option<String> {
    let way = Way::Time {
        server: server.to_owned(),
        since: earlier(&newest.time)?,
    };
    Cookie { around, way }.text()
}

/// The newest value of an attribute in generalized time among entries.
pub(super) struct Newest {
    attribute: &'static str,
    time: String,
}

impl Newest {
    pub(super) fn of(attribute: &'static str) -> Self {
        Newest {
            attribute,
            time: String::new(),
        }
    }

    pub(super) fn note(&mut self, entry: &Entry) {
        if let Ok(Some(time)) = entry.text(self.attribute)
            && *self.time < *time
        {
            time.clone_into(&mut self.time);
        }
    }
}

impl Cookie {
    fn text(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }
}

/// Where the pulls of what changes from now on begin.
pub(super) async fn begin(
    session: &mut Session<'_>,
    request: Request<'_>,
) -> Result<Option<Beginning>, DirectoryError> {
    let info = session.info().await?;
    let key = request.source.key.to_ascii_lowercase();
    let is_sync = info.controls.iter().any(|oid| oid == CONTENT_SYNC);
    let way = match (info.kind, key.as_str()) {
        (ServerKind::ActiveDirectory, "objectguid")
            if request.incremental == Incremental::On
                || shows_deleted(session, info.default_context.as_deref()).await? =>
        {
            update_sequence(session).await?
        }
        (ServerKind::OpenLdap, "entryuuid") if is_sync => {
            // A search that finds nothing ends with the cookie of now.
            let filter = format!("(&{}(!(objectClass=*)))", request.source.search.filter_text);
            let cookies = cookies_of_now(session, request, &filter).await?;
            cookies.map(Way::ContentSync)
        }
        (ServerKind::Ds389, "nsuniqueid") if is_sync => {
            // This server's cookie is good for the very same search only.
            let cookies = cookies_of_now(session, request, EVERYTHING).await?;
            cookies.map(Way::WholeContentSync)
        }
        _ => None,
    };
    if way.is_none() && request.incremental != Incremental::On {
        return Ok(None);
    }
    let around = around(session, request).await?;
    if let Some(way) = way {
        return Ok(Cookie { around, way }.text().map(Beginning::Known));
    }
    let attribute = time_attribute(info.kind);
    Ok(Some(Beginning::Newest { attribute, around }))
}

fn time_attribute(kind: ServerKind) -> &'static str {
    match kind {
        ServerKind::ActiveDirectory => "whenChanged",
        ServerKind::OpenLdap | ServerKind::Ds389 | ServerKind::Other => "modifyTimestamp",
    }
}

/// Reads what changed since the cookie.
pub(super) async fn changes(
    server: &Server,
    request: Request<'_>,
    cookie: &str,
    each: &mut dyn FnMut(Event) -> ControlFlow<()>,
) -> Result<Changes, DirectoryError> {
    let Ok(cookie) = serde_json::from_str::<Cookie>(cookie) else {
        return Ok(full("the cookie is of another version"));
    };
    let mut urls = Session::urls(server).await?;
    let (mut session, around) = loop {
        let (place, mut session) = Session::open_among(server, &urls).await?;
        let others = urls.split_off(place + 1);
        match around(&mut session, request).await {
            Ok(around) => break (session, around),
            Err(error) if error.is_away() && !others.is_empty() => {
                pass_over(&error);
                urls = others;
            }
            Err(error) => return Err(error),
        }
    };
    if around != cookie.around {
        session.close().await;
        return Ok(full(if around.members == cookie.around.members {
            "the containers below the bases have changed"
        } else {
            "the members of the groups have changed"
        }));
    }
    let mut is_too_much = false;
    let mut each = |event| {
        if !is_too_much {
            is_too_much = each(event).is_break();
        }
        match is_too_much {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    let mut reading = Reading {
        session: &mut session,
        request,
        around,
        each: &mut each,
    };
    let changes = match cookie.way {
        Way::ContentSync(cookies) => reading.content_sync(&cookies).await?,
        Way::WholeContentSync(cookies) => reading.whole_content_sync(&cookies).await?,
        Way::UpdateSequence { invocation, usn } => {
            reading.update_sequence(&invocation, usn).await?
        }
        Way::Time { server, .. } if server != reading.session.url => full("another server answers"),
        Way::Time { since, .. } => reading.time(&since).await?,
    };
    session.close().await;
    Ok(if is_too_much {
        full("so much has changed that a full pull is the better way")
    } else {
        changes
    })
}

fn full(why: &str) -> Changes {
    Changes::FullNeeded {
        why: why.to_owned(),
        is_behind: false,
    }
}

/// The containers at and below the bases, and the members of the groups.
async fn around(session: &mut Session<'_>, request: Request<'_>) -> Result<Around, DirectoryError> {
    let mut dns = Vec::new();
    if request.source.search.scope == Scope::Subtree {
        let searches = Searches {
            attributes: vec!["1.1".to_owned()],
            ..session.searches(request, CONTAINERS)
        };
        search::run(searches, &mut |entry| dns.push(entry.dn().to_owned())).await?;
    }
    dns.sort();
    dns.dedup();
    let mut digest = blake3::Hasher::new();
    for dn in dns {
        digest.update(dn.as_bytes()).update(b"\0");
    }
    let members = request.selection.map(Selection::fingerprint);
    Ok(Around {
        containers: digest.finalize().to_hex()[..32].to_owned(),
        members: members
            .map(|digest| BASE64.encode(digest))
            .unwrap_or_default(),
    })
}

/// The cookies with which synchronizations that begin now would go on.
async fn cookies_of_now(
    session: &mut Session<'_>,
    request: Request<'_>,
    filter: &str,
) -> Result<Option<Vec<String>>, DirectoryError> {
    let mut cookies = Vec::new();
    for (base, _) in &request.source.search.bases {
        let synchronization = Synchronization {
            base,
            scope: request.source.search.scope,
            filter,
            attributes: &["1.1".to_owned()],
            cookie: None,
        };
        let mut nothing = |_, _| ControlFlow::Continue(());
        match synchronization.run(session, &mut nothing).await? {
            Ok(Synced {
                cookie: Some(cookie),
                ..
            }) => cookies.push(BASE64.encode(cookie)),
            // Not everywhere where the server knows the control it serves it.
            Ok(_) | Err(_) => return Ok(None),
        }
    }
    Ok(Some(cookies))
}

/// The domain controller and its highest update sequence number of now.
async fn update_sequence(session: &mut Session<'_>) -> Result<Option<Way>, DirectoryError> {
    let info = session.info().await?;
    let (Some(service), Some(usn)) = (info.ds_service, info.highest_usn) else {
        return Ok(None);
    };
    let found = session
        .read(&service, &["invocationId"], Vec::new())
        .await?;
    let invocation = found.and_then(|entry| entry.values("invocationId").first().cloned());
    Ok(invocation.map(|invocation| Way::UpdateSequence {
        invocation: BASE64.encode(invocation),
        usn,
    }))
}

/// Where Active Directory keeps what was deleted in a domain.
fn deleted_objects(root: &str) -> String {
    format!("CN=Deleted Objects,{root}")
}

fn show_deleted() -> RawControl {
    RawControl {
        ctype: SHOW_DELETED.to_owned(),
        crit: true,
        val: None,
    }
}

/// Whether it may be seen what was deleted. Without the right to, a search there finds nothing,
/// and says so by nothing.
async fn shows_deleted(
    session: &mut Session<'_>,
    root: Option<&str>,
) -> Result<bool, DirectoryError> {
    let Some(root) = root else {
        return Ok(false);
    };
    let container = session
        .read(&deleted_objects(root), &["isDeleted"], vec![show_deleted()])
        .await?;
    Ok(container.is_some_and(|entry| !entry.values("isDeleted").is_empty()))
}

struct Reading<'s, 'a> {
    session: &'s mut Session<'a>,
    request: Request<'s>,
    around: Around,
    each: &'s mut dyn FnMut(Event) -> ControlFlow<()>,
}

impl Reading<'_, '_> {
    fn read(&self, way: Way, names_all: bool, shows_departures: bool) -> Changes {
        let around = self.around.clone();
        match (Cookie { around, way }).text() {
            Some(cookie) => Changes::Read {
                cookie,
                names_all,
                shows_departures,
            },
            None => full("the cookie cannot be kept"),
        }
    }

    async fn content_sync(&mut self, cookies: &[String]) -> Result<Changes, DirectoryError> {
        let filter = &self.request.source.search.filter_text;
        let attributes = self.request.attributes;
        let each = &mut *self.each;
        let mut tell = |id, told| {
            each(match told {
                Told::Changed(entry) => Event::Changed(entry),
                Told::Gone => Event::Gone(id),
                Told::Present => Event::Present(id),
            })
        };
        let synced = synchronize(
            self.session,
            self.request,
            filter,
            attributes,
            cookies,
            &mut tell,
        )
        .await?;
        Ok(match synced {
            Err(refusal) => refusal,
            Ok((_, true)) if cookies.len() > 1 => {
                full("the server does not know what was deleted below each of the bases")
            }
            Ok((next, _)) if goes_back(cookies, &next) => {
                behind("its cookie has gone back".to_owned())
            }
            Ok((next, names_all)) => self.read(Way::ContentSync(next), names_all, true),
        })
    }

    /// 389 Directory Server tells nothing of an entry that has changed so that the filter does
    /// not find it any more. So all that has changed is asked for, and then looked at through
    /// the filter.
    async fn whole_content_sync(&mut self, cookies: &[String]) -> Result<Changes, DirectoryError> {
        let mut touched = BTreeSet::new();
        let mut gone = BTreeSet::new();
        let mut note = |id, told| {
            match told {
                Told::Changed(_) => touched.insert(id),
                Told::Gone => gone.insert(id),
                Told::Present => false,
            };
            match touched.len() > MANY_CHANGES {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let attributes = &["1.1".to_owned()];
        let synced = synchronize(
            self.session,
            self.request,
            EVERYTHING,
            attributes,
            cookies,
            &mut note,
        );
        // This server never says that it has named all that is there; it names what is gone.
        let (next, _) = match synced.await? {
            Err(refusal) => return Ok(refusal),
            Ok(synced) => synced,
        };
        let mut touched: BTreeMap<ExternalId, [u8; 16]> = touched
            .into_iter()
            .filter_map(|id| Some((key_of_id(NS_UNIQUE_ID, id)?, id)))
            .collect();
        let keys: Vec<ExternalId> = touched.keys().cloned().collect();
        for chunk in keys.chunks(50) {
            let any: String = chunk
                .iter()
                .map(|key| format!("({NS_UNIQUE_ID}={key})"))
                .collect();
            let filter = &self.request.source.search.filter_text;
            let searches = self
                .session
                .searches(self.request, &format!("(&{filter}(|{any}))"));
            let each = &mut *self.each;
            search::run(searches, &mut |entry| {
                if let Ok(Some(key)) = entry.text(NS_UNIQUE_ID) {
                    touched.remove(&ExternalId::new(key.to_ascii_lowercase()));
                }
                let _ = each(Event::Changed(entry));
            })
            .await?;
        }
        for id in touched.into_values().chain(gone) {
            let _ = (self.each)(Event::Gone(id));
        }
        Ok(self.read(Way::WholeContentSync(next), false, true))
    }

    /// Everything that has a higher number than the last time. What the people's filter does
    /// not find below the bases, though it has changed, is not or no longer a person of ours.
    async fn update_sequence(
        &mut self,
        invocation: &str,
        usn: u64,
    ) -> Result<Changes, DirectoryError> {
        let now = match update_sequence(self.session).await? {
            Some(Way::UpdateSequence {
                invocation: theirs,
                usn: theirs_usn,
            }) if theirs == invocation => theirs_usn,
            _ => return Ok(full("another domain controller answers")),
        };
        if now < usn {
            return Ok(behind(
                "its highest update sequence number has gone back".to_owned(),
            ));
        }
        let Some(root) = self.session.info().await?.default_context else {
            return Ok(full("the domain's naming context is not shown"));
        };
        let guids = |mut searches: Searches, base: String, controls| {
            searches.bases = vec![base];
            searches.scope = Scope::Subtree;
            searches.attributes = vec!["objectGUID".to_owned()];
            searches.controls = controls;
            searches
        };
        let id = |entry: &Entry| {
            <[u8; 16]>::try_from(entry.values("objectGUID").first()?.as_slice()).ok()
        };
        let since = format!("(uSNChanged>={})", usn.saturating_add(1));
        // The whole domain first: who changes between the two searches is found by the second.
        let searches = self.session.searches(self.request, &since);
        let mut changed = Vec::new();
        let every = guids(searches, root.clone(), Vec::new());
        search::run(every, &mut |entry| changed.extend(id(&entry))).await?;
        let filter = format!("(&{}{since})", self.request.source.search.filter_text);
        let people = self.session.searches(self.request, &filter);
        let each = &mut *self.each;
        let mut is_person = HashSet::new();
        let found = search::run(people, &mut |entry| {
            is_person.extend(id(&entry));
            let _ = each(Event::Changed(entry));
        })
        .await?;
        if !found.referrals.is_empty() && !self.session.server.ignore_referrals {
            return Ok(elsewhere());
        }
        changed.retain(|id| !is_person.contains(id));
        let shows_departures = shows_deleted(self.session, Some(&root)).await?;
        if !shows_departures && self.request.incremental != Incremental::On {
            return Ok(full("the bind DN may no longer see what was deleted"));
        }
        if shows_departures {
            let searches = self
                .session
                .searches(self.request, &format!("(&(isDeleted=TRUE){since})"));
            let gone = guids(searches, deleted_objects(&root), vec![show_deleted()]);
            search::run(gone, &mut |entry| changed.extend(id(&entry))).await?;
        }
        for id in changed {
            let _ = (self.each)(Event::Gone(id));
        }
        let way = Way::UpdateSequence {
            invocation: invocation.to_owned(),
            usn: now,
        };
        Ok(self.read(way, false, shows_departures))
    }

    async fn time(&mut self, since: &str) -> Result<Changes, DirectoryError> {
        let attribute = time_attribute(self.session.info().await?.kind);
        let filter = format!(
            "(&{}({attribute}>={since}))",
            self.request.source.search.filter_text
        );
        let mut searches = self.session.searches(self.request, &filter);
        searches.attributes.push(attribute.to_owned());
        let mut newest = Newest::of(attribute);
        let each = &mut *self.each;
        let found = search::run(searches, &mut |entry| {
            newest.note(&entry);
            let _ = each(Event::Changed(entry));
        })
        .await?;
        if !found.referrals.is_empty() && !self.session.server.ignore_referrals {
            return Ok(elsewhere());
        }
        let next = earlier(&newest.time).filter(|next| **next > *since);
        let way = Way::Time {
            server: self.session.url.clone(),
            since: next.unwrap_or_else(|| since.to_owned()),
        };
        Ok(self.read(way, false, false))
    }
}

fn elsewhere() -> Changes {
    full("parts of the tree are on other servers")
}

fn behind(why: String) -> Changes {
    Changes::FullNeeded {
        why: format!(
            "the server is behind what was read of it before ({why}): it was restored from a backup, or is a replica that lags"
        ),
        is_behind: true,
    }
}

/// How a content synchronization ended.
struct Synced {
    cookie: Option<Vec<u8>>,
    /// Whether all entries that are there were named.
    names_all: bool,
}

/// What a synchronization tells of an entry.
enum Told {
    Changed(Entry),
    Gone,
    Present,
}

/// Takes what is told of the entry with an id.
type Tell<'a> = dyn FnMut([u8; 16], Told) -> ControlFlow<()> + 'a;

/// Synchronizes base after base: the cookies for the next time, and whether all entries that are
/// there were named. The inner error is a refusal that a full pull answers.
async fn synchronize(
    session: &mut Session<'_>,
    request: Request<'_>,
    filter: &str,
    attributes: &[String],
    cookies: &[String],
    tell: &mut Tell<'_>,
) -> Result<Result<(Vec<String>, bool), Changes>, DirectoryError> {
    let search = &request.source.search;
    if cookies.len() != search.bases.len() {
        return Ok(Err(full("the cookies are of other bases")));
    }
    let mut next = Vec::new();
    let mut names_all = false;
    for (cookie, (base, _)) in cookies.iter().zip(&search.bases) {
        let Ok(octets) = BASE64.decode(cookie) else {
            return Ok(Err(full("the cookie is damaged")));
        };
        let synchronization = Synchronization {
            base,
            scope: search.scope,
            filter,
            attributes,
            cookie: Some(octets),
        };
        match synchronization.run(session, tell).await? {
            Err(refusal) => return Ok(Err(refusal)),
            Ok(synced) => {
                names_all |= synced.names_all;
                // Without a new one the old one stays good (RFC 4533 section 3.3).
                next.push(match synced.cookie {
                    Some(octets) => BASE64.encode(octets),
                    None => cookie.clone(),
                });
            }
        }
    }
    Ok(Ok((next, names_all)))
}

/// One search with the content synchronization control in the mode refreshOnly (RFC 4533
/// section 3.3).
struct Synchronization<'a> {
    base: &'a str,
    scope: Scope,
    filter: &'a str,
    attributes: &'a [String],
    cookie: Option<Vec<u8>>,
}

impl Synchronization<'_> {
    async fn run(
        self,
        session: &mut Session<'_>,
        tell: &mut Tell<'_>,
    ) -> Result<Result<Synced, Changes>, DirectoryError> {
        let Synchronization {
            base,
            filter,
            attributes,
            cookie,
            ..
        } = self;
        let wait = session.server.timeout;
        let url = session.url.clone();
        let broken = |entries: u64, why: String| DirectoryError::Broken {
            url: url.clone(),
            entries,
            why,
        };
        let control = SyncRequest {
            mode: RefreshMode::RefreshOnly,
            cookie,
            reload_hint: false,
        };
        session.ldap.with_controls(control.critical());
        let start =
            session
                .ldap
                .streaming_search(base, scope(self.scope), filter, attributes.to_vec());
        let mut stream = timeout(wait, start)
            .await
            .map_err(|_| broken(0, waited(wait)))?
            .map_err(|error| broken(0, in_words(&error)))?;
        let mut entries = 0;
        let mut names_all = false;
        let patience = Patience::new(wait);
        while let Some(item) = patience
            .wait(stream.next())
            .await
            .map_err(|why| broken(entries, why))?
            .map_err(|error| broken(entries, in_words(&error)))?
        {
            entries += 1;
            if item.is_ref() && !session.server.ignore_referrals {
                return Ok(Err(elsewhere()));
            }
            let told = read(item, &mut names_all).ok_or_else(|| malformed(&url, entries))?;
            for (id, told) in told {
                if tell(id, told).is_break() {
                    return Ok(Err(full("too much has changed")));
                }
            }
        }
        let result = stream.finish().await;
        Ok(match result.rc {
            0 => {
                let done = done(&result).ok_or_else(|| {
                    broken(
                        entries,
                        "the synchronization ends without its control".to_owned(),
                    )
                })?;
                Ok(Synced {
                    cookie: done.cookie,
                    names_all: names_all || !done.refresh_deletes,
                })
            }
            REFRESH_REQUIRED => Err(full(
                "the server no longer knows what has changed since the cookie (e-syncRefreshRequired)",
            )),
            // unwillingToPerform is how OpenLDAP says that the cookie is newer than its data.
            53 => Err(behind(describe(&result))),
            // Limits, a control that is not served there, a cookie that is refused.
            2 | 3 | 4 | 11 | 12 => Err(full(&format!(
                "the server refuses to tell what has changed: {}",
                describe(&result)
            ))),
            _ => return Err(failed(&url, base, entries, &result)),
        })
    }
}

/// What a message of a synchronization says; `None` for one that is malformed.
fn read(item: ResultEntry, names_all: &mut bool) -> Option<Vec<([u8; 16], Told)>> {
    let id = |octets: &[u8]| <[u8; 16]>::try_from(octets).ok();
    if item.is_ref() {
        return Some(Vec::new());
    }
    if item.is_intermediate() {
        return match search::guarded(|| parse_syncinfo(item))? {
            SyncInfo::SyncIdSet {
                refresh_deletes,
                sync_uuids,
                ..
            } => sync_uuids
                .iter()
                .map(|uuid| {
                    let told = match refresh_deletes {
                        true => Told::Gone,
                        false => Told::Present,
                    };
                    Some((id(uuid)?, told))
                })
                .collect(),
            SyncInfo::RefreshPresent { .. } => {
                *names_all = true;
                Some(Vec::new())
            }
            SyncInfo::RefreshDelete { .. } | SyncInfo::NewCookie(_) => Some(Vec::new()),
        };
    }
    let state = item.1.iter().find_map(|Control(kind, raw)| {
        let is_state = matches!(kind, Some(ControlType::SyncState));
        is_state.then(|| search::guarded(|| raw.parse::<SyncState>()))
    })??;
    let uuid = id(&state.entry_uuid)?;
    let told = match state.state {
        EntryState::Add | EntryState::Modify => Told::Changed(decode(item)?),
        EntryState::Present => Told::Present,
        EntryState::Delete => Told::Gone,
    };
    Some(vec![(uuid, told)])
}

fn done(result: &LdapResult) -> Option<SyncDone> {
    result.ctrls.iter().find_map(|Control(kind, raw)| {
        let is_done = matches!(kind, Some(ControlType::SyncDone));
        is_done.then(|| search::guarded(|| raw.parse::<SyncDone>()))?
    })
}

/// Whether a cookie of OpenLDAP has an older state of one of the servers of a replicated directory
/// than before: `rid=…,csn=TIME#COUNT#SERVER#MOD;…`, which is documented, if not promised.
fn goes_back(before: &[String], after: &[String]) -> bool {
    let states = |cookie: &String| -> BTreeMap<String, String> {
        let octets = BASE64.decode(cookie).unwrap_or_default();
        let text = String::from_utf8(octets).unwrap_or_default();
        let states = text.split(',').find_map(|part| part.strip_prefix("csn="));
        states
            .unwrap_or_default()
            .split(';')
            .filter_map(|csn| Some((csn.split('#').nth(2)?.to_owned(), csn.to_owned())))
            .collect()
    };
    before.iter().zip(after).any(|(before, after)| {
        let after = states(after);
        states(before)
            .iter()
            .any(|(server, csn)| after.get(server).is_some_and(|now| now < csn))
    })
}

/// A generalized time (RFC 4517 section 3.3.13), [`OVERLAP`] earlier and with seconds only.
fn earlier(time: &str) -> Option<String> {
    const FORM: &str = "%Y%m%d%H%M%S";
    let digits = time.get(..14)?;
    // Servers write these times in UTC.
    time.ends_with('Z').then_some(())?;
    let time = chrono::NaiveDateTime::parse_from_str(digits, FORM).ok()?;
    // An entry may have a time to come, after a clock that was wrong: nothing would be found then.
    let time = time.min(chrono::Utc::now().naive_utc());
    let earlier = time - chrono::TimeDelta::seconds(OVERLAP);
    Some(format!("{}Z", earlier.format(FORM)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_time_is_put_earlier_by_the_overlap() {
        for (time, wanted) in [
            ("20260301000100Z", Some("20260228235600Z")),
            ("20260301000100.123456Z", Some("20260228235600Z")),
            ("20260301000100.0Z", Some("20260228235600Z")),
            ("20260301000100+0100", None),
            ("202603010001Z", None),
            ("", None),
        ] {
            assert_eq!(earlier(time).as_deref(), wanted, "{time}");
        }
    }

    #[test]
    fn a_cookie_goes_back_when_one_server_s_state_does() {
        let cookie = |states: &str| vec![BASE64.encode(format!("rid=000,csn={states}"))];
        let (one, two) = (
            "20260101000001.000000Z#000000#001#000000",
            "20260101000002.000000Z#000000#002#000000",
        );
        let older = "20260101000000.000000Z#000000#001#000000";
        let both = cookie(&format!("{one};{two}"));
        for (after, goes) in [
            (both.clone(), false),
            (cookie(&format!("{two};{one}")), false),
            (cookie(&format!("{older};{two}")), true),
            (cookie(one), false),
            (vec![BASE64.encode("host#dn:base:filter#25")], false),
        ] {
            assert_eq!(goes_back(&both, &after), goes, "{after:?}");
        }
    }
}
