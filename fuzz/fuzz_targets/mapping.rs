//! Entries with any values, before the presets and before any expression, are mapped or refused.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use dirsyncd::config::Config;
use dirsyncd::model::Entry;
use dirsyncd::run::Setup;
use libfuzzer_sys::fuzz_target;

/// The attributes that an entry may have, by their places.
const NAMES: [&str; 24] = [
    "entryUUID", "objectGUID", "nsUniqueId", "objectSid", "uid", "mail", "cn", "cn;lang-en", "sn", "givenName",
    "displayName", "employeeNumber", "userAccountControl", "accountExpires", "shadowExpire", "title", "ou",
    "telephoneNumber", "preferredLanguage", "whenChanged", "nsAccountLock", "userPrincipalName", "department", "x",
];

const PRESETS: [&str; 4] = ["openldap", "active-directory", "389ds", "freeipa"];

/// A configuration with this preset, and this expression for one attribute and for who is left out.
fn setup(preset: &str, expression: Option<&str>) -> Option<Setup> {
    let (scope, mapping) = match expression {
        None => (String::new(), String::new()),
        Some(expression) => {
            let text = toml::Value::from(expression);
            (
                format!("exclude = {text}\n"),
                format!("[source.mapping]\nnickName = {{ expr = {text} }}\nactive = {{ expr = {text} }}\n"),
            )
        }
    };
    let text = format!(
        "[organization]\nid = \"o\"\ndirectory = \"d\"\nscim_key = {{ env = \"K\" }}\n[[source]]\nkind = \"ldif\"\nfile = \"f\"\npreset = \"{preset}\"\nbase = \"dc=org\"\n{scope}{mapping}"
    );
    Setup::new(Config::parse(Path::new("config.toml"), &text).ok()?).ok()
}

static SETUPS: LazyLock<Vec<Setup>> =
    LazyLock::new(|| PRESETS.iter().map(|preset| setup(preset, None).unwrap()).collect());

fuzz_target!(|data: &[u8]| {
    // A DN in the first line and an expression in the second; then values, each after the place of
    // its attribute and its length.
    let mut parts = data.splitn(3, |octet| *octet == b'\n');
    let mut line = || str::from_utf8(parts.next().unwrap_or_default());
    let (Ok(dn), Ok(expression)) = (line(), line()) else { return };
    let mut rest = parts.next().unwrap_or_default();
    let mut entry = Entry::new(dn);
    while let [name, length, values @ ..] = rest {
        let (value, others) = values.split_at(values.len().min(usize::from(*length)));
        entry.push(NAMES[usize::from(*name) % NAMES.len()], value.to_vec());
        rest = others;
    }
    let now = chrono::DateTime::UNIX_EPOCH;
    let own = setup("openldap", Some(expression));
    for setup in SETUPS.iter().chain(&own) {
        for (_, mapping) in setup.sources() {
            let mapped = mapping.map(&entry, now);
            // Watched it is the same.
            assert_eq!(mapping.trace(&entry, now).result, mapped);
            match mapped {
                Ok(account) => assert_eq!(mapping.key(&entry).as_ref(), Some(&account.key)),
                Err(error) => drop(format!("{error:?}")),
            }
        }
    }
});
