//! Stands between dtar and the server, and does what networks and servers do at times.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The connection is cut once so many bytes of its body have come.
    CutRequest(usize),
    /// The connection is cut after so many bytes of the answer's body.
    CutAnswer(usize),
    /// A bit of its body is turned, at this place.
    AlterRequest(usize),
    /// A bit of the answer's body is turned, at this place.
    AlterAnswer(usize),
    /// It is answered without having been passed on.
    Answer(u16, &'static str),
    /// It is answered so, byte for byte, without having been passed on.
    Say(String),
    /// It is answered with this, and then with letters for ever.
    SayOn(String),
    /// It is never answered.
    Hang,
    /// It is passed on after so many milliseconds.
    Slow(u64),
    /// Lines of the answer's head that begin so are left out, and others put in.
    Head(&'static [&'static str], &'static str),
}

/// An answer with a body, for [`Fault::Say`].
pub fn ok(body: &str) -> Fault {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nConnection: close\r\n";
    Fault::Say(format!(
        "{head}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// A request, for whoever decides.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
}

impl Request {
    /// Whether it sends a part of an object.
    pub fn is_part(&self) -> bool {
        self.method == "PUT" && self.path.contains("partNumber=")
    }

    /// Whether it reads a brick.
    pub fn reads_brick(&self) -> bool {
        self.method == "GET" && self.path.contains("/bricks/") && !self.path.contains("list-type")
    }
}

type Judge = Box<dyn Fn(&Request) -> Fault + Send + Sync>;

/// A proxy; it ends when it is dropped.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: u16,
    judge: Judge,
    faults: AtomicU64,
    stopped: AtomicBool,
    log: Mutex<Vec<Request>>,
}

impl Proxy {
    pub fn new(upstream: u16, judge: impl Fn(&Request) -> Fault + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            upstream,
            judge: Box::new(judge),
            faults: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            log: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                thread::spawn(move || {
                    let _ = shared.serve(&client);
                    let _ = client.shutdown(Shutdown::Both);
                });
            }
        });
        Self { port, shared }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How often something was done to a request.
    pub fn faults(&self) -> u64 {
        self.shared.faults.load(Ordering::SeqCst)
    }

    /// All requests so far.
    pub fn log(&self) -> Vec<Request> {
        self.shared.log.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    /// One request a connection.
    fn serve(&self, mut client: &TcpStream) -> std::io::Result<()> {
        let head = read_head(&mut client)?;
        let mut words = head.split(' ');
        let request = Request {
            method: words.next().unwrap_or_default().to_owned(),
            path: words.next().unwrap_or_default().to_owned(),
        };
        self.log.lock().unwrap().push(request.clone());
        let fault = (self.judge)(&request);
        if fault != Fault::None {
            self.faults.fetch_add(1, Ordering::SeqCst);
        }
        if header(&head, "expect").is_some() {
            client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let length: usize = header(&head, "content-length").map_or(0, |text| text.parse().unwrap());
        let cut = match fault {
            Fault::CutRequest(after) => after.min(length),
            _ => length,
        };
        let mut body = vec![0; cut];
        client.read_exact(&mut body)?;
        match fault {
            Fault::CutRequest(_) => return Ok(()),
            Fault::Answer(status, code) => return answer(client, status, code),
            Fault::AlterRequest(at) if !body.is_empty() => {
                let at = at.min(body.len() - 1);
                body[at] ^= 1;
            }
            _ => {}
        }
        match &fault {
            Fault::Say(text) => return client.write_all(text.as_bytes()),
            Fault::SayOn(text) => {
                client.write_all(text.as_bytes())?;
                // Until the other end has had enough.
                while !self.stopped.load(Ordering::SeqCst) {
                    client.write_all(&[b'x'; 8 << 10])?;
                }
                return Ok(());
            }
            Fault::Hang => {
                while !self.stopped.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(20));
                }
                return Ok(());
            }
            Fault::Slow(time) => thread::sleep(Duration::from_millis(*time)),
            _ => {}
        }
        let mut server = TcpStream::connect(("127.0.0.1", self.upstream))?;
        server.write_all(passed_on(&head).as_bytes())?;
        server.write_all(&body)?;
        let mut head = passed_on(&read_head(&mut server)?);
        if let Fault::Head(without, with) = &fault {
            let mut lines: Vec<&str> = head.trim_end().split("\r\n").collect();
            lines.retain(|line| {
                let line = line.to_ascii_lowercase();
                !without.iter().any(|start| line.starts_with(start))
            });
            lines.extend(Some(*with).filter(|line| !line.is_empty()));
            head = format!("{}\r\n\r\n", lines.join("\r\n"));
        }
        client.write_all(head.as_bytes())?;
        pass_answer(&mut server, &mut client, &fault)
    }
}

/// The head of a request or an answer, for a connection that ends with it.
fn passed_on(head: &str) -> String {
    let mut lines: Vec<&str> = head.trim_end().split("\r\n").collect();
    lines.retain(|line| {
        let line = line.to_ascii_lowercase();
        !line.starts_with("connection:") && !line.starts_with("expect:")
    });
    format!("{}\r\nConnection: close\r\n\r\n", lines.join("\r\n"))
}

fn pass_answer(
    server: &mut TcpStream,
    client: &mut &TcpStream,
    fault: &Fault,
) -> std::io::Result<()> {
    let (mut buffer, mut passed) = (vec![0; 64 << 10], 0);
    loop {
        let length = server.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        let bytes = &mut buffer[..length];
        match *fault {
            Fault::CutAnswer(after) if passed + length > after => {
                return client.write_all(&bytes[..after.saturating_sub(passed)]);
            }
            Fault::AlterAnswer(at) if (passed..passed + length).contains(&at) => {
                bytes[at - passed] ^= 1;
            }
            _ => {}
        }
        client.write_all(bytes)?;
        passed += length;
    }
}

fn answer(mut client: &TcpStream, status: u16, code: &str) -> std::io::Result<()> {
    let body = format!("<Error><Code>{code}</Code><Message>made by a test</Message></Error>");
    write!(
        client,
        "HTTP/1.1 {status} Made\r\nContent-Type: application/xml\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn read_head(stream: &mut impl Read) -> std::io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
