//! The functions on texts and lists that CEL's own string extension does not have, in its manner:
//! members, with names in camel case, and indices in characters.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write as _;

use cel::common::types::{CelBool, CelInt, CelList, CelString, LIST_TYPE};
use cel::common::value::CowVal;
use cel::{DeclarationError, Env, ExecutionError, add_member_overload};
use deunicode::deunicode_with_tofu_cow;
use regex::Regex;
use unicode_normalization::UnicodeNormalization;

/// The function that stands for `matches` where its pattern is a literal, which a [`Regex`] is
/// made of once. Nobody can write its name.
pub(super) const MATCHES: &str = "@matches";

/// The functions whose first argument is a pattern; it must be a literal.
pub(super) const PATTERNS: [&str; 2] = ["regexReplace", "regexExtract"];

/// The longest text that is filled up, in characters: no account has a longer value.
const WIDEST: i64 = 255;

/// The names of all functions that an expression can call on a text or a list, for the message
/// about one that is not there.
pub(super) const MEMBERS: [&str; 33] = [
    "ascii",
    "capitalize",
    "charAt",
    "contains",
    "distinct",
    "endsWith",
    "first",
    "flatten",
    "format",
    "hash",
    "indexOf",
    "initials",
    "join",
    "last",
    "lastIndexOf",
    "left",
    "lower",
    "lowerAscii",
    "matches",
    "padLeft",
    "padRight",
    "regexExtract",
    "regexReplace",
    "replace",
    "reverse",
    "right",
    "size",
    "split",
    "startsWith",
    "substring",
    "trim",
    "upper",
    "upperAscii",
];

pub(super) fn register(env: &mut Env) -> Result<(), DeclarationError> {
    add_member_overload!(env, fn lower: (CelString) -> CelString)?;
    add_member_overload!(env, fn upper: (CelString) -> CelString)?;
    add_member_overload!(env, fn capitalize: (CelString) -> CelString)?;
    add_member_overload!(env, fn ascii: (CelString) -> CelString)?;
    add_member_overload!(env, fn ascii_in: (CelString, CelString) -> Result<CelString>, name = "ascii")?;
    add_member_overload!(env, fn initials: (CelString) -> CelString)?;
    add_member_overload!(env, fn left: (CelString, CelInt) -> Result<CelString>)?;
    add_member_overload!(env, fn right: (CelString, CelInt) -> Result<CelString>)?;
    add_member_overload!(env, fn pad_left: (CelString, CelInt, CelString) -> Result<CelString>)?;
    add_member_overload!(env, fn pad_right: (CelString, CelInt, CelString) -> Result<CelString>)?;
    add_member_overload!(env, fn regex_replace: (CelString, CelString, CelString) -> Result<CelString>)?;
    add_member_overload!(env, fn regex_extract: (CelString, CelString) -> Result<CelString>)?;
    add_member_overload!(env, fn matches: (CelString, CelString) -> Result<CelBool>, name = MATCHES)?;
    add_member_overload!(env, fn hash: (CelString, CelInt) -> Result<CelString>)?;
    // By hand, as the values of a list are of any kind.
    env.add_member_overload("first", "list.first()", LIST_TYPE, vec![], |list| {
        end(list, false)
    })?;
    env.add_member_overload("last", "list.last()", LIST_TYPE, vec![], |list| {
        end(list, true)
    })
}

