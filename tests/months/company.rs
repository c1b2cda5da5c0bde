//! The company: its people, its groups, what happens to them, and how the directory shows it.

use std::collections::BTreeSet;

use fastrand::Rng;
use uuid::Uuid;

use crate::support::people::{self, BASE, Person};

const START: usize = 25;
const START_GROUPS: usize = 4;

/// The name of a group that the organization has from elsewhere.
pub(crate) const THEIRS: &str = "theirs";

/// Where somebody's entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    People,
    Former,
    Nowhere,
}

/// A human being, whatever becomes of the entry.
#[derive(Clone, Debug)]
pub(crate) struct Human {
    pub(crate) number: String,
    pub(crate) key: String,
    pub(crate) mail: String,
    pub(crate) title: String,
    pub(crate) enabled: bool,
    pub(crate) place: Place,
    /// The account that is the human's for good.
    pub(crate) account: Option<String>,
    /// The day when the account lost its person.
    pub(crate) left: Option<i64>,
    /// Whether a revert has cancelled the account's deletion.
    pub(crate) is_reprieved: bool,
}

/// A group of the directory, whatever becomes of the entry.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) key: String,
    /// Without what comes after the first `-` it is the name in the organization.
    pub(crate) name: String,
    pub(crate) is_there: bool,
    /// The people in it, by their place in the company; also some who have left.
    pub(crate) members: BTreeSet<usize>,
    /// A group in it.
    pub(crate) nested: Option<usize>,
}

impl Group {
    /// The name that the rule makes of it.
    pub(crate) fn target(&self) -> &str {
        self.name
            .split_once('-')
            .map_or(&self.name, |(name, _)| name)
    }
}

pub(crate) struct Company {
    pub(crate) rng: Rng,
    pub(crate) humans: Vec<Human>,
    pub(crate) groups: Vec<Group>,
    mails: usize,
    keys: usize,
    pub(crate) day: i64,
    /// Whether guests are left out by the configuration, and whether that was accepted.
    pub(crate) edit: Edit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    None,
    Waiting,
    Accepted,
}

/// What the directory says of somebody who is in scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) enabled: bool,
    pub(crate) mail: String,
    pub(crate) title: String,
}

/// What is wished for somebody; without `said` the person is out of scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) key: String,
    pub(crate) said: Option<Said>,
}

impl Wish {
    pub(crate) fn is_login(&self) -> bool {
        self.said.as_ref().is_some_and(|said| said.enabled)
    }
}

impl Company {
    pub(crate) fn new(seed: u64) -> Self {
        let mut company = Company {
            rng: Rng::with_seed(seed),
            humans: Vec::new(),
            groups: Vec::new(),
            mails: 0,
            keys: 0,
            day: 0,
            edit: Edit::None,
        };
        for _ in 0..START {
            company.join(None);
        }
        for _ in 0..START_GROUPS {
            company.make_group();
        }
        company
    }

    fn fresh_key(&mut self) -> String {
        self.keys += 1;
        Uuid::new_v5(&Uuid::NAMESPACE_OID, self.keys.to_string().as_bytes()).to_string()
    }

    fn fresh_mail(&mut self) -> String {
        self.mails += 1;
        format!("m{}@example.org", self.mails)
    }

    /// True so many times in a hundred.
    pub(crate) fn chance(&mut self, percent: u8) -> bool {
        self.rng.u8(..100) < percent
    }

    fn join(&mut self, mail: Option<String>) -> String {
        let key = self.fresh_key();
        let mail = match mail {
            Some(mail) => mail,
            None => self.fresh_mail(),
        };
        let number = format!("N{}", self.humans.len());
        let said = format!("{number} joins with {mail}");
        self.humans.push(Human {
            number,
            key,
            mail,
            title: "Engineer".to_owned(),
            enabled: true,
            place: Place::People,
            account: None,
            left: None,
            is_reprieved: false,
        });
        said
    }

    pub(crate) fn pick(&mut self, test: impl Fn(&Human) -> bool) -> Option<usize> {
        let found: Vec<usize> = (0..self.humans.len())
            .filter(|at| test(&self.humans[*at]))
            .collect();
        (!found.is_empty()).then(|| found[self.rng.usize(..found.len())])
    }

