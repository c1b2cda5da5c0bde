//! A configuration of any text is taken or refused with a message, and so are its mappings.
#![no_main]

use std::path::Path;

use dirsyncd::config::Config;
use dirsyncd::run::Setup;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Config::parse(Path::new("config.toml"), text) {
        Err(error) => drop(error.to_string()),
        Ok(config) => {
            let source = config.clone();
            if let Err(error) = Setup::new(config) {
                let _ = source.invalid(error.span.clone(), error.to_string()).to_string();
            }
        }
    }
});
