//! A connection to the node, as any client has one.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::{Buf, Bytes, BytesMut};
use ottla::protocol::frame::take;
use ottla::protocol::{Request, decode_response, encode_request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpSocket, TcpStream};

/// The largest answer that a client of ours takes.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// An answer, without its size.
    Frame(Bytes),
    /// The node closed.
    End,
    /// The node closed before it had read everything; what it had answered may be lost.
    Reset,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    received: BytesMut,
}

impl Client {
    /// Connects to a port of this machine, from an address of this machine.
    pub(crate) async fn connect(from: Ipv4Addr, port: u16) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((from, 0)))?;
        let stream = socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: BytesMut::new() })
    }

    /// Both directions, to be used at once.
    pub(crate) fn halves(&mut self) -> (WriteHalf<'_>, Receiver<'_>) {
        let (reader, writer) = self.stream.split();
        (writer, Receiver { reader, received: &mut self.received })
    }

    /// The bare connection.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Asks and waits for the answer.
    pub(crate) async fn call<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response, String> {
        let mut frame = encode_request(version, 77, "good", request);
        let bytes = frame.copy_to_bytes(frame.remaining());
        let (mut writer, mut receiver) = self.halves();
        writer.write_all(&bytes).await.map_err(|error| format!("{} was not sent: {error}", R::KEY))?;
        match receiver.next().await {
            Received::Frame(frame) => {
                decode_response(version, frame).map_err(|error| format!("{} was answered by {error}", R::KEY))
            }
            other @ (Received::End | Received::Reset) => Err(format!("{} {version} was answered by {other:?}", R::KEY)),
        }
    }
}

/// The direction from the node.
#[derive(Debug)]
pub(crate) struct Receiver<'a> {
    reader: ReadHalf<'a>,
    received: &'a mut BytesMut,
}

impl Receiver<'_> {
    /// The next answer.
    pub(crate) async fn next(&mut self) -> Received {
        loop {
            match take(self.received, ANSWER_BYTES_MAX) {
                Ok(Some(frame)) => return Received::Frame(frame),
                Ok(None) => {}
                Err(error) => panic!("the node sent what is no frame: {error}"),
            }
            match self.reader.read_buf(self.received).await {
                Ok(0) => return Received::End,
                Ok(_) => {}
                Err(_) => return Received::Reset,
            }
        }
    }
}
