//! Searches that go on at other servers (RFC 4511 sections 4.1.10 and 4.5.3).

use std::collections::{HashSet, VecDeque};

use percent_encoding::percent_decode_str;
use url::Url;

use super::connect::Session;
use super::search::{self, Referral};
use super::{DirectoryError, Request};
use crate::config::Ldap as Server;
use crate::model::{Dn, Entry, Scope};

/// So many servers may refer to each other in a row.
const DEPTH: usize = 5;

/// What was sought where.
#[derive(Clone)]
pub(super) struct Place {
    /// The server alone.
    server: Url,
    base: String,
    scope: Scope,
    filter: String,
}

/// What came of following references.
#[derive(Default)]
pub(super) struct Followed {
    pub(super) entries: u64,
    /// The references that were not followed.
    pub(super) left_out: Vec<Referral>,
}

/// Reads what the references of a search lead to, as far as their hosts are configured.
pub(super) async fn follow(
    server: &Server,
    request: Request<'_>,
    origin: &str,
    referrals: Vec<Referral>,
    each: &mut dyn FnMut(Entry),
) -> Result<Followed, DirectoryError> {
    let mut followed = Followed::default();
    if server.follow_referrals.is_empty() {
        followed.left_out = referrals;
        return Ok(followed);
    }
    let search = &request.source.search;
    // The places that were read, so that none is read twice.
    let mut read: HashSet<_> = search
        .bases
        .iter()
        .filter_map(|(base, _)| {
            let place = Place {
                server: Url::parse(origin).ok()?,
                base: base.clone(),
                scope: search.scope,
                filter: search.filter_text.clone(),
            };
            Some(place.identity())
        })
        .collect();
    let mut waiting: VecDeque<(usize, Referral, Scope, String)> = referrals
        .into_iter()
        .map(|referral| (1, referral, search.scope, search.filter_text.clone()))
        .collect();
    while let Some((depth, referral, scope, filter)) = waiting.pop_front() {
        // The URLs of one reference lead to the same entries.
        let places: Vec<Place> = referral
            .urls
            .iter()
            .filter_map(|url| Place::parse(url, &referral.base, scope, &filter))
            .filter(|place| place.is_allowed(server))
            .collect();
        if places.is_empty() || depth > DEPTH {
            followed.left_out.push(referral);
            continue;
        }
        if places.iter().any(|place| read.contains(&place.identity())) {
            continue;
        }
        read.extend(places.iter().map(Place::identity));
        let (found, place) = read_one_of(server, request, places, each)
            .await
            .map_err(|error| DirectoryError::Referred(Box::new(error)))?;
        followed.entries += found.entries;
        waiting.extend(found.referrals.into_iter().map(|referral| {
            let Place { scope, filter, .. } = &place;
            (depth + 1, referral, *scope, filter.clone())
        }));
    }
    Ok(followed)
}

/// Reads the first of the places whose server can be reached.
async fn read_one_of(
    server: &Server,
    request: Request<'_>,
    mut places: Vec<Place>,
    each: &mut dyn FnMut(Entry),
) -> Result<(search::Found, Place), DirectoryError> {
    let urls: Vec<Url> = places.iter().map(|place| place.server.clone()).collect();
    let (index, session) = Session::open_among(server, &urls).await?;
    let place = places.swap_remove(index);
    let mut searches = session.searches(request, &place.filter);
    searches.bases = vec![place.base.clone()];
    searches.scope = place.scope;
    let found = search::run(searches, each).await?;
    session.close().await;
    Ok((found, place))
}

impl Place {
    /// Reads an LDAP URL (RFC 4516). What it does not say is as in the search that was referred.
    /// `None` for one that cannot be followed: it names no server, or needs an extension.
    fn parse(text: &str, base: &str, scope: Scope, filter: &str) -> Option<Self> {
        let mut url = Url::parse(text).ok()?;
        let is_ldap = matches!(url.scheme(), "ldap" | "ldaps");
        if !is_ldap || url.host_str().is_none_or(str::is_empty) || url.fragment().is_some() {
            return None;
        }
        let decoded = |part: &str| -> Option<String> {
            let text = percent_decode_str(part).decode_utf8().ok()?;
            Some(text.into_owned())
        };
        let dn = decoded(url.path().trim_start_matches('/'))?;
        let query = url.query().unwrap_or_default().to_owned();
        let mut parts = query.splitn(4, '?');
        let _attributes = parts.next();
        let their_scope = match parts.next().unwrap_or_default() {
            "" => scope,
            "base" => Scope::Base,
            "one" => Scope::One,
            "sub" => Scope::Subtree,
            _ => return None,
        };
        let their_filter = decoded(parts.next().unwrap_or_default())?;
        let extensions = parts.next().unwrap_or_default();
        if extensions.split(',').any(|one| one.starts_with('!')) {
            return None;
        }
        url.set_path("");
        url.set_query(None);
        url.set_username("").ok()?;
        url.set_password(None).ok()?;
        let given = |theirs: String, ours: &str| match theirs.is_empty() {
            true => ours.to_owned(),
            false => theirs,
        };
        Some(Place {
            server: url,
            base: given(dn, base),
            scope: their_scope,
            filter: given(their_filter, filter),
        })
    }

    fn host(&self) -> String {
        self.server.host_str().unwrap_or_default().to_lowercase()
    }

    fn port(&self) -> u16 {
        let default = if self.server.scheme() == "ldaps" {
            636
        } else {
            389
        };
        self.server.port().unwrap_or(default)
    }

    fn is_allowed(&self, server: &Server) -> bool {
        server.follow_referrals.iter().any(|allowed| {
            allowed.host == self.host() && allowed.port.is_none_or(|port| port == self.port())
        })
    }

    /// Equal where the same entries would be found.
    fn identity(&self) -> (String, u16, Result<Dn, String>, Scope, String) {
        let dn = Dn::parse(&self.base).map_err(|_| self.base.to_lowercase());
        (
            self.host(),
            self.port(),
            dn,
            self.scope,
            self.filter.clone(),
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_referral_says_where_to_go_on_and_the_rest_stays() {
        const BASE: &str = "dc=a";
        let filter = "(uid=*)";
        for (text, wanted) in [
            (
                "ldap://h/dc=b",
                Some(("ldap://h", "dc=b", Scope::One, filter)),
            ),
            ("ldap://h", Some(("ldap://h", BASE, Scope::One, filter))),
            (
                "ldaps://h:1636/dc=b%2Cdc=c??sub",
                Some(("ldaps://h:1636", "dc=b,dc=c", Scope::Subtree, filter)),
            ),
            (
                "ldap://h/o=a%3Fb?mail,cn?base?(cn=%C3%A4%20b)?e-x=1",
                Some(("ldap://h", "o=a?b", Scope::Base, "(cn=ä b)")),
            ),
            ("ldap://h/dc=b????!bindname=cn=x", None),
            ("ldap://h/dc=b??children", None),
            ("ldap:///dc=b", None),
            ("http://h/dc=b", None),
            ("ldapi://%2Frun%2Fldapi/dc=b", None),
            ("ldap://h/%FF", None),
            ("not a url", None),
        ] {
            let place = Place::parse(text, BASE, Scope::One, filter);
            let found = place.as_ref().map(|place| {
                let Place {
                    base,
                    scope,
                    filter,
                    ..
                } = place;
                (
                    place.server.as_str(),
                    base.as_str(),
                    *scope,
                    filter.as_str(),
                )
            });
            assert_eq!(found, wanted, "{text}");
        }
    }
}
