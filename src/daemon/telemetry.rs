//! Traces for an OpenTelemetry collector: a job is a span, its steps are spans in it, and the requests to the
//! API are spans in those. They go out by OTLP over HTTP in the background: a collector that is slow or away holds
//! nothing up, and what it does not take is dropped and counted.
//!
//! OpenTelemetry's own crates make the spans and send them; only the queue between is ours, as their batch processor
//! tells nobody what it drops. Spans are not made of `tracing`'s, whose fields may name people.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::trace::{
    Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{
    Sampler, SdkTracer, SdkTracerProvider, Span, SpanData, SpanExporter as _, SpanProcessor,
};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
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

/// How long the collector has to take them, however often that is tried.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);

/// How long spans that wait are still sent at the end.
const STOP_WITHIN: Duration = Duration::from_secs(2);

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What became of spans, by the label `outcome`.
#[derive(Clone, Debug, Default)]
struct Counts(Family<[(&'static str, &'static str); 1], Counter>);

impl Counts {
    fn sent(&self, spans: usize) {
        self.add("sent", spans);
    }

    fn dropped(&self, spans: usize) {
        self.add("dropped", spans);
    }

    fn add(&self, outcome: &'static str, spans: usize) {
        let count = self.0.get_or_create(&[("outcome", outcome)]);
        count.inc_by(spans as u64);
    }
}

/// Where spans go; nowhere, if no collector is configured.
pub(super) struct Telemetry {
    provider: Option<SdkTracerProvider>,
    sender: Mutex<Option<JoinHandle<()>>>,
    counts: Counts,
}

