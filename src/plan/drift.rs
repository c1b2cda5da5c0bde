//! Drift: in what the organization is not as the snapshot knows it, because somebody has changed it
//! there, and what the snapshot takes over of that.
//!
//! Nothing here is sent. A row that takes over what the organization has makes the next sync see the
//! difference to the directory, and correct it by its own rules.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::Plan;
use super::draft::{active_change, differences};
use super::groups::Person;
use crate::config::{DriftKind, Policies, Reconcile, Return};
use crate::model::{
    Absence, Attribute, Change, ExistingAccount, ExistingGroup, ExternalId, Lifecycle,
    ManagedAccount, ManagedGroup, Profile, ScimId, SourceName, Timestamp, fold,
};

/// Where the entry stood of somebody whom no entry tells of, so that only the key is known.
pub const NO_ENTRY: &str = "(no entry is known)";

/// What reading the organization back has shown.
#[derive(Clone, Debug, Default)]
pub struct Reconciliation {
    /// Whether the snapshot is made again.
    pub is_rebuilt: bool,
    /// How many accounts were compared: all of the snapshot's but those that it knows as deleted.
    pub accounts: u64,
    /// Those that are not as the snapshot knows them.
    pub drifts: Vec<Decided>,
    /// Kinds of which there is more than the limit allows, so that nothing of them is taken over.
    pub excess: Vec<Excess>,
    /// Accounts that were taken into the snapshot anew.
    pub rebuilt: Vec<Rebuilt>,
    /// Accounts that are nobody's of ours.
    pub unmanaged: Vec<Unmanaged>,
    /// How many groups were compared.
    pub groups: u64,
    /// Those that are not as the snapshot knows them. Every sync reads groups anew, so that there is
    /// nothing to take over.
    pub group_drifts: Vec<GroupDrift>,
    /// Groups that were taken into the snapshot anew.
    pub rebuilt_groups: Vec<ManagedGroup>,
    /// Groups that are none of ours.
    pub unmanaged_groups: Vec<ExistingGroup>,
    /// The plan of the next sync, or why there is none; `None` where nothing is to be said of it.
    pub next: Option<Result<Box<Plan>, String>>,
}

impl Reconciliation {
    /// Whether the snapshot is changed by it.
    pub fn changes_rows(&self) -> bool {
        self.drifts.iter().any(|one| one.after.is_some())
            || !self.rebuilt.is_empty()
            || !self.rebuilt_groups.is_empty()
    }

    /// How many accounts the snapshot does not take over wholly.
    pub fn left(&self) -> usize {
        let is_left = |one: &&Decided| !one.left.is_empty();
        self.drifts.iter().filter(is_left).count()
    }

    /// Whether a person has to look: something is only told, or an account waits for somebody's word.
    pub fn needs_attention(&self) -> bool {
        self.left() > 0 || !self.excess.is_empty() || !self.unclaimed().is_empty()
    }

    /// Our accounts that carry another key, by their SCIM id, with that key if there is one.
    pub fn rekeyed(&self) -> impl Iterator<Item = (&ScimId, Option<&ExternalId>)> {
        let drifts = self.drifts.iter().map(|one| &one.drift);
        let rekeyed = drifts.filter(|one| one.kinds.contains_key(&DriftKind::Rekeyed));
        rekeyed.filter_map(|one| {
            let found = one.found.as_ref()?;
            Some((&found.scim_id, found.external_id.as_ref()))
        })
    }

    /// Where the snapshot is made again, the accounts whose login is on and whose key nobody has: of people who
    /// have left meanwhile, or another tool's. Nothing is done about them until somebody claims them.
    pub fn unclaimed(&self) -> HashSet<&ScimId> {
        if !self.is_rebuilt {
            return HashSet::new();
        }
        let plan = self.next.iter().flatten();
        let targets = plan.clone().flat_map(|plan| &plan.operations);
        let targets = targets.filter_map(|planned| planned.operation.target.as_ref());
        let targets: HashSet<&ScimId> = targets.map(|target| &target.scim_id).collect();
        let present = plan.flat_map(|plan| {
            let refused = plan.refusals.iter().map(|one| &one.key);
            refused.chain(plan.skipped.iter().map(|one| &one.key))
        });
        let present: HashSet<&ExternalId> = present.flatten().collect();
        let waits = |one: &&Unmanaged| {
            let key = one.account.external_id.as_ref();
            one.account.active
                && one.twin.is_none()
                && key.is_some_and(|key| !present.contains(key))
                && !targets.contains(&one.account.scim_id)
        };
        let waiting = self.unmanaged.iter().filter(waits);
        waiting.map(|one| &one.account.scim_id).collect()
    }

