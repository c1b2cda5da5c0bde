//! An LDIF file of any octets is read or refused, and what is read is the same after writing it.
#![no_main]

use dirsyncd::directory::{LdifReader, write_entry};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut reader = LdifReader::new(data, "fuzzed");
    let mut entries = Vec::new();
    for entry in reader.by_ref() {
        match entry {
            Ok(entry) => entries.push(entry),
            Err(error) => {
                let _ = error.to_string();
                break;
            }
        }
    }
    let _ = (reader.ending(), reader.referrals());
    let mut written = Vec::new();
    for entry in &entries {
        write_entry(&mut written, entry).unwrap();
    }
    let again: Result<Vec<_>, _> = LdifReader::new(written.as_slice(), "written").collect();
    assert_eq!(again.unwrap(), entries);
});
