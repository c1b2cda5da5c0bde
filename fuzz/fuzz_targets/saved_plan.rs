//! The file of a saved plan is taken or refused, and what is taken is the same after writing it.
#![no_main]

use dirsyncd::report::SavedPlan;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match SavedPlan::parse(text) {
        Err(error) => drop(error.to_string()),
        Ok(saved) => {
            let _ = saved.title();
            let written = saved.text().unwrap();
            let again = SavedPlan::parse(&written).unwrap();
            assert_eq!(again.text().unwrap(), written);
            for row in &saved.operations {
                let _ = saved.has_written(row);
            }
        }
    }
});
