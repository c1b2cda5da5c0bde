//! Searches page by page (RFC 4511 section 4.5, RFC 2696), proven to end.

use std::collections::HashSet;
use std::time::Duration;

use ldap3::asn1::{PL, StructureTag};
use ldap3::controls::{Control, ControlType, PagedResults, RawControl};
use ldap3::{Ldap, LdapResult, ResultEntry};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::DirectoryError;
use super::connect::{NOT_LDAP, advice, describe, in_words, waited};
use crate::model::{Entry, Scope};

/// Entries that are handed on together.
const BATCH: usize = 128;

/// The result code of a search whose base belongs to another server.
const REFERRAL: u32 = 10;

/// So many pages without an entry may follow each other, as with a filter that is applied after
/// paging; more are a fault of the server.
const EMPTY_PAGES: usize = 10_000;

/// Searches with one filter, base after base, on one connection. It is owned, so that it can
/// fetch and decode while another task handles what it has found.
pub(super) struct Searches {
    pub(super) ldap: Ldap,
    pub(super) url: String,
    pub(super) bases: Vec<String>,
    pub(super) scope: Scope,
    pub(super) filter: String,
    pub(super) attributes: Vec<String>,
    /// Entries a page.
    pub(super) page_size: u32,
    /// Sent with each request, besides the one for the page.
    pub(super) controls: Vec<RawControl>,
    /// The longest wait for each message of the server.
    pub(super) wait: Duration,
    /// Whether a base that belongs to another server is such a [`Referral`], and no error.
    pub(super) is_referred: bool,
}

/// A part of the tree that is on another server.
#[derive(Clone, Debug)]
pub(super) struct Referral {
    /// Where it is: each of these URLs will do.
    pub(super) urls: Vec<String>,
    /// The base of the search that was referred.
    pub(super) base: String,
    /// Whether it is all that was searched for (RFC 4511 section 4.1.10), not a part of it
    /// (section 4.5.3).
    pub(super) is_whole: bool,
}

/// What came of searches besides entries.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) entries: u64,
    /// What was named instead of entries.
    pub(super) referrals: Vec<Referral>,
}

struct Page {
    is_empty: bool,
    /// The DN of its first entry.
    first: Option<Vec<u8>>,
    /// The cookie that its result has; an empty one ends the search (RFC 2696 section 3).
    next: Option<Vec<u8>>,
}

/// Reads all entries that the searches find.
pub(super) async fn run(
    searches: Searches,
    each: &mut dyn FnMut(Entry),
) -> Result<Found, DirectoryError> {
    searches.start().read(each).await
}

/// Searches under way: entries come and wait.
pub(super) struct Started {
    url: String,
    batches: mpsc::Receiver<Vec<ResultEntry>>,
    reader: JoinHandle<Result<Found, DirectoryError>>,
}

impl Started {
    /// Reads all entries that are found.
    pub(super) async fn read(
        mut self,
        each: &mut dyn FnMut(Entry),
    ) -> Result<Found, DirectoryError> {
        let mut handled = 0;
        while let Some(batch) = self.batches.recv().await {
            for found in batch {
                let entry = decode(found).ok_or_else(|| malformed(&self.url, handled))?;
                handled += 1;
                each(entry);
            }
        }
        match self.reader.await {
            Ok(result) => result,
            // The `ldap3` crate panics where an answer is not what the protocol says.
            Err(_) => Err(malformed(&self.url, handled)),
        }
    }
}

pub(super) fn malformed(url: &str, entries: u64) -> DirectoryError {
    DirectoryError::Broken {
        url: url.to_owned(),
        entries,
        why: NOT_LDAP.to_owned(),
    }
}

impl Searches {
    /// Begins to search, beside whatever else is done until the entries are read.
    pub(super) fn start(self) -> Started {
        // While entries are handled, the next page is already on its way.
        let (sender, batches) = mpsc::channel(2 * self.page_size as usize / BATCH + 2);
        Started {
            url: self.url.clone(),
            batches,
            reader: tokio::spawn(self.read(sender)),
        }
    }

