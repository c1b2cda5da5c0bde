//! E-mail addresses and the domains that the organization has verified.

use super::SimulatorError;

/// One verified domain of the organization.
#[derive(Debug, Clone)]
pub(super) struct Domain {
    pub(super) id: String,
    pub(super) name: String,
}

/// The organization's verified domains.
#[derive(Debug, Clone, Default)]
pub(super) struct Domains(pub(super) Vec<Domain>);

impl Domains {
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|domain| domain.name.as_str())
    }

    /// Whether addresses of this (folded) domain may be managed.
    pub(super) fn verified(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }
}

/// The form under which names and addresses are compared: userName and e-mail are case-insensitive (RFC 7643
/// section 4.1.1, caseExact false).
pub(super) fn fold(text: &str) -> String {
    text.to_lowercase()
}

/// The folded domain of an address, or nothing when it is no address. Deliberately narrower than RFC 5321: no quoted
/// local parts and no address literals, which no Atlassian account has.
pub(super) fn domain_of(email: &str) -> Option<String> {
    let (local, domain) = email.rsplit_once('@')?;
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"@\"(),:;<>[\\]".contains(c);
    let dotted = !local.starts_with('.') && !local.ends_with('.') && !local.contains("..");
    let fits = !local.is_empty() && local.len() <= 64 && email.len() <= 254;
    (fits && dotted && local.chars().all(plain)).then(|| domain_name(domain))?
}

/// A domain name in folded form, or nothing when it is none.
fn domain_name(name: &str) -> Option<String> {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
    };
    (name.contains('.') && name.split('.').all(label)).then(|| fold(name))
}

/// The given domain names, folded, without repetition and in order.
pub(super) fn domain_names(given: &[String]) -> Result<Vec<String>, SimulatorError> {
    let mut names = Vec::with_capacity(given.len());
    for domain in given {
        let name = domain_name(domain.trim()).ok_or_else(|| SimulatorError::Domain {
            domain: domain.clone(),
        })?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}
