//! What plans and reports say of one person, one group or one run, and faults that no part that is real can be made
//! to have at will: from the types that have the words. What leads to them is tested beside the code, and where
//! servers have to misbehave for it, in `tests/hostile/`.

use std::io;
use std::path::PathBuf;

use dirsyncd::config::{Guard, SecretError, untrusted};
use dirsyncd::daemon::{AskError, CannotListen};
use dirsyncd::directory::{DirectoryError, GroupProblem};
use dirsyncd::mapping::{GroupFault, Problem};
use dirsyncd::model::{
    Attribute, Cause, Entry, ExternalId, GroupChange, Incomplete, Kind, RunId, ScimId, SourceName,
    Timestamp,
};
use dirsyncd::org::{ApiError, Cause as ApiCause};
use dirsyncd::plan::groups::{GroupNotUndone, GroupRefusalReason};
use dirsyncd::plan::{
    Disbelief, Failing, Hold, HoldCause, NotUndone, Noticed, RefusalReason, Scope, SkipReason, Stop,
};
use dirsyncd::pull::PullError;
use dirsyncd::rehearsal::RehearsalError;
use dirsyncd::run::{CannotPrune, ReconcileError, RevertError, RunError};
use dirsyncd::simulator::SimulatorError;
use dirsyncd::snapshot::{ApproveError, BackupError, PruneError, RetryError, SnapshotError};

use crate::catalogue::Chapter;

const ADA: &str = "uid=ada,ou=people,dc=example,dc=org";
const GRACE: &str = "uid=grace,ou=people,dc=example,dc=org";

