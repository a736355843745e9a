//! What a daemon and a keeper say to each other, and how it is written down: frames of a length, a
//! kind, and fields that end in NUL (neither a path nor an argument nor the environment can hold
//! one). Both ends are the same build of the same program, so there are no versions.
//!
//! Pure: bytes in, messages out.

use std::io;
use std::time::Duration;

/// The longest frame: twice what Linux takes for arguments and environment at most.
pub(super) const FRAME_BYTES_MAX: usize = 16 << 20;
/// Bytes of a frame's length.
const LENGTH_BYTES: usize = 4;

/// What the daemon tells a keeper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    /// Set a mark of no start, and say whether that worked.
    Probe { installation: u32 },
    /// Start this. The agent's stdin, stdout and stderr come with the first byte.
    Go(Box<Go>),
    /// End everything: after the grace, or `now`.
    Stop { now: bool },
}

/// What a keeper starts, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Go {
    /// Of the mark.
    pub(super) installation: u32,
    /// Of the mark.
    pub(super) attempt: u32,
    /// From TERM to KILL when it was ordered.
    pub(super) stop_grace: Duration,
    /// From TERM to KILL when the daemon is gone.
    pub(super) orphan_grace: Duration,
    /// How many descriptors it may have; 0 leaves that as it is.
    pub(super) descriptors: u64,
    /// The directory that it starts in.
    pub(super) cwd: Vec<u8>,
    /// The program: a path.
    pub(super) program: Vec<u8>,
    /// The arguments, the program's own name first.
    pub(super) args: Vec<Vec<u8>>,
    /// The environment: `NAME=value`.
    pub(super) env: Vec<Vec<u8>>,
}

/// What a keeper tells the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Report {
    /// The answer to [`Order::Probe`].
    Probed { marked: bool },
    /// The agent runs.
    Started { pid: i32, start_time: u64, marked: bool },
    /// The agent could not be started.
    Failed { stage: Stage, errno: i32 },
    /// The agent itself ended: with a code or by a signal.
    Exited { code: Option<i32>, signal: Option<i32> },
    /// These cannot be ended by us: they run as somebody else, or hang in the kernel.
    Left { pids: Vec<i32> },
    /// Nothing is left of the tree. Nothing follows.
    Empty,
}

/// What failed at a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Entering the directory.
    Cwd,
    /// Executing the program.
    Program,
    /// Anything before.
    Setup,
}

impl Order {
    /// The order as a frame.
    pub(super) fn encode(&self) -> io::Result<Vec<u8>> {
        let mut frame = Writer::default();
        match self {
            Self::Probe { installation } => frame.kind(b'p').number(installation),
            Self::Stop { now } => frame.kind(b's').number(u8::from(*now)),
            Self::Go(go) => {
                frame.kind(b'g').number(go.installation).number(go.attempt);
                frame.number(go.stop_grace.as_millis()).number(go.orphan_grace.as_millis());
                frame.number(go.descriptors);
                frame.bytes(&go.cwd).bytes(&go.program);
                frame.list(&go.args).list(&go.env)
            }
        };
        frame.finish()
    }

    fn decode(kind: u8, fields: &mut Fields<'_>) -> Option<Self> {
        Some(match kind {
            b'p' => Self::Probe { installation: fields.number()? },
            b's' => Self::Stop { now: fields.number::<u8>()? != 0 },
            b'g' => Self::Go(Box::new(Go {
                installation: fields.number()?,
                attempt: fields.number()?,
                stop_grace: Duration::from_millis(fields.number()?),
                orphan_grace: Duration::from_millis(fields.number()?),
                descriptors: fields.number()?,
                cwd: fields.bytes()?,
                program: fields.bytes()?,
                args: fields.list()?,
                env: fields.list()?,
            })),
            _ => return None,
        })
    }
}

