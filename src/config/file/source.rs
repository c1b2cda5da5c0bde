//! How a `[[source]]` is checked.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use chrono::TimeDelta;
use toml::Spanned;

use super::written::{KindFile, OneOrMany, SourceFile};
use super::{Checked, Reader, unknown};
use crate::config::{
    Incremental, Ldap, MappingTarget, PlacedRule, Preset, Rule, Search, Source, SourceKind,
    WithoutMail,
};
use crate::model::{Attribute, Dn, Filter, Scope, SourceName};

impl Reader<'_> {
    pub(super) fn source(&self, spanned: Spanned<SourceFile>, several: bool) -> Checked<Source> {
        let span = spanned.span();
        let file = spanned.into_inner();
        let name = match &file.name {
            Some(name) if name.is_empty() => {
                return self.refuse(span, "the name of a source is empty");
            }
            Some(name) => name.clone(),
            None if several => {
                return self.refuse(span, "with several sources each needs a `name`");
            }
            None => "directory".to_owned(),
        };
        let preset = file
            .preset
            .as_ref()
            .map(|preset| self.preset(preset))
            .transpose()?;
        let (filter_span, filter_text) = match (&file.filter, &preset) {
            (Some(filter), _) => (filter.span(), filter.get_ref().clone()),
            (None, Some(preset)) => (span.clone(), preset.filter.clone()),
            (None, None) => {
                return self.refuse(span, "the source has no `filter`: give one, or a `preset`");
            }
        };
        let Some(key) = file
            .key
            .clone()
            .or_else(|| preset.as_ref().map(|p| p.key.clone()))
        else {
            return self.refuse(
                span,
                "the source has no `key`: give the attribute that never changes (entryUUID, objectGUID, nsUniqueId, ipaUniqueID), or a `preset`",
            );
        };
        let filter = self.check(filter_span.clone(), Filter::parse(&filter_text))?;
        if file.kind == KindFile::Ldif && !filter.is_local() {
            return self.refuse(
                filter_span,
                "the filter has a matching rule that only a server can apply, and an LDIF file has none",
            );
        }
        let search = Search {
            bases: self.bases(&file.base)?,
            members_of: match &file.members_of {
                None => Vec::new(),
                Some(groups) => self.bases(groups)?,
            },
            scope: file.scope.unwrap_or(Scope::Subtree),
            filter,
            filter_text,
        };
        let full_every = match &file.full_every {
            None => TimeDelta::days(1),
            Some(every) => self.time_delta(every)?,
        };
        let incremental = match file.incremental {
            None => Incremental::WhereDeparturesShow,
            Some(true) => Incremental::On,
            Some(false) => Incremental::Off,
        };
        let without_mail = file.without_mail.unwrap_or(WithoutMail::Refuse);
        let mapping = self.mapping(&span, preset, &file.mapping)?;
        let kind = self.source_kind(span, file)?;
        Ok(Source {
            name: SourceName::new(name),
            kind,
            search,
            key,
            incremental,
            full_every,
            without_mail,
            mapping,
        })
    }

    fn preset(&self, name: &Spanned<String>) -> Checked<Preset> {
        let known: Vec<&str> = Preset::ALL.iter().map(|(name, _)| *name).collect();
        let Some(text) = Preset::text(name.get_ref()) else {
            return self.refuse(name.span(), unknown("preset", name.get_ref(), &known));
        };
        self.check(name.span(), toml::from_str(text))
    }

    fn bases(&self, base: &Spanned<OneOrMany>) -> Checked<Vec<(String, Dn)>> {
        let texts = match base.get_ref() {
            OneOrMany::One(text) => std::slice::from_ref(text),
            OneOrMany::Many(texts) if texts.is_empty() => {
                return self.refuse(base.span(), "give at least one DN");
            }
            OneOrMany::Many(texts) => texts,
        };
        texts
            .iter()
            .map(|text| {
                let dn = self.check(
                    base.span(),
                    Dn::parse(text).map_err(|error| format!("`{text}` is no DN: {error}")),
                )?;
                Ok((text.clone(), dn))
            })
            .collect()
    }

    fn mapping(
        &self,
        source: &Range<usize>,
        preset: Option<Preset>,
        own: &BTreeMap<Spanned<String>, Spanned<Rule>>,
    ) -> Checked<BTreeMap<MappingTarget, PlacedRule>> {
        let target = |name: &str, span: Range<usize>| match MappingTarget::parse(name) {
            Some(target) => Ok(target),
            None => self.refuse(span, unknown("attribute", name, &MappingTarget::names())),
        };
        let mut mapping = BTreeMap::new();
        for (name, rule) in preset.into_iter().flat_map(|preset| preset.mapping) {
            mapping.insert(
                target(&name, source.clone())?,
                PlacedRule { rule, span: None },
            );
        }
        for (name, rule) in own {
            let placed = PlacedRule {
                rule: rule.get_ref().clone(),
                span: Some(rule.span()),
            };
            mapping.insert(target(name.get_ref(), name.span())?, placed);
        }
        mapping.retain(|_, placed| placed.rule != Rule::Unmapped);
        for attribute in Attribute::ALL
            .into_iter()
            .filter(|attribute| attribute.is_required())
        {
            if !mapping.contains_key(&MappingTarget::Attribute(attribute)) {
                return self.refuse(
                    source.clone(),
                    format!("the mapping has no `{attribute}`, which every account needs"),
                );
            }
        }
        Ok(mapping)
    }

    fn source_kind(&self, span: Range<usize>, file: SourceFile) -> Checked<SourceKind> {
        let SourceFile {
            kind,
            file,
            url,
            plaintext,
            ca_file,
            bind_dn,
            password,
            page_size,
            timeout,
            ignore_referrals,
            ..
        } = file;
        if kind == KindFile::Ldif {
            let stray = [
                url.map(|v| v.span()),
                plaintext.map(|v| v.span()),
                ca_file.map(|v| v.span()),
                bind_dn.map(|v| v.span()),
                password.map(|v| v.span()),
                page_size.map(|v| v.span()),
                timeout.map(|v| v.span()),
                ignore_referrals.map(|v| v.span()),
            ];
            if let Some(span) = stray.into_iter().flatten().next() {
                return self.refuse(span, "this key has no meaning for a source of kind `ldif`");
            }
            return match file {
                Some(path) => Ok(SourceKind::Ldif(self.resolve(path.into_inner()))),
                None => self.refuse(span, "a source of kind `ldif` needs `file`"),
            };
        }
        if let Some(file) = file {
            return self.refuse(file.span(), "`file` belongs to a source of kind = \"ldif\"");
        }
        let Some(url) = url else {
            return self.refuse(
                span,
                "the source has no `url`: write for example \"ldaps://ldap.example.org\"",
            );
        };
        let (url_span, url) = (url.span(), self.ldap_url(&url)?);
        let plaintext_span = plaintext.as_ref().map(Spanned::span);
        let plaintext = plaintext.is_some_and(Spanned::into_inner);
        if let (true, "ldaps", Some(span)) = (plaintext, url.scheme(), plaintext_span) {
            return self.refuse(
                span,
                "`plaintext` goes with ldap://, and this url is ldaps://",
            );
        }
        let bind = match (bind_dn, password) {
            (Some(dn), Some(password)) => Some((dn.into_inner(), self.secret(password)?)),
            (None, None) => None,
            // A bind with a DN and no password is an unauthenticated bind (RFC 4513 section
            // 5.1.2): it looks like success and sees what anonymous sees.
            (Some(dn), None) => return self.refuse(dn.span(), "`bind_dn` needs a `password`"),
            (None, Some(password)) => {
                return self.refuse(password.span(), "`password` needs a `bind_dn`");
            }
        };
        let page_size = match page_size {
            None => 1000,
            Some(size) if (1..=100_000).contains(size.get_ref()) => size.into_inner(),
            Some(size) => return self.refuse(size.span(), "a page is 1 to 100000 entries"),
        };
        if url.host_str().is_none_or(str::is_empty) {
            return self.refuse(url_span, "the url names no host");
        }
        Ok(SourceKind::Ldap(Ldap {
            url,
            plaintext,
            ca_file: ca_file.map(|path| self.resolve(path.into_inner())),
            bind,
            page_size,
            timeout: self.timeout(timeout, Duration::from_secs(30))?,
            ignore_referrals: ignore_referrals.is_some_and(Spanned::into_inner),
        }))
    }

    fn ldap_url(&self, text: &Spanned<String>) -> Checked<url::Url> {
        let url = self.check(
            text.span(),
            url::Url::parse(text.get_ref())
                .map_err(|error| format!("`{}` is no URL: {error}", text.get_ref())),
        )?;
        if !matches!(url.scheme(), "ldap" | "ldaps") {
            return self.refuse(
                text.span(),
                "write ldaps://HOST, or ldap://HOST for StartTLS",
            );
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || !url.username().is_empty() {
            return self.refuse(
                text.span(),
                "only ldaps://HOST[:PORT]: base, scope, filter and bind have keys of their own",
            );
        }
        Ok(url)
    }
}
