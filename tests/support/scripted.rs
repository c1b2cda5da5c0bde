//! An LDAP server that does what a test tells it, also what no server may do: LDAPv3 messages (RFC 4511) and raw
//! bytes on a real socket. It shares no code with the program's client.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Person;

/// A part of an answer.
#[derive(Clone, Debug)]
pub enum Step {
    /// The protocolOp of a message with the id of the request.
    Op(Vec<u8>),
    /// The same with controls: their type and value.
    OpWith(Vec<u8>, Vec<(&'static str, Vec<u8>)>),
    /// A message with another id than the request's.
    Stray(i32, Vec<u8>),
    /// Bytes, whatever they are.
    Raw(Vec<u8>),
    /// One byte at a time, with so much time before each.
    Slowly(Duration, Box<Step>),
    /// Nothing more, and the connection stays open until the client closes it.
    Silence,
    /// The connection is closed.
    Close,
}

/// A search request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// How many searches came before it on its connection, those of the root DSE not counted.
    pub nth: usize,
    pub base: String,
    /// The filter in BER.
    pub filter: Vec<u8>,
    pub attributes: Vec<String>,
    /// The controls' types.
    pub controls: Vec<String>,
    /// The page size and the cookie of the paged results control (RFC 2696), if it is there.
    pub page: Option<(i64, Vec<u8>)>,
}

/// What the server answers to a search.
pub type Search = Box<dyn Fn(&Request) -> Vec<Step> + Send + Sync>;

struct Script {
    bind: Vec<Step>,
    search: Search,
}

struct Shared {
    script: Mutex<Arc<Script>>,
    requests: Mutex<Vec<Request>>,
    is_over: AtomicBool,
}

/// A running server; it ends with this.
pub struct Scripted {
    pub port: u16,
    shared: Arc<Shared>,
}

impl Scripted {
    /// Starts one that takes every bind and has nothing to say to searches.
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let shared = Arc::new(Shared {
            script: Mutex::new(Arc::new(Script {
                bind: vec![bound()],
                search: pages(vec![]),
            })),
            requests: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let port = listener.local_addr().unwrap().port();
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if of_thread.is_over.load(Ordering::SeqCst) {
                    break;
                }
                let shared = Arc::clone(&of_thread);
                // A client that goes away in the midst of an answer is no fault.
                std::thread::spawn(move || stream.and_then(|stream| serve(stream, &shared)));
            }
        });
        Scripted { port, shared }
    }

    pub fn url(&self) -> String {
        format!("ldap://127.0.0.1:{}", self.port)
    }

    /// From now on binds are taken and searches answered so.
    pub fn answers(&self, search: Search) {
        self.sets(vec![bound()], search);
    }

    /// From now on binds are answered so.
    pub fn binds(&self, bind: Vec<Step>) {
        self.sets(bind, pages(vec![]));
    }

    fn sets(&self, bind: Vec<Step>, search: Search) {
        *self.shared.script.lock().unwrap() = Arc::new(Script { bind, search });
        self.shared.requests.lock().unwrap().clear();
    }

    /// The searches since the script was set, those of the root DSE left out.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts; it may have ended already.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Answers the searches of a connection one after the other.
pub fn pages(pages: Vec<Vec<Step>>) -> Search {
    Box::new(move |request| {
        pages
            .get(request.nth)
            .cloned()
            .unwrap_or_else(|| vec![result(53, "no such page in the script")])
    })
}

/// A taken bind.
pub fn bound() -> Step {
    Step::Op(ldap_result(0x61, 0, "", &[]))
}

/// A person with the attributes that the preset reads.
pub fn person(person: &Person) -> Step {
    let attributes = attributes(person);
    entry(&person.dn(), &attributes)
}

/// The attributes of a person.
pub fn attributes(person: &Person) -> Vec<(String, Vec<u8>)> {
    let mail = person.mail.clone().unwrap_or_default();
    let values = [
        ("entryUUID", person.key()),
        ("mail", mail),
        ("cn", person.name()),
        ("displayName", person.name()),
        ("givenName", person.given.clone()),
        ("sn", person.family.clone()),
        ("title", person.title.clone()),
        ("departmentNumber", person.department.clone()),
        ("employeeType", person.employee_type.clone()),
        ("preferredLanguage", "en".to_owned()),
    ];
    let owned = |(name, value): (&str, String)| (name.to_owned(), value.into_bytes());
    values.into_iter().map(owned).collect()
}

