//! The days: what happens, what is run, and what is looked at.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use chrono::Utc;
use dirsyncd::apply::{Control, Shutdown, Unwatched};
use dirsyncd::config::Config;
use dirsyncd::model::{ExternalId, GroupMember, GroupOperation, Invoker, Operation, Reason, RunId};
use dirsyncd::plan::groups::{GroupNotUndone, PlannedGroup};
use dirsyncd::plan::{Plan, SkipReason, Skipped, Stop};
use dirsyncd::report::{SavedGroup, SavedOperation, SavedPlan};
use dirsyncd::run::{Finished, Orders, RunError, Setup, Wish as Undo};
use dirsyncd::run::{revert, save, sync, sync_saved};
use dirsyncd::snapshot::{ApproveError, Asked, Journal};
use serde_json::json;

use crate::company::{Company, Edit, Human, Place, THEIRS};
use crate::model::{Model, OnLeave, PutBack, Seen};
use crate::support::organization::Account;
use crate::support::people::BASE;
use crate::support::{Dirsyncd, Organization, database};
use crate::{DEACTIVATIONS, DELETE_AFTER, GRACE, HOLD_EXPIRY, RECYCLE_AFTER, REMOVALS};

pub(crate) struct Life {
    pub(crate) company: Company,
    model: Model,
    organization: Organization,
    dirsyncd: Dirsyncd,
    runtime: tokio::runtime::Runtime,
    accepts: bool,
    story: Vec<String>,
    /// The last plan of a day's end.
    last: Option<Plan>,
}

impl Life {
    pub(crate) fn begin(seed: u64) -> Self {
        let company = Company::new(seed);
        let organization = Organization::start();
        let foreign = organization.create_by_hand("robot@example.org", "Robot", Some("by-hand"));
        let on_leave = [OnLeave::Keep, OnLeave::Empty, OnLeave::Delete][(seed % 3) as usize];
        let mut dirsyncd = Dirsyncd::from_ldif(&organization, &company.ldif());
        dirsyncd.mapping += "employeeNumber = \"employeeNumber\"\n";
        dirsyncd.rest = format!(
            "[[group]]\nbase = \"ou=groups,{BASE}\"\nmatch = \"([a-z0-9]+)(-.*)?\"\nname = \"$1\"\non_leave = \"{}\"\n\
             [policy]\ndelete_after = \"{DELETE_AFTER}days\"\nrecycle_after = \"{RECYCLE_AFTER}days\"\n\
             [guards]\nhold_expiry = \"{HOLD_EXPIRY}days\"\ndeactivate = {{ at_most = {DEACTIVATIONS} }}\n\
             remove_members = {{ at_most = {REMOVALS} }}\n",
            on_leave.word()
        );
        for guard in [
            "create",
            "update",
            "same_attribute",
            "delete",
            "change_email",
        ] {
            dirsyncd.rest += &format!("{guard} = {{ always = 1000, percent = 100 }}\n");
        }
        let mut life = Life {
            company,
            model: Model::new(on_leave, foreign.clone()),
            organization,
            dirsyncd,
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap(),
            accepts: false,
            story: vec![format!("seed {seed}")],
            last: None,
        };
        life.organization
            .create_group_by_hand(THEIRS, None, &[&foreign]);
        life.model.theirs.insert(foreign.account_id);
        life.settle();
        life.look();
        // People of ours are in the group that is not.
        for human in &life.company.humans[..3] {
            let account = life.organization.of_key(&human.key).unwrap();
            life.organization
                .change_group_by_hand(THEIRS, "add", &account);
            life.model.theirs.insert(account.account_id);
        }
        life
    }

    fn tell(&mut self, what: impl Into<String>) {
        let day = self.company.day;
        self.story.push(format!("{day}: {}", what.into()));
    }

    #[track_caller]
    fn expect(&self, is_right: bool, what: &str) {
        assert!(
            is_right,
            "{}, day {}: {what}\n{}\n{:#?}\n{:?}\n{:?}",
            self.story[0],
            self.company.day,
            self.story.join("\n"),
            self.organization.accounts(),
            self.seen().groups,
            self.last
        );
    }

    #[track_caller]
    fn expect_none(&self, faults: &[String]) {
        self.expect(faults.is_empty(), &faults.join("; "));
    }