    /// How many it does, at least in part.
    pub fn taken(&self) -> usize {
        let is_taken = |one: &&Decided| one.after.is_some();
        self.drifts.iter().filter(is_taken).count()
    }
}

/// How an account of the organization differs from its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// The row.
    pub row: ManagedAccount,
    /// The account, with the values that dirsyncd looks after; `None` if it is gone.
    pub found: Option<ExistingAccount>,
    /// In what they differ, each with what has changed.
    pub kinds: BTreeMap<DriftKind, Vec<Change>>,
}

/// A drift, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The drift.
    pub drift: Drift,
    /// The row as it is from now on; `None` if it stays.
    pub after: Option<ManagedAccount>,
    /// Of the drift, what is only told.
    pub left: BTreeSet<DriftKind>,
}

/// More of a kind than the limit allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excess {
    /// The kind.
    pub kind: DriftKind,
    /// How many accounts.
    pub count: u64,
    /// Of how many.
    pub of: u64,
    /// How many are allowed.
    pub allowed: u64,
}

/// An account that is nobody's of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmanaged {
    /// The account.
    pub account: ExistingAccount,
    /// Whose account has the same key, if one has.
    pub twin: Option<ManagedAccount>,
}

/// The command that takes the account with this key in, as that of a person who has left.
pub fn claim_command(key: &ExternalId) -> String {
    let key = super::guard::quoted(key.as_str());
    format!("dirsyncd reconcile --rebuild --claim {key}")
}

impl Drift {
    /// The drift of one account, if there is any. `managed` are the attributes that some mapping
    /// gives a value to, and `keeps_keys` tells whether accounts carry the person's key. An account
    /// that is about to be deleted, and gone, is where it was to be; of a deleted one there is no
    /// drift at all.
    pub fn between(
        row: &ManagedAccount,
        found: Option<&ExistingAccount>,
        managed: &BTreeSet<Attribute>,
        keeps_keys: bool,
    ) -> Option<Self> {
        let mut kinds = BTreeMap::new();
        let found = match (row.lifecycle, found) {
            (Lifecycle::Deleted { .. }, _) | (Lifecycle::DeletePending { .. }, None) => {
                return None;
            }
            (Lifecycle::Active | Lifecycle::Deactivated { .. }, None) => {
                kinds.insert(DriftKind::Deleted, Vec::new());
                None
            }
            (lifecycle, Some(found)) => {
                let found = ExistingAccount {
                    profile: as_managed(&found.profile, managed, &row.profile),
                    ..found.clone()
                };
                let changes = differences(&row.profile, &found.profile);
                if !changes.is_empty() {
                    kinds.insert(DriftKind::Changed, changes);
                }
                let login = match (lifecycle.is_active(), found.active) {
                    (true, false) => Some(DriftKind::Deactivated),
                    (false, true) => Some(DriftKind::Activated),
                    _ => None,
                };
                if let Some(kind) = login {
                    kinds.insert(kind, active_change(lifecycle.is_active(), found.active));
                }
                let key = found.external_id.as_ref();
                let is_ours = |id: &ExternalId| fold(id.as_str()) == fold(row.key.as_str());
                if keeps_keys && !key.is_some_and(is_ours) {
                    let change = Change {
                        attribute: Change::EXTERNAL_ID.to_owned(),
                        old: Some(row.key.to_string()),
                        new: key.map(ToString::to_string),
                    };
                    kinds.insert(DriftKind::Rekeyed, vec![change]);
                }
                Some(found)
            }
        };
        (!kinds.is_empty()).then(|| Drift {
            row: row.clone(),
            found,
            kinds,
        })
    }

