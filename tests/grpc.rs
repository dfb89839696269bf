use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use futures_util::{Stream, StreamExt, stream};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{
    ClientStreamingService, Grpc as Server, NamedService, ServerStreamingService, StreamingService,
    UnaryService,
};
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::support::{Client, Collector, Sidecar, eventually};

/// Messages are bytes as they are: no compiler for protocol buffers is needed.
#[derive(Clone, Copy, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = from.remaining();
        Ok(Some(from.copy_to_bytes(length)))
    }
}

/// The application: each kind of call, and who tells when one was cancelled.
#[derive(Clone)]
struct Service {
    cancelled: mpsc::UnboundedSender<()>,
}

type Replies = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;
type Answer<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

impl NamedService for Service {
    const NAME: &'static str = "test.Words";
}

impl UnaryService<Bytes> for Service {
    type Response = Bytes;
    type Future = Answer<Bytes>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        Box::pin(async move {
            if request.get_ref() == "nobody" {
                let mut status =
                    Status::with_details(Code::NotFound, "no such word", Bytes::from("details"));
                status
                    .metadata_mut()
                    .insert("x-hint", "look elsewhere".parse().unwrap());
                return Err(status);
            }
            let mut response = Response::new(request.get_ref().clone());
            let said = request.metadata().get("x-said").cloned();
            response.metadata_mut().insert(
                "x-heard",
                said.unwrap_or_else(|| "nothing".parse().unwrap()),
            );
            Ok(response)
        })
    }
}

impl ServerStreamingService<Bytes> for Service {
    type Response = Bytes;
    type ResponseStream = Replies;
    type Future = Answer<Replies>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let word = request.into_inner();
        let replies = stream::iter((0..3).map(move |n| Ok(Bytes::from(format!("{n}{word:?}")))));
        Box::pin(async { Ok(Response::new(Box::pin(replies) as Replies)) })
    }
}

impl ClientStreamingService<Bytes> for Service {
    type Response = Bytes;
    type Future = Answer<Bytes>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        Box::pin(async move {
            let mut words = request.into_inner();
            let mut all = Vec::new();
            while let Some(word) = words.message().await? {
                all.extend_from_slice(&word);
            }
            Ok(Response::new(all.into()))
        })
    }
}

impl StreamingService<Bytes> for Service {
    type Response = Bytes;
    type ResponseStream = Replies;
    type Future = Answer<Replies>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let farewell = Farewell(self.cancelled.clone());
        let words = request.into_inner().map(move |word| {
            let _lives = &farewell;
            word
        });
        Box::pin(async { Ok(Response::new(Box::pin(words) as Replies)) })
    }
}

/// Says so when the call is over.
struct Farewell(mpsc::UnboundedSender<()>);

impl Drop for Farewell {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

impl tower::Service<http::Request<Body>> for Service {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let mut server = Server::new(Plain);
            Ok(match request.uri().path() {
                "/test.Words/Unary" => server.unary(service, request).await,
                "/test.Words/ServerStreaming" => server.server_streaming(service, request).await,
                "/test.Words/ClientStreaming" => server.client_streaming(service, request).await,
                _ => server.streaming(service, request).await,
            })
        })
    }
}

async fn application() -> (SocketAddr, mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (cancelled, over) = mpsc::unbounded_channel();
    let incoming = stream::unfold(listener, |listener| async {
        let accepted = listener.accept().await.map(|(stream, _)| stream);
        Some((accepted, listener))
    });
    let server = tonic::transport::Server::builder().add_service(Service { cancelled });
    tokio::spawn(server.serve_with_incoming(incoming));
    (address, over)
}

/// tonic's own client, over TLS through the sidecar.
async fn client(sidecar: &Sidecar) -> Grpc<Channel> {
    let tls = Client::new(sidecar, &["h2"]);
    let connector = tower::service_fn(move |_: Uri| {
        let tls = tls.clone();
        async move { tls.connect().await.map(TokioIo::new) }
    });
    let channel = Endpoint::from_static("https://localhost")
        .connect_with_connector(connector)
        .await
        .unwrap();
    let mut client = Grpc::with_origin(channel, Uri::from_static("https://localhost"));
    client.ready().await.unwrap();
    client
}

fn path(kind: &'static str) -> http::uri::PathAndQuery {
    format!("/test.Words/{kind}").parse().unwrap()
}

