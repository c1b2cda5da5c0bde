//! An operation that is being carried out: its requests that write, and what becomes of it when the run is
//! asked to stop.
//!
//! From then on nothing is waited for before a request, and an operation of which nothing has gone out is not
//! begun. What is under way is brought to its end, but for [`GRACE`] only.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use reqwest::Method;

use super::http::{Failure, Reply};
use super::{ApiError, Cause};
use crate::model::{Exchange, Shutdown};

/// How long an answer is waited for at most once the run is asked to stop. It has ended within 10 s, and the
/// journal is written in these too.
const GRACE: Duration = Duration::from_secs(6);

tokio::task_local! {
    /// Not handed down by every call, as most of them have nothing to do with it.
    static CARRIED: Carried;
}

struct Carried {
    /// Its requests that write, in their order; also those whose answer was not waited for.
    exchanges: RefCell<Vec<Exchange>>,
    stop: Shutdown,
    /// Whether such a request is under way.
    is_out: Cell<bool>,
    /// Whether one before it got no usable answer, and none since that tells what became of it.
    is_unclear: Cell<bool>,
    /// Whether something was not waited for, as the run is asked to stop.
    is_cut: Cell<bool>,
}

impl Carried {
    fn is_in_doubt(&self) -> bool {
        self.is_out.get() || self.is_unclear.get()
    }

    /// What has not gone out by now does not, and is no request.
    fn give_up(&self) {
        self.is_cut.set(true);
        let mut exchanges = self.exchanges.borrow_mut();
        let is_unanswered = |one: &mut Exchange| one.status.is_none() && one.error.is_none();
        if !self.is_out.get() {
            exchanges.pop_if(is_unanswered);
        }
    }

    /// Whether something may be different in the organization by now.
    fn may_have_taken_effect(&self) -> bool {
        self.is_in_doubt() || self.exchanges.borrow().iter().any(Exchange::is_success)
    }
}

/// Carries an operation out, for so long at most, and tells its requests that write.
pub(super) async fn carry<T>(
    stop: &Shutdown,
    at_most: Duration,
    work: impl Future<Output = Result<T, ApiError>>,
) -> (Result<T, ApiError>, Vec<Exchange>) {
    let work = async {
        let failed = |cause: Cause| ApiError {
            request: "the operation".to_owned(),
            request_id: None,
            cause,
        };
        let result = tokio::select! {
            // Before the work, which would go on and send something.
            biased;
            () = given_up() => {
                CARRIED.with(Carried::give_up);
                Err(failed(Cause::Stopped))
            }
            result = tokio::time::timeout(at_most, work) => result.unwrap_or_else(|_| {
                let at_most = humantime::format_duration(at_most);
                Err(failed(Cause::NoAnswer(format!("it was not done within {at_most}"))))
            }),
        };
        CARRIED.with(|carried| {
            let is_in_doubt = carried.is_in_doubt();
            let result = result.map_err(|error| match carried.is_cut.get() {
                true if is_in_doubt => failed(Cause::Unawaited),
                true => failed(Cause::Stopped),
                // An attempt before may have taken effect.
                false if is_in_doubt && error.concerns_everybody() => error.in_doubt(),
                false => error,
            });
            (result, carried.exchanges.take())
        })
    };
    let carried = Carried {
        exchanges: RefCell::default(),
        stop: stop.clone(),
        is_out: Cell::new(false),
        is_unclear: Cell::new(false),
        is_cut: Cell::new(false),
    };
    CARRIED.scope(carried, work).await
}

/// Waits until the operation is not waited for any more.
async fn given_up() {
    CARRIED.with(|carried| carried.stop.clone()).wait().await;
    if CARRIED.with(Carried::may_have_taken_effect) {
        tokio::time::sleep(GRACE).await;
    }
}

/// Does this, if the operation is not to stop meanwhile, which ends it.
pub(super) async fn unless_stopped<T>(work: impl Future<Output = T>) -> Option<T> {
    // What is no operation is dropped by whoever waits for it.
    let Ok(stop) = CARRIED.try_with(|carried| carried.stop.clone()) else {
        return Some(work.await);
    };
    tokio::select! {
        biased;
        result = work => Some(result),
        () = stop.wait() => {
            CARRIED.with(|carried| carried.is_cut.set(true));
            None
        }
    }
}

/// A request that writes, from before it goes out.
pub(super) struct Noted {
    at: Option<usize>,
    was_unclear: bool,
}

impl Noted {
    pub(super) fn sending(method: &Method, request: &str) -> Self {
        let nothing = Noted {
            at: None,
            was_unclear: false,
        };
        if *method == Method::GET {
            return nothing;
        }
        let exchange = Exchange {
            request: request.to_owned(),
            status: None,
            request_id: None,
            error: None,
        };
        let noted = CARRIED.try_with(|carried| {
            let mut exchanges = carried.exchanges.borrow_mut();
            exchanges.push(exchange);
            Noted {
                at: Some(exchanges.len() - 1),
                was_unclear: carried.is_unclear.get(),
            }
        });
        // Nobody wants to know of what is no operation.
        noted.unwrap_or(nothing)
    }

    /// It goes out now.
    pub(super) fn goes_out(&self) {
        if self.at.is_some() {
            let _ = CARRIED.try_with(|carried| carried.is_out.set(true));
        }
    }

    pub(super) fn answered(&self, result: &Result<Reply, Failure>) {
        let Some(at) = self.at else { return };
        let (status, request_id, error) = match result {
            Ok(reply) => (Some(reply.status.as_u16()), &reply.request_id, None),
            Err(failure) => (
                failure.status.map(|status| status.as_u16()),
                &failure.request_id,
                match (&failure.cause, failure.status) {
                    (Cause::Throttled, None) => Some("not sent, as the limits are used up"),
                    (cause, _) => cause.words(),
                },
            ),
        };
        let _ = CARRIED.try_with(|carried| {
            carried.is_out.set(false);
            match result {
                Ok(_) => carried.is_unclear.set(self.was_unclear),
                Err(failure) if failure.cause.may_have_taken_effect() => {
                    carried.is_unclear.set(true);
                }
                Err(_) => {}
            }
            if let Some(exchange) = carried.exchanges.borrow_mut().get_mut(at) {
                exchange.status = status;
                exchange.request_id.clone_from(request_id);
                exchange.error = error.map(str::to_owned);
            }
        });
    }
}
