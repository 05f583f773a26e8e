//! One attacker: a connection that it uses while the node lets it, and some that it leaves half done.

use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::attack::{Attack, Kitchen, Then};
use crate::expect::{self, Answer, Outcome};
use crate::random::Random;
use crate::tally::{Tally, Violation};
use crate::wire::{Client, Received, Receiver};

/// An answer, or the end, that takes longer never comes.
const DEADLINE: Duration = Duration::from_secs(30);
/// Connections that one attacker leaves half done.
const PARKED_MAX: usize = 12;
/// A request whose answer shows that those before it are done with.
const SENTINEL: &[u8] = b"\0\0\0\x0a\0\x12\0\0\x0b\xad\xca\xfe\xff\xff";

/// Where attackers knock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doors {
    /// The listener for clients.
    pub(crate) clients: u16,
    /// The listener for nodes.
    pub(crate) controller: u16,
    /// The listener for HTTP.
    pub(crate) admin: u16,
}

/// One attacker.
pub(crate) struct Attacker {
    kitchen: Arc<Kitchen>,
    random: Random,
    from: Ipv4Addr,
    doors: Doors,
    client: Option<Client>,
    parked: VecDeque<TcpStream>,
    tally: Tally,
}

impl Attacker {
    pub(crate) fn new(kitchen: Arc<Kitchen>, random: Random, number: u8, doors: Doors) -> Self {
        let from = Ipv4Addr::new(127, 0, 0, 10 + number);
        Self { kitchen, random, from, doors, client: None, parked: VecDeque::new(), tally: Tally::default() }
    }

    /// Sends so many requests, or a few more; whatever is left open is dropped with the attacker.
    pub(crate) async fn run(mut self, requests: u64) -> Tally {
        while self.tally.total() < requests {
            let (kind, attack) = self.kitchen.attack(&mut self.random);
            let count = u64::try_from(attack.count()).expect("few");
            let outcome = match timeout(DEADLINE, self.launch(&attack)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(format!("neither an answer nor the end within {DEADLINE:?}")),
            };
            *self.tally.sent.entry(kind).or_default() += count;
            if let Err(what) = outcome {
                self.client = None;
                self.tally.violate(Violation { kind, what, bytes: bytes_of(attack) });
            }
            self.trickle();
        }
        self.tally
    }

    async fn launch(&mut self, attack: &Attack) -> Result<(), String> {
        match attack {
            Attack::Frames { frames, codes } => self.frames(frames, codes).await,
            Attack::Stream { bytes, then } => self.stream(bytes, *then).await,
            Attack::Elsewhere { bytes } => self.elsewhere(bytes).await,
        }
    }

    async fn client(&mut self) -> Result<Client, String> {
        if let Some(client) = self.client.take() {
            return Ok(client);
        }
        self.tally.connected += 1;
        Client::connect(self.from, self.doors.clients).await.map_err(|error| format!("cannot connect: {error}"))
    }

    async fn frames(&mut self, frames: &[Vec<u8>], codes: &[i16]) -> Result<(), String> {
        let mut expected = Vec::new();
        for frame in frames {
            expected.push(expect::outcome(&self.kitchen.apis, frame));
            if expected.last() == Some(&Outcome::End) {
                break;
            }
        }
        let mut bytes = frames.concat();
        if expected.last() == Some(&Outcome::SilenceOrEnd) {
            bytes.extend_from_slice(SENTINEL);
            expected.push(expect::outcome(&self.kitchen.apis, SENTINEL));
        }
        let mut client = self.client().await?;
        let (mut writer, mut receiver) = client.halves();
        // A node that stops reading until its answers are read is right to do so.
        let (sent, ended) = tokio::join!(writer.write_all(&bytes), self.answers(&expected, codes, &mut receiver));
        if !ended? {
            sent.map_err(|error| format!("a connection that is open takes no bytes: {error}"))?;
            self.client = Some(client);
        }
        Ok(())
    }

