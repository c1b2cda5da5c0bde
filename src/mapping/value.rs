//! Attribute values as text: the one place that knows, by an attribute's name, what its octets
//! mean.
//!
//! Most values are text already. GUIDs and SIDs of Active Directory are binary and have a usual
//! text form. Photos, certificates and passwords have none, and no rule may ask for them.

use std::borrow::Cow;
use std::fmt::Write as _;

use uuid::Uuid;

use super::{Problem, Reading, RuleError};
use crate::model::{Entry, ExternalId};

/// An attribute as a rule names it: an attribute description (RFC 4512 section 2.5), and how its
/// values become text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Description {
    name: String,
    /// The name as entries have it, in lower case, which is found fastest.
    lower: String,
    form: Form,
}

/// How the octets of a value become text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Guid,
    Sid,
}

/// 16 bytes in Microsoft's order (\[MS-DTYP\] section 2.3.4.2), in lower case.
const GUIDS: [&str; 5] = [
    "objectguid",
    "ms-ds-consistencyguid",
    "msexchmailboxguid",
    "msexcharchiveguid",
    "parentguid",
];

/// Security identifiers (\[MS-DTYP\] section 2.4.2), in lower case.
const SIDS: [&str; 8] = [
    "objectsid",
    "sidhistory",
    "tokengroups",
    "tokengroupsglobalanduniversal",
    "tokengroupsnogcacceptable",
    "securityidentifier",
    "ms-ds-creatorsid",
    "msexchmasteraccountsid",
];

/// Values that are no text and have no text form, in lower case.
const BINARY: [&str; 19] = [
    "audio",
    "authorityrevocationlist",
    "cacertificate",
    "certificaterevocationlist",
    "crosscertificatepair",
    "deltarevocationlist",
    "dsasignature",
    "jpegphoto",
    "logonhours",
    "msexchmailboxsecuritydescriptor",
    "ntsecuritydescriptor",
    "photo",
    "replpropertymetadata",
    "thumbnaillogo",
    "thumbnailphoto",
    "usercertificate",
    "userpkcs12",
    "usersmimecertificate",
    "x500uniqueidentifier",
];

/// Passwords and what they can be found out from, in lower case.
const SECRET: [&str; 16] = [
    "authpassword",
    "clearpassword",
    "dbcspwd",
    "ipanthash",
    "krbextradata",
    "krbprincipalkey",
    "lmpwdhistory",
    "ms-mcs-admpwd",
    "msds-managedpassword",
    "ntpwdhistory",
    "passwordhistory",
    "pwdhistory",
    "sambalmpassword",
    "sambantpassword",
    "supplementalcredentials",
    "unicodepwd",
];

/// What servers compute without a change of the entry, in lower case: group membership (Active
/// Directory, overlays of OpenLDAP, 389 Directory Server, OpenDJ) and 389's roles.
const COMPUTED: [&str; 10] = [
    "canonicalname",
    "ismemberof",
    "memberof",
    "msds-memberoftransitive",
    "msds-principalname",
    "msds-resultantpso",
    "nsrole",
    "tokengroups",
    "tokengroupsglobalanduniversal",
    "tokengroupsnogcacceptable",
];

