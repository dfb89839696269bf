//! For tests: an admin plane that says what it is told to.

use clap::ArgMatches;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Trouble;
use super::args::{Errand, Output};
use super::plane::Plane;

/// Answers one request with these pieces, closes, and tells what the request was.
pub(super) async fn admin(pieces: Vec<String>) -> (Plane, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plane = Plane::at(listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream, pieces).await
    });
    (plane, served)
}

/// Runs a command against an admin plane that answers so: how it ended, what was written, and what was asked.
pub(super) async fn outcome(
    line: &str,
    pieces: Vec<String>,
    run: impl AsyncFnOnce(Errand<'_>, &ArgMatches, &mut Vec<u8>) -> Result<(), Trouble>,
) -> (Result<(), Trouble>, String, String) {
    let matches = matches(line);
    let (plane, served) = admin(pieces).await;
    let (plane, output) = (&plane, Output::asked(&matches));
    let mut out = Vec::new();
    let ended = run(Errand { plane, output }, &matches, &mut out).await;
    let text = String::from_utf8(out).unwrap();
    (ended, text, served.await.unwrap())
}

/// Gives these answers, each to a connection of its own, closes the door, and tells what the requests were.
pub(super) async fn talk(answers: Vec<Vec<String>>) -> (Plane, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plane = Plane::at(listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let mut requests = Vec::new();
        for pieces in answers {
            let (stream, _) = listener.accept().await.unwrap();
            requests.push(serve(stream, pieces).await);
        }
        requests
    });
    (plane, served)
}

/// Answers one request on this connection.
pub(super) async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    pieces: Vec<String>,
) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    let mut request = String::from_utf8(request).unwrap();
    let length = request.to_ascii_lowercase();
    let length = length
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or_default()];
    stream.read_exact(&mut body).await.unwrap();
    request.push_str(std::str::from_utf8(&body).unwrap());
    for piece in pieces {
        stream.write_all(piece.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    // A client that has gone already has what it wanted.
    let _ = stream.shutdown().await;
    request
}

/// A whole answer.
pub(super) fn answer(status: &str, body: &str) -> Vec<String> {
    answer_with(status, "", body)
}

/// The same with header lines, each with its end.
pub(super) fn answer_with(status: &str, headers: &str, body: &str) -> Vec<String> {
    let length = body.len();
    vec![format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )]
}

/// The head of an answer that streams, and chunks of it; its end never comes.
pub(super) fn stream(chunks: &[&str]) -> Vec<String> {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    let chunk = |chunk: &&str| format!("{:x}\r\n{chunk}\r\n", chunk.len());
    [head].into_iter().chain(chunks.iter().map(chunk)).collect()
}

/// A command line, read as the executable reads it.
pub(super) fn matches(line: &str) -> ArgMatches {
    let name = line.split(' ').next().unwrap();
    let mut commands = super::commands().into_iter();
    let command = commands.find(|command| command.get_name() == name).unwrap();
    command.try_get_matches_from(line.split(' ')).unwrap()
}