    async fn read(
        mut self,
        mut sender: mpsc::Sender<Vec<ResultEntry>>,
    ) -> Result<Found, DirectoryError> {
        let mut found = Found::default();
        for base in std::mem::take(&mut self.bases) {
            self.search(&base, &mut found, &mut sender).await?;
        }
        Ok(found)
    }

    async fn search(
        &mut self,
        base: &str,
        found: &mut Found,
        sender: &mut mpsc::Sender<Vec<ResultEntry>>,
    ) -> Result<(), DirectoryError> {
        let mut cookie = Vec::new();
        let mut firsts = HashSet::new();
        let mut empty_pages = 0;
        loop {
            let page = self.page(base, &cookie, found, sender).await?;
            // Whether the cookie stays the same tells nothing: 389 Directory Server gives the
            // same one for every page. A page that begins like an earlier one does, and so do
            // two pages with nothing on them and one cookie.
            let is_repeated = match page.first {
                Some(first) => !firsts.insert(first),
                None => empty_pages > 0 && page.next.as_ref() == Some(&cookie),
            };
            empty_pages = if page.is_empty { empty_pages + 1 } else { 0 };
            if is_repeated || empty_pages > EMPTY_PAGES {
                return Err(DirectoryError::PagingLoop {
                    url: self.url.clone(),
                    base: base.to_owned(),
                    entries: found.entries,
                });
            }
            match page.next {
                Some(next) if !next.is_empty() => cookie = next,
                Some(_) => return Ok(()),
                // Also a server without paged results ends here, unless it has given a cookie.
                None if cookie.is_empty() => return Ok(()),
                None => {
                    let why = "a page does not say whether it is the last one".to_owned();
                    return Err(self.broken(found, why));
                }
            }
        }
    }

    async fn page(
        &mut self,
        base: &str,
        cookie: &[u8],
        found: &mut Found,
        sender: &mut mpsc::Sender<Vec<ResultEntry>>,
    ) -> Result<Page, DirectoryError> {
        let control = PagedResults {
            size: i32::try_from(self.page_size).unwrap_or(i32::MAX),
            cookie: cookie.to_vec(),
        };
        let mut controls = self.controls.clone();
        controls.push(RawControl::from(control));
        self.ldap.with_controls(controls);
        let start = self.ldap.streaming_search(
            base,
            scope(self.scope),
            &self.filter,
            self.attributes.clone(),
        );
        let mut stream = timeout(self.wait, start)
            .await
            .map_err(|_| self.broken(found, waited(self.wait)))?
            .map_err(|error| self.broken(found, in_words(&error)))?;
        let mut first = None;
        let mut batch = Vec::with_capacity(BATCH);
        let patience = Patience::new(self.wait);
        while let Some(item) = patience
            .wait(stream.next())
            .await
            .map_err(|why| self.broken(found, why))?
            .map_err(|error| self.broken(found, in_words(&error)))?
        {
            if item.is_ref() {
                let urls = strings(&item.0).ok_or_else(|| malformed(&self.url, found.entries))?;
                found.referrals.push(Referral {
                    urls,
                    base: base.to_owned(),
                    is_whole: false,
                });
                continue;
            }
            if item.is_intermediate() {
                continue;
            }
            if first.is_none() {
                first = Some(dn(&item.0).ok_or_else(|| malformed(&self.url, found.entries))?);
            }
            found.entries += 1;
            batch.push(item);
            if batch.len() == BATCH {
                let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
                self.hand_on(full, found, sender).await?;
            }
        }
        self.hand_on(batch, found, sender).await?;
        let result = stream.finish().await;
        if result.rc == REFERRAL && self.is_referred {
            found.referrals.push(Referral {
                urls: result.refs,
                base: base.to_owned(),
                is_whole: true,
            });
            return Ok(Page {
                is_empty: first.is_none(),
                next: Some(Vec::new()),
                first,
            });
        }
        if result.rc != 0 {
            return Err(failed(&self.url, base, found.entries, &result));
        }
        Ok(Page {
            is_empty: first.is_none(),
            next: guarded(|| next_cookie(&result))
                .ok_or_else(|| malformed(&self.url, found.entries))?,
            first,
        })
    }