impl Description {
    /// The attribute of this name, unless its values cannot be text.
    pub(super) fn named(name: &str) -> Result<Self, RuleError> {
        if !crate::config::is_attribute_name(name) {
            return Err(RuleError::NotAName(name.to_owned()));
        }
        let refuse = |what: &'static str| {
            Err(RuleError::NoText {
                attribute: name.to_owned(),
                what,
            })
        };
        let lower = name.to_ascii_lowercase();
        let mut parts = lower.split(';');
        let base = parts.next().unwrap_or_default();
        if SECRET.contains(&base) || base.starts_with("userpassword") {
            return refuse("a secret");
        }
        if BINARY.contains(&base) || parts.any(|option| option == "binary") {
            return refuse("binary data");
        }
        let form = if GUIDS.contains(&base) {
            Form::Guid
        } else if SIDS.contains(&base) {
            Form::Sid
        } else {
            Form::Text
        };
        Ok(Description {
            name: name.to_owned(),
            lower,
            form,
        })
    }

    /// The name as it was written.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether letters of its values are compared without case, as those of UUIDs are (RFC 4530
    /// section 2.3).
    pub(super) fn folds_case(&self) -> bool {
        self.form != Form::Sid
    }

    /// The first value, in a language where one is given.
    pub(super) fn first<'e>(
        &self,
        entry: &'e Entry,
        language: Option<&str>,
    ) -> Result<Option<Cow<'e, str>>, Problem> {
        let first = self.values(entry, language)?.first();
        first.map(|value| self.text(entry, value)).transpose()
    }

    /// All values, in a language where one is given.
    pub(super) fn all<'e>(
        &self,
        entry: &'e Entry,
        language: Option<&str>,
    ) -> Result<Vec<Cow<'e, str>>, Problem> {
        let values = self.values(entry, language)?.iter();
        values.map(|value| self.text(entry, value)).collect()
    }

    /// What the entry has of it, without options and with each that there is.
    pub(super) fn readings(&self, entry: &Entry) -> Vec<Reading> {
        let plain = entry.values(&self.lower);
        let with_options = entry.with_options(&self.lower);
        let mut readings: Vec<Reading> = with_options
            .map(|(options, values)| (format!("{};{options}", self.name), values))
            .filter(|(name, _)| Description::named(name).is_ok())
            .map(|(attribute, values)| self.reading(attribute, entry, values))
            .collect();
        if readings.is_empty() || !plain.is_empty() {
            readings.insert(0, self.reading(self.name.clone(), entry, plain));
        }
        readings
    }

    fn reading(&self, attribute: String, entry: &Entry, values: &[Vec<u8>]) -> Reading {
        let texts = values.iter().map(|value| self.text(entry, value));
        Reading {
            attribute,
            values: texts.map(|text| text.map(Cow::into_owned)).collect(),
        }
    }

    /// The values as they came: those of the language, else those without one.
    fn values<'e>(
        &self,
        entry: &'e Entry,
        language: Option<&str>,
    ) -> Result<&'e [Vec<u8>], Problem> {
        if let Some(tag) = language
            && let Some(values) = self.tagged(entry, tag)?
        {
            return Ok(values);
        }
        let values = entry.values(&self.lower);
        if values.is_empty() {
            self.is_whole(entry.with_options(&self.lower).map(|(options, _)| options))?;
        }
        Ok(values)
    }

    /// The values with the language tag itself, else with a longer one: `en` also finds `en-US`,
    /// as the range `lang-en-` does (RFC 3866 section 3).
    fn tagged<'e>(&self, entry: &'e Entry, tag: &str) -> Result<Option<&'e [Vec<u8>]>, Problem> {
        let mut longer = None;
        for (options, values) in entry.with_options(&self.lower) {
            let Some(exactly) = is_in_language(options, tag) else {
                continue;
            };
            self.is_whole([options])?;
            if exactly {
                return Ok(Some(values));
            }
            longer = longer.or(Some(values));
        }
        Ok(longer)
    }

    /// Refuses a range of the values (\[MS-ADTS\] section 3.1.1.3.1.3.3): what is only a part
    /// must not pass for all, nor for nothing.
    fn is_whole<'o>(&self, options: impl IntoIterator<Item = &'o str>) -> Result<(), Problem> {
        let range = |options: &str| options.split(';').any(|one| one.starts_with("range="));
        match options.into_iter().find(|options| range(options)) {
            None => Ok(()),
            Some(options) => Err(Problem::Part {
                attribute: self.name.clone(),
                part: format!("{};{options}", self.name),
            }),
        }
    }

    fn text<'e>(&self, entry: &'e Entry, value: &'e [u8]) -> Result<Cow<'e, str>, Problem> {
        let (text, what) = match self.form {
            Form::Text => return Ok(Cow::Borrowed(entry.decode(&self.name, value)?)),
            Form::Guid => (guid(value), "GUID, which has 16 bytes"),
            Form::Sid => (
                sid(value),
                "security identifier, which has 8 bytes and 4 more for each sub-authority",
            ),
        };
        text.map(Cow::Owned).ok_or_else(|| Problem::Malformed {
            attribute: self.name.clone(),
            why: format!("{} bytes are no {what}", value.len()),
        })
    }
}

/// Whether these options say that values are in a language, and whether in exactly this one.
fn is_in_language(options: &str, tag: &str) -> Option<bool> {
    let mut found = None;
    for option in options.split(';') {
        match option.strip_prefix("lang-") {
            Some(language) => match language.strip_prefix(tag) {
                Some("") => found = Some(true),
                Some(rest) if rest.starts_with('-') => found = found.or(Some(false)),
                _ => {}
            },
            None if option.starts_with("range=") => {}
            // Another option makes it another thing.
            None => return None,
        }
    }
    found
}

