//! What of a plan fits a budget of requests. It is cut where the first operation does not fit, in the
//! order in which they are sent, so that what is urgent is never behind what is cheap.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::TimeDelta;

use super::failures::is_never_given_up;
use super::{Calls, GroupPlan, Plan, Way};
use crate::model::{ExternalId, Operation, Reason, Timestamp};

/// After so many days what found no room beside what is never given up goes beyond the budget.
const LONGEST_WAIT_DAYS: i64 = 3;

/// What of a plan is left for the next run, as it does not fit `max_calls`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CarriedOver {
    /// The budget; none when `None`.
    pub max_calls: Option<u64>,
    /// The requests that what goes takes: more than the budget where one operation alone does, or some
    /// that go together.
    pub calls: u64,
    /// Indices in [`Plan::operations`].
    pub accounts: BTreeSet<usize>,
    /// Indices in [`GroupPlan::operations`].
    pub groups: BTreeSet<usize>,
}

impl CarriedOver {
    /// How many operations are left.
    pub fn len(&self) -> usize {
        self.accounts.len() + self.groups.len()
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An operation in the order in which they are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Item {
    Account(usize),
    Group(usize),
}

/// What of a plan goes now.
struct Fitting<'a> {
    plan: &'a Plan,
    way: Way,
    max_calls: u64,
    used: u64,
    is_full: bool,
    /// What goes although it does not fit, with nothing after it.
    beyond: Option<Item>,
    accounts: BTreeSet<usize>,
    groups: BTreeSet<usize>,
    /// Who frees the address of whom: of whoever makes way, by that.
    freers: HashMap<&'a ExternalId, usize>,
    /// What comes after whoever makes way.
    ends: HashMap<&'a ExternalId, usize>,
}

impl<'a> Fitting<'a> {
    fn new(plan: &'a Plan, way: Way, max_calls: u64) -> Self {
        let (mut freers, mut ends) = (HashMap::new(), HashMap::new());
        let free = plan.operations.iter().enumerate();
        for (at, planned) in free.filter(|(_, planned)| !planned.is_held()) {
            let operation = &planned.operation;
            if makes_way(operation) {
                freers.insert(&operation.key, at);
            } else {
                ends.insert(&operation.key, at);
                freers.entry(&operation.key).or_insert(at);
            }
        }
        Fitting {
            plan,
            way,
            max_calls,
            used: 0,
            is_full: false,
            beyond: None,
            accounts: BTreeSet::new(),
            groups: BTreeSet::new(),
            freers,
            ends,
        }
    }

    /// What goes with this and does not go already: what it waits for, and where somebody makes way,
    /// all until the address that was kept free is taken. With the requests that it takes.
    fn together(&self, item: Item) -> (BTreeSet<usize>, u64) {
        let mut together = BTreeSet::new();
        let mut open = match item {
            Item::Account(at) => vec![at],
            Item::Group(_) => return (together, self.plan.cost(item, self.way)),
        };
        while let Some(at) = open.pop() {
            if self.accounts.contains(&at) || !together.insert(at) {
                continue;
            }
            let operation = &self.plan.operations[at].operation;
            let waits_for = operation.waits_for.iter();
            open.extend(waits_for.filter_map(|key| self.freers.get(key)));
            if makes_way(operation) {
                open.extend(self.ends.get(&operation.key));
            }
        }
        let costs = together.iter().map(|at| Item::Account(*at));
        let cost = costs.map(|item| self.plan.cost(item, self.way)).sum();
        (together, cost)
    }

    /// Whether this goes.
    fn takes(&self, item: Item) -> bool {
        match item {
            Item::Account(at) => self.accounts.contains(&at),
            Item::Group(at) => self.groups.contains(&at),
        }
    }

    /// Whether so many requests more fit.
    fn has_room(&self, cost: u64) -> bool {
        self.used + cost <= self.max_calls
    }

    /// Lets this go if it fits, with whatever goes with it. What takes more than all that there is goes
    /// in its place, as it never would else, and nothing after it.
    fn take(&mut self, item: Item) {
        if self.is_full || self.takes(item) {
            return;
        }
        let (together, cost) = self.together(item);
        self.is_full = !self.has_room(cost);
        let goes_beyond = cost > self.max_calls || self.beyond == Some(item);
        if self.is_full && !goes_beyond {
            return;
        }
        self.used += cost;
        self.accounts.extend(together);
        if let Item::Group(at) = item {
            self.groups.insert(at);
        }
    }

