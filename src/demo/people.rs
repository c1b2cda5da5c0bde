//! A made-up company: the same people for the same seed, and the things that happen to people.

use std::{
    collections::HashMap,
    fmt,
    io::{self, Write},
};

use uuid::Uuid;

use crate::{
    directory::write_entry,
    model::{Entry, escape_value},
};

const BASE: &str = "dc=example,dc=org";

const DEPARTMENTS: &[&str] = &[
    "Engineering",
    "Sales",
    "Finance",
    "People",
    "Legal",
    "Operations",
    "Support",
    "Research",
];

const TITLES: &str = "Engineer, Senior Engineer, Analyst, Consultant, Specialist, Coordinator, Team Lead, Manager, \
    Director, Intern";

/// One person in so many has a name from elsewhere than [`PLAIN`].
const WORLDLY: usize = 8;

/// One person in so many has left before the story begins.
const LEAVERS: usize = 40;

/// A language, given names and surnames that go together.
type Names = (&'static str, &'static str, &'static str);

/// Names in ASCII.
const PLAIN: Names = (
    "en",
    "Ada, Alan, Alice, Amara, Anna, Arjun, Barbara, Ben, Carla, Charles, Chinedu, Claire, Daniel, David, Dennis, \
     Donald, Edsger, Elena, Emma, Fatima, Frances, Grace, Hannah, Hassan, Ines, Ivan, James, Jean-Luc, Julia, \
     Katherine, Ken, Kofi, Laura, Leslie, Linus, Lucas, Maria, Margaret, Mei, Mohammed, Nadia, Niklaus, Noah, Oliver, \
     Olivia, Paul, Peter, Priya, Radia, Robert, Rosa, Samuel, Sara, Sofia, Thomas, Tony, Victor, Wei, Yusuf, Zainab",
    "Adeyemi, Allen, Andersen, Baker, Becker, Bianchi, Brown, Carter, Chen, Clark, Cohen, Costa, D'Angelo, Davies, \
     Dijkstra, Dubois, Evans, Fischer, Gray, Gupta, Hamilton, Hansen, Hoare, Hopper, Hughes, Ibrahim, Jansen, Johnson, \
     Kim, Knuth, Kowalski, Lamport, Lee, Liskov, Lovelace, MacDonald, Mensah, Moreau, Nguyen, O'Brien, O'Neill, \
     Okafor, Patel, Perlman, Ritchie, Rossi, Rossi-Weber, Schmidt, Shah, Silva, Smith, Taylor, Thompson, Turing, \
     Van der Berg, Walker, Wang, Weber, Wirth, Young",
);

/// Names outside ASCII, each with how it is written in an address.
const WORLD: &[Names] = &[
    (
        "de",
        "Jürgen=juergen, Zoë=zoe, Björn=bjoern, Käthe=kaethe",
        "Müller=mueller, Groß=gross, Schröder=schroeder, Jäger=jaeger",
    ),
    (
        "da",
        "Søren=soeren, Åse=aase, Jørgen=joergen",
        "Kjær=kjaer, Sørensen=soerensen, Ågård=aagaard",
    ),
    (
        "sv",
        "Märta=marta, Göran=goran, Åke=ake",
        "Åström=astrom, Sjöberg=sjoberg, Lindström=lindstrom",
    ),
    (
        "pl",
        "Łukasz=lukasz, Małgorzata=malgorzata, Stanisław=stanislaw",
        "Wójcik=wojcik, Żak=zak, Zieliński=zielinski",
    ),
    (
        "es",
        "José=jose, Begoña=begona, Inés=ines, Ramón=ramon",
        "Nuñez=nunez, García=garcia, Ibáñez=ibanez, López=lopez",
    ),
    (
        "fr",
        "Anaïs=anais, François=francois, Chloé=chloe",
        "Lefèvre=lefevre, Béranger=beranger, D'Étienne=detienne",
    ),
    (
        "hr",
        "Đorđe=dorde, Željka=zeljka, Šime=sime",
        "Šimić=simic, Kovačević=kovacevic, Đurić=duric",
    ),
    (
        "tr",
        "Gülşen=gulsen, Özgür=ozgur, İbrahim=ibrahim",
        "Çelik=celik, Yıldız=yildiz, Öztürk=ozturk",
    ),
    (
        "el",
        "Ελένη=eleni, Γιώργος=giorgos, Σοφία=sofia",
        "Παπαδόπουλος=papadopoulos, Νικολάου=nikolaou, Γεωργίου=georgiou",
    ),
    (
        "ru",
        "Мария=mariya, Наталья=natalya, Ольга=olga",
        "Иванова=ivanova, Щербакова=shcherbakova, Ковалёва=kovaleva",
    ),
    (
        "ja",
        "静香=shizuka, 健太=kenta, 美咲=misaki",
        "佐藤=sato, 鈴木=suzuki, 高橋=takahashi",
    ),
];

/// A made-up company: the same seed, size and calls give the same directory.
#[derive(Debug)]
pub struct Company {
    random: Random,
    /// Everyone who ever was here; the place is the number, and with it the key.
    people: Vec<Person>,
    /// How often an address was given out. One that became free is not given out again: mail would reach a stranger.
    taken: HashMap<String, u32>,
}

/// What happened to a person; its `Display` is a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The person's `entryUUID` (RFC 4530).
    pub key: Uuid,
    /// The person's display name, before the change.
    pub person: String,
    /// What changed.
    pub what: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.person, self.what)
    }
}

