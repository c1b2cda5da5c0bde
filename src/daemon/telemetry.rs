//! Traces for an OpenTelemetry collector: a job is a span, its steps are spans in it, and the requests to the
//! API are spans in those. They go out by OTLP over HTTP, as JSON, in the background: a collector that is slow
//! or away holds nothing up, and what it does not take is dropped and counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::metrics::{End, Step};
use crate::config::{self, Job};
use crate::org::{SentRequest, Watcher};

/// How many spans wait to be sent at most.
const WAITING: usize = 4096;

/// How many spans are sent at once at most.
const BATCH: usize = 512;

/// How long it is waited for more spans before those that are there are sent.
const GATHER: Duration = Duration::from_secs(1);

/// How long the collector has to take them.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);

/// How long spans that wait are still sent at the end.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// What happened from one moment to another.
struct Span {
    trace: u128,
    id: u64,
    parent: Option<u64>,
    name: String,
    is_request: bool,
    began: u128,
    ended: u128,
    attributes: Vec<(&'static str, Value)>,
    has_failed: bool,
}

/// Where spans go; nowhere, if no collector is configured.
#[derive(Default)]
pub(super) struct Telemetry {
    spans: Mutex<Option<mpsc::Sender<Span>>>,
    exporter: Mutex<Option<JoinHandle<()>>>,
    counts: Arc<Counts>,
}

/// What became of spans.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) exported: AtomicU64,
    pub(super) dropped: AtomicU64,
}

impl Telemetry {
    /// Sends what happens to the collector from now on, if there is one.
    pub(super) fn start(config: &config::Telemetry) -> Self {
        let telemetry = Telemetry::default();
        let Some(url) = &config.otlp else {
            return telemetry;
        };
        match Exporter::new(url, Arc::clone(&telemetry.counts)) {
            Ok(exporter) => {
                let (sender, spans) = mpsc::channel(WAITING);
                put(&telemetry.spans, Some(sender));
                put(&telemetry.exporter, Some(tokio::spawn(exporter.run(spans))));
            }
            // Traces are a help, and no reason not to work.
            Err(why) => tracing::error!("no traces are sent: {why}"),
        }
        telemetry
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Sends what waits, for a moment.
    pub(super) async fn stop(&self) {
        put(&self.spans, None);
        let exporter = put(&self.exporter, None);
        if let Some(mut exporter) = exporter
            && tokio::time::timeout(STOP_WITHIN, &mut exporter)
                .await
                .is_err()
        {
            exporter.abort();
        }
    }

    /// Follows a job, if there is a collector.
    pub(super) fn trace(&self, job: Job) -> Option<Arc<Trace>> {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        let spans = spans.clone()?;
        Some(Arc::new(Trace {
            spans,
            counts: Arc::clone(&self.counts),
            job,
            id: fastrand::u128(1..),
            root: new_id(),
            step: AtomicU64::new(new_id()),
            began: (Instant::now(), now()),
        }))
    }
}

fn put<T>(place: &Mutex<Option<T>>, value: Option<T>) -> Option<T> {
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::replace(&mut *place, value)
}

fn new_id() -> u64 {
    fastrand::u64(1..)
}

/// In nanoseconds since 1970.
fn now() -> u128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_nanos()
}

/// A job as it is followed.
pub(super) struct Trace {
    spans: mpsc::Sender<Span>,
    counts: Arc<Counts>,
    job: Job,
    id: u128,
    root: u64,
    /// The span of the step that it is at.
    step: AtomicU64,
    began: (Instant, u128),
}

impl Trace {
    /// When that was, by the clock as it was at the beginning.
    fn moment(&self, at: Instant) -> u128 {
        let (began, clock) = self.began;
        clock + at.duration_since(began).as_nanos()
    }

    fn tell(&self, span: Span) {
        if self.spans.try_send(span).is_err() {
            self.counts.dropped.fetch_add(1, Relaxed);
        }
    }

    /// A step has ended, and the next one begins.
    pub(super) fn step_ended(
        &self,
        step: &Step,
        (began, ended): (Instant, Instant),
        end: Option<End>,
    ) {
        let mut attributes = Vec::new();
        if let Step::Reading(source) = step {
            attributes.push(("dirsyncd.source", json!({"stringValue": source})));
        }
        self.tell(Span {
            trace: self.id,
            id: self.step.swap(new_id(), Relaxed),
            parent: Some(self.root),
            name: step.name().to_owned(),
            is_request: false,
            began: self.moment(began),
            ended: self.moment(ended),
            attributes,
            has_failed: end == Some(End::Failed),
        });
    }

    /// The job has ended.
    pub(super) fn ended(&self, end: End) {
        let job = self.job.name();
        self.tell(Span {
            trace: self.id,
            id: self.root,
            parent: None,
            name: job.to_owned(),
            is_request: false,
            began: self.began.1,
            ended: self.moment(Instant::now()),
            attributes: vec![
                ("dirsyncd.job", json!({"stringValue": job})),
                ("dirsyncd.outcome", json!({"stringValue": end.name()})),
            ],
            has_failed: matches!(end, End::Failed | End::SomeFailed),
        });
    }