impl Report {
    /// The report as a frame.
    pub(super) fn encode(&self) -> io::Result<Vec<u8>> {
        let mut frame = Writer::default();
        let optional = |number: &Option<i32>| number.map_or_else(String::new, |n| n.to_string());
        match self {
            Self::Probed { marked } => frame.kind(b'P').number(u8::from(*marked)),
            Self::Started { pid, start_time, marked } => {
                frame.kind(b'S').number(pid).number(start_time).number(u8::from(*marked))
            }
            Self::Failed { stage, errno } => frame.kind(b'F').number(stage.code()).number(errno),
            Self::Exited { code, signal } => {
                frame.kind(b'X').bytes(optional(code).as_bytes()).bytes(optional(signal).as_bytes())
            }
            Self::Left { pids } => {
                let pids: Vec<Vec<u8>> = pids.iter().map(|pid| pid.to_string().into_bytes()).collect();
                frame.kind(b'L').list(&pids)
            }
            Self::Empty => frame.kind(b'E'),
        };
        frame.finish()
    }

    fn decode(kind: u8, fields: &mut Fields<'_>) -> Option<Self> {
        Some(match kind {
            b'P' => Self::Probed { marked: fields.number::<u8>()? != 0 },
            b'S' => Self::Started {
                pid: fields.number()?,
                start_time: fields.number()?,
                marked: fields.number::<u8>()? != 0,
            },
            b'F' => Self::Failed { stage: Stage::from_code(fields.number()?), errno: fields.number()? },
            b'X' => Self::Exited { code: fields.optional()?, signal: fields.optional()? },
            b'L' => {
                let pids = fields.list()?.iter().map(|pid| parse(pid)).collect::<Option<_>>()?;
                Self::Left { pids }
            }
            b'E' => Self::Empty,
            _ => return None,
        })
    }
}

impl Stage {
    fn code(self) -> u8 {
        match self {
            Self::Cwd => 1,
            Self::Program => 2,
            Self::Setup => 0,
        }
    }

    fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Cwd,
            2 => Self::Program,
            _ => Self::Setup,
        }
    }
}

/// Collects bytes as they come and gives out the frames in them.
#[derive(Debug, Default)]
pub(super) struct Unframer(Vec<u8>);

impl Unframer {
    /// Takes more bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next order, if a whole one is there.
    pub(super) fn order(&mut self) -> io::Result<Option<Order>> {
        self.next(Order::decode)
    }

    /// The next report, if a whole one is there.
    pub(super) fn report(&mut self) -> io::Result<Option<Report>> {
        self.next(Report::decode)
    }

    fn next<T>(&mut self, decode: impl Fn(u8, &mut Fields<'_>) -> Option<T>) -> io::Result<Option<T>> {
        let Some((length, rest)) = self.0.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length == 0 || length > FRAME_BYTES_MAX {
            return Err(garbled());
        }
        let Some(frame) = rest.get(..length) else { return Ok(None) };
        let message = frame
            .split_first()
            .and_then(|(kind, body)| decode(*kind, &mut Fields(body)))
            .ok_or_else(garbled)?;
        self.0.drain(..LENGTH_BYTES + length);
        Ok(Some(message))
    }
}

fn garbled() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a garbled message on the control pipe")
}

fn parse<T: std::str::FromStr>(field: &[u8]) -> Option<T> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// Writes one frame.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    holds_nul: bool,
}

impl Writer {
    fn kind(&mut self, kind: u8) -> &mut Self {
        self.bytes.resize(LENGTH_BYTES, 0);
        self.bytes.push(kind);
        self
    }

    fn bytes(&mut self, field: &[u8]) -> &mut Self {
        self.holds_nul |= field.contains(&0);
        self.bytes.extend_from_slice(field);
        self.bytes.push(0);
        self
    }

    fn number(&mut self, number: impl ToString) -> &mut Self {
        self.bytes(number.to_string().as_bytes())
    }

