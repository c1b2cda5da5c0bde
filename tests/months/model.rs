//! What the organization must have, by what the company wishes and what people have decided about
//! holds and reverts. It knows nothing of the planner.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::company::{Company, Edit, THEIRS, Wish};
use crate::support::organization::Account;
use crate::{DEACTIVATIONS, REMOVALS};

/// What becomes of an organization's group whose directory's group is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnLeave {
    Keep,
    Empty,
    Delete,
}

impl OnLeave {
    pub(crate) fn word(self) -> &'static str {
        match self {
            OnLeave::Keep => "keep",
            OnLeave::Empty => "empty",
            OnLeave::Delete => "delete",
        }
    }
}

/// The organization at a moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    /// By the id of the account.
    pub(crate) accounts: BTreeMap<String, Account>,
    /// The accounts in each group, by its name.
    pub(crate) groups: BTreeMap<String, BTreeSet<String>>,
}

/// A group of the organization that is ours.
#[derive(Clone, Debug, Default)]
struct Ours {
    /// The directory's groups that led to it last.
    keys: BTreeSet<String>,
    /// Who was in it when it was last looked at.
    members: BTreeSet<String>,
}

/// What a revert has put back of somebody.
#[derive(Clone, Debug)]
pub(crate) struct PutBack {
    /// What was wished then: as long as it is, nothing changes.
    pub(crate) wish: Wish,
    pub(crate) as_left: Account,
    /// The login, the key or the account itself; the rest goes with it.
    pub(crate) is_whole: bool,
    /// An account that is not ours any more.
    pub(crate) is_let_go: bool,
    pub(crate) mail: bool,
    pub(crate) title: bool,
    /// The wish has changed, or somebody has approved a part: what of it still holds is open.
    pub(crate) is_vague: bool,
}

/// What a revert has put back of a group, by its name.
#[derive(Clone, Debug, Default)]
struct PutBackGroup {
    /// The group itself, where the run had made it or taken it away.
    whole: Option<Part<Leading>>,
    /// Its members, by account.
    members: BTreeMap<String, Part<Membership>>,
}

/// A group, or a member, as a revert has left it.
#[derive(Clone, Debug)]
struct Part<Wished> {
    is_there: bool,
    /// What was wished then: as long as it is, nothing changes. `None` where it is open what still
    /// holds, as the wish has changed or a part was approved.
    wish: Option<Wished>,
}

/// The directory's groups that are concerned, with the names that they lead to.
type Leading = BTreeMap<String, String>;

/// The directory's groups that lead to a group; the person's key, and whether they name the person,
/// if the directory shows the person.
type Membership = (BTreeSet<String>, Option<(String, bool)>);

#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) on_leave: OnLeave,
    pub(crate) put_back: HashMap<usize, PutBack>,
    groups_put_back: BTreeMap<String, PutBackGroup>,
    /// Who keeps the login although nobody wishes it, as of the last look.
    pub(crate) held: BTreeSet<usize>,
    /// Those of them whom somebody left out when others were approved.
    pub(crate) left_out: BTreeSet<usize>,
    /// Whether somebody has approved a part of the hold over them.
    pub(crate) is_hold_looked_at: bool,
    /// When that hold was opened.
    pub(crate) held_since: Option<i64>,
    /// Whether it was there all the time since then.
    pub(crate) is_held_since_certain: bool,
    /// Whose login may be taken by the next sync, if that is still what is wished.
    pub(crate) approved: BTreeMap<usize, Wish>,
    /// Whether that may be used up.
    pub(crate) are_approvals_vague: bool,
    /// The groups that are to lose members, as of the last look.
    pub(crate) groups_held: BTreeSet<String>,
    /// Those of them that the next sync may take members out of.
    pub(crate) groups_approved: BTreeSet<String>,
    /// Whether somebody has approved a part of the hold over them.
    pub(crate) are_removals_looked_at: bool,
    ours: BTreeMap<String, Ours>,
    /// The account that is nobody's, and the members of the group that is not ours.
    pub(crate) foreign: Account,
    pub(crate) theirs: BTreeSet<String>,
}

