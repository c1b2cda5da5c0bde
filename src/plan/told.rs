//! What a plan tells beside its operations: who is refused, skipped, not believed to be gone, and
//! why. Every reason is a sentence with the way out.

use super::groups::GroupNotUndone;
use super::{Failing, NotUndone};
use crate::mapping::Problem;
use crate::model::{
    Cause, ExternalId, GroupChange, Incomplete, Kind, RunId, SourceName, Timestamp,
};

/// A person for whom nothing is done because something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The person's key, where it is known.
    pub key: Option<ExternalId>,
    /// The source of the entry.
    pub source: SourceName,
    /// The entry.
    pub dn: String,
    /// What is wrong, and the way out.
    pub why: RefusalReason,
}

/// Why nothing is done for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusalReason {
    /// The entry cannot be mapped.
    #[error(transparent)]
    Unmapped(#[from] Problem),
    /// Several entries have one key.
    #[error(
        "another entry has the same key {key}: {other}; a key belongs to one entry, so nothing is done for either"
    )]
    RepeatedKey {
        /// The key.
        key: ExternalId,
        /// The other entry.
        other: String,
    },
    /// Several people have one address.
    #[error(
        "{attribute} {value} is also that of {others}: an address belongs to one account; correct it in the directory"
    )]
    Contested {
        /// `userName` or `email`.
        attribute: String,
        /// The value.
        value: String,
        /// The other people.
        others: String,
    },
    /// Another account holds the address.
    #[error(
        "{attribute} {value} belongs to another account: {holder}; free it there, or correct the entry"
    )]
    AddressTaken {
        /// `userName` or `email`.
        attribute: String,
        /// The value.
        value: String,
        /// Who holds it.
        holder: String,
    },
    /// Several people exchange their addresses.
    #[error(
        "the new address is freed only by a change that waits for this one ({others}): let one of them have another address for one run"
    )]
    AddressCycle {
        /// The others in the cycle.
        others: String,
    },
    /// Several accounts of the organization could be the person's.
    #[error(
        "several accounts of the organization match: {candidates}; settle in the organization which of them is the person's"
    )]
    Ambiguous {
        /// The accounts.
        candidates: String,
    },
    /// Several people match one account of the organization.
    #[error(
        "the organization's account {account} matches several people ({people}): settle in the organization whose it is"
    )]
    Shared {
        /// The account.
        account: String,
        /// The people.
        people: String,
    },
    /// Several entries could be that of whoever had an account before.
    #[error(
        "a new entry that may be that of {holder}, who is gone, as may {people}: correct the employee number or the address of those who are somebody else; a number that identifies nobody, such as `0`, is to be mapped to nothing"
    )]
    SharedReturn {
        /// Whose account it was.
        holder: String,
        /// The others.
        people: String,
    },
    /// The account carries the key of another provisioner.
    #[error(
        "the organization's account {candidate} carries a key that is not of this directory, so another provisioner may keep it, and `adopt = \"unowned\"` in [policy] forbids to take it over"
    )]
    Foreign {
        /// The account.
        candidate: String,
    },
    /// Several people who have left could be the newcomer.
    #[error(
        "a new entry of somebody who was known under another key, but of whom: {candidates}; correct employee number or address of the entries"
    )]
    AmbiguousReturn {
        /// The accounts.
        candidates: String,
    },
    /// The address was that of somebody who has left.
    #[error("{attribute} {value} was that of {holder}, who left on {since}: {way_out}")]
    AddressRecycled {
        /// `userName` or `email`.
        attribute: String,
        /// The value.
        value: String,
        /// Whose it was.
        holder: String,
        /// The day when that person was first missing.
        since: String,
        /// When or how it can be had.
        way_out: String,
    },
    /// The person may be one whose old entry is gone, which is not proven in this run.
    #[error(
        "may be the person of {holder}, whose entry is missing; as that is not believed in this run, nothing is done"
    )]
    PerhapsReturned {
        /// The account.
        holder: String,
    },
    /// What was planned for all is held, and looking at one person lets nothing through.
    #[error(
        "held in the hold `{hold}` of a run for all: `dirsyncd approve {hold} --only KEY --reason …` lets it through"
    )]
    Held {
        /// The hold.
        hold: String,
    },
    /// There is an entry of the person that cannot be read.
    #[error(
        "the entry of this account is there and cannot be read: {why}; let the bind DN read it, or delete it if it is nobody's (nothing departs because of it)"
    )]
    Unreadable {
        /// What the server said.
        why: String,
    },
    /// The organization has the account, and adoption is off.
    #[error(
        "the organization has this account already ({candidate}), and `adopt = false` in [policy] forbids to take it over"
    )]
    AdoptionOff {
        /// The account.
        candidate: String,
    },
    /// The organization does not give the right to do it to this account.
    #[error(
        "the organization does not allow `{right}` for {account} ({reason}): change that where the account is managed, or leave the person out"
    )]
    Forbidden {
        /// The right that is missing, under the API's name.
        right: String,
        /// The account.
        account: String,
        /// The API's reason.
        reason: String,
    },
    /// The provisioning directory has no room for another account.
    #[error(
        "the provisioning directory has {users} users and takes {max} (`max_users` in [organization]): take users out of it, or raise the figure if the organization's limit is higher"
    )]
    Overfull {
        /// How many users it has now.
        users: u64,
        /// How many it takes.
        max: u64,
    },
    /// It failed too often.
    #[error("{0}")]
    Quarantined(Failing),
    /// The row of a saved plan is not as it was written.
    #[error(
        "the row of the saved plan was changed after it was written ({0}): rows may be taken out of a saved plan, not changed; make a new plan"
    )]
    Tampered(String),
}

