//! Search filters (RFC 4515), evaluated here for sources that have no server to do it.

use std::{cmp::Ordering, str};

use crate::model::{
    Entry,
    dn::{fold, fold_with, hex},
};

/// How deep filters may be nested, so that neither parsing nor matching can exhaust the stack.
const MAX_DEPTH: usize = 100;

/// Active Directory's rules that compare bits (MS-ADTS section 3.1.1.3.4.4).
const BIT_AND: &str = "1.2.840.113556.1.4.803";
const BIT_OR: &str = "1.2.840.113556.1.4.804";
/// Active Directory's rule that follows an attribute from entry to entry (the same section).
const IN_CHAIN: &str = "1.2.840.113556.1.4.1941";

/// A search filter (RFC 4511 section 4.5.1.7, RFC 4515), parsed.
///
/// There is no schema here, so the rules are those that fit most attributes:
///
/// - Text is compared without regard to case and to runs of spaces; other octets exactly. `~=` is equality.
/// - `>=` and `<=` compare numbers where both sides are integers, text otherwise.
/// - An attribute stands for itself and for it with options: `cn` is also `cn;lang-de` (RFC 4512 section 2.5.2).
/// - Where the RFC has a third value, Undefined, there is false: `(mail=a@x)` is false of an entry without mail, and so
///   `(!(mail=a@x))` is true of it, as it is on servers that know the attribute.
/// - `(objectClass=*)` is true of every entry, also where an export left the object classes out.
/// - `(&)` is true and `(|)` is false (RFC 4526).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(Node);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Item(Attribute, Test),
}

/// What at least one value of the attribute has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Present,
    Equal(Assertion),
    AtLeast(Assertion),
    AtMost(Assertion),
    Like(Like),
    AllBits(i128),
    AnyBits(i128),
    /// A matching rule that only a server knows.
    Server,
    /// That the attribute leads there, through other entries: only a server knows them.
    InChain,
}

/// A text is not a search filter, or one that cannot be evaluated here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{filter}` is not a usable search filter (RFC 4515): at byte {at}, expected {expected}")]
pub struct FilterError {
    /// The text.
    pub filter: String,
    /// Where, in bytes from its start.
    pub at: usize,
    /// What should have been there.
    pub expected: &'static str,
}

impl Filter {
    /// Parses the string form (RFC 4515 section 3). White space between parentheses is allowed, so that a long filter
    /// can be written over several lines.
    ///
    /// # Errors
    /// [`FilterError`] with the place and what was expected there.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let mut parser = Parser { text, at: 0 };
        let node = parser.filter(1)?;
        match parser.peek() {
            None => Ok(Self(node)),
            Some(_) => {
                Err(parser.expected("the end (to combine filters, write (&(…)(…)) or (|(…)(…)))"))
            }
        }
    }

    /// Whether the filter can be evaluated here. One with a matching rule other than AD's two
    /// for bits is for a server.
    pub fn is_local(&self) -> bool {
        self.0.is_local()
    }

    /// The names of the attributes that it tests, in lower case and without options.
    pub fn attributes(&self) -> Vec<&str> {
        self.items()
            .map(|(attribute, _)| &*attribute.name)
            .collect()
    }

    /// The names of the attributes that it follows from entry to entry (Active Directory's
    /// in-chain rule): whether an entry matches, a change of another entry decides.
    pub fn followed_attributes(&self) -> Vec<&str> {
        let is_followed = |(_, test): &(&Attribute, &Test)| **test == Test::InChain;
        let followed = self.items().filter(is_followed);
        followed.map(|(attribute, _)| &*attribute.name).collect()
    }

    fn items(&self) -> impl Iterator<Item = (&Attribute, &Test)> {
        let mut items = Vec::new();
        self.0.collect_items(&mut items);
        items.into_iter()
    }

    /// Whether the filter is true of an entry.
    pub fn matches(&self, entry: &Entry) -> bool {
        self.0.matches(entry)
    }
}