/// Whether a server gives values of this attribute without a change of the entry.
pub(super) fn is_computed(name: &str) -> bool {
    let base = name
        .split(';')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    COMPUTED.contains(&base.as_str())
        || base.starts_with("msds-") && base.ends_with("computed")
        // Collective attributes (RFC 3671 section 3) stand in a subentry.
        || base.starts_with("c-")
}

/// A GUID as Windows shows it, from its octets or from the text that other tools write to LDIF.
pub(super) fn guid(value: &[u8]) -> Option<String> {
    let guid = match <[u8; 16]>::try_from(value) {
        Ok(bytes) => Uuid::from_bytes_le(bytes),
        Err(_) => Uuid::parse_str(std::str::from_utf8(value).ok()?.trim()).ok()?,
    };
    Some(guid.to_string())
}

/// A security identifier as Windows shows it (\[MS-DTYP\] section 2.4.2.1), from its octets
/// (section 2.4.2.2) or from that text.
pub(super) fn sid(value: &[u8]) -> Option<String> {
    const AUTHORITIES: usize = 15;
    let [1, count, a, b, c, d, e, f, rest @ ..] = value else {
        let text = std::str::from_utf8(value).ok()?.trim();
        let parts = text.strip_prefix("S-1-").or(text.strip_prefix("s-1-"))?;
        let mut numbers = parts.split('-');
        let authority = numbers.next()?;
        let known = match authority.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok()?,
            None => authority.parse().ok()?,
        };
        let numbers: Vec<u32> = numbers.map(|one| one.parse().ok()).collect::<Option<_>>()?;
        return (numbers.len() <= AUTHORITIES).then(|| written_sid(known, numbers))?;
    };
    if usize::from(*count) > AUTHORITIES || rest.len() != 4 * usize::from(*count) {
        return None;
    }
    let authority = u64::from_be_bytes([0, 0, *a, *b, *c, *d, *e, *f]);
    let (words, _) = rest.as_chunks::<4>();
    written_sid(
        authority,
        words.iter().map(|word| u32::from_le_bytes(*word)),
    )
}

/// The authority is decimal below 2³², else hexadecimal.
fn written_sid(authority: u64, numbers: impl IntoIterator<Item = u32>) -> Option<String> {
    let mut text = match u32::try_from(authority) {
        Ok(small) => format!("S-1-{small}"),
        Err(_) if authority < 1 << 48 => format!("S-1-0x{authority:012X}"),
        Err(_) => return None,
    };
    for number in numbers {
        write!(text, "-{number}").ok()?;
    }
    Some(text)
}

/// The key that an entry's 16-byte id from the server gives: what the mapping would read from
/// the key attribute, for answers that name an entry by the id alone (RFC 4533 section 2.1,
/// deleted entries of Active Directory).
///
/// `entryUUID` is read in network order (RFC 4530 section 2.1), `objectGUID` in Microsoft's, and
/// `nsUniqueId` written as 389 Directory Server does: four groups of eight hexadecimal digits.
/// `None` for any other attribute, whose key the id does not tell.
pub fn key_of_id(attribute: &str, id: [u8; 16]) -> Option<ExternalId> {
    let text = match attribute.to_ascii_lowercase().as_str() {
        "entryuuid" => Uuid::from_bytes(id).to_string(),
        "objectguid" => Uuid::from_bytes_le(id).to_string(),
        "nsuniqueid" => {
            let id = u128::from_be_bytes(id);
            let group = |shift: u32| (id >> shift) & 0xffff_ffff;
            let [a, b, c, d] = [96, 64, 32, 0].map(group);
            format!("{a:08x}-{b:08x}-{c:08x}-{d:08x}")
        }
        _ => return None,
    };
    Some(ExternalId::new(text))
}

/// The octets that the key attribute has of a key, to search for it: what the mapping would read
/// as this key.
pub fn octets_of_key(attribute: &str, key: &ExternalId) -> Vec<u8> {
    let is_guid = GUIDS.contains(&attribute.to_ascii_lowercase().as_str());
    match Uuid::parse_str(key.as_str()) {
        Ok(guid) if is_guid => guid.to_bytes_le().to_vec(),
        _ => key.as_str().as_bytes().to_vec(),
    }
}
