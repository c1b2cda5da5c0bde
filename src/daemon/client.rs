//! Asks a daemon, on the socket of its configuration. Not at its port: anybody on this machine may listen at one while no
//! daemon does, and would be given the token.

use std::error::Error;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::Uid;
use percent_encoding::percent_decode;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::control::{
    DATABASE, ENDED, LAST_LINE, PENDING, PauseOrder, PlanOrder, ProblemDetails, SyncOrder,
    database_name,
};
use super::status::Status;
use crate::config::{Config, OpenFile, expect_own_folders};
use crate::run::Ended;

/// How long an answer about what is there may take. A daemon that does not answer by then hangs.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// Who asks a daemon.
pub struct Client {
    http: reqwest::Client,
    place: String,
    /// The database of which it is to be the daemon, as it is told; `None` for any.
    database: Option<String>,
}

/// A report that a daemon has made.
#[derive(Clone, Debug)]
pub struct Reported {
    /// The report.
    pub text: String,
    /// Its last line, whatever its form.
    pub last: String,
    /// How it ended.
    pub ended: Ended,
    /// Whether a dry run that all is well with has changes.
    pub is_pending: bool,
}

/// Why a daemon has not answered, or not as it should.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It has no socket.
    #[error(
        "the daemon of this configuration cannot be asked by a command: `socket` in [daemon] is false; at `listen` only scripts ask, as anybody may listen at a port"
    )]
    NoSocket,
    /// None is there.
    #[error(
        "no daemon answers on {0}: start it (`dirsyncd run`), or give the configuration that it runs with"
    )]
    NoDaemon(String),
    /// The system does not let this user ask.
    #[error("this user may not ask the daemon on {0}: only root and the daemon's own user may")]
    NotAllowed(String),
    /// Others could have put another socket there.
    #[error(transparent)]
    Open(#[from] OpenFile),
    /// It is there and does not answer.
    #[error(
        "the daemon on {place} does not answer: {why}; its log may say why, and a restart ends it"
    )]
    NoAnswer {
        /// Where.
        place: String,
        /// Why not.
        why: String,
    },
    /// It has refused.
    #[error("{}", .0.detail)]
    Problem(Box<ProblemDetails>),
}

impl AskError {
    /// How that ends what was to be done.
    pub fn ended(&self) -> Ended {
        match self {
            AskError::NoSocket => Ended::Usage,
            AskError::Problem(problem) => {
                let is_refusal =
                    problem.kind.ends_with(":paused") || problem.kind.ends_with(":busy");
                let otherwise = match is_refusal {
                    true => Ended::Refused,
                    false => Ended::Failed,
                };
                problem.ended.unwrap_or(otherwise)
            }
            _ => Ended::Failed,
        }
    }
}

/// Whether the folder is that of a user for whom this one cannot ask.
fn is_of_others(socket: &Path) -> bool {
    let own = Uid::effective();
    let folder = socket.parent().map(std::fs::metadata);
    !own.is_root()
        && folder.is_some_and(|folder| match folder {
            Ok(folder) => ![0, own.as_raw()].contains(&folder.uid()),
            Err(error) => error.kind() == ErrorKind::PermissionDenied,
        })
}

impl Client {
    /// Who asks the daemon of this configuration.
    ///
    /// # Errors
    /// When it cannot be asked at all.
    pub fn of(config: &Config) -> Result<Self, AskError> {
        let socket = config.daemon.socket.as_ref().ok_or(AskError::NoSocket)?;
        let database = database_name(&config.database);
        Self::new(socket, Some(database))
    }

    /// Who asks the daemon on this socket, whichever it is.
    ///
    /// # Errors
    /// When it cannot be asked at all.
    pub fn at(socket: &Path) -> Result<Self, AskError> {
        Self::new(socket, None)
    }

    fn new(socket: &Path, database: Option<String>) -> Result<Self, AskError> {
        let place = socket.display().to_string();
        expect_own_folders(socket).map_err(|open| match is_of_others(socket) {
            true => AskError::NotAllowed(place.clone()),
            false => open.into(),
        })?;
        // Nobody between, and no answer for ever to be had.
        let builder = reqwest::Client::builder().no_proxy();
        let builder = builder.unix_socket(PathBuf::from(socket));
        let http = builder.build().map_err(|error| AskError::NoAnswer {
            place: place.clone(),
            why: error.to_string(),
        })?;
        Ok(Client {
            http,
            place,
            database,
        })
    }