impl Model {
    pub(crate) fn new(on_leave: OnLeave, foreign: Account) -> Self {
        Model {
            on_leave,
            put_back: HashMap::new(),
            groups_put_back: BTreeMap::new(),
            held: BTreeSet::new(),
            left_out: BTreeSet::new(),
            is_hold_looked_at: false,
            held_since: None,
            is_held_since_certain: true,
            approved: BTreeMap::new(),
            are_approvals_vague: false,
            groups_held: BTreeSet::new(),
            groups_approved: BTreeSet::new(),
            are_removals_looked_at: false,
            ours: BTreeMap::new(),
            foreign,
            theirs: BTreeSet::new(),
        }
    }

    /// The names of the groups that are ours.
    pub(crate) fn group_names(&self) -> Vec<String> {
        self.ours.keys().cloned().collect()
    }

    /// Somebody has put an account into one of our groups, or taken it out.
    pub(crate) fn change_by_hand(&mut self, name: &str, account: &str, is_in: bool) {
        let ours = self.ours.entry(name.to_owned()).or_default();
        match is_in {
            true => ours.members.insert(account.to_owned()),
            false => ours.members.remove(account),
        };
        if let Some(put_back) = self.groups_put_back.get_mut(name) {
            put_back.members.remove(account);
        }
    }

    /// Compares what a revert has made of the groups with how they were before the run that it
    /// reverts; notes what was put back. Where a part is held, what of a group is put back is open.
    pub(crate) fn put_groups_back(
        &mut self,
        company: &Company,
        [before, after, now]: [&Seen; 3],
        is_whole: bool,
    ) -> Vec<String> {
        let mut faults = Vec::new();
        let wanted = wanted(company);
        let people = people(company);
        let names: BTreeSet<&String> = before.groups.keys().chain(after.groups.keys()).collect();
        let is_made = |name: &&&String| {
            before.groups.contains_key(**name) != after.groups.contains_key(**name)
        };
        let made: BTreeSet<&String> = names.iter().filter(is_made).copied().collect();
        let keys: BTreeSet<&String> = made
            .iter()
            .filter_map(|name| self.ours.get(*name))
            .flat_map(|ours| &ours.keys)
            .collect();
        let concerns = |key: &String, name: &String| keys.contains(key) || made.contains(name);
        let leading = leading(company, concerns);
        for name in names {
            let was = before.groups.get(name).map(|was| present(was, now));
            let is = now.groups.get(name);
            if is_whole && is != was.as_ref() {
                let left = after.groups.get(name);
                faults.push(format!("{name}: {was:?} became {left:?} and now {is:?}"));
            }
            let is_made = made.contains(name);
            let mut put_back = self.groups_put_back.remove(name).unwrap_or_default();
            if is_made {
                put_back.whole = Some(Part {
                    is_there: is.is_some(),
                    wish: is_whole.then(|| leading.clone()),
                });
            } else if let (Some(before), Some(after)) = (&was, after.groups.get(name)) {
                for id in before.symmetric_difference(after) {
                    let part = Part {
                        is_there: is.is_some_and(|is| is.contains(id)),
                        wish: is_whole.then(|| membership(company, &wanted, &people, name, id)),
                    };
                    put_back.members.insert(id.clone(), part);
                }
            }
            if put_back.whole.is_some() || !put_back.members.is_empty() {
                self.groups_put_back.insert(name.clone(), put_back);
            }
        }
        faults
    }

