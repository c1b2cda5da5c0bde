//! The people that measurements of the planner and of reports are made with.

use dirsyncd::model::{
    Attribute, DesiredAccount, ExternalId, Lifecycle, ManagedAccount, Profile, ScimId, SourceName,
};

/// A person with as many values as most have.
pub(crate) fn person(at: usize, source: &SourceName) -> DesiredAccount {
    let mail = format!("zoe.mueller.{at:06}@example.org");
    let profile: Profile = [
        (Attribute::UserName, mail.clone()),
        (Attribute::Email, mail),
        (Attribute::DisplayName, format!("Müller-{at:06}, Zoë")),
        (Attribute::GivenName, "Zoë".to_owned()),
        (Attribute::FamilyName, format!("Müller-{at:06}")),
        (Attribute::Title, "Engineer".to_owned()),
        (Attribute::Department, format!("Department {}", at % 97)),
        (Attribute::PreferredLanguage, "de".to_owned()),
    ]
    .into_iter()
    .collect();
    DesiredAccount {
        key: ExternalId::new(format!("8f2a1c3e-0000-4000-8000-{at:012}")),
        source: source.clone(),
        dn: format!("uid=user{at:06},ou=people,dc=example,dc=org"),
        profile,
        active: true,
    }
}

/// The account of somebody, who is active.
pub(crate) fn account(person: DesiredAccount) -> ManagedAccount {
    ManagedAccount {
        scim_id: ScimId::new(format!("scim-{}", person.key)),
        key: person.key,
        source: person.source,
        dn: person.dn,
        account_id: None,
        profile: person.profile,
        lifecycle: Lifecycle::Active,
        absence: None,
    }
}
