//! Distinguished names (RFC 4514), parsed far enough to be compared.

use std::{fmt, iter::Peekable, str::Bytes};

use serde::{Deserialize, Serialize};

/// A distinguished name in the form in which two spellings of one name are equal (RFC 4514).
///
/// Attribute types are in lower case, values unescaped and folded, the parts of a multi-valued RDN sorted.
/// Attribute types are compared by the name written: `commonName=` and `2.5.4.3=` are not taken for `cn=`, as that
/// needs the schema, and one server writes one of them throughout. Quoted values and `;` as a separator, which
/// RFC 2253 still read, are refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dn(Vec<Rdn>);

/// A relative distinguished name: a sorted set of type and value (RFC 4512 section 2.3.1).
type Rdn = Vec<(String, Value)>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Value {
    Text(String),
    /// Octets that are no UTF-8, written as hex pairs.
    Octets(Vec<u8>),
    /// The BER encoding of a value, written `#04024869`.
    Ber(Vec<u8>),
}

/// A text is not a distinguished name (RFC 4514 section 3).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{dn}` is not a distinguished name (RFC 4514): at byte {at}, expected {expected}")]
pub struct DnError {
    /// The text.
    pub dn: String,
    /// Where, in bytes from its start.
    pub at: usize,
    /// What should have been there.
    pub expected: &'static str,
}

/// How far below its base a search reaches (RFC 4511 section 4.5.1.2).
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The base alone.
    Base,
    /// The entries right below the base, without it.
    One,
    /// The base and everything below it.
    Subtree,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Base => "base",
            Self::One => "one",
            Self::Subtree => "subtree",
        })
    }
}