#[derive(Debug, thiserror::Error)]
enum CannotSend {
    #[error(transparent)]
    Client(#[from] reqwest::Error),
    #[error(transparent)]
    Exporter(#[from] ExporterBuildError),
}

impl Telemetry {
    /// Sends what happens to the collector from now on, if there is one.
    pub(super) fn start(config: &config::Telemetry) -> Self {
        let counts = Counts::default();
        // Both are told from the start.
        counts.sent(0);
        counts.dropped(0);
        let mut telemetry = Telemetry {
            provider: None,
            sender: Mutex::default(),
            counts: counts.clone(),
        };
        let Some(url) = &config.otlp else {
            return telemetry;
        };
        match exporter(url) {
            Ok(exporter) => {
                let (sender, spans) = mpsc::channel(WAITING);
                let queue = Queue {
                    spans: Mutex::new(Some(sender)),
                    counts: counts.clone(),
                };
                let provider = SdkTracerProvider::builder()
                    .with_sampler(Sampler::AlwaysOn)
                    .with_span_processor(queue);
                telemetry.provider = Some(provider.build());
                let sender = tokio::spawn(send(exporter, url.clone(), spans, counts));
                put(&telemetry.sender, Some(sender));
            }
            // Traces are a help, and no reason not to work.
            Err(why) => tracing::error!("no traces are sent: {why}"),
        }
        telemetry
    }

    /// How many spans the collector has taken, and how many were dropped.
    pub(super) fn counts(&self) -> Family<[(&'static str, &'static str); 1], Counter> {
        self.counts.0.clone()
    }

    /// Sends what waits, for a moment.
    pub(super) async fn stop(&self) {
        let Some(provider) = &self.provider else {
            return;
        };
        // Its queue is closed, which cannot fail.
        let _ = provider.shutdown();
        if let Some(mut sender) = put(&self.sender, None)
            && tokio::time::timeout(STOP_WITHIN, &mut sender)
                .await
                .is_err()
        {
            sender.abort();
        }
    }

    /// Follows a job, if there is a collector.
    pub(super) fn trace(&self, job: Job) -> Option<Arc<Trace>> {
        let tracer = self.provider.as_ref()?.tracer("dirsyncd");
        let began = (Instant::now(), SystemTime::now());
        let root = tracer
            .span_builder(job.name())
            .with_start_time(began.1)
            .with_attributes([KeyValue::new("dirsyncd.job", job.name())])
            .start_with_context(&tracer, &Context::new());
        let root = Context::new().with_span(root);
        let step = begin(&tracer, &root, &Step::Beginning, began.1);
        Some(Arc::new(Trace {
            tracer,
            root,
            step: Mutex::new(step),
            began,
        }))
    }
}

fn put<T>(place: &Mutex<Option<T>>, value: Option<T>) -> Option<T> {
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::replace(&mut *place, value)
}

/// A step begins.
fn begin(tracer: &SdkTracer, root: &Context, step: &Step, at: SystemTime) -> Context {
    let mut span = tracer
        .span_builder(step.name())
        .with_start_time(at)
        .start_with_context(tracer, root);
    if let Step::Reading(source) = step {
        let source = source.as_str().to_owned();
        span.set_attribute(KeyValue::new("dirsyncd.source", source));
    }
    root.with_span(span)
}

/// A job as it is followed.
pub(super) struct Trace {
    tracer: SdkTracer,
    root: Context,
    /// The step that it is at.
    step: Mutex<Context>,
    began: (Instant, SystemTime),
}

impl Trace {
    /// When that was, by the clock as it was at the beginning.
    fn moment(&self, at: Instant) -> SystemTime {
        let (began, clock) = self.began;
        clock + at.duration_since(began)
    }

    fn step(&self) -> Context {
        let step = self.step.lock();
        step.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The step that it was at has ended, and this one begins.
    pub(super) fn turn_to(&self, step: &Step, now: Instant) {
        let now = self.moment(now);
        self.step().span().end_with_timestamp(now);
        let next = begin(&self.tracer, &self.root, step, now);
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = next;
    }

    /// The job has ended, and so has its last step.
    pub(super) fn ended(&self, end: End, now: Instant) {
        let now = self.moment(now);
        let (step, root) = (self.step(), &self.root);
        if end == End::Failed {
            step.span().set_status(Status::error(""));
        }
        step.span().end_with_timestamp(now);
        let root = root.span();
        root.set_attribute(KeyValue::new("dirsyncd.outcome", end.name()));
        if matches!(end, End::Failed | End::SomeFailed) {
            root.set_status(Status::error(""));
        }
        root.end_with_timestamp(now);
    }

    fn requested(&self, request: SentRequest) {
        let SentRequest {
            method,
            template,
            status,
            began,
        } = request;
        let name = format!("{method} {template}");
        // Named by the semantic conventions for HTTP clients.
        let mut attributes = vec![
            KeyValue::new("http.request.method", method),
            KeyValue::new("url.template", template),
        ];
        let code =
            status.map(|status| KeyValue::new("http.response.status_code", i64::from(status)));
        attributes.extend(code);
        let mut span = self
            .tracer
            .span_builder(name)
            .with_kind(SpanKind::Client)
            .with_start_time(self.moment(began))
            .with_attributes(attributes)
            .start_with_context(&self.tracer, &self.step());
        if status.is_none_or(|status| status >= 400) {
            span.set_status(Status::error(""));
        }
        span.end_with_timestamp(self.moment(Instant::now()));
    }

    /// Who is told of its requests.
    pub(super) fn watcher(self: &Arc<Self>) -> Watcher {
        let trace = Arc::clone(self);
        Arc::new(move |request| trace.requested(request))
    }
}

/// Spans that have ended and wait to be sent.
#[derive(Debug)]
struct Queue {
    spans: Mutex<Option<mpsc::Sender<SpanData>>>,
    counts: Counts,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        let is_dropped = match &*spans {
            Some(spans) => spans.try_send(span).is_err(),
            None => true,
        };
        if is_dropped {
            self.counts.dropped(1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _within: Duration) -> OTelSdkResult {
        put(&self.spans, None);
        Ok(())
    }
}

/// What sends spans to the collector there.
fn exporter(url: &url::Url) -> Result<SpanExporter, CannotSend> {
    let mut client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    if url.scheme() == "http" {
        // On this machine, or one near by: no proxy stands between, and no CA is needed.
        client = client.no_proxy().tls_certs_only([]);
    }
    let mut traces = url.clone();
    traces.set_path(&format!("{}/v1/traces", url.path().trim_end_matches('/')));
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client.build()?)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(traces)
        .with_timeout(TAKEN_WITHIN)
        .build()?;
    // Nothing of the machine or the environment.
    let resource = Resource::builder_empty()
        .with_service_name("dirsyncd")
        .with_attribute(KeyValue::new("service.version", VERSION));
    exporter.set_resource(&resource.build());
    Ok(exporter)
}

/// Sends spans as they come, until no more do.
async fn send(
    exporter: SpanExporter,
    collector: url::Url,
    mut spans: mpsc::Receiver<SpanData>,
    counts: Counts,
) {
    let (mut batch, mut is_away) = (Vec::new(), false);
    while spans.recv_many(&mut batch, BATCH).await > 0 {
        let gathered = tokio::time::Instant::now() + GATHER;
        while batch.len() < BATCH {
            let more = spans.recv_many(&mut batch, BATCH);
            if !matches!(tokio::time::timeout_at(gathered, more).await, Ok(1..)) {
                break;
            }
        }
        let count = batch.len();
        let export = exporter.export(std::mem::take(&mut batch));
        let refusal = match tokio::time::timeout(TAKEN_WITHIN, export).await {
            Ok(Ok(())) => None,
            Ok(Err(OTelSdkError::InternalFailure(why))) => Some(why),
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("it takes too long".to_owned()),
        };
        match &refusal {
            None => counts.sent(count),
            Some(_) => counts.dropped(count),
        }
        let was_away = std::mem::replace(&mut is_away, refusal.is_some());
        match refusal {
            Some(why) if !was_away => {
                tracing::warn!(%collector, "traces are dropped: {why}");
            }
            None if was_away => tracing::info!("traces are sent again"),
            _ => {}
        }
    }
}