    fn list(&mut self, fields: &[Vec<u8>]) -> &mut Self {
        self.number(fields.len());
        for field in fields {
            self.bytes(field);
        }
        self
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        let Self { mut bytes, holds_nul } = self;
        let length = bytes.len() - LENGTH_BYTES;
        if holds_nul {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a NUL byte in a path, an argument or the environment",
            ));
        }
        if length > FRAME_BYTES_MAX {
            return Err(io::Error::from_raw_os_error(libc::E2BIG));
        }
        let length = u32::try_from(length).map_err(io::Error::other)?;
        if let Some(place) = bytes.first_chunk_mut::<LENGTH_BYTES>() {
            *place = length.to_le_bytes();
        }
        Ok(bytes)
    }
}

/// Reads the fields of one frame.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn bytes(&mut self) -> Option<Vec<u8>> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let (field, rest) = self.0.split_at(end);
        self.0 = rest.get(1..)?;
        Some(field.to_vec())
    }

    fn number<T: std::str::FromStr>(&mut self) -> Option<T> {
        parse(&self.bytes()?)
    }

    /// An empty field is `None`.
    fn optional(&mut self) -> Option<Option<i32>> {
        let field = self.bytes()?;
        if field.is_empty() { Some(None) } else { parse(&field).map(Some) }
    }

    fn list(&mut self) -> Option<Vec<Vec<u8>>> {
        let length: usize = self.number()?;
        (0..length).map(|_| self.bytes()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn go(args: Vec<Vec<u8>>, env: Vec<Vec<u8>>) -> Order {
        Order::Go(Box::new(Go {
            installation: 7,
            attempt: 9,
            stop_grace: Duration::from_millis(5000),
            orphan_grace: Duration::from_millis(300),
            descriptors: 1024,
            cwd: b"/".to_vec(),
            program: b"/bin/\xff".to_vec(),
            args,
            env,
        }))
    }

    fn field() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(1u8.., 0..20)
    }

    proptest! {
        #[test]
        fn orders_survive_however_the_bytes_are_cut(
            args in proptest::collection::vec(field(), 0..5),
            env in proptest::collection::vec(field(), 0..5),
            cut in 1usize..50,
        ) {
            let sent = [go(args, env), Order::Stop { now: true }, Order::Probe { installation: 3 }];
            let bytes: Vec<u8> = sent.iter().flat_map(|order| order.encode().expect("no NUL")).collect();
            let mut unframer = Unframer::default();
            let mut received = Vec::new();
            for piece in bytes.chunks(cut) {
                unframer.push(piece);
                while let Some(order) = unframer.order().expect("is well formed") {
                    received.push(order);
                }
            }
            prop_assert_eq!(received.as_slice(), sent.as_slice());
        }

        #[test]
        fn garbage_is_an_error_and_never_a_panic(bytes: Vec<u8>) {
            let mut unframer = Unframer::default();
            unframer.push(&bytes);
            while let Ok(Some(_)) = unframer.report() {}
        }
    }

    #[test]
    fn reports_survive() {
        let sent = [
            Report::Probed { marked: true },
            Report::Started { pid: 12, start_time: 34, marked: false },
            Report::Failed { stage: Stage::Cwd, errno: 2 },
            Report::Exited { code: Some(0), signal: None },
            Report::Exited { code: None, signal: Some(9) },
            Report::Left { pids: vec![1, 2] },
            Report::Empty,
        ];
        let mut unframer = Unframer::default();
        for report in &sent {
            unframer.push(&report.encode().expect("is short"));
        }
        for report in sent {
            assert_eq!(unframer.report().expect("is well formed"), Some(report));
        }
        assert_eq!(unframer.report().expect("is empty"), None);
    }

    #[test]
    fn a_nul_byte_cannot_be_smuggled_in() {
        let order = go(vec![b"a\0b".to_vec()], Vec::new());
        assert_eq!(order.encode().expect_err("holds a NUL").kind(), io::ErrorKind::InvalidInput);
    }
}