/// The normal form as text (RFC 4514 section 2): the same for all spellings of one name, and only for those.
impl fmt::Display for Dn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, rdn) in self.0.iter().enumerate() {
            f.write_str(if at > 0 { "," } else { "" })?;
            for (at, (kind, value)) in rdn.iter().enumerate() {
                f.write_str(if at > 0 { "+" } else { "" })?;
                write!(f, "{kind}=")?;
                match value {
                    Value::Text(text) => f.write_str(&escape_value(text))?,
                    Value::Octets(octets) => {
                        for octet in octets {
                            write!(f, "\\{octet:02x}")?;
                        }
                    }
                    Value::Ber(octets) => {
                        f.write_str("#")?;
                        for octet in octets {
                            write!(f, "{octet:02x}")?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

impl Dn {
    /// Parses the string form (RFC 4514 section 3); the empty one is the root. Spaces around types and values, which
    /// people write and RFC 2253 allowed, are passed over.
    ///
    /// # Errors
    /// [`DnError`] with the place and what was expected there.
    pub fn parse(text: &str) -> Result<Self, DnError> {
        let mut parser = Parser {
            text,
            bytes: text.bytes().peekable(),
        };
        let mut rdns = Vec::new();
        parser.spaces();
        if parser.bytes.peek().is_none() {
            return Ok(Self(rdns));
        }
        let mut rdn = Rdn::new();
        loop {
            rdn.push(parser.part()?);
            match parser.bytes.next() {
                Some(b'+') => {}
                separator => {
                    rdn.sort_unstable();
                    rdn.dedup();
                    rdns.push(std::mem::take(&mut rdn));
                    // A value ends at `+`, `,` or the end, so that what is left here is `,`.
                    if separator.is_none() {
                        return Ok(Self(rdns));
                    }
                }
            }
        }
    }

    /// The name of the entry right above; none of the root.
    pub fn parent(&self) -> Option<Self> {
        let (_, above) = self.0.split_first()?;
        Some(Self(above.to_vec()))
    }

    /// Whether this value of this attribute is in the name of the entry itself.
    pub fn is_named_by(&self, kind: &str, value: &str) -> bool {
        let Ok(named) = Self::parse(&format!("{kind}={}", escape_value(value))) else {
            return false;
        };
        let part = named.0.first();
        let own = self.0.first();
        part.zip(own)
            .is_some_and(|(part, own)| part.iter().all(|one| own.contains(one)))
    }

    /// Whether a search of `scope` from `base` reaches this name (RFC 4511 section 4.5.1.2).
    pub fn is_within(&self, base: &Self, scope: Scope) -> bool {
        let below = self.0.len().checked_sub(base.0.len());
        self.0.ends_with(&base.0)
            && match scope {
                Scope::Base => below == Some(0),
                Scope::One => below == Some(1),
                Scope::Subtree => true,
            }
    }
}

struct Parser<'t> {
    text: &'t str,
    bytes: Peekable<Bytes<'t>>,
}

impl Parser<'_> {
    /// `type = value`, up to the `+` or `,` after it.
    fn part(&mut self) -> Result<(String, Value), DnError> {
        self.spaces();
        let mut kind = String::new();
        while let Some(b) = self
            .bytes
            .next_if(|b| b.is_ascii_alphanumeric() || b"-._".contains(b))
        {
            kind.push(b.to_ascii_lowercase().into());
        }
        if kind.is_empty() {
            return Err(self.expected("an attribute type such as cn, ou or dc"));
        }
        self.spaces();
        if self.bytes.next_if_eq(&b'=').is_none() {
            return Err(
                self.expected(r"`=` after the attribute type (a comma in a value is written \2C)")
            );
        }
        self.spaces();
        let value = if self.bytes.next_if_eq(&b'#').is_some() {
            self.ber()?
        } else {
            self.value()?
        };
        Ok((kind, value))
    }

    /// A value written out (RFC 4514 section 2.4).
    fn value(&mut self) -> Result<Value, DnError> {
        let mut octets = Vec::new();
        // Spaces at the end belong to the value only where they are escaped.
        let mut end = 0;
        while let Some(b) = self.bytes.next_if(|b| !b"+,\";".contains(b)) {
            octets.push(if b == b'\\' { self.escaped()? } else { b });
            if b != b' ' {
                end = octets.len();
            }
        }
        if let Some(b'"' | b';') = self.bytes.peek() {
            return Err(self.expected(r#"a comma, or the character escaped: \" or \;"#));
        }
        octets.truncate(end);
        Ok(match String::from_utf8(octets) {
            Ok(text) => Value::Text(fold(&text)),
            Err(error) => Value::Octets(error.into_bytes()),
        })
    }

    /// What a backslash stands before: a special character, or two hex digits of an octet.
    fn escaped(&mut self) -> Result<u8, DnError> {
        match self.bytes.next_if(|b| b" \"#+,;<=>\\".contains(b)) {
            Some(special) => Ok(special),
            None => self.pair(r"two hex digits or a special character after the backslash (a backslash itself is \\)"),
        }
    }

    /// The hex digits after `#`.
    fn ber(&mut self) -> Result<Value, DnError> {
        let expected = "pairs of hex digits after `#` (a `#` that begins a value is written \\#)";
        let mut octets = vec![self.pair(expected)?];
        loop {
            self.spaces();
            if let None | Some(b'+' | b',') = self.bytes.peek() {
                return Ok(Value::Ber(octets));
            }
            octets.push(self.pair(expected)?);
        }
    }

    fn pair(&mut self, expected: &'static str) -> Result<u8, DnError> {
        let mut octet = 0;
        for _ in 0..2 {
            let digit = self.bytes.peek().and_then(|&b| hex(b));
            let digit = digit.ok_or_else(|| self.expected(expected))?;
            self.bytes.next();
            octet = octet << 4 | digit;
        }
        Ok(octet)
    }

    fn spaces(&mut self) {
        while self.bytes.next_if_eq(&b' ').is_some() {}
    }

    fn expected(&self, expected: &'static str) -> DnError {
        DnError {
            dn: self.text.to_owned(),
            at: self.text.len() - self.bytes.len(),
            expected,
        }
    }
}

/// The value of a hex digit, as in the escapes of RFC 4514 and RFC 4515.
pub(crate) fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|digit| digit.try_into().ok())
}

/// A text in the form in which two are equal when `caseIgnoreMatch` takes them for equal (RFC 4517 section 4.2.11,
/// RFC 4518): in lower case, one space between words, none at the ends.
///
/// Unicode normalisation (RFC 4518 section 2.3) is not done: servers hand out what they were given, and a base or a
/// filter that needs it is rare enough to be written as the directory writes it.
pub(crate) fn fold(text: &str) -> String {
    fold_with(text, " ")
}

/// As [`fold`], with another separator between words.
pub(crate) fn fold_with(text: &str, separator: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !folded.is_empty() {
            folded.push_str(separator);
        }
        // By character, and without the final sigma, as str::to_lowercase makes of a Σ at the end of a word another
        // letter than of one inside: a piece of a word would not be found in it.
        let lower = word.chars().flat_map(char::to_lowercase);
        folded.extend(lower.map(|c| if c == 'ς' { 'σ' } else { c }));
    }
    folded
}

/// Escapes a value for its place in a DN (RFC 4514 section 2.4): `Smith, Ann` becomes `Smith\, Ann`.
pub fn escape_value(value: &str) -> String {
    let last = value.len().saturating_sub(1);
    let mut escaped = String::with_capacity(value.len());
    for (at, c) in value.char_indices() {
        match c {
            '\0' => escaped.push_str("\\00"),
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => escaped.extend(['\\', c]),
            '#' if at == 0 => escaped.push_str("\\#"),
            ' ' if at == 0 || at == last => escaped.push_str("\\ "),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;

    fn dn(text: &str) -> Dn {
        Dn::parse(text).unwrap()
    }

    #[test]
    fn spellings_of_one_name_are_equal() {
        for (a, b) in [
            ("", "  "),
            ("CN=Ada,DC=Example,DC=org", "cn = ada , dc=example, dc=ORG"),
            (r"cn=Smith\, Ann", r"cn=smith\2c   ann"),
            (r"cn=\e4\BD\90\e8\97\a4", "cn=佐藤"),
            ("cn=a+sn=b,dc=x", "SN=b + CN=a,dc=x"),
            ("cn=ΠΑΠΑΔΌΠΟΥΛΟΣ", "cn=παπαδόπουλος"),
            (r"cn=\ a\20", "cn=a"),
            (r"cn=\#1\=2", r"cn=\231=2"),
            ("1.3.6.1=#0402486f", "1.3.6.1=#0402486F "),
            (r"cn=\ff ,dc=x", r"cn=\FF,dc=x"),
            ("cn=,dc=x", "cn= ,dc=x"),
        ] {
            assert_eq!(dn(a), dn(b), "{a} and {b}");
        }
        for (a, b) in [
            ("cn=a", "sn=a"),
            ("cn=a,dc=x", "dc=x,cn=a"),
            (r"cn=\#aa", "cn=#aa"),
            (r"cn=a\,dc=x", "cn=a,dc=x"),
            ("cn=ab", "cn=a b"),
            ("cn=a+sn=b", "cn=a,sn=b"),
        ] {
            assert_ne!(dn(a), dn(b), "{a} and {b}");
        }
    }

    #[test]
    fn faults_name_their_place() {
        for (text, at) in [
            ("example.org", 11),
            ("dc=a,", 5),
            (",dc=a", 0),
            ("cn=Smith, Ann,dc=x", 13),
            (r"cn=a\", 5),
            (r"cn=a\2,dc=x", 6),
            (r"cn=a\zz", 5),
            ("cn=#", 4),
            ("cn=#0x", 5),
            ("cn=\"a, b\"", 3),
            ("ou=a;dc=x", 4),
            ("cn=a+", 5),
            ("ü=a", 0),
        ] {
            let error = Dn::parse(text).unwrap_err();
            assert_eq!(error.at, at, "{error}");
            assert!(error.to_string().contains(text));
        }
    }

    #[test]
    fn scope_is_counted_from_the_base() {
        let base = "ou=People,dc=example";
        for (name, expected) in [
            ("OU=people,dc=example", [true, false, true]),
            ("uid=a,ou=people,dc=example", [false, true, true]),
            ("uid=a,ou=b,ou=people,dc=example", [false, false, true]),
            ("dc=example", [false; 3]),
            ("ou=more people,dc=example", [false; 3]),
            ("", [false; 3]),
        ] {
            let scopes = [Scope::Base, Scope::One, Scope::Subtree];
            let actual = scopes.map(|scope| dn(name).is_within(&dn(base), scope));
            assert_eq!(actual, expected, "{name}");
        }
        assert!(dn("dc=x").is_within(&dn(""), Scope::One));
        assert!(dn("cn=a,dc=x").is_within(&dn(""), Scope::Subtree));
        assert!(dn("").is_within(&dn(""), Scope::Base));
    }

    #[test]
    fn the_parent_is_right_above() {
        assert_eq!(
            dn(r"uid=a+sn=b,OU=Sales\, EU,dc=x").parent(),
            Some(dn(r"ou=sales\2c eu,dc=x"))
        );
        assert_eq!(dn("dc=x").parent(), Some(dn("")));
        assert_eq!(dn("").parent(), None);
    }

    #[test]
    fn scope_is_read_as_it_is_shown() {
        for scope in [Scope::Base, Scope::One, Scope::Subtree] {
            let json = format!("\"{scope}\"");
            assert_eq!(serde_json::from_str::<Scope>(&json).unwrap(), scope);
        }
        assert!(serde_json::from_str::<Scope>("\"sub\"").is_err());
    }

    #[test]
    fn escapes() {
        for (value, expected) in [
            ("Smith, Ann", r"Smith\, Ann"),
            (" # ", r"\ #\ "),
            ("#1", r"\#1"),
            (" ", r"\ "),
            ("a\0b", r"a\00b"),
            (r#"<"+;>\"#, r#"\<\"\+\;\>\\"#),
            ("佐藤 é", "佐藤 é"),
        ] {
            assert_eq!(escape_value(value), expected);
        }
    }

    proptest! {
        #[test]
        fn an_escaped_value_is_one_value(value in any::<String>(), other in "[a-z, +\"#\\\\;]{0,6}") {
            let name = dn(&format!("cn={}+sn={},dc=x", escape_value(&value), escape_value(&other)));
            let text = |s: &str| Value::Text(fold(s));
            let leaf = vec![("cn".to_owned(), text(&value)), ("sn".to_owned(), text(&other))];
            prop_assert_eq!(name, Dn(vec![leaf, vec![("dc".to_owned(), text("x"))]]));
        }

        #[test]
        fn the_normal_form_is_the_same_name(text in "([a-c]=[ a-cA-C.#+\\\\,0-9éß]{0,8},?){0,4}") {
            if let Ok(name) = Dn::parse(&text) {
                prop_assert_eq!(Dn::parse(&name.to_string()), Ok(name));
            }
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in any::<String>(), close in "[cn=a,+#\\\\0-9 ]{0,20}") {
            let _ = Dn::parse(&text);
            let _ = Dn::parse(&close);
        }

        #[test]
        fn folding_twice_is_folding_once(text in any::<String>()) {
            prop_assert_eq!(fold(&fold(&text)), fold(&text));
        }
    }
}
