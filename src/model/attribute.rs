//! The attributes of an account that dirsyncd manages.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One managed attribute of an account: the ones of the organization's published SCIM schemas
/// (core User and the enterprise extension), under the names that the configuration, the plan
/// and the reports use; and the employee number, which is [local](Attribute::is_local).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Attribute {
    /// `userName`: unique in the provisioning directory, usually the e-mail address.
    UserName,
    /// The one primary work address in `emails`; its domain must be verified.
    Email,
    /// `displayName`
    DisplayName,
    /// `name.formatted`
    FormattedName,
    /// `name.givenName`
    GivenName,
    /// `name.middleName`
    MiddleName,
    /// `name.familyName`
    FamilyName,
    /// `name.honorificPrefix`
    HonorificPrefix,
    /// `name.honorificSuffix`
    HonorificSuffix,
    /// `nickName`
    NickName,
    /// `title`
    Title,
    /// `preferredLanguage`
    PreferredLanguage,
    /// `timezone`
    Timezone,
    /// The work number in `phoneNumbers`
    PhoneNumber,
    /// `organization` of the enterprise extension
    Organization,
    /// `department` of the enterprise extension
    Department,
    /// The number that the employer knows the person by. It stands in the snapshot alone, to
    /// know a person again whose entry was made anew.
    EmployeeNumber,
}

impl Attribute {
    /// Every attribute, in the order in which reports list them.
    pub const ALL: [Attribute; 17] = [
        Attribute::UserName,
        Attribute::Email,
        Attribute::DisplayName,
        Attribute::FormattedName,
        Attribute::GivenName,
        Attribute::MiddleName,
        Attribute::FamilyName,
        Attribute::HonorificPrefix,
        Attribute::HonorificSuffix,
        Attribute::NickName,
        Attribute::Title,
        Attribute::PreferredLanguage,
        Attribute::Timezone,
        Attribute::PhoneNumber,
        Attribute::Organization,
        Attribute::Department,
        Attribute::EmployeeNumber,
    ];

    /// The name in the configuration and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Attribute::UserName => "userName",
            Attribute::Email => "email",
            Attribute::DisplayName => "displayName",
            Attribute::FormattedName => "formattedName",
            Attribute::GivenName => "givenName",
            Attribute::MiddleName => "middleName",
            Attribute::FamilyName => "familyName",
            Attribute::HonorificPrefix => "honorificPrefix",
            Attribute::HonorificSuffix => "honorificSuffix",
            Attribute::NickName => "nickName",
            Attribute::Title => "title",
            Attribute::PreferredLanguage => "preferredLanguage",
            Attribute::Timezone => "timezone",
            Attribute::PhoneNumber => "phoneNumber",
            Attribute::Organization => "organization",
            Attribute::Department => "department",
            Attribute::EmployeeNumber => "employeeNumber",
        }
    }

    /// Whether its value is for the snapshot alone: it is never sent to the organization, which
    /// has no such attribute.
    pub fn is_local(self) -> bool {
        self == Attribute::EmployeeNumber
    }

    /// Whether an account cannot exist without it (contract section 7: `userName` and one
    /// primary e-mail address are required).
    pub fn is_required(self) -> bool {
        matches!(self, Attribute::UserName | Attribute::Email)
    }

    /// Whether its value must belong to one account only, compared case-folded.
    pub fn is_unique(self) -> bool {
        self.is_required()
    }

    /// Whether people are recognized by it: the unique ones, and the employee number.
    pub fn identifies(self) -> bool {
        self.is_unique() || self == Attribute::EmployeeNumber
    }

    /// The longest value that the API takes, in characters. The name of an account is limited
    /// by the user-management API's `name` (100); for the others 255 is the common limit.
    pub fn max_chars(self) -> usize {
        match self {
            Attribute::DisplayName => 100,
            Attribute::NickName => 30,
            _ => 255,
        }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// No managed attribute has this name.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not an attribute of an account")]
pub struct UnknownAttribute(String);

impl FromStr for Attribute {
    type Err = UnknownAttribute;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Attribute::ALL
            .into_iter()
            .find(|attribute| attribute.name() == text)
            .ok_or_else(|| UnknownAttribute(text.to_owned()))
    }
}