#[derive(Debug)]
struct Person {
    number: usize,
    names: Names,
    given: &'static str,
    surname: &'static str,
    /// The uid, which is also what is before the `@` of the mail.
    uid: String,
    department: &'static str,
    title: &'static str,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Staff,
    /// `employeeType: leaver` from the beginning.
    Leaver,
    /// `employeeType: leaver` by [`Company::disable`], and so one whom [`Company::enable`] may bring back.
    Disabled,
    /// The entry is no longer there.
    Gone,
}

impl Company {
    /// A company of so many people.
    pub fn new(seed: u64, people: usize) -> Self {
        let mut company = Self {
            random: Random(seed),
            people: Vec::with_capacity(people),
            taken: HashMap::new(),
        };
        for _ in 0..people {
            let mut person = company.candidate();
            if company.random.below(LEAVERS) == 0 {
                person.state = State::Leaver;
            }
            company.people.push(person);
        }
        company
    }

    /// Writes the directory as LDIF (RFC 2849), parents first: the base, a unit for each department, the people as
    /// `inetOrgPerson` (RFC 2798).
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_ldif(&self, out: &mut impl Write) -> io::Result<()> {
        let people = format!("ou=people,{BASE}");
        let base = [
            ("objectClass", "dcObject"),
            ("objectClass", "organization"),
            ("dc", "example"),
            ("o", "Example"),
        ];
        let unit = |dn, ou| entry(dn, &[("objectClass", "organizationalUnit"), ("ou", ou)]);
        // Without `version: 1`, which slapadd takes for a record that has no dn.
        write_entry(out, &entry(BASE.to_owned(), &base))?;
        write_entry(out, &unit(people.clone(), "people"))?;
        for department in DEPARTMENTS {
            let dn = format!("ou={},{people}", escape_value(department));
            write_entry(out, &unit(dn, department))?;
        }
        let present = |person: &&Person| person.state != State::Gone;
        self.people
            .iter()
            .filter(present)
            .try_for_each(|person| write_entry(out, &person.entry()))
    }

    /// `n` people are hired.
    pub fn join(&mut self, n: usize) -> Vec<Change> {
        let mut hire = |_| {
            let person = self.candidate();
            let change = person.change(format!("joins {} as {}", person.department, person.mail()));
            self.people.push(person);
            change
        };
        (0..n).map(&mut hire).collect()
    }

    /// `n` of the staff, or all if there are fewer, move to another department and so below another OU.
    pub fn move_department(&mut self, n: usize) -> Vec<Change> {
        self.change(n, State::Staff, |person, random, _| {
            let from = person.department;
            let others = DEPARTMENTS.iter().copied().filter(|&other| other != from);
            person.department = random.pick(others);
            format!("moves from {from} to {}", person.department)
        })
    }

    /// One of the staff takes another surname: surname, mail and uid change, and the DN with it; the key does not.
    /// None when there is no staff.
    pub fn change_surname(&mut self) -> Option<Change> {
        let mut changes = self.change(1, State::Staff, |person, random, taken| {
            let old = (person.surname, person.mail());
            let others = person.names.2.split(", ").filter(|&other| other != old.0);
            person.surname = random.pick(others);
            person.uid = claim(taken, person.given, person.surname);
            format!(
                "is now {}; {} becomes {}",
                person.display_name(),
                old.1,
                person.mail()
            )
        });
        changes.pop()
    }