    fn take_all<'b>(&mut self, items: impl IntoIterator<Item = &'b Item>) {
        for item in items {
            self.take(*item);
        }
    }
}

impl Plan {
    /// Leaves for the next run what does not fit so many requests. Of what was tried in vain some has its
    /// turn first, so that no new work keeps it from ever being tried again.
    pub fn fit(&mut self, max_calls: Option<u64>, way: Way, now: Timestamp) {
        self.carried_over = CarriedOver {
            max_calls,
            ..CarriedOver::default()
        };
        let Some(max_calls) = max_calls else {
            return;
        };
        let order = self.sent_in_order();
        let is_in_vain = |item: &Item| self.tried_in_vain(*item).is_some();
        let (mut in_vain, others): (Vec<Item>, Vec<Item>) =
            order.iter().copied().partition(is_in_vain);
        in_vain.sort_by_key(|item| (!self.is_never_given_up(*item), self.tried_in_vain(*item)));
        let large = self.large_turn(&in_vain, &others, (way, max_calls), now);
        let (turns, beyond) = large.unwrap_or_else(|| (self.turns(&in_vain, way, max_calls), None));
        let new = || Fitting {
            beyond,
            ..Fitting::new(self, way, max_calls)
        };
        let mut fitting = new();
        fitting.take_all(&turns);
        for (at, item) in others.iter().enumerate() {
            if fitting.is_full {
                break;
            }
            let (_, cost) = fitting.together(*item);
            // Beside those who have their turn it might never fit.
            let is_large = cost > max_calls - max_calls / 2 && cost <= max_calls;
            if is_large && !fitting.has_room(cost) {
                let mut before_turns = new();
                before_turns.take_all(others[..=at].iter().chain(&turns));
                if before_turns.takes(*item) {
                    fitting = before_turns;
                }
            }
            fitting.take(*item);
        }
        // What the others leave is for those in vain.
        fitting.take_all(&in_vain);
        let Fitting {
            accounts,
            groups,
            used,
            ..
        } = fitting;
        self.carried_over.calls = used;
        for item in order {
            match item {
                Item::Account(at) if !accounts.contains(&at) => {
                    self.carried_over.accounts.insert(at);
                }
                Item::Group(at) if !groups.contains(&at) => {
                    self.carried_over.groups.insert(at);
                }
                _ => {}
            }
        }
    }

    /// Which of those that were tried in vain have their turn while others need the budget: what half of
    /// it takes. What is never given up comes first, but one is always whoever was tried the longest ago.
    fn turns(&self, in_vain: &[Item], way: Way, max_calls: u64) -> Vec<Item> {
        let mut turns = Fitting::new(self, way, max_calls / 2);
        let mut queue: Vec<Item> = in_vain.to_vec();
        queue.retain(|item| turns.together(*item).1 <= most_a_turn(max_calls));
        let rest = queue.get_mut(1..).unwrap_or_default();
        let oldest = (0..rest.len()).min_by_key(|at| self.tried_in_vain(rest[*at]));
        if let Some(oldest) = oldest {
            rest[..=oldest].rotate_right(1);
        }
        turns.take_all(&queue);
        queue.retain(|item| turns.takes(*item));
        queue
    }

