//! How a `[[group]]` is checked.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::config::spanned::Spanned;
use regex::Regex;

use super::written::GroupFile;
use super::{Checked, Reader, unknown};
use crate::config::{
    GroupAdoption, GroupRule, Preset, Search, Source, SourceKind, is_attribute_name,
};
use crate::model::{Filter, GroupKind, Scope, SourceName};

impl Reader<'_> {
    /// A rule over one of these sources. `presets` has the name of each one's preset.
    pub(super) fn group(
        &self,
        spanned: Spanned<GroupFile>,
        sources: &[Source],
        presets: &BTreeMap<SourceName, String>,
    ) -> Checked<GroupRule> {
        let span = spanned.span();
        let file = spanned.into_inner();
        let source = self.source_of(&span, file.source.as_ref(), sources)?;
        let (filter_span, filter_text) = match &file.filter {
            Some(filter) => (filter.span(), self.filter(filter)?),
            None => {
                let preset = presets
                    .get(&source.name)
                    .and_then(|name| Preset::text(name));
                let preset = preset.map(|text| self.check(span.clone(), toml::from_str(text)));
                let preset: Option<Preset> = preset.transpose()?;
                let filter = preset.map_or_else(every_kind, |preset| preset.group_filter);
                (span.clone(), filter)
            }
        };
        let filter = self.check(filter_span.clone(), Filter::parse(&filter_text))?;
        if matches!(source.kind, SourceKind::Ldif(_)) && !filter.is_local() {
            return self.refuse(
                filter_span,
                "the filter has a matching rule that only a server can apply, and an LDIF file has none",
            );
        }
        let pattern = self.pattern(file.pattern.as_ref())?;
        let name = match file.name {
            None => "$0".to_owned(),
            Some(name) => self.name_template(&name, &pattern)?,
        };
        let attribute = |given: Option<Spanned<String>>, default: &str| match given {
            None => Ok(default.to_owned()),
            Some(given) if is_attribute_name(given.get_ref()) => Ok(given.into_inner()),
            Some(given) => self.refuse(
                given.span(),
                format!("`{}` is not an LDAP attribute name", given.get_ref()),
            ),
        };
        Ok(GroupRule {
            source: source.name.clone(),
            search: Search {
                bases: self.bases(&file.base)?,
                scope: file.scope.unwrap_or(Scope::Subtree),
                filter_text,
                filter,
                members_of: Vec::new(),
                exclude_bases: Vec::new(),
                exclude_members_of: Vec::new(),
                include: None,
                exclude: None,
            },
            key: attribute(file.key, &source.key)?,
            name_attribute: attribute(file.name_attribute, "cn")?,
            pattern,
            name,
            nested: file.nested.unwrap_or(true),
            on_leave: file.on_leave.unwrap_or_default(),
            adopt: match file.adopt {
                None => GroupAdoption::ByKey,
                Some(true) => GroupAdoption::ByName,
                Some(false) => GroupAdoption::Never,
            },
            exact: file.exact.unwrap_or(false),
            span,
        })
    }

    fn source_of<'s>(
        &self,
        span: &Range<usize>,
        name: Option<&Spanned<String>>,
        sources: &'s [Source],
    ) -> Checked<&'s Source> {
        let known: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        match (name, sources) {
            (Some(name), _) => {
                let named = |source: &&Source| source.name.as_str() == name.get_ref();
                match sources.iter().find(named) {
                    Some(source) => Ok(source),
                    None => self.refuse(name.span(), unknown("source", name.get_ref(), &known)),
                }
            }
            (None, [source]) => Ok(source),
            (None, _) => self.refuse(
                span.clone(),
                format!(
                    "with several sources each [[group]] needs a `source` (known here: {})",
                    known.join(", ")
                ),
            ),
        }
    }

    /// The pattern, which has to match a name as a whole.
    fn pattern(&self, text: Option<&Spanned<String>>) -> Checked<Regex> {
        // A name may have any characters, also line ends.
        let Some(text) = text else {
            return self.check(0..0, Regex::new("^(?s:.*)$"));
        };
        // By itself first, so that a fault is told with what was written.
        let own = Regex::new(text.get_ref()).map_err(|error| {
            // After the expression, which is shown in any case, with a mark.
            let error = error.to_string();
            let why = error.rsplit("error: ").next().unwrap_or_default();
            format!("`{}` is no regular expression: {why}", text.get_ref())
        });
        self.check(text.span(), own)?;
        self.check(
            text.span(),
            Regex::new(&format!("^(?:{})$", text.get_ref())),
        )
    }

    /// The template of the name. What it refers to must be there: a misspelt `$team` would
    /// otherwise be nothing.
    fn name_template(&self, text: &Spanned<String>, pattern: &Regex) -> Checked<String> {
        for reference in references(text.get_ref()) {
            let is_there = match reference.parse::<usize>() {
                Ok(number) => number < pattern.captures_len(),
                Err(_) => pattern
                    .capture_names()
                    .flatten()
                    .any(|name| name == reference),
            };
            if !is_there {
                return self.refuse(
                    text.span(),
                    format!(
                        "the name refers to `{reference}`, and `match` captures nothing of that name; write ${{1}} for the first pair of parentheses, ${{team}} for (?<team>…), $$ for a dollar sign"
                    ),
                );
            }
        }
        Ok(text.get_ref().clone())
    }
}

/// A filter for every kind of group that can be read.
fn every_kind() -> String {
    let classes = GroupKind::ALL.into_iter().flat_map(GroupKind::classes);
    let tests: String = classes
        .map(|class| format!("(objectClass={class})"))
        .collect();
    format!("(|{tests})")
}

/// What a template refers to, as the `regex` crate reads it.
fn references(template: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
        } else if let Some(braced) = rest.strip_prefix('{') {
            let end = braced.find('}').unwrap_or(braced.len());
            found.push(&braced[..end]);
            rest = &braced[end..];
        } else {
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            if end > 0 {
                found.push(&rest[..end]);
            }
            rest = &rest[end..];
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_the_crate_reads_them() {
        for (template, expected) in [
            ("plain", &[][..]),
            ("a-$1-$team", &["1", "team"]),
            ("${team}s, $1_x", &["team", "1_x"]),
            ("$$1 costs $", &[]),
            ("$$$1", &["1"]),
            ("${open", &["open"]),
            ("${}", &[""]),
        ] {
            assert_eq!(references(template), expected, "{template}");
        }
    }
}
