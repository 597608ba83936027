//! Programs of other users on this machine reach a kernel's ports. Whatever they send, the kernel answers the one that has the
//! key, keeps what its cells made, and holds little of what they sent.
#![cfg(target_os = "linux")] // memory is read where Linux shows it

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hmac::{Hmac, Mac};
use longlens_notebook::kernel;
use serde_json::{Value, json};
use sha2::Sha256;

#[path = "common/counter.rs"]
mod counter;

use counter::Counter;

const KEY: &str = "a key";
/// Longer than an answer takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(30);
/// Resident memory that all attacks together may add at any moment: 64 MiB that unsigned peers share, as much again while
/// buffers grow, and what they take to read.
const MOST_MIB: u64 = 200;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// A channel: its port, the kind of socket that a client connects with, and whether the kernel reads requests there.
struct Channel {
    name: &'static str,
    port: u16,
    client: &'static str,
}

/// Starts a kernel on a thread; its channels: shell, control, heartbeat, iopub, stdin.
fn start() -> [Channel; 5] {
    let listeners: Vec<TcpListener> = (0..5).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let ports: Vec<u16> = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
    drop(listeners);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("connection.json");
    let connection = json!({
        "ip": "127.0.0.1", "transport": "tcp", "key": KEY, "signature_scheme": "hmac-sha256",
        "shell_port": ports[0], "control_port": ports[1], "hb_port": ports[2], "iopub_port": ports[3], "stdin_port": ports[4],
    });
    std::fs::write(&path, connection.to_string()).unwrap();
    thread::spawn(move || {
        let _folder = folder;
        kernel::serve(&path, Box::new(|| Box::new(Counter::default())))
    });
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", ports[2])).is_err() {
        assert!(begun.elapsed() < PATIENCE, "the kernel does not listen");
        thread::sleep(Duration::from_millis(10));
    }
    let names =
        [("shell", "DEALER"), ("control", "DEALER"), ("heartbeat", "REQ"), ("iopub", "SUB"), ("stdin", "DEALER")];
    std::array::from_fn(|idx| Channel { name: names[idx].0, port: ports[idx], client: names[idx].1 })
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn greeting() -> Vec<u8> {
    let mut greeting = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0];
    greeting.extend(b"NULL");
    greeting.resize(64, 0);
    greeting
}

/// A frame that says it has `len` bytes, with `body`.
fn frame(flags: u8, len: u64, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![flags];
    if flags & LONG == 0 {
        frame.push(len as u8);
    } else {
        frame.extend(len.to_be_bytes());
    }
    frame.extend(body);
    frame
}

fn ready(socket_type: &str) -> Vec<u8> {
    let mut body = b"\x05READY\x0bSocket-Type".to_vec();
    body.extend((socket_type.len() as u32).to_be_bytes());
    body.extend(socket_type.as_bytes());
    frame(COMMAND, body.len() as u64, &body)
}

/// A connection after its handshake.
fn peer(channel: &Channel) -> TcpStream {
    let mut stream = connect(channel.port);
    stream.write_all(&[greeting(), ready(channel.client)].concat()).unwrap();
    stream.read_exact(&mut [0; 64]).unwrap();
    read_frame(&mut stream).unwrap();
    stream
}

/// A frame's flags and body; `None` when the kernel has closed the connection.
fn read_frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut flags = [0];
    stream.read_exact(&mut flags).ok()?;
    let mut len = [0; 8];
    stream.read_exact(if flags[0] & LONG == 0 { &mut len[7..] } else { &mut len }).ok()?;
    let mut body = vec![0; u64::from_be_bytes(len) as usize];
    stream.read_exact(&mut body).ok()?;
    Some((flags[0], body))
}

fn request(msg_type: &str, content: &Value, number: usize) -> Vec<u8> {
    let header = json!({ "msg_id": number.to_string(), "username": "u", "session": "s", "msg_type": msg_type,
        "version": "5.3", "date": "2024-01-01T00:00:00Z" });
    let parts = [header.to_string(), "{}".into(), "{}".into(), content.to_string()];
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY.as_bytes()).unwrap();
    for part in &parts {
        mac.update(part.as_bytes());
    }
    let signature = hex::encode(mac.finalize().into_bytes());
    message(&["<IDS|MSG>", &signature, &parts[0], &parts[1], &parts[2], &parts[3]])
}

fn message(frames: &[&str]) -> Vec<u8> {
    let last = frames.len() - 1;
    let frames = frames.iter().enumerate();
    let frames = frames.map(|(idx, body)| frame(LONG | u8::from(idx < last), body.len() as u64, body.as_bytes()));
    frames.collect::<Vec<_>>().concat()
}

/// The content of the next reply.
fn reply(stream: &mut TcpStream) -> Value {
    let mut frames = Vec::new();
    loop {
        let (flags, body) = read_frame(stream).expect("a reply");
        frames.push(body);
        if flags & MORE == 0 {
            return serde_json::from_slice(&frames[5]).unwrap();
        }
    }
}

/// Whoever has the key.
struct Client {
    shell: TcpStream,
    control: TcpStream,
    n_asked: usize,
}