    /// The turn of what was tried in vain and takes too much for one beside others, of one such a day: after
    /// what is never given up, also in vain. None of that is so large, as
    /// [`LEAST_CALLS`](crate::config::LEAST_CALLS) sees to. What has found no room beside it for some days goes
    /// beyond the budget.
    fn large_turn(
        &self,
        in_vain: &[Item],
        others: &[Item],
        (way, max_calls): (Way, u64),
        now: Timestamp,
    ) -> Option<(Vec<Item>, Option<Item>)> {
        let mut fitting = Fitting::new(self, way, max_calls);
        let costs = in_vain
            .iter()
            .map(|item| (*item, fitting.together(*item).1));
        let mut large: Vec<(Item, u64)> = costs
            .filter(|(_, cost)| *cost > most_a_turn(max_calls))
            .collect();
        if large.is_empty() {
            return None;
        }
        large.sort_by_key(|(item, _)| self.tried_in_vain(*item));
        let is_urgent = |item: &Item| self.is_never_given_up(*item);
        let mut turns: Vec<Item> = others.iter().copied().filter(is_urgent).collect();
        let urgent: Vec<Item> = in_vain.iter().copied().filter(is_urgent).collect();
        turns.extend(urgent.first());
        fitting.take_all(&turns);
        if fitting.is_full {
            return None;
        }
        let (item, used, beyond) = large.iter().find_map(|(item, cost)| {
            let last = self.tried_in_vain(*item)?;
            // What is smaller may have been tried where the others had left something.
            let as_large = large.iter().filter(|(_, other)| other >= cost);
            let latest = as_large
                .filter_map(|(item, _)| self.tried_in_vain(*item))
                .max()?;
            // While the clock is behind the last try, no time can be waited for.
            let is_due = latest > now || now - latest >= TimeDelta::days(1);
            let waits_long = now - last >= TimeDelta::days(LONGEST_WAIT_DAYS);
            let has_room = fitting.has_room(*cost);
            // What takes more than there is never has room.
            let is_beyond = !has_room && (*cost > max_calls || waits_long);
            let used = fitting.used + if is_beyond { 0 } else { *cost };
            (is_due && (has_room || is_beyond)).then(|| (*item, used, is_beyond.then_some(*item)))
        })?;
        turns.extend(self.turns(&urgent, way, max_calls.min(2 * (max_calls - used))));
        turns.push(item);
        Some((turns, beyond))
    }

    fn is_never_given_up(&self, item: Item) -> bool {
        match item {
            Item::Account(at) => is_never_given_up(&self.operations[at].operation),
            Item::Group(_) => false,
        }
    }

    fn tried_in_vain(&self, item: Item) -> Option<Timestamp> {
        match item {
            Item::Account(at) => self.operations[at].tried_in_vain,
            Item::Group(at) => self.groups.as_ref()?.operations.get(at)?.tried_in_vain,
        }
    }

    /// How many operations of each kind are left for the next run, by the names of the kinds.
    pub fn carried_over_by_kind(&self) -> BTreeMap<&'static str, u64> {
        let CarriedOver {
            accounts, groups, ..
        } = &self.carried_over;
        let accounts = accounts.iter().filter_map(|at| self.operations.get(*at));
        let planned = self.groups.iter().flat_map(|plan| &plan.operations);
        let groups = planned
            .enumerate()
            .filter(|(at, _)| groups.contains(at))
            .map(|(_, one)| one.operation.kind.name());
        let mut kinds = BTreeMap::new();
        for kind in accounts.map(|one| one.operation.kind.name()).chain(groups) {
            *kinds.entry(kind).or_default() += 1;
        }
        kinds
    }

    /// The requests that this run takes to carry the plan out: of what is neither held nor left.
    pub fn calls(&self, way: Way) -> Calls {
        let mut calls = Calls::default();
        for item in self.sent_in_order() {
            let is_left = match item {
                Item::Account(at) => self.carried_over.accounts.contains(&at),
                Item::Group(at) => self.carried_over.groups.contains(&at),
            };
            if !is_left {
                self.count_calls(&mut calls, item, way);
            }
        }
        calls
    }

    fn cost(&self, item: Item, way: Way) -> u64 {
        let mut calls = Calls::default();
        self.count_calls(&mut calls, item, way);
        calls.total()
    }

    fn count_calls(&self, calls: &mut Calls, item: Item, way: Way) {
        match item {
            Item::Account(at) => calls.count(&self.operations[at].operation, way),
            Item::Group(at) => {
                let planned = self
                    .groups
                    .iter()
                    .filter_map(|plan| plan.operations.get(at));
                planned.for_each(|one| calls.count_group(&one.operation, way));
            }
        }
    }

    /// What nothing holds, in the order in which `apply/` sends it: groups before what is cosmetic.
    fn sent_in_order(&self) -> Vec<Item> {
        let free = |is_cosmetic: bool| {
            let planned = self.operations.iter().enumerate();
            planned
                .filter(move |(_, one)| {
                    !one.is_held() && one.operation.is_cosmetic() == is_cosmetic
                })
                .map(|(at, _)| Item::Account(at))
        };
        let groups = self.groups.iter().flat_map(GroupPlan::free_at);
        let first = free(false).chain(groups.map(Item::Group));
        first.chain(free(true)).collect()
    }
}

/// What may take a turn of those in vain in any run: so much that there is always room for two of such.
fn most_a_turn(max_calls: u64) -> u64 {
    (max_calls / 4).max(1).min(max_calls / 2)
}

fn makes_way(operation: &Operation) -> bool {
    operation.reason == Reason::MakesWay
}