impl Node {
    fn collect_items<'n>(&'n self, items: &mut Vec<(&'n Attribute, &'n Test)>) {
        match self {
            Self::And(nodes) | Self::Or(nodes) => {
                nodes.iter().for_each(|node| node.collect_items(items));
            }
            Self::Not(node) => node.collect_items(items),
            Self::Item(attribute, test) => items.push((attribute, test)),
        }
    }

    fn is_local(&self) -> bool {
        match self {
            Self::And(nodes) | Self::Or(nodes) => nodes.iter().all(Self::is_local),
            Self::Not(node) => node.is_local(),
            Self::Item(_, test) => !matches!(test, Test::Server | Test::InChain),
        }
    }

    fn matches(&self, entry: &Entry) -> bool {
        match self {
            Self::And(nodes) => nodes.iter().all(|node| node.matches(entry)),
            Self::Or(nodes) => nodes.iter().any(|node| node.matches(entry)),
            Self::Not(node) => !node.matches(entry),
            Self::Item(attribute, test) => entry
                .names()
                .filter(|name| attribute.includes(name))
                .flat_map(|name| entry.values(name))
                .any(|value| test.holds(value)),
        }
    }
}

impl Test {
    fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Equal(assertion) => assertion.equals(value),
            Self::AtLeast(assertion) => assertion.order(value).is_ge(),
            Self::AtMost(assertion) => assertion.order(value).is_le(),
            Self::Like(like) => like.holds(value),
            Self::AllBits(bits) => integer(value).is_some_and(|value| value & bits == *bits),
            Self::AnyBits(bits) => integer(value).is_some_and(|value| value & bits != 0),
            Self::Server | Self::InChain => false,
        }
    }
}

/// An attribute description in lower case, its options apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Attribute {
    name: String,
    options: Vec<String>,
}

impl Attribute {
    fn new(description: &str) -> Self {
        let mut parts = description.split(';').map(str::to_ascii_lowercase);
        Self {
            name: parts.next().unwrap_or_default(),
            options: parts.collect(),
        }
    }

    /// Whether `description` is this one or a subtype of it: the same with more options.
    fn includes(&self, description: &str) -> bool {
        let mut parts = description.split(';');
        parts.next() == Some(&self.name) && {
            self.options
                .iter()
                .all(|option| parts.clone().any(|part| part == option))
        }
    }
}

/// An assertion value, with what comparing needs of it made once.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Assertion {
    octets: Vec<u8>,
    folded: Option<String>,
}

impl Assertion {
    fn new(octets: Vec<u8>) -> Self {
        let folded = str::from_utf8(&octets).ok().map(fold);
        Self { octets, folded }
    }

    fn equals(&self, value: &[u8]) -> bool {
        self.octets == value
            || match (&self.folded, str::from_utf8(value)) {
                (Some(folded), Ok(text)) => *folded == fold(text),
                _ => false,
            }
    }

    /// How `value` compares to the assertion.
    fn order(&self, value: &[u8]) -> Ordering {
        if let (Some(value), Some(bound)) = (integer(value), integer(&self.octets)) {
            return value.cmp(&bound);
        }
        match (&self.folded, str::from_utf8(value)) {
            (Some(folded), Ok(text)) => fold(text).cmp(folded),
            _ => value.cmp(&self.octets),
        }
    }
}

fn integer(octets: &[u8]) -> Option<i128> {
    str::from_utf8(octets).ok()?.trim().parse().ok()
}

/// A substrings assertion, for text and for octets.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Like {
    octets: Pattern,
    prepared: Option<Pattern>,
}

/// The pieces between the asterisks; a first or last one that is empty binds nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    first: Vec<u8>,
    any: Vec<Vec<u8>>,
    last: Vec<u8>,
}

impl Like {
    fn new(octets: Pattern) -> Self {
        let prepare = |piece: &Vec<u8>, first, last| {
            let text = str::from_utf8(piece).ok()?;
            Some(if text.is_empty() {
                Vec::new()
            } else {
                prepared(text, first, last)
            })
        };
        let prepared = || {
            Some(Pattern {
                first: prepare(&octets.first, true, false)?,
                any: octets
                    .any
                    .iter()
                    .map(|piece| prepare(piece, false, false))
                    .collect::<Option<_>>()?,
                last: prepare(&octets.last, false, true)?,
            })
        };
        Self {
            prepared: prepared(),
            octets,
        }
    }

    fn holds(&self, value: &[u8]) -> bool {
        match (&self.prepared, str::from_utf8(value)) {
            (Some(pattern), Ok(text)) => pattern.fits(&prepared(text, true, true)),
            _ => self.octets.fits(value),
        }
    }
}