fn word(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[tokio::test]
async fn all_four_kinds_of_calls_go_through_with_metadata_and_status() {
    let (address, _) = application().await;
    // The spool must never hold an RPC back, whatever its size.
    let sidecar = Sidecar::start(format!("h2c://{address}"), &[]).await;
    let mut client = client(&sidecar).await;
    let mut request = Request::new(word("hello"));
    request
        .metadata_mut()
        .insert("x-said", "please".parse().unwrap());
    let response = client.unary(request, path("Unary"), Plain).await.unwrap();
    assert_eq!(response.metadata().get("x-heard").unwrap(), "please");
    assert_eq!(response.into_inner(), "hello");

    client.ready().await.unwrap();
    let request = Request::new(word("w"));
    let response = client
        .server_streaming(request, path("ServerStreaming"), Plain)
        .await
        .unwrap();
    let replies: Vec<_> = response.into_inner().map(Result::unwrap).collect().await;
    assert_eq!(replies, ["0b\"w\"", "1b\"w\"", "2b\"w\""]);

    client.ready().await.unwrap();
    let words = stream::iter([word("a"), word("b"), word("c")]);
    let response = client
        .client_streaming(Request::new(words), path("ClientStreaming"), Plain)
        .await;
    assert_eq!(response.unwrap().into_inner(), "abc");

    // A status with details, in the trailers.
    client.ready().await.unwrap();
    let refused = client
        .unary(Request::new(word("nobody")), path("Unary"), Plain)
        .await;
    let status = refused.unwrap_err();
    assert_eq!(
        (status.code(), status.message(), status.details()),
        (Code::NotFound, "no such word", &b"details"[..])
    );
    assert_eq!(status.metadata().get("x-hint").unwrap(), "look elsewhere");
    let record = sidecar.exchange("/test.Words/Unary").await;
    assert_eq!(
        (&record["status"], &record["reason"]),
        (&200.into(), &"".into())
    );
}

/// Opens a call in which both sides speak: what says a word, and the replies.
async fn conversation(
    sidecar: &Sidecar,
) -> (mpsc::UnboundedSender<Bytes>, tonic::Streaming<Bytes>) {
    let mut client = client(sidecar).await;
    let (say, words) = mpsc::unbounded_channel::<Bytes>();
    let words = stream::unfold(words, |mut words| async {
        Some((words.recv().await?, words))
    });
    let talk = client
        .streaming(Request::new(words), path("Streaming"), Plain)
        .await
        .unwrap();
    (say, talk.into_inner())
}

#[tokio::test]
async fn a_conversation_goes_on_word_by_word_and_a_client_that_leaves_is_noticed() {
    let (address, mut over) = application().await;
    let sidecar = Sidecar::start(
        format!("h2c://{address}"),
        // An RPC may take longer than an answer.
        &["--response-timeout", "100ms"],
    )
    .await;
    let (say, mut replies) = conversation(&sidecar).await;
    for text in ["one", "two", "three"] {
        say.send(word(text)).unwrap();
        assert_eq!(replies.message().await.unwrap().unwrap(), text);
    }
    // Nobody speaks for longer than the limits on answers.
    assert!(
        timeout(Duration::from_millis(300), replies.message())
            .await
            .is_err()
    );
    drop((replies, say));
    over.recv().await.unwrap();
    eventually("the record of the cancelled call", async || {
        sidecar.records().into_iter().find(|record| {
            record["path"] == "/test.Words/Streaming" && record["bytes_out"].as_u64() > Some(10)
        })
    })
    .await;
}

#[tokio::test]
async fn a_conversation_goes_on_through_the_drain_to_its_end() {
    let (address, _over) = application().await;
    let limits = ["--drain-timeout", "1m"];
    let sidecar = Sidecar::start(format!("h2c://{address}"), &limits).await;
    let (say, mut replies) = conversation(&sidecar).await;
    say.send(word("before")).unwrap();
    assert_eq!(replies.message().await.unwrap().unwrap(), "before");
    sidecar.signal(rustix::process::Signal::TERM);
    sidecar.finishing().await;
    say.send(word("after")).unwrap();
    assert_eq!(replies.message().await.unwrap().unwrap(), "after");
    drop(say);
    assert!(replies.message().await.unwrap().is_none());
    let ended = sidecar.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[tokio::test]
async fn a_call_has_spans_with_its_name_and_the_status_of_its_trailers() {
    let (address, _) = application().await;
    let collector = Collector::otlp().await;
    let flags = collector.flags();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let sidecar = Sidecar::start(format!("h2c://{address}"), &flags).await;
    let mut client = client(&sidecar).await;
    for (text, code, failed) in [("hello", "0", None), ("nobody", "5", Some("5"))] {
        client.ready().await.unwrap();
        let called = client
            .unary(Request::new(word(text)), path("Unary"), Plain)
            .await;
        assert_eq!(called.is_err(), failed.is_some());
        let [server, sent] = ["SERVER", "CLIENT"].map(|kind| {
            collector.until(kind, move |all| {
                let is_it = |tag: &String| tag == code;
                let mut of_call = all.iter().filter(|span| {
                    span.kind == kind && span.tags.get("rpc.grpc.status_code").is_some_and(is_it)
                });
                of_call.next().cloned()
            })
        });
        let (server, sent) = (server.await, sent.await);
        for span in [&server, &sent] {
            assert_eq!(span.name, "test.Words/Unary");
            assert_eq!(span.tags["rpc.system"], "grpc");
            assert_eq!(span.tags["rpc.service"], "test.Words");
            assert_eq!(span.tags["rpc.method"], "Unary");
            assert_eq!(span.tags["http.response.status_code"], "200");
        }
        // Who asks for a word that there is not has failed, and nobody else.
        assert_eq!(server.error, None);
        assert_eq!(sent.tags.get("error.type").map(String::as_str), failed);
        assert_eq!(sent.error.is_some(), failed.is_some());
    }
}