fn lower(text: &CelString<'_>) -> CelString<'static> {
    text.inner().to_lowercase().into()
}

fn upper(text: &CelString<'_>) -> CelString<'static> {
    text.inner().to_uppercase().into()
}

/// Each word with a capital letter and small ones after it; a word is of letters and digits.
fn capitalize(text: &CelString<'_>) -> CelString<'static> {
    let mut capitalized = String::with_capacity(text.inner().len());
    let mut is_within = false;
    for c in text.inner().nfc() {
        if is_within {
            capitalized.extend(c.to_lowercase());
        } else {
            capitalized.extend(c.to_uppercase());
        }
        is_within = c.is_alphanumeric();
    }
    capitalized.into()
}

/// What others write for a letter in ASCII, where it is not the letter without its mark.
type Spelling = &'static [(char, &'static str)];

const GERMAN: Spelling = &[('ä', "ae"), ('ö', "oe"), ('ü', "ue")];
const DANISH: Spelling = &[('å', "aa"), ('ø', "oe"), ('æ', "ae")];
const SWEDISH: Spelling = &[('å', "aa"), ('ä', "ae"), ('ö', "oe")];

/// The spelling of a language.
pub(super) fn spelling(language: &str) -> Option<Spelling> {
    Some(match language {
        "de" => GERMAN,
        "da" | "nb" | "nn" | "no" => DANISH,
        "fi" | "sv" => SWEDISH,
        _ => return None,
    })
}

/// The languages that [`spelling`] knows.
pub(super) const SPELLINGS: &str = "\"da\", \"de\", \"fi\", \"nb\", \"nn\", \"no\" or \"sv\"";

fn ascii(text: &CelString<'_>) -> CelString<'static> {
    spelled(text.inner(), &[]).into()
}

fn ascii_in(
    text: &CelString<'_>,
    language: &CelString<'_>,
) -> Result<CelString<'static>, ExecutionError> {
    let spelling = spelling(language.inner()).ok_or_else(|| {
        let why = format!("{:?} is none of {SPELLINGS}", language.inner());
        ExecutionError::function_error("ascii", why)
    })?;
    Ok(spelled(text.inner(), spelling).into())
}

/// A text in ASCII; letters that no one can read are left out.
fn spelled(text: &str, spelling: Spelling) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    // Separators of lines and paragraphs would be spelled as line breaks, which no value may hold.
    let text = text.replace(['\u{2028}', '\u{2029}'], " ");
    // A letter and its mark may be two characters.
    let letters: Vec<char> = text.nfc().collect();
    let mut spelled = String::with_capacity(text.len());
    for (at, letter) in letters.iter().enumerate() {
        let small = letter.to_lowercase().next().unwrap_or(*letter);
        match spelling.iter().find(|(known, _)| *known == small) {
            None => spelled.push(*letter),
            Some((_, written)) if !letter.is_uppercase() => spelled.push_str(written),
            Some((_, written)) => {
                // Ü in MÜLLER is UE, and Ue in Über.
                let neighbour = letters.get(at + 1).filter(|c| c.is_alphabetic());
                let neighbour = neighbour.or_else(|| letters.get(at.checked_sub(1)?));
                if neighbour.is_some_and(|c| c.is_uppercase()) {
                    spelled.push_str(&written.to_uppercase());
                } else {
                    let (first, rest) = written.split_at(1);
                    spelled.push_str(&first.to_uppercase());
                    spelled.push_str(rest);
                }
            }
        }
    }
    deunicode_with_tofu_cow(&spelled, "").into_owned()
}

/// The first letter of each word; a hyphen begins a word too.
fn initials(text: &CelString<'_>) -> CelString<'static> {
    let words = text.inner().split(|c: char| c.is_whitespace() || c == '-');
    let first = words.filter_map(|word| word.nfc().find(|c| c.is_alphanumeric()));
    first
        .flat_map(char::to_uppercase)
        .collect::<String>()
        .into()
}

/// A number of characters that is asked for.
fn count(function: &str, wanted: &CelInt, most: i64) -> Result<usize, ExecutionError> {
    let wanted = *wanted.inner();
    usize::try_from(wanted)
        .ok()
        .filter(|_| wanted <= most)
        .ok_or_else(|| {
            let why = match most {
                i64::MAX => format!("{wanted} is less than nothing"),
                most => format!("{wanted} is not between 0 and {most}"),
            };
            ExecutionError::function_error(function, why)
        })
}

fn left(text: &CelString<'_>, wanted: &CelInt) -> Result<CelString<'static>, ExecutionError> {
    let wanted = count("left", wanted, i64::MAX)?;
    Ok(text.inner().chars().take(wanted).collect::<String>().into())
}

fn right(text: &CelString<'_>, wanted: &CelInt) -> Result<CelString<'static>, ExecutionError> {
    let wanted = count("right", wanted, i64::MAX)?;
    let more = text.inner().chars().count().saturating_sub(wanted);
    Ok(text.inner().chars().skip(more).collect::<String>().into())
}

/// What a text lacks to be so wide.
fn padding(
    function: &str,
    text: &CelString<'_>,
    width: &CelInt,
    fill: &CelString<'_>,
) -> Result<String, ExecutionError> {
    let width = count(function, width, WIDEST)?;
    if fill.inner().chars().count() != 1 {
        let why = format!("{:?} is not one character to fill with", fill.inner());
        return Err(ExecutionError::function_error(function, why));
    }
    let lacks = width.saturating_sub(text.inner().chars().count());
    Ok(fill.inner().repeat(lacks))
}

fn pad_left(
    text: &CelString<'_>,
    width: &CelInt,
    fill: &CelString<'_>,
) -> Result<CelString<'static>, ExecutionError> {
    Ok((padding("padLeft", text, width, fill)? + text.inner()).into())
}

fn pad_right(
    text: &CelString<'_>,
    width: &CelInt,
    fill: &CelString<'_>,
) -> Result<CelString<'static>, ExecutionError> {
    let padding = padding("padRight", text, width, fill)?;
    Ok(format!("{}{padding}", text.inner()).into())
}

/// Every part that matches, by the replacement, in which $1 or ${name} is what a group matched.
fn regex_replace(
    text: &CelString<'_>,
    pattern: &CelString<'_>,
    replacement: &CelString<'_>,
) -> Result<CelString<'static>, ExecutionError> {
    with_regex("regexReplace", pattern, |regex| {
        let replaced = regex.replace_all(text.inner(), replacement.inner());
        replaced.into_owned().into()
    })
}

