//! A directory, an organization and the program between them.

use super::directory::Transport;
use super::unchanged::Before;
use super::{Account, Dirsyncd, Organization, Person, Planned, Slapd};

pub struct World {
    pub slapd: Slapd,
    pub organization: Organization,
    pub dirsyncd: Dirsyncd,
}

/// An attribute's change: name, old value, new value; "" stands for none.
pub type Change = (&'static str, &'static str, &'static str);

/// An operation that a plan must have.
pub struct Expected(Planned);

impl Expected {
    pub fn new(kind: &str, person: &Person, reason: &str, changes: &[Change]) -> Self {
        let value = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Expected(Planned {
            kind: kind.to_owned(),
            account: person.name(),
            reason: reason.to_owned(),
            changes: changes
                .iter()
                .map(|(name, old, new)| ((*name).to_owned(), value(old), value(new)))
                .collect(),
            held: false,
        })
    }

    /// A new account with all that the directory says of the person.
    pub fn creation(person: &Person, reason: &str) -> Self {
        let name = person.name();
        let mail = person.mail.clone().unwrap();
        let values = [
            ("userName", mail.as_str()),
            ("email", &mail),
            ("displayName", &name),
            ("givenName", &person.given),
            ("familyName", &person.family),
            ("title", &person.title),
            ("preferredLanguage", "en"),
            ("department", &person.department),
        ];
        Expected(Planned {
            kind: "create".to_owned(),
            account: name.clone(),
            reason: reason.to_owned(),
            changes: values
                .into_iter()
                .map(|(name, value)| (name.to_owned(), None, Some(value.to_owned())))
                .collect(),
            held: false,
        })
    }
}

/// What turning the login off looks like.
pub const DEACTIVATED: Change = ("active", "true", "false");
/// What turning the login on again looks like.
pub const ACTIVATED: Change = ("active", "false", "true");

impl World {
    /// A directory with these people, reached by ldaps://, and an empty organization.
    pub fn of(people: &[Person]) -> Self {
        Self::reached_by(Transport::Tls, people)
    }

    pub fn reached_by(transport: Transport, people: &[Person]) -> Self {
        let slapd = Slapd::start(people);
        let organization = Organization::start();
        let dirsyncd = Dirsyncd::between(&slapd, transport, &organization);
        World {
            slapd,
            organization,
            dirsyncd,
        }
    }

    /// The same, after the first sync.
    pub fn synced(people: &[Person]) -> Self {
        let world = Self::of(people);
        world.dirsyncd.sync(0);
        world
    }

    /// How files and organization are now.
    pub fn before(&self) -> Before<'_> {
        Before::of(self.dirsyncd.folder(), &self.organization)
    }

    /// The person's account, which must be there.
    #[track_caller]
    pub fn account(&self, person: &Person) -> Account {
        let account = self.organization.of_key(&person.key());
        account.unwrap_or_else(|| panic!("{} has no account", person.uid))
    }

    /// The dry run must show exactly these operations, with reasons and values, and change nothing.
    #[track_caller]
    pub fn expect_plan(&self, expected: &[Expected]) {
        let before = self.before();
        let plan = self.dirsyncd.plan();
        assert_eq!(plan.code, 0, "{:#}", plan.json);
        let mut planned = plan.operations();
        planned.sort();
        let mut wanted: Vec<Planned> = expected.iter().map(|Expected(one)| one.clone()).collect();
        wanted.sort();
        assert_eq!(planned, wanted);
        let shown = self
            .dirsyncd
            .run(&["plan", "--detailed-exitcode"])
            .expect_code(10)
            .stdout;
        for operation in &wanted {
            assert!(shown.contains(&operation.account), "{shown}");
            assert!(shown.contains(&operation.reason), "{shown}");
            for (attribute, old, new) in &operation.changes {
                // A new account's values are shown in one line; name and address stand in its heading.
                let value = |value: &Option<String>| value.clone().unwrap_or("(none)".to_owned());
                let change = match (operation.kind.as_str(), attribute.as_str()) {
                    ("create", "displayName" | "email") => value(new),
                    ("create", _) => format!("{attribute} {}", value(new)),
                    _ => format!("{} → {}", value(old), value(new)),
                };
                assert!(shown.contains(&change), "`{change}` is not in {shown}");
            }
        }
        before.expect_unchanged();
    }

    /// The dry run shows exactly these operations, the sync does them, and then nothing is left to do.
    #[track_caller]
    pub fn expect_and_apply(&self, expected: &[Expected]) {
        self.expect_plan(expected);
        let output = self.dirsyncd.sync(0);
        let done = format!("Done: {} applied.", expected.len());
        assert!(output.stdout.contains(&done), "{output}");
        self.dirsyncd.expect_nothing_to_do();
    }
}