/// A person for whom nothing is done, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The person's key, where it is known.
    pub key: Option<ExternalId>,
    /// The entry.
    pub dn: String,
    /// Why.
    pub why: SkipReason,
}

/// Why a person is skipped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    /// Disabled before there was an account.
    #[error("disabled in the directory, and without an account")]
    DisabledNewcomer,
    /// Disabled, with what shows the person of an account, and another address than the account has.
    #[error(
        "disabled in the directory, and by {by} a second entry of {holder}: that account is kept, and follows its own entry; if it is to be without a login at once, deactivate it in the organization"
    )]
    SecondEntry {
        /// Whose account it is, with the entry that it follows.
        holder: String,
        /// What is the same.
        by: &'static str,
    },
    /// No address, and the configuration says that such people are skipped.
    #[error("{0}")]
    WithoutMail(Problem),
    /// The address is on a domain that is not the organization's.
    #[error(
        "the domain of {email} is not among the organization's verified domains ({verified}): verify it there, or correct the address"
    )]
    UnverifiedDomain {
        /// The address.
        email: String,
        /// The verified domains.
        verified: String,
    },
    /// Out of scope, and the account is kept by policy.
    #[error("{cause}; the account is kept (`on_{} = \"keep\"`)", cause.name())]
    KeptOnLeave {
        /// Why the person is out of scope.
        cause: Cause,
    },
    /// Out of scope, and not yet confirmed.
    #[error(
        "{cause}, seen by {pulls} of {needed} pulls; the account is deactivated if that is confirmed, not before {} (`deactivate_after`)",
        until.format("%Y-%m-%d %H:%M UTC")
    )]
    Unconfirmed {
        /// Why the person is out of scope.
        cause: Cause,
        /// How many pulls have shown it.
        pulls: u32,
        /// How many it takes.
        needed: u32,
        /// When the time is over.
        until: Timestamp,
    },
    /// By the former configuration the person would be in scope.
    #[error(
        "put out of scope by a change of the configuration; the account is kept until that is accepted (`--accept-scope-change`)"
    )]
    Rescoped,
    /// The entry cannot be read, and the configuration says that such people are skipped.
    #[error("the entry is there and cannot be read: {why} (`on_unreadable = \"skip\"`)")]
    Unreadable {
        /// What the server said.
        why: String,
    },
    /// Back, and the login stays off by policy.
    #[error("back in the directory; the login stays off (`on_return = \"keep\"`)")]
    KeptOnReturn,
    /// Some attributes stay as they are by policy.
    #[error("changed in the directory; kept by `on_rename` or `on_email_change`: {attributes}")]
    KeptOnChange {
        /// Which.
        attributes: String,
    },
    /// In another source than before, and by policy it is not followed.
    #[error("moved here from source `{from}`; the account is kept (`on_source_change = \"keep\"`)")]
    KeptInSource {
        /// Where the person was before.
        from: SourceName,
    },
    /// Disabled, and the account is kept by policy.
    #[error("disabled in the directory; the account is kept (`on_disabled = \"keep\"`)")]
    KeptOnDisabled,
    /// The account is not as the saved plan expects it any more.
    #[error("not done ({kind}): no longer as the saved plan expects it: {what}")]
    Moved {
        /// What was to be done.
        kind: Kind,
        /// What differs.
        what: String,
    },
    /// It takes an address that an operation was to free which is not carried out.
    #[error(
        "not done ({kind}): it waits for an address that {freer} was to free, which is not carried out"
    )]
    Waiting {
        /// What was to be done.
        kind: Kind,
        /// Whose operation, or its key where the saved plan does not have it.
        freer: String,
    },
    /// It failed before, and is tried again later.
    #[error("{0}")]
    Failing(Failing),
    /// It takes an address that an operation is to free which is tried again later.
    #[error(
        "the {kind} waits for an address that {freer} is to free, whose change failed and is tried again later"
    )]
    Behind {
        /// What is to be done.
        kind: Kind,
        /// Whose operation.
        freer: String,
    },
    /// The deletion of the account is cancelled, and nothing else is done to it at once.
    #[error(
        "is back while the account is being deleted: that is cancelled first and alone, as it can be for a time only; a later run restores the login"
    )]
    RestoredLater,
    /// The account is not deleted, as somebody may have it.
    #[error(
        "is not deleted, although it is time: {by} may be the same person under a new key, and cannot have the account now; correct the employee number or the address of that entry if it is somebody else"
    )]
    Claimed {
        /// Whose entry.
        by: String,
    },
    /// The account of the person's old entry is being deleted.
    #[error(
        "is to have the account of an entry that is gone, {holder}, whose deletion is cancelled first; a later run gives it"
    )]
    Uncancelled {
        /// Whose account it was.
        holder: String,
    },
    /// A group is not as the saved plan expects it any more.
    #[error("not done ({}): no longer as the saved plan expects it: {what}", kind.name())]
    GroupMoved {
        /// What was to be done.
        kind: GroupChange,
        /// What differs.
        what: String,
    },
    /// The rest of a group operation is done, but not for this member.
    #[error("not done ({}) for {member}: {what}", kind.name())]
    MemberMoved {
        /// What is done.
        kind: GroupChange,
        /// Who was to join or leave.
        member: String,
        /// What is not as the saved plan expects it.
        what: String,
    },
    /// What a run did is not undone here.
    #[error("not undone ({kind}): {why}")]
    NotUndone {
        /// What the run did.
        kind: Kind,
        /// Why.
        why: NotUndone,
    },
    /// What a run did to a group is not undone, or not all of it.
    #[error("not undone ({}): {why}", kind.name())]
    GroupNotUndone {
        /// What the run did.
        kind: GroupChange,
        /// Why.
        why: GroupNotUndone,
    },
    /// Of a change, some attributes have been put back by a revert; the rest goes on.
    #[error(
        "changed in the directory; put back by `dirsyncd revert`, and held by `reverted` once the rest is done: {attributes}"
    )]
    PutBack {
        /// Which.
        attributes: String,
    },
}

