//! Groups of the organization: as the directory wants them, as the snapshot knows them, and one
//! change to one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Digest, ExternalId, MemberKey, RunId, ScimId, SourceName, Undoes};

/// How many members a group of the organization has at most (contract section 7).
pub const MEMBERS_A_GROUP: usize = 20_000;

/// The group of the directory that a group of the organization is made from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GroupOrigin {
    /// The source of the rule.
    pub source: SourceName,
    /// The group's immutable key.
    pub key: ExternalId,
    /// Where its entry stands, or last stood.
    pub dn: String,
    /// The rule that found it, by what it searches for and how it names: see
    /// `GroupRule::fingerprint`.
    pub rule: String,
}

/// What the mapping made of one group of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredGroup {
    /// The directory's group.
    pub origin: GroupOrigin,
    /// The name that the organization's group is to have.
    pub name: String,
    /// Who is in it, by key, with the DN.
    pub members: BTreeMap<ExternalId, String>,
    /// Members that are there and whose key cannot be read, by DN: it is not known who they are.
    pub unidentified: BTreeSet<MemberKey>,
    /// The groups in it.
    pub nested: BTreeSet<MemberKey>,
    /// Members that no entry has, as far as the bind DN may see, by DN or `uid`.
    pub dangling: BTreeSet<MemberKey>,
    /// Why others may be in it too.
    pub doubts: Vec<String>,
}

/// A group of the organization that dirsyncd keeps, as the snapshot knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedGroup {
    /// The SCIM resource.
    pub scim_id: ScimId,
    /// The key that it was made or taken over for.
    pub key: ExternalId,
    /// Its name.
    pub name: String,
    /// The groups of the directory that lead to it.
    pub origins: BTreeSet<GroupOrigin>,
    /// The people in it who have an account of ours.
    pub members: BTreeSet<ExternalId>,
    /// The groups in those of the directory. One of them that is not seen any more may be hidden.
    pub nested: BTreeSet<MemberKey>,
}

/// What a group operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum GroupChange {
    /// A new group, with its members.
    #[serde(rename = "group_create")]
    Create,
    /// A group that the organization has is taken over.
    #[serde(rename = "group_adopt")]
    Adopt,
    /// The target cannot rename (contract section 6): a group of the new name is made, gets the
    /// members, and the old one is deleted.
    #[serde(rename = "group_rename")]
    Rename,
    /// Members join and leave.
    #[serde(rename = "group_update")]
    Update,
    /// The group is deleted; its members keep their accounts.
    #[serde(rename = "group_delete")]
    Delete,
}

impl GroupChange {
    /// Every kind, in the order in which reports list them.
    pub const ALL: [GroupChange; 5] = [
        GroupChange::Create,
        GroupChange::Adopt,
        GroupChange::Rename,
        GroupChange::Update,
        GroupChange::Delete,
    ];

    /// The name in reports and in the journal.
    pub fn name(self) -> &'static str {
        match self {
            GroupChange::Create => "group_create",
            GroupChange::Adopt => "group_adopt",
            GroupChange::Rename => "group_rename",
            GroupChange::Update => "group_update",
            GroupChange::Delete => "group_delete",
        }
    }
}

/// Why a group operation is planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum GroupReason {
    /// A group without one in the organization appeared.
    Appeared,
    /// Somebody deleted it in the organization.
    Missing,
    /// The organization has it already.
    Found {
        /// What matched: `externalId` or `name`.
        by: String,
    },
    /// The members differ.
    Members,
    /// The directory's group has another name now.
    Renamed {
        /// The name until now.
        from: String,
    },
    /// Its members are in another group of the organization now.
    Merged {
        /// The other group.
        into: String,
    },
    /// The directory does not have it any more.
    Left,
    /// Somebody has what a run did undone.
    Reverted {
        /// The run.
        run: RunId,
    },
}

impl fmt::Display for GroupReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GroupReason::Appeared => write!(f, "new in the directory"),
            GroupReason::Missing => write!(f, "no longer in the organization"),
            GroupReason::Found { by } => {
                write!(f, "the organization has this group already (same {by})")
            }
            GroupReason::Members => write!(f, "other members in the directory"),
            GroupReason::Renamed { from } => {
                write!(f, "renamed in the directory; until now `{from}`")
            }
            GroupReason::Merged { into } => write!(f, "its members are in `{into}` now"),
            GroupReason::Left => write!(f, "no longer in the directory"),
            GroupReason::Reverted { run } => write!(f, "puts back what run {run} did"),
        }
    }
}

/// Somebody who joins or leaves a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GroupMember {
    /// The name that a person would know the member by.
    pub name: String,
    /// The person's key; none for a SCIM user who is nobody's account.
    pub key: Option<ExternalId>,
    /// The SCIM user; none as long as the account is still to be made, or taken over, in this
    /// run.
    pub scim_id: Option<ScimId>,
}

impl GroupMember {
    /// What tells the member apart: the person's key, else the SCIM user.
    pub fn id(&self) -> &str {
        let user = self.scim_id.as_ref().map(ScimId::as_str);
        let key = self.key.as_ref().map(ExternalId::as_str);
        key.or(user).unwrap_or(&self.name)
    }

    /// The SCIM users of those members who have one by now.
    pub fn users(members: &[GroupMember]) -> impl Iterator<Item = &ScimId> + Clone {
        members.iter().filter_map(|member| member.scim_id.as_ref())
    }
}

