//! The organization's admin API, as a client sees it: SCIM 2.0 user provisioning, user
//! management, organizations.
//!
//! Floor 4. A [`Reader`] cannot write: it has no method for it. A [`Writer`] can only be had for
//! an [`ApprovedPlan`](crate::plan::ApprovedPlan), and only `apply/` asks for one.

mod admin;
mod carried;
mod error;
mod foresee;
mod groups;
mod guarded;
mod http;
mod pace;
mod read;
mod scim;
mod traffic;
mod watched;
mod write;

pub use error::{ApiError, Cause, Remedy};
pub use read::{Capabilities, Reader};
pub use traffic::{Traffic, traffic};
pub use watched::{SentRequest, Watcher, watched};
pub use write::Writer;