impl SkipReason {
    /// Whether a saved plan or a revert was not carried out here as it was asked for, or
    /// something waits for somebody to decide, or a login that is to be turned off stays on and on.
    pub fn is_stale(&self) -> bool {
        match self {
            SkipReason::Moved { .. }
            | SkipReason::GroupMoved { .. }
            | SkipReason::MemberMoved { .. }
            | SkipReason::Waiting { .. }
            | SkipReason::Claimed { .. }
            | SkipReason::PutBack { .. } => true,
            SkipReason::Failing(failing) => failing.is_overdue,
            SkipReason::NotUndone { why, .. } => why.needs_attention(),
            SkipReason::GroupNotUndone { why, .. } => why.needs_attention(),
            _ => false,
        }
    }
}

/// A source because of which no absence is believed in this run: whoever is missing anywhere
/// may be in what was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// The source.
    pub source: SourceName,
    /// How many people were not seen in any source.
    pub absent: u64,
    /// Why that is no proof that they left.
    pub why: Disbelief,
}

/// Why an absence is no proof of a departure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disbelief {
    /// The pull did not see all there is.
    #[error(transparent)]
    Incomplete(#[from] Incomplete),
    /// Any of the missing people may be one of the entries without a key.
    #[error("entries without a usable key: {0}; any of them may be one of those missing")]
    Unidentified(u64),
    /// The missing people could not be looked for.
    #[error("where the missing people are could not be found out: {0}")]
    Unlocated(String),
    /// Missing people were found in scope when they were looked for.
    #[error(
        "of the missing people {0} were found in scope when they were looked for, so the pull has not shown everybody; the next run reads anew"
    )]
    StillThere(u64),
    /// They would be in scope by the former configuration.
    #[error(
        "put out of scope by a change of the configuration; `dirsyncd plan --against OLD.toml` shows what an edit does, and `--accept-scope-change` lets them go"
    )]
    Rescoped,
}

