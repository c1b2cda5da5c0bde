//! DNs and search filters of any text are read or refused, and what is escaped is a value again.
#![no_main]

use dirsyncd::model::{Dn, Entry, Filter, Scope, escape_value};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &str| {
    // A DN in the first line, a filter in the others.
    let (name, filter) = data.split_once('\n').unwrap_or((data, ""));
    match Dn::parse(name) {
        Err(error) => drop(error.to_string()),
        Ok(dn) => {
            assert_eq!(Dn::parse(&dn.to_string()).as_ref(), Ok(&dn));
            assert!(dn.is_within(&dn, Scope::Subtree));
            if let Some(parent) = dn.parent() {
                assert!(dn.is_within(&parent, Scope::One));
            }
        }
    }
    // A value in a DN stays in its place, whatever it is.
    let made = Dn::parse(&format!("cn={},dc=org", escape_value(name))).unwrap();
    assert_eq!(made.parent(), Dn::parse("dc=org").ok());
    assert!(made.is_within(&Dn::parse("dc=org").unwrap(), Scope::One));

    match Filter::parse(filter) {
        Err(error) => drop(error.to_string()),
        Ok(parsed) => {
            let mut entry = Entry::new(name);
            for attribute in parsed.attributes() {
                entry.push(attribute, name.as_bytes().to_vec());
            }
            entry.push("cn;lang-en", filter.as_bytes().to_vec());
            let _ = (parsed.is_local(), parsed.followed_attributes());
            let _ = parsed.matches(&entry);
        }
    }
});