    fn requested(&self, request: SentRequest) {
        let SentRequest {
            method,
            template,
            status,
            began,
        } = request;
        let has_failed = status.is_none_or(|status| status >= 400);
        let name = format!("{method} {template}");
        // Named by the semantic conventions for HTTP clients.
        let mut attributes = vec![
            ("http.request.method", json!({"stringValue": method})),
            ("url.template", json!({"stringValue": template})),
        ];
        if let Some(status) = status {
            // A number of 64 bits is a text in the JSON of protobuf.
            let status = json!({"intValue": status.to_string()});
            attributes.push(("http.response.status_code", status));
        }
        self.tell(Span {
            trace: self.id,
            id: new_id(),
            parent: Some(self.step.load(Relaxed)),
            name,
            is_request: true,
            began: self.moment(began),
            ended: self.moment(Instant::now()),
            attributes,
            has_failed,
        });
    }

    /// Who is told of its requests.
    pub(super) fn watcher(self: &Arc<Self>) -> Watcher {
        let trace = Arc::clone(self);
        Arc::new(move |request| trace.requested(request))
    }
}

/// Sends spans.
struct Exporter {
    client: reqwest::Client,
    url: url::Url,
    counts: Arc<Counts>,
    is_away: bool,
}

impl Exporter {
    fn new(url: &url::Url, counts: Arc<Counts>) -> Result<Self, reqwest::Error> {
        let mut builder = reqwest::Client::builder()
            .timeout(TAKEN_WITHIN)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("dirsyncd/", env!("CARGO_PKG_VERSION")));
        if url.scheme() == "http" {
            // On this machine's loopback (the configuration allows no other).
            builder = builder.no_proxy().tls_certs_only([]);
        }
        let mut url = url.clone();
        url.set_path(&format!("{}/v1/traces", url.path().trim_end_matches('/')));
        Ok(Exporter {
            client: builder.build()?,
            url,
            counts,
            is_away: false,
        })
    }

    async fn run(mut self, mut spans: mpsc::Receiver<Span>) {
        let mut batch = Vec::new();
        while spans.recv_many(&mut batch, BATCH).await > 0 {
            let gathered = tokio::time::Instant::now() + GATHER;
            while batch.len() < BATCH {
                let more = spans.recv_many(&mut batch, BATCH);
                if !matches!(tokio::time::timeout_at(gathered, more).await, Ok(1..)) {
                    break;
                }
            }
            self.send(&batch).await;
            batch.clear();
        }
    }

    async fn send(&mut self, batch: &[Span]) {
        let request = self.client.post(self.url.clone()).json(&request(batch));
        let sent = request.send().await;
        let refusal = match sent {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("it answers {}", answer.status())),
            Err(error) if error.is_timeout() => Some("it takes too long".to_owned()),
            Err(_) => Some("it cannot be reached".to_owned()),
        };
        let was_away = std::mem::replace(&mut self.is_away, refusal.is_some());
        let count = match &refusal {
            None => &self.counts.exported,
            Some(_) => &self.counts.dropped,
        };
        count.fetch_add(batch.len() as u64, Relaxed);
        match refusal {
            Some(why) if !was_away => {
                tracing::warn!(collector = %self.url, "traces are dropped: {why}");
            }
            None if was_away => tracing::info!("traces are sent again"),
            _ => {}
        }
    }
}

/// The body of an `ExportTraceServiceRequest`, as OTLP has it in JSON: ids in hexadecimal, times as texts.
fn request(batch: &[Span]) -> Value {
    let attribute = |name: &str, value: &Value| json!({"key": name, "value": value});
    let text = |name: &str, value: &str| attribute(name, &json!({"stringValue": value}));
    let spans = batch.iter().map(|span| {
        let attributes = span.attributes.iter();
        let attributes = attributes.map(|(name, value)| attribute(name, value));
        let mut told = json!({
            "traceId": format!("{:032x}", span.trace),
            "spanId": format!("{:016x}", span.id),
            "name": span.name,
            // SPAN_KIND_INTERNAL, SPAN_KIND_CLIENT
            "kind": if span.is_request { 3 } else { 1 },
            "startTimeUnixNano": span.began.to_string(),
            "endTimeUnixNano": span.ended.to_string(),
            "attributes": attributes.collect::<Vec<_>>(),
        });
        if let Some(parent) = span.parent {
            told["parentSpanId"] = format!("{parent:016x}").into();
        }
        if span.has_failed {
            // STATUS_CODE_ERROR
            told["status"] = json!({"code": 2});
        }
        told
    });
    let version = env!("CARGO_PKG_VERSION");
    json!({"resourceSpans": [{
        "resource": {"attributes": [text("service.name", "dirsyncd"), text("service.version", version)]},
        "scopeSpans": [{
            "scope": {"name": "dirsyncd", "version": version},
            "spans": spans.collect::<Vec<_>>(),
        }],
    }]})
}
