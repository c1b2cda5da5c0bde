//! Messages by mail.

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};

use super::message::{Place, Rendered, one_line};
use super::{CannotSend, Trouble};
use crate::config::{Channel, Email, MailTls, expect_guarded};
use crate::model::Timestamp;

/// Sends a message by mail.
pub(super) async fn mail(
    channel: &Channel,
    email: &Email,
    password: Option<&SecretString>,
    (id, rendered): (&str, &Rendered),
    place: &Place,
    now: Timestamp,
) -> Result<String, CannotSend> {
    let letter = letter(email, id, rendered, now)
        .map_err(|error| CannotSend::for_good(Trouble::Setup(error.to_string())))?;
    let mut server = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&email.host)
        .port(email.port)
        .tls(tls(channel, email)?)
        .timeout(Some(channel.timeout))
        .hello_name(ClientId::Domain(place.host.clone()));
    if let (Some((user, _)), Some(password)) = (&email.login, password) {
        let password = password.expose_secret().to_owned();
        server = server.credentials(Credentials::new(user.clone(), password));
    }
    // Of the whole conversation; the one above is of each answer.
    let sending = tokio::time::timeout(channel.timeout, server.build().send(letter)).await;
    let Ok(sent) = sending else {
        return Err(CannotSend::later(Trouble::NoAnswer(
            "it took too long".to_owned(),
        )));
    };
    match sent {
        Ok(answer) => Ok(answer.code().to_string()),
        Err(error) => {
            let shown = password.map_or_else(
                || error.to_string(),
                |password| error.to_string().replace(password.expose_secret(), "…"),
            );
            let said: String = one_line(&shown).chars().take(200).collect();
            // A login that is refused may be let again, and a full mailbox be emptied.
            Err(match error.status() {
                Some(status) => CannotSend::later(Trouble::Refused {
                    status: status.to_string(),
                    said,
                }),
                None => CannotSend::later(Trouble::NoAnswer(causes(&error))),
            })
        }
    }
}

/// The letter. An id that was sent before is that of the same letter, so that who gets it twice can tell.
fn letter(
    email: &Email,
    id: &str,
    rendered: &Rendered,
    now: Timestamp,
) -> Result<Message, lettre::error::Error> {
    let auto = HeaderName::new_from_ascii_str("Auto-Submitted");
    let mut letter = Message::builder()
        .from(email.from.clone())
        .subject(&rendered.subject)
        .date(now.into())
        .message_id(Some(format!("<{id}@{}>", email.from.email.domain())))
        // RFC 3834: nobody's absence is told to this.
        .raw_header(HeaderValue::new(auto, "auto-generated".to_owned()))
        .header(ContentType::TEXT_PLAIN);
    for to in &email.to {
        letter = letter.to(to.clone());
    }
    letter.body(rendered.text.clone())
}

fn tls(channel: &Channel, email: &Email) -> Result<Tls, CannotSend> {
    if email.tls == MailTls::None {
        return Ok(Tls::None);
    }
    let setup = |why: String| CannotSend::later(Trouble::Setup(why));
    let mut parameters = TlsParameters::builder(email.host.clone());
    if let Some(path) = &channel.ca_file {
        let file = |why: String| setup(format!("the CA file {} {why}", path.display()));
        let metadata =
            std::fs::metadata(path).map_err(|error| file(format!("cannot be read: {error}")))?;
        expect_guarded("the CA file", path, &metadata).map_err(|error| setup(error.to_string()))?;
        parameters = parameters.certificate_store(CertificateStore::None);
        let roots = CertificateDer::pem_file_iter(path)
            .map_err(|error| file(format!("is no use: {error}")))?;
        for root in roots {
            let root = root.map_err(|error| file(format!("is no use: {error}")))?;
            let root = Certificate::from_der(root.to_vec())
                .map_err(|error| file(format!("is no use: {error}")))?;
            parameters = parameters.add_root_certificate(root);
        }
    }
    let parameters = parameters
        .build_rustls()
        .map_err(|error| setup(causes(&error)))?;
    Ok(match email.tls {
        MailTls::Whole => Tls::Wrapper(parameters),
        MailTls::StartTls => Tls::Required(parameters),
        MailTls::IfOffered | MailTls::None => Tls::Opportunistic(parameters),
    })
}

/// An error's last cause.
fn causes(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    one_line(&last.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_subject_adds_no_header() {
        let email = Email {
            host: "localhost".to_owned(),
            port: 25,
            tls: MailTls::None,
            login: None,
            from: "dirsyncd <sync@example.org>".parse().unwrap(),
            to: vec![
                "ops@example.org".parse().unwrap(),
                "Ä <b@example.org>".parse().unwrap(),
            ],
        };
        let rendered = Rendered {
            subject: "over:\r\nBcc: all@example.org\r\n\r\nthe rest".to_owned(),
            text: "zwei Zeilen\nmit ß, and\n.\na dot".to_owned(),
            json: serde_json::Value::Null,
        };
        let now = "2026-11-25T09:30:00Z".parse().unwrap();
        let letter = letter(&email, "msg_1", &rendered, now).unwrap();
        let formatted = String::from_utf8(letter.formatted()).unwrap();
        let (headers, body) = formatted.split_once("\r\n\r\n").unwrap();
        assert!(
            !headers.lines().any(|line| line.starts_with("Bcc")),
            "{formatted}"
        );
        assert!(
            headers.contains("Message-ID: <msg_1@example.org>"),
            "{formatted}"
        );
        assert!(
            headers.contains("Auto-Submitted: auto-generated"),
            "{formatted}"
        );
        assert!(
            headers.contains("Date: Wed, 25 Nov 2026 09:30:00 +0000"),
            "{formatted}"
        );
        assert!(body.contains("zwei Zeilen"), "{formatted}");
        let to: Vec<String> = letter
            .envelope()
            .to()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(to, ["ops@example.org", "b@example.org"]);
    }
}
