//! LDIF (RFC 2849): a streaming reader of entries, and the writer that goes with it.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    iter::FusedIterator,
    path::Path,
    str,
};

use base64::{DecodeError, Engine, engine::general_purpose::STANDARD};

use super::DirectoryError;
use crate::config::{Search, expect_known_folders, expect_known_writers};
use crate::model::{Dn, Entry, PullEnd};

/// The longest line, with its continuations, that is read: so that a file without line ends cannot fill memory.
const MAX_LINE: usize = 16 * 1024 * 1024;

/// The width written lines are folded to (RFC 2849, note 2).
const WIDTH: usize = 76;

/// Reads the entries of a file that the search would find.
pub(super) fn pull(
    path: &Path,
    search: &Search,
    each: &mut dyn FnMut(Entry),
) -> Result<PullEnd, DirectoryError> {
    let mut reader = open(path)?;
    // Not refused, as a volume that another container exports to may be so, and not to be changed.
    if let Err(open) = expect_known_folders(path) {
        tracing::warn!(%open, "everybody may replace the LDIF file {}", path.display());
    }
    let mut entries = 0;
    let mut odd_dn: Option<String> = None;
    while let Some(entry) = reader.next() {
        let entry = entry?;
        // Half a record is nobody's.
        if reader.ending() == Ending::Open {
            break;
        }
        let Ok(dn) = Dn::parse(entry.dn()) else {
            odd_dn.get_or_insert_with(|| entry.dn().to_owned());
            continue;
        };
        if search.reaches(&dn) && search.filter.matches(&entry) {
            entries += 1;
            each(entry);
        }
    }
    let clean = match (reader.ending(), odd_dn) {
        (_, Some(dn)) => Err(format!(
            "{} has an entry whose DN cannot be read: {dn}",
            path.display()
        )),
        _ if reader.referrals() > 0 => Err(format!(
            "{} refers to {} parts of the tree that are not in it",
            path.display(),
            reader.referrals()
        )),
        (Ending::Blank | Ending::Confirmed, None) => Ok(()),
        (Ending::Empty, None) => Err(format!("{} has no entry", path.display())),
        (Ending::Open, None) => Err(format!(
            "{} may be cut off: its last record, which was left out, is not closed by a blank line, as slapcat and ldapsearch write it",
            path.display()
        )),
    };
    Ok(PullEnd {
        entries,
        changed: None,
        clean,
    })
}

/// Reads all entries of a file, wherever in the tree they are. A record that may be cut off is left out; that it was
/// is told by [`pull`].
pub(super) fn each_entry(path: &Path, each: &mut dyn FnMut(Entry)) -> Result<(), DirectoryError> {
    let mut reader = open(path)?;
    while let Some(entry) = reader.next() {
        let entry = entry?;
        if reader.ending() != Ending::Open {
            each(entry);
        }
    }
    Ok(())
}

pub(super) fn open(path: &Path) -> Result<LdifReader<BufReader<File>>, DirectoryError> {
    let refuse = |why| DirectoryError::OpenLdif {
        path: path.to_owned(),
        why,
    };
    let file = File::open(path).map_err(refuse)?;
    let metadata = file.metadata().map_err(refuse)?;
    expect_known_writers("the LDIF file", path, &metadata)?;
    // Reading a pipe or a device may never end.
    if !metadata.is_file() {
        return Err(refuse(io::Error::other("it is no regular file")));
    }
    let name = path.display().to_string();
    Ok(LdifReader::new(BufReader::new(file), name))
}

/// A place in an LDIF file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The name of the file.
    pub file: String,
    /// The line, counted from 1; of a folded line the first.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Why an LDIF file could not be read to its end. Values are never shown: one of them may be a password.