    /// What becomes of it when these kinds are taken over.
    fn decided(self, correct: &BTreeSet<DriftKind>, now: Timestamp) -> Decided {
        // An account with another key may be another person's by now. What the row already differs in from
        // the directory is held (`HoldCause::Rekeyed`); nothing is to come on top of it.
        let nothing = BTreeSet::new();
        let correct = match self.kinds.contains_key(&DriftKind::Rekeyed) {
            true => &nothing,
            false => correct,
        };
        let takes = |kind| self.kinds.contains_key(&kind) && correct.contains(&kind);
        let mut row = self.row.clone();
        if takes(DriftKind::Deleted) {
            // Like an account that an operation did not find any more: whoever is still in the
            // directory gets another one.
            row.lifecycle = Lifecycle::Deleted { since: now };
        }
        if let Some(found) = &self.found {
            if takes(DriftKind::Changed) {
                row.profile = found.profile.clone();
            }
            if takes(DriftKind::Deactivated) || takes(DriftKind::Activated) {
                row.lifecycle = Lifecycle::of_active(found.active, now);
            }
        }
        let left = self.kinds.keys().copied();
        Decided {
            left: left.filter(|kind| !correct.contains(kind)).collect(),
            after: (row != self.row).then_some(row),
            drift: self,
        }
    }
}

/// The values of an account that count beside those of `like`: those that dirsyncd looks after, with
/// the local ones of `like`, and with its spelling of an address that is the same.
fn as_managed(values: &Profile, managed: &BTreeSet<Attribute>, like: &Profile) -> Profile {
    let mut values = values.clone();
    values.retain(|attribute| managed.contains(&attribute) || like.get(attribute).is_some());
    for (attribute, ours) in like.iter().filter(|(attribute, _)| attribute.is_unique()) {
        let theirs = values.get(attribute).map(fold);
        if theirs == Some(fold(ours)) {
            values.set(attribute, ours);
        }
    }
    values.set_local(like);
    values
}

/// Decides what the snapshot takes over of the drifts of this many accounts. Of a kind of which there
/// is more than the limit allows it takes nothing: rather the key or the directory is another's.
pub fn decide(
    drifts: Vec<Drift>,
    accounts: u64,
    rules: &Reconcile,
    now: Timestamp,
) -> (Vec<Decided>, Vec<Excess>) {
    let mut correct = rules.correct.clone();
    let mut excess = Vec::new();
    if let Some(allowed) = rules.limit.allowed(accounts) {
        for kind in &rules.correct {
            let of_kind = drifts.iter().filter(|drift| drift.kinds.contains_key(kind));
            let count = of_kind.count() as u64;
            if count > allowed {
                correct.remove(kind);
                excess.push(Excess {
                    kind: *kind,
                    count,
                    of: accounts,
                    allowed,
                });
            }
        }
    }
    let mut decided: Vec<Decided> = drifts
        .into_iter()
        .map(|drift| drift.decided(&correct, now))
        .collect();
    decided.sort_by(|a, b| a.drift.row.key.cmp(&b.drift.row.key));
    (decided, excess)
}

/// How a group of the organization differs from its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDrift {
    /// The row.
    pub row: ManagedGroup,
    /// Its name now; `None` if it is gone.
    pub name: Option<String>,
    /// Our people who are in it and were not, by name.
    pub joined: Vec<String>,
    /// Those who were in it and are not, by name.
    pub left: Vec<String>,
}

impl GroupDrift {
    /// The drift of one group, if there is any. `people` are the accounts of those who are in it, or
    /// were; whoever has none any more has not left by hand.
    pub fn between(
        row: &ManagedGroup,
        found: Option<&ExistingGroup>,
        people: &HashMap<ExternalId, Person>,
    ) -> Option<Self> {
        let mut drift = GroupDrift {
            row: row.clone(),
            name: found.map(|group| group.name.clone()),
            joined: Vec::new(),
            left: Vec::new(),
        };
        let Some(found) = found else {
            return Some(drift);
        };
        let members: HashSet<&ScimId> = found.members.iter().collect();
        for (key, person) in people {
            if !person.lifecycle.has_account() {
                continue;
            }
            let (was, is) = (row.members.contains(key), members.contains(&person.scim_id));
            match (was, is) {
                (false, true) => drift.joined.push(person.name.clone()),
                (true, false) => drift.left.push(person.name.clone()),
                _ => {}
            }
        }
        drift.joined.sort();
        drift.left.sort();
        let is_as_known =
            drift.joined.is_empty() && drift.left.is_empty() && found.name == row.name;
        (!is_as_known).then_some(drift)
    }
}

