//! What the sources say now: read in full, or, where a cursor of an earlier run allows it, only
//! what changed since.
//!
//! Floor 6. After a pull the database knows all that a source said: of most people it is what
//! stands in their account's row; of the others it is kept as a *deviation*. So a pull of what
//! changed gives the same plan as a full one. A source is read in full where there is no
//! continuing, and every `full_every`, which also checks the pulls in between.

mod person;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;

use crate::apply::Watch;
use crate::config::{Incremental, Source, SourceScope};
use crate::directory::{
    self, Changes, DirectoryError, Event, MANY_CHANGES, Place, Request, Selection, Sought, Started,
};
use crate::mapping::{
    Excluded, Exclusions, Mapping, NotMapped, Unmapped, key_of_id, octets_of_key,
};
use crate::model::{
    Cause, Complete, Cursor, DesiredAccount, Digest, Entry, ExternalId, ManagedAccount, PullEnd,
    SourceName, Timestamp, Whereabouts,
};
use crate::plan::{Comparison, Desired, Deviation, Index, Notice, Noticed, Pulls, Said};
use crate::snapshot::{Snapshot, SnapshotError};

pub use person::pull_person;

/// What the mapping makes of an entry.
pub type Mapped = Result<DesiredAccount, Box<Unmapped>>;

/// How much is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What changed, where the sources can tell; in full where it is time for it.
    Changes,
    /// Everything.
    Full,
}

/// So many ids of entries that are gone or still there are more than any directory has changes.
const MANY_IDS: usize = 10_000_000;

/// Why the sources could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// A source could not be read.
    #[error("source `{source_name}`: {error}")]
    Directory {
        /// The source.
        source_name: SourceName,
        /// What went wrong.
        error: Box<DirectoryError>,
    },
    /// The database.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// Nobody is called so.
    #[error(
        "nobody in scope, and no account, has `{0}` as key, e-mail address, user name or DN; `dirsyncd map DN` shows what becomes of an entry"
    )]
    Nobody(String),
    /// Several are called so.
    #[error("`{who}` may be several people; name one by the key: {}", people.join("; "))]
    Several {
        /// What was asked for.
        who: String,
        /// The people.
        people: Vec<String>,
    },
}

/// A source with its mapping, and what decides whether it can be followed.
#[derive(Clone, Copy)]
pub struct Sourced<'a> {
    /// The source.
    pub source: &'a Source,
    /// Its mapping.
    pub mapping: &'a Mapping,
    /// Who is selected, where the source selects by groups.
    pub selection: Option<&'a Selection>,
    /// Of all that its pulls depend on; [`Selection::fingerprint`] is the cookie's business.
    pub fingerprint: Digest,
}