    async fn hand_on(
        &self,
        batch: Vec<ResultEntry>,
        found: &Found,
        sender: &mut mpsc::Sender<Vec<ResultEntry>>,
    ) -> Result<(), DirectoryError> {
        let sent = sender.send(batch).await;
        sent.map_err(|_| self.broken(found, "the run was broken off".to_owned()))
    }

    fn broken(&self, found: &Found, why: String) -> DirectoryError {
        DirectoryError::Broken {
            url: self.url.clone(),
            entries: found.entries,
            why,
        }
    }
}

/// How long a search is waited for: so long for each message, and not for ever for all of them,
/// so that a server that sends one now and then does not hold a run.
pub(super) struct Patience {
    message: Duration,
    end: Instant,
}

impl Patience {
    /// How many times the wait for a message the messages of a search may take.
    const MESSAGES: u32 = 10;

    pub(super) fn new(message: Duration) -> Self {
        Patience {
            message,
            end: Instant::now() + message * Self::MESSAGES,
        }
    }

    /// Waits for the next message; else what has been waited for in vain.
    pub(super) async fn wait<T>(&self, next: impl Future<Output = T>) -> Result<T, String> {
        let end = self.end.min(Instant::now() + self.message);
        timeout_at(end, next).await.map_err(|_| {
            if Instant::now() >= self.end {
                let whole = humantime::format_duration(self.message * Self::MESSAGES);
                format!("a search, or one page of it, was not finished within {whole}")
            } else {
                waited(self.message)
            }
        })
    }
}

pub(super) fn scope(scope: Scope) -> ldap3::Scope {
    match scope {
        Scope::Base => ldap3::Scope::Base,
        Scope::One => ldap3::Scope::OneLevel,
        Scope::Subtree => ldap3::Scope::Subtree,
    }
}

/// The error that a search ended with.
pub(super) fn failed(url: &str, base: &str, entries: u64, result: &LdapResult) -> DirectoryError {
    DirectoryError::Search {
        url: url.to_owned(),
        base: base.to_owned(),
        entries,
        why: describe(result),
        advice: advice(result.rc),
        code: result.rc,
    }
}

/// The `ldap3` crate panics where a control is not what the protocol says. That must end the
/// pull, not the program.
pub(super) fn guarded<T>(decode: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(decode)).ok()
}

fn next_cookie(result: &LdapResult) -> Option<Vec<u8>> {
    result.ctrls.iter().find_map(|Control(kind, raw)| {
        let is_page = matches!(kind, Some(ControlType::PagedResults));
        is_page.then(|| raw.parse::<PagedResults>().cookie)
    })
}

/// The entry of a SearchResultEntry (RFC 4511 section 4.5.2); `None` where it is none. Our own
/// walk over the elements, as that of the `ldap3` crate panics on a fault, and drops the order
/// of the values of which some are no text.
pub(super) fn decode(found: ResultEntry) -> Option<Entry> {
    let mut elements = found.0.expect_constructed()?.into_iter();
    let dn = String::from_utf8(elements.next()?.expect_primitive()?).ok()?;
    let mut entry = Entry::new(dn);
    for attribute in elements.next()?.expect_constructed()? {
        let mut parts = attribute.expect_constructed()?.into_iter();
        let name = String::from_utf8(parts.next()?.expect_primitive()?).ok()?;
        let values = parts.next()?.expect_constructed()?;
        let values: Option<Vec<Vec<u8>>> = values
            .into_iter()
            .map(|value| value.expect_primitive())
            .collect();
        entry.extend(name, values?);
    }
    Some(entry)
}

fn dn(found: &StructureTag) -> Option<Vec<u8>> {
    let PL::C(elements) = &found.payload else {
        return None;
    };
    match &elements.first()?.payload {
        PL::P(dn) => Some(dn.clone()),
        PL::C(_) => None,
    }
}

pub(super) fn strings(list: &StructureTag) -> Option<Vec<String>> {
    let PL::C(elements) = &list.payload else {
        return None;
    };
    let text = |element: &StructureTag| match &element.payload {
        PL::P(octets) => String::from_utf8(octets.clone()).ok(),
        PL::C(_) => None,
    };
    elements.iter().map(text).collect()
}