/// Somebody whose key accounts may carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant {
    /// The key.
    pub key: ExternalId,
    /// The source.
    pub source: SourceName,
    /// Where the entry stands.
    pub dn: String,
    /// The values that the directory wants, as far as they are known.
    pub profile: Profile,
    /// Whether the directory lets the person log in, as far as that is known.
    pub active: Option<bool>,
}

/// An account that was taken into the snapshot anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// Its row.
    pub row: ManagedAccount,
    /// The row that it takes the place of: the account's, under another key, or the person's, of an
    /// account that is gone.
    pub replaces: Option<ManagedAccount>,
}

/// Makes rows again for accounts that have none, or that carry another key than theirs: of each whose
/// key is one person's, and who has no other account. `rows` are the rows of these accounts and of
/// these people; `gone` are the people whose account the organization does not have any more. Also
/// gives the accounts that are nobody's.
pub fn rebuild(
    accounts: Vec<ExistingAccount>,
    people: &[Claimant],
    rows: &HashMap<ExternalId, ManagedAccount>,
    gone: &HashSet<ExternalId>,
    (managed, policies): (&BTreeSet<Attribute>, &Policies),
    now: Timestamp,
) -> (Vec<Rebuilt>, Vec<ExistingAccount>) {
    let key_of = |account: &ExistingAccount| Some(fold(account.external_id.as_ref()?.as_str()));
    let mut carriers: HashMap<String, usize> = HashMap::new();
    for key in accounts.iter().filter_map(key_of) {
        *carriers.entry(key).or_default() += 1;
    }
    let mut claimants: HashMap<String, Vec<&Claimant>> = HashMap::new();
    for person in people {
        let same_key = claimants.entry(fold(person.key.as_str())).or_default();
        same_key.push(person);
    }
    let is_live = |row: &&ManagedAccount| {
        !matches!(row.lifecycle, Lifecycle::Deleted { .. }) && !gone.contains(&row.key)
    };
    let owners: HashMap<&ScimId, &ManagedAccount> =
        rows.values().map(|row| (&row.scim_id, row)).collect();
    let (mut rebuilt, mut nobodys) = (Vec::new(), Vec::new());
    for account in accounts {
        let key = key_of(&account).filter(|key| carriers.get(key) == Some(&1));
        let claimants = key.and_then(|key| claimants.get(&key));
        let person = match claimants.map(Vec::as_slice) {
            Some([person]) => *person,
            _ => {
                nobodys.push(account);
                continue;
            }
        };
        let of_person = rows.get(&person.key);
        if of_person.as_ref().is_some_and(is_live) {
            nobodys.push(account);
            continue;
        }
        let policy = policies.of(&person.source);
        let is_kept_off =
            !account.active && person.active != Some(false) && policy.on_return == Return::Keep;
        let row = ManagedAccount {
            key: person.key.clone(),
            source: person.source.clone(),
            dn: person.dn.clone(),
            profile: as_managed(&account.profile, managed, &person.profile),
            lifecycle: Lifecycle::of_active(account.active, now),
            // Why the login is off is not known any more: with this policy it stays so.
            absence: is_kept_off.then_some(Absence {
                since: now,
                cause: None,
                pulls: 0,
            }),
            scim_id: account.scim_id.clone(),
            account_id: account.account_id.clone(),
        };
        rebuilt.push(Rebuilt {
            row,
            replaces: owners.get(&account.scim_id).copied().or(of_person).cloned(),
        });
    }
    rebuilt.sort_by(|a, b| a.row.key.cmp(&b.row.key));
    (rebuilt, nobodys)
}
