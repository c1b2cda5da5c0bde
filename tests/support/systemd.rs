//! What systemd is to a service: where it is told how things stand, and what it passes.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::SOON;

/// How often the watchdog wants to hear something, in microseconds: more often than any unit says.
const WATCHDOG_USEC: &str = "200000";

/// Hears what one service tells, as it comes: who is told and does not listen would be waited for.
pub struct Systemd {
    socket: UnixDatagram,
    path: PathBuf,
    told: Receiver<String>,
    /// Gives all that was told.
    listener: Option<JoinHandle<Vec<String>>>,
    _folder: TempDir,
}

impl Systemd {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The service may run as another user.
        super::set_mode(folder.path(), 0o711);
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        super::set_mode(&path, 0o666);
        let (hear, told) = channel();
        let heard = socket.try_clone().unwrap();
        let listener = std::thread::spawn(move || {
            let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
            // What was told before it is shut comes first.
            while let Ok(length @ 1..) = heard.recv(&mut buffer) {
                let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
                all.push(message.clone());
                // A test need not listen.
                let _ = hear.send(message);
            }
            all
        });
        Systemd {
            socket,
            path,
            told,
            listener: Some(listener),
            _folder: folder,
        }
    }

    /// What it passes to a service whose credentials are in this folder.
    pub(super) fn environment<'a>(
        &'a self,
        credentials: &'a Path,
    ) -> [(&'static str, &'a Path); 3] {
        [
            ("NOTIFY_SOCKET", &self.path),
            ("WATCHDOG_USEC", Path::new(WATCHDOG_USEC)),
            ("CREDENTIALS_DIRECTORY", credentials),
        ]
    }

    /// Waits for a message with these words, which comes after those that were waited for before.
    #[track_caller]
    pub fn expect(&self, words: &str) -> String {
        let deadline = Instant::now() + SOON;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let message = self.told.recv_timeout(left);
            let message = message.unwrap_or_else(|_| panic!("systemd is not told `{words}`"));
            if message.contains(words) {
                return message;
            }
        }
    }

    /// From now on, nothing may be told for so long.
    #[track_caller]
    pub fn expect_silence(&self, time: Duration) {
        for _former in self.told.try_iter() {}
        assert_eq!(self.told.recv_timeout(time), Err(RecvTimeoutError::Timeout));
    }

    /// Hears no more; all that was told. Nothing, if that was asked before.
    pub(super) fn end(&mut self) -> Vec<String> {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let listener = self.listener.take();
        listener.map_or_else(Vec::new, |listener| listener.join().unwrap())
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        self.end();
    }
}