#[derive(Debug, thiserror::Error)]
pub enum LdifError {
    /// The file could not be read.
    #[error("{0}: reading failed: {1}; check the disk, and export the file again")]
    Io(Place, #[source] io::Error),
    /// A line of more than [`MAX_LINE`] bytes.
    #[error("{0}: the line is longer than {max} MiB; is this an LDIF file?", max = MAX_LINE >> 20)]
    TooLong(Place),
    /// A line that begins with a space, with nothing before it to continue.
    #[error(
        "{0}: the line begins with a space but continues no line; remove the space or the blank line before it"
    )]
    Stray(Place),
    /// A line that is no attribute line.
    #[error(
        "{0}: expected `attribute: value`, found a line without a colon; a continued line begins with a space"
    )]
    NoColon(Place),
    /// What is before the colon is no attribute description (RFC 4512 section 2.5).
    #[error("{0}: no attribute name before the colon; a continued line begins with a space")]
    BadName(Place),
    /// An attribute before the `dn:` it belongs to.
    #[error(
        "{0}: {1} stands before any `dn:`; a record begins with its dn, and a blank line ends it"
    )]
    BeforeDn(Place, String),
    /// A second `dn:` in one record.
    #[error("{0}: a second `dn:` in one record; put a blank line before it")]
    SecondDn(Place),
    /// A DN that is not UTF-8 (RFC 4514 section 2).
    #[error(
        "{0}: the dn is not UTF-8; write the file in UTF-8, or the dn as `dn:: ` and base64 of UTF-8"
    )]
    DnNotText(Place),
    /// A value after `::` that is not base64.
    #[error(
        "{0}: the value of {1} is not base64 ({2}); write `{1}:` for plain text, or export the file again"
    )]
    BadBase64(Place, String, #[source] DecodeError),
    /// A value after `:<`, which is to be fetched from a URL.
    #[error(
        "{0}: {1} is given as a URL (`:<`), which is not followed; put the value in as `{1}:: ` and its base64 \
         (ldapsearch: leave out -t)"
    )]
    Url(Place, String),
    /// A file of changes (RFC 2849, ldif-changes) where entries are wanted.
    #[error(
        "{0}: `{1}:`: this file holds changes, not entries: export entries with slapcat or ldapsearch -LLL"
    )]
    Changes(Place, String),
    /// A version of LDIF other than 1.
    #[error("{0}: LDIF version {1:?} is not known, only `version: 1` is (RFC 2849)")]
    Version(Place, String),
    /// The search that wrote the file did not end well (RFC 4511 section 4.1.9).
    #[error(
        "{0}: the export was cut off: result {1}; put right what this says and export again (a limit: with paging, \
         -E pr=500/noprompt)"
    )]
    CutOff(Place, String),
}

/// How a file ended: what there is to show that it holds all that it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// No entry, and no result either.
    Empty,
    /// The last record ran into the end of the file, or a page of results was to follow: it may have been cut off.
    Open,
    /// A blank line closed the last record, as slapcat and ldapsearch write it.
    Blank,
    /// The trailer of ldapsearch: `result: 0 Success`.
    Confirmed,
}

/// Reads the entries of an LDIF file (RFC 2849), one at a time.
///
/// Besides what the RFC has, it takes values of plain UTF-8, a byte order mark, and what ldapsearch writes around the
/// entries: its result, which has to be a success, and references to other servers, which are counted and passed over.
/// After an error it is at its end.
#[derive(Debug)]
pub struct LdifReader<R> {
    reader: R,
    /// Where the current line began.
    at: Place,
    /// How many physical lines were read.
    read: u64,
    /// The current line, unfolded.
    line: Vec<u8>,
    ending: Ending,
    referrals: u64,
    done: bool,
}

/// The record being read.
enum Record {
    None,
    Entry(Entry),
    Referral,
    /// What ldapsearch writes after the entries: `search: 2`, `result: 0 Success`, controls.
    Trailer,
}

impl<R: BufRead> LdifReader<R> {
    /// A reader of `reader`; `file` is what errors call it.
    pub fn new(reader: R, file: impl Into<String>) -> Self {
        Self {
            reader,
            at: Place {
                file: file.into(),
                line: 0,
            },
            read: 0,
            line: Vec::new(),
            ending: Ending::Empty,
            referrals: 0,
            done: false,
        }
    }

