//! Who is told what the daemon does, as it does it.

/// Traces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Telemetry {
    /// The collector that takes traces by OTLP over HTTP, without `/v1/traces`; `None` where there is none.
    pub otlp: Option<url::Url>,
}
