//! How `[notify]` is checked.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::config::spanned::Spanned;
use lettre::message::Mailbox;

use super::written::{ChannelFile, EmailFile, NotifyFile, SlackFile, WebhookFile};
use super::{Checked, Reader, is_loopback};
use crate::config::notify::{Channel, Email, Event, MailTls, Notify, Template, Way};

impl Reader<'_> {
    pub(super) fn notify(&self, file: NotifyFile) -> Checked<Notify> {
        let NotifyFile {
            by_hand,
            at_most,
            webhook,
            slack,
            email,
        } = file;
        let mut notify = Notify {
            by_hand: by_hand.unwrap_or_default(),
            ..Notify::default()
        };
        if let Some(at_most) = at_most {
            if *at_most.get_ref() == 0 {
                return self.refuse(
                    at_most.span(),
                    "`at_most` is 1 an hour or more; to tell nobody, take the channels out",
                );
            }
            notify.at_most = at_most.into_inner();
        }
        for channel in webhook {
            let span = channel.span();
            let mut channel = channel.into_inner();
            let rest = channel.rest();
            let WebhookFile {
                url,
                secret,
                plaintext,
                ..
            } = channel;
            let way = Way::Webhook {
                url: self.webhook(&url, plaintext.unwrap_or_default())?,
                secret: self.secret(secret)?,
            };
            self.channel(&mut notify, span, way, rest)?;
        }
        for channel in slack {
            let span = channel.span();
            let mut channel = channel.into_inner();
            let rest = channel.rest();
            let SlackFile { secret_url, .. } = channel;
            let way = Way::Slack {
                url: self.secret(secret_url)?,
            };
            self.channel(&mut notify, span, way, rest)?;
        }
        for channel in email {
            let span = channel.span();
            let mut channel = channel.into_inner();
            let rest = channel.rest();
            let EmailFile {
                url,
                plaintext,
                user,
                password,
                from,
                to,
                ..
            } = channel;
            let (host, port, tls) = self.mail_server(&url, plaintext.unwrap_or_default())?;
            let login = match (user, password) {
                (None, None) => None,
                (Some(user), Some(password)) => Some((user.into_inner(), self.secret(password)?)),
                (Some(user), None) => {
                    return self.refuse(
                        user.span(),
                        "`user` needs `password`, the place of the secret",
                    );
                }
                (None, Some(password)) => {
                    return self.refuse(
                        password.span(),
                        "`password` is that of `user`, which is not set",
                    );
                }
            };
            if to.get_ref().texts().is_empty() {
                return self.refuse(to.span(), "say to whom the mail goes");
            }
            let place = to.span();
            let to = to
                .get_ref()
                .texts()
                .iter()
                .map(|one| self.mailbox(place.clone(), one));
            let way = Way::Email(Email {
                host,
                port,
                tls,
                login,
                from: self.mailbox(from.span(), from.get_ref())?,
                to: to.collect::<Checked<_>>()?,
            });
            self.channel(&mut notify, span, way, rest)?;
        }
        Ok(notify)
    }

    fn channel(
        &self,
        notify: &mut Notify,
        span: std::ops::Range<usize>,
        way: Way,
        file: ChannelFile,
    ) -> Checked<()> {
        let ChannelFile {
            name,
            events,
            people,
            subject,
            text,
            timeout,
            ca_file,
        } = file;
        let mut channel = Channel {
            name: String::new(),
            events: events.map_or_else(|| Event::ALL.into(), BTreeSet::from_iter),
            people: people.unwrap_or_default(),
            subject: self.template(subject, Template::SUBJECT)?,
            text: self.template(text, Template::TEXT)?,
            timeout: self.timeout(timeout, Duration::from_secs(10))?,
            ca_file: ca_file.map(|path| self.resolve(path)),
            way,
        };
        let place = name.as_ref().map_or(span, Spanned::span);
        channel.name = name.map_or_else(|| channel.kind().to_owned(), Spanned::into_inner);
        if notify
            .channels
            .iter()
            .any(|other| other.name == channel.name)
        {
            return self.refuse(
                place,
                format!(
                    "two channels of [notify] are called `{}`: give each a `name`",
                    channel.name
                ),
            );
        }
        notify.channels.push(channel);
        Ok(())
    }

    fn template(&self, text: Option<Spanned<String>>, default: &str) -> Checked<Template> {
        match text {
            None => self.check(0..0, Template::parse(default)),
            Some(text) => self.check(text.span(), Template::parse(text.get_ref())),
        }
    }

    fn webhook(&self, url: &Spanned<String>, plaintext: bool) -> Checked<url::Url> {
        let parsed = self.check(url.span(), super::url(url.get_ref()))?;
        let is_local = parsed.host_str().is_some_and(is_loopback);
        let is_fine =
            parsed.scheme() == "https" || (parsed.scheme() == "http" && (is_local || plaintext));
        if !is_fine || parsed.host_str().is_none() {
            return self.refuse(
                url.span(),
                "a webhook is reached by https:// (http:// only on this machine's loopback, or elsewhere with `plaintext = true`, where others can read it)",
            );
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return self.refuse(
                url.span(),
                "no secret stands in a URL: whoever gets the messages knows them by `secret`",
            );
        }
        Ok(parsed)
    }

    fn mail_server(
        &self,
        url: &Spanned<String>,
        plaintext: bool,
    ) -> Checked<(String, u16, MailTls)> {
        let how =
            "a mail server is smtps://HOST[:465], or smtp://HOST[:587], which always uses STARTTLS";
        let parsed = self.check(url.span(), super::url(url.get_ref()))?;
        let is_bare = parsed.username().is_empty()
            && parsed.password().is_none()
            && matches!(parsed.path(), "" | "/")
            && parsed.query().is_none();
        let Some(host) = parsed.host_str().filter(|_| is_bare) else {
            return self.refuse(
                url.span(),
                format!("{how}; user and password have keys of their own"),
            );
        };
        let (tls, port) = match (parsed.scheme(), plaintext) {
            ("smtps", false) => (MailTls::Whole, 465),
            ("smtps", true) => return self.refuse(url.span(), "`plaintext` is for smtp://"),
            ("smtp", true) => (MailTls::None, 587),
            ("smtp", false) if is_loopback(host) => (MailTls::IfOffered, 587),
            ("smtp", false) => (MailTls::StartTls, 587),
            _ => return self.refuse(url.span(), how),
        };
        let host = host.trim_matches(['[', ']']).to_owned();
        Ok((host, parsed.port().unwrap_or(port), tls))
    }

    fn mailbox(&self, span: std::ops::Range<usize>, text: &str) -> Checked<Mailbox> {
        self.check(
            span,
            text.parse().map_err(|_| {
                format!("`{text}` is no address: write \"ops@example.org\" or \"Operations <ops@example.org>\"")
            }),
        )
    }
}