impl Pattern {
    fn fits(&self, value: &[u8]) -> bool {
        let inner = value
            .strip_prefix(self.first.as_slice())
            .and_then(|rest| rest.strip_suffix(self.last.as_slice()));
        let Some(mut rest) = inner else { return false };
        // The leftmost place of each piece leaves most to those after it.
        self.any.iter().all(|piece| {
            let found = rest.windows(piece.len()).position(|window| window == piece);
            found.is_some_and(|at| {
                rest = rest.get(at + piece.len()..).unwrap_or_default();
                true
            })
        })
    }
}

/// Prepares a text for comparing pieces of it (RFC 4518 section 2.6.1): one space at an end of the value, two between
/// words, so that `a *` and `* b` both find theirs in `a b`, and neither in `ab`. A piece has a space at an inner end
/// only where it was written with one.
fn prepared(text: &str, at_start: bool, at_end: bool) -> Vec<u8> {
    let words = fold_with(text, "  ");
    let whole = at_start && at_end;
    let (before, after) = match words.is_empty() {
        true => (true, whole),
        false => (
            at_start || text.starts_with(char::is_whitespace),
            at_end || text.ends_with(char::is_whitespace),
        ),
    };
    let space = |is: bool| if is { " " } else { "" };
    [space(before), &words, space(after)].concat().into_bytes()
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Parser<'t> {
    /// A filter with its parentheses, and the white space around it.
    fn filter(&mut self, depth: usize) -> Result<Node, FilterError> {
        self.spaces();
        if depth > MAX_DEPTH {
            return Err(self.expected("no more than 100 filters one inside the other"));
        }
        self.require(
            "(",
            "a parenthesis: a filter looks like (attribute=value) or (&(…)(…))",
        )?;
        self.spaces();
        let node = if self.take("&") {
            Node::And(self.list(depth)?)
        } else if self.take("|") {
            Node::Or(self.list(depth)?)
        } else if self.take("!") {
            Node::Not(Box::new(self.filter(depth + 1)?))
        } else {
            self.item()?
        };
        self.require(")", "a closing parenthesis")?;
        self.spaces();
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, FilterError> {
        let mut nodes = Vec::new();
        self.spaces();
        while !matches!(self.peek(), None | Some(b')')) {
            nodes.push(self.filter(depth + 1)?);
        }
        Ok(nodes)
    }

    fn item(&mut self) -> Result<Node, FilterError> {
        let attribute = self.run(|b| b.is_ascii_alphanumeric() || b"-.;_".contains(&b));
        if attribute.is_empty() {
            return Err(self.expected(match self.peek() {
                Some(b':') => {
                    "an attribute: a matching rule for all attributes is not supported here"
                }
                _ => "an attribute name, or one of & | !",
            }));
        }
        let attribute = Attribute::new(attribute);
        let test = if self.take("=") {
            let (mut pieces, last) = self.pieces()?;
            if pieces.is_empty() {
                Test::Equal(Assertion::new(last))
            } else {
                let first = pieces.remove(0);
                pieces.retain(|piece| !piece.is_empty());
                match (first.is_empty(), pieces.is_empty(), last.is_empty()) {
                    (true, true, true) if attribute.name == "objectclass" => {
                        return Ok(Node::And(Vec::new()));
                    }
                    (true, true, true) => Test::Present,
                    _ => Test::Like(Like::new(Pattern {
                        first,
                        any: pieces,
                        last,
                    })),
                }
            }
        } else if self.take("~=") {
            Test::Equal(self.assertion()?)
        } else if self.take(">=") {
            Test::AtLeast(self.assertion()?)
        } else if self.take("<=") {
            Test::AtMost(self.assertion()?)
        } else if self.take(":") {
            self.extensible()?
        } else {
            return Err(self.expected("one of = >= <= ~= after the attribute name"));
        };
        Ok(Node::Item(attribute, test))
    }

    /// A matching rule after `attribute:`, and its value.
    fn extensible(&mut self) -> Result<Test, FilterError> {
        let test = match self.rule() {
            BIT_AND => Test::AllBits,
            BIT_OR => Test::AnyBits,
            mut rule => {
                if rule == "dn" && self.take(":") && !self.take("=") {
                    rule = self.rule();
                    self.require(":=", "`:=` after the matching rule")?;
                } else if rule.is_empty() {
                    self.require("=", "a matching rule or `=` after `:`")?;
                } else if rule != "dn" {
                    self.require(":=", "`:=` after the matching rule")?;
                }
                return self.literal().map(|_| match rule {
                    IN_CHAIN => Test::InChain,
                    _ => Test::Server,
                });
            }
        };
        self.require(":=", "`:=` after the matching rule")?;
        let start = self.at;
        integer(&self.literal()?).map(test).ok_or_else(|| {
            self.at = start;
            self.expected("a decimal number: its bits are compared")
        })
    }

    fn rule(&mut self) -> &'t str {
        self.run(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
    }

    fn assertion(&mut self) -> Result<Assertion, FilterError> {
        self.literal().map(Assertion::new)
    }

    /// A value without asterisks.
    fn literal(&mut self) -> Result<Vec<u8>, FilterError> {
        let value = self.piece()?;
        match self.peek() {
            Some(b'*') => Err(self
                .expected(r"no `*`: it stands for any text only after `=` (a literal one is \2a)")),
            _ => Ok(value),
        }
    }

    /// The pieces of a value that end in an asterisk, and the one that ends it.
    fn pieces(&mut self) -> Result<(Vec<Vec<u8>>, Vec<u8>), FilterError> {
        let mut pieces = Vec::new();
        loop {
            let piece = self.piece()?;
            if !self.take("*") {
                return Ok((pieces, piece));
            }
            pieces.push(piece);
        }
    }

    /// A piece of a value, unescaped, up to the asterisk or parenthesis after it.
    fn piece(&mut self) -> Result<Vec<u8>, FilterError> {
        let mut octets = Vec::new();
        loop {
            octets.extend_from_slice(self.run(|b| !b"()*\\\0".contains(&b)).as_bytes());
            match self.peek() {
                Some(b'\\') => {
                    self.at += 1;
                    octets.push(self.pair()?);
                }
                Some(b'(') => {
                    return Err(
                        self.expected(r"no parenthesis inside a value (a literal one is \28)")
                    );
                }
                Some(0) => {
                    return Err(self.expected(r"no NUL inside a value (a literal one is \00)"));
                }
                _ => return Ok(octets),
            }
        }
    }

    fn pair(&mut self) -> Result<u8, FilterError> {
        let mut octet = 0;
        for _ in 0..2 {
            let digit = self.peek().and_then(hex).ok_or_else(|| {
                self.expected(r"two hex digits after the backslash (a literal one is \5c)")
            })?;
            self.at += 1;
            octet = octet << 4 | digit;
        }
        Ok(octet)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The longest run of bytes that `is` accepts. It accepts all or none of those outside ASCII, so that the run ends
    /// where a character does.
    fn run(&mut self, is: impl Fn(u8) -> bool) -> &'t str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let end = rest.bytes().position(|b| !is(b)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    fn spaces(&mut self) {
        self.run(|b| b.is_ascii_whitespace());
    }

    fn take(&mut self, token: &str) -> bool {
        let is = self
            .text
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(token));
        self.at += if is { token.len() } else { 0 };
        is
    }

    fn require(&mut self, token: &str, expected: &'static str) -> Result<(), FilterError> {
        if self.take(token) {
            Ok(())
        } else {
            Err(self.expected(expected))
        }
    }

    fn expected(&self, expected: &'static str) -> FilterError {
        FilterError {
            filter: self.text.to_owned(),
            at: self.at,
            expected,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;

    fn person() -> Entry {
        let mut entry = Entry::new("uid=zoe,dc=x");
        for (name, value) in [
            ("uid", "zoe"),
            ("cn", "Zoë  van der  Berg"),
            ("cn;lang-de", "Zoe (Z*) Müller"),
            ("sn", "ΠΑΠΑΔΌΠΟΥΛΟΣ"),
            ("mail", "Zoe@Example.org"),
            ("mail", "z@example.org"),
            ("employeeNumber", "1000"),
            ("userAccountControl", "514"),
            ("groupType", "-2147483646"),
            ("modifyTimestamp", "20240301120000Z"),
            ("ou", "John Doe"),
        ] {
            entry.push(name, value.into());
        }
        entry.push("photo", vec![0xff, 0xd8, 0x41]);
        entry
    }

    /// Escapes a value for its place in a filter (RFC 4515 section 3): `Ann (HR)` becomes `Ann \28HR\29`.
    fn escape(value: &str) -> String {
        let mut escaped = String::with_capacity(value.len());
        for c in value.chars() {
            match c {
                '\0' => escaped.push_str("\\00"),
                '(' => escaped.push_str("\\28"),
                ')' => escaped.push_str("\\29"),
                '*' => escaped.push_str("\\2a"),
                '\\' => escaped.push_str("\\5c"),
                _ => escaped.push(c),
            }
        }
        escaped
    }

    #[test]
    fn filters_match() {
        for (filter, expected) in [
            ("(objectClass=*)", true),
            ("(uid=*)", true),
            ("(UID=ZOE)", true),
            ("(uid=zo)", false),
            ("(description=*)", false),
            ("(!(description=*))", true),
            ("(!(description=x))", true),
            ("(cn= zoë van  der berg )", true),
            ("(cn=zoe van der berg)", false),
            ("(cn~=ZOË VAN DER BERG)", true),
            ("(cn=Zoe \\28Z\\2a\\29 M\\c3\\bcller)", true),
            ("(cn;lang-de=zoë van der berg)", false),
            ("(cn;LANG-DE=*)", true),
            ("(cn;lang-de;x-a=*)", false),
            ("(sn=Παπαδόπουλος)", true),
            ("(sn=παπαδόπουλοσ*)", true),
            ("(sn=Παπαδόπουλος*)", true),
            ("(mail=z*@example.org)", true),
            ("(mail=z*e@*.org)", true),
            ("(mail=*@EXAMPLE.*)", true),
            ("(mail=*example*zoe*)", false),
            ("(uid=zo*oe)", false),
            ("(uid=z*o*e)", true),
            ("(uid=**)", true),
            ("(uid=z**e)", true),
            ("(ou=john *)", true),
            ("(ou=joh *)", false),
            ("(ou=john * doe)", true),
            ("(ou=john*doe)", true),
            ("(ou=* doe)", true),
            ("(ou=* oe)", false),
            ("(ou=*john   doe*)", true),
            ("(ou=*n d*)", true),
            ("(ou=* *)", true),
            ("(uid=*z e*)", false),
            ("(photo=\\ff\\d8A)", true),
            ("(photo=\\ff*)", true),
            ("(photo=*\\d8*)", true),
            ("(photo=\\ff\\d8a)", false),
            ("(photo=\\fe*)", false),
            ("(employeeNumber>=999)", true),
            ("(employeeNumber<=999)", false),
            ("(employeeNumber>=1000)", true),
            ("(employeeNumber<=1000)", true),
            ("(modifyTimestamp>=20240101000000Z)", true),
            ("(modifyTimestamp<=20240101000000Z)", false),
            ("(uid>=ZOD)", true),
            ("(uid<=zod)", false),
            ("(absent>=0)", false),
            ("(userAccountControl:1.2.840.113556.1.4.803:=2)", true),
            ("(!(userAccountControl:1.2.840.113556.1.4.803:=2))", false),
            ("(userAccountControl:1.2.840.113556.1.4.803:=3)", false),
            ("(userAccountControl:1.2.840.113556.1.4.804:=3)", true),
            ("(userAccountControl:1.2.840.113556.1.4.804:=4)", false),
            ("(groupType:1.2.840.113556.1.4.803:=2147483648)", true),
            ("(uid:1.2.840.113556.1.4.803:=0)", false),
            ("(&)", true),
            ("(|)", false),
            ("(!(|))", true),
            ("(&(uid=zoe)(mail=*))", true),
            ("(&(uid=zoe)(mail=x))", false),
            ("(|(uid=x)(uid=zoe))", true),
            ("(|(uid=x)(uid=y))", false),
            (" ( &\n  (uid=zoe)\n  ( ! (mail=x) )\n) \n", true),
        ] {
            assert_eq!(
                Filter::parse(filter).unwrap().matches(&person()),
                expected,
                "{filter}"
            );
        }
        let bare = Entry::new("cn=a");
        assert!(Filter::parse("(objectclass=*)").unwrap().matches(&bare));
        assert!(
            !Filter::parse("(objectClass=person)")
                .unwrap()
                .matches(&bare)
        );
    }

    #[test]
    fn faults_name_their_place() {
        for (filter, at, expected) in [
            ("", 0, "a parenthesis"),
            ("uid=x", 0, "a parenthesis"),
            ("(uid=x", 6, "a closing"),
            ("(uid=x)(mail=*)", 7, "the end"),
            ("(&(uid=x)", 9, "a closing"),
            ("(&(uid=x)mail=*)", 9, "a parenthesis"),
            ("(!uid=x)", 2, "a parenthesis"),
            ("(!(uid=x)(uid=y))", 9, "a closing"),
            ("()", 1, "an attribute name"),
            ("(=x)", 1, "an attribute name"),
            ("(ü=x)", 1, "an attribute name"),
            ("(uid)", 4, "one of ="),
            ("(uid x)", 4, "one of ="),
            ("(uid>x)", 4, "one of ="),
            ("(uid=a(b))", 6, r"\28"),
            (r"(uid=a\2)", 8, "two hex digits"),
            (r"(uid=ü\zz)", 8, "two hex digits"),
            ("(uid=a\0)", 6, r"\00"),
            ("(uid>=a*)", 7, r"\2a"),
            ("(uid:x)", 6, "`:=`"),
            ("(:1.2.3:=x)", 1, "an attribute: a matching rule"),
            ("(a:1.2.840.113556.1.4.803=2)", 25, "`:=`"),
            ("(a:1.2.840.113556.1.4.803:=0x2)", 27, "a decimal number"),
        ] {
            let error = Filter::parse(filter).unwrap_err();
            assert_eq!(error.at, at, "{error}");
            assert!(error.expected.contains(expected), "{error}");
            assert!(error.to_string().contains(filter));
        }
    }

    #[test]
    fn rules_that_only_a_server_knows_are_told_apart() {
        for (filter, is_local) in [
            ("(uid:=x)", false),
            ("(uid:dn:=x)", false),
            ("(uid:dn:2.4.6:=x)", false),
            ("(uid:caseExactMatch:=x)", false),
            (
                "(&(a=b)(!(memberOf:1.2.840.113556.1.4.1941:=cn=a,dc=b)))",
                false,
            ),
            ("(manager:dn:1.2.840.113556.1.4.1941:=cn=a)", false),
            ("(|(a=b)(c:1.2.840.113556.1.4.803:=2))", true),
        ] {
            assert_eq!(
                Filter::parse(filter).unwrap().is_local(),
                is_local,
                "{filter}"
            );
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| "(!".repeat(depth - 1) + "(a=b)" + &")".repeat(depth - 1);
        assert!(Filter::parse(&nested(MAX_DEPTH)).is_ok());
        let error = Filter::parse(&nested(MAX_DEPTH + 1)).unwrap_err();
        assert!(error.expected.contains(&MAX_DEPTH.to_string()));
        assert!(Filter::parse(&"(&".repeat(1_000_000)).is_err());
    }

    proptest! {
        #[test]
        fn an_escaped_value_matches_itself(value in any::<String>(), cut in any::<prop::sample::Index>()) {
            let mut entry = Entry::new("cn=a");
            entry.push("cn", value.clone().into());
            let trimmed = value.trim();
            let at: Vec<_> = trimmed.char_indices().map(|(at, _)| at).chain([trimmed.len()]).collect();
            let (before, after) = trimmed.split_at(*cut.get(&at));
            let (value, before, after) = (escape(&value), escape(before), escape(after));
            for filter in [
                format!("(cn={value})"),
                format!("(cn~={value})"),
                format!("(cn>={value})"),
                format!("(cn<={value})"),
                format!("(cn={before}*{after})"),
                format!("(cn={before}*)"),
                format!("(cn=*{after}*)"),
                format!("(!(cn={value}x))"),
            ] {
                prop_assert!(Filter::parse(&filter).unwrap().matches(&entry), "{}", filter);
            }
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in any::<String>(), close in "[(&|!)a=*\\\\2:<>~ ]{0,24}") {
            let _ = Filter::parse(&text);
            let _ = Filter::parse(&close);
        }
    }
}
