//! The organization's API refuses or is away.

use serde_json::json;

use crate::refused;
use crate::support::directory::{Transport, free_port};
use crate::support::{Person, World, replaced};

fn synced() -> World {
    let mut world = World::of(&Person::four());
    world.dirsyncd.rest = "[policy]\ndelete_after = \"0s\"\n".to_owned();
    world.dirsyncd.sync(0);
    world.slapd.delete(&Person::four()[0].dn());
    world
}

#[test]
fn a_wrong_place_or_key_of_the_api_is_told_and_nothing_is_sent() {
    let mut world = synced();
    let wrong_key = world.dirsyncd.folder().join("wrong-key");
    crate::support::write_private(&wrong_key, "not-the-key\n");
    let url = format!("http://127.0.0.1:{}", free_port());
    let cases = [
        (
            "scim_key",
            "{ file = \"wrong-key\" }".to_owned(),
            vec![
                "was refused with 401",
                "wrong-key is wrong, expired or of another API",
                "make a new one",
            ],
        ),
        (
            "admin_key",
            "{ file = \"wrong-key\" }".to_owned(),
            vec![
                "was refused with 401",
                "wrong-key is wrong, expired or of another API",
                "make a new one",
            ],
        ),
        (
            "scim_key",
            "{ file = \"nowhere\" }".to_owned(),
            vec!["cannot read the secret file", "nowhere"],
        ),
        (
            "scim_key",
            "{ env = \"DIRSYNCD_NO_SUCH_VARIABLE\" }".to_owned(),
            vec!["DIRSYNCD_NO_SUCH_VARIABLE", "is not set"],
        ),
        (
            "directory",
            "\"another-directory\"".to_owned(),
            vec![
                "was answered with 404",
                "check `id` and `directory` in [organization]",
            ],
        ),
        (
            "id",
            "\"another-organization\"".to_owned(),
            vec!["check `id` and `directory` in [organization]"],
        ),
        (
            "api",
            format!("{url:?}"),
            vec![
                "cannot reach the API at",
                &url,
                "check `api` in [organization]",
            ],
        ),
    ];
    let good = world.dirsyncd.organization.clone();
    for (key, value, words) in cases {
        println!("{key} = {value}");
        world.dirsyncd.organization = replaced(&good, key, &value);
        refused::by_plan_and_sync(&world, 1, &words);
        refused::by_check(&world, &words);
    }
    world.dirsyncd.organization = good;
    world.dirsyncd.sync(0);
    assert_eq!(world.organization.active(), 3);
}

#[test]
fn a_key_without_the_right_is_told() {
    let world = synced();
    world.organization.faults(&json!([
        {"match": "^GET .*/ServiceProviderConfig$", "times": 1000, "status": 403,
            "body": {"detail": "the key may not do this"}}
    ]));
    let words = [
        "was refused with 403",
        "the key may not do this",
        "the key needs the right for it",
    ];
    refused::by_plan_and_sync(&world, 1, &words);
    refused::by_check(&world, &words);
}

#[test]
fn a_key_that_may_read_and_not_write_changes_nothing() {
    let world = synced();
    world.organization.faults(&json!([
        {"match": "^(POST|PATCH|PUT|DELETE) ", "times": 1000, "status": 403, "body": {"detail": "read only"}}
    ]));
    world
        .dirsyncd
        .sync(4)
        .expect_words(&["Failed (1)", "read only", "Done: 0 applied, 1 failed."]);
    assert_eq!(world.organization.active(), 4);
    world.organization.heal();
    world.dirsyncd.sync(0);
    assert_eq!(world.organization.active(), 3);
}

#[test]
fn an_api_that_is_no_api_is_told() {
    let world = synced();
    world.organization.faults(&json!([
        {"match": "^GET .*/ServiceProviderConfig$", "times": 1000, "status": 502, "body": "<html>Bad gateway</html>"}
    ]));
    refused::by_plan_and_sync(
        &world,
        1,
        &["ServiceProviderConfig failed with 502", "Bad gateway"],
    );
}

#[test]
fn the_api_is_spoken_to_only_in_tls_of_a_trusted_certificate() {
    let mut world = synced();
    // Whoever answers there shows a certificate of the directory's CA.
    let url = world.slapd.url(Transport::Tls).replace("ldaps:", "https:");
    let block = &world.dirsyncd.organization;
    let block = replaced(block, "api", &format!("{url:?}"));
    world.dirsyncd.organization = block.clone();
    refused::by_plan_and_sync(&world, 1, &["cannot reach the API", "certificate"]);
    let ca = world.slapd.ca_file().display().to_string();
    world.dirsyncd.organization = format!("{block}ca_file = {ca:?}\n");
    let output = world.dirsyncd.run(&["plan"]).expect_code(1);
    assert!(!output.stderr.contains("certificate"), "{output}");
    // And never without TLS, but to this machine.
    let block = replaced(&block, "api", "\"http://api.example.org\"");
    world.dirsyncd.organization = block;
    world.dirsyncd.run(&["plan"]).expect_code(2);
}

#[test]
fn an_api_that_goes_away_is_told_and_nothing_is_lost() {
    let mut world = synced();
    let url = world.organization.url.clone();
    world.organization.kill();
    for verb in ["plan", "sync"] {
        let output = world.dirsyncd.run(&[verb]).expect_code(1).expect_words(&[
            "cannot reach the API at",
            &url,
            "check `api` in [organization]",
        ]);
        refused::expect_one_error(&output);
    }
    world
        .dirsyncd
        .run(&["check"])
        .expect_code(1)
        .expect_words(&["✗ provisioning API: cannot reach the API at"]);
}
