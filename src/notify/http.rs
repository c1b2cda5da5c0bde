//! Messages by HTTP: to webhooks, signed, and to Slack and its like.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{StatusCode, header};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::message::{Rendered, one_line};
use super::{CannotSend, Trouble};
use crate::config::{Channel, expect_guarded, last_cause};
use crate::model::Timestamp;

/// So much of an answer is read.
const ANSWER: usize = 2048;
/// So many characters of it are told.
const TOLD: usize = 200;

/// Prefix of the secrets of Standard Webhooks.
const PREFIX: &str = "whsec_";
/// The fewest and the most octets of such a secret.
const OCTETS: std::ops::RangeInclusive<usize> = 24..=64;

/// Signs a message as Standard Webhooks does: HMAC-SHA256 of `id.timestamp.body`.
///
/// # Errors
/// When the secret is none.
pub(super) fn signature(
    secret: &SecretString,
    id: &str,
    seconds: i64,
    body: &str,
) -> Result<String, CannotSend> {
    let key = secret.expose_secret().strip_prefix(PREFIX);
    let key = key.and_then(|key| STANDARD.decode(key).ok());
    let Some(key) = key.filter(|key| OCTETS.contains(&key.len())) else {
        return Err(CannotSend::for_good(Trouble::Setup(format!(
            "the secret is not `{PREFIX}` and {} to {} octets in base64: make one by `echo {PREFIX}$(openssl rand -base64 32)`",
            OCTETS.start(),
            OCTETS.end()
        ))));
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let tag = hmac::sign(&key, format!("{id}.{seconds}.{body}").as_bytes());
    Ok(format!("v1,{}", STANDARD.encode(tag)))
}

/// Sends a message to a webhook.
pub(super) async fn webhook(
    channel: &Channel,
    url: &url::Url,
    secret: &SecretString,
    (id, rendered): (&str, &Rendered),
    now: Timestamp,
) -> Result<String, CannotSend> {
    let body = rendered.json.to_string();
    let seconds = now.timestamp();
    let signature = signature(secret, id, seconds, &body)?;
    let request = client(channel, url)?
        .post(url.clone())
        .header("webhook-id", id)
        .header("webhook-timestamp", seconds)
        .header("webhook-signature", signature);
    send(request, body, secret).await
}

/// Sends a message to Slack, or what takes the same.
pub(super) async fn slack(
    channel: &Channel,
    secret: &SecretString,
    rendered: &Rendered,
) -> Result<String, CannotSend> {
    let unfit = |why: &str| CannotSend::for_good(Trouble::Setup(format!("`secret_url` {why}")));
    let url = url::Url::parse(secret.expose_secret()).map_err(|_| unfit("holds no URL"))?;
    let is_local = url.host_str().is_some_and(crate::config::is_loopback);
    if url.scheme() != "https" && !(url.scheme() == "http" && is_local) {
        return Err(unfit(
            "is not https:// (http:// only on this machine's loopback)",
        ));
    }
    let request = client(channel, &url)?.post(url);
    send(request, slack_payload(rendered).to_string(), secret).await
}

/// A message as Slack takes it: a text for notices, and blocks for what is shown, each within its limit.
pub(super) fn slack_payload(rendered: &Rendered) -> Value {
    const HEADER: usize = 150;
    const SECTION: usize = 3000;
    let subject = &rendered.subject;
    json!({
        "text": escaped(subject, SECTION),
        "blocks": [
            { "type": "header", "text": { "type": "plain_text", "text": cut(subject, HEADER), "emoji": false } },
            { "type": "section", "text": { "type": "mrkdwn", "text": escaped(&rendered.text, SECTION), "verbatim": true } },
        ],
    })
}

/// Within so many characters, escaped: `&`, `<` and `>` begin and end what Slack takes for links and calls.
fn escaped(text: &str, most: usize) -> String {
    let mut out = String::new();
    let mut length = 0;
    for c in text.chars() {
        let mut itself = [0; 4];
        let shown = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            c => &*c.encode_utf8(&mut itself),
        };
        length += shown.chars().count();
        if length >= most {
            out.push('…');
            break;
        }
        out += shown;
    }
    out
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most - 1).chain(['…']).collect(),
    }
}

fn client(channel: &Channel, url: &url::Url) -> Result<reqwest::Client, CannotSend> {
    let setup = |why: String| CannotSend::later(Trouble::Setup(why));
    let mut builder = reqwest::Client::builder()
        .timeout(channel.timeout)
        .connect_timeout(channel.timeout)
        // A redirect would take the message to another place.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("dirsyncd/", env!("CARGO_PKG_VERSION")));
    if url.scheme() == "http" {
        builder = builder.no_proxy().tls_certs_only([]);
    } else if let Some(path) = &channel.ca_file {
        let file = |why: String| setup(format!("the CA file {} {why}", path.display()));
        let unreadable = |error: std::io::Error| file(format!("cannot be read: {error}"));
        let metadata = std::fs::metadata(path).map_err(unreadable)?;
        expect_guarded("the CA file", path, &metadata).map_err(|error| setup(error.to_string()))?;
        let pem = std::fs::read(path).map_err(unreadable)?;
        let roots = reqwest::Certificate::from_pem_bundle(&pem)
            .map_err(|error| file(format!("is no use: {error}")))?;
        if roots.is_empty() {
            return Err(file("holds no certificate".to_owned()));
        }
        builder = builder.tls_certs_only(roots);
    }
    builder.build().map_err(|error| setup(words(error)))
}

async fn send(
    request: reqwest::RequestBuilder,
    body: String,
    secret: &SecretString,
) -> Result<String, CannotSend> {
    let request = request
        .header(header::CONTENT_TYPE, "application/json")
        .body(body);
    let mut response = request
        .send()
        .await
        .map_err(|error| CannotSend::later(Trouble::NoAnswer(words(error))))?;
    let status = response.status();
    let wait = response.headers().get(header::RETRY_AFTER);
    let wait = wait
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .map(Duration::from_secs);
    let mut answer = Vec::new();
    // How it goes on after its status decides nothing.
    while let Ok(Some(chunk)) = response.chunk().await {
        answer.extend_from_slice(&chunk);
        if answer.len() >= ANSWER {
            answer.truncate(ANSWER);
            break;
        }
    }
    if status.is_success() {
        return Ok(status.as_u16().to_string());
    }
    // Whoever answers may show what was sent.
    let said = String::from_utf8_lossy(&answer).replace(secret.expose_secret(), "…");
    let said = cut(&one_line(&said), TOLD);
    let refused = Trouble::Refused {
        status: status.to_string(),
        said,
    };
    // What is wrong with the message does not get right by itself.
    let may_pass = status.is_server_error()
        || [
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::TOO_EARLY,
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::UNAUTHORIZED,
            StatusCode::FORBIDDEN,
            StatusCode::NOT_FOUND,
        ]
        .contains(&status);
    match may_pass {
        true => Err(CannotSend {
            wait,
            ..CannotSend::later(refused)
        }),
        false => Err(CannotSend::for_good(refused)),
    }
}

/// An error's last cause, without the URL, which may be a secret.
fn words(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".to_owned();
    }
    last_cause(&error.without_url())
}
