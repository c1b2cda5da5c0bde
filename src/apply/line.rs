//! Operations that wait for their turn.

use std::collections::VecDeque;

use crate::model::{GroupOperation, Operation, OperationId};
use crate::plan::{Approved, Calls, Way};

/// After so many failures in a row of what was tried in vain before, the rest of such is left.
const GIVE_UP: usize = 8;

/// An operation that is still to be sent, and its number in the journal.
pub(super) type Queued<'a, What> = (OperationId, &'a Approved<'a, What>);

/// What waits in a line.
pub(super) trait InLine {
    /// It waits for all of the waves before.
    fn wave(&self) -> u32;
    /// How many requests it takes, as far as that can be foreseen.
    fn calls(&self, way: Way) -> u64;
}

impl InLine for Operation {
    fn wave(&self) -> u32 {
        self.wave
    }

    fn calls(&self, way: Way) -> u64 {
        Calls::of([self], way).total()
    }
}

/// Deletions are a wave of their own.
impl InLine for GroupOperation {
    fn wave(&self) -> u32 {
        u32::from(self.is_deletion())
    }

    fn calls(&self, way: Way) -> u64 {
        Calls::of_group(self, way).total()
    }
}

/// How much may be under way.
#[derive(Clone, Copy)]
pub(super) struct Room {
    /// So many operations at once.
    pub(super) at_once: usize,
    /// So many requests beside those that have gone out, if there is a budget. What is under way may have sent some of
    /// its own already: it is taken to need them all, as its requests are counted for the whole run alone.
    pub(super) calls: Option<u64>,
}

/// What is still to be sent, wave by wave.
pub(super) struct Line<'a, What> {
    queue: VecDeque<Queued<'a, What>>,
    way: Way,
    /// The wave of what was sent last.
    wave: u32,
    /// How many requests those under way take.
    calls: u64,
    again: AgainInVain,
}

impl<'a, What: InLine> Line<'a, What> {
    pub(super) fn of(operations: impl IntoIterator<Item = Queued<'a, What>>, way: Way) -> Self {
        Line {
            queue: operations.into_iter().collect(),
            way,
            wave: 0,
            calls: 0,
            again: AgainInVain::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many requests the next one takes.
    pub(super) fn next_calls(&self) -> u64 {
        let next = self.queue.front();
        next.map_or(0, |(_, operation)| operation.calls(self.way))
    }

    /// Takes all out.
    pub(super) fn drain(&mut self) -> Vec<Queued<'a, What>> {
        self.queue.drain(..).collect()
    }

    /// Puts these at the end.
    pub(super) fn extend(&mut self, operations: Vec<Queued<'a, What>>) {
        self.queue.extend(operations);
    }

    /// What goes next while so many are under way, and what is left for the next run. A wave begins once nothing of the
    /// one before is under way. `is_left` is also told whether what was tried in vain before is given up.
    pub(super) fn next(
        &mut self,
        under_way: usize,
        room: Room,
        mut is_left: impl FnMut(&Approved<What>, bool) -> bool,
    ) -> (Vec<Queued<'a, What>>, Vec<Queued<'a, What>>) {
        let (mut next, mut left) = (Vec::new(), Vec::new());
        while let Some((id, operation)) = self.queue.front().copied() {
            let out = under_way + next.len();
            let wave = operation.wave();
            if out >= room.at_once || (out > 0 && wave != self.wave) {
                break;
            }
            self.wave = wave;
            let is_given_up = self.again.is_given_up(wave) && operation.is_in_vain();
            let is_left = is_left(operation, is_given_up);
            if !is_left {
                let calls = self.calls + operation.calls(self.way);
                let has_room = room.calls.is_none_or(|most| calls <= most);
                if !has_room || (operation.is_in_vain() && self.again.may_be_given_up()) {
                    break;
                }
                self.calls = calls;
                if operation.is_in_vain() {
                    self.again.send();
                }
            }
            self.queue.pop_front();
            if is_left { &mut left } else { &mut next }.push((id, operation));
        }
        (next, left)
    }

    /// Takes in how one ended that was sent.
    pub(super) fn note(&mut self, operation: &Approved<What>, has_failed: bool) {
        self.calls = self.calls.saturating_sub(operation.calls(self.way));
        if operation.is_in_vain() {
            self.again.note(has_failed);
        }
    }
}

/// Counts, within a wave, the failures in a row of what was tried in vain before: after some the rest of such
/// is left, as it would only fail as well.
#[derive(Default)]
struct AgainInVain {
    wave: u32,
    in_a_row: usize,
    under_way: usize,
}

impl AgainInVain {
    /// Whether what was tried in vain before is given up in this wave.
    fn is_given_up(&mut self, wave: u32) -> bool {
        if wave != self.wave {
            *self = AgainInVain {
                wave,
                ..AgainInVain::default()
            };
        }
        self.in_a_row >= GIVE_UP
    }

    /// Whether it may be given up once those under way are answered.
    fn may_be_given_up(&self) -> bool {
        self.under_way > 0 && self.in_a_row + self.under_way >= GIVE_UP
    }

    fn send(&mut self) {
        self.under_way += 1;
    }

    fn note(&mut self, has_failed: bool) {
        self.under_way = self.under_way.saturating_sub(1);
        self.in_a_row = if has_failed { self.in_a_row + 1 } else { 0 };
    }
}
