//! Random changes of a directory: after each few, following it must give the plan of a full pull.

use fastrand::Rng;

use crate::expect_one_plan;
use crate::support::people::{BASE, DEPARTMENTS, Person};
use crate::support::{Slapd, World};

const START: usize = 40;

/// The people as the test has left them, and where their entries are.
struct Model {
    rng: Rng,
    next: usize,
    people: Vec<(Person, String)>,
    /// The names of the departments' OUs, which are renamed, too.
    units: Vec<String>,
}

impl Model {
    fn new(seed: u64, people: &[Person]) -> Self {
        Model {
            rng: Rng::with_seed(seed),
            next: people.len(),
            people: people
                .iter()
                .map(|person| (person.clone(), person.dn()))
                .collect(),
            units: DEPARTMENTS.iter().map(|unit| (*unit).to_owned()).collect(),
        }
    }

    fn any(&mut self) -> Option<usize> {
        (!self.people.is_empty()).then(|| self.rng.usize(..self.people.len()))
    }

    fn unit(&mut self) -> String {
        let unit = &self.units[self.rng.usize(..self.units.len())];
        // Outside of the base one time in five.
        match self.rng.u8(..5) {
            0 => format!("ou=empty,{BASE}"),
            _ => format!("ou={unit},ou=people,{BASE}"),
        }
    }

    /// One random change. Tells it, for the message of a failure.
    fn step(&mut self, slapd: &Slapd) -> String {
        let Some(at) = self.any() else {
            return self.join(slapd);
        };
        let dn = self.people[at].1.clone();
        let set = |attribute: &str, value: &str| {
            slapd.replace(&dn, &[(attribute, value)]);
            format!("{attribute} of {dn} becomes {value}")
        };
        match self.rng.u8(..16) {
            0 | 1 => self.join(slapd),
            2 => {
                slapd.delete(&dn);
                self.people.remove(at);
                format!("{dn} is deleted")
            }
            // Somebody who was deleted comes back under the same key.
            3 => {
                let (person, _) = &self.people[at];
                let entry = person.clone();
                slapd.delete(&dn);
                let unit = format!("ou={},ou=people,{BASE}", self.units[0]);
                let new = format!("uid={},{unit}", entry.uid);
                slapd.add_at(&entry, &new);
                self.people[at].1.clone_from(&new);
                format!("{dn} is deleted and made again as {new}")
            }
            4 | 5 => set("title", &format!("Title {}", self.rng.u8(..4))),
            6 => set("employeeType", "leaver"),
            7 => set("employeeType", "staff"),
            8 => set("employeeType", "external"),
            // Addresses of others are taken, and freed.
            9 | 10 => {
                let other = self.rng.usize(..START);
                set("mail", &format!("p{other:02}@example.org"))
            }
            11 => set("mail", &format!("new{}@example.org", self.rng.u8(..8))),
            12 => {
                let rdn = format!("uid=r{}", self.rng.u32(..));
                slapd.rename(&dn, &rdn, None);
                let (_, rest) = dn.split_once(',').unwrap();
                self.people[at].1 = format!("{rdn},{rest}");
                format!("{dn} becomes {rdn}")
            }
            13 | 14 => {
                let (rdn, rest) = dn.split_once(',').unwrap();
                let unit = self.unit();
                if unit != rest {
                    slapd.rename(&dn, rdn, Some(&unit));
                }
                self.people[at].1 = format!("{rdn},{unit}");
                format!("{dn} moves to {unit}")
            }
            _ => {
                let services = format!("cn=limited,ou=services,{BASE}");
                slapd.replace(&services, &[("description", &self.rng.u32(..).to_string())]);
                "an entry that is no person changes".to_owned()
            }
        }
    }

    fn join(&mut self, slapd: &Slapd) -> String {
        let uid = format!("n{:03}", self.next);
        self.next += 1;
        let mut person = Person::new(&uid, "New", &format!("Person {uid}"));
        if self.rng.u8(..6) == 0 {
            person.mail = None;
        }
        let dn = format!("uid={uid},ou={},ou=people,{BASE}", self.units[1]);
        slapd.add_at(&person, &dn);
        self.people.push((person, dn.clone()));
        format!("{dn} is added")
    }