    /// What was put back of groups, and is not so any more, though what is wished has not changed.
    pub(crate) fn faults_of_groups_put_back(&self, seen: &Seen) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, put_back) in &self.groups_put_back {
            let group = seen.groups.get(name);
            if let Some(Part { is_there, wish }) = &put_back.whole
                && wish.is_some()
                && *is_there != group.is_some()
            {
                faults.push(format!("the group {name} was put back: {is_there}"));
            }
            for (id, Part { is_there, wish }) in &put_back.members {
                let is_in = group.is_some_and(|group| group.contains(id));
                if wish.is_some() && *is_there != is_in {
                    faults.push(format!("{id} in {name} was put back: {is_there}"));
                }
            }
        }
        faults
    }

    /// Where something else is wished by now, it is open what of it is still put back.
    fn doubt_groups_put_back(&mut self, company: &Company, seen: &Seen) {
        let wanted = wanted(company);
        let people = people(company);
        // Who was put back into a group, or out of it, stays so when it gets another name.
        let mut came_along = Vec::new();
        for (name, put_back) in &self.groups_put_back {
            let ours = self
                .ours
                .get(name)
                .filter(|_| !seen.groups.contains_key(name));
            for next in ours
                .into_iter()
                .flat_map(|ours| successors(company, &ours.keys))
            {
                came_along.push((next.to_owned(), put_back.members.clone()));
            }
        }
        for (next, members) in came_along {
            let put_back = self.groups_put_back.entry(next).or_default();
            for (id, part) in members {
                let part = Part { wish: None, ..part };
                put_back.members.entry(id).or_insert(part);
            }
        }
        for (name, put_back) in &mut self.groups_put_back {
            if let Some(whole) = &mut put_back.whole {
                whole.wish = whole.wish.take().filter(|then| {
                    let names: BTreeSet<&String> = then.values().collect();
                    let concerns = |key: &String, name: &String| {
                        then.contains_key(key) || names.contains(name)
                    };
                    leading(company, concerns) == *then
                });
            }
            let members = &mut put_back.members;
            members.retain(|id, _| seen.accounts.contains_key(id));
            for (id, part) in members {
                let now = membership(company, &wanted, &people, name, id);
                part.wish = part.wish.take().filter(|then| *then == now);
            }
        }
    }

    /// Whether groups are as they were put back, as far as that is certain, and not as wished.
    pub(crate) fn are_groups_put_back(&self) -> bool {
        let mut all = self.groups_put_back.values();
        all.any(|group| {
            let mut members = group.members.values();
            group.whole.as_ref().is_some_and(|one| one.wish.is_some())
                || members.any(|one| {
                    let wished = one.wish.as_ref().and_then(|(_, person)| person.as_ref());
                    wished.is_some_and(|(_, is_wished)| *is_wished != one.is_there)
                })
        })
    }

    /// Whether a revert has put anything of groups back.
    pub(crate) fn has_groups_put_back(&self) -> bool {
        !self.groups_put_back.is_empty()
    }

    /// Nothing of groups that is put back is held any more: somebody has approved it, or it is over.
    /// What a hold over those who leave may hold as well stays open.
    pub(crate) fn let_groups_put_back_go(&mut self, seen: &Seen) {
        let mut leaving = 0;
        for (name, put_back) in &self.groups_put_back {
            let group = seen.groups.get(name);
            let whole = put_back.whole.as_ref().and(group);
            leaving += whole.map_or(0, |group| group.len().max(1));
            let members = put_back.members.keys();
            let is_in = |id: &&String| group.is_some_and(|group| group.contains(*id));
            leaving += members.filter(is_in).count();
        }
        if leaving <= REMOVALS && self.groups_held.is_empty() && !self.are_removals_looked_at {
            self.groups_put_back.clear();
        }
        for put_back in self.groups_put_back.values_mut() {
            if let Some(whole) = &mut put_back.whole {
                whole.wish = None;
            }
            for part in put_back.members.values_mut() {
                part.wish = None;
            }
        }
    }

    /// What a run may do in any case, also where not everything went well. `holds` are the names of
    /// those that it told.
    pub(crate) fn faults_of_run(
        &self,
        company: &Company,
        before: &Seen,
        after: &Seen,
        holds: &[String],
    ) -> Vec<String> {
        let mut faults = self.faults_of_others(after);
        let mut off = BTreeSet::new();
        for (at, human) in company.humans.iter().enumerate() {
            let Some(id) = &human.account else { continue };
            let is_active = |seen: &Seen| seen.accounts.get(id).is_some_and(|one| one.active);
            if !is_active(before) || is_active(after) {
                continue;
            }
            if company.is_waiting(human) || company.wish(human).is_login() {
                faults.push(format!("{} lost the login", human.number));
            }
            if !self.approved.contains_key(&at) {
                off.insert(at);
            }
        }
        let is_held = holds.iter().any(|hold| hold == "deactivate");
        let is_too_much = off.len() > DEACTIVATIONS
            || (is_held && !off.is_empty() && !self.is_hold_looked_at)
            || !off.is_disjoint(&self.left_out);
        if is_too_much {
            faults.push(format!("{off:?} lost the login unasked (held: {is_held})"));
        }
        faults.extend(self.faults_of_removals(company, before, after, holds));
        faults
    }

    /// Nobody leaves a group whom the directory does not show, or whom it wants there.
    fn faults_of_removals(
        &self,
        company: &Company,
        before: &Seen,
        after: &Seen,
        holds: &[String],
    ) -> Vec<String> {
        let mut faults = Vec::new();
        let wanted = wanted(company);
        let people = people(company);
        let (mut removals, mut is_left_out) = (0, false);
        let is_part_approved = !self.groups_approved.is_empty();
        for (name, ours) in &self.ours {
            let Some(members) = before.groups.get(name) else {
                continue;
            };
            let next: Vec<&str> = match after.groups.contains_key(name) {
                true => vec![name.as_str()],
                false => successors(company, &ours.keys).collect(),
            };
            let is_deleted = !after.groups.contains_key(name)
                && self.on_leave == OnLeave::Delete
                && ours.keys.iter().any(|key| is_gone(company, key));
            let is_in_any = |id: &String| {
                let mut there = next.iter().filter_map(|name| after.groups.get(*name));
                there.any(|members| members.contains(id))
            };
            for id in members {
                if is_in_any(id) || !after.accounts.contains_key(id) {
                    continue;
                }
                if !self.groups_approved.contains(name) {
                    removals += 1;
                    is_left_out |= is_part_approved && self.groups_held.contains(name);
                }
                let human = people.get(id).map(|at| (*at, &company.humans[*at]));
                let is_shown = human.is_some_and(|(_, human)| company.is_in_scope(human));
                let is_wanted = human.is_some_and(|(at, _)| {
                    let mut parts = next.iter().filter_map(|name| wanted.get(*name)).flatten();
                    parts.any(|group| company.flat(*group).contains(&at))
                });
                if !is_deleted && (!is_shown || is_wanted) {
                    let who = human.map_or(id, |(_, human)| &human.number);
                    faults.push(format!("{who} was taken out of {name}"));
                }
            }
        }
        let is_held = holds.iter().any(|hold| hold == "remove_members");
        let is_unasked = is_held && removals > 0 && !self.are_removals_looked_at;
        if removals > REMOVALS || is_unasked || is_left_out {
            faults.push(format!(
                "{removals} removals from groups unasked (held: {is_held})"
            ));
        }
        faults
    }

    /// What is not ours is as it was.
    fn faults_of_others(&self, seen: &Seen) -> Vec<String> {
        let mut faults = Vec::new();
        if seen.accounts.get(&self.foreign.account_id) != Some(&self.foreign) {
            faults.push("the foreign account has changed".to_owned());
        }
        let theirs = present(&self.theirs, seen);
        if seen.groups.get(THEIRS) != Some(&theirs) {
            faults.push(format!("the group that is not ours: not {theirs:?}"));
        }
        faults
    }

    /// What must hold of the groups when all is done that is to be done; takes over how they are.
    pub(crate) fn look_at_groups(&mut self, company: &Company, seen: &Seen) -> Vec<String> {
        let mut faults = self.faults_of_others(seen);
        self.doubt_groups_put_back(company, seen);
        faults.extend(self.faults_of_groups_put_back(seen));
        let (found, leaving, uncertain, unfinished) = self.faults_of_groups(company, seen);
        faults.extend(found);
        let outstanding: usize = leaving.values().sum();
        if outstanding == 0 {
            self.are_removals_looked_at &= company.edit == Edit::Waiting;
            faults.extend(unfinished);
        } else if outstanding + uncertain <= REMOVALS && !self.are_removals_looked_at {
            faults.push(format!(
                "members are still in groups, which is no reason for a hold: {leaving:?}"
            ));
        }
        self.groups_held = leaving.into_keys().collect();
        let wanted = wanted(company);
        let mut ours = BTreeMap::new();
        for (name, members) in seen.groups.iter().filter(|(name, _)| *name != THEIRS) {
            let mut keys = BTreeSet::new();
            for at in wanted.get(name).into_iter().flatten() {
                keys.insert(company.groups[*at].key.clone());
            }
            if keys.is_empty() {
                keys = self.ours.remove(name).unwrap_or_default().keys;
            }
            let members = members.clone();
            ours.insert(name.clone(), Ours { keys, members });
        }
        self.ours = ours;
        faults
    }

    /// What is wrong, how many are still to leave which groups, how many others may be,
    /// and what is wrong unless that is held.
    fn faults_of_groups(
        &self,
        company: &Company,
        seen: &Seen,
    ) -> (Vec<String>, BTreeMap<String, usize>, usize, Vec<String>) {
        let (mut faults, mut unfinished) = (Vec::new(), Vec::new());
        let mut leaving: BTreeMap<String, usize> = BTreeMap::new();
        let mut uncertain = 0;
        let wanted = wanted(company);
        let people = people(company);
        let nobody = BTreeSet::new();
        let is_emptied = |name: &str| self.is_emptied(company, &wanted, name);
        let whole = |name: &String| {
            let put_back = self.groups_put_back.get(name);
            put_back.is_some_and(|put_back| put_back.whole.is_some())
        };
        let is_member_put_back = |name: &String, id: &String| {
            let put_back = self.groups_put_back.get(name);
            put_back.is_some_and(|put_back| put_back.members.contains_key(id))
        };
        let put_back = seen.groups.iter().filter(|(name, _)| whole(name));
        uncertain += put_back
            .map(|(_, members)| members.len().max(1))
            .sum::<usize>();
        for (name, parts) in &wanted {
            if whole(name) {
                continue;
            }
            let before = self.ours.get(name).map_or(&nobody, |ours| &ours.members);
            let Some(members) = seen.groups.get(name) else {
                if !is_emptied(name) {
                    unfinished.push(format!("there is no group {name}"));
                }
                continue;
            };
            if is_emptied(name) {
                if !present(before, seen).is_subset(members) {
                    faults.push(format!("{name} is emptied by {members:?} of {before:?}"));
                }
                continue;
            }
            // Those of groups that are no more came along.
            let came: BTreeSet<&String> = self
                .ours
                .iter()
                .filter(|(other, ours)| {
                    !seen.groups.contains_key(*other)
                        && successors(company, &ours.keys).any(|next| next == name)
                })
                .flat_map(|(_, ours)| &ours.members)
                .collect();
            let mut flat = BTreeSet::new();
            for group in parts {
                flat.extend(company.flat(*group));
            }
            for id in seen.accounts.keys() {
                let human = people.get(id).map(|at| (*at, &company.humans[*at]));
                let who = human.map_or(id, |(_, human)| &human.number);
                let is_in = members.contains(id);
                let shown = human.filter(|(_, human)| company.is_in_scope(human));
                let is_put_back = human.is_some_and(|(at, _)| self.put_back.contains_key(&at));
                if is_put_back || is_member_put_back(name, id) {
                    uncertain += usize::from(is_in);
                    continue;
                }
                if let Some((at, human)) = shown {
                    let key = seen.accounts[id].external_id.as_ref();
                    // Whose account waits, for an address or as it is held, may wait for groups too.
                    if key != Some(&human.key) || seen.accounts[id].email != human.mail {
                        uncertain += usize::from(is_in);
                        continue;
                    }
                    match (is_in, flat.contains(&at)) {
                        (false, true) => unfinished.push(format!("{who} is to be in {name}")),
                        (true, false) => *leaving.entry(name.clone()).or_default() += 1,
                        _ => {}
                    }
                } else if before.contains(id) && !is_in {
                    faults.push(format!("{who} is no longer in {name}"));
                } else if is_in && !before.contains(id) && !came.contains(id) {
                    faults.push(format!("{who} is in {name}, for no reason"));
                }
            }
        }
        for (name, ours) in &self.ours {
            if wanted.contains_key(name) || whole(name) {
                continue;
            }
            let before = present(&ours.members, seen);
            let members = seen.groups.get(name);
            let is_any = |test: &dyn Fn(&str) -> bool| ours.keys.iter().any(|key| test(key));
            let is_gone = is_any(&|key| is_gone(company, key));
            let is_refused = is_any(&|key| is_refused(company, key));
            let next: Vec<&str> = successors(company, &ours.keys).collect();
            let is_same = members == Some(&before);
            match (next.as_slice(), is_refused, is_gone) {
                ([], true, _) if !is_same => faults.push(format!("{name} is not {before:?}")),
                ([], true, _) => {}
                ([], false, _) => match self.on_leave {
                    OnLeave::Keep if !is_same => faults.push(format!("{name} is not {before:?}")),
                    OnLeave::Keep => {}
                    OnLeave::Delete => {
                        let count = members.map(|there| there.len().max(1));
                        leaving.extend(count.map(|count| (name.clone(), count)));
                    }
                    OnLeave::Empty => {
                        let Some(members) = members else {
                            faults.push(format!("{name} is no more"));
                            continue;
                        };
                        for id in &before {
                            let at = people.get(id);
                            let human = at.map(|at| &company.humans[*at]);
                            let is_shown = human.is_some_and(|human| company.is_in_scope(human));
                            let waits = human.is_some_and(|human| {
                                let account = &seen.accounts[id];
                                account.external_id.as_ref() != Some(&human.key)
                                    || account.email != human.mail
                            });
                            let is_open = (is_shown && waits)
                                || at.is_some_and(|at| self.put_back.contains_key(at))
                                || is_member_put_back(name, id);
                            match (is_shown, members.contains(id)) {
                                _ if is_open => uncertain += 1,
                                (true, true) => *leaving.entry(name.clone()).or_default() += 1,
                                (false, false) => faults.push(format!("{id} has left {name}")),
                                _ => {}
                            }
                        }
                    }
                },
                (next, is_refused, is_gone) => {
                    if let Some(members) = members {
                        if is_gone && self.on_leave == OnLeave::Delete {
                            leaving.insert(name.clone(), members.len().max(1));
                        } else if next
                            .iter()
                            .any(|next| self.groups_put_back.contains_key(*next))
                        {
                            // As long as members are not to join another, it stays.
                            uncertain += members.len();
                        } else if !is_gone
                            && !is_refused
                            && !next.iter().any(|next| is_emptied(next))
                        {
                            unfinished.push(format!("{name} is still there"));
                            let parts = next.iter().filter_map(|next| wanted.get(*next)).flatten();
                            let flat: BTreeSet<usize> =
                                parts.flat_map(|group| company.flat(*group)).collect();
                            let shown = members.iter().filter_map(|id| {
                                let at = *people.get(id)?;
                                company.is_in_scope(&company.humans[at]).then_some(at)
                            });
                            let lost = shown.filter(|at| !flat.contains(at)).count();
                            if lost > 0 {
                                leaving.insert(name.clone(), lost);
                            }
                        }
                        continue;
                    }
                    if is_gone && self.on_leave == OnLeave::Delete {
                        continue;
                    }
                    for id in &before {
                        let at = people.get(id);
                        let human = at.map(|at| &company.humans[*at]);
                        let is_shown = human.is_some_and(|human| company.is_in_scope(human));
                        let is_open = at.is_some_and(|at| self.put_back.contains_key(at));
                        let mut there = next.iter().filter_map(|next| seen.groups.get(*next));
                        if !is_shown && !is_open && !there.any(|members| members.contains(id)) {
                            faults.push(format!("{id} went with {name}"));
                        }
                    }
                }
            }
        }
        for name in seen.groups.keys() {
            let is_known = wanted.contains_key(name) || self.ours.contains_key(name);
            if !is_known && name != THEIRS {
                faults.push(format!("the group {name} is nobody's"));
            }
        }
        (faults, leaving, uncertain, unfinished)
    }

    /// Whether the directory names nobody for a group that has members: that is taken for a fault.
    fn is_emptied(
        &self,
        company: &Company,
        wanted: &BTreeMap<String, Vec<usize>>,
        name: &str,
    ) -> bool {
        let Some(parts) = wanted.get(name) else {
            return false;
        };
        let names_anybody = parts.iter().any(|at| company.names_anybody(*at));
        let keys: BTreeSet<String> = parts
            .iter()
            .map(|at| company.groups[*at].key.clone())
            .collect();
        let has_people = |ours: &Ours| ours.members.iter().any(|id| *id != self.foreign.account_id);
        let mut rows = self.ours.iter().filter(|(other, ours)| {
            *other == name || (!wanted.contains_key(*other) && !ours.keys.is_disjoint(&keys))
        });
        !names_anybody && rows.any(|(_, ours)| has_people(ours))
    }
}

