//! Directory servers that break off, lie, loop, stall or send what is no LDAP: the built program against a server
//! that follows a script. Whatever it does, the program ends in time, says what was wrong, writes nothing to the
//! organization and takes nobody for a leaver; when the server is well again, nothing is to do. Some need a real slapd:
//! tests/install-packages.sh.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod aliases;
mod certificates;
mod entries;
mod host;
mod paging;
mod wire;
