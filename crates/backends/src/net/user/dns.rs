//! The name server (RFC 1035) at the `dns` address.
//!
//! Questions for addresses are put to the host's own resolver, so that the guest knows what the host knows,
//! `/etc/hosts` and special name services included. Other questions go as they are to the name servers in the
//! host's `/etc/resolv.conf`. Either may take long, so each question has a thread of its own.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::stack::Stack;
use super::wire::u16_at;

const THREADS: usize = 32;
/// Both questions about a name, for A and AAAA, are answered by one look-up.
const CACHE_TIME: Duration = Duration::from_secs(20);
const CACHE_LIMIT: usize = 1024;
const SERVER_TIMEOUT: Duration = Duration::from_millis(1500);
/// A server that has not answered is left alone for this long.
const SERVER_REST: Duration = Duration::from_secs(60);
const TTL: u32 = 30;

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;
const NO_ERROR: u8 = 0;
const FORMAT_ERROR: u8 = 1;
const SERVER_FAILURE: u8 = 2;
const NAME_ERROR: u8 = 3;

type Answer = Result<Vec<IpAddr>, u8>;

#[derive(Clone)]
pub(crate) struct Resolver(Arc<Inner>);

struct Inner {
    threads: AtomicUsize,
    cache: Mutex<HashMap<String, (Instant, Answer)>>,
    resting: Mutex<HashMap<SocketAddr, Instant>>,
}

/// The one question of a query.
#[derive(Debug, PartialEq, Eq)]
struct Question {
    name: String,
    kind: u16,
    class: u16,
    /// Where the question ends in the message.
    end: usize,
}

impl Question {
    fn read(query: &[u8]) -> Option<Question> {
        // A query, not a response; one question.
        if query.get(2)? & 0xf8 != 0 || u16_at(query, 4)? != 1 {
            return None;
        }
        let mut name = String::new();
        let mut at = 12;
        loop {
            let len = usize::from(*query.get(at)?);
            at += 1;
            if len == 0 {
                break;
            }
            let label = query.get(at..at + len).filter(|_| len < 64)?;
            if name.len() + len > 253 {
                return None;
            }
            if !name.is_empty() {
                name.push('.');
            }
            name.extend(label.iter().map(|byte| char::from(*byte)));
            at += len;
        }
        Some(Question { name, kind: u16_at(query, at)?, class: u16_at(query, at + 2)?, end: at + 4 })
    }
}

impl Stack {
    /// Takes a query by UDP; the answer is sent when it is there.
    pub(crate) fn receive_query(&mut self, ends: (SocketAddrV4, SocketAddrV4), query: &[u8]) {
        let (handle, query) = (self.handle.clone(), query.to_vec());
        let events = self.events.clone();
        self.resolver.clone().in_thread(move |resolver| {
            let Some(mut answer) = resolver.answer(&query, false) else { return };
            if answer.len() > datagram_limit(&query) {
                // The guest asks again by TCP.
                let end = Question::read(&answer_as_query(&answer)).map_or(12, |question| question.end);
                answer.truncate(end);
                answer[2] |= 2;
                answer[6..12].fill(0);
            }
            events.defer(move || {
                handle.with(|stack| stack.link.send_udp(ends, &answer));
            });
        });
    }
}

/// How long an answer by UDP may be: 512 bytes, or what the query says (EDNS, RFC 6891).
fn datagram_limit(query: &[u8]) -> usize {
    let additional = u16_at(query, 10).unwrap_or(0);
    let option = Question::read(query).and_then(|question| {
        let record = query.get(question.end..)?;
        (additional > 0 && record.first()? == &0 && u16_at(record, 1)? == 41)
            .then(|| u16_at(record, 3))
            .flatten()
    });
    usize::from(option.unwrap_or(512)).clamp(512, 1432)
}

fn answer_as_query(answer: &[u8]) -> Vec<u8> {
    let mut query = answer.to_vec();
    if let Some(flags) = query.get_mut(2) {
        *flags &= 7;
    }
    query
}

impl Resolver {
    pub(crate) fn new() -> Resolver {
        Resolver(Arc::new(Inner {
            threads: AtomicUsize::new(0),
            cache: Mutex::default(),
            resting: Mutex::default(),
        }))
    }