/// The values of an account's managed attributes. An attribute without a value is not there;
/// an empty text is no value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile(
    /// Sorted by attribute. A million accounts pass through here, and this is one piece of
    /// memory besides the texts.
    Vec<(Attribute, Box<str>)>,
);

impl Profile {
    /// No values, and room for so many.
    pub fn with_capacity(values: usize) -> Self {
        Profile(Vec::with_capacity(values))
    }

    fn position(&self, attribute: Attribute) -> Result<usize, usize> {
        self.0.binary_search_by_key(&attribute, |(other, _)| *other)
    }

    /// The value of an attribute.
    pub fn get(&self, attribute: Attribute) -> Option<&str> {
        let at = self.position(attribute).ok()?;
        Some(&self.0[at].1)
    }

    /// Sets a value; an empty one takes the attribute away.
    pub fn set(&mut self, attribute: Attribute, value: impl Into<Box<str>>) {
        let value = value.into();
        match self.position(attribute) {
            Ok(at) if value.is_empty() => {
                self.0.remove(at);
            }
            Ok(at) => self.0[at].1 = value,
            Err(_) if value.is_empty() => {}
            Err(at) => self.0.insert(at, (attribute, value)),
        }
    }

    /// All values in the order of [`Attribute::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Attribute, &str)> {
        self.0
            .iter()
            .map(|(attribute, value)| (*attribute, &**value))
    }

    /// Takes over the [local](Attribute::is_local) values of another profile, in place of its
    /// own.
    pub fn set_local(&mut self, other: &Profile) {
        for attribute in Attribute::ALL.into_iter().filter(|one| one.is_local()) {
            self.set(attribute, other.get(attribute).unwrap_or_default());
        }
    }

    /// Keeps only the attributes that the test lets through.
    pub fn retain(&mut self, mut keep: impl FnMut(Attribute) -> bool) {
        self.0.retain(|(attribute, _)| keep(*attribute));
    }

    /// The name that a person would know the account by: display name, else e-mail, else
    /// user name.
    pub fn label(&self) -> &str {
        [
            Attribute::DisplayName,
            Attribute::Email,
            Attribute::UserName,
        ]
        .into_iter()
        .find_map(|attribute| self.get(attribute))
        .unwrap_or("(no name)")
    }
}

impl FromIterator<(Attribute, String)> for Profile {
    fn from_iter<T: IntoIterator<Item = (Attribute, String)>>(values: T) -> Self {
        let mut profile = Profile::default();
        for (attribute, value) in values {
            profile.set(attribute, value);
        }
        profile
    }
}

/// As a map of names to texts.
impl Serialize for Profile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Profile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = BTreeMap::<Attribute, String>::deserialize(deserializer)?;
        Ok(values.into_iter().collect())
    }
}

/// The values that these profiles have of the attributes that the test lets through, case-folded.
pub fn folded_values<'a>(
    profiles: impl IntoIterator<Item = &'a Profile>,
    is_wanted: impl Fn(Attribute) -> bool,
) -> BTreeMap<Attribute, BTreeSet<String>> {
    let mut values: BTreeMap<Attribute, BTreeSet<String>> = BTreeMap::new();
    for (attribute, value) in profiles.into_iter().flat_map(Profile::iter) {
        if is_wanted(attribute) {
            values.entry(attribute).or_default().insert(fold(value));
        }
    }
    values
}

/// Folds a value for comparison: compatible forms of a character are one, and so are upper and
/// lower case (NFKC of the full case folding, Unicode section 3.13 D146). The other side compares
/// `userName` and e-mail without case (`caseExact` false in the published schema).
pub fn fold(text: &str) -> String {
    use unicode_normalization::UnicodeNormalization;
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let folded: String = caseless::default_case_fold_str(&text.nfkc().collect::<String>());
    folded.nfkc().collect()
}