/// What the first group matched, or, without groups, the whole pattern; "" where nothing did.
fn regex_extract(
    text: &CelString<'_>,
    pattern: &CelString<'_>,
) -> Result<CelString<'static>, ExecutionError> {
    with_regex("regexExtract", pattern, |regex| {
        let captures = regex.captures(text.inner());
        let group = usize::from(regex.captures_len() > 1);
        let found = captures.and_then(|captures| captures.get(group));
        found.map_or("", |found| found.as_str()).to_owned().into()
    })
}

fn matches(text: &CelString<'_>, pattern: &CelString<'_>) -> Result<CelBool, ExecutionError> {
    with_regex("matches", pattern, |regex| {
        regex.is_match(text.inner()).into()
    })
}

/// Does something with the regular expression of a pattern. They are kept, as there are no more
/// of them than the configuration has: to make one takes longer than to map an entry.
fn with_regex<T>(
    function: &str,
    pattern: &CelString<'_>,
    work: impl FnOnce(&Regex) -> T,
) -> Result<T, ExecutionError> {
    thread_local! {
        static KNOWN: RefCell<HashMap<String, Regex>> = RefCell::default();
    }
    KNOWN.with_borrow_mut(|known| {
        let pattern = pattern.inner();
        if !known.contains_key(pattern) {
            let regex = Regex::new(pattern)
                .map_err(|error| ExecutionError::function_error(function, error))?;
            known.insert(pattern.to_owned(), regex);
        }
        known
            .get(pattern)
            .map(work)
            .ok_or_else(|| ExecutionError::function_error(function, "the pattern was not kept"))
    })
}

/// So many hexadecimal digits of the BLAKE3 hash of a text: the same for the same text, always.
fn hash(text: &CelString<'_>, digits: &CelInt) -> Result<CelString<'static>, ExecutionError> {
    let hash = blake3::hash(text.inner().as_bytes()).to_hex();
    let digits = count("hash", digits, hash.len() as i64)?;
    let mut shown = String::with_capacity(digits);
    let _ = write!(shown, "{:.digits$}", hash.as_str());
    Ok(shown.into())
}

/// The value at an end of a list; "" of an empty one.
fn end<'b, 'v>(
    mut arguments: Vec<CowVal<'b, 'v>>,
    is_last: bool,
) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let list = arguments.pop();
    let list = list
        .as_ref()
        .and_then(|list| list.downcast_ref::<CelList>());
    let values = list.ok_or_else(ExecutionError::missing_argument_or_target)?;
    let value = match is_last {
        true => values.inner().last(),
        false => values.inner().first(),
    };
    Ok(match value {
        Some(value) => CowVal::Owned(value.clone()),
        None => CowVal::owned(CelString::from("")),
    })
}