    fn in_thread(self, work: impl FnOnce(&Resolver) + Send + 'static) {
        if self.0.threads.fetch_add(1, Ordering::Relaxed) >= THREADS {
            // The guest will ask again.
            self.0.threads.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let resolver = self.clone();
        let spawned = thread::Builder::new().name("dns".to_owned()).spawn(move || {
            work(&resolver);
            resolver.0.threads.fetch_sub(1, Ordering::Relaxed);
        });
        if spawned.is_err() {
            self.0.threads.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Serves queries by TCP (RFC 7766) on the returned socket's other end.
    pub(crate) fn serve_stream(&self) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        theirs.set_nonblocking(true)?;
        ours.set_read_timeout(Some(Duration::from_secs(30)))?;
        ours.set_write_timeout(Some(Duration::from_secs(30)))?;
        self.clone().in_thread(move |resolver| {
            // Ends when the guest closes or sends nonsense.
            let _ = resolver.serve(ours);
        });
        Ok(theirs)
    }

    fn serve(&self, mut stream: UnixStream) -> io::Result<()> {
        loop {
            let mut len = [0; 2];
            stream.read_exact(&mut len)?;
            let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
            stream.read_exact(&mut query)?;
            if let Some(answer) = self.answer(&query, true) {
                let len = answer.len().min(0xffff);
                stream.write_all(&(len as u16).to_be_bytes())?;
                stream.write_all(&answer[..len])?;
            }
        }
    }

    /// The answer to a query; `None` if it is not even one.
    fn answer(&self, query: &[u8], stream: bool) -> Option<Vec<u8>> {
        if query.len() < 12 || query[2] & 0x80 != 0 {
            return None;
        }
        let Some(question) = Question::read(query) else {
            return Some(respond(query, 12, FORMAT_ERROR, &[]));
        };
        let host_knows = question.class == CLASS_IN
            && matches!(question.kind, TYPE_A | TYPE_AAAA)
            && question.name.bytes().all(|byte| byte.is_ascii_graphic());
        if !host_knows || question.name.is_empty() {
            let forwarded = self.forward(query, stream);
            return Some(forwarded.unwrap_or_else(|| respond(query, question.end, SERVER_FAILURE, &[])));
        }
        Some(match self.look_up(&question.name) {
            Err(code) => respond(query, question.end, code, &[]),
            Ok(mut addresses) => {
                addresses.retain(|address| address.is_ipv4() == (question.kind == TYPE_A));
                respond(query, question.end, NO_ERROR, &addresses)
            }
        })
    }

    fn look_up(&self, name: &str) -> Answer {
        let key = name.to_ascii_lowercase();
        {
            let mut cache = self.0.cache.lock().unwrap_or_else(PoisonError::into_inner);
            cache.retain(|_, (when, _)| when.elapsed() < CACHE_TIME);
            if let Some((_, answer)) = cache.get(&key) {
                return answer.clone();
            }
        }
        let answer = host_look_up(name);
        let mut cache = self.0.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() < CACHE_LIMIT && answer != Err(SERVER_FAILURE) {
            cache.insert(key, (Instant::now(), answer.clone()));
        }
        answer
    }

    /// Puts the query to the host's name servers, one after the other.
    fn forward(&self, query: &[u8], stream: bool) -> Option<Vec<u8>> {
        name_servers().into_iter().find_map(|server| {
            let rested = |rests: &mut HashMap<SocketAddr, Instant>| {
                rests.get(&server).is_none_or(|since| since.elapsed() > SERVER_REST)
            };
            if !rested(&mut self.0.resting.lock().unwrap_or_else(PoisonError::into_inner)) {
                return None;
            }
            let by_tcp =
                if stream { ask_by_tcp(server, query) } else { Err(io::ErrorKind::Unsupported.into()) };
            // A server may know UDP alone.
            let answer = by_tcp.or_else(|_| ask_by_udp(server, query));
            if answer.is_err() {
                let mut resting = self.0.resting.lock().unwrap_or_else(PoisonError::into_inner);
                resting.insert(server, Instant::now());
            }
            answer.ok()
        })
    }
}

/// Asks the host, in the way its other programs ask.
fn host_look_up(name: &str) -> Answer {
    // A name with an end mark keeps the host's search list, which is not the guest's, out of it.
    let with_end = if name.contains('.') { format!("{name}.") } else { name.to_owned() };
    let ask = |name: &str| (name, 0).to_socket_addrs();
    // `/etc/hosts` knows names only without the mark.
    let found = ask(&with_end).or_else(|error| if with_end == name { Err(error) } else { ask(name) });
    match found {
        Ok(found) => {
            let mut addresses: Vec<IpAddr> = Vec::new();
            for address in found.map(|address| address.ip()) {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            Ok(addresses)
        }
        Err(error) => {
            let text = error.to_string();
            if text.contains("No address associated") {
                Ok(Vec::new())
            } else if text.contains("not known") {
                Err(NAME_ERROR)
            } else {
                Err(SERVER_FAILURE)
            }
        }
    }
}

fn name_servers() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let addresses = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then(|| words.next()?.parse::<IpAddr>().ok()).flatten()
    });
    addresses.take(3).map(|address| SocketAddr::new(address, 53)).collect()
}

fn ask_by_udp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(SERVER_TIMEOUT))?;
    socket.send(query)?;
    let mut answer = vec![0; 65_535];
    loop {
        let len = socket.recv(&mut answer)?;
        if len >= 12 && answer[..2] == query[..2] {
            answer.truncate(len);
            return Ok(answer);
        }
    }
}

fn ask_by_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, SERVER_TIMEOUT)?;
    stream.set_read_timeout(Some(SERVER_TIMEOUT))?;
    let mut message = (query.len() as u16).to_be_bytes().to_vec();
    message.extend(query);
    stream.write_all(&message)?;
    let mut len = [0; 2];
    stream.read_exact(&mut len)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut answer)?;
    if answer.len() < 12 { Err(io::ErrorKind::InvalidData.into()) } else { Ok(answer) }
}

/// Makes the response to a query whose question ends at `end`.
fn respond(query: &[u8], end: usize, code: u8, addresses: &[IpAddr]) -> Vec<u8> {
    let addresses = &addresses[..addresses.len().min(64)];
    let questions = u8::from(end > 12);
    let mut response = query[..end.min(query.len())].to_vec();
    // Response, recursion desired as asked; recursion available.
    response[2] = 0x80 | query[2] & 0x79;
    response[3] = 0x80 | code;
    response[4..12].copy_from_slice(&[0, questions, 0, addresses.len() as u8, 0, 0, 0, 0]);
    for address in addresses {
        // The name is the question's, at offset 12.
        response.extend([0xc0, 12]);
        let (kind, bytes) = match address {
            IpAddr::V4(address) => (TYPE_A, address.octets().to_vec()),
            IpAddr::V6(address) => (TYPE_AAAA, address.octets().to_vec()),
        };
        response.extend(kind.to_be_bytes());
        response.extend(CLASS_IN.to_be_bytes());
        response.extend(TTL.to_be_bytes());
        response.extend((bytes.len() as u16).to_be_bytes());
        response.extend(bytes);
    }
    response
}

#[cfg(test)]
#[path = "dns_test.rs"]
mod test;