/// A SearchResultEntry (RFC 4511 section 4.5.2); each value stands in an attribute of its own.
pub fn entry(dn: &str, attributes: &[(String, Vec<u8>)]) -> Step {
    entry_of_octets(dn.as_bytes(), attributes)
}

/// The same with a DN that need not be text.
pub fn entry_of_octets(dn: &[u8], attributes: &[(String, Vec<u8>)]) -> Step {
    let attributes: Vec<Vec<u8>> = attributes
        .iter()
        .map(|(name, value)| {
            let values = tlv(0x31, &tlv(0x04, value));
            tlv(0x30, &[tlv(0x04, name.as_bytes()), values].concat())
        })
        .collect();
    let parts = [tlv(0x04, dn), tlv(0x30, &attributes.concat())];
    Step::Op(tlv(0x64, &parts.concat()))
}

/// A SearchResultReference (RFC 4511 section 4.5.3).
pub fn reference(url: &str) -> Step {
    Step::Op(tlv(0x73, &tlv(0x04, url.as_bytes())))
}

/// A SearchResultDone without controls.
pub fn result(code: u16, text: &str) -> Step {
    Step::Op(ldap_result(0x65, code, text, &[]))
}

/// A SearchResultDone with a referral (RFC 4511 section 4.1.10).
pub fn referral(url: &str) -> Step {
    Step::Op(ldap_result(0x65, 10, "", &[url]))
}

/// A successful SearchResultDone with the cookie of the next page (RFC 2696); an empty one ends the search.
pub fn page_end(cookie: &[u8]) -> Step {
    let value = tlv(0x30, &[tlv(0x02, &[0]), tlv(0x04, cookie)].concat());
    Step::OpWith(ldap_result(0x65, 0, "", &[]), vec![(PAGED_RESULTS, value)])
}

/// An LDAPResult (RFC 4511 section 4.1.9) as the protocolOp with this tag.
pub fn ldap_result(tag: u8, code: u16, text: &str, referrals: &[&str]) -> Vec<u8> {
    let [high, low] = code.to_be_bytes();
    let code = if code < 128 {
        vec![low]
    } else {
        vec![high, low]
    };
    let mut parts = vec![tlv(0x0a, &code), tlv(0x04, b""), tlv(0x04, text.as_bytes())];
    if !referrals.is_empty() {
        let urls: Vec<Vec<u8>> = referrals
            .iter()
            .map(|url| tlv(0x04, url.as_bytes()))
            .collect();
        parts.push(tlv(0xa3, &urls.concat()));
    }
    tlv(tag, &parts.concat())
}

const PAGED_RESULTS: &str = "1.2.840.113556.1.4.319";

/// An element in BER (X.690 section 8.1): identifier, length, content.
pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut element = vec![tag];
    if length < 128 {
        element.push(length as u8);
    } else {
        let octets = length.to_be_bytes();
        let octets = &octets[octets.iter().position(|octet| *octet != 0).unwrap()..];
        element.push(0x80 | octets.len() as u8);
        element.extend(octets);
    }
    element.extend(content);
    element
}

/// An LDAPMessage (RFC 4511 section 4.1.1).
pub fn message(id: i32, op: &[u8], controls: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut parts = vec![tlv(0x02, &id.to_be_bytes()), op.to_vec()];
    if !controls.is_empty() {
        let controls: Vec<Vec<u8>> = controls
            .iter()
            .map(|(kind, value)| {
                tlv(
                    0x30,
                    &[tlv(0x04, kind.as_bytes()), tlv(0x04, value)].concat(),
                )
            })
            .collect();
        parts.push(tlv(0xa0, &controls.concat()));
    }
    tlv(0x30, &parts.concat())
}

