//! Why a server was not reached or is not trusted, in words: a certificate is told by what is wrong with it.

use std::error::Error;
use std::io;

use rustls::CertificateError as Bad;

/// What is at the bottom of an error, which is one of the system, of TLS or of HTTP.
pub fn last_cause(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    loop {
        if let Some(tls) = tls(last) {
            return untrusted(tls);
        }
        match last.source() {
            Some(next) => last = next,
            None => return last.to_string(),
        }
    }
}

/// The error of TLS that this is, or that it carries.
pub fn tls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    error.downcast_ref().or_else(|| {
        let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
        inner.downcast_ref()
    })
}

/// Why a certificate is not trusted; of another error of TLS its own words.
pub fn untrusted(error: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(bad) = error else {
        return error.to_string();
    };
    match bad {
        // Another CA of the same name signs differently.
        Bad::UnknownIssuer | Bad::BadSignature => "no CA that is trusted has signed it".to_owned(),
        Bad::Expired | Bad::ExpiredContext { .. } => "it has expired".to_owned(),
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => "it is not valid yet".to_owned(),
        Bad::NotValidForNameContext {
            expected,
            presented,
        } => {
            // Each as `DnsName("ldap.example.org")`.
            let names = presented.iter().map(|name| {
                let (_, name) = name.split_once('(').unwrap_or(("", name));
                name.trim_matches(['"', ')'])
            });
            let names: Vec<&str> = names.collect();
            let names = match names.is_empty() {
                true => "no name".to_owned(),
                false => names.join(", "),
            };
            format!(
                "it is made out to {names}, and not to {}",
                expected.to_str()
            )
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_told_by_what_is_wrong_with_it() {
        let of = |bad| io::Error::other(rustls::Error::InvalidCertificate(bad));
        assert_eq!(last_cause(&of(Bad::Expired)), "it has expired");
        let named = |presented: &[&str]| Bad::NotValidForNameContext {
            expected: rustls::pki_types::ServerName::try_from("a.example.org").map_or_else(
                |_| std::net::Ipv4Addr::LOCALHOST.into(),
                |name| name.to_owned(),
            ),
            presented: presented.iter().map(|name| (*name).to_owned()).collect(),
        };
        let two = named(&["DnsName(\"b.example.org\")", "IpAddress(127.0.0.1)"]);
        assert_eq!(
            last_cause(&of(two)),
            "it is made out to b.example.org, 127.0.0.1, and not to a.example.org"
        );
        assert_eq!(
            last_cause(&of(named(&[]))),
            "it is made out to no name, and not to a.example.org"
        );
        assert_eq!(last_cause(&io::Error::other("no route")), "no route");
    }
}
