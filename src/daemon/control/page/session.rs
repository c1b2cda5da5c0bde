//! Who comes in with a browser, which cannot send a token by itself: a cookie in exchange for the token, and what
//! shows that a form is of a page of ours.
//!
//! A cookie is random, and kept in memory alone: a restart ends every session. Forms carry a code that only this
//! process can make of the cookie, so that it is bound to the session whether there was a login or, at the socket,
//! none was needed. A browser sends a cookie to every port of a host: what listens on another port of the same
//! address sees it too.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use blake3::Hash;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

/// The name of the cookie.
const NAME: &str = "dirsyncd";

/// How long a login is good for.
const GOOD_FOR: Duration = Duration::from_secs(8 * 60 * 60);

/// How many logins are open at once; another one ends the oldest.
const MOST: usize = 16;

/// How long another try is waited for after a wrong token.
const REST: Duration = Duration::from_secs(1);

/// How long a try waits for those before it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The sessions of this process.
pub(super) struct Sessions {
    key: [u8; 32],
    open: Mutex<VecDeque<Session>>,
    trying: Arc<tokio::sync::Mutex<()>>,
}

/// A login. What was shown for it is kept as digests, which are compared in constant time.
struct Session {
    cookie: Hash,
    token: Hash,
    until: Instant,
}

/// Why a login is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoLogin {
    /// The token is another one.
    Wrong,
    /// Too many wrong ones were tried.
    TooMany,
}

impl Sessions {
    pub(super) fn new() -> Self {
        Sessions {
            key: *random().as_bytes(),
            open: Mutex::default(),
            trying: Arc::default(),
        }
    }

    /// Begins a session for whoever has the token, if `is_right` says so; the cookie. Tries are one after another,
    /// and a wrong one takes its time also if nobody waits for the answer.
    pub(super) async fn log_in(
        &self,
        token: &SecretString,
        is_right: bool,
    ) -> Result<String, NoLogin> {
        let turn = Arc::clone(&self.trying).lock_owned();
        let turn = tokio::time::timeout(PATIENCE, turn).await;
        let turn = turn.map_err(|_| NoLogin::TooMany)?;
        if !is_right {
            let rested = tokio::spawn(async move {
                tokio::time::sleep(REST).await;
                drop(turn);
            });
            // It ends by itself.
            let _ = rested.await;
            return Err(NoLogin::Wrong);
        }
        let cookie = new_cookie();
        let session = Session {
            cookie: blake3::hash(cookie.as_bytes()),
            token: digest(token),
            until: Instant::now() + GOOD_FOR,
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        while open.len() >= MOST {
            open.pop_front();
        }
        open.push_back(session);
        Ok(cookie)
    }

    /// Whether somebody has logged in with the token as it is now, and got this cookie.
    pub(super) fn is_open(&self, cookie: &str, token: &SecretString) -> bool {
        let (cookie, token, now) = (
            blake3::hash(cookie.as_bytes()),
            digest(token),
            Instant::now(),
        );
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|session| now < session.until && session.token == token);
        open.iter().any(|session| session.cookie == cookie)
    }

    /// Ends a session.
    pub(super) fn log_out(&self, cookie: &str) {
        let cookie = blake3::hash(cookie.as_bytes());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|session| session.cookie != cookie);
    }

    /// What the forms of the session with this cookie carry.
    pub(super) fn form_code(&self, cookie: &str) -> String {
        self.code(cookie).to_hex().to_string()
    }

    /// Whether a form is of the session with this cookie.
    pub(super) fn is_form_code(&self, cookie: &str, given: &str) -> bool {
        Hash::from_hex(given).is_ok_and(|given| given == self.code(cookie))
    }

    fn code(&self, cookie: &str) -> Hash {
        blake3::keyed_hash(&self.key, cookie.as_bytes())
    }
}

fn digest(token: &SecretString) -> Hash {
    blake3::hash(token.expose_secret().as_bytes())
}