    fn pick_group(&mut self, test: impl Fn(&Group) -> bool) -> Option<usize> {
        let found: Vec<usize> = (0..self.groups.len())
            .filter(|at| test(&self.groups[*at]))
            .collect();
        (!found.is_empty()).then(|| found[self.rng.usize(..found.len())])
    }

    /// Comes back into the directory, with an address of its own.
    fn come_back(&mut self, at: usize) {
        let mail = self.humans[at].mail.clone();
        let is_taken = self.humans.iter().enumerate().any(|(other, human)| {
            other != at && human.place != Place::Nowhere && human.mail == mail
        });
        if is_taken {
            self.humans[at].mail = self.fresh_mail();
        }
        self.humans[at].place = Place::People;
        self.humans[at].enabled = true;
    }

    /// Goes out of the directory, or to the former ones. Not every directory takes them out of the
    /// groups as well.
    fn leave(&mut self, at: usize, place: Place) {
        self.humans[at].place = place;
        if self.chance(70) {
            for group in &mut self.groups {
                group.members.remove(&at);
            }
        }
    }

    /// What happens on a day. Tells it, for the message of a failure.
    pub(crate) fn live(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        for _ in 0..self.rng.usize(..4) {
            said.extend(self.event());
        }
        for _ in 0..self.rng.usize(..3) {
            said.extend(self.group_event());
        }
        match self.rng.u8(..20) {
            0 => said.push(self.closure()),
            1 => {
                let back: Vec<String> = (0..4).filter_map(|_| self.pick_and_come_back()).collect();
                said.extend(back);
            }
            _ => {}
        }
        said
    }

    fn pick_and_come_back(&mut self) -> Option<String> {
        let at = self.pick(|human| human.place != Place::People || !human.enabled)?;
        self.come_back(at);
        let human = &self.humans[at];
        Some(format!("{} is back with {}", human.number, human.mail))
    }

    /// A whole team goes, or is disabled.
    fn closure(&mut self) -> String {
        let mut gone = Vec::new();
        for _ in 0..self.rng.usize(2..7) {
            let works = |human: &Human| human.place == Place::People && human.enabled;
            let Some(at) = self.pick(works) else { break };
            match self.chance(70) {
                true => self.leave(at, Place::Nowhere),
                false => self.humans[at].enabled = false,
            }
            gone.push(self.humans[at].number.clone());
        }
        format!("{gone:?} leave or are disabled, all at once")
    }

