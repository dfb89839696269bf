//! Scripted applications: each connection is handled by a function that reads and writes exact bytes.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;

/// A listening application; gone on drop.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    /// The heads of all requests seen, in order.
    heads: Arc<Mutex<Vec<String>>>,
    accepting: JoinHandle<()>,
}

/// One connection from the sidecar.
pub(crate) struct Talk {
    pub(crate) stream: TcpStream,
    heads: Arc<Mutex<Vec<String>>>,
}

impl App {
    /// Handles each connection by `script`.
    pub(crate) async fn scripted<F, W>(script: F) -> Self
    where
        F: Fn(Talk) -> W + Send + Sync + 'static,
        W: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), script)
    }

    pub(crate) fn on<F, W>(listener: TcpListener, script: F) -> Self
    where
        F: Fn(Talk) -> W + Send + Sync + 'static,
        W: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&heads);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let talk = Talk {
                    stream,
                    heads: Arc::clone(&seen),
                };
                // A sidecar that leaves is part of the play.
                tokio::spawn(script(talk));
            }
        });
        Self {
            address,
            heads,
            accepting,
        }
    }

    /// Answers each request with 200 and what it has seen of it: the head, an empty line, the body.
    pub(crate) async fn echo() -> Self {
        Self::scripted(|mut talk| async move {
            while let Some(head) = talk.head().await? {
                let body = talk.body(&head).await?;
                let mut seen = head.into_bytes();
                seen.extend_from_slice(&body);
                talk.answer("200 OK", &seen).await?;
            }
            Ok(())
        })
        .await
    }

    /// Reads, never answers, and tells of each connection what came behind the head until its end.
    pub(crate) async fn listening() -> (Self, UnboundedReceiver<Vec<u8>>) {
        Self::hearing_out(|mut talk| async move {
            talk.head().await?;
            Ok(talk)
        })
        .await
    }

    /// Answers before it has read the body, reads on for as long as it takes, and tells what came of it.
    pub(crate) async fn answering_early() -> (Self, UnboundedReceiver<Vec<u8>>) {
        Self::hearing_out(|mut talk| async move {
            talk.head().await?;
            talk.answer("200 OK", b"early").await?;
            Ok(talk)
        })
        .await
    }

    /// Begins as it is told, and tells of each connection what still came until its end.
    pub(crate) async fn hearing_out<F, R>(begin: F) -> (Self, UnboundedReceiver<Vec<u8>>)
    where
        F: Fn(Talk) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = std::io::Result<Talk>> + Send + 'static,
    {
        let (ends, ended) = unbounded_channel();
        let app = Self::scripted(move |talk| {
            let (ends, begin) = (ends.clone(), begin.clone());
            async move {
                let mut talk = begin(talk).await?;
                let mut rest = Vec::new();
                let _ = talk.stream.read_to_end(&mut rest).await;
                let _ = ends.send(rest);
                Ok(())
            }
        })
        .await;
        (app, ended)
    }

    /// Answers 200 with an `x`, and requests for paths that begin with `path` with another status.
    pub(crate) async fn failing_at(path: &'static str, status: &'static str) -> Self {
        Self::scripted(move |mut talk| async move {
            while let Some(head) = talk.head().await? {
                talk.body(&head).await?;
                let asked = head.split(' ').nth(1).unwrap_or_default();
                let status = if asked.starts_with(path) {
                    status
                } else {
                    "200 OK"
                };
                talk.answer(status, b"x").await?;
            }
            Ok(())
        })
        .await
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// Answers each request with `text`.
pub(crate) async fn hello(text: &'static str) -> App {
    App::scripted(move |mut talk| async move {
        while let Some(head) = talk.head().await? {
            talk.body(&head).await?;
            talk.answer("200 OK", text.as_bytes()).await?;
        }
        Ok(())
    })
    .await
}

/// Answers each request; one for `/slow` when it is told to.
pub(crate) async fn slow(go_on: &Arc<Notify>) -> App {
    let go_on = Arc::clone(go_on);
    App::scripted(move |mut talk| {
        let go_on = Arc::clone(&go_on);
        async move {
            while let Some(head) = talk.head().await? {
                if head.contains("/slow") {
                    go_on.notified().await;
                }
                talk.answer("200 OK", b"finished").await?;
            }
            Ok(())
        }
    })
    .await
}

impl Talk {
    /// The next head, with its empty line; none at the end of the connection.
    pub(crate) async fn head(&mut self) -> std::io::Result<Option<String>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match self.stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) if head.is_empty() => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        self.heads.lock().unwrap().push(head.clone());
        Ok(Some(head))
    }

    /// The body behind a head, decoded.
    pub(crate) async fn body(&mut self, head: &str) -> std::io::Result<Vec<u8>> {
        let field = |name: &str| {
            head.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name)
                    .then(|| value.trim().to_owned())
            })
        };
        let mut body = Vec::new();
        if let Some(length) = field("content-length") {
            body.resize(length.parse().unwrap(), 0);
            self.stream.read_exact(&mut body).await?;
        } else if field("transfer-encoding").is_some() {
            loop {
                let mut line = String::new();
                while !line.ends_with("\r\n") {
                    line.push(self.stream.read_u8().await?.into());
                }
                let size = usize::from_str_radix(line.trim(), 16).unwrap();
                let mut chunk = vec![0; size + 2];
                self.stream.read_exact(&mut chunk).await?;
                body.extend_from_slice(&chunk[..size]);
                if size == 0 {
                    break;
                }
            }
        }
        Ok(body)
    }

    pub(crate) async fn answer(&mut self, status: &str, body: &[u8]) -> std::io::Result<()> {
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.say(&bytes).await
    }

    pub(crate) async fn say(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl fmt::Display for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.address)
    }
}