    /// `n` of the staff, or all if there are fewer, leave: their entries are removed.
    pub fn leave(&mut self, n: usize) -> Vec<Change> {
        self.turn(n, State::Staff, State::Gone, "leaves; the entry is removed")
    }

    /// `n` of the staff, or all if there are fewer, are disabled: their entries stay, as `employeeType: leaver`.
    pub fn disable(&mut self, n: usize) -> Vec<Change> {
        self.turn(n, State::Staff, State::Disabled, "is disabled")
    }

    /// `n` of those who were [disabled](Self::disable), or all if there are fewer, are `employeeType: staff` again.
    pub fn enable(&mut self, n: usize) -> Vec<Change> {
        self.turn(n, State::Disabled, State::Staff, "returns")
    }

    fn turn(&mut self, n: usize, from: State, to: State, what: &str) -> Vec<Change> {
        self.change(n, from, |person, _, _| {
            person.state = to;
            what.to_owned()
        })
    }

    /// Changes `n` people in that state, none of them twice.
    fn change(
        &mut self,
        n: usize,
        state: State,
        mut alter: impl FnMut(&mut Person, &mut Random, &mut HashMap<String, u32>) -> String,
    ) -> Vec<Change> {
        let Self {
            random,
            people,
            taken,
        } = self;
        let mut fit: Vec<_> = people
            .iter_mut()
            .filter(|person| person.state == state)
            .collect();
        let mut changes = Vec::with_capacity(n.min(fit.len()));
        while changes.len() < n && !fit.is_empty() {
            let person = fit.swap_remove(random.below(fit.len()));
            let before = person.change(String::new());
            let what = alter(person, random, taken);
            changes.push(Change { what, ..before });
        }
        changes
    }

    /// The next person to be hired.
    fn candidate(&mut self) -> Person {
        let random = &mut self.random;
        let names = match random.below(WORLDLY) {
            0 => WORLD[random.below(WORLD.len())],
            _ => PLAIN,
        };
        let given = random.pick(names.1.split(", "));
        let surname = random.pick(names.2.split(", "));
        Person {
            number: self.people.len(),
            names,
            given,
            surname,
            uid: claim(&mut self.taken, given, surname),
            department: random.pick(DEPARTMENTS.iter().copied()),
            title: random.pick(TITLES.split(", ")),
            state: State::Staff,
        }
    }
}

impl Person {
    /// The key is made from the number, so that it is the same in each run and survives every change.
    fn key(&self) -> Uuid {
        let name = format!("person{}.example.org", self.number);
        Uuid::new_v5(&Uuid::NAMESPACE_DNS, name.as_bytes())
    }

    fn display_name(&self) -> String {
        format!("{} {}", shown(self.given), shown(self.surname))
    }

    fn mail(&self) -> String {
        format!("{}@example.org", self.uid)
    }

    fn change(&self, what: String) -> Change {
        Change {
            key: self.key(),
            person: self.display_name(),
            what,
        }
    }

    fn entry(&self) -> Entry {
        let Self {
            number,
            names,
            given,
            surname,
            uid,
            department,
            title,
            state,
        } = self;
        let dn = format!(
            "uid={},ou={},ou=people,{BASE}",
            escape_value(uid),
            escape_value(department)
        );
        let name = self.display_name();
        let kind = match state {
            State::Staff => "staff",
            State::Leaver | State::Disabled | State::Gone => "leaver",
        };
        entry(
            dn,
            &[
                ("objectClass", "inetOrgPerson"),
                ("entryUUID", &self.key().to_string()),
                ("uid", uid),
                ("cn", &name),
                ("displayName", &name),
                ("givenName", shown(given)),
                ("sn", shown(surname)),
                ("mail", &self.mail()),
                ("title", title),
                ("departmentNumber", department),
                ("employeeNumber", &(100_000 + number).to_string()),
                ("employeeType", kind),
                ("telephoneNumber", &format!("+1 555 {number:07}")),
                ("preferredLanguage", names.0),
            ],
        )
    }
}

fn entry(dn: String, attributes: &[(&str, &str)]) -> Entry {
    let mut entry = Entry::new(dn);
    for (name, value) in attributes {
        entry.push(name, value.as_bytes().to_vec());
    }
    entry
}

/// A name as people write it: `Zoë` of `Zoë=zoe`.
fn shown(name: &str) -> &str {
    name.split_once('=').map_or(name, |(shown, _)| shown)
}

