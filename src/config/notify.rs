//! Who is told what, and how.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use lettre::message::Mailbox;
use minijinja::{Environment, UndefinedBehavior, Value};
use serde::{Deserialize, Serialize};

use super::{SecretRef, nearest};

/// What people are told of.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// Guards hold something, a plan or people are refused, or absences are not believed.
    Refusal,
    /// A job came to nothing, operations failed, or the daemon hangs or cannot start.
    Failure,
    /// People or groups are in quarantine.
    Quarantine,
    /// What was told is over.
    Recovery,
}

impl Event {
    /// All of them.
    pub const ALL: [Event; 4] = [
        Event::Refusal,
        Event::Failure,
        Event::Quarantine,
        Event::Recovery,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Event::Refusal => "refusal",
            Event::Failure => "failure",
            Event::Quarantine => "quarantine",
            Event::Recovery => "recovery",
        }
    }
}

/// Who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// Whether syncs by hand tell too, and not the daemon alone.
    pub by_hand: bool,
    /// The most messages an hour to each channel.
    pub at_most: u32,
    /// Where messages go.
    pub channels: Vec<Channel>,
}

impl Default for Notify {
    fn default() -> Self {
        Notify {
            by_hand: false,
            at_most: 10,
            channels: Vec::new(),
        }
    }
}

/// One way to tell somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Its name, which no other has.
    pub name: String,
    /// Of what it tells.
    pub events: BTreeSet<Event>,
    /// Whether names and addresses of people go out, and errors with what they name.
    pub people: bool,
    /// One line.
    pub subject: Template,
    /// The whole text.
    pub text: Template,
    /// The longest that one message may take.
    pub timeout: Duration,
    /// A CA bundle in PEM to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// How it goes out.
    pub way: Way,
}

/// How messages go out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// As signed JSON (Standard Webhooks).
    Webhook {
        /// Where.
        url: url::Url,
        /// What it is signed with: `whsec_` and base64.
        secret: SecretRef,
    },
    /// As Slack's incoming webhooks, and others that are made like them, take it.
    Slack {
        /// The URL, by which anybody can write there.
        url: SecretRef,
    },
    /// By SMTP.
    Email(Email),
}

/// How mail goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: MailTls,
    /// The user and the password.
    pub login: Option<(String, SecretRef)>,
    /// The sender.
    pub from: Mailbox,
    /// Who gets it.
    pub to: Vec<Mailbox>,
}

/// How a connection to a mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTls {
    /// From the beginning: `smtps://`.
    Whole,
    /// By STARTTLS, or there is none.
    StartTls,
    /// By STARTTLS where the server has it, on this machine's loopback.
    IfOffered,
    /// Not at all: `plaintext = true`.
    None,
}

impl Channel {
    /// What it is called where all are listed.
    pub fn kind(&self) -> &'static str {
        match self.way {
            Way::Webhook { .. } => "webhook",
            Way::Slack { .. } => "slack",
            Way::Email(_) => "email",
        }
    }

    /// Where its secrets are.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretRef> {
        let secret = match &self.way {
            Way::Webhook { secret, .. } => Some(secret),
            Way::Slack { url } => Some(url),
            Way::Email(email) => email.login.as_ref().map(|(_, password)| password),
        };
        secret.into_iter()
    }
}

/// A text with places for what a message says (minijinja's syntax).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(String);

/// What a template can name, each with an example of what it stands for.
fn example() -> BTreeMap<&'static str, Value> {
    BTreeMap::from([
        ("event", Value::from("refusal")),
        ("headline", Value::from("1 hold is open")),
        (
            "lines",
            Value::from(vec!["`deactivate` holds 7 operations".to_owned()]),
        ),
        ("summed_up", Value::from(vec!["…".to_owned()])),
        ("reminder", Value::from(false)),
        ("run", Value::from(12)),
        ("at", Value::from("2026-11-25 09:30:00 UTC")),
        ("host", Value::from("sync1.example.org")),
        ("organization", Value::from("1a2b")),
        ("look", Value::from("dirsyncd holds")),
    ])
}

impl Template {
    /// The subject, unless another is configured.
    pub(super) const SUBJECT: &str = "dirsyncd on {{ host }}: {{ headline }}";

    /// The text, unless another is configured.
    pub(super) const TEXT: &str = "{{ headline }}{% if reminder %} (a reminder){% endif %}.
{% for line in lines %}
- {{ line }}
{%- endfor %}
{% if summed_up %}
Also, as more came than may be sent in an hour:
{% for line in summed_up %}
- {{ line }}
{%- endfor %}
{% endif %}
To look: {{ look }}
{% if run %}Run {{ run }}, {% endif %}{{ at }}, {{ host }}, organization {{ organization }}
";

    /// Checks it: its syntax, and that it names only what there is.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let environment = Environment::new();
        let in_words = |error: minijinja::Error| {
            let line = error
                .line()
                .map_or(String::new(), |line| format!(" (line {line})"));
            let detail = error
                .detail()
                .map_or(String::new(), |detail| format!(": {detail}"));
            format!("the template is wrong{line}: {}{detail}", error.kind())
        };
        let template = environment.template_from_str(text).map_err(in_words)?;
        let example = example();
        let known: Vec<&str> = example.keys().copied().collect();
        let named: HashSet<String> = template.undeclared_variables(false);
        let functions: HashSet<&str> = environment.globals().map(|(name, _)| name).collect();
        let mut unknown: Vec<&String> = named
            .iter()
            .filter(|name| !known.contains(&name.as_str()) && !functions.contains(name.as_str()))
            .collect();
        unknown.sort();
        if let Some(name) = unknown.first() {
            let hint = nearest(name, &known)
                .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            return Err(format!(
                "a template has no `{name}`{hint} (known here: {})",
                known.join(", ")
            ));
        }
        let template = Template(text.to_owned());
        template.render(example).map_err(in_words)?;
        Ok(template)
    }

    /// What it makes of this.
    ///
    /// # Errors
    /// When it does with a value what cannot be done.
    pub fn render(
        &self,
        values: BTreeMap<&'static str, Value>,
    ) -> Result<String, minijinja::Error> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.render_str(&self.0, Value::from(values))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_template_is_checked_before_it_is_needed() {
        for (text, words) in [
            ("{{ headline }}", ""),
            ("{% for line in lines %}{{ line|upper }}{% endfor %}", ""),
            ("{{ headlin }}", "did you mean `headline`?"),
            // Also where the example does not lead.
            (
                "{% if reminder %}{{ nme }}{% endif %}",
                "a template has no `nme`",
            ),
            ("{{ headline", "the template is wrong (line 1)"),
            ("{{ headline|nonsense }}", "nonsense"),
            ("{{ run.number }}", "the template is wrong"),
            ("{% include 'secrets' %}", "the template is wrong"),
        ] {
            match Template::parse(text) {
                Ok(_) => assert!(words.is_empty(), "{text} is taken"),
                Err(error) => assert!(
                    !words.is_empty() && error.contains(words),
                    "{text}: {error}"
                ),
            }
        }
        for own in [Template::SUBJECT, Template::TEXT] {
            Template::parse(own).unwrap();
        }
    }

    #[test]
    fn a_value_is_no_template() {
        let mut values = example();
        values.insert("headline", Value::from("<b>{{ host }}</b>"));
        let text = Template::parse("{{ headline }}").unwrap().render(values);
        assert_eq!(text.unwrap(), "<b>{{ host }}</b>");
    }
}
