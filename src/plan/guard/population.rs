//! How many accounts there are, as a whole and by scope: what shares are taken of.

use std::collections::BTreeMap;

use super::Scope;
use crate::config::Guard;
use crate::model::{Attribute, Dn, Lifecycle, ManagedAccount, SourceName, fold};

/// How many accounts the snapshot holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Population {
    /// Active ones.
    pub active: u64,
    /// All but the deleted ones.
    pub all: u64,
    /// Those of each source.
    pub by_source: BTreeMap<SourceName, Count>,
    /// Those of each e-mail domain, folded; read only when a limit asks for them.
    pub by_domain: BTreeMap<String, Count>,
    /// Those right below each entry of the tree; read only when a limit asks for them.
    pub by_ou: BTreeMap<Dn, Count>,
}

/// How many accounts there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Active ones.
    pub active: u64,
    /// All but the deleted ones.
    pub all: u64,
}

impl Count {
    fn of(account: &ManagedAccount) -> Self {
        match account.lifecycle {
            Lifecycle::Active => Count { active: 1, all: 1 },
            Lifecycle::Deactivated { .. } | Lifecycle::DeletePending { .. } => {
                Count { active: 0, all: 1 }
            }
            Lifecycle::Deleted { .. } => Count::default(),
        }
    }

    /// Adds what another one counts.
    pub fn add(&mut self, other: Count) {
        self.active += other.active;
        self.all += other.all;
    }

    fn take(&mut self, other: Count) {
        self.active = self.active.saturating_sub(other.active);
        self.all = self.all.saturating_sub(other.all);
    }

    /// What a share of this guard is taken of: those that it can concern.
    fn against(self, guard: Guard) -> u64 {
        match guard {
            Guard::Create | Guard::Delete => self.all,
            Guard::Update
            | Guard::Deactivate
            | Guard::ChangeEmail
            | Guard::SameAttribute
            | Guard::RemoveMembers => self.active,
        }
    }
}

impl Population {
    /// Counts an account.
    pub fn enter(&mut self, account: &ManagedAccount) {
        self.change(account, |total| total.add(Count::of(account)));
    }

    /// Counts an account no more.
    pub fn leave(&mut self, account: &ManagedAccount) {
        self.change(account, |total| total.take(Count::of(account)));
    }

    fn change(&mut self, account: &ManagedAccount, change: impl Fn(&mut Count)) {
        let email = account.profile.get(Attribute::Email);
        self.change_at(&account.source, &account.dn, email, change);
    }

    /// Counts active accounts that the snapshot does not have yet.
    pub(super) fn enter_active(&mut self, source: &SourceName, dn: &str, email: Option<&str>) {
        let one = Count { active: 1, all: 0 };
        self.change_at(source, dn, email, |total| total.add(one));
    }

    fn change_at(
        &mut self,
        source: &SourceName,
        dn: &str,
        email: Option<&str>,
        change: impl Fn(&mut Count),
    ) {
        let mut whole = Count {
            active: self.active,
            all: self.all,
        };
        change(&mut whole);
        (self.active, self.all) = (whole.active, whole.all);
        change(self.by_source.entry(source.clone()).or_default());
        if let Some(domain) = email.and_then(domain_of) {
            change(self.by_domain.entry(domain).or_default());
        }
        if let Some(ou) = ou_of(dn) {
            change(self.by_ou.entry(ou).or_default());
        }
    }

    /// What a share of this guard is taken of in the scope.
    pub(super) fn against(&self, guard: Guard, scope: &Scope) -> u64 {
        let count = match scope {
            Scope::Whole => Some(Count {
                active: self.active,
                all: self.all,
            }),
            Scope::Source(source) => self.by_source.get(source).copied(),
            Scope::Ou(ou) => self.by_ou.get(ou).copied(),
            Scope::Domain(domain) => self.by_domain.get(domain).copied(),
            // Members are no accounts: who guards groups counts them by itself.
            Scope::Group(_) => None,
        };
        count.unwrap_or_default().against(guard)
    }
}

/// The domain of an address, folded.
pub(super) fn domain_of(email: &str) -> Option<String> {
    let (_, domain) = email.rsplit_once('@')?;
    Some(fold(domain))
}

/// The entry right above; none for a name that cannot be read, which counts as a part of the
/// whole only.
pub fn ou_of(dn: &str) -> Option<Dn> {
    Dn::parse(dn).ok()?.parent()
}
