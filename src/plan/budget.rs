//! What of a plan fits a budget of requests. It is cut where the first operation does not fit, in the
//! order in which they are sent, so that what is urgent is never behind what is cheap.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{Calls, GroupPlan, Plan, Way};
use crate::model::{ExternalId, Operation, Reason};

/// What of a plan is left for the next run, as it does not fit `max_calls`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CarriedOver {
    /// The budget; none when `None`.
    pub max_calls: Option<u64>,
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
#[derive(Clone, Copy)]
enum Item {
    Account(usize),
    Group(usize),
}

impl Plan {
    /// Leaves for the next run what does not fit so many requests. At least the first operation fits,
    /// as else it never would.
    pub fn fit(&mut self, max_calls: Option<u64>, way: Way) {
        self.carried_over = CarriedOver {
            max_calls,
            ..CarriedOver::default()
        };
        let Some(max_calls) = max_calls else {
            return;
        };
        let mut used = 0;
        let mut fits = true;
        for (nth, item) in self.sent_in_order().into_iter().enumerate() {
            let cost = self.cost(item, way);
            fits &= nth == 0 || used + cost <= max_calls;
            used += cost;
            if !fits {
                match item {
                    Item::Account(at) => self.carried_over.accounts.insert(at),
                    Item::Group(at) => self.carried_over.groups.insert(at),
                };
            }
        }
        while self.keep_circles_together() {}
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

    /// Leaves who makes way for nothing, as the change after it is left, and who waits for somebody
    /// who is left. Whether that is one more.
    fn keep_circles_together(&mut self) -> bool {
        let left = &self.carried_over.accounts;
        let operations = || {
            let planned = self.operations.iter().enumerate();
            let free = planned.filter(|(_, one)| !one.is_held());
            free.map(|(at, one)| (at, &one.operation))
        };
        let of_left = |is_way: bool| -> HashSet<&ExternalId> {
            let left = operations().filter(|(at, _)| left.contains(at));
            left.filter(|(_, operation)| makes_way(operation) == is_way)
                .map(|(_, operation)| &operation.key)
                .collect()
        };
        let (ways, ends) = (of_left(true), of_left(false));
        let begun: HashSet<&ExternalId> = operations()
            .filter(|(at, operation)| makes_way(operation) && !left.contains(at))
            .map(|(_, operation)| &operation.key)
            .collect();
        // Who makes way has freed the address with that.
        let is_left =
            |key: &ExternalId| ways.contains(key) || (ends.contains(key) && !begun.contains(key));
        let more: Vec<usize> = operations()
            .filter(|(at, operation)| {
                let in_vain = makes_way(operation) && ends.contains(&operation.key);
                !left.contains(at) && (in_vain || operation.waits_for.iter().any(is_left))
            })
            .map(|(at, _)| at)
            .collect();
        let has_changed = !more.is_empty();
        self.carried_over.accounts.extend(more);
        has_changed
    }
}

fn makes_way(operation: &Operation) -> bool {
    operation.reason == Reason::MakesWay
}
