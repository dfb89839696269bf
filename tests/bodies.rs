use bytes::Bytes;
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{App, Client, Sidecar, h2_get, read_answer, read_until};

const GIB: usize = 1 << 30;
const PIECE: usize = 1 << 18;

/// Takes any upload and tells its length; answers GET with a GiB.
async fn bulk() -> App {
    App::scripted(|mut talk| async move {
        while let Some(head) = talk.head().await? {
            if head.starts_with("GET") {
                talk.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {GIB}\r\n\r\n").as_bytes())
                    .await?;
                let piece = vec![7; PIECE];
                for _ in 0..GIB / PIECE {
                    talk.say(&piece).await?;
                }
                continue;
            }
            let is_chunked = head
                .to_ascii_lowercase()
                .contains("transfer-encoding: chunked");
            let mut room = vec![0; PIECE];
            let (mut taken, mut tail) = (0, Vec::new());
            loop {
                let count = talk.stream.read(&mut room).await?;
                assert!(count > 0, "the upload broke off");
                taken += count;
                tail.extend_from_slice(&room[count.saturating_sub(5)..count]);
                tail = tail.split_off(tail.len().saturating_sub(5));
                if if is_chunked {
                    tail == b"0\r\n\r\n"
                } else {
                    taken == GIB
                } {
                    break;
                }
            }
            // Chunk headers come on top, so only a lower bound there.
            assert!(taken >= GIB);
            talk.answer("200 OK", b"taken").await?;
        }
        Ok(())
    })
    .await
}

/// The most memory the process ever had resident, in MiB.
fn peak(sidecar: &Sidecar) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", sidecar.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim()
        .trim_end_matches(" kB")
        .parse::<usize>()
        .unwrap()
        / 1024
}

#[tokio::test]
async fn a_gibibyte_each_way_over_http1_needs_little_memory() {
    let app = bulk().await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();

    stream
        .write_all(b"GET /down HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut stream, b"\r\n\r\n").await.unwrap();
    let (mut room, mut left) = (vec![0; PIECE], GIB);
    while left > 0 {
        let count = stream.read(&mut room).await.unwrap();
        assert!(
            count > 0 && room[..count].iter().all(|byte| *byte == 7),
            "the download broke off"
        );
        left -= count;
    }
    assert_eq!(sidecar.exchange("/down").await["bytes_out"], GIB);

    stream
        .write_all(
            format!("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: {GIB}\r\n\r\n").as_bytes(),
        )
        .await
        .unwrap();
    for _ in 0..GIB / PIECE {
        stream.write_all(&room).await.unwrap();
    }
    // TLS may hold back the end of what was written until it is told not to.
    stream.flush().await.unwrap();
    assert_eq!(read_answer(&mut stream).await.unwrap().text(), "taken");
    assert_eq!(sidecar.exchange("/up").await["bytes_in"], GIB);
    let peak = peak(&sidecar);
    println!("peak resident over HTTP/1: {peak} MiB");
    assert!(peak < 64, "{peak} MiB resident");
}

#[tokio::test]
async fn a_gibibyte_each_way_over_http2_needs_little_memory() {
    let app = bulk().await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;

    let (response, _) =
        h2.0.clone()
            .ready()
            .await
            .unwrap()
            .send_request(h2_get("/down"), true)
            .unwrap();
    let mut body = response.await.unwrap().into_body();
    let mut taken = 0;
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        taken += data.len();
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    assert_eq!(taken, GIB);

    let post = Request::post("https://localhost/up").body(()).unwrap();
    let (response, mut stream) =
        h2.0.clone()
            .ready()
            .await
            .unwrap()
            .send_request(post, false)
            .unwrap();
    let mut left = GIB;
    while left > 0 {
        stream.reserve_capacity(PIECE.min(left));
        let granted = std::future::poll_fn(|cx| stream.poll_capacity(cx))
            .await
            .unwrap()
            .unwrap();
        let piece = granted.min(left);
        left -= piece;
        stream
            .send_data(Bytes::from(vec![7; piece]), left == 0)
            .unwrap();
    }
    assert_eq!(response.await.unwrap().status(), 200);
    assert_eq!(sidecar.exchange("/up").await["bytes_in"], GIB);
    let peak = peak(&sidecar);
    println!("peak resident over HTTP/2: {peak} MiB");
    assert!(peak < 64, "{peak} MiB resident");
}