/// From the system's source of random numbers: each of these has 122 bits of it.
fn random() -> Hash {
    let parts = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    blake3::hash(parts.map(Uuid::into_bytes).as_flattened())
}

/// A cookie that nobody has yet.
pub(super) fn new_cookie() -> String {
    random().to_hex().to_string()
}

/// The cookie that comes with a request, if it is of the form of ours.
pub(super) fn cookie_of(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter();
    all.filter_map(|one| one.to_str().ok())
        .flat_map(|one| one.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| *name == NAME && Hash::from_hex(value).is_ok())
        .map(|(_, value)| value)
}

/// The header that sets it. Without an age it goes with the browser, and no later than the session ends here.
pub(super) fn set_cookie(cookie: &str) -> String {
    format!("{NAME}={cookie}; Path=/; HttpOnly; SameSite=Strict")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use axum::http::HeaderValue;

    use super::*;

    fn token(text: &str) -> SecretString {
        SecretString::from(text)
    }

    #[tokio::test]
    async fn a_session_ends_with_the_logout_the_token_and_too_many_others() {
        let sessions = Sessions::new();
        let right = token("0123456789abcdef");
        let cookie = sessions.log_in(&right, true).await.unwrap();
        assert!(sessions.is_open(&cookie, &right));
        assert!(!sessions.is_open(&new_cookie(), &right));
        assert!(!sessions.is_open("", &right));
        sessions.log_out(&cookie);
        assert!(!sessions.is_open(&cookie, &right));

        let first = sessions.log_in(&right, true).await.unwrap();
        for _ in 1..MOST {
            sessions.log_in(&right, true).await.unwrap();
        }
        assert!(sessions.is_open(&first, &right));
        let last = sessions.log_in(&right, true).await.unwrap();
        assert!(!sessions.is_open(&first, &right));
        assert!(sessions.is_open(&last, &right));

        assert!(!sessions.is_open(&last, &token("another token of it")));
        assert!(!sessions.is_open(&last, &right));
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_tokens_are_tried_one_after_another() {
        let sessions = Sessions::new();
        let right = token("0123456789abcdef");
        let begun = tokio::time::Instant::now();
        let wrong = || sessions.log_in(&right, false);
        let (one, other, right) = tokio::join!(wrong(), wrong(), sessions.log_in(&right, true));
        assert_eq!((one, other), (Err(NoLogin::Wrong), Err(NoLogin::Wrong)));
        assert!(right.is_ok());
        assert!(begun.elapsed() >= REST * 2);
        // Nobody waits for the answer, and the next one comes no sooner.
        let _ = tokio::time::timeout(REST / 4, wrong()).await;
        let begun = tokio::time::Instant::now();
        assert_eq!(wrong().await, Err(NoLogin::Wrong));
        assert!(begun.elapsed() > REST);
    }

    #[test]
    fn a_form_is_of_its_own_session_alone() {
        let (sessions, others) = (Sessions::new(), Sessions::new());
        let (mine, yours) = (new_cookie(), new_cookie());
        let code = sessions.form_code(&mine);
        assert!(sessions.is_form_code(&mine, &code));
        assert!(!sessions.is_form_code(&yours, &code));
        assert!(!others.is_form_code(&mine, &code));
        for wrong in ["", "0", &mine, &code[1..]] {
            assert!(!sessions.is_form_code(&mine, wrong), "{wrong}");
        }
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let cookie = new_cookie();
        let given = |text: String| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, HeaderValue::from_str(&text).unwrap());
            cookie_of(&headers).map(str::to_owned)
        };
        assert_eq!(given(format!("a=b; {NAME}={cookie}")), Some(cookie.clone()));
        assert_eq!(
            given(format!("{NAME}=short; {NAME}={cookie};")),
            Some(cookie.clone())
        );
        assert_eq!(given(format!("x{NAME}={cookie}")), None);
        assert_eq!(cookie_of(&HeaderMap::new()), None);
    }
}