/// A name as it is written in an address: `zoe` of `Zoë=zoe`, `oneill` of `O'Neill`.
fn address(name: &str) -> String {
    let name = name.split_once('=').map_or(name, |(_, latin)| latin);
    let plain = name
        .chars()
        .filter(|&c| c.is_ascii_alphanumeric() || c == '-');
    plain.map(|c| c.to_ascii_lowercase()).collect()
}

/// An address that nobody has or had: `zoe.mueller`, `zoe.mueller2`, … Names have no digits, so that a numbered one
/// is nobody's name.
fn claim(taken: &mut HashMap<String, u32>, given: &str, surname: &str) -> String {
    let name = format!("{}.{}", address(given), address(surname));
    let times = taken.entry(name.clone()).or_default();
    *times += 1;
    match *times {
        1 => name,
        times => format!("{name}{times}"),
    }
}

/// splitmix64 (Steele, Lea, Flood 2014): the same numbers on every platform and with every version of every crate.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `bound`; 0 when that is 0. The bias of the remainder is of no account here.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % (bound as u64).max(1)) as usize
    }

    /// One of the choices; an empty text when there are none.
    fn pick(&mut self, choices: impl Iterator<Item = &'static str> + Clone) -> &'static str {
        let count = choices.clone().count();
        let mut choices = choices;
        choices.nth(self.below(count)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::{
        directory::LdifReader,
        model::{Dn, Filter, Scope},
    };

    fn ldif(company: &Company) -> Vec<u8> {
        let mut out = Vec::new();
        company.write_ldif(&mut out).unwrap();
        out
    }

    /// The people by key.
    fn people(company: &Company) -> BTreeMap<String, Entry> {
        LdifReader::new(ldif(company).as_slice(), "company")
            .map(Result::unwrap)
            .filter(|entry| !entry.values("uid").is_empty())
            .map(|entry| (entry.text("entryUUID").unwrap().unwrap().to_owned(), entry))
            .collect()
    }

    fn get<'e>(entry: &'e Entry, name: &str) -> &'e str {
        entry.text(name).unwrap().unwrap()
    }

    #[test]
    fn the_same_seed_is_the_same_company() {
        let tell = |seed| {
            let mut company = Company::new(seed, 100);
            let mut changes = company.join(3);
            changes.extend(company.move_department(3));
            changes.extend(company.change_surname());
            changes.extend(company.leave(2));
            changes.extend(company.disable(2));
            changes.extend(company.enable(1));
            (changes, ldif(&company))
        };
        assert!(tell(7) == tell(7));
        assert!(tell(7) != tell(8));
        assert_eq!(
            Random(1234567).next(),
            6_457_827_717_110_365_317,
            "the reference value"
        );
    }

    #[test]
    fn people_are_as_described() {
        let people = people(&Company::new(1, 4000));
        assert_eq!(people.len(), 4000, "keys are unique");
        for name in ["uid", "mail", "employeeNumber"] {
            let distinct: BTreeSet<_> = people.values().map(|entry| get(entry, name)).collect();
            assert_eq!(distinct.len(), 4000, "{name}");
            assert!(distinct.iter().all(|value| value.is_ascii()));
        }
        let base = Dn::parse("ou=people,dc=example,dc=org").unwrap();
        for entry in people.values() {
            let dn = Dn::parse(entry.dn()).unwrap();
            let own = format!(
                "uid={},ou={}",
                get(entry, "uid"),
                get(entry, "departmentNumber")
            );
            assert_eq!(
                dn,
                Dn::parse(&format!("{own},{}", "ou=people,dc=example,dc=org")).unwrap()
            );
            assert!(dn.is_within(&base, Scope::Subtree));
            let uid = get(entry, "uid");
            assert!(
                uid.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b)),
                "{uid}"
            );
        }
        let count = |filter: &str| {
            let filter = Filter::parse(filter).unwrap();
            people
                .values()
                .filter(|entry| filter.matches(entry))
                .count()
        };
        assert_eq!(
            count("(employeeType=staff)") + count("(employeeType=leaver)"),
            4000
        );
        assert!((60..=140).contains(&count("(employeeType=leaver)")));
        assert!((400..=600).contains(&count("(!(preferredLanguage=en))")));
        assert!(count("(mail=*2@example.org)") > 0);
        let outside_ascii = people
            .values()
            .filter(|entry| !get(entry, "cn").is_ascii())
            .count();
        assert_eq!(outside_ascii, count("(!(preferredLanguage=en))"));
    }

    #[test]
    fn addresses_are_made_from_names() {
        let mut taken = HashMap::new();
        for (given, surname, expected) in [
            ("Zoë=zoe", "Müller=mueller", "zoe.mueller"),
            ("Zoë=zoe", "Müller=mueller", "zoe.mueller2"),
            ("Jean-Luc", "O'Neill", "jean-luc.oneill"),
            ("Ada", "Van der Berg", "ada.vanderberg"),
        ] {
            assert_eq!(claim(&mut taken, given, surname), expected);
        }
        for (_, given, surnames) in WORLD {
            for name in given.split(", ").chain(surnames.split(", ")) {
                let (shown, latin) = name.split_once('=').unwrap();
                assert!(!shown.is_ascii() && latin == address(latin), "{name}");
            }
        }
    }

    #[test]
    fn changes_are_what_they_say() {
        let mut company = Company::new(3, 50);
        let mut before = people(&company);
        let mut step = |company: &Company,
                        changes: &[Change],
                        check: &dyn Fn(Option<&Entry>, Option<&Entry>)| {
            let after = people(company);
            let keys: BTreeSet<_> = changes
                .iter()
                .map(|change| change.key.to_string())
                .collect();
            assert_eq!(keys.len(), changes.len(), "nobody twice");
            for key in before.keys().chain(after.keys()) {
                match keys.contains(key) {
                    true => check(before.get(key), after.get(key)),
                    false => assert_eq!(before.get(key), after.get(key), "nobody else"),
                }
            }
            before = after;
        };
        let both =
            |before: Option<&Entry>, after: Option<&Entry>, same: &[&str], other: &[&str]| {
                let (before, after) = (before.unwrap(), after.unwrap());
                for name in same {
                    assert_eq!(get(before, name), get(after, name), "{name}");
                }
                for name in other {
                    assert_ne!(get(before, name), get(after, name), "{name}");
                }
                assert_eq!(
                    before.dn() == after.dn(),
                    other.iter().all(|&name| name == "employeeType")
                );
            };

        let changes = company.join(3);
        assert_eq!(changes.len(), 3);
        step(&company, &changes, &|before, after| {
            assert!(before.is_none() && after.is_some())
        });

        let changes = company.move_department(4);
        assert_eq!(changes.len(), 4);
        step(&company, &changes, &|a, b| {
            both(a, b, &["uid", "mail", "cn"], &["departmentNumber"])
        });

        let changes = company.change_surname().into_iter().collect::<Vec<_>>();
        assert_eq!(changes.len(), 1);
        step(&company, &changes, &|a, b| {
            both(a, b, &["givenName", "title"], &["uid", "mail", "sn", "cn"])
        });

        assert!(
            company.enable(1).is_empty(),
            "leavers of the beginning do not return"
        );
        let disabled = company.disable(2);
        assert_eq!(disabled.len(), 2);
        step(&company, &disabled, &|a, b| {
            both(a, b, &["uid"], &["employeeType"])
        });
        let enabled = company.enable(9);
        let keys = |changes: &[Change]| {
            changes
                .iter()
                .map(|change| change.key)
                .collect::<BTreeSet<_>>()
        };
        assert_eq!(keys(&enabled), keys(&disabled));
        step(&company, &enabled, &|a, b| {
            both(a, b, &["uid"], &["employeeType"])
        });

        let changes = company.leave(5);
        assert_eq!(changes.len(), 5);
        step(&company, &changes, &|before, after| {
            assert!(before.is_some() && after.is_none())
        });
        assert!(company.leave(1000).len() < 50);
        assert!(company.change_surname().is_none());
    }

    #[test]
    fn a_change_is_a_sentence() {
        let mut company = Company::new(3, 50);
        let mut told = company.join(1);
        told.extend(company.move_department(1));
        told.extend(company.change_surname());
        told.extend(company.disable(1));
        told.extend(company.enable(1));
        told.extend(company.leave(1));
        let told: Vec<_> = told.iter().map(Change::to_string).collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        Mei Wang joins Research as mei.wang@example.org
        Elena Nguyen moves from Support to Sales
        Yusuf Allen is now Yusuf Smith; yusuf.allen@example.org becomes yusuf.smith@example.org
        Željka Đurić is disabled
        Željka Đurić returns
        Lucas D'Angelo leaves; the entry is removed
        ");
    }

    #[test]
    fn an_empty_company_has_its_units() {
        let company = Company::new(0, 0);
        assert_eq!(
            LdifReader::new(ldif(&company).as_slice(), "company").count(),
            2 + DEPARTMENTS.len()
        );
    }
}