/// The directory's groups for each name in the organization, but for one that is not ours.
fn wanted(company: &Company) -> BTreeMap<String, Vec<usize>> {
    let mut wanted: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, group) in company.groups.iter().enumerate() {
        if group.is_there && group.target() != THEIRS {
            wanted
                .entry(group.target().to_owned())
                .or_default()
                .push(at);
        }
    }
    wanted
}

/// The names that the concerned ones of the directory's groups lead to.
fn leading(company: &Company, concerns: impl Fn(&String, &String) -> bool) -> Leading {
    let there = company.groups.iter().filter(|group| group.is_there);
    there
        .map(|group| (group.key.clone(), group.target().to_owned()))
        .filter(|(key, name)| concerns(key, name))
        .collect()
}

/// What is wished of an account in a group.
fn membership(
    company: &Company,
    wanted: &BTreeMap<String, Vec<usize>>,
    people: &HashMap<String, usize>,
    name: &str,
    id: &str,
) -> Membership {
    let groups = wanted.get(name).into_iter().flatten();
    let keys = groups.clone().map(|at| company.groups[*at].key.clone());
    let at = people.get(id).copied();
    let at = at.filter(|at| company.is_in_scope(&company.humans[*at]));
    let named = at.map(|at| {
        let is_named = groups
            .clone()
            .any(|group| company.flat(*group).contains(&at));
        (company.humans[at].key.clone(), is_named)
    });
    (keys.collect(), named)
}

/// Whose account is whose.
fn people(company: &Company) -> HashMap<String, usize> {
    let humans = company.humans.iter().enumerate();
    humans
        .filter_map(|(at, human)| Some((human.account.clone()?, at)))
        .collect()
}

/// Those of these accounts that there still are.
fn present(accounts: &BTreeSet<String>, seen: &Seen) -> BTreeSet<String> {
    let there = accounts.iter().filter(|id| seen.accounts.contains_key(*id));
    there.cloned().collect()
}

fn is_gone(company: &Company, key: &str) -> bool {
    let mut groups = company.groups.iter();
    !groups.any(|group| group.is_there && group.key == key)
}

fn is_refused(company: &Company, key: &str) -> bool {
    let mut groups = company.groups.iter();
    groups.any(|group| group.is_there && group.key == key && group.target() == THEIRS)
}

/// The names in the organization of what these groups of the directory are now.
fn successors<'a>(
    company: &'a Company,
    keys: &'a BTreeSet<String>,
) -> impl Iterator<Item = &'a str> {
    let groups = company.groups.iter();
    groups
        .filter(|group| group.is_there && keys.contains(&group.key))
        .map(|group| group.target())
        .filter(|name| *name != THEIRS)
}