    fn seen(&self) -> Seen {
        let accounts = self.organization.accounts();
        let ids: HashMap<&String, &String> = accounts
            .iter()
            .map(|account| (&account.scim_id, &account.account_id))
            .collect();
        let groups = self.organization.groups().into_iter().map(|group| {
            let members = group.members.iter();
            let members = members.filter_map(|id| Some((*ids.get(id)?).clone()));
            (group.name, members.collect())
        });
        let groups = groups.collect();
        let accounts = accounts
            .into_iter()
            .map(|account| (account.account_id.clone(), account))
            .collect();
        Seen { accounts, groups }
    }

    fn setup(&self) -> Setup {
        let path = self.dirsyncd.config_file();
        Setup::new(Config::parse(&path, &self.dirsyncd.config()).unwrap()).unwrap()
    }

    fn orders(&self) -> Orders<'static> {
        Orders {
            accepts_scope_change: self.accepts,
            ..Orders::ROUTINE
        }
    }

    /// Syncs, and looks at what no run may do.
    #[track_caller]
    fn sync(&self) -> Result<Finished, RunError> {
        let (setup, orders) = (self.setup(), self.orders());
        let before = self.seen();
        let result = self
            .runtime
            .block_on(sync(&setup, orders, "test", &control()));
        self.look_at_run(&before, &result);
        result
    }

    #[track_caller]
    fn look_at_run(&self, before: &Seen, result: &Result<Finished, RunError>) {
        let holds = match result {
            Ok(finished) => holds(finished),
            Err(_) => Vec::new(),
        };
        let after = self.seen();
        let faults = self
            .model
            .faults_of_run(&self.company, before, &after, &holds);
        self.expect_none(&faults);
    }

    /// Syncs until nothing is to be done any more.
    #[track_caller]
    fn settle(&mut self) {
        for _ in 0..6 {
            let finished = self.sync().unwrap();
            let applied = &finished.applied;
            let failed = format!("{:?} {:?}", applied.failed, applied.groups.failed);
            self.expect(applied.is_clean(), &failed);
            let has_pending = finished.plan.has_pending();
            self.last = Some(finished.plan);
            if !has_pending {
                return;
            }
        }
        self.expect(false, "no end of operations");
    }

    /// What must hold when everything went well.
    #[track_caller]
    fn look(&mut self) {
        let seen = self.seen();
        self.look_at_people(&seen);
        let faults = self.model.look_at_groups(&self.company, &seen);
        self.expect_none(&faults);
        self.model.approved.clear();
        self.model.are_approvals_vague = false;
        self.model.groups_approved.clear();
    }

    #[track_caller]
    fn look_at_people(&mut self, seen: &Seen) {
        let accounts = &seen.accounts;
        let by_key: HashMap<&str, &Account> = accounts
            .values()
            .filter_map(|account| Some((account.external_id.as_deref()?, account)))
            .collect();
        let holders: HashMap<&str, &Account> = accounts
            .values()
            .map(|account| (account.email.as_str(), account))
            .collect();
        let day = self.company.day;
        let mut humans = std::mem::take(&mut self.company.humans);
        let mut owned = BTreeSet::from([self.model.foreign.account_id.clone()]);
        let mut faults = Vec::new();
        let mut held = BTreeSet::new();
        let mut is_reverted_held = BTreeSet::new();
        for (at, human) in humans.iter_mut().enumerate() {
            let number = human.number.clone();
            let mut expect = |is_right: bool, what: &str| {
                if !is_right {
                    faults.push(format!("{number}: {what}"));
                }
            };
            let is_in_scope = self.company.is_in_scope(human);
            let is_waiting = self.company.is_waiting(human);
            let wish = self.company.wish(human);
            let account = by_key.get(human.key.as_str()).copied();
            let own = human.account.as_ref().and_then(|id| accounts.get(id));
            let put_back = still_put_back(&mut self.model, at, &wish, self.company.edit);
            // The address may still be that of somebody else's account.
            let is_blocked = holders.get(human.mail.as_str()).is_some_and(|holder| {
                holder.external_id.as_deref() != Some(human.key.as_str())
                    && Some(&holder.account_id) != human.account.as_ref()
            });
            if is_in_scope {
                human.left = None;
                human.is_reprieved = false;
            }
            if let (Some(put_back), Some(own)) = (&put_back, own)
                && (put_back.is_whole || put_back.is_let_go)
            {
                let is_as_left = own.active == put_back.as_left.active;
                expect(put_back.is_vague || is_as_left, "is not as it was put back");
                if own.active && !wish.is_login() && !is_waiting {
                    held.insert(at);
                    is_reverted_held.insert(at);
                }
            } else if is_in_scope && human.enabled {
                let is_put_back = |part: fn(&PutBack) -> bool| put_back.as_ref().is_some_and(part);
                match account {
                    Some(account) => {
                        expect(is_blocked || account.active, "is to be active");
                        if is_put_back(|put_back| put_back.mail) {
                            let left = &put_back.as_ref().unwrap().as_left.email;
                            let is_vague = is_put_back(|put_back| put_back.is_vague);
                            expect(is_vague || account.email == *left, "the address put back");
                        } else {
                            expect(is_blocked || account.email == human.mail, "the address");
                        }
                        let title = account.title.as_deref();
                        if is_put_back(|put_back| put_back.title) {
                            let left = &put_back.as_ref().unwrap().as_left.title;
                            let is_vague = is_put_back(|put_back| put_back.is_vague);
                            expect(is_vague || account.title == *left, "the title put back");
                        } else {
                            let is_free = !is_blocked && put_back.is_none();
                            expect(!is_free || title == Some(&*human.title), "the title");
                        }
                        // The same account for good, as long as there is one.
                        if own.is_some() {
                            expect(
                                human.account.as_ref() == Some(&account.account_id),
                                "another account",
                            );
                        }
                        human.account = Some(account.account_id.clone());
                    }
                    None => expect(is_blocked, "is to have an account"),
                }
            } else if is_waiting {
                // As it was before the edit, or without an account if it came afterwards.
            } else if let Some(own) = own {
                if own.active {
                    held.insert(at);
                } else if !is_in_scope {
                    let left = *human.left.get_or_insert(day);
                    let status = self.organization.account_status(&own.account_id);
                    let is_late = day - left > DELETE_AFTER + GRACE + 1;
                    if is_late && !human.is_reprieved {
                        expect(status.is_none(), "is to be deleted for good");
                    }
                    if human.is_reprieved {
                        expect(status.is_some(), "is deleted, which was reverted");
                    }
                    if day - left < DELETE_AFTER {
                        expect(status.is_some(), "is deleted too early");
                    }
                }
            }
            if let Some(id) = &human.account
                && accounts.contains_key(id)
            {
                expect(owned.insert(id.clone()), "shares an account");
            }
        }
        self.company.humans = humans;
        faults.extend(self.look_at_held(held, &is_reverted_held));
        // An edit that puts nobody out of an account is in force.
        let waits = |human: &Human| {
            let account = human.account.as_ref().and_then(|id| accounts.get(id));
            self.company.is_waiting(human) && account.is_some_and(|account| account.active)
        };
        if self.company.edit == Edit::Waiting && !self.company.humans.iter().any(waits) {
            self.company.edit = Edit::Accepted;
        }
        let strays = accounts.keys().filter(|id| !owned.contains(*id));
        faults.extend(strays.map(|id| format!("the account {id} is nobody's")));
        self.expect_none(&faults);
    }

    /// Whoever keeps the login unwished is held, and for a reason.
    fn look_at_held(
        &mut self,
        held: BTreeSet<usize>,
        is_reverted: &BTreeSet<usize>,
    ) -> Vec<String> {
        let mut faults = Vec::new();
        let model = &mut self.model;
        for (at, wish) in &model.approved {
            let human = &self.company.humans[*at];
            let is_same = *wish == self.company.wish(human);
            let is_certain = is_same && !model.are_approvals_vague;
            if is_certain && held.contains(at) && !is_reverted.contains(at) {
                faults.push(format!("{} was approved to lose the login", human.number));
            }
        }
        let mut unasked = held.difference(is_reverted);
        if held.len() <= DEACTIVATIONS && !model.is_hold_looked_at && unasked.next().is_some() {
            faults.push(format!(
                "{held:?} keep the login, which is no reason for a hold"
            ));
        }
        model.left_out = model.left_out.intersection(&held).copied().collect();
        if held.is_empty() && self.company.edit != Edit::Waiting {
            model.is_hold_looked_at = false;
            model.held_since = None;
            model.is_held_since_certain = true;
        } else if !held.is_empty() && model.held_since.is_none() {
            model.held_since = Some(self.company.day);
        }
        // Whoever was put back may have kept the login without that hold.
        model.is_held_since_certain &= is_reverted.is_empty();
        model.held = held;
        faults
    }

    pub(crate) fn day(&mut self) {
        self.company.day += 1;
        self.organization.advance(Duration::from_secs(24 * 3600));
        database::age(&self.dirsyncd.database(), 1);
        let held_since = self.model.held_since;
        if held_since.is_some_and(|since| self.company.day - since >= HOLD_EXPIRY) {
            self.model.held_since = Some(self.company.day);
            match self.model.is_held_since_certain {
                true => self.model.approved.clear(),
                false => self.model.are_approvals_vague = true,
            }
        }
        for said in self.company.live() {
            self.tell(said);
        }
        self.edit();
        self.dirsyncd.write_ldif(&self.company.ldif());
        self.bad_hour();
        match self.company.rng.u8(..10) {
            0 => self.decide_and_carry_out(),
            1 => self.carry_out_late(),
            2 | 3 => self.regret(),
            _ => {}
        }
        self.settle();
        self.look();
        self.evening();
    }

    /// On some days something is broken for a while.
    fn bad_hour(&mut self) {
        match self.company.rng.u8(..8) {
            0 => {
                self.tell("the API fails now and then");
                self.organization.faults(&json!([
                    {"match": "^(POST|PATCH) ", "times": 3, "status": 500}
                ]));
                // How it ends is open.
                let _ = self.sync();
                self.organization.heal();
                database::wait(&self.dirsyncd.database(), 60);
            }
            1 => {
                let ldif = self.company.ldif();
                let mut end = self.company.rng.usize(ldif.len() / 2..ldif.len() - 2);
                // Between two records nobody can see it.
                while ldif[..end].ends_with('\n') {
                    end -= 1;
                }
                self.tell(format!("the file is cut off at {end}"));
                self.dirsyncd.write_ldif(&ldif[..end]);
                let _ = self.sync();
                self.dirsyncd.write_ldif(&ldif);
            }
            _ => return,
        }
        // Those of them that were sent are used up.
        self.model.are_approvals_vague = true;
    }

    /// A plan is saved, looked at, and carried out.
    fn decide_and_carry_out(&mut self) {
        let saved = self.save();
        let by_hand = self.company.chance(50) && self.meddle();
        let before = self.seen();
        let result = self.carry_out(&saved);
        self.look_at_run(&before, &result);
        let finished = result.unwrap();
        self.expect(finished.applied.is_clean(), "the saved plan fails");
        self.look_at_rows(&saved, &finished, by_hand);
        self.expect_used_up(&saved);
    }

    /// Each row of a saved plan that was carried out is done or held, or it is told why not.
    #[track_caller]
    fn look_at_rows(&mut self, saved: &SavedPlan, finished: &Finished, is_overtaken: bool) {
        let Finished { plan, applied, .. } = finished;
        let mut faults = Vec::new();
        let skipped = plan.skipped.iter().filter_map(|one| one.key.as_ref());
        let refused = plan.refusals.iter().filter_map(|one| one.key.as_ref());
        let told: BTreeSet<&ExternalId> = skipped.chain(refused).collect();
        let place = |of: &Operation| (of.key.clone(), of.reason == Reason::MakesWay);
        for SavedOperation {
            operation, hold, ..
        } in &saved.operations
        {
            let mut all = plan.operations.iter();
            match all.find(|one| place(&one.operation) == place(operation)) {
                Some(planned) if hold.is_some() && !planned.is_held() => {
                    faults.push(format!("was held: {operation:?}"));
                }
                // Whoever makes way for somebody who is told is not told apart.
                None if !told.contains(&operation.key) && operation.reason != Reason::MakesWay => {
                    faults.push(format!("not a word of {operation:?}"));
                }
                _ => {}
            }
        }
        let saved_groups = saved.groups.iter().flat_map(|groups| &groups.operations);
        let groups: Vec<&PlannedGroup> =
            plan.groups.iter().flat_map(|one| &one.operations).collect();
        // Members may be left out of it.
        let is_part = |one: &GroupOperation, of: &GroupOperation| {
            let is_in = |some: &[GroupMember], all: &[GroupMember]| {
                some.iter()
                    .all(|one| all.iter().any(|other| other.id() == one.id()))
            };
            (&one.key, one.kind) == (&of.key, of.kind)
                && is_in(&one.add, &of.add)
                && is_in(&one.remove, &of.remove)
        };
        for SavedGroup {
            operation, hold, ..
        } in saved_groups.clone()
        {
            let mut all = groups.iter();
            match all.find(|one| is_part(&one.operation, operation)) {
                Some(planned) if hold.is_some() && planned.holds.is_empty() => {
                    faults.push(format!("was held: {operation:?}"));
                }
                None if !told.contains(&operation.key) => {
                    faults.push(format!("not a word of {operation:?}"));
                }
                _ => {}
            }
        }
        let has_moved = |one: &Skipped| {
            matches!(
                one.why,
                SkipReason::Moved { .. } | SkipReason::GroupMoved { .. }
            )
        };
        if !is_overtaken && plan.skipped.iter().any(has_moved) {
            faults.push(format!("nothing has moved: {:?}", plan.skipped));
        }
        let due = plan.operations.iter().filter(|one| !one.is_held()).count();
        let due_groups = groups.iter().filter(|one| one.holds.is_empty()).count();
        let done = (applied.done, applied.groups.done);
        if done != (due, due_groups) {
            faults.push(format!("{done:?}, not {due} and {due_groups}, done"));
        }
        self.tell(format!(
            "a plan of {} and {} for groups was carried out: {done:?} (held: {:?})",
            saved.operations.len(),
            saved_groups.count(),
            holds(finished)
        ));
        self.expect_none(&faults);
    }

    /// A plan is saved, and carried out when it is overtaken.
    fn carry_out_late(&mut self) {
        let saved = self.save();
        self.settle();
        let before = self.seen();
        let result = self.carry_out(&saved);
        self.look_at_run(&before, &result);
        let finished = result.unwrap();
        self.tell("a plan was carried out late");
        self.look_at_rows(&saved, &finished, true);
        self.expect_used_up(&saved);
    }

    fn save(&self) -> SavedPlan {
        let (setup, orders) = (self.setup(), self.orders());
        let before = self.seen();
        let saved = self.runtime.block_on(save(&setup, orders, &control()));
        let (_, saved) = saved.unwrap();
        self.expect(self.seen() == before, "a plan changes something");
        SavedPlan::parse(&saved.text().unwrap()).unwrap()
    }

    fn carry_out(&self, saved: &SavedPlan) -> Result<Finished, RunError> {
        let setup = self.setup();
        self.runtime.block_on(sync_saved(&setup, saved, &control()))
    }

    #[track_caller]
    fn expect_used_up(&self, saved: &SavedPlan) {
        let before = self.seen();
        let again = self.carry_out(saved);
        let is_refused = matches!(again, Err(RunError::Refused(Stop::Applied { .. })));
        self.expect(is_refused, "a plan is carried out twice");
        self.expect(self.seen() == before, "a used plan changes something");
    }

    /// Somebody changes something in the organization that a plan is about; whether there was
    /// something.
    fn meddle(&mut self) -> bool {
        let accounts = self.seen().accounts;
        let own = |human: &Human| accounts.get(human.account.as_ref()?);
        let mails: BTreeSet<&str> = accounts.values().map(|one| one.email.as_str()).collect();
        let is_due = |human: &Human| {
            let title = own(human).filter(|own| own.active);
            title.is_some_and(|own| own.title.as_deref() != Some(&*human.title))
                && human.enabled
                && human.place == Place::People
        };
        let is_new = |human: &Human| {
            human.account.is_none()
                && human.place == Place::People
                && human.enabled
                && !mails.contains(human.mail.as_str())
        };
        let (due, new) = (self.company.pick(is_due), self.company.pick(is_new));
        if let Some(at) = due.filter(|at| !self.model.put_back.contains_key(at)) {
            let human = &self.company.humans[at];
            let account = own(human).unwrap();
            self.organization
                .patch_by_hand(account, "title", &json!("Queen"));
            let said = format!("somebody makes {} a queen", human.number);
            self.tell(said);
        } else if let Some(at) = new {
            let human = &self.company.humans[at];
            self.organization
                .create_by_hand(&human.mail, "By Hand", None);
            let said = format!("somebody makes an account for {}", human.number);
            self.tell(said);
        } else {
            return false;
        }
        true
    }

    /// A run is reverted.
    fn regret(&mut self) {
        let before = self.seen();
        let mark = self.organization.mark();
        let finished = self.sync().unwrap();
        self.expect(
            finished.applied.is_clean(),
            &format!("{:?}", finished.applied),
        );
        let after = self.seen();
        let writes = self.organization.writes_since(mark);
        let deletions: Vec<String> = writes
            .iter()
            .filter_map(|write| write.path.strip_suffix("/manage/lifecycle/delete"))
            .filter_map(|path| path.rsplit_once('/'))
            .map(|(_, id)| id.replace("%3A", ":"))
            .collect();
        let done = finished.applied.done + finished.applied.groups.done;
        if done == 0 || !self.model.approved.is_empty() {
            return;
        }
        let mut reverted = self.revert(finished.run);
        let names = holds(&reverted);
        if !names.is_empty() && self.company.chance(50) {
            for name in &names {
                let approved = self.approve(name, &[]);
                self.expect(approved.is_ok(), &format!("{approved:?}"));
            }
            reverted = self.revert(finished.run);
        }
        // A name is free once the group is gone that has got it.
        for _ in 0..4 {
            if is_name_taken(&reverted) {
                reverted = self.revert(finished.run);
            }
        }
        let names = holds(&reverted);
        let now = self.seen();
        self.tell(format!(
            "run {} is reverted (held: {names:?})",
            finished.run
        ));
        let is_whole = names.is_empty();
        let mut faults = self.put_back(&before, &after, &now, is_whole);
        let seen = [&before, &after, &now];
        let model = &mut self.model;
        faults.extend(model.put_groups_back(&self.company, seen, is_whole));
        self.expect_none(&faults);
        for human in &mut self.company.humans {
            let id = human.account.as_ref();
            human.is_reprieved |= id.is_some_and(|id| deletions.contains(id));
        }
        // The directory still wishes it.
        let next = self.sync().unwrap();
        self.expect(next.applied.is_clean(), &format!("{:?}", next.applied));
        let then = self.seen();
        let mut faults = self.model.faults_of_groups_put_back(&then);
        for put_back in self.model.put_back.values() {
            let id = &put_back.as_left.account_id;
            let (Some(now), Some(then)) = (now.accounts.get(id), then.accounts.get(id)) else {
                continue;
            };
            let is_kept = now.active == then.active
                && (!put_back.is_whole || now == then)
                && (!put_back.mail || now.email == then.email)
                && (!put_back.title || now.title == then.title);
            if !is_kept && !put_back.is_vague {
                faults.push(format!("done again: {now:?} {then:?}"));
            }
        }
        self.expect_none(&faults);
    }

    fn revert(&self, run: RunId) -> Finished {
        let only = Vec::new();
        let wish = Undo { run, only };
        let setup = self.setup();
        let reverted = self.runtime.block_on(revert(&setup, &wish, &control()));
        let reverted = reverted.unwrap();
        let applied = &reverted.applied;
        let failed = format!("{:?} {:?}", applied.failed, applied.groups.failed);
        self.expect(reverted.applied.is_clean(), &failed);
        reverted
    }

    /// Compares what a revert has made of what a run had made; notes what was put back.
    fn put_back(&mut self, before: &Seen, after: &Seen, now: &Seen, is_whole: bool) -> Vec<String> {
        let mut faults = Vec::new();
        let all: Vec<&Account> = now.accounts.values().collect();
        for at in 0..self.company.humans.len() {
            let human = &self.company.humans[at];
            let wish = self.company.wish(human);
            let of_key = |account: &&Account| account.external_id.as_ref() == Some(&human.key);
            let made = || after.accounts.values().find(of_key);
            let id = human
                .account
                .clone()
                .filter(|id| after.accounts.contains_key(id));
            let Some(id) = id.or_else(|| Some(made()?.account_id.clone())) else {
                continue;
            };
            let (Some(left), Some(now)) = (after.accounts.get(&id), now.accounts.get(&id)) else {
                continue;
            };
            self.company.humans[at].account = Some(id.clone());
            let was = before.accounts.get(&id);
            if was == Some(left) && now == left {
                continue;
            }
            // An account that was made stays, and so does its address.
            let is_taken = was.is_some_and(|was| {
                let mut others = all.iter().filter(|other| other.account_id != id);
                others.any(|other| other.email == was.email)
            });
            let is_right = is_taken || was.map_or(!now.active, |was| was == now);
            if is_whole && !is_right {
                faults.push(format!("{was:?} became {left:?} and now {now:?}"));
            }
            let has_key = now.external_id == left.external_id;
            let put_back = PutBack {
                wish,
                as_left: now.clone(),
                is_whole: now.active != left.active || !has_key,
                is_let_go: !has_key && was.is_some_and(|was| was.external_id.is_none()),
                mail: now.email != left.email,
                title: now.title != left.title,
                is_vague: false,
            };
            self.model.put_back.insert(at, put_back);
        }
        faults
    }

    /// Somebody looks at the holds.
    fn evening(&mut self) {
        if !self.model.held.is_empty() && self.company.chance(40) {
            self.let_go();
        }
        let is_reprieved = self.company.humans.iter().any(|one| one.is_reprieved);
        let is_put_back = !self.model.put_back.is_empty() || self.model.has_groups_put_back();
        if (is_reprieved || is_put_back) && self.company.chance(25) {
            self.do_again();
        }
        if self.company.chance(30) {
            self.let_members_go();
        }
        if self.company.chance(15) {
            self.change_a_group();
        }
    }

    /// The deactivations that are held are approved, all or some.
    fn let_go(&mut self) {
        let is_reverted = |at: &&usize| self.model.put_back.contains_key(*at);
        let held: Vec<usize> = self.model.held.iter().copied().collect();
        if held.iter().any(|at| is_reverted(&at)) {
            return;
        }
        let is_part = self.company.chance(50);
        let chosen: Vec<usize> = match is_part {
            true => held
                .iter()
                .copied()
                .filter(|_| self.company.rng.bool())
                .collect(),
            false => held.clone(),
        };
        if chosen.is_empty() {
            return;
        }
        // A new entry that is gone already has not been seen.
        let accounts = self.seen().accounts;
        let key = |at: &usize| {
            let human = &self.company.humans[*at];
            match self.company.is_in_scope(human) {
                true => human.key.clone(),
                false => accounts[human.account.as_ref().unwrap()]
                    .external_id
                    .clone()
                    .unwrap(),
            }
        };
        let only = match is_part {
            true => chosen.iter().map(key).collect(),
            false => Vec::new(),
        };
        let approved = self.approve("deactivate", &only);
        self.expect(approved.is_ok(), &format!("{approved:?}"));
        self.tell(format!("{chosen:?} of {held:?} may lose the login"));
        for at in &chosen {
            let wish = self.company.wish(&self.company.humans[*at]);
            self.model.approved.insert(*at, wish);
        }
        self.model.is_hold_looked_at = true;
        let rest = held.into_iter().filter(|at| !chosen.contains(at));
        self.model.left_out = rest.collect();
        if self.company.rng.bool() {
            self.settle();
            self.look();
        }
    }

    /// What was reverted is approved.
    fn do_again(&mut self) {
        match self.approve("reverted", &[]) {
            Ok(()) => self.tell("what was reverted may be done"),
            Err(ApproveError::Unknown { .. }) => {
                let is_certain = |one: &PutBack| !one.is_vague;
                let certain: Vec<&PutBack> = self
                    .model
                    .put_back
                    .values()
                    .filter(|one| is_certain(one))
                    .collect();
                self.expect(certain.is_empty(), &format!("not held: {certain:?}"));
                let groups = &self.model;
                self.expect(
                    !groups.are_groups_put_back(),
                    &format!("not held: {groups:?}"),
                );
                let seen = self.seen();
                self.model.let_groups_put_back_go(&seen);
                return;
            }
            Err(error) => self.expect(false, &error.to_string()),
        }
        for human in &mut self.company.humans {
            if std::mem::take(&mut human.is_reprieved) {
                human.left = Some(self.company.day - DELETE_AFTER);
            }
        }
        let held = self.model.held.clone();
        let is_hold_full = held.len() > DEACTIVATIONS || self.model.is_hold_looked_at;
        for (at, put_back) in &mut self.model.put_back {
            put_back.is_vague |= is_hold_full && held.contains(at);
        }
        self.model
            .put_back
            .retain(|at, _| is_hold_full && held.contains(at));
        let seen = self.seen();
        self.model.let_groups_put_back_go(&seen);
        self.settle();
        self.look();
    }

    /// The removals from groups that are held are approved, all or one.
    fn let_members_go(&mut self) {
        let held: Vec<String> = self.model.groups_held.iter().cloned().collect();
        let name = held.get(self.company.rng.usize(..held.len().max(1)));
        let only: Vec<String> = match self.company.chance(50) {
            true => name.cloned().into_iter().collect(),
            false => Vec::new(),
        };
        match self.approve("remove_members", &only) {
            Ok(()) => {}
            Err(
                ApproveError::Unknown { .. }
                | ApproveError::NotHeld { .. }
                | ApproveError::Expired { .. }
                | ApproveError::Ambiguous { .. },
            ) => return,
            Err(error) => self.expect(false, &error.to_string()),
        }
        self.tell(format!("members may leave groups ({only:?})"));
        self.model.groups_approved = match only.as_slice() {
            [] => self.model.group_names().into_iter().collect(),
            only => only.iter().cloned().collect(),
        };
        self.model.are_removals_looked_at = true;
        self.settle();
        self.look();
    }

    /// Somebody changes the members of a group of ours in the organization.
    fn change_a_group(&mut self) {
        let names = self.model.group_names();
        let Some(name) = names.get(self.company.rng.usize(..names.len().max(1))) else {
            return;
        };
        let seen = self.seen();
        let who = self.company.pick(|human| {
            let account = human.account.as_ref();
            account.is_some_and(|id| seen.accounts.contains_key(id))
        });
        let account = match who.filter(|_| self.company.chance(70)) {
            Some(at) => self.company.humans[at].account.clone().unwrap(),
            None => self.model.foreign.account_id.clone(),
        };
        let is_in = !seen.groups[name].contains(&account);
        let op = if is_in { "add" } else { "remove" };
        self.organization
            .change_group_by_hand(name, op, &seen.accounts[&account]);
        self.tell(format!("by hand in {name}: {op} {account}"));
        self.model.change_by_hand(name, &account, is_in);
    }

    /// The names of those who are approved.
    fn approve(&self, hold: &str, only: &[String]) -> Result<(), ApproveError> {
        let asked = Asked {
            by: Invoker {
                name: "somebody".to_owned(),
                uid: 1000,
                sudo_user: None,
            },
            reason: "it is right".to_owned(),
        };
        self.runtime.block_on(async {
            let mut journal = Journal::open(&self.dirsyncd.database()).await?;
            let approved = journal.approve(hold, only, &asked, Utc::now()).await;
            journal.close().await?;
            approved.map(drop)
        })
    }

    /// Edits the configuration on some days.
    fn edit(&mut self) {
        let next = match (self.company.edit, self.company.rng.u8(..12)) {
            (Edit::None, 0) => Edit::Waiting,
            (Edit::Waiting, 0..=2) => Edit::Accepted,
            (Edit::Waiting | Edit::Accepted, 3..=5) => Edit::None,
            (edit, _) => edit,
        };
        if next != self.company.edit {
            self.tell(format!("the edit is {next:?}"));
        }
        self.company.edit = next;
        let filter = match next {
            Edit::None => "(objectClass=inetOrgPerson)",
            Edit::Waiting | Edit::Accepted => "(&(objectClass=inetOrgPerson)(!(title=Guest)))",
        };
        self.dirsyncd.set_source("filter", &format!("{filter:?}"));
        self.accepts = next == Edit::Accepted;
    }
}

