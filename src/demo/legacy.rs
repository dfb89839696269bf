//! The application of the sidecar pattern, built in: plain HTTP, says hello, and knows nothing of TLS.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

/// Starts an app that answers `GET /` with `greeting`, on a thread of its own, until the process ends.
pub(super) fn start(greeting: &'static str) -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = Builder::new_current_thread().enable_io().build()?;
    thread::Builder::new()
        .name("legacy-app".to_owned())
        .spawn(move || runtime.block_on(serve(listener, greeting)))?;
    Ok(address)
}

async fn serve(listener: std::net::TcpListener, greeting: &'static str) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    while let Ok((stream, _)) = listener.accept().await {
        let service = service_fn(move |request: Request<Incoming>| async move {
            Ok::<_, Infallible>(answer(request.uri().path(), greeting))
        });
        tokio::spawn(async move {
            // The app's clients are the sidecar's business.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn answer(path: &str, greeting: &'static str) -> Response<Full<Bytes>> {
    let (status, text) = match path {
        "/" => (StatusCode::OK, greeting),
        _ => (StatusCode::NOT_FOUND, "Cannot GET that"),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    response
}