    /// How the file ended; to be asked when the last entry was read.
    pub fn ending(&self) -> Ending {
        self.ending
    }

    /// How many references to other servers were passed over, and so how many parts of the tree are not in the file.
    pub fn referrals(&self) -> u64 {
        self.referrals
    }

    fn entry(&mut self) -> Result<Option<Entry>, LdifError> {
        let mut record = Record::None;
        while self.advance()? {
            match self.line.first() {
                Some(b'#') => continue,
                None => match std::mem::replace(&mut record, Record::None) {
                    Record::Entry(entry) => {
                        self.ending = Ending::Blank;
                        return Ok(Some(entry));
                    }
                    Record::Referral => self.ending = Ending::Blank,
                    Record::None | Record::Trailer => {}
                },
                Some(_) => self.attribute(&mut record)?,
            }
        }
        Ok(match record {
            Record::Entry(entry) => Some(entry),
            _ => None,
        })
    }

    /// Takes the current line into the record.
    fn attribute(&mut self, record: &mut Record) -> Result<(), LdifError> {
        let (name, value) = split(&self.line, &self.at)?;
        let is = |keyword| name.eq_ignore_ascii_case(keyword);
        let shown = || String::from_utf8_lossy(&value).trim().to_owned();
        let at = || self.at.clone();
        match record {
            Record::Entry(_) if is("dn") => return Err(LdifError::SecondDn(at())),
            Record::None | Record::Entry(_) if is("changetype") || is("control") => {
                return Err(LdifError::Changes(at(), name.to_owned()));
            }
            Record::Entry(entry) => entry.push(name, value),

            Record::None if is("version") => {
                if shown() != "1" {
                    return Err(LdifError::Version(at(), shown()));
                }
            }
            Record::None if is("dn") => {
                let dn = String::from_utf8(value).map_err(|_| LdifError::DnNotText(at()))?;
                self.ending = Ending::Open;
                *record = Record::Entry(Entry::new(dn));
            }
            Record::None if is("ref") => {
                self.ending = Ending::Open;
                self.referrals += 1;
                *record = Record::Referral;
            }
            Record::None | Record::Trailer if is("search") || is("result") => {
                self.ending = Ending::Open;
                *record = Record::Trailer;
                if is("result") {
                    if shown().split(' ').next() != Some("0") {
                        return Err(LdifError::CutOff(at(), shown()));
                    }
                    self.ending = Ending::Confirmed;
                }
            }
            Record::None => return Err(LdifError::BeforeDn(at(), name.to_owned())),

            // A cookie says that there is a next page (RFC 2696); its own result follows if it was asked for.
            Record::Trailer if is("pagedresults") => {
                if !shown().ends_with("cookie=") {
                    self.ending = Ending::Open;
                }
            }
            // `matchedDN:`, `text:`, `control:` of a result; more `ref:` of a referral.
            Record::Trailer | Record::Referral => {}
        }
        Ok(())
    }

    /// Makes the next line with its continuations the current one; false at the end.
    fn advance(&mut self) -> Result<bool, LdifError> {
        self.line.clear();
        self.at.line = self.read + 1;
        if !self.physical()? {
            return Ok(false);
        }
        if self.read == 1 && self.line.starts_with(b"\xef\xbb\xbf") {
            self.line.drain(..3);
        }
        // A blank line ends a record and cannot be continued.
        while !self.line.is_empty() && self.peek()? == Some(b' ') {
            self.reader.consume(1);
            self.physical()?;
        }
        Ok(true)
    }

    /// Adds the next physical line, without its end, to the current one; false at the end.
    fn physical(&mut self) -> Result<bool, LdifError> {
        let room = (MAX_LINE + 1).saturating_sub(self.line.len());
        let start = self.line.len();
        let count = (&mut self.reader)
            .take(room as u64)
            .read_until(b'\n', &mut self.line)
            .map_err(|error| self.failed(error))?;
        self.read += u64::from(count > 0);
        let new = self.line.get(start..).unwrap_or_default();
        let new = new.strip_suffix(b"\n").unwrap_or(new);
        let new = new.strip_suffix(b"\r").unwrap_or(new);
        self.line.truncate(start + new.len());
        if self.line.len() > MAX_LINE {
            return Err(LdifError::TooLong(self.at.clone()));
        }
        Ok(count > 0)
    }