/// What of that which was put back is still so: what is wished by now may be something else.
fn still_put_back(
    model: &mut Model,
    at: usize,
    wish: &crate::company::Wish,
    edit: Edit,
) -> Option<PutBack> {
    let put_back = model.put_back.get_mut(&at)?;
    if *wish != put_back.wish {
        // What is not wished for a while is forgotten, unless the run does not know it.
        let is_known = edit != Edit::Waiting;
        put_back.is_vague = true;
        let was = &put_back.wish;
        let is_other_login = wish.is_login() != was.is_login();
        let is_other_key = wish.key != was.key;
        if is_known && is_other_key {
            model.put_back.remove(&at);
            return None;
        }
        if is_known && is_other_login && !put_back.is_let_go {
            put_back.is_whole = false;
        }
        let value = |of: &crate::company::Wish| of.said.clone();
        let (now, then) = (value(wish), value(was));
        let differs = |part: fn(&crate::company::Said) -> &String| {
            now.as_ref().map(part) != then.as_ref().map(part)
        };
        put_back.mail &= !(is_known && differs(|said| &said.mail));
        put_back.title &= !(is_known && differs(|said| &said.title));
        if !put_back.is_whole && !put_back.is_let_go && !put_back.mail && !put_back.title {
            model.put_back.remove(&at);
            return None;
        }
    }
    model.put_back.get(&at).cloned()
}

fn control() -> Control<'static> {
    Control {
        watch: &Unwatched,
        stop: Shutdown::never(),
        now: &Utc::now,
        asked_by: None,
    }
}

/// Whether a group does not get its name back, as another one has it.
fn is_name_taken(reverted: &Finished) -> bool {
    let mut skipped = reverted.plan.skipped.iter();
    skipped.any(|one| {
        let why = &one.why;
        matches!(
            why,
            SkipReason::GroupNotUndone {
                why: GroupNotUndone::NameTaken(_),
                ..
            }
        )
    })
}

fn holds(finished: &Finished) -> Vec<String> {
    let holds = finished.plan.holds.iter();
    holds.map(|hold| hold.name.clone()).collect()
}
