//! Answers spoiled on their way: not JSON, cut in the middle, or dripping.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use futures_util::stream;

use super::answers::BODY_LIMIT;
use super::line::Line;

/// How long half a body has to get out before its connection is closed.
const FLUSHED_WITHIN: Duration = Duration::from_millis(50);

/// What a proxy in between may say in place of the API: 200, but HTML.
pub(super) fn html() -> Response {
    let page = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><h1>Sign in to continue</h1></body></html>\n";
    (StatusCode::OK, Html(page)).into_response()
}

/// The answer, its body whole, and an honest Content-Length.
async fn whole(response: Response) -> (axum::http::response::Parts, Bytes) {
    let (mut parts, body) = response.into_parts();
    // The simulator's own bodies do not fail, and even a list of 100 groups is shorter than the limit.
    let bytes = axum::body::to_bytes(body, 8 * BODY_LIMIT)
        .await
        .unwrap_or_default();
    parts
        .headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    (parts, bytes)
}

/// Half of the body, then the connection is closed. An answer without a body is not given at all.
pub(super) async fn truncate(response: Response, line: Line) -> Response {
    let (parts, bytes) = whole(response).await;
    if bytes.is_empty() {
        line.cut();
        return Response::from_parts(parts, Body::empty());
    }
    let half = bytes.slice(..bytes.len() / 2);
    let body = stream::unfold(Some(half), move |half| {
        let line = line.clone();
        async move {
            if let Some(half) = half {
                return Some((Ok(half), None));
            }
            tokio::time::sleep(FLUSHED_WITHIN).await;
            line.cut();
            Some((Err(io::Error::other("truncated by a fault rule")), None))
        }
    });
    Response::from_parts(parts, Body::from_stream(body))
}

/// One byte of the body after the other.
pub(super) async fn drip(response: Response, pause: Duration) -> Response {
    let (parts, bytes) = whole(response).await;
    if bytes.is_empty() {
        return Response::from_parts(parts, Body::empty());
    }
    let body = stream::unfold(bytes, move |mut bytes| async move {
        if bytes.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        let drop = bytes.split_to(1);
        Some((Ok::<_, Infallible>(drop), bytes))
    });
    Response::from_parts(parts, Body::from_stream(body))
}