impl<'a> Sourced<'a> {
    fn request(self, attributes: &'a [String]) -> Request<'a> {
        Request {
            source: self.source,
            selection: self.selection,
            attributes,
            incremental: self.incremental(),
        }
    }

    fn incremental(&self) -> Incremental {
        match self.mapping.untrackable() {
            Some(_) => Incremental::Off,
            None => self.source.incremental,
        }
    }

    /// The attributes to ask for.
    fn attributes(&self) -> Vec<String> {
        directory::wanted(self.mapping.attributes(), self.selection)
    }
}

/// Resolves the groups of each source that selects by them.
pub async fn selections(
    sources: impl Iterator<Item = &Source>,
) -> Result<Vec<Option<Selection>>, PullError> {
    let mut selections = Vec::new();
    for source in sources {
        let selection = directory::select(source).await;
        selections.push(selection.map_err(|error| told(source, error))?);
    }
    Ok(selections)
}

/// Finds out where these people are, whom no pull has shown: into `desired`. `accepted` are the
/// scopes that were in force at the last run.
pub async fn locate(
    sources: &[Sourced<'_>],
    accepted: &BTreeMap<SourceName, SourceScope>,
    sought: Vec<&ManagedAccount>,
    desired: &mut Desired,
    now: Timestamp,
) {
    let mut by_source: BTreeMap<&SourceName, Vec<&ManagedAccount>> = BTreeMap::new();
    for account in sought {
        by_source.entry(&account.source).or_default().push(account);
    }
    for (name, accounts) in by_source {
        let Some(sourced) = sources.iter().find(|one| one.source.name == *name) else {
            // The source itself was taken out of the configuration.
            let rescoped = accounts.iter().map(|account| account.key.clone());
            let out = Whereabouts::Out(Cause::Rescoped);
            desired
                .whereabouts
                .extend(rescoped.map(|key| (key, out.clone())));
            continue;
        };
        let people: Vec<(&ExternalId, &str)> = accounts
            .iter()
            .map(|account| (&account.key, account.dn.as_str()))
            .collect();
        match locate_in(*sourced, accepted.get(name), &people, now).await {
            Ok(found) => desired.whereabouts.extend(found),
            Err(error) => {
                desired.unlocated.insert(name.clone(), error.to_string());
            }
        }
    }
}

/// Where these people of one source are, each known by key and last DN.
pub async fn whereabouts(
    sourced: Sourced<'_>,
    people: &[(&ExternalId, &str)],
    now: Timestamp,
) -> Result<HashMap<ExternalId, Whereabouts>, PullError> {
    locate_in(sourced, None, people, now)
        .await
        .map_err(|error| told(sourced.source, error))
}

/// Reads a source in full, and tells the key and DN of everybody in scope who has a key; or why
/// the pull was not complete.
pub async fn everybody(
    sourced: Sourced<'_>,
    now: Timestamp,
    watch: &dyn Watch,
    each: &mut dyn FnMut(ExternalId, &str),
) -> Result<Result<(), String>, PullError> {
    let attributes = sourced.attributes();
    let request = Request {
        incremental: Incremental::Off,
        ..sourced.request(&attributes)
    };
    watch.reading(&sourced.source.name);
    let mut read = 0;
    let mut without_key = 0_u64;
    let mut each = |entry: Entry| {
        read += 1;
        watch.entries_read(read);
        match observed(sourced.mapping.map(&entry, now)) {
            Ok(mapped) => match mapped_key(&mapped) {
                Some(key) => each(key, entry.dn()),
                None => without_key += 1,
            },
            Err(_excluded) => {}
        }
    };
    let work = async { directory::start(request).await?.read(&mut each).await };
    let full = work.await.map_err(|error| told(sourced.source, error))?;
    Ok(match full.end.clean {
        Ok(()) if without_key > 0 => Err(format!("entries without a usable key: {without_key}")),
        clean => clean,
    })
}

/// The same, with regard to the scope that was in force at the last run.
async fn locate_in(
    sourced: Sourced<'_>,
    accepted: Option<&SourceScope>,
    people: &[(&ExternalId, &str)],
    now: Timestamp,
) -> Result<HashMap<ExternalId, Whereabouts>, DirectoryError> {
    let Sourced {
        source, mapping, ..
    } = sourced;
    let key_of = |entry: &Entry| mapping.key(entry);
    let sought: HashMap<ExternalId, Sought> = people
        .iter()
        .map(|(key, dn)| {
            let sought = Sought {
                key: octets_of_key(&source.key, key),
                dn: (*dn).to_owned(),
            };
            ((*key).clone(), sought)
        })
        .collect();
    let attributes = sourced.attributes();
    let found = directory::locate(sourced.request(&attributes), &sought, &key_of).await?;
    let mut whereabouts: HashMap<ExternalId, Whereabouts> = found
        .into_iter()
        .map(|(key, place)| {
            let out = match place {
                Place::InScope(entry) if mapping.excluded(&entry, now).is_some() => {
                    Whereabouts::Out(Cause::Excluded)
                }
                Place::InScope(_) => Whereabouts::InScope,
                Place::Excluded => Whereabouts::Out(Cause::Excluded),
                Place::Ungrouped => Whereabouts::Out(Cause::Ungrouped),
                Place::Unmatched => Whereabouts::Out(Cause::Unmatched),
                Place::Elsewhere => Whereabouts::Out(Cause::MovedOut),
                Place::Nowhere => Whereabouts::Out(Cause::Deleted),
                Place::Unreadable(why) => Whereabouts::Unreadable(why),
            };
            (key, out)
        })
        .collect();
    // What the former configuration would make of those who are out now.
    let Some(accepted) = accepted.filter(|accepted| **accepted != source.scope()) else {
        return Ok(whereabouts);
    };
    let is_out = |whereabouts: &Whereabouts| matches!(whereabouts, Whereabouts::Out(_));
    let places = source.scope().places;
    let is_known = |place: &String| accepted.places.contains(place);
    let is_elsewhere = !places.iter().any(is_known)
        || accepted.key != source.key
        || accepted.bind != source.scope().bind;
    let former = source.with_scope(accepted).and_then(|former| {
        let exclusions = Exclusions::compile(&former.search).ok()?;
        Some((former, exclusions))
    });
    let Some((former, exclusions)) = former.filter(|_| !is_elsewhere) else {
        // Other servers, another key, or another reader, who may see less: nobody is to be found
        // again.
        for out in whereabouts.values_mut().filter(|out| is_out(out)) {
            *out = Whereabouts::Out(Cause::Rescoped);
        }
        return Ok(whereabouts);
    };
    let gone = Whereabouts::Out(Cause::Deleted);
    let sought: HashMap<ExternalId, Sought> = sought
        .into_iter()
        .filter(|(key, _)| {
            let now = whereabouts.get(key);
            now.is_some_and(is_out) && now != Some(&gone)
        })
        .collect();
    let selection = match directory::select(&former).await {
        // Where a group cannot be read any more, all are taken to have been selected.
        Err(DirectoryError::Group { .. }) => Some(Selection::default()),
        selection => selection?,
    };
    let read = attributes.iter().map(String::as_str);
    let read = read.chain(exclusions.attributes()).map(str::to_owned);
    let attributes = directory::wanted(read.collect(), selection.as_ref());
    let request = Request {
        source: &former,
        selection: selection.as_ref(),
        ..sourced.request(&attributes)
    };
    let found = match directory::locate(request, &sought, &key_of).await {
        // A former base is there no more, so it cannot be said who was in scope.
        Err(DirectoryError::Search { code: 32, .. }) => {
            let rescoped = || Whereabouts::Out(Cause::Rescoped);
            whereabouts.extend(sought.into_keys().map(|key| (key, rescoped())));
            return Ok(whereabouts);
        }
        found => found?,
    };
    for (key, place) in found {
        if matches!(place, Place::InScope(entry) if !exclusions.excludes(&entry, now)) {
            whereabouts.insert(key, Whereabouts::Out(Cause::Rescoped));
        }
    }
    Ok(whereabouts)
}

/// What all sources say.
#[derive(Debug)]
pub struct Pulled {
    /// What differs from the snapshot.
    pub desired: Desired,
    /// Where the next pulls continue.
    pub cursors: BTreeMap<SourceName, Cursor>,
    /// What is to be told about how the sources were read.
    pub notices: Vec<Notice>,
}

/// Reads all sources, which come in order of precedence.
///
/// `settled` are accounts that stand otherwise than in the database.
pub async fn pull(
    sources: &[Sourced<'_>],
    snapshot: &mut Snapshot,
    settled: &[ManagedAccount],
    depth: Depth,
    now: Timestamp,
    watch: &dyn Watch,
) -> Result<Pulled, PullError> {
    let mut round = Round {
        snapshot,
        settled,
        now,
        watch,
        read: 0,
        notices: Vec::new(),
    };
    let mut cursors = round.snapshot.cursors().await?;
    let mut ways = Vec::new();
    // Whoever has left a source may be in a later one, where nothing changed.
    let mut may_have_lost = false;
    for sourced in sources {
        let source = sourced.source;
        let way = match cursors.remove(&source.name) {
            Some(cursor) if sourced.incremental() != Incremental::Off => {
                round.follow(*sourced, cursor).await?
            }
            _ => Way::Full { distrust: None },
        };
        let way = match way {
            Way::Followed(followed)
                if depth == Depth::Full || is_due(&followed.cursor, source, now) =>
            {
                Way::Checked(followed)
            }
            Way::Followed(_) if may_have_lost => Way::Full { distrust: None },
            way => way,
        };
        may_have_lost |= match &way {
            Way::Followed(followed) => !followed.gone.is_empty(),
            Way::Full { .. } | Way::Checked(_) => true,
        };
        ways.push((*sourced, way));
    }
    let (desired, ends) = round.compare(&ways).await?;
    let missed = round.missed(&ways, &desired).await?;
    round.notices.extend(missed);
    let mut pulled = Pulled {
        cursors: BTreeMap::new(),
        notices: round.notices,
        desired,
    };
    let untraceable = pulled.desired.untraceable();
    for ((sourced, way), end) in ways.into_iter().zip(ends) {
        let name = &sourced.source.name;
        let cursor = match way {
            Way::Followed(Followed {
                cookie,
                entries,
                cursor,
                ..
            }) => Some(Cursor {
                cookie,
                entries,
                ..cursor
            }),
            Way::Full { .. } | Way::Checked(_) => {
                let is_complete = matches!(pulled.desired.pulls.get(name), Some(Ok(_)));
                let is_traceable = is_complete && !untraceable.contains(name);
                end.cookie.filter(|_| is_traceable).map(|cookie| Cursor {
                    cookie,
                    fingerprint: sourced.fingerprint,
                    full_at: now,
                    entries: end.people,
                })
            }
        };
        if let Some(cursor) = cursor {
            pulled.cursors.insert(name.clone(), cursor);
        }
    }
    Ok(pulled)
}

/// Whether the source is to be read in full again. A clock that was put back does not put it
/// off.
fn is_due(cursor: &Cursor, source: &Source, now: Timestamp) -> bool {
    !(cursor.full_at..cursor.full_at + source.full_every).contains(&now)
}

/// How a source is read in this run.
enum Way {
    /// Only what changed.
    Followed(Followed),
    /// In full.
    Full {
        /// Why whoever is missing is not believed to have left.
        distrust: Option<String>,
    },
    /// In full, and what changed is checked against it.
    Checked(Followed),
}

/// How a source's reading ended.
struct End {
    /// Where the next pull may continue, after a full one.
    cookie: Option<String>,
    /// How many people it has, after a full one.
    people: u64,
}

/// What changed in a source, together with what was known of it.
struct Followed {
    cursor: Cursor,
    /// What the source said before beyond the accounts.
    deviations: Vec<Deviation>,
    /// The entries that were added or changed.
    changed: BTreeMap<ExternalId, Mapped>,
    /// The people of the source whose entry is gone.
    gone: BTreeSet<ExternalId>,
    /// How many people the source has now.
    entries: u64,
    cookie: String,
    /// Whether it would have been shown that an entry is gone.
    shows_departures: bool,
}

impl Followed {
    /// The people of whom it does not suffice to look at the account.
    fn concerned(&self) -> impl Iterator<Item = &ExternalId> {
        let deviations = self.deviations.iter().map(|deviation| &deviation.key);
        deviations.chain(self.changed.keys()).chain(&self.gone)
    }

    /// Tells the comparison what the source says, all but what it is presumed to say.
    fn tell(&self, source: &SourceName, comparison: &mut Comparison) {
        let is_news = |key| self.changed.contains_key(key) || self.gone.contains(key);
        for Deviation { key, said, .. } in &self.deviations {
            // That somebody was gone is old news where a return would not be shown either.
            if is_news(key) || (*said == Said::Gone && !self.shows_departures) {
                continue;
            }
            comparison.forget(source, key);
            match said {
                Said::Wants(person) => comparison.observe(Ok(person.clone())),
                Said::Unmapped(unmapped) => comparison.observe(Err(Box::new(unmapped.clone()))),
                Said::Gone => {}
            }
        }
        for key in &self.gone {
            comparison.forget(source, key);
        }
        for (key, mapped) in &self.changed {
            comparison.forget(source, key);
            comparison.observe(mapped.clone());
        }
    }
}

/// What the directory said of what changed, by the people's keys.
struct News {
    changed: BTreeMap<ExternalId, Mapped>,
    gone: BTreeSet<ExternalId>,
    present: Option<HashSet<ExternalId>>,
    cookie: String,
    shows_departures: bool,
}

/// Why what changed cannot be had.
struct Refusal {
    why: String,
    /// Whether the server shows an older state than before.
    is_behind: bool,
}

impl Refusal {
    fn because(why: &str) -> Self {
        Refusal {
            why: why.to_owned(),
            is_behind: false,
        }
    }
}

struct Round<'a> {
    snapshot: &'a mut Snapshot,
    settled: &'a [ManagedAccount],
    now: Timestamp,
    watch: &'a dyn Watch,
    read: u64,
    notices: Vec<Notice>,
}

impl Round<'_> {
    fn full_instead(&mut self, source: &Source, refusal: Refusal) -> Way {
        let Refusal { why, is_behind } = refusal;
        self.notices.push(Notice {
            source: source.name.clone(),
            what: Noticed::ReadInFull { why: why.clone() },
        });
        Way::Full {
            distrust: is_behind.then_some(why),
        }
    }

    /// Asks a source for what changed since the cursor, if there is a continuing.
    async fn follow(&mut self, sourced: Sourced<'_>, cursor: Cursor) -> Result<Way, PullError> {
        let source = sourced.source;
        if cursor.fingerprint != sourced.fingerprint {
            return Ok(self.full_instead(source, Refusal::because("the configuration has changed")));
        }
        // Above this a full pull is the better way.
        let limit = MANY_CHANGES.max(usize::try_from(cursor.entries / 10).unwrap_or(usize::MAX));
        let news = match self.news(sourced, &cursor.cookie, limit).await? {
            Ok(news) => news,
            Err(refusal) => return Ok(self.full_instead(source, refusal)),
        };
        let deviations = self.snapshot.deviations(&source.name).await?;
        let News {
            changed,
            mut gone,
            present,
            cookie,
            shows_departures,
        } = news;
        if let Some(present) = present {
            // The server has named all that is there.
            gone = self
                .snapshot
                .keys_of(&source.name)
                .await?
                .into_iter()
                .collect();
            gone.retain(|key| !present.contains(key));
        }
        gone.retain(|key| !changed.contains_key(key));
        let asked: HashSet<ExternalId> = changed.keys().chain(&gone).cloned().collect();
        let accounts = self.snapshot.accounts(&asked).await?;
        let mut known: BTreeMap<&ExternalId, &str> = accounts
            .values()
            .filter(|account| account.source == source.name)
            .map(|account| (&account.key, account.dn.as_str()))
            .collect();
        for Deviation { key, said, .. } in &deviations {
            match said {
                Said::Gone => known.remove(key),
                Said::Wants(person) => known.insert(key, &person.dn),
                Said::Unmapped(unmapped) => known.insert(key, &unmapped.dn),
            };
        }
        // Without the server's own ids a move cannot be told from another entry with the key.
        let has_moved = |(key, mapped): (&ExternalId, &Mapped)| {
            known.get(key).is_some_and(|dn| *dn != mapped_dn(mapped))
        };
        if !shows_departures && changed.iter().any(has_moved) {
            return Ok(self.full_instead(
                source,
                Refusal::because("an entry has moved, or has another one's key"),
            ));
        }
        // A server also names entries that were none of the people.
        gone.retain(|key| known.contains_key(key));
        // Whoever has another source's account is that one's.
        let is_ours = |key| {
            accounts
                .get(key)
                .is_none_or(|account| account.source == source.name)
        };
        let joined = changed
            .keys()
            .filter(|key| !known.contains_key(*key) && is_ours(*key))
            .count();
        let entries = self.snapshot.people_of(&source.name).await? + joined as u64;
        let entries = entries.saturating_sub(gone.len() as u64);
        if entries == 0 {
            // Whether there is really nobody is for the server to say.
            return Ok(self.full_instead(source, Refusal::because("nobody of it would be left")));
        }
        Ok(Way::Followed(Followed {
            cursor,
            deviations,
            changed,
            gone,
            entries,
            cookie,
            shows_departures,
        }))
    }

    /// Reads what changed since the cookie, or why that cannot be had.
    async fn news(
        &mut self,
        sourced: Sourced<'_>,
        cookie: &str,
        limit: usize,
    ) -> Result<Result<News, Refusal>, PullError> {
        let Sourced {
            source, mapping, ..
        } = sourced;
        let mut changed = BTreeMap::new();
        let mut gone = BTreeSet::new();
        // Changed, and not selected: where entries are told apart by nothing but the key, it may
        // be somebody else's.
        let mut unselected = BTreeSet::new();
        let mut present = HashSet::new();
        let mut untraceable = None;
        let attributes = sourced.attributes();
        let request = sourced.request(&attributes);
        self.watch.reading(&source.name);
        let mut each = |event: Event| {
            let key = |id| key_of_id(&source.key, id);
            match event {
                Event::Changed(entry) => {
                    self.read += 1;
                    self.watch.entries_read(self.read);
                    let mapped = match observed(mapping.map(&entry, self.now)) {
                        Ok(mapped) => mapped,
                        // As one whom the filter does not find.
                        Err(excluded) => {
                            unselected.extend(excluded.key);
                            return ControlFlow::Continue(());
                        }
                    };
                    match (request.has(&entry), mapped_key(&mapped)) {
                        (true, Some(key)) => {
                            let other = changed.insert(key, mapped);
                            if other.is_some_and(|other| mapped_dn(&other) != entry.dn()) {
                                untraceable = Some("two entries have one key");
                            }
                        }
                        (true, None) => untraceable = Some("an entry has no key"),
                        (false, key) => unselected.extend(key),
                    }
                }
                Event::Gone(id) => gone.extend(key(id)),
                Event::Present(id) => present.extend(key(id)),
            }
            if changed.len() > limit || gone.len().max(present.len()) > MANY_IDS {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let changes = match directory::changes(request, cookie, &mut each).await {
            // A search that cannot be had in this way may be had in the other.
            Err(error @ (DirectoryError::Search { .. } | DirectoryError::Broken { .. })) => {
                Changes::FullNeeded {
                    why: error.to_string(),
                    is_behind: false,
                }
            }
            changes => changes.map_err(|error| told(source, error))?,
        };
        Ok(match changes {
            Changes::FullNeeded { why, is_behind } => Err(Refusal { why, is_behind }),
            Changes::Read {
                cookie,
                names_all,
                shows_departures,
            } => match untraceable {
                Some(why) => Err(Refusal::because(why)),
                None => {
                    if shows_departures {
                        // A server that names all that is there names them as well.
                        present.retain(|key| !unselected.contains(key));
                        gone.extend(unselected);
                    }
                    Ok(News {
                        changed,
                        gone,
                        present: names_all.then_some(present),
                        cookie,
                        shows_departures,
                    })
                }
            },
        })
    }

    /// Compares what the sources say with the snapshot.
    async fn compare(
        &mut self,
        ways: &[(Sourced<'_>, Way)],
    ) -> Result<(Desired, Vec<End>), PullError> {
        let presumed: HashSet<SourceName> = ways
            .iter()
            .filter(|(_, way)| matches!(way, Way::Followed(_)))
            .map(|(sourced, _)| sourced.source.name.clone())
            .collect();
        let names = ways.iter().map(|(sourced, _)| sourced.source.name.clone());
        let mut index = Index::new(names.collect(), presumed);
        let mut others = 0;
        let attributes: Vec<Vec<String>> = ways
            .iter()
            .map(|(sourced, _)| sourced.attributes())
            .collect();
        let first = ways
            .iter()
            .zip(&attributes)
            .find(|((_, way), _)| way.followed().is_none());
        let mut started = None;
        if let Some(((sourced, _), attributes)) = first {
            self.watch.reading(&sourced.source.name);
            // The first pages come while the digests are loaded.
            let (first, loaded) =
                tokio::join!(start(*sourced, attributes), self.snapshot.index(&mut index));
            started = Some(first?);
            loaded?;
        } else {
            let abandoned = self.abandoned(ways).await?;
            let followed = ways.iter().filter_map(|(_, way)| way.followed());
            let settled = self.settled.iter().map(|account| &account.key);
            let keys: HashSet<ExternalId> = followed
                .flat_map(Followed::concerned)
                .chain(settled)
                .chain(&abandoned)
                .cloned()
                .collect();
            self.snapshot.index_of(&keys, &mut index).await?;
            others = self.snapshot.account_count().await? - index.count();
        }
        for account in self.settled {
            index.insert_account(account);
        }
        tracing::debug!(
            accounts = index.count(),
            "the snapshot's digests are loaded"
        );
        let mut comparison = Comparison::with(index);
        let mut pulls = Pulls::new();
        let mut ends = Vec::new();
        for ((sourced, way), attributes) in ways.iter().zip(&attributes) {
            let name = &sourced.source.name;
            let (end, cookie) = match way {
                Way::Followed(followed) => {
                    followed.tell(name, &mut comparison);
                    let end = PullEnd {
                        entries: followed.entries,
                        changed: Some((followed.changed.len() + followed.gone.len()) as u64),
                        clean: Ok(()),
                    };
                    (end, None)
                }
                Way::Full { .. } | Way::Checked(_) => {
                    self.watch.reading(name);
                    let started = match started.take() {
                        Some(first) => first,
                        None => start(*sourced, attributes).await?,
                    };
                    self.read(*sourced, started, &mut comparison).await?
                }
            };
            let end = match way {
                Way::Full {
                    distrust: Some(why),
                } => PullEnd {
                    clean: Err(why.clone()),
                    ..end
                },
                _ => end,
            };
            let people = comparison.people_of(name);
            tracing::debug!(source = %name, people, entries = end.entries, "a source is read");
            pulls.insert(name.clone(), Complete::attest(end));
            ends.push(End { cookie, people });
        }
        let mut desired = comparison.finish(pulls);
        desired.unchanged += others;
        Ok((desired, ends))
    }

    /// The people of sources that are not configured any more.
    async fn abandoned(
        &mut self,
        ways: &[(Sourced<'_>, Way)],
    ) -> Result<HashSet<ExternalId>, PullError> {
        let mut people = HashSet::new();
        for name in self.snapshot.scopes().await?.into_keys() {
            if !ways.iter().any(|(sourced, _)| sourced.source.name == name) {
                people.extend(self.snapshot.accounts_of(&name).await?);
            }
        }
        Ok(people)
    }

    /// Reads one source in full.
    async fn read(
        &mut self,
        sourced: Sourced<'_>,
        started: Started<'_>,
        comparison: &mut Comparison,
    ) -> Result<(PullEnd, Option<String>), PullError> {
        let mut excluded = 0;
        let mut each = |entry: Entry| {
            self.read += 1;
            self.watch.entries_read(self.read);
            match observed(sourced.mapping.map(&entry, self.now)) {
                Ok(mapped) => comparison.observe(mapped),
                Err(_) => excluded += 1,
            }
        };
        let mut full = started
            .read(&mut each)
            .await
            .map_err(|error| told(sourced.source, error))?;
        // As those whom the filter does not find.
        full.end.entries = full.end.entries.saturating_sub(excluded);
        Ok((full.end, full.cookie))
    }

    /// Compares the full pulls of the checked sources with what following them gave.
    async fn missed(
        &mut self,
        ways: &[(Sourced<'_>, Way)],
        desired: &Desired,
    ) -> Result<Vec<Notice>, PullError> {
        let mut checked: BTreeMap<&SourceName, (Sourced<'_>, &Followed)> = BTreeMap::new();
        let mut recent = HashSet::new();
        for (sourced, way) in ways {
            let Way::Checked(followed) = way else {
                continue;
            };
            // What changed between the two may show in one of them only.
            if let Ok(news) = self.news(*sourced, &followed.cookie, MANY_CHANGES).await? {
                recent.extend(news.changed.into_keys().chain(news.gone));
                checked.insert(&sourced.source.name, (*sourced, followed));
            }
        }
        if checked.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<SourceName> = ways
            .iter()
            .map(|(sourced, _)| sourced.source.name.clone())
            .filter(|name| checked.contains_key(name))
            .collect();
        let mut index = Index::new(names.clone(), names.iter().cloned().collect());
        let keys: HashSet<ExternalId> = checked
            .values()
            .flat_map(|(_, followed)| followed.concerned())
            .cloned()
            .collect();
        self.snapshot.index_of(&keys, &mut index).await?;
        for account in self.settled {
            index.insert_account(account);
        }
        let mut comparison = Comparison::with(index);
        for name in &names {
            if let Some((_, followed)) = checked.get(name) {
                followed.tell(name, &mut comparison);
            }
        }
        let expected = comparison.finish(Pulls::new());
        let absent: HashSet<ExternalId> = expected
            .absent
            .iter()
            .chain(&desired.absent)
            .cloned()
            .collect();
        let accounts = self.snapshot.accounts(&absent).await?;
        let by_key = |desired: &Desired| -> BTreeMap<ExternalId, Deviation> {
            desired
                .clone()
                .into_deviations(|key| accounts.get(key).map(|account| account.source.clone()))
                .into_iter()
                .map(|deviation| (deviation.key.clone(), deviation))
                .collect()
        };
        let (expected, found) = (by_key(&expected), by_key(desired));
        let mut missed: BTreeMap<&SourceName, Vec<String>> = BTreeMap::new();
        for key in expected.keys().chain(found.keys()).collect::<BTreeSet<_>>() {
            let (expected, found) = (expected.get(key), found.get(key));
            let source = found.or(expected).map(|deviation| &deviation.source);
            let Some((name, (_, followed))) = source.and_then(|name| checked.get_key_value(name))
            else {
                continue;
            };
            // Whoever is gone from one source is looked for in the later ones by reading them.
            let is_elsewhere = checked
                .iter()
                .any(|(other, (_, followed))| **other != **name && followed.gone.contains(key));
            let is_departure = found.is_some_and(|deviation| deviation.said == Said::Gone);
            if expected.map(|one| &one.said) == found.map(|one| &one.said)
                || recent.contains(key)
                || is_elsewhere
                || (is_departure && !followed.shows_departures)
            {
                continue;
            }
            missed
                .entry(name)
                .or_default()
                .push(describe(key, found, expected));
        }
        Ok(missed
            .into_iter()
            .map(|(source, people)| Notice {
                source: source.clone(),
                what: Noticed::Missed { people },
            })
            .collect())
    }
}

/// Begins to read a source in full.
async fn start<'a>(
    sourced: Sourced<'a>,
    attributes: &'a [String],
) -> Result<Started<'a>, PullError> {
    directory::start(sourced.request(attributes))
        .await
        .map_err(|error| told(sourced.source, error))
}

impl Way {
    fn followed(&self) -> Option<&Followed> {
        match self {
            Way::Followed(followed) => Some(followed),
            Way::Full { .. } | Way::Checked(_) => None,
        }
    }
}

/// What an entry says of a person, or that it is none of the source's people.
fn observed(mapped: Result<DesiredAccount, NotMapped>) -> Result<Mapped, Box<Excluded>> {
    match mapped {
        Ok(person) => Ok(Ok(person)),
        Err(NotMapped::Unmapped(unmapped)) => Ok(Err(unmapped)),
        Err(NotMapped::Excluded(excluded)) => Err(excluded),
    }
}

fn mapped_dn(mapped: &Mapped) -> &str {
    match mapped {
        Ok(person) => &person.dn,
        Err(unmapped) => &unmapped.dn,
    }
}

fn mapped_key(mapped: &Mapped) -> Option<ExternalId> {
    match mapped {
        Ok(person) => Some(person.key.clone()),
        Err(unmapped) => unmapped.key.clone(),
    }
}

fn told(source: &Source, error: DirectoryError) -> PullError {
    PullError::Directory {
        source_name: source.name.clone(),
        error: Box::new(error),
    }
}

/// Who was missed, for people to read.
fn describe(key: &ExternalId, found: Option<&Deviation>, expected: Option<&Deviation>) -> String {
    let dn = [found, expected]
        .into_iter()
        .flatten()
        .find_map(|deviation| match &deviation.said {
            Said::Wants(person) => Some(person.dn.as_str()),
            Said::Unmapped(unmapped) => Some(unmapped.dn.as_str()),
            Said::Gone => None,
        });
    let what = match found.map(|deviation| &deviation.said) {
        Some(Said::Gone) => "has left",
        Some(_) => "is new or has changed",
        None => "is as the account",
    };
    format!("{} {what}", dn.unwrap_or(key.as_str()))
}