/// Serves a connection to its end.
fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut nth = 0;
    while let Some((id, op, content, controls)) = receive(&mut stream)? {
        let script = Arc::clone(&shared.script.lock().unwrap());
        let steps = match op {
            // StartTLS (RFC 4511 section 4.14) is asked for in place of a bind.
            0x60 | 0x77 => script.bind.clone(),
            0x63 => {
                let request = search_request(nth, &content, &controls);
                if request.base.is_empty() {
                    vec![entry("", &[]), result(0, "")]
                } else if let Some(answer) = nowhere(&request) {
                    answer
                } else {
                    nth += 1;
                    shared.requests.lock().unwrap().push(request.clone());
                    (script.search)(&request)
                }
            }
            // Unbind and abandon have no answer.
            0x42 => return Ok(()),
            0x50 => vec![],
            other => panic!("the script knows no request with the tag {other:#x}"),
        };
        for step in steps {
            if !take(&mut stream, id, step)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The answer to who looks for somebody by the key, or at the place where the entry stood: there is
/// nobody but whom the script has.
fn nowhere(request: &Request) -> Option<Vec<Step>> {
    let key = b"entryUUID";
    if request.filter.windows(key.len()).any(|part| part == key) {
        return Some(vec![page_end(b"")]);
    }
    (request.attributes == ["entryUUID"]).then(|| vec![result(32, "")])
}

/// Does one step; false ends the connection.
fn take(stream: &mut TcpStream, id: i32, step: Step) -> io::Result<bool> {
    let (pace, step) = match step {
        Step::Slowly(pace, step) => (Some(pace), *step),
        step => (None, step),
    };
    let bytes = match step {
        Step::Op(op) => message(id, &op, &[]),
        Step::OpWith(op, controls) => message(id, &op, &controls),
        Step::Stray(id, op) => message(id, &op, &[]),
        Step::Raw(bytes) => bytes,
        Step::Slowly(..) => panic!("slowly is not said twice"),
        Step::Silence => {
            let mut ignored = Vec::new();
            stream.read_to_end(&mut ignored)?;
            return Ok(false);
        }
        Step::Close => return Ok(false),
    };
    let Some(pace) = pace else {
        stream.write_all(&bytes)?;
        return Ok(true);
    };
    // The pace is the wait for the client to go away.
    stream.set_read_timeout(Some(pace))?;
    for byte in bytes {
        match stream.peek(&mut [0]) {
            Ok(0) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(_) => panic!("the client asks before it has its answer"),
            Err(error) => return Err(error),
        }
        stream.write_all(&[byte])?;
    }
    stream.set_read_timeout(None)?;
    Ok(true)
}

type Received = (i32, u8, Vec<u8>, Vec<u8>);

/// Reads a message: its id, the tag and the content of its operation, and its controls.
fn receive(stream: &mut TcpStream) -> io::Result<Option<Received>> {
    let mut head = [0; 2];
    if stream.read(&mut head[..1])? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut head[1..])?;
    let mut length = usize::from(head[1]);
    if length >= 128 {
        let mut octets = vec![0; length - 128];
        stream.read_exact(&mut octets)?;
        length = octets
            .iter()
            .fold(0, |sum, octet| sum << 8 | usize::from(*octet));
    }
    let mut content = vec![0; length];
    stream.read_exact(&mut content)?;
    let mut parts = Elements(&content);
    let (_, id) = parts.next().unwrap();
    let (op, request) = parts.next().unwrap();
    let controls = parts.next().map_or(&[][..], |(_, controls)| controls);
    Ok(Some((
        integer(id) as i32,
        op,
        request.to_vec(),
        controls.to_vec(),
    )))
}

/// SearchRequest (RFC 4511 section 4.5.1).
fn search_request(nth: usize, content: &[u8], controls: &[u8]) -> Request {
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
    let parts: Vec<(u8, &[u8])> = Elements(content).collect();
    let [
        base,
        _scope,
        _deref,
        _size,
        _time,
        _types,
        filter,
        attributes,
    ] = parts[..]
    else {
        panic!("a search request of {} parts", parts.len());
    };
    let mut request = Request {
        nth,
        base: text(base.1),
        filter: tlv(filter.0, filter.1),
        attributes: Elements(attributes.1).map(|(_, name)| text(name)).collect(),
        controls: Vec::new(),
        page: None,
    };
    for (_, control) in Elements(controls) {
        let parts: Vec<(u8, &[u8])> = Elements(control).collect();
        let kind = text(parts[0].1);
        if kind == PAGED_RESULTS {
            let value = parts.last().unwrap().1;
            let (_, sequence) = Elements(value).next().unwrap();
            let mut parts = Elements(sequence);
            let size = integer(parts.next().unwrap().1);
            request.page = Some((size, parts.next().unwrap().1.to_vec()));
        }
        request.controls.push(kind);
    }
    request
}

fn integer(octets: &[u8]) -> i64 {
    octets
        .iter()
        .fold(0, |sum, octet| sum << 8 | i64::from(*octet))
}

/// The elements of a constructed one: identifier and content.
struct Elements<'a>(&'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first().unwrap();
        let mut length = usize::from(first);
        if length >= 128 {
            let (octets, after) = rest.split_at(length - 128);
            length = integer(octets) as usize;
            rest = after;
        }
        let (content, after) = rest.split_at(length);
        self.0 = after;
        Some((tag, content))
    }
}