    /// An OU gets another name, and with it all the entries below.
    fn rename_unit(&mut self, slapd: &Slapd) -> String {
        let at = self.rng.usize(..self.units.len());
        let old = self.units[at].clone();
        let new = format!("Unit{}", self.rng.u32(..));
        slapd.rename(
            &format!("ou={old},ou=people,{BASE}"),
            &format!("ou={new}"),
            None,
        );
        for (_, dn) in &mut self.people {
            *dn = dn.replace(&format!(",ou={old},"), &format!(",ou={new},"));
        }
        self.units[at].clone_from(&new);
        format!("the OU {old} becomes {new}")
    }
}

/// What leaves out those whose `employeeType` is `external`.
#[derive(Clone, Copy)]
enum LeftOut {
    ByFilter,
    /// And all of a department, which an OU that is renamed ceases to be.
    ByExpression,
}

fn drive(seed: u64, sessionlog: bool, left_out: LeftOut, rounds: usize) {
    let people = Person::several(START);
    let mut world = World::of(&people);
    if !sessionlog {
        world.slapd.forget_deletions();
    }
    match left_out {
        LeftOut::ByFilter => {
            let filter = "(&(objectClass=inetOrgPerson)(!(employeeType=external)))";
            world.dirsyncd.set_source("filter", &format!("{filter:?}"));
        }
        LeftOut::ByExpression => {
            let exclude = "'attr(\"employeeType\") == \"external\"'";
            world.dirsyncd.set_source("exclude", exclude);
            let base = format!("ou={},ou=people,{BASE}", DEPARTMENTS[3]);
            world
                .dirsyncd
                .set_source("exclude_base", &format!("{base:?}"));
        }
    }
    // What is decided is not the matter here, so that nothing is held.
    world.dirsyncd.rest =
        "[guards]\ndeactivate = { percent = 100 }\nchange_email = { percent = 100 }\n".to_owned();
    world.dirsyncd.sync(0);
    let mut model = Model::new(seed, &people);
    let mut followed = 0;
    for round in 0..rounds {
        let changes: Vec<String> = (0..=model.rng.usize(..5))
            .map(|_| model.step(&world.slapd))
            .collect();
        println!("seed {seed}, round {round}: {changes:#?}");
        let (_, changed) = expect_one_plan(&world.dirsyncd);
        followed += changed;
        // Some changes wait for a later run, on top of others.
        if model.rng.bool() {
            let output = world.dirsyncd.run(&["sync"]);
            assert!(matches!(output.code, Some(0 | 3)), "{output}");
            expect_one_plan(&world.dirsyncd);
        }
        // A change above the entries cannot be followed, and is not missed either.
        if round % 10 == 9 {
            println!("{}", model.rename_unit(&world.slapd));
            let output = world.dirsyncd.run(&["sync"]);
            let words = [
                "read in full instead of what changed: the containers below the bases have changed",
            ];
            assert!(matches!(output.code, Some(0 | 3)), "{output}");
            output.expect_words(&words);
        }
    }
    assert!(followed > 0);
}

/// The seeds of a test: those given, or `SEEDS=FIRST-LAST` of the environment for a longer search.
fn seeds(usual: &[u64]) -> Vec<u64> {
    match std::env::var("SEEDS") {
        Ok(range) => {
            let (first, last) = range.split_once('-').unwrap();
            (first.parse().unwrap()..=last.parse().unwrap()).collect()
        }
        Err(_) => usual.to_vec(),
    }
}

#[test]
fn following_a_directory_gives_the_plans_of_full_pulls() {
    for seed in seeds(&[1, 2]) {
        drive(seed, true, LeftOut::ByFilter, 25);
    }
}

#[test]
fn following_a_directory_without_a_log_of_deletions_gives_the_plans_of_full_pulls() {
    for seed in seeds(&[3]) {
        drive(seed, false, LeftOut::ByFilter, 25);
    }
}

#[test]
fn following_a_directory_of_which_some_are_excluded_gives_the_plans_of_full_pulls() {
    for (seed, sessionlog) in [(4, true), (5, false)] {
        for seed in seeds(&[seed]) {
            drive(seed, sessionlog, LeftOut::ByExpression, 15);
        }
    }
}
