//! Whatever the API answers is understood or told as an error. It answers each request of a look at
//! the organization with the next of a few bodies, over a real connection.
#![no_main]

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{LazyLock, Mutex};

use dirsyncd::config::Config;
use dirsyncd::model::{AccountId, ExternalId, ScimId};
use dirsyncd::org::{ApiError, Reader};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

/// What the next requests are answered with, the last of them for good.
static ANSWERS: Mutex<Vec<(u16, Vec<u8>)>> = Mutex::new(Vec::new());

struct Stage {
    runtime: Runtime,
    config: Config,
    _folder: tempfile::TempDir,
}

static STAGE: LazyLock<Stage> = LazyLock::new(|| {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || serve(stream.unwrap()));
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let key = tempfile::NamedTempFile::new_in(folder.path()).unwrap();
    std::fs::write(key.path(), "the-key").unwrap();
    let path = folder.path().join("key");
    key.persist(path).unwrap();
    let text = format!(
        "[organization]\nid = \"o\"\ndirectory = \"d\"\napi = {url:?}\nscim_key = {{ file = \"key\" }}\nadmin_key = {{ file = \"key\" }}\n[[source]]\nkind = \"ldif\"\nfile = \"f\"\npreset = \"openldap\"\nbase = \"dc=org\"\n"
    );
    Stage {
        runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
        config: Config::parse(Path::new(&folder.path().join("config.toml")), &text).unwrap(),
        _folder: folder,
    }
});

fn serve(stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some((_, value)) = line.to_ascii_lowercase().split_once("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let (status, answer) = {
            let mut answers = ANSWERS.lock().unwrap();
            match answers.len() {
                0 => (404, Vec::new()),
                1 => answers[0].clone(),
                _ => answers.remove(0),
            }
        };
        let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n", answer.len());
        if writer.write_all(&[head.as_bytes(), &answer].concat()).is_err() {
            return;
        }
    }
}

fn told<T>(result: Result<T, ApiError>) {
    if let Err(error) = result {
        let text = error.to_string();
        assert!(!text.contains("the-key"), "{text}");
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((which, rest)) = data.split_first() else { return };
    // Statuses that make the client wait are left out.
    const STATUSES: [u16; 8] = [200, 200, 200, 200, 201, 302, 400, 403];
    let answers: Vec<(u16, Vec<u8>)> = rest
        .split(|octet| *octet == 0)
        .map(|answer| match answer.split_first() {
            Some((status, body)) => (STATUSES[usize::from(*status) % 8], body.to_vec()),
            None => (200, Vec::new()),
        })
        .collect();
    let stage = &*STAGE;
    *ANSWERS.lock().unwrap() = answers;
    let key = ExternalId::new("k".to_owned());
    let scim_id = ScimId::new("s".to_owned());
    stage.runtime.block_on(async {
        let reader = Reader::new(&stage.config.organization).unwrap();
        let nobody = HashSet::new();
        match which % 12 {
            0 => told(reader.capabilities().await),
            1 => told(reader.organization_name().await),
            2 => told(reader.verified_domains().await),
            3 => told(reader.all_accounts(&nobody).await),
            4 => told(reader.export_users().await),
            5 => told(reader.export_groups(&HashSet::new()).await),
            6 => told(reader.all_groups().await),
            7 => told(reader.by_external_id(&key).await),
            8 => told(reader.group(&scim_id).await),
            9 => told(reader.by_scim_id(&scim_id).await),
            10 => told(reader.deletion_barrier(&AccountId::new("a".to_owned())).await),
            _ => told(reader.by_address("a@example.org").await),
        }
    });
});