    /// One thing that happens to people.
    fn event(&mut self) -> Option<String> {
        let here = |human: &Human| human.place == Place::People;
        let works = |human: &Human| human.place == Place::People && human.enabled;
        let kind = self.rng.u8(..20);
        let at = match kind {
            0 | 1 => return Some(self.join(None)),
            // A new human gets the address of somebody who is gone.
            2 => {
                let old = self.pick(|human| human.place == Place::Nowhere)?;
                let mail = self.humans[old].mail.clone();
                let is_taken = self
                    .humans
                    .iter()
                    .any(|human| human.place != Place::Nowhere && human.mail == mail);
                return (!is_taken).then(|| self.join(Some(mail)));
            }
            3..=5 => self.pick(here)?,
            6 | 7 => self.pick(works)?,
            8 | 9 => self.pick(works)?,
            10 => self.pick(here)?,
            11 => self.pick(|human| human.place == Place::People && !human.enabled)?,
            12 | 13 => self.pick(here)?,
            14 => self.pick(here)?,
            15 | 16 => self.pick(|human| human.place != Place::People)?,
            17 | 18 => self.pick(|human| human.place == Place::Nowhere || human.enabled)?,
            _ => self.pick(works)?,
        };
        let number = self.humans[at].number.clone();
        Some(match kind {
            3..=5 => {
                let title = ["Engineer", "Head", "Guest", "Writer"][self.rng.usize(..4)];
                title.clone_into(&mut self.humans[at].title);
                format!("{number} becomes {title}")
            }
            6 | 7 => {
                self.humans[at].mail = self.fresh_mail();
                format!("{number} gets {}", self.humans[at].mail)
            }
            // Two or three exchange their addresses.
            8 | 9 => {
                let mut round = vec![at];
                for _ in 0..self.rng.usize(1..3) {
                    if let Some(other) = self.pick(works)
                        && !round.contains(&other)
                    {
                        round.push(other);
                    }
                }
                let mut mails: Vec<String> = round
                    .iter()
                    .map(|at| self.humans[*at].mail.clone())
                    .collect();
                mails.rotate_left(1);
                for (at, mail) in round.iter().zip(mails) {
                    self.humans[*at].mail = mail;
                }
                format!("{round:?} exchange their addresses")
            }
            10 => {
                self.humans[at].enabled = false;
                format!("{number} is disabled")
            }
            11 => {
                self.humans[at].enabled = true;
                format!("{number} is enabled")
            }
            12 | 13 => {
                self.leave(at, Place::Nowhere);
                format!("{number} leaves")
            }
            14 => {
                self.leave(at, Place::Former);
                format!("{number} is moved to the former ones")
            }
            15 | 16 => {
                self.come_back(at);
                format!("{number} is back with {}", self.humans[at].mail)
            }
            17 | 18 => {
                self.come_back(at);
                self.humans[at].key = self.fresh_key();
                if self.rng.bool() {
                    self.humans[at].mail = self.fresh_mail();
                }
                format!("{number} has a new entry with {}", self.humans[at].mail)
            }
            _ => {
                self.leave(at, Place::Nowhere);
                format!("{number} leaves")
            }
        })
    }

    /// A name that no group of the directory has. Some lead to the same name in the organization
    /// as another one's, and now and then to a group that is not ours.
    fn group_name(&mut self) -> String {
        loop {
            let name = match self.rng.u8(..20) {
                0 => THEIRS.to_owned(),
                1..=4 => format!("g{}-b", self.rng.u8(..8)),
                _ => format!("g{}", self.rng.u8(..8)),
            };
            if !self
                .groups
                .iter()
                .any(|one| one.is_there && one.name == name)
            {
                return name;
            }
        }
    }

    fn make_group(&mut self) -> String {
        let key = self.fresh_key();
        let name = self.group_name();
        let members: BTreeSet<usize> = (0..self.rng.usize(..8))
            .filter_map(|_| self.pick(|human| human.place == Place::People))
            .collect();
        let said = format!("group {name} is made with {members:?}");
        self.groups.push(Group {
            key,
            name,
            is_there: true,
            members,
            nested: None,
        });
        said
    }

    /// One thing that happens to groups.
    fn group_event(&mut self) -> Option<String> {
        let there = |group: &Group| group.is_there;
        let kind = self.rng.u8(..20);
        let at = match kind {
            0 => {
                let there = self.groups.iter().filter(|one| one.is_there).count();
                return (there < 10).then(|| self.make_group());
            }
            1 => self.pick_group(|group| !group.is_there)?,
            _ => self.pick_group(there)?,
        };
        let name = self.groups[at].name.clone();
        Some(match kind {
            1 => {
                let is_taken = self
                    .groups
                    .iter()
                    .any(|one| one.is_there && one.name == name);
                let new = if is_taken || self.rng.bool() {
                    self.group_name()
                } else {
                    name.clone()
                };
                self.groups[at].is_there = true;
                self.groups[at].name = new;
                format!("group {name} is there again as {}", self.groups[at].name)
            }
            2..=7 => {
                let who = self.pick(|human| human.place == Place::People)?;
                self.groups[at].members.insert(who);
                format!("{} joins group {name}", self.humans[who].number)
            }
            8..=11 => {
                let members: Vec<usize> = self.groups[at].members.iter().copied().collect();
                let who = *members.get(self.rng.usize(..members.len().max(1)))?;
                self.groups[at].members.remove(&who);
                format!("{} leaves group {name}", self.humans[who].number)
            }
            12 => {
                let rest = self.groups[at].members.split_off(&self.rng.usize(..20));
                let gone = std::mem::replace(&mut self.groups[at].members, rest);
                format!("{gone:?} leave group {name}, all at once")
            }
            13 | 14 => {
                let is_last = self.groups.iter().filter(|one| one.is_there).count() == 1;
                if is_last {
                    return None;
                }
                self.groups[at].is_there = false;
                self.groups[at].nested = None;
                for other in &mut self.groups {
                    other.nested = other.nested.filter(|nested| *nested != at);
                }
                format!("group {name} is deleted")
            }
            15 | 16 => {
                self.groups[at].name = self.group_name();
                format!("group {name} becomes {}", self.groups[at].name)
            }
            17 | 18 => {
                let other = self.pick_group(there).filter(|other| *other != at)?;
                self.groups[at].nested = Some(other);
                format!("group {name} has {} in it", self.groups[other].name)
            }
            _ => {
                self.groups[at].nested.take()?;
                format!("group {name} has no other in it")
            }
        })
    }