    /// Reads what must follow; gives whether the node ended the connection.
    async fn answers(
        &mut self,
        expected: &[Outcome],
        codes: &[i16],
        receiver: &mut Receiver<'_>,
    ) -> Result<bool, String> {
        let will_end = expected.contains(&Outcome::End);
        let mut may_end = false;
        for outcome in expected {
            match outcome {
                Outcome::SilenceOrEnd => {
                    self.tally.silent += 1;
                    may_end = true;
                }
                Outcome::Answer(answer) => match receiver.next().await {
                    Received::Frame(frame) => self.answer(*answer, &frame, codes)?,
                    // Bytes that the node had not read when it ended the connection take its answers with them.
                    Received::Reset if will_end || may_end => return Ok(self.ended()),
                    Received::End if may_end => return Ok(self.ended()),
                    other @ (Received::End | Received::Reset) => {
                        return Err(format!("{other:?} instead of the answer to {answer:?}"));
                    }
                },
                Outcome::End => match receiver.next().await {
                    Received::End | Received::Reset => return Ok(self.ended()),
                    Received::Frame(frame) => return Err(format!("an answer where the end was due: {frame:?}")),
                },
            }
        }
        Ok(false)
    }

    fn ended(&mut self) -> bool {
        self.tally.ended += 1;
        true
    }

    fn answer(&mut self, expected: Answer, frame: &bytes::Bytes, codes: &[i16]) -> Result<(), String> {
        self.tally.answered += 1;
        expect::fault(&self.kitchen.apis, expected, frame, codes).map_or(Ok(()), Err)
    }

    async fn stream(&mut self, bytes: &[u8], then: Then) -> Result<(), String> {
        let mut stream = self.client().await?.into_stream();
        // The node may end it before it has taken everything.
        let _ = stream.write_all(bytes).await;
        match then {
            Then::Reset => reset(&stream),
            Then::Close => drop(stream),
            Then::HalfClose => {
                let _ = stream.shutdown().await;
                read_to_end(&mut stream).await;
                self.tally.ended += 1;
            }
            Then::MustEnd => {
                let answer = read_to_end(&mut stream).await;
                self.tally.ended += 1;
                if answer > 0 {
                    return Err(format!("{answer} bytes where the end was due"));
                }
            }
            Then::Park => self.park(stream),
        }
        Ok(())
    }

    /// Bytes for the other listeners; what they answer is theirs to say.
    async fn elsewhere(&mut self, bytes: &[u8]) -> Result<(), String> {
        let port = if self.random.chance(2) { self.doors.controller } else { self.doors.admin };
        let client = Client::connect(self.from, port).await;
        let mut stream = client.map_err(|error| format!("cannot connect to {port}: {error}"))?.into_stream();
        let _ = stream.write_all(bytes).await;
        match self.random.below(3) {
            0 => reset(&stream),
            1 => self.park(stream),
            _ => drop(stream),
        }
        Ok(())
    }

    fn park(&mut self, stream: TcpStream) {
        self.parked.push_back(stream);
        if self.parked.len() > PARKED_MAX
            && let Some(oldest) = self.parked.pop_front()
            && self.random.chance(2)
        {
            reset(&oldest);
        }
    }

    /// One byte more on a connection that was left half done.
    fn trickle(&mut self) {
        if self.parked.is_empty() || !self.random.chance(4) {
            return;
        }
        let at = self.random.below(self.parked.len());
        let _ = self.parked[at].try_write(&[0]);
    }
}

/// The next close sends a reset.
fn reset(stream: &TcpStream) {
    let _: io::Result<()> = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Reads and drops everything; gives how much it was.
async fn read_to_end(stream: &mut TcpStream) -> usize {
    let mut buffer = vec![0; 16 << 10];
    let mut total = 0;
    while let Ok(size @ 1..) = stream.read(&mut buffer).await {
        total += size;
    }
    total
}

fn bytes_of(attack: Attack) -> Vec<u8> {
    match attack {
        Attack::Frames { frames, .. } => frames.concat(),
        Attack::Stream { bytes, .. } | Attack::Elsewhere { bytes } => bytes,
    }
}
