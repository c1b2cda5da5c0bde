//! The nouns of the trade: what every other module speaks about.
//!
//! Floor 0: imports nothing from the crate and does no I/O.

mod absence;
mod account;
mod attribute;
mod dn;
mod effect;
mod entry;
mod exchange;
mod filter;
mod group;
mod group_operation;
mod key;
mod operation;
mod pull;
mod shutdown;
mod who;

pub use absence::{Absence, Cause, Whereabouts};
pub use account::{
    DesiredAccount, Digest, ExistingAccount, ExistingGroup, Lifecycle, ManagedAccount, Timestamp,
    deletion_grace,
};
pub use attribute::{Attribute, Profile, UnknownAttribute, fold, folded_values};
pub use dn::{Dn, DnError, Scope, escape_value};
pub use effect::{Effect, GroupEffect};
pub use entry::{Entry, NotText};
pub use exchange::{Evidence, Exchange, Invoker};
pub use filter::{Filter, FilterError};
pub use group::{Group, GroupKind, MemberKey};
pub use group_operation::{
    DesiredGroup, FormerGroup, GroupChange, GroupMember, GroupOperation, GroupOrigin,
    GroupProgress, GroupReason, GroupTarget, MEMBERS_A_GROUP, ManagedGroup,
};
pub use key::{AccountId, ExternalId, OperationId, RunId, ScimId, SourceName};
pub use operation::{Answer, Change, FormerRow, Kind, Operation, Reason, Target, Undoes};
pub use pull::{Complete, Cursor, Incomplete, PullEnd};
pub use shutdown::Shutdown;
pub use who::{Name, Who};
