//! What an operation does to an account or a group, effect by effect: by them it is known again.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    Attribute, Digest, ExternalId, GroupChange, GroupOperation, Kind, Operation, Reason, ScimId,
};

/// One thing that an operation does to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The account is deleted.
    Deletion,
    /// Login is turned on, or off.
    Login(bool),
    /// The account that was this key's becomes the person's.
    Key(ExternalId),
    /// This account is taken over.
    Account(ScimId),
    /// An attribute gets this value, or none.
    Value(Attribute, Option<String>),
}

impl Effect {
    /// Whether it stands for the whole operation. What else the operation does is then a part of
    /// it: who gets the login back gets it with the values of the day.
    pub fn is_whole(&self) -> bool {
        !matches!(self, Effect::Value(..))
    }

    /// What tells it apart from every other effect, on whomever. What the account was like before
    /// is not in it, nor why it is done: the same again is what leads to the same.
    pub fn digest(&self, person: &ExternalId) -> Digest {
        let what = match self {
            Effect::Deletion => serde_json::json!(["deletion"]),
            Effect::Login(active) => serde_json::json!(["login", active]),
            Effect::Key(formerly) => serde_json::json!(["key", formerly]),
            Effect::Account(account) => serde_json::json!(["account", account]),
            Effect::Value(attribute, value) => serde_json::json!(["value", attribute, value]),
        };
        Digest::of_text(&serde_json::json!([person, what]).to_string())
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Effect::Deletion => f.write_str("deletion"),
            Effect::Login(true) => f.write_str("login on"),
            Effect::Login(false) => f.write_str("login off"),
            Effect::Key(_) => f.write_str("key"),
            Effect::Account(_) => f.write_str("account"),
            Effect::Value(attribute, _) => attribute.fmt(f),
        }
    }
}

impl Operation {
    /// What it does to the account. A new or adopted account has its values with it; an address
    /// that only makes way is nobody's wish.
    pub fn effects(&self) -> Vec<Effect> {
        if self.reason == Reason::MakesWay {
            return Vec::new();
        }
        let mut effects = Vec::new();
        if self.kind == Kind::Delete {
            effects.push(Effect::Deletion);
        }
        if self.active.0 != self.active.1 {
            effects.push(Effect::Login(self.active.1));
        }
        effects.extend(self.formerly.clone().map(Effect::Key));
        if self.kind == Kind::Adopt {
            let target = self.target.as_ref();
            effects.extend(target.map(|target| Effect::Account(target.scim_id.clone())));
        }
        if matches!(self.kind, Kind::Create | Kind::Adopt) {
            return effects;
        }
        let changed = Attribute::ALL
            .into_iter()
            .filter(|attribute| !attribute.is_local() && self.changes(*attribute));
        effects.extend(changed.map(|attribute| {
            let value = self.after.get(attribute).map(str::to_owned);
            Effect::Value(attribute, value)
        }));
        effects
    }
}

/// One thing that an operation does to a group, which is known by its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupEffect {
    /// The group is made.
    Made,
    /// A group that the organization has is taken over.
    Adopted,
    /// It gets this name.
    Renamed(String),
    /// It is deleted.
    Deleted,
    /// This member joins: see [`GroupMember::id`](super::GroupMember::id).
    Joins(String),
    /// This member leaves.
    Leaves(String),
}

impl GroupEffect {
    /// Whether it stands for the whole operation.
    pub fn is_whole(&self) -> bool {
        !matches!(self, GroupEffect::Joins(_) | GroupEffect::Leaves(_))
    }
}

impl GroupOperation {
    /// What it does to the group. A group that is made or taken over has its members with it, and
    /// one that is deleted takes them along.
    pub fn effects(&self) -> Vec<GroupEffect> {
        let whole = match self.kind {
            GroupChange::Create => return vec![GroupEffect::Made],
            GroupChange::Adopt => return vec![GroupEffect::Adopted],
            GroupChange::Delete => return vec![GroupEffect::Deleted],
            GroupChange::Rename => Some(GroupEffect::Renamed(self.name.clone())),
            GroupChange::Update => None,
        };
        let joins = self
            .joining()
            .map(|one| GroupEffect::Joins(one.id().to_owned()));
        let leaves = self.remove.iter();
        let leaves = leaves.map(|one| GroupEffect::Leaves(one.id().to_owned()));
        whole.into_iter().chain(joins).chain(leaves).collect()
    }
}