    fn peek(&mut self) -> Result<Option<u8>, LdifError> {
        loop {
            match self.reader.fill_buf() {
                Ok(buffer) => return Ok(buffer.first().copied()),
                // A signal, such as the reload of a daemon, is no reason to give up a pull.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    fn failed(&self, error: io::Error) -> LdifError {
        LdifError::Io(
            Place {
                line: self.read + 1,
                ..self.at.clone()
            },
            error,
        )
    }
}

impl<R: BufRead> Iterator for LdifReader<R> {
    type Item = Result<Entry, LdifError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.entry().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

impl<R: BufRead> FusedIterator for LdifReader<R> {}

/// The name and the value of an attribute line (RFC 2849, attrval-spec).
fn split<'l>(line: &'l [u8], at: &Place) -> Result<(&'l str, Vec<u8>), LdifError> {
    if line.starts_with(b" ") {
        return Err(LdifError::Stray(at.clone()));
    }
    let colon = line.iter().position(|&b| b == b':');
    let (name, value) = colon
        .and_then(|colon| line.split_at_checked(colon))
        .ok_or_else(|| LdifError::NoColon(at.clone()))?;
    let name = str::from_utf8(name)
        .ok()
        .filter(|name| is_description(name))
        .ok_or_else(|| LdifError::BadName(at.clone()))?;
    let unfilled = |value: &'l [u8]| {
        let fill = value.iter().take_while(|&&b| b == b' ').count();
        value.split_at(fill).1
    };
    match value {
        [b':', b':', rest @ ..] => STANDARD
            .decode(unfilled(rest).trim_ascii_end())
            .map(|value| (name, value))
            .map_err(|error| LdifError::BadBase64(at.clone(), name.to_owned(), error)),
        [b':', b'<', ..] => Err(LdifError::Url(at.clone(), name.to_owned())),
        [b':', rest @ ..] => Ok((name, unfilled(rest).to_vec())),
        _ => Err(LdifError::NoColon(at.clone())),
    }
}

/// An attribute description (RFC 4512 section 2.5), with the underscore that some servers allow.
fn is_description(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-.;_".contains(&b))
}

/// Writes an entry as an LDIF record with the blank line after it: folded, and in base64 where a value is not a
/// SAFE-STRING (RFC 2849). Reading it gives the same entry.
///
/// # Errors
/// Those of `out`; `InvalidInput` for an attribute name that would be read as something else.
pub fn write_entry(out: &mut impl Write, entry: &Entry) -> io::Result<()> {
    write_line(out, "dn", entry.dn().as_bytes())?;
    for name in entry.names() {
        if !is_description(name) || matches!(name, "dn" | "changetype" | "control") {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "entry {:?}: {name:?} cannot be the name of an attribute in LDIF",
                    entry.dn()
                ),
            ));
        }
        for value in entry.values(name) {
            write_line(out, name, value)?;
        }
    }
    out.write_all(b"\n")
}

fn write_line(out: &mut impl Write, name: &str, value: &[u8]) -> io::Result<()> {
    let mut line = Vec::with_capacity(name.len() + 3 + value.len());
    line.extend_from_slice(name.as_bytes());
    if is_safe(value) {
        line.extend_from_slice(if value.is_empty() { b":" } else { b": " });
        line.extend_from_slice(value);
    } else {
        line.extend_from_slice(b":: ");
        line.extend_from_slice(STANDARD.encode(value).as_bytes());
    }
    let (first, rest) = line.split_at(line.len().min(WIDTH));
    out.write_all(first)?;
    // The space that marks a continuation takes one of its columns.
    for part in rest.chunks(WIDTH - 1) {
        out.write_all(b"\n ")?;
        out.write_all(part)?;
    }
    out.write_all(b"\n")
}