impl Client {
    fn new(channels: &[Channel]) -> Self {
        Self { shell: peer(&channels[0]), control: peer(&channels[1]), n_asked: 0 }
    }

    fn answers(&mut self) {
        for stream in [&mut self.shell, &mut self.control] {
            self.n_asked += 1;
            stream.write_all(&request("kernel_info_request", &json!({}), self.n_asked)).unwrap();
            assert_eq!(reply(stream)["implementation"], "longlens");
        }
    }

    fn cell(&mut self) -> Value {
        self.run("1")["execution_count"].clone()
    }

    fn run(&mut self, code: &str) -> Value {
        self.n_asked += 1;
        self.shell.write_all(&request("execute_request", &json!({ "code": code }), self.n_asked)).unwrap();
        reply(&mut self.shell)
    }
}

/// Sends, and waits until the kernel has closed the connection where it has to.
fn try_to(channel: &Channel, what: &str, stream: &mut TcpStream, bytes: &[u8], is_closed: bool) {
    // the kernel may have closed already
    let _ = stream.write_all(bytes);
    if is_closed {
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        let timed_out = ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!timed_out, "{what} on {}: the connection stays", channel.name);
    }
}

/// Tests here measure the memory of their process, one at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// The most memory that this process has held, in MiB, since the last call where Linux forgets it on demand.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let peak = line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024;
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    peak
}

#[test]
fn a_kernel_outlives_all_that_strangers_send() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let channels = start();
    let mut client = Client::new(&channels);
    client.answers();
    assert_eq!(client.cell(), 1);
    peak_mib();
    let before = peak_mib();

    for channel in &channels {
        broken_handshakes(channel);
        client.answers();
        broken_frames(channel);
        client.answers();
    }
    for channel in &channels[..2] {
        unsigned(channel);
        client.answers();
    }
    replayed(&channels[0], &mut client);
    many(&channels, &mut client);

    assert_eq!(client.cell(), 3, "the cells that ran are those of the client and the one that was repeated");
    let mut late = Client { n_asked: 1000, ..Client::new(&channels) };
    late.answers();
    let peak = peak_mib() - before;
    assert!(peak < MOST_MIB, "{peak} MiB were held");
}