/// Something to know about how a source was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The source.
    pub source: SourceName,
    /// What.
    pub what: Noticed,
}

/// What there is to know about how a source was read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Noticed {
    /// Read in full, though only what changed should have been asked for.
    #[error("read in full instead of what changed: {why}")]
    ReadInFull {
        /// Why.
        why: String,
    },
    /// The pulls of what changed had missed something.
    #[error(
        "the pulls of what changed had missed {} ({}{}), which this full one mends; tell the developers, and set `incremental = false` if it goes on",
        count(people.len()), if people.len() > 1 { "the first: " } else { "" },
        people.first().map_or("", String::as_str)
    )]
    Missed {
        /// Who, and what had been missed.
        people: Vec<String>,
    },
}

fn count(people: usize) -> String {
    match people {
        1 => "one person".to_owned(),
        people => format!("{people} people"),
    }
}

/// Why a whole plan is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The source has nobody.
    #[error(
        "the source `{0}` returned no entry at all: that is taken for a fault, not for everybody's departure; check its base, scope and filter, whom it excludes, and what the bind DN may read (dirsyncd check)"
    )]
    EmptyPull(SourceName),
    /// The saved plan was applied before.
    #[error(
        "the saved plan {id} was applied already, at {} by run {run}: a plan is applied at most once; make a new one", at.format("%Y-%m-%d %H:%M:%S UTC")
    )]
    Applied {
        /// Its id.
        id: String,
        /// When it was applied.
        at: Timestamp,
        /// By which run.
        run: RunId,
    },
    /// The saved plan is too old, or of a time that is still to come.
    #[error(
        "the saved plan was made at {}, and now it is {}: a plan is carried out within {days} days, as what it knows of the directory is of the time it was made; make a new one", made.format("%Y-%m-%d %H:%M:%S UTC"), now.format("%Y-%m-%d %H:%M:%S UTC")
    )]
    Age {
        /// When it was made.
        made: Timestamp,
        /// Now.
        now: Timestamp,
        /// For how many days it is good.
        days: i64,
    },
}