/// SAFE-STRING of RFC 2849, without the space at the end that its note 8 wants encoded.
fn is_safe(value: &[u8]) -> bool {
    !matches!(value.first(), Some(b' ' | b':' | b'<'))
        && value.last() != Some(&b' ')
        && value.iter().all(|b| b.is_ascii() && !b"\0\n\r".contains(b))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::io::{BufReader, Cursor};

    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn read(ldif: impl AsRef<[u8]>) -> Result<Vec<Entry>, LdifError> {
        LdifReader::new(ldif.as_ref(), "people.ldif").collect()
    }

    fn entry(dn: &str, attributes: &[(&str, &str)]) -> Entry {
        let mut entry = Entry::new(dn);
        for (name, value) in attributes {
            entry.push(name, value.as_bytes().to_vec());
        }
        entry
    }

    #[test]
    fn entries_are_read() {
        let a = || entry("cn=a", &[("cn", "a")]);
        let b = || entry("cn=b", &[("cn", "b")]);
        for (ldif, expected) in [
            ("", vec![]),
            ("\n\n# only a comment", vec![]),
            ("version: 1\n", vec![]),
            ("dn: cn=a\ncn: a\n", vec![a()]),
            ("dn: cn=a\ncn: a", vec![a()]),
            ("\u{feff}dn: cn=a\ncn: a\n", vec![a()]),
            (
                "\u{feff}version: 1\r\n\r\ndn: cn=a\r\ncn: a\r\n\r\n\r\ndn: cn=b\r\ncn: b\r\n",
                vec![a(), b()],
            ),
            (
                "version: 1\ndn: cn=a\ncn: a\n\n\n\ndn: cn=b\ncn: b\n\n",
                vec![a(), b()],
            ),
            (
                "# a\n#  comment\n that: goes\n  on\ndn: cn=a\n# inside\n here\ncn: a\n",
                vec![a()],
            ),
            ("dn: c\n n=\n a\ncn:\n  a\n", vec![a()]),
            ("dn:: Y24\n 9YQ\n ==\nCN::YQ==\n", vec![a()]),
            ("dn:cn=a\ncn:     a\n", vec![a()]),
            ("DN: cn=a\ncn: a\n", vec![a()]),
            (
                "dn: cn=a\ncn;lang-de: a\n",
                vec![entry("cn=a", &[("cn;lang-de", "a")])],
            ),
            (
                "dn: cn=a\no:\no: \no:: \n",
                vec![entry("cn=a", &[("o", ""), ("o", ""), ("o", "")])],
            ),
            (
                "dn: cn=a\no: x:y <z\n",
                vec![entry("cn=a", &[("o", "x:y <z")])],
            ),
            (
                "dn: cn=Zoë\nsn: Müller\n",
                vec![entry("cn=Zoë", &[("sn", "Müller")])],
            ),
            (
                "dn: cn=a\nsearch: 1\nresult: 4\nref: x\n",
                vec![entry(
                    "cn=a",
                    &[("search", "1"), ("result", "4"), ("ref", "x")],
                )],
            ),
            (
                "dn:\nvendorname: x\n",
                vec![entry("", &[("vendorname", "x")])],
            ),
            (
                "dn: cn=a\ncn: a\n\nsearch: 2\nresult: 0 Success\n\n# numResponses: 2\n# numEntries: 1\n",
                vec![a()],
            ),
            (
                "# refldap://x/\nref: ldap://x/\nref: ldap://y/\n\ndn: cn=a\ncn: a\n",
                vec![a()],
            ),
        ] {
            assert_eq!(read(ldif).unwrap(), expected, "{ldif:?}");
        }
    }

    #[test]
    fn faults_name_file_line_and_way_out() {
        for (ldif, line, says) in [
            ("\ncn: a\n", 2, "cn stands before any `dn:`"),
            ("dn: cn=a\n\ncn: a\n", 3, "cn stands before"),
            ("dn: cn=a\nno colon here\n", 2, "without a colon"),
            ("dn: cn=a\nc n: x\n", 2, "no attribute name"),
            ("dn: cn=a\n: x\n", 2, "no attribute name"),
            ("dn: cn=a\nü: x\n", 2, "no attribute name"),
            ("dn: cn=a\n# c\no: 1\n 2\ncn:: YQ=\n", 5, "cn is not base64"),
            ("dn: cn=a\ncn:: é\n", 2, "cn is not base64"),
            ("dn:: /w==\n", 1, "the dn is not UTF-8"),
            ("dn: cn=a\ndn: cn=b\n", 2, "a second `dn:`"),
            (
                "dn: cn=a\nphoto:< file:///a.jpg\n",
                2,
                "photo is given as a URL",
            ),
            (
                "dn: cn=a\nchangetype: add\ncn: a\n",
                2,
                "export entries with slapcat or ldapsearch -LLL",
            ),
            ("dn: cn=a\ncontrol: 1.2.3 true\n", 2, "holds changes"),
            ("changetype: add\n", 1, "holds changes"),
            ("\n continued\n", 2, "continues no line"),
            ("version: 2\n", 1, "LDIF version \"2\""),
            (
                "dn: cn=a\n\nsearch: 2\nresult: 4 Size limit exceeded\n",
                4,
                "cut off: result 4 Size limit exceeded",
            ),
            ("result: 32 No such object\n", 1, "cut off: result 32"),
            ("result: \n", 1, "cut off: result"),
        ] {
            let error = read(ldif).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("people.ldif:{line}: ")),
                "{ldif:?}: {error}"
            );
            assert!(error.contains(says), "{ldif:?}: {error}");
        }
    }

    #[test]
    fn an_error_is_the_end() {
        let mut reader = LdifReader::new(&b"dn: cn=a\n\nx\n\ndn: cn=b\n"[..], "f");
        assert!(reader.next().unwrap().is_ok());
        assert!(reader.next().unwrap().is_err());
        assert!(reader.next().is_none());
    }

    #[test]
    fn the_ending_tells_whether_a_file_may_be_cut_off() {
        for (ldif, expected) in [
            ("", Ending::Empty),
            ("version: 1\n\n", Ending::Empty),
            ("dn: cn=a\ncn: a\n\n", Ending::Blank),
            ("dn: cn=a\ncn: a\n", Ending::Open),
            ("dn: cn=a\n\ndn: cn=b\nmail: b@ex", Ending::Open),
            (
                "dn: cn=a\n\nsearch: 2\nresult: 0 Success\n",
                Ending::Confirmed,
            ),
            (
                "search: 2\nresult: 0 Success\n\n# numEntries: 0\n",
                Ending::Confirmed,
            ),
            ("dn: cn=a\n\nsearch: 2\n", Ending::Open),
            (
                "result: 0 Success\ncontrol: 1.2.840.113556.1.4.319 false MA==\npagedresults: cookie=AB\n",
                Ending::Open,
            ),
            (
                "result: 0 Success\npagedresults: cookie=AB\n\nresult: 0 Success\npagedresults: cookie=\n",
                Ending::Confirmed,
            ),
            ("result: 0 Success\n\ndn: cn=a\n", Ending::Open),
        ] {
            let mut reader = LdifReader::new(ldif.as_bytes(), "f");
            assert!(reader.by_ref().all(|entry| entry.is_ok()));
            assert_eq!(reader.ending(), expected, "{ldif:?}");
        }
        let mut reader = LdifReader::new(&b"ref: a\n\nref: b\n\n"[..], "f");
        assert!(reader.next().is_none());
        assert_eq!((reader.referrals(), reader.ending()), (2, Ending::Blank));
    }

    #[test]
    fn a_line_is_bounded() {
        let endless = Cursor::new(b"dn: ").chain(BufReader::new(io::repeat(b'x')));
        let error = LdifReader::new(endless, "f").next().unwrap().unwrap_err();
        assert!(matches!(error, LdifError::TooLong(Place { line: 1, .. })));

        let folded = Cursor::new(b"dn: a").chain(BufReader::new(Repeated(
            b"\n xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            0,
        )));
        let error = LdifReader::new(folded, "f").next().unwrap().unwrap_err();
        assert!(matches!(error, LdifError::TooLong(Place { line: 1, .. })));

        let mut fits = b"dn: ".to_vec();
        fits.resize(MAX_LINE, b'x');
        fits.extend_from_slice(b"\n \no: a\n");
        assert_eq!(read(fits).unwrap()[0].dn().len(), MAX_LINE - 4);
    }

    /// The same bytes again and again.
    struct Repeated(&'static [u8], usize);

    impl Read for Repeated {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            for b in out.iter_mut() {
                *b = self.0[self.1 % self.0.len()];
                self.1 += 1;
            }
            Ok(out.len())
        }
    }

    #[test]
    fn written_records_are_safe_and_folded() {
        let mut person = entry(
            "cn=Zoë",
            &[
                ("cn", "a b"),
                ("sn", " x"),
                ("sn", "x "),
                ("sn", ""),
                ("sn", ":x"),
                ("sn", "a\nb"),
            ],
        );
        person.push("o", vec![b'x'; 150]);
        let mut out = Vec::new();
        write_entry(&mut out, &person).unwrap();
        let (seventy_three, seventy_five) = ("x".repeat(73), "x".repeat(75));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!(
                "dn:: Y249Wm/Dqw==\ncn: a b\no: {seventy_three}\n {seventy_five}\n xx\nsn:: IHg=\nsn:: eCA=\nsn:\nsn:: Ong=\nsn:: YQpi\n\n"
            )
        );
    }

    #[test]
    fn a_name_that_would_be_misread_is_refused() {
        for name in ["dn", "changeType", "a:b", "a b", "", "a\nb"] {
            let refused = write_entry(&mut Vec::new(), &entry("cn=a", &[(name, "x")]));
            assert_eq!(
                refused.unwrap_err().kind(),
                io::ErrorKind::InvalidInput,
                "{name:?}"
            );
        }
    }

    fn value() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            vec(any::<u8>(), 0..8),
            "[ -~]{0,200}".prop_map(String::into_bytes),
            "[ :<#\r\n\t\0a]{0,5}".prop_map(String::into_bytes),
            any::<String>().prop_map(String::into_bytes),
        ]
    }

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let name = prop_oneof![
            "[a-zA-Z][a-zA-Z0-9-]{0,12}(;[a-z]{1,4})?",
            "search|result|ref|version"
        ];
        let entry = (any::<String>(), vec((name, value()), 0..6)).prop_map(|(dn, attributes)| {
            let mut entry = Entry::new(dn);
            for (name, value) in attributes {
                if !["dn", "control", "changetype"].contains(&name.to_ascii_lowercase().as_str()) {
                    entry.push(&name, value);
                }
            }
            entry
        });
        vec(entry, 0..4)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(entries in entries(), crlf in any::<bool>(), capacity in 1..40usize) {
            let mut ldif = Vec::new();
            for entry in &entries {
                write_entry(&mut ldif, entry).unwrap();
            }
            prop_assert!(ldif.is_ascii());
            prop_assert!(ldif.split(|&b| b == b'\n').all(|line| line.len() <= WIDTH));
            if crlf {
                ldif = String::from_utf8(ldif).unwrap().replace('\n', "\r\n").into_bytes();
            }
            // A small buffer, so that lines and their ends fall on its edges.
            let reader = BufReader::with_capacity(capacity, ldif.as_slice());
            let read = LdifReader::new(reader, "f").collect::<Result<Vec<_>, _>>().unwrap();
            prop_assert!(read == entries, "{:?}", String::from_utf8(ldif));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..80), lines in "(dn:|cn:|:|<|result: 0|\n|\n\n| |a|#){0,20}") {
            let _ = read(bytes);
            let _ = read(lines);
        }
    }
}
