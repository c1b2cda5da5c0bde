//! Who is told things: a receiver of webhooks on a real socket that answers as a test wants, and a real mail server.
//! It shares no code with the program's client.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use tempfile::TempDir;

use super::{SOON, eventually};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What a receiver does with a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Answers with this status line, these headers and this body.
    Of(&'static str, String, String),
    /// Reads it and says nothing, as long as the client holds on.
    Silence,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Hook {
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Hook {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    /// Has Python's hmac check the signature, and the document of the JSON its form.
    #[track_caller]
    pub fn expect_signed(&self, secret: &str) {
        let mut python = Command::new("python3")
            .arg("-B")
            .arg(Path::new(ROOT).join("tests/notify/verify.py"))
            .args([secret, self.id()])
            .args([
                &self.headers["webhook-timestamp"],
                &self.headers["webhook-signature"],
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        python
            .stdin
            .take()
            .unwrap()
            .write_all(self.body.as_bytes())
            .unwrap();
        let output = python.wait_with_output().unwrap();
        assert!(output.status.success(), "{self:?}: {output:?}");
        let schema = Path::new(ROOT).join("docs/notification.schema.json");
        let schema: Value =
            serde_json::from_str(&std::fs::read_to_string(schema).unwrap()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let faults: Vec<String> = validator
            .iter_errors(&self.json())
            .map(|one| one.to_string())
            .collect();
        assert!(faults.is_empty(), "{faults:?}: {}", self.body);
        assert_eq!(self.json()["data"]["id"], self.id());
    }
}

#[derive(Default)]
struct Shared {
    hooks: Mutex<Vec<Hook>>,
    answers: Mutex<VecDeque<Answer>>,
}

/// A running receiver; its threads end with the test's process.
pub struct Hooks {
    pub port: u16,
    shared: Arc<Shared>,
    /// With the certificates, where it speaks TLS.
    folder: Option<TempDir>,
}

impl Hooks {
    /// Starts one that takes everything.
    pub fn start() -> Self {
        Self::serve(None, None)
    }

    /// The same with TLS.
    pub fn start_tls() -> Self {
        let folder = certificates();
        let path = |name: &str| folder.path().join(name);
        let chain = CertificateDer::pem_file_iter(path("tls.pem")).unwrap();
        let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_file(path("tls.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Self::serve(Some(Arc::new(config)), Some(folder))
    }

    fn serve(tls: Option<Arc<ServerConfig>>, folder: Option<TempDir>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::<Shared>::default();
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (shared, tls) = (Arc::clone(&of_thread), tls.clone());
                // A client that goes away in the middle is none of the test's.
                std::thread::spawn(move || match tls {
                    None => serve(stream.ok()?, &shared),
                    Some(tls) => {
                        let connection = ServerConnection::new(tls).ok()?;
                        serve(StreamOwned::new(connection, stream.ok()?), &shared)
                    }
                });
            }
        });
        Hooks {
            port,
            shared,
            folder,
        }
    }

    /// The CA of its certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.as_ref().unwrap().path().join("ca.pem")
    }

    pub fn url(&self, path: &str) -> String {
        let scheme = if self.folder.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://127.0.0.1:{}/{path}", self.port)
    }

    /// The next requests are answered so, one after the other, and those after them taken.
    pub fn answer(&self, answers: &[Answer]) {
        self.shared
            .answers
            .lock()
            .unwrap()
            .extend(answers.iter().cloned());
    }

    /// All that came.
    pub fn all(&self) -> Vec<Hook> {
        self.shared.hooks.lock().unwrap().clone()
    }

    /// Waits until so many have come; more must not have.
    #[track_caller]
    pub fn expect(&self, count: usize) -> Vec<Hook> {
        let all = eventually(&format!("{count} requests"), SOON, || {
            let all = self.all();
            (all.len() >= count).then_some(all)
        });
        assert_eq!(all.len(), count, "{all:#?}");
        all
    }
}

/// An own CA and certificates for loopback, in a folder.
fn certificates() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("bash")
        .current_dir(&folder)
        .args(["-c", ". \"$0\"; certificates 127.0.0.1"])
        .arg(Path::new(ROOT).join("tests/support/certificates.sh"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    folder
}

fn serve(stream: impl Read + Write, shared: &Shared) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let path = line.split(' ').nth(1)?.to_owned();
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length")?.parse().ok()?;
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let body = String::from_utf8(body).ok()?;
        let answer = shared.answers.lock().unwrap().pop_front();
        shared.hooks.lock().unwrap().push(Hook {
            path,
            headers,
            body,
        });
        let (status, more, body) = match answer {
            None => ("204 No Content", String::new(), String::new()),
            Some(Answer::Of(status, more, body)) => (status, more, body),
            Some(Answer::Silence) => {
                let mut rest = Vec::new();
                let _ = reader.read_to_end(&mut rest);
                return None;
            }
        };
        let length = body.len();
        let stream = reader.get_mut();
        write!(
            stream,
            "HTTP/1.1 {status}\r\n{more}Content-Length: {length}\r\n\r\n{body}"
        )
        .ok()?;
        stream.flush().ok()?;
    }
}

/// A mail server with TLS and a login; it ends with this.
pub struct Mail {
    pub port: u16,
    folder: TempDir,
    server: Child,
}

impl Mail {
    /// Starts one that takes mail of this user after STARTTLS only.
    pub fn start(user: &str, password: &str) -> Self {
        Self::serve(user, password, "starttls")
    }

    /// Starts one that speaks TLS from the beginning.
    pub fn start_tls(user: &str, password: &str) -> Self {
        Self::serve(user, password, "tls")
    }

    fn serve(user: &str, password: &str, security: &str) -> Self {
        let venv = Path::new(ROOT).join("target/notify-venv");
        let made = Command::new(Path::new(ROOT).join("tests/scim/setup.sh"))
            .arg(&venv)
            .arg(Path::new(ROOT).join("tests/notify/requirements.txt"))
            .status();
        assert!(made.unwrap().success());
        let folder = certificates();
        let server = Command::new(venv.join("bin/python"))
            .arg("-B")
            .arg(Path::new(ROOT).join("tests/notify/smtp.py"))
            .arg(folder.path())
            .arg(security)
            .env("MAIL_USER", user)
            .env("MAIL_PASSWORD", password)
            .stdout(std::fs::File::create(folder.path().join("stdout")).unwrap())
            .spawn()
            .unwrap();
        let port = eventually("the port of the mail server", SOON, || {
            let port = std::fs::read_to_string(folder.path().join("port")).ok()?;
            port.trim().parse().ok()
        });
        Mail {
            port,
            folder,
            server,
        }
    }

    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The letters that it has taken, as JSON: sender, receivers, headers and text.
    pub fn letters(&self) -> Vec<Value> {
        let letters =
            std::fs::read_to_string(self.folder.path().join("letters")).unwrap_or_default();
        letters
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }
}

impl Drop for Mail {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