    /// How things stand.
    ///
    /// # Errors
    /// When it is not told.
    pub async fn status(&self) -> Result<Status, AskError> {
        let request = self.request(Method::GET, "/v1/status");
        self.read(request.timeout(ANSWER_WITHIN)).await
    }

    /// Whether the work goes on, whatever else is wrong.
    ///
    /// # Errors
    /// When it is not told.
    pub async fn is_healthy(&self) -> Result<bool, AskError> {
        let request = self.request(Method::GET, "/healthz");
        let sent = request.timeout(ANSWER_WITHIN).send().await;
        let answer = sent.map_err(|error| self.not_sent(&error))?;
        match answer.status() {
            StatusCode::SERVICE_UNAVAILABLE => Ok(false),
            _ => self.accept(answer).await.map(|_| true),
        }
    }

    /// Has a dry run made.
    ///
    /// # Errors
    /// When there is no report.
    pub async fn plan(&self, order: &PlanOrder) -> Result<Reported, AskError> {
        self.report("/v1/plan", order).await
    }

    /// Has a sync made.
    ///
    /// # Errors
    /// When there is no report.
    pub async fn sync(&self, order: &SyncOrder) -> Result<Reported, AskError> {
        self.report("/v1/sync", order).await
    }

    /// Has no more jobs started.
    ///
    /// # Errors
    /// When that is not done, or not known to be.
    pub async fn pause(&self, order: &PauseOrder) -> Result<Status, AskError> {
        let request = self.request(Method::POST, "/v1/pause").json(order);
        self.read(request.timeout(ANSWER_WITHIN)).await
    }

    /// Has jobs started again.
    ///
    /// # Errors
    /// When that is not done, or not known to be.
    pub async fn resume(&self) -> Result<Status, AskError> {
        let request = self.request(Method::POST, "/v1/resume");
        self.read(request.timeout(ANSWER_WITHIN)).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("http://localhost{path}"));
        match &self.database {
            None => request,
            Some(database) => request.header(DATABASE, database),
        }
    }

    async fn read<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, AskError> {
        let answer = self.send(request).await?;
        answer.json().await.map_err(|error| self.no_answer(&error))
    }

    async fn report(&self, path: &str, order: &impl Serialize) -> Result<Reported, AskError> {
        let request = self.request(Method::POST, path).json(order);
        let answer = self.send(request).await?;
        let ended = answer.headers().get(ENDED.as_str());
        let ended = ended
            .and_then(|ended| ended.to_str().ok())
            .unwrap_or_default();
        let last = answer.headers().get(LAST_LINE.as_str());
        let last = last.map(|last| percent_decode(last.as_bytes()).decode_utf8_lossy());
        let last = last.unwrap_or_default().into_owned() + "\n";
        let is_pending = ended == PENDING;
        let word = serde_json::Value::from(ended);
        let ended = match is_pending {
            true => Ended::Done,
            false => serde_json::from_value(word).map_err(|error| AskError::NoAnswer {
                place: self.place.clone(),
                why: error.to_string(),
            })?,
        };
        let text = answer
            .text()
            .await
            .map_err(|error| self.no_answer(&error))?;
        Ok(Reported {
            text,
            last,
            ended,
            is_pending,
        })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, AskError> {
        let sent = request.send().await;
        let answer = sent.map_err(|error| self.not_sent(&error))?;
        self.accept(answer).await
    }

    async fn accept(&self, answer: Response) -> Result<Response, AskError> {
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        match answer.json().await {
            Ok(problem) => Err(AskError::Problem(Box::new(problem))),
            Err(error) => Err(AskError::NoAnswer {
                place: self.place.clone(),
                why: format!("{status}: {error}"),
            }),
        }
    }

    fn not_sent(&self, error: &reqwest::Error) -> AskError {
        if !error.is_connect() {
            return self.no_answer(error);
        }
        let mut why: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(error) = why {
            let kind = error
                .downcast_ref::<std::io::Error>()
                .map(|error| error.kind());
            match kind {
                Some(ErrorKind::PermissionDenied) => {
                    return AskError::NotAllowed(self.place.clone());
                }
                Some(ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                    return AskError::NoDaemon(self.place.clone());
                }
                _ => why = error.source(),
            }
        }
        self.no_answer(error)
    }

    fn no_answer(&self, error: &reqwest::Error) -> AskError {
        let mut why = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            why = error.to_string();
            source = error.source();
        }
        if error.is_timeout() {
            why = format!("no answer within {} s", ANSWER_WITHIN.as_secs());
        }
        AskError::NoAnswer {
            place: self.place.clone(),
            why,
        }
    }
}
