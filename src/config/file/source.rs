//! How a `[[source]]` is checked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use crate::config::spanned::Spanned;
use chrono::TimeDelta;

use super::written::{KindFile, OneOrMany, SourceFile};
use super::{Checked, Reader, unknown};
use crate::config::{
    Bind, ClientCertificate, Discovery, Incremental, Ldap, MappingTarget, PlacedExpression,
    PlacedRule, Policy, Preset, ReferralHost, Rule, Search, Servers, Source, SourceKind,
    WithoutMail,
};
use crate::model::{Attribute, Dn, Filter, Scope, SourceName};

impl Reader<'_> {
    pub(super) fn source(
        &self,
        spanned: Spanned<SourceFile>,
        several: bool,
        policy: Policy,
    ) -> Checked<Source> {
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
            (Some(filter), _) => (filter.span(), self.filter(filter)?),
            (None, Some((preset, _))) => (span.clone(), preset.filter.clone()),
            (None, None) => {
                return self.refuse(span, "the source has no `filter`: give one, or a `preset`");
            }
        };
        let Some(key) = file
            .key
            .clone()
            .or_else(|| preset.as_ref().map(|(preset, _)| preset.key.clone()))
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
            members_of: self.names(&file.members_of)?,
            exclude_bases: self.names(&file.exclude_base)?,
            exclude_members_of: self.names(&file.exclude_members_of)?,
            include: self.expression(&file.include),
            exclude: self.expression(&file.exclude),
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
            policy,
        })
    }

    /// One filter of those that are given: a person is whom any of them finds.
    pub(super) fn filter(&self, list: &Spanned<OneOrMany>) -> Checked<String> {
        let texts = list.get_ref().texts();
        for text in texts {
            self.check(list.span(), Filter::parse(text))?;
        }
        match texts {
            [] => self.refuse(list.span(), "give at least one filter"),
            [text] => Ok(text.clone()),
            texts => Ok(format!("(|{})", texts.concat())),
        }
    }

    /// The preset, and its text.
    fn preset(&self, name: &Spanned<String>) -> Checked<(Preset, &'static str)> {
        let known: Vec<&str> = Preset::ALL.iter().map(|(name, _)| *name).collect();
        let Some(text) = Preset::text(name.get_ref()) else {
            return self.refuse(name.span(), unknown("preset", name.get_ref(), &known));
        };
        Ok((self.check(name.span(), toml::from_str(text))?, text))
    }

    fn expression(&self, written: &Option<Spanned<String>>) -> Option<PlacedExpression> {
        let written = written.clone()?;
        Some(PlacedExpression::located(written, self.text))
    }

    /// DNs that need not be given.
    fn names(&self, list: &Option<Spanned<OneOrMany>>) -> Checked<Vec<(String, Dn)>> {
        let list = list.as_ref().map(|list| self.bases(list));
        Ok(list.transpose()?.unwrap_or_default())
    }

    pub(super) fn bases(&self, base: &Spanned<OneOrMany>) -> Checked<Vec<(String, Dn)>> {
        let texts = base.get_ref().texts();
        if texts.is_empty() {
            return self.refuse(base.span(), "give at least one DN");
        }
        texts
            .iter()
            .map(|text| {
                let dn = self.check(base.span(), Dn::parse(text))?;
                Ok((text.clone(), dn))
            })
            .collect()
    }

    fn mapping(
        &self,
        source: &Range<usize>,
        preset: Option<(Preset, &'static str)>,
        own: &BTreeMap<Spanned<String>, Spanned<Rule>>,
    ) -> Checked<BTreeMap<MappingTarget, PlacedRule>> {
        let target = |name: &str, span: Range<usize>| match MappingTarget::parse(name) {
            Some(target) => Ok(target),
            None => self.refuse(span, unknown("attribute", name, &MappingTarget::names())),
        };
        let mut mapping = BTreeMap::new();
        for (name, rule) in preset.iter().flat_map(|(preset, _)| &preset.mapping) {
            let text = preset.as_ref().map_or("", |(_, text)| *text);
            let placed = PlacedRule::of_preset(rule, text);
            mapping.insert(target(name, source.clone())?, placed);
        }
        for (name, rule) in own {
            let placed = PlacedRule::of_file(rule, self.text);
            mapping.insert(target(name.get_ref(), name.span())?, placed);
        }
        let mapping: BTreeMap<MappingTarget, PlacedRule> = mapping
            .into_iter()
            .filter_map(|(target, placed)| Some((target, placed?)))
            .collect();
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
        for (target, placed) in &mapping {
            let what = match (target, placed.rule.required) {
                (MappingTarget::Active, Some(_)) => {
                    "`required` does not go with `active`, which always needs true or false"
                        .to_owned()
                }
                (MappingTarget::Attribute(attribute), Some(false)) if attribute.is_required() => {
                    format!("every account needs `{attribute}`: it cannot be optional")
                }
                _ => continue,
            };
            return self.refuse(placed.span.clone().unwrap_or_else(|| source.clone()), what);
        }
        Ok(mapping)
    }

    fn source_kind(&self, span: Range<usize>, file: SourceFile) -> Checked<SourceKind> {
        if file.kind == KindFile::Ldif {
            return self.ldif(span, file);
        }
        if let Some(file) = file.file {
            return self.refuse(file.span(), "`file` belongs to a source of kind = \"ldif\"");
        }
        Ok(SourceKind::Ldap(Box::new(self.ldap(span, file)?)))
    }

    fn ldif(&self, span: Range<usize>, file: SourceFile) -> Checked<SourceKind> {
        fn place<T>(value: &Option<Spanned<T>>) -> Option<Range<usize>> {
            value.as_ref().map(Spanned::span)
        }
        let stray = [
            place(&file.url),
            place(&file.discover),
            place(&file.dns_server),
            place(&file.plaintext),
            place(&file.ca_file),
            place(&file.client_certificate),
            place(&file.client_key),
            place(&file.bind),
            place(&file.bind_dn),
            place(&file.password),
            place(&file.page_size),
            place(&file.connect_timeout),
            place(&file.timeout),
            place(&file.follow_referrals),
            place(&file.ignore_referrals),
        ];
        if let Some(span) = stray.into_iter().flatten().next() {
            return self.refuse(
                span,
                "this key has no meaning for a source of kind `ldif`: take it out",
            );
        }
        match file.file {
            Some(path) => Ok(SourceKind::Ldif(self.resolve(path.into_inner()))),
            None => self.refuse(span, "a source of kind `ldif` needs `file`"),
        }
    }

    fn ldap(&self, span: Range<usize>, file: SourceFile) -> Checked<Ldap> {
        let servers = self.servers(span, &file)?;
        let schemes = servers.schemes();
        if let Some(plaintext) = &file.plaintext
            && *plaintext.get_ref()
            && let Some(other) = schemes.iter().find(|scheme| **scheme != "ldap")
        {
            return self.refuse(
                plaintext.span(),
                format!("`plaintext` goes with ldap://, and there is a server with {other}://"),
            );
        }
        let plaintext = file.plaintext.is_some_and(Spanned::into_inner);
        if let (Servers::Listed(urls), false) = (&servers, plaintext) {
            let is_ipv6 = |url: &url::Url| {
                matches!(url.host(), Some(url::Host::Ipv6(_)))
                    || url.host_str().is_some_and(|host| host.starts_with('['))
            };
            if let (Some(bad), Some(list)) = (urls.iter().find(|url| is_ipv6(url)), &file.url) {
                return self.refuse(
                    list.span(),
                    format!("the certificate of `{bad}` cannot be checked against an IPv6 address: write the host name"),
                );
            }
        }
        // Whether some server is reached by TLS, so that it can ask for a client certificate.
        let has_tls = !plaintext && schemes.iter().any(|scheme| *scheme != "ldapi");
        let client_certificate = match (file.client_certificate, file.client_key) {
            (None, None) => None,
            (Some(chain), Some(_)) if !has_tls => {
                return self.refuse(
                    chain.span(),
                    "a client certificate is shown in TLS only: by ldaps://, or by ldap:// without `plaintext`",
                );
            }
            (Some(chain), Some(key)) => Some(ClientCertificate {
                chain: self.resolve(chain.into_inner()),
                key: self.secret(key)?,
            }),
            (Some(chain), None) => {
                return self.refuse(chain.span(), "`client_certificate` needs a `client_key`");
            }
            (None, Some(key)) => {
                return self.refuse(key.span(), "`client_key` needs a `client_certificate`");
            }
        };
        let bind = match (file.bind, file.bind_dn, file.password) {
            (Some(_), Some(dn), _) => {
                return self.refuse(dn.span(), "`bind_dn` does not go with bind = \"external\": the server knows who binds without it");
            }
            (Some(_), None, Some(password)) => {
                return self.refuse(
                    password.span(),
                    "`password` does not go with bind = \"external\"",
                );
            }
            (Some(bind), None, None) => {
                let is_known = |scheme: &&str| *scheme == "ldapi" || client_certificate.is_some();
                if !schemes.iter().all(is_known) {
                    return self.refuse(
                        bind.span(),
                        "bind = \"external\" needs an ldapi:// url, or `client_certificate` and `client_key`",
                    );
                }
                if let (None, Some(hosts)) = (&client_certificate, &file.follow_referrals) {
                    return self.refuse(
                        hosts.span(),
                        "other servers do not know the Unix user: `follow_referrals` with bind = \"external\" needs `client_certificate` and `client_key`",
                    );
                }
                Bind::External
            }
            (None, Some(dn), Some(password)) => Bind::Simple {
                dn: dn.into_inner(),
                password: self.secret(password)?,
            },
            (None, None, None) => Bind::Anonymous,
            // A bind with a DN and no password is an unauthenticated bind (RFC 4513 section
            // 5.1.2): it looks like success and sees what anonymous sees.
            (None, Some(dn), None) => {
                return self.refuse(dn.span(), "`bind_dn` needs a `password`");
            }
            (None, None, Some(password)) => {
                return self.refuse(password.span(), "`password` needs a `bind_dn`");
            }
        };
        let page_size = match file.page_size {
            None => 1000,
            Some(size) if (1..=100_000).contains(size.get_ref()) => size.into_inner(),
            Some(size) => return self.refuse(size.span(), "a page is 1 to 100000 entries"),
        };
        Ok(Ldap {
            servers,
            plaintext,
            ca_file: file.ca_file.map(|path| self.resolve(path.into_inner())),
            client_certificate,
            bind,
            page_size,
            connect_timeout: self.timeout(file.connect_timeout, Duration::from_secs(10))?,
            timeout: self.timeout(file.timeout, Duration::from_secs(30))?,
            follow_referrals: self.referral_hosts(file.follow_referrals)?,
            ignore_referrals: file.ignore_referrals.is_some_and(Spanned::into_inner),
        })
    }

    fn referral_hosts(&self, list: Option<Spanned<Vec<String>>>) -> Checked<Vec<ReferralHost>> {
        let Some(list) = list else {
            return Ok(Vec::new());
        };
        let hosts = list.get_ref().iter().map(|text| {
            let url = url::Url::parse(&format!("ldap://{text}")).ok();
            let host = url.as_ref().and_then(url::Url::host_str);
            let port = url.as_ref().and_then(url::Url::port);
            let host = host.unwrap_or_default().to_lowercase();
            // Whatever else stands there does not come out again.
            let again = match port {
                Some(port) => format!("{host}:{port}"),
                None => host.clone(),
            };
            if host.is_empty() || again != text.to_lowercase() {
                let words = format!("`{text}` is neither HOST nor HOST:PORT");
                return self.refuse(list.span(), words);
            }
            Ok(ReferralHost { host, port })
        });
        hosts.collect()
    }

    fn servers(&self, span: Range<usize>, file: &SourceFile) -> Checked<Servers> {
        match (&file.url, &file.discover, &file.dns_server) {
            (Some(_), Some(record), _) => {
                self.refuse(record.span(), "give either `url` or `discover`")
            }
            (_, None, Some(server)) => {
                self.refuse(server.span(), "`dns_server` belongs to `discover`")
            }
            (Some(url), None, None) => Ok(Servers::Listed(self.ldap_urls(url)?)),
            (None, Some(record), server) => {
                Ok(Servers::Discovered(self.discovery(record, server)?))
            }
            (None, None, None) => self.refuse(
                span,
                "the source has no `url`: write for example \"ldaps://ldap.example.org\", or let DNS name the servers by `discover`",
            ),
        }
    }

    fn discovery(
        &self,
        record: &Spanned<String>,
        server: &Option<Spanned<String>>,
    ) -> Checked<Discovery> {
        let name = record.get_ref().to_ascii_lowercase();
        let domain = Discovery::SERVICES
            .iter()
            .find_map(|(labels, _)| name.strip_prefix(labels));
        if domain.is_none_or(|domain| domain.is_empty() || domain.contains(['/', ':', ' '])) {
            return self.refuse(
                record.span(),
                "write the name of the SRV records: _ldaps._tcp.DOMAIN, or _ldap._tcp.DOMAIN for StartTLS",
            );
        }
        let dns_server = match server {
            None => None,
            Some(text) => {
                let address = text.get_ref();
                let address = address
                    .parse()
                    .or_else(|_| address.parse().map(|ip| SocketAddr::new(ip, 53)))
                    .map_err(|_| format!("`{address}` is neither ADDRESS nor ADDRESS:PORT"));
                Some(self.check(text.span(), address)?)
            }
        };
        Ok(Discovery {
            record: record.get_ref().clone(),
            dns_server,
        })
    }

    fn ldap_urls(&self, list: &Spanned<OneOrMany>) -> Checked<Vec<url::Url>> {
        let texts = list.get_ref().texts();
        if texts.is_empty() {
            return self.refuse(list.span(), "give at least one url");
        }
        let mut urls = Vec::new();
        for text in texts {
            let url = self.check(list.span(), ldap_url(text))?;
            if urls.contains(&url) {
                return self.refuse(list.span(), format!("`{text}` is there twice"));
            }
            urls.push(url);
        }
        Ok(urls)
    }
}

fn ldap_url(text: &str) -> Result<url::Url, String> {
    let url = super::url(text)?;
    let is_more = !matches!(url.path(), "" | "/")
        || url.query().is_some()
        || url.fragment().is_some()
        || !url.username().is_empty()
        || url.password().is_some();
    if url.scheme() == "ldapi" {
        // The path of the socket stands where the host name would.
        let is_path = url
            .host_str()
            .is_some_and(|host| host.to_ascii_lowercase().starts_with("%2f"));
        if !is_path || url.port().is_some() || is_more {
            return Err(
                "write ldapi:// and the path of the socket with %2F for each slash, such as ldapi://%2Frun%2Fldapi".to_owned(),
            );
        }
        return Ok(url);
    }
    if !matches!(url.scheme(), "ldap" | "ldaps") {
        return Err(
            "write ldaps://HOST, ldap://HOST for StartTLS, or ldapi://%2FPATH for a socket of this machine".to_owned(),
        );
    }
    if is_more {
        return Err(
            "only ldaps://HOST[:PORT]: base, scope, filter and bind have keys of their own"
                .to_owned(),
        );
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(format!("`{text}` names no host"));
    }
    Ok(url)
}
