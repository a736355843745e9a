//! How long a trivial call takes over the control socket, against an echo of as many bytes over a
//! plain one.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::Criterion;
use serde_json::json;

use crate::support::client::{Client, request};
use crate::support::daemon::Daemon;
use crate::support::has;
use crate::support::pairs::Pairs;

/// Runs it: `daemon/hello` touches nothing, `daemon/status` asks the tree and the database.
pub fn run(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("control");
    group.measurement_time(Duration::from_secs(10));
    for method in ["daemon/hello", "daemon/status"] {
        let mut bench = None;
        let mut pairs = Pairs::default();
        group.bench_function(method, |bencher| {
            let bench: &mut Bench = bench.get_or_insert_with(|| Bench::start(method));
            bencher.iter_custom(|rounds| (0..rounds).map(|_| bench.round(&mut pairs)).sum());
        });
        pairs.report(&format!("a call of {method}"), "an echo of its bytes");
    }
    group.finish();
}

struct Bench {
    request: Vec<u8>,
    client: Client,
    echo: Client,
    _daemon: Daemon,
}

impl Bench {
    fn start(method: &str) -> Self {
        let daemon = Daemon::start("");
        let mut client = daemon.connect();
        let params =
            if method == "daemon/hello" { json!({"client": "a bench", "protocol": 1}) } else { json!({}) };
        let request = request(method, params);
        let answer = client.exchange(&request).to_vec();
        assert!(has(&answer, "\"result\""), "{}", String::from_utf8_lossy(&answer));
        let echo = echo(&daemon.root().join("echo.sock"), answer);
        Self { request, client, echo, _daemon: daemon }
    }

    /// One call and one echo; returns what the call took.
    fn round(&mut self, pairs: &mut Pairs) -> Duration {
        let ours = timed(&mut self.client, &self.request);
        let limit = timed(&mut self.echo, &self.request);
        pairs.push(ours, limit);
        ours
    }
}

fn timed(client: &mut Client, request: &[u8]) -> Duration {
    let begin = Instant::now();
    assert!(!client.exchange(request).is_empty());
    begin.elapsed()
}

/// A server that answers every line with the same bytes, for one client, until that one leaves.
fn echo(socket: &Path, answer: Vec<u8>) -> Client {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            if stream.write_all(&answer).is_err() {
                return;
            }
            line.clear();
        }
    });
    Client::connect(socket).unwrap()
}
