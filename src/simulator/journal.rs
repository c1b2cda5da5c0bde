//! The log of the requests from outside, for tests and rehearsals to look into.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

/// How many requests are remembered, at most.
const KEPT: usize = 100_000;

/// How many bytes of their texts are remembered, at most; older requests are forgotten earlier then.
const BYTES: usize = 128 << 20;

/// How much of one body is remembered. A longer one is cut there, and so is shown as a text, not as JSON.
const BODY: usize = 1 << 20;

/// One request as it came in.
pub(super) struct Entry {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) request_id: String,
    /// Of a write.
    pub(super) body: Option<String>,
    pub(super) fault: Option<&'static str>,
}

impl Entry {
    /// The bytes of its texts.
    fn size(&self) -> usize {
        let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        self.method.len()
            + self.path.len()
            + self.request_id.len()
            + optional(&self.query)
            + optional(&self.body)
    }
}

struct Line {
    seq: u64,
    entry: Entry,
    /// None while under way, and for ever when the client was left without an answer.
    status: Option<u16>,
}

/// The last requests, oldest first.
#[derive(Default)]
pub(super) struct Journal(Mutex<Lines>);

#[derive(Default)]
struct Lines {
    last: u64,
    bytes: usize,
    lines: VecDeque<Line>,
}

impl Journal {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request at its arrival and answers its number.
    pub(super) fn note(&self, mut entry: Entry) -> u64 {
        if let Some(body) = entry.body.as_mut().filter(|body| body.len() > BODY) {
            body.truncate(body.floor_char_boundary(BODY));
            body.shrink_to_fit();
        }
        let mut lines = self.lines();
        lines.last += 1;
        let seq = lines.last;
        lines.bytes += entry.size();
        while lines.lines.len() >= KEPT || lines.bytes > BYTES {
            let Some(oldest) = lines.lines.pop_front() else {
                break;
            };
            lines.bytes -= oldest.entry.size();
        }
        lines.lines.push_back(Line {
            seq,
            entry,
            status: None,
        });
        seq
    }

    /// Notes the answer, unless the entry has been cleared since.
    pub(super) fn answered(&self, seq: u64, status: u16) {
        let mut lines = self.lines();
        let first = lines.lines.front().map_or(u64::MAX, |line| line.seq);
        let index = seq
            .checked_sub(first)
            .and_then(|index| usize::try_from(index).ok());
        if let Some(line) = index.and_then(|index| lines.lines.get_mut(index)) {
            line.status = Some(status);
        }
    }

    /// The entries after the one with the number `after`.
    pub(super) fn show(&self, after: u64) -> Value {
        let lines = self.lines();
        lines
            .lines
            .iter()
            .filter(|line| line.seq > after)
            .map(Line::show)
            .collect()
    }

    pub(super) fn clear(&self) {
        let mut lines = self.lines();
        lines.lines.clear();
        lines.bytes = 0;
    }
}

impl Line {
    fn show(&self) -> Value {
        let Self {
            seq,
            entry:
                Entry {
                    method,
                    path,
                    query,
                    request_id,
                    body,
                    fault,
                },
            status,
        } = self;
        let body = body.as_ref().map(|text| {
            // A body that is no JSON is shown as it came.
            serde_json::from_str(text).unwrap_or_else(|_| Value::from(text.as_str()))
        });
        json!({
            "seq": seq, "method": method, "path": path, "query": query, "status": status,
            "request_id": request_id, "body": body, "fault": fault,
        })
    }
}
