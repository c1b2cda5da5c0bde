//! Killed at every step, and again while it makes good; and asked to stop at every step.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::account::Way;
use crate::stage::Stage;
use crate::trap::{ANY, How, STEPS, Trap, count};

/// How often the program is to be killed in all.
fn kills() -> usize {
    std::env::var("KILLS").map_or(500, |kills| kills.parse().unwrap())
}

/// Lets the program go into these traps, one after the other, until it gets through or there are no more traps; what
/// comes of it must be what comes of it when nothing interrupts it. How often the program was killed.
#[track_caller]
fn tell(stage: &Stage, story: &str, traps: impl IntoIterator<Item = Trap>) -> usize {
    let mut scene = stage.scene();
    let mut kills = 0;
    for trap in traps {
        let (output, _) = scene.run(trap);
        if output.code.is_some() {
            scene.expect_end(output, story);
            return kills;
        }
        kills += 1;
    }
    scene.expect_end_by_sync(story);
    kills
}

/// Each of these once, neighbours far apart: however many are taken, they are spread over all.
fn spread(count: u64) -> impl Iterator<Item = u64> {
    let bits = u64::BITS - count.leading_zeros();
    (0..1_u64 << bits)
        .map(move |n| n.reverse_bits() >> (u64::BITS - bits))
        .filter(move |n| (1..=count).contains(n))
}

/// Kills at every step and again by chance until so many kills are told.
#[track_caller]
fn kill_at_every_step(stage: &Stage, wanted: usize) {
    let steps = count(&stage.events, STEPS);
    assert!(steps > 60, "{}", stage.events);
    kill(stage, wanted, steps);
}

/// The same of so many steps at least, which are spread over all.
#[track_caller]
fn kill(stage: &Stage, wanted: usize, least: u64) {
    let steps = count(&stage.events, STEPS);
    let all = count(&stage.events, ANY);
    assert!(steps > 20 && all > 60, "{}", stage.events);
    // All steps in one of the ways first, then the pages too, then in the other ways.
    let rounds = (0..How::KILLS.len()).flat_map(|round| {
        [(STEPS, steps), (ANY, all)]
            .into_iter()
            .flat_map(move |(what, count)| spread(count).map(move |at| (what, at, round)))
    });
    let stories = Mutex::new(rounds.zip(0..).fuse());
    let killed = AtomicUsize::new(0);
    let told = AtomicU64::new(0);
    let tell_stories = || {
        loop {
            let Some(((what, at, round), seed)) = stories.lock().unwrap().next() else {
                break;
            };
            if killed.load(Ordering::SeqCst) >= wanted && seed >= least {
                break;
            }
            let how = How::KILLS[(round + usize::try_from(at).unwrap()) % How::KILLS.len()];
            let first = Trap { what, at, how };
            let mut chance = fastrand::Rng::with_seed(seed);
            let second = by_chance(&mut chance, 2 * all / 3);
            let story = format!("{first:?}, then {second:?}");
            killed.fetch_add(tell(stage, &story, [first, second]), Ordering::SeqCst);
            told.fetch_add(1, Ordering::SeqCst);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(tell_stories);
        tell_stories();
    });
    let (killed, told) = (killed.into_inner(), told.into_inner());
    println!("{killed} kills in {told} stories, of {steps} steps and {all} events");
    assert!(killed >= wanted, "{killed} of {wanted}");
}

#[test]
fn killed_at_every_step_and_again_by_chance_it_ends_as_if_nothing_had_been() {
    kill_at_every_step(&Stage::of(1), kills() * 11 / 20);
}

#[test]
fn a_first_sync_that_is_killed_makes_nobody_twice() {
    let stage = Stage::first_sync();
    let made = stage.reference.effects.iter();
    let made = made.filter(|(what, count)| what.ends_with(": create") && **count == 1);
    assert_eq!(made.count(), 7, "{:?}", stage.reference.effects);
    kill(&stage, kills() / 20, 0);
}

#[test]
fn a_revert_that_is_killed_puts_back_the_rest_once_it_is_asked_for_again() {
    let stage = Stage::revert();
    assert!(
        stage.reference.effects.len() > 20,
        "{:?}",
        stage.reference.effects
    );
    kill(&stage, kills() / 20, 0);
}

#[test]
fn a_rebuild_that_is_killed_is_done_by_the_next_without_a_write() {
    let stage = Stage::rebuild();
    assert!(
        stage.reference.effects.is_empty(),
        "{:?}",
        stage.reference.effects
    );
    kill(&stage, kills() / 20, 0);
}

#[test]
fn killed_at_every_step_of_the_admin_way_it_ends_as_if_nothing_had_been() {
    kill_at_every_step(&Stage::by(Way::Admin, 1), kills() / 5);
}

/// Killed at some event among the next so many.
fn by_chance(chance: &mut fastrand::Rng, among: u64) -> Trap {
    Trap {
        what: ANY,
        at: chance.u64(1..=among),
        how: How::KILLS[chance.usize(..How::KILLS.len())],
    }
}

#[test]
fn killed_again_and_again_a_sync_of_hundreds_of_operations_comes_to_its_end() {
    let stage = Stage::of(40);
    let operations = stage.reference.effects.values().sum::<usize>();
    assert!(operations > 400, "{operations}");
    let wanted = kills() / 10;
    let mut killed = 0;
    let mut seed = 0;
    while killed < wanted {
        seed += 1;
        let mut chance = fastrand::Rng::with_seed(seed);
        let most = chance.u64(100..=1000);
        let traps = std::iter::repeat_with(|| by_chance(&mut chance, most));
        killed += tell(&stage, &format!("seed {seed}"), traps.take(100));
    }
    println!("{killed} kills in {seed} stories");
    assert!(killed >= wanted, "{killed} of {wanted}");
}

#[test]
fn asked_to_stop_at_any_step_it_ends_in_time_and_the_next_sync_does_the_rest() {
    let stage = Stage::of(1);
    let steps = count(&stage.events, STEPS);
    let mut left = 0;
    for at in (1..=steps).step_by(4) {
        let mut scene = stage.scene();
        let trap = Trap {
            what: STEPS,
            at,
            how: How::Term,
        };
        let story = format!("asked to stop at {at} of {steps}");
        let begun = Instant::now();
        let (output, _) = scene.run(trap);
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{story}: {output}"
        );
        assert_eq!(output.code, Some(0), "{story}: {output}");
        let is_through = output.stdout.contains("Done: ") && !output.stdout.contains("left for");
        left += usize::from(!is_through);
        scene.expect_end_by_sync(&story);
    }
    // It was asked early, too.
    assert!(left > 5, "{left}");
}
