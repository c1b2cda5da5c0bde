//! The journal is not pruned by a wrong clock, neither by a sync nor by hand.

use std::time::Duration;

use crate::support::people::directory;
use crate::support::{Dirsyncd, Organization, Person, database};
use crate::trap::{Trap, Trapped};

#[test]
fn by_a_clock_that_is_years_ahead_nothing_is_taken_out_of_the_journal() {
    let organization = Organization::start();
    let mut people = Person::several(3);
    let dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&people));
    let mut sync = |n: usize| {
        people[0].title = format!("Title {n}");
        dirsyncd.write_ldif(&directory(&people));
        dirsyncd.sync(0);
    };
    (0..9).for_each(&mut sync);
    let texts = |query: &str| database::texts(&dirsyncd.database(), query);
    let operations = "SELECT id || '' FROM operations";
    let all = texts(operations);
    let years = 2 * 366 * 24 * 60 * 60;

    let ports = (organization.port(), 0);
    let ahead = Trapped::start(&dirsyncd, ports, &["sync"], Trap::NONE, years);
    let (output, _) = ahead.wait(Duration::from_secs(60));

    output.expect_code(0);
    let begun = "SELECT (max(started_at) > 1000 * (unixepoch() + 700 * 86400)) || '' FROM runs";
    assert_eq!(texts(begun), ["1"], "the clock was ahead");
    assert_eq!(texts(operations), all);
    assert!(texts("SELECT at || '' FROM pruned").is_empty());
    // By hand neither, though there is a run of late by that clock.
    for words in [&["prune"][..], &["prune", "--dry-run"]] {
        let ahead = Trapped::start(&dirsyncd, ports, words, Trap::NONE, years);
        let (output, _) = ahead.wait(Duration::from_secs(60));
        output.expect_code(3).expect_words(&[
            "nothing was taken out, as this machine says that it is ",
            ", and the API says ",
            "set the clock right",
        ]);
    }
    assert_eq!(texts(operations), all);
    assert!(texts("SELECT at || '' FROM pruned").is_empty());
    // That run is no measure for what is old: at the right time nothing is.
    sync(9);
    assert!(texts("SELECT at || '' FROM pruned").is_empty());
    // And when the others have become old, what is not needed of them goes, as it should.
    database::execute(
        &dirsyncd.database(),
        "UPDATE runs SET started_at = started_at - 86400000 * 500 WHERE id < 10",
    );
    sync(10);
    assert_eq!(texts("SELECT first_run || '' FROM pruned"), ["11"]);
    assert!(texts(operations).len() < all.len());
}