    /// The people in a group and in those in it.
    pub(crate) fn flat(&self, group: usize) -> BTreeSet<usize> {
        let mut seen = BTreeSet::from([group]);
        let mut members = self.groups[group].members.clone();
        let mut next = self.groups[group].nested;
        while let Some(at) = next.filter(|at| seen.insert(*at)) {
            members.extend(&self.groups[at].members);
            next = self.groups[at].nested;
        }
        members
    }

    /// Whether the entry of a group names anybody, whoever that is.
    pub(crate) fn names_anybody(&self, group: usize) -> bool {
        let group = &self.groups[group];
        group.nested.is_some() || !group.members.is_empty()
    }

    pub(crate) fn ldif(&self) -> String {
        let mut ldif = people::directory(&[]);
        ldif += &format!("dn: ou=former,{BASE}\nobjectClass: organizationalUnit\nou: former\n\n");
        ldif += &format!("dn: ou=groups,{BASE}\nobjectClass: organizationalUnit\nou: groups\n\n");
        for human in &self.humans {
            if human.place == Place::Nowhere {
                continue;
            }
            let person = Person {
                mail: Some(human.mail.clone()),
                title: human.title.clone(),
                employee_type: if human.enabled { "staff" } else { "leaver" }.to_owned(),
                employee_number: Some(human.number.clone()),
                ..Person::new(&human.number, "Pat", &human.number)
            };
            ldif += &person
                .entry()
                .replace(&person.dn(), &human.dn())
                .replace(&person.key(), &human.key);
        }
        for group in self.groups.iter().filter(|group| group.is_there) {
            ldif += &format!(
                "dn: {}\nobjectClass: groupOfNames\nentryUUID: {}\ncn: {}\n",
                group.dn(),
                group.key,
                group.name
            );
            for member in &group.members {
                ldif += &format!("member: {}\n", self.humans[*member].dn());
            }
            if let Some(nested) = group.nested {
                ldif += &format!("member: {}\n", self.groups[nested].dn());
            }
            ldif += "\n";
        }
        ldif
    }

    pub(crate) fn is_in_scope(&self, human: &Human) -> bool {
        let is_guest = human.title == "Guest";
        human.place == Place::People && !(is_guest && self.edit != Edit::None)
    }

    /// Out by an edit that was not accepted, and nothing else.
    pub(crate) fn is_waiting(&self, human: &Human) -> bool {
        human.place == Place::People && human.title == "Guest" && self.edit == Edit::Waiting
    }

    pub(crate) fn wish(&self, human: &Human) -> Wish {
        let said = Said {
            enabled: human.enabled,
            mail: human.mail.clone(),
            title: human.title.clone(),
        };
        Wish {
            key: human.key.clone(),
            said: self.is_in_scope(human).then_some(said),
        }
    }
}

impl Human {
    /// The entry's name; of one that is nowhere, the one that it had.
    fn dn(&self) -> String {
        let unit = match self.place {
            Place::People | Place::Nowhere => "people",
            Place::Former => "former",
        };
        format!("uid={},ou={unit},{BASE}", self.number)
    }
}

impl Group {
    fn dn(&self) -> String {
        format!("cn={},ou=groups,{BASE}", self.name)
    }
}
