//! What an edit of the configuration does to the scope.

use super::super::edit::{Edit, InScope, Person};
use super::super::fixture::*;
use crate::model::{Cause, SourceName};

#[test]
fn who_is_in_scope_by_one_configuration_alone_enters_or_leaves() {
    let scope = |people: &[(&str, &str)]| -> InScope {
        let placed = people.iter().map(|(name, source)| {
            let dn = format!("uid={name},dc=example,dc=org");
            (key(name), (SourceName::new(source), dn))
        });
        placed.collect()
    };
    let before = scope(&[
        ("a", "staff"),
        ("b", "staff"),
        ("c", "guests"),
        ("d", "guests"),
        ("g", "guests"),
    ]);
    let after = scope(&[
        ("b", "staff"),
        ("d", "staff"),
        ("f", "staff"),
        ("e", "guests"),
        ("g", "guests"),
    ]);
    let edit = Edit::between(&before, &after);
    let brief = |people: &[Person]| -> Vec<String> {
        let told = people.iter().map(|person| {
            assert!(!person.has_account);
            let cause = person.cause.map_or("-", Cause::name);
            format!("{} {} {} {cause}", person.source, person.key, person.dn)
        });
        told.collect()
    };
    assert_eq!(
        brief(&edit.entering),
        [
            "guests key-e uid=e,dc=example,dc=org -",
            "staff key-f uid=f,dc=example,dc=org -",
        ]
    );
    assert_eq!(
        brief(&edit.leaving),
        [
            "guests key-c uid=c,dc=example,dc=org rescoped",
            "staff key-a uid=a,dc=example,dc=org rescoped",
        ]
    );
    assert_eq!(edit.staying, 3);
    assert_eq!(edit.incomplete, [""; 0]);
}
