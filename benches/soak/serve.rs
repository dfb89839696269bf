//! One connection to an application: HTTP/1.1 by hand, so that it can go wrong wherever it is told to.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::app::App;
use crate::content::{Content, PIECE, Receipt};
use crate::line::{field, head};

pub(crate) struct Talk<'a> {
    stream: BufStream<TcpStream>,
    /// A request was answered on it.
    is_used: bool,
    app: &'a App,
}

/// What a request asks of the application.
struct Order {
    id: u64,
    told: HashMap<String, String>,
}

/// Whether the connection goes on.
#[derive(PartialEq, Eq)]
enum Next {
    Request,
    End,
}

impl<'a> Talk<'a> {
    pub(crate) fn new(stream: TcpStream, app: &'a App) -> Self {
        let stream = BufStream::with_capacity(PIECE, PIECE, stream);
        Self {
            stream,
            is_used: false,
            app,
        }
    }

    pub(crate) async fn run(&mut self) -> io::Result<()> {
        loop {
            let Ok(asked) = timeout(self.app.patience, head(&mut self.stream)).await else {
                self.app.books.connections_end(self.app.number, None);
                return Ok(());
            };
            let Some(asked) = asked? else { return Ok(()) };
            let Some(order) = Order::read(&asked) else {
                self.say("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                    .await?;
                continue;
            };
            if self.is_used && order.says("fault") == "stale" {
                return Ok(());
            }
            self.is_used = true;
            if self.answer(&asked, &order).await? == Next::End {
                return Ok(());
            }
        }
    }

    async fn answer(&mut self, asked: &str, order: &Order) -> io::Result<Next> {
        let app = self.app;
        let working = app.works_on(order.id);
        if let Some(key) = field(asked, "sec-websocket-key") {
            self.echo(key).await?;
            return Ok(Next::End);
        }
        let receipt = self.receive(asked).await?;
        sleep(Duration::from_millis(order.number("pause") / 2)).await;
        if order.says("fault").starts_with("head") {
            return self.die(order);
        }
        if asked.starts_with("GET ") {
            self.send(order).await?;
        } else {
            self.begin(order, Some(receipt.len())).await?;
            self.say(&receipt).await?;
        }
        if order.says("fault").starts_with("body") {
            return self.die(order);
        }
        drop(working);
        if order.says("after") == "keeps" {
            return Ok(Next::Request);
        }
        app.books.connections_end(app.number, None);
        Ok(Next::End)
    }

    /// Reads a body, and makes the receipt for it.
    async fn receive(&mut self, asked: &str) -> io::Result<String> {
        let mut receipt = Receipt::new();
        if let Some(length) = field(asked, "content-length") {
            let length = length.parse().map_err(io::Error::other)?;
            self.read(length, &mut receipt).await?;
        } else if field(asked, "transfer-encoding").is_some() {
            loop {
                let mut line = String::new();
                self.stream.read_line(&mut line).await?;
                let size = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
                self.read(size, &mut receipt).await?;
                self.read(2, &mut Receipt::new()).await?;
                if size == 0 {
                    break;
                }
            }
        }
        Ok(receipt.written())
    }

    async fn read(&mut self, mut length: usize, receipt: &mut Receipt) -> io::Result<()> {
        while length > 0 {
            let bytes = self.stream.fill_buf().await?;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let count = bytes.len().min(length);
            receipt.add(&bytes[..count]);
            self.stream.consume(count);
            length -= count;
        }
        Ok(())
    }

    /// The answer to a GET: whole, or half of it for one who is to die; slowly, where that is ordered.
    async fn send(&mut self, order: &Order) -> io::Result<()> {
        let size = order.number("down") as usize;
        let is_chunked = order.says("chunked") == "true";
        self.begin(order, (!is_chunked).then_some(size)).await?;
        let mut content = Content::new(order.id, size);
        let is_to_die = order.says("fault").starts_with("body");
        let mut sent = 0;
        while let Some(piece) = content.next(PIECE) {
            if sent == 0 {
                self.stream.flush().await?;
            } else if sent * 2 >= size && (sent - PIECE) * 2 < size {
                self.stream.flush().await?;
                if is_to_die {
                    return Ok(());
                }
                sleep(Duration::from_millis(order.number("pause") / 2)).await;
            }
            self.piece(piece, is_chunked).await?;
            sent += piece.len();
        }
        if is_chunked && !is_to_die {
            self.stream.write_all(b"0\r\n\r\n").await?;
        }
        self.stream.flush().await
    }

    async fn begin(&mut self, order: &Order, length: Option<usize>) -> io::Result<()> {
        let framing = length.map_or_else(
            || "Transfer-Encoding: chunked".to_owned(),
            |length| format!("Content-Length: {length}"),
        );
        let close = match order.says("after") {
            "closes" => "Connection: close\r\n",
            _ => "",
        };
        let (app, id) = (self.app.number, order.id);
        let head = format!(
            "HTTP/1.1 200 OK\r\n{framing}\r\n{close}X-Soak-App: {app}\r\nX-Soak-Id: {id}\r\n\r\n"
        );
        self.stream.write_all(head.as_bytes()).await
    }

    async fn piece(&mut self, piece: &[u8], is_chunked: bool) -> io::Result<()> {
        if !is_chunked {
            return self.stream.write_all(piece).await;
        }
        let size = format!("{:x}\r\n", piece.len());
        self.stream.write_all(size.as_bytes()).await?;
        self.stream.write_all(piece).await?;
        self.stream.write_all(b"\r\n").await
    }

    async fn say(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes()).await?;
        self.stream.flush().await
    }

    /// The end, by FIN or by RST.
    fn die(&mut self, order: &Order) -> io::Result<Next> {
        if order.says("fault").ends_with("rst") {
            self.stream.get_ref().set_zero_linger()?;
        }
        Ok(Next::End)
    }

    /// A WebSocket that sends everything back.
    async fn echo(&mut self, key: &str) -> io::Result<()> {
        let accept = derive_accept_key(key.as_bytes());
        let app = self.app.number;
        self.say(&format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\nX-Soak-App: {app}\r\n\r\n"))
            .await?;
        let mut socket =
            WebSocketStream::from_raw_socket(&mut self.stream, Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                break;
            }
        }
        // tungstenite has written its goodbye, but not sent it.
        self.stream.flush().await
    }
}

impl Order {
    /// From `/get/17?down=1000&…`; none where no request of the soak looks like that.
    fn read(asked: &str) -> Option<Self> {
        let target = asked.split(' ').nth(1)?;
        let (path, query) = target.split_once('?')?;
        let id = path.strip_prefix('/')?.split_once('/')?.1.parse().ok()?;
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        };
        let told = query.split('&').filter_map(pair).collect();
        Some(Self { id, told })
    }

    fn says(&self, name: &str) -> &str {
        self.told.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> u64 {
        self.says(name).parse().unwrap_or_default()
    }
}