fn broken_handshakes(channel: &Channel) {
    let greeting = greeting();
    let changed = |place: usize, byte: u8| {
        let mut greeting = greeting.clone();
        greeting[place] = byte;
        greeting
    };
    let noise: Vec<u8> = (0..64u32).map(|i| (i * 37 + 11) as u8).collect();
    let lie = [b"\x05READY\x0bSocket-Type".as_slice(), &[0xff; 4], b"DEALER"].concat();
    for (what, bytes) in [
        ("noise", noise),
        ("HTTP", [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".as_slice(), &[b' '; 64]].concat()),
        ("version 2", changed(10, 1)),
        ("another mechanism", changed(12, b'P')),
        ("a message before READY", [greeting.clone(), frame(0, 1, b"x")].concat()),
        ("2^62 bytes before READY", [greeting.clone(), frame(LONG, 1 << 62, b"")].concat()),
        ("a command of 2^40 bytes before READY", [greeting.clone(), frame(LONG | COMMAND, 1 << 40, b"")].concat()),
        ("a READY that lies", [greeting.clone(), frame(COMMAND, lie.len() as u64, &lie)].concat()),
        ("another socket", [greeting.clone(), ready("PUSH")].concat()),
    ] {
        try_to(channel, what, &mut connect(channel.port), &bytes, true);
    }
    // gone in the middle
    for end in [0, 1, 10, 63, 64] {
        try_to(channel, "a cut greeting", &mut connect(channel.port), &greeting[..end], false);
    }
}

fn broken_frames(channel: &Channel) {
    let sizes = [1 << 62, u64::MAX, 1 << 63, 1 << 40, 8 << 30, 400 << 20, 17 << 20];
    for size in sizes {
        for flags in [LONG, LONG | MORE, LONG | COMMAND] {
            let what = format!("{size} bytes with flags {flags}");
            try_to(channel, &what, &mut peer(channel), &frame(flags, size, b"abc"), true);
        }
    }
    let tiny: Vec<u8> = (0..5000).flat_map(|_| frame(MORE, 0, b"")).collect();
    try_to(channel, "5000 frames", &mut peer(channel), &tiny, true);
    try_to(channel, "flags of nobody", &mut peer(channel), &[0xf8, 0], true);
    try_to(channel, "a command in a message", &mut peer(channel), &[MORE, 0, COMMAND, 0], true);
    try_to(channel, "a command without a name", &mut peer(channel), &[COMMAND, 0], true);
    try_to(channel, "a cut frame", &mut peer(channel), &[0, 200, 1, 2, 3], false);
    let topics: Vec<u8> = (0..2000).flat_map(|_| frame(COMMAND, 12, b"\x09SUBSCRIBEab")).collect();
    try_to(channel, "2000 subscriptions", &mut peer(channel), &topics, true);
    let pings: Vec<u8> = (0..2000).flat_map(|_| frame(COMMAND, 7, b"\x04PING\0\0")).collect();
    try_to(channel, "2000 pings", &mut peer(channel), &pings, false);
}

fn unsigned(channel: &Channel) {
    let header = r#"{"msg_id":"1","username":"u","session":"s","msg_type":"execute_request","version":"5.3"}"#;
    for frames in [
        &["<IDS|MSG>", &"0".repeat(64), header, "{}", "{}", r#"{"code":"1"}"#][..],
        &["<IDS|MSG>", "", header, "{}", "{}", r#"{"code":"1"}"#],
        &["<IDS|MSG>"],
        &["a", "b"],
    ] {
        try_to(channel, "an unsigned message", &mut peer(channel), &message(frames), true);
    }
    // 12 peers begin as much as they may, and stay
    let begun = frame(LONG, 16 << 20, &vec![7; 15 << 20]);
    let peers = (0..12).map(|_| {
        let mut peer = peer(channel);
        // some are let go: together they would hold too much
        let _ = peer.write_all(&begun);
        peer
    });
    let peers: Vec<TcpStream> = peers.collect();
    // and one sends a large message with a wrong signature
    drop(peers);
    let mut peer = peer(channel);
    let large = "7".repeat(15 << 20);
    try_to(channel, "a large unsigned message", &mut peer, &message(&["<IDS|MSG>", &"0".repeat(64), &large]), true);
}

fn replayed(shell: &Channel, client: &mut Client) {
    let asked = request("execute_request", &json!({ "code": "1" }), 500);
    client.shell.write_all(&asked).unwrap();
    assert_eq!(reply(&mut client.shell)["execution_count"], 2);
    try_to(shell, "a repeated message", &mut peer(shell), &asked, true);
    // a client is not lost for it
    client.shell.write_all(&asked).unwrap();
    client.answers();
}

fn many(channels: &[Channel], client: &mut Client) {
    for channel in channels {
        let streams: Vec<TcpStream> = (0..300).map(|_| connect(channel.port)).collect();
        client.answers();
        drop(streams);
    }
    // neither peers that have greeted and say nothing keep others out, nor those that say what anybody may
    let mut old = Listener::new(channels);
    for says_something in [false, true] {
        for crowded in channels {
            let _streams: Vec<TcpStream> = (0..150).map(|_| crowd(crowded, says_something)).collect();
            let mut late = Client { n_asked: client.n_asked + 1000, ..Client::new(channels) };
            let mut new = Listener::new(channels);
            late.answers();
            client.answers();
            new.hears(client);
            old.hears(client);
        }
    }
}

/// A peer of a channel's crowd.
fn crowd(channel: &Channel, says_something: bool) -> TcpStream {
    let mut stream = peer(channel);
    if says_something {
        // the kernel may have closed it for the next ones already
        let _ = stream.write_all(&match channel.name {
            "iopub" => message(&["\x01"]),
            "heartbeat" => message(&["", "ping"]),
            _ => frame(COMMAND, 7, b"\x04PING\0\0"),
        });
    }
    stream
}

/// Whoever listens for publications and the heartbeat.
struct Listener {
    iopub: TcpStream,
    heartbeat: TcpStream,
}

impl Listener {
    fn new(channels: &[Channel]) -> Self {
        let (heartbeat, mut iopub) = (peer(&channels[2]), peer(&channels[3]));
        iopub.write_all(&message(&["\x01"])).unwrap();
        let mut listener = Self { iopub, heartbeat };
        listener.beats();
        listener
    }

    fn beats(&mut self) {
        self.heartbeat.write_all(&message(&["", "ping"])).unwrap();
        assert_eq!(read_frame(&mut self.heartbeat).expect("a heartbeat").1, b"");
        assert_eq!(read_frame(&mut self.heartbeat).expect("a heartbeat").1, b"ping");
    }

    /// Hears what comes from a request of `client`, and its own heart.
    fn hears(&mut self, client: &mut Client) {
        client.answers();
        let id = format!("\"msg_id\":\"{}\"", client.n_asked);
        loop {
            let (_, body) = read_frame(&mut self.iopub).expect("a publication");
            if String::from_utf8_lossy(&body).contains(&id) {
                break;
            }
        }
        self.beats();
    }
}

#[test]
fn peers_that_do_not_read_hold_little_and_end() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let channels = start();
    let mut client = Client::new(&channels);
    client.answers();
    peak_mib();
    let before = peak_mib();
    let begun = Instant::now();
    let mut unread = Vec::new();
    for _ in 0..60 {
        // each begins to wait for what the others wait for already, and for more
        let mut subscriber = peer(&channels[3]);
        subscriber.write_all(&message(&["\x01"])).unwrap();
        unread.push(subscriber);
        for _ in 0..5 {
            client.run("long");
        }
    }
    let peak = peak_mib() - before;
    assert!(peak < MOST_MIB, "{peak} MiB were held");
    assert!(begun.elapsed() < 2 * PATIENCE, "the kernel waited {:?} for them", begun.elapsed());
    let is_over = |subscriber: &mut TcpStream| std::io::copy(subscriber, &mut std::io::sink()).is_ok_and(|n| n > 0);
    assert!(is_over(&mut unread[0]), "the first is still connected");
}