/// How a group was before an operation that takes it away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerGroup {
    /// The key that it had.
    pub key: ExternalId,
    /// The groups of the directory behind it; `None` where dirsyncd did not keep it.
    pub origins: Option<BTreeSet<GroupOrigin>>,
    /// Everybody in it.
    pub members: BTreeSet<ScimId>,
}

/// A group of the organization that an operation acts on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupTarget {
    /// The SCIM resource.
    pub scim_id: ScimId,
    /// Its name.
    pub name: String,
    /// How many members the organization shows.
    pub members: u64,
}

/// One planned change to one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupOperation {
    /// What is done.
    pub kind: GroupChange,
    /// Why.
    pub reason: GroupReason,
    /// The group's key.
    pub key: ExternalId,
    /// The name of the group, the new one of a renamed group.
    pub name: String,
    /// The groups of the directory behind it.
    pub origins: BTreeSet<GroupOrigin>,
    /// The group as it is; a new one has none yet. Of a rename, the old one.
    pub target: Option<GroupTarget>,
    /// Who joins.
    pub add: Vec<GroupMember>,
    /// Who leaves; of a rename, and of a group whose members are in another one, who does not come
    /// along. Else a deleted group takes its members along without a word here.
    pub remove: Vec<GroupMember>,
    /// The group as it was, where it goes: for whoever undoes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<FormerGroup>,
    /// What it undoes, if it is of a revert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<Undoes>,
}

impl GroupOperation {
    /// How many members it takes out of the group, and of how many: a deletion all of them, but
    /// for those who are in another group then.
    pub fn removals(&self) -> (u64, u64) {
        let members = self.target.as_ref().map_or(0, |target| target.members);
        match self.kind {
            GroupChange::Delete if !matches!(self.reason, GroupReason::Merged { .. }) => {
                (members, members)
            }
            _ => (self.remove.len() as u64, members),
        }
    }

    /// The digest of what it does to whom: an approval is good for exactly this. By it the operations
    /// on one group are told apart, as there may be several.
    pub fn digest(&self) -> Digest {
        self.digest_of(&self.add, &self.remove)
    }

    /// The digests of its parts, which are held and approved each by itself: who joins and who
    /// leaves, where members change.
    pub fn digests(&self) -> Vec<Digest> {
        let is_both = !self.add.is_empty() && !self.remove.is_empty();
        match self.kind {
            GroupChange::Update if is_both => {
                vec![
                    self.digest_of(&self.add, &[]),
                    self.digest_of(&[], &self.remove),
                ]
            }
            _ => vec![self.digest()],
        }
    }

    fn digest_of(&self, add: &[GroupMember], remove: &[GroupMember]) -> Digest {
        let GroupOperation {
            kind,
            key,
            name,
            target,
            add: _,
            remove: _,
            reason,
            origins: _,
            former: _,
            undoes: _,
        } = self;
        let cause = &serde_json::json!(reason)["cause"];
        // Of one that goes they are all concerned, though not named here.
        let takes_all = matches!(kind, GroupChange::Rename | GroupChange::Delete);
        let members = target.as_ref().filter(|_| takes_all);
        let members = members.map(|target| target.members);
        let target = target.as_ref().map(|target| &target.scim_id);
        let what = serde_json::json!([kind, cause, key, name, target, members, remove]);
        let mut what = what.to_string();
        // A group that comes as a whole is approved as that, whoever is in it.
        if *kind == GroupChange::Update && !add.is_empty() {
            let joining: BTreeSet<&str> = add.iter().map(GroupMember::id).collect();
            what += &serde_json::json!(joining).to_string();
        }
        Digest::of_text(&what)
    }

    /// The name of the group as the organization has it; of one that is made, the one it gets.
    pub fn present_name(&self) -> &str {
        let target = self.target.as_ref();
        target.map_or(&self.name, |target| &target.name)
    }

    /// Whether the group goes with nothing in its place.
    pub fn is_deletion(&self) -> bool {
        self.kind == GroupChange::Delete
    }

    /// Whether members leave, or the group does.
    pub fn takes_away(&self) -> bool {
        !self.remove.is_empty() || matches!(self.kind, GroupChange::Rename | GroupChange::Delete)
    }

    /// Whether the group is not kept any more once this has been applied.
    pub fn lets_go(&self) -> bool {
        let lets_go = self.undoes.as_ref().is_some_and(|undoes| undoes.lets_go);
        lets_go && !self.is_deletion()
    }

    /// Who joins that was not in it before: of a rename not those who come along.
    pub fn joining(&self) -> impl Iterator<Item = &GroupMember> {
        let was_in = |user: &ScimId| {
            let former = self.former.as_ref();
            former.is_some_and(|former| former.members.contains(user))
        };
        let is_new = move |member: &&GroupMember| !member.scim_id.as_ref().is_some_and(was_in);
        self.add.iter().filter(is_new)
    }

    /// The operation as far as it came.
    pub fn as_done(&self, progress: &GroupProgress) -> Self {
        let is_taken_along = self.kind == GroupChange::Rename && progress.deleted.is_some();
        GroupOperation {
            add: progress.added.clone(),
            remove: match is_taken_along {
                true => self.remove.clone(),
                false => progress.removed.clone(),
            },
            ..self.clone()
        }
    }
}

/// How far a group operation came: all of it, or what was done before it failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupProgress {
    /// The SCIM resource of the group, once there is one.
    pub scim_id: Option<ScimId>,
    /// Who has joined, each with the SCIM user.
    pub added: Vec<GroupMember>,
    /// Who has left.
    pub removed: Vec<GroupMember>,
    /// The group that is no more.
    pub deleted: Option<ScimId>,
}
