//! A message, and what of it each channel sends. `docs/notification.schema.json` describes its JSON.

use std::collections::BTreeMap;

use minijinja::Value as TemplateValue;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::seen::Matter;
use crate::config::{Channel, Event};
use crate::model::Timestamp;
use crate::report::printable;

/// The JSON Schema of what webhooks get.
pub const NOTIFICATION_SCHEMA: &str = include_str!("../../docs/notification.schema.json");

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// Nothing: it shows that messages arrive.
    Test,
    /// An event.
    #[serde(untagged)]
    Event(Event),
}

impl Kind {
    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Event(event) => event.name(),
            Kind::Test => "test",
        }
    }
}

/// What people are told at one time, before it is made into what a channel takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Message {
    pub(super) kind: Kind,
    pub(super) at: Timestamp,
    /// The run that has shown it.
    pub(super) run: Option<i64>,
    pub(super) parts: Vec<Part>,
    /// Former messages that were too many to be sent each by itself.
    pub(super) summed_up: Vec<Former>,
    /// How many more there were.
    pub(super) omitted: u64,
}

/// One thing that is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    /// Of what kind it is; of what is over, was.
    pub(super) event: Event,
    pub(super) state: State,
    /// When it was first told.
    pub(super) since: Timestamp,
    pub(super) matter: Matter,
}

impl Part {
    pub(super) fn of(event: Event, matter: &Matter, state: State, since: Timestamp) -> Self {
        Part {
            event,
            state,
            since,
            matter: Matter {
                items: std::collections::BTreeSet::new(),
                ..matter.clone()
            },
        }
    }

    fn line(&self, people: bool) -> String {
        let Part { matter, since, .. } = self;
        let since = since.format("%Y-%m-%d %H:%M UTC");
        let mut line = match self.state {
            State::New => matter.text.clone(),
            State::Worse => format!("{} (more than before; since {since})", matter.text),
            State::Ongoing => format!("{} (still so; since {since})", matter.text),
            State::Over => return format!("over: {} (told first at {since})", matter.title),
        };
        if people && !matter.people.is_empty() {
            line += &format!(": {}", matter.people.join("; "));
        }
        // What the directory says begins no line of its own.
        one_line(&line)
    }
}

/// How something stands that is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// It was not told before.
    New,
    /// It was, and is more now.
    Worse,
    /// It was, long ago.
    Ongoing,
    /// It is over.
    Over,
}

/// A message that was not sent by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Former {
    pub(super) kind: Kind,
    pub(super) at: Timestamp,
    pub(super) run: Option<i64>,
    pub(super) headline: String,
}

/// Where the program runs, and for whom.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The name of the machine.
    pub(super) host: String,
    /// The organization's id.
    pub(super) organization: String,
}

impl Place {
    pub(super) fn new(organization: &str) -> Self {
        let host = nix::unistd::gethostname().ok();
        let host = host.and_then(|name| name.into_string().ok());
        Place {
            host: host.unwrap_or_else(|| "localhost".to_owned()),
            organization: organization.to_owned(),
        }
    }
}

/// What a channel sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rendered {
    /// One line.
    pub(super) subject: String,
    pub(super) text: String,
    /// What a webhook gets.
    pub(super) json: Value,
}

impl Message {
    /// A message that shows that messages arrive.
    pub(super) fn test(now: Timestamp) -> Self {
        Message {
            kind: Kind::Test,
            at: now,
            run: None,
            parts: Vec::new(),
            summed_up: Vec::new(),
            omitted: 0,
        }
    }

    fn is_reminder(&self) -> bool {
        !self.parts.is_empty() && self.parts.iter().all(|part| part.state == State::Ongoing)
    }

    /// What it is about, in a line without any person.
    pub(super) fn headline(&self) -> String {
        /// So many stand in a line.
        const TITLES: usize = 3;
        if self.kind == Kind::Test {
            return "a test: messages arrive".to_owned();
        }
        let mut titles: Vec<&str> = self
            .parts
            .iter()
            .map(|part| part.matter.title.as_str())
            .collect();
        let more = titles.len().saturating_sub(TITLES);
        titles.truncate(TITLES);
        let mut line = titles.join(", ");
        if more > 0 {
            line += &format!(" and {more} more");
        }
        let before = match self.kind {
            Kind::Event(Event::Recovery) => "over: ",
            _ if self.is_reminder() => "still: ",
            _ => "",
        };
        format!("{before}{line}")
    }

    fn look(&self) -> String {
        let open = self.parts.iter().filter(|part| part.state != State::Over);
        let mut looks: Vec<&str> = open.map(|part| part.matter.look.as_str()).collect();
        looks.sort_unstable();
        looks.dedup();
        match looks.is_empty() {
            true => "dirsyncd status".to_owned(),
            false => looks.join(", "),
        }
    }

    /// What a channel sends of it, under this id.
    ///
    /// # Errors
    /// When a template does with a value what cannot be done.
    pub(super) fn render(
        &self,
        channel: &Channel,
        id: &str,
        place: &Place,
    ) -> Result<Rendered, minijinja::Error> {
        let summed_up = self.summed_up.iter();
        let mut summed_up: Vec<String> = summed_up
            .map(|former| format!("{}: {}", second(former.at), former.headline))
            .collect();
        if self.omitted > 0 {
            summed_up.insert(0, format!("{} more before these", self.omitted));
        }
        let mut lines: Vec<String> = self
            .parts
            .iter()
            .map(|part| part.line(channel.people))
            .collect();
        if self.kind == Kind::Test {
            lines.push(format!(
                "sent by `dirsyncd check --notify` through `{}`",
                channel.name
            ));
        }
        let values = BTreeMap::from([
            ("event", TemplateValue::from(self.kind.name())),
            ("headline", TemplateValue::from(self.headline())),
            ("lines", TemplateValue::from(lines)),
            ("summed_up", TemplateValue::from(summed_up)),
            ("reminder", TemplateValue::from(self.is_reminder())),
            ("run", TemplateValue::from(self.run)),
            ("at", TemplateValue::from(second(self.at))),
            ("host", TemplateValue::from(place.host.as_str())),
            (
                "organization",
                TemplateValue::from(place.organization.as_str()),
            ),
            ("look", TemplateValue::from(self.look())),
        ]);
        let subject = one_line(&channel.subject.render(values.clone())?);
        let text = printable(&channel.text.render(values)?);
        let json = json!({
            "type": self.kind.name(),
            "timestamp": self.at,
            "data": {
                "version": 1,
                "id": id,
                "organization": place.organization,
                "host": place.host,
                "run": self.run,
                "reminder": self.is_reminder(),
                "headline": self.headline(),
                "subject": subject,
                "text": text,
                "look": self.look(),
                "matters": self.parts.iter().map(|part| json!({
                    "topic": part.matter.topic,
                    "type": part.event,
                    "state": part.state,
                    "since": part.since,
                    "count": part.matter.count,
                    "title": part.matter.title,
                    "text": part.matter.text,
                    "people": channel.people.then_some(&part.matter.people),
                })).collect::<Vec<_>>(),
                "summed_up": self.summed_up.iter().map(|former| json!({
                    "type": former.kind.name(),
                    "timestamp": former.at,
                    "run": former.run,
                    "headline": former.headline,
                })).collect::<Vec<_>>(),
                "omitted": self.omitted,
            },
        });
        Ok(Rendered {
            subject,
            text,
            json,
        })
    }
}

fn second(at: Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A text in one line, without anything that could end it or command a terminal.
pub(super) fn one_line(text: &str) -> String {
    printable(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}
