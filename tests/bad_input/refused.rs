//! How a refusal looks, whichever verb meets it.

use crate::support::{Output, World, database};

/// The text in the one error line of a run.
#[track_caller]
pub(crate) fn expect_one_error(output: &Output) {
    let errors = output
        .stderr
        .lines()
        .filter(|line| line.starts_with("dirsyncd: "));
    assert_eq!(errors.count(), 1, "{output}");
    assert!(!output.stderr.contains("panicked"), "{output}");
    assert!(!output.stderr.contains("Error {"), "{output}");
}

/// `plan`, whose output this is, and `sync` refuse with this code and these words. A dry run changes no file; a sync
/// notes in the journal that it failed, and nothing else; neither sends the organization a write.
#[track_caller]
pub(crate) fn by_plan_and_sync(world: &World, code: i32, words: &[&str]) -> Output {
    // So that the configuration as it is now is there before the files are compared.
    std::fs::write(world.dirsyncd.config_file(), world.dirsyncd.config()).unwrap();
    let before = world.before();
    let accounts = database::accounts(&world.dirsyncd.database());
    let output = world
        .dirsyncd
        .run(&["plan"])
        .expect_code(code)
        .expect_words(words);
    expect_one_error(&output);
    before.expect_unchanged();
    let synced = world
        .dirsyncd
        .run(&["sync"])
        .expect_code(code)
        .expect_words(words);
    expect_one_error(&synced);
    before.expect_organization_unchanged();
    assert_eq!(database::accounts(&world.dirsyncd.database()), accounts);
    output
}

/// `check` tells it as the one failed check, and changes nothing.
#[track_caller]
pub(crate) fn by_check(world: &World, words: &[&str]) {
    std::fs::write(world.dirsyncd.config_file(), world.dirsyncd.config()).unwrap();
    let before = world.before();
    let output = world
        .dirsyncd
        .run(&["check"])
        .expect_code(1)
        .expect_words(words)
        .expect_words(&["checks failed"]);
    let failed: Vec<&str> = output
        .stdout
        .lines()
        .filter(|line| line.starts_with("✗ "))
        .collect();
    assert!(!failed.is_empty(), "{output}");
    for word in words {
        assert!(failed.iter().any(|line| line.contains(word)), "{output}");
    }
    before.expect_unchanged();
}