fn text(text: &str) -> String {
    text.to_owned()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// What the system says of a file that is not there.
fn no_file() -> io::Error {
    io::Error::from_raw_os_error(2)
}

fn failing(until: Option<&str>) -> Failing {
    Failing {
        key: ExternalId::new("key-ada"),
        kind: "update",
        count: 3,
        error: text("PATCH /scim/directory/d/Users/7 was refused with 400: no"),
        first: at("2026-06-14T12:00:00Z"),
        last: at("2026-06-15T12:00:00Z"),
        until: until.map(at),
        is_overdue: false,
    }
}

#[test]
fn why_nothing_is_done_for_a_person() {
    let key = || ExternalId::new("key-ada");
    let mail = || text("email");
    let value = || text("ada@example.org");
    let mut chapter = Chapter::default();
    for why in [
        RefusalReason::RepeatedKey {
            key: key(),
            other: text(GRACE),
        },
        RefusalReason::Contested {
            attribute: mail(),
            value: value(),
            others: text(GRACE),
        },
        RefusalReason::AddressTaken {
            attribute: mail(),
            value: value(),
            holder: text(GRACE),
        },
        RefusalReason::AddressCycle {
            others: text(GRACE),
        },
        RefusalReason::Ambiguous {
            candidates: text("Ada <ada@example.org>, SCIM id 7; Ada <a@example.org>, SCIM id 8"),
        },
        RefusalReason::Shared {
            account: text("Ada <ada@example.org>"),
            people: text(GRACE),
        },
        RefusalReason::SharedReturn {
            holder: text(ADA),
            people: text(GRACE),
        },
        RefusalReason::Foreign {
            candidate: text("Ada <ada@example.org>"),
        },
        RefusalReason::AmbiguousReturn {
            candidates: text(GRACE),
        },
        RefusalReason::AddressRecycled {
            attribute: mail(),
            value: value(),
            holder: text(ADA),
            since: text("2026-06-15"),
            way_out: text("it can be another's from 2026-12-15 (`recycle_after`)"),
        },
        RefusalReason::PerhapsReturned { holder: text(ADA) },
        RefusalReason::Held {
            hold: text("deactivate"),
        },
        RefusalReason::Unreadable {
            why: text("insufficientAccessRights (50)"),
        },
        RefusalReason::AdoptionOff {
            candidate: text("Ada <ada@example.org>"),
        },
        RefusalReason::Forbidden {
            right: text("email.set"),
            account: text("Ada"),
            reason: text("managed elsewhere"),
        },
        RefusalReason::Overfull {
            users: 1_000_000,
            max: 1_000_000,
        },
        RefusalReason::Quarantined(failing(None)),
        RefusalReason::Tampered(text("it does not fit its digest")),
    ] {
        chapter.said("refused", &why);
    }
    let kind = Kind::Deactivate;
    for why in [
        SkipReason::DisabledNewcomer,
        SkipReason::SecondEntry {
            holder: text("Ada Lovelace (uid=ada,ou=people,dc=example,dc=org)"),
            by: "employee number",
        },
        SkipReason::UnverifiedDomain {
            email: value(),
            verified: text("example.com"),
        },
        SkipReason::KeptOnLeave {
            cause: Cause::MovedOut,
        },
        SkipReason::Unconfirmed {
            cause: Cause::Deleted,
            pulls: 1,
            needed: 2,
            until: at("2026-06-16T12:00:00Z"),
        },
        SkipReason::Rescoped,
        SkipReason::Unreadable {
            why: text("insufficientAccessRights (50)"),
        },
        SkipReason::KeptOnReturn,
        SkipReason::KeptOnChange {
            attributes: text("displayName, email"),
        },
        SkipReason::KeptInSource {
            from: SourceName::new("partners"),
        },
        SkipReason::KeptOnDisabled,
        SkipReason::Moved {
            kind,
            what: text("the snapshot has no account 7 any more"),
        },
        SkipReason::Waiting {
            kind: Kind::Create,
            freer: text(GRACE),
        },
        SkipReason::Failing(failing(Some("2026-06-15T12:40:00Z"))),
        SkipReason::Behind {
            kind: Kind::Create,
            freer: text(GRACE),
        },
        SkipReason::RestoredLater,
        SkipReason::Claimed { by: text(GRACE) },
        SkipReason::Uncancelled {
            holder: text(GRACE),
        },
        SkipReason::GroupMoved {
            kind: GroupChange::Update,
            what: text("the organization has no group any more"),
        },
        SkipReason::MemberMoved {
            kind: GroupChange::Update,
            member: text("Ada"),
            what: text("the account went"),
        },
        SkipReason::PutBack {
            attributes: text("title"),
        },
    ] {
        chapter.said("skipped", &why);
    }
    for why in [
        NotUndone::Already { by: RunId(7) },
        NotUndone::Failed(text("no answer")),
        NotUndone::Unsent,
        NotUndone::Unanswered,
        NotUndone::Nothing,
        NotUndone::Cancelled,
        NotUndone::Gone(at("2026-06-15T12:00:00Z")),
        NotUndone::GraceOver(at("2026-06-15T12:00:00Z")),
        NotUndone::MovedOn(text("title: Engineer → Admiral")),
    ] {
        chapter.said("not reverted", &SkipReason::NotUndone { kind, why });
    }
    chapter.end("people");
}

#[test]
fn why_nothing_is_done_for_a_group() {
    let key = || ExternalId::new("key-team");
    let mut chapter = Chapter::default();
    for why in [
        GroupFault::NoGroup,
        GroupFault::NoName(text("cn")),
        GroupFault::SeveralNames(text("team-a, team-b")),
        GroupFault::EmptyName(text("team-")),
        GroupFault::LongName {
            name: "x".repeat(20),
            length: 256,
        },
        GroupFault::OddName(text("team\u{7}")),
    ] {
        chapter.said("refused", &GroupRefusalReason::Unmapped(why));
    }
    for why in [
        GroupRefusalReason::RepeatedKey {
            key: key(),
            other: text("cn=b,dc=example,dc=org"),
        },
        GroupRefusalReason::NameTaken { name: text("team") },
        GroupRefusalReason::Ambiguous(text("team, team 2")),
        GroupRefusalReason::TooLarge {
            name: text("all"),
            members: 20_001,
        },
    ] {
        chapter.said("refused", &why);
    }
    for why in [
        GroupNotUndone::Already { by: RunId(7) },
        GroupNotUndone::Failed(text("no answer")),
        GroupNotUndone::Unsent,
        GroupNotUndone::Unrecorded,
        GroupNotUndone::Nothing,
        GroupNotUndone::Gone(ScimId::new("g-1")),
        GroupNotUndone::NotOurs,
        GroupNotUndone::OthersAreIn(text("Grace")),
        GroupNotUndone::NameTaken(text("team")),
        GroupNotUndone::TooLarge(20_001),
        GroupNotUndone::WithoutAccount(text("Ada")),
        GroupNotUndone::MovedOn(text("Ada")),
        GroupNotUndone::ByLater(text("Ada")),
        GroupNotUndone::NotNamed,
    ] {
        let kind = GroupChange::Update;
        chapter.said("not reverted", &SkipReason::GroupNotUndone { kind, why });
    }
    for why in [
        GroupProblem::Absent,
        GroupProblem::NoGroup,
        GroupProblem::Unexpanded,
        GroupProblem::Hidden {
            who: text(ADA),
            why: text("insufficientAccessRights (50)"),
        },
        GroupProblem::Elsewhere {
            who: text(ADA),
            server: text("ldap://b.example.org"),
        },
        GroupProblem::CutOff(text("`member` does not follow 1500 members")),
    ] {
        let group = text("cn=staff,dc=example,dc=org");
        chapter.said(
            "a group of members_of",
            &DirectoryError::Group {
                group,
                problem: why,
            },
        );
    }
    chapter.end("groups");
}

#[test]
fn why_an_entry_cannot_be_mapped() {
    let mut entry = Entry::new(text(ADA));
    entry.push("title", vec![0xff]);
    let mut chapter = Chapter::default();
    for why in [
        Problem::NoKey {
            attribute: text("entryUUID"),
        },
        Problem::BadKey {
            attribute: text("entryUUID"),
            why: text("it has 2 values, and a key has one"),
        },
        Problem::Missing {
            target: Attribute::Email,
            from: text("`mail`"),
            skip: false,
        },
        Problem::NotText(entry.text("title").unwrap_err()),
        Problem::Malformed {
            attribute: text("objectGUID"),
            why: text("3 bytes are no GUID, which has 16 bytes"),
        },
        Problem::Part {
            attribute: text("mail"),
            part: text("mail;range=0-1"),
        },
        Problem::Unacceptable {
            target: Attribute::Email,
            value: text("nobody"),
            why: text("is no e-mail address"),
        },
        Problem::Base(text("`ou=a` is not a distinguished name")),
        Problem::Expression {
            target: text("title"),
            why: text("index 5 is out of bounds"),
        },
    ] {
        chapter.said("an entry", &why);
    }
    chapter.end("mapping");
}

#[test]
fn what_holds_and_what_is_not_believed() {
    let mut chapter = Chapter::default();
    let limit = |guard, attribute, scope| HoldCause::Limit {
        guard,
        attribute,
        scope,
        allowed: 5,
        population: 100,
    };
    for cause in [
        limit(Guard::Deactivate, None, Scope::Whole),
        limit(
            Guard::SameAttribute,
            Some(Attribute::Department),
            Scope::Whole,
        ),
        HoldCause::Protected,
        HoldCause::Administrators {
            groups: vec![text("org-admins")],
            missing: vec![text("site-admins")],
        },
        HoldCause::Freeze {
            until: at("2026-12-24T12:00:00Z"),
            zone: "Europe/Berlin".parse().unwrap(),
        },
        HoldCause::Clock {
            why: text("this machine says that it is noon, and the API says one"),
        },
        HoldCause::Reverted { by: vec![RunId(7)] },
        HoldCause::Saved {
            why: text("`deactivate` held it"),
        },
    ] {
        let hold = Hold {
            name: cause.name(),
            cause,
            planned: 12,
            opened: None,
        };
        chapter.said("a hold", &hold);
    }
    let incomplete = Incomplete {
        entries: 7,
        why: text("the last page is missing"),
    };
    for why in [
        Disbelief::Incomplete(incomplete),
        Disbelief::Unidentified(2),
        Disbelief::Unlocated(text("insufficientAccessRights (50)")),
        Disbelief::StillThere(2),
        Disbelief::Rescoped,
    ] {
        chapter.said("absences that are not believed", &why);
    }
    for what in [
        Noticed::ReadInFull {
            why: text("the configuration has changed"),
        },
        Noticed::Missed {
            people: vec![text(ADA), text(GRACE)],
        },
    ] {
        chapter.said("a note", &what);
    }
    for stop in [
        Stop::EmptyPull(SourceName::new("directory")),
        Stop::Applied {
            id: text("7"),
            at: at("2026-06-15T12:00:00Z"),
            run: RunId(7),
        },
        Stop::Age {
            made: at("2026-06-01T12:00:00Z"),
            now: at("2026-06-15T12:00:00Z"),
            days: 7,
        },
    ] {
        chapter.said("a plan that is refused as a whole", &stop);
    }
    chapter.end("plans");
}

#[test]
fn what_the_api_may_answer() {
    let mut chapter = Chapter::default();
    let said = || text("no such thing");
    for cause in [
        ApiCause::Unreachable {
            url: text("https://api.example.org/"),
            why: text("connection refused"),
        },
        ApiCause::NoAnswer(text("it took too long")),
        ApiCause::NoAnswer(text(
            "not all of it was done: POST /scim/directory/d/Users: the key is not accepted",
        )),
        ApiCause::Stopped,
        ApiCause::Unawaited,
        ApiCause::Unauthorized {
            secret: text("the file /etc/dirsyncd/scim-key"),
        },
        ApiCause::Forbidden(said()),
        ApiCause::NotFound(said()),
        ApiCause::Gone(said()),
        ApiCause::Astray(said()),
        ApiCause::Conflict(said()),
        ApiCause::Throttled,
        ApiCause::Server {
            status: 502,
            message: text("Bad gateway"),
        },
        ApiCause::Refused {
            status: 400,
            message: said(),
        },
        ApiCause::Refused {
            status: 405,
            message: said(),
        },
        ApiCause::Declined(text(
            "the account is not deleted, as in the organization it is another person's by now",
        )),
        ApiCause::Unintelligible(text("it is no JSON: expected value at line 1")),
        ApiCause::Setup(text("cannot read the secret file /etc/dirsyncd/scim-key")),
    ] {
        let error = ApiError {
            request: text("PATCH /scim/directory/d/Users/7"),
            request_id: Some(text("r-1")),
            cause,
        };
        chapter.said("an answer of the API", &error);
    }
    chapter.end("answers");
}

#[test]
fn faults_that_cannot_be_brought_about() {
    let path = || PathBuf::from("/var/lib/dirsyncd/dirsyncd.db");
    let message = || text("disk I/O error");
    let mut chapter = Chapter::default();
    for error in [
        SnapshotError::Locked {
            path: path(),
            holder: text("process 7"),
        },
        SnapshotError::Older { path: path() },
        SnapshotError::NotYet { path: path() },
        SnapshotError::ReadOnly {
            path: path(),
            message: message(),
        },
        SnapshotError::Busy {
            path: path(),
            message: text("database is locked"),
        },
        SnapshotError::Moved { path: path() },
        SnapshotError::Full {
            path: path(),
            message: text("database or disk is full"),
        },
        SnapshotError::Migration {
            path: path(),
            why: message(),
        },
        SnapshotError::Other {
            path: path(),
            message: message(),
        },
    ] {
        chapter.said("the database", &error);
    }
    chapter.said(
        "the database, during a run",
        &RunError::BrokeOff(SnapshotError::Full {
            path: path(),
            message: message(),
        }),
    );
    chapter.said("a backup", &BackupError::Damaged(text("row 7 is missing")));
    let url = || text("ldaps://ldap.example.org");
    let base = || text("ou=people,dc=example,dc=org");
    let broken = || DirectoryError::Broken {
        url: url(),
        entries: 7,
        why: text("no answer within 30s"),
    };
    for error in [
        broken(),
        DirectoryError::PagingLoop {
            url: url(),
            base: base(),
            entries: 7,
        },
        DirectoryError::Referred(Box::new(broken())),
        DirectoryError::Discovery {
            record: text("_ldaps._tcp.example.org"),
            why: text("there is no such record"),
        },
    ] {
        chapter.said("a source", &error);
    }
    for bad in [
        rustls::CertificateError::Expired,
        rustls::CertificateError::NotValidYet,
    ] {
        let why = untrusted(&rustls::Error::InvalidCertificate(bad));
        chapter.said("a source", &DirectoryError::Tls { url: url(), why });
    }
    let attribute: Result<Attribute, _> = "shoeSize".parse();
    chapter.said("an attribute", &attribute.unwrap_err());
    chapter.said(
        "a secret",
        &SecretError::NoCredentials {
            name: text("scim-key"),
            source: no_file(),
        },
    );
    for error in [
        RunError::NoFilters,
        RunError::UnknownAttributes(text("nickName")),
        RunError::Stopped,
        RunError::Pull(PullError::Several {
            who: text("Ada"),
            people: vec![text(ADA), text(GRACE)],
        }),
        RevertError::Pruned {
            run: RunId(1),
            first: RunId(7),
        }
        .into(),
        RevertError::UnderWay(RunId(7)).into(),
        RevertError::Ambiguous {
            run: RunId(7),
            who: text("Ada"),
            meant: text("a (a person), b (a group)"),
        }
        .into(),
        ReconcileError::Incomplete(text("the account of Ada (7)")).into(),
        ReconcileError::Clock(text(
            "this machine says that it is noon, and the API says one",
        ))
        .into(),
        ReconcileError::WhichSource(text("directory, partners")).into(),
        ReconcileError::Folder(no_file()).into(),
    ] {
        chapter.said("a run", &error);
    }
    for error in [
        PruneError::Unanswered(RunId(7)).into(),
        CannotPrune::Folder(no_file()),
        CannotPrune::Api(ApiError {
            request: text("GET /scim/directory/d/ServiceProviderConfig"),
            request_id: None,
            cause: ApiCause::NoAnswer(text("it took too long")),
        }),
        CannotPrune::NoTime,
        CannotPrune::Clock(text(
            "this machine says that it is noon, and the API says one",
        )),
        CannotPrune::Stopped,
    ] {
        chapter.said("pruning", &error);
    }
    for error in [
        RehearsalError::Folder(no_file()),
        RehearsalError::Stopped,
        RehearsalError::Load(text("line 7: no `id`")),
    ] {
        chapter.said("a rehearsal", &error);
    }
    let hold = || text("deactivate");
    for error in [
        ApproveError::Another {
            name: hold(),
            number: 8,
            asked: 7,
        },
        ApproveError::Expired {
            name: hold(),
            number: 7,
            at: at("2026-06-15T12:00:00Z"),
        },
        ApproveError::Never {
            name: text("clock"),
            message: text("set the clock right (NTP) and run again"),
        },
        ApproveError::Ambiguous {
            name: hold(),
            who: text("Ada"),
            keys: text("a, b"),
        },
    ] {
        chapter.said("an approval", &error);
    }
    chapter.said(
        "another try",
        &RetryError::Ambiguous {
            who: text("Ada"),
            keys: text("a, b"),
        },
    );
    for error in [
        AskError::NotAllowed(text("/var/lib/dirsyncd/dirsyncd.db.sock")),
        AskError::NoAnswer {
            place: text("/var/lib/dirsyncd/dirsyncd.db.sock"),
            why: text("no answer within 5 s"),
        },
    ] {
        chapter.said("a daemon", &error);
    }
    chapter.said("a socket", &CannotListen::InUse(path()));
    let listen = "127.0.0.1:80".parse().unwrap();
    chapter.said(
        "a simulator",
        &SimulatorError::Listen {
            address: listen,
            source: no_file(),
        },
    );
    chapter.end("faults");
}
