//! The organization's API refuses or is away.

use serde_json::json;

use crate::catalogue::Chapter;
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
    let none = "{ env = \"DIRSYNCD_NO_SUCH_VARIABLE\" }";
    let good = world.dirsyncd.organization.clone();
    let mut chapter = Chapter::default();
    for (wrong, key, value) in [
        ("another key", "scim_key", "{ file = \"wrong-key\" }"),
        ("another key", "admin_key", "{ file = \"wrong-key\" }"),
        (
            "a key file that is not there",
            "scim_key",
            "{ file = \"nowhere\" }",
        ),
        ("a variable that is not set", "scim_key", none),
        ("another directory", "directory", "\"another-directory\""),
        ("another organization", "id", "\"another-organization\""),
        ("another address", "api", &format!("{url:?}")),
    ] {
        println!("{key} = {value}");
        world.dirsyncd.organization = replaced(&good, key, value);
        let output = refused::by_plan_and_sync(&world, 1, &[]);
        let (_, said) = output.stderr.split_once("dirsyncd: ").unwrap();
        let said = said.split(" (request id").next().unwrap().trim_end();
        // The same of another request.
        let (_, said) = said.split_once(" was ").unwrap_or(("", said));
        refused::by_check(&world, &[said]);
        chapter.met(&format!("{wrong}: {key} = {value}"), &output);
    }
    chapter.end("api");
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
