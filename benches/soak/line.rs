//! Heads of HTTP/1 messages as text, for both sides.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// The next head, without the empty line behind it; none where the stream ends instead.
pub(crate) async fn head<S: AsyncBufRead + Unpin>(stream: &mut S) -> io::Result<Option<String>> {
    let mut head = String::new();
    loop {
        let before = head.len();
        let read = stream.read_line(&mut head).await?;
        match (read, &head[before..]) {
            (0, _) if before == 0 => return Ok(None),
            (0, _) => return Err(io::ErrorKind::UnexpectedEof.into()),
            (_, "\r\n") => {
                head.truncate(before);
                return Ok(Some(head));
            }
            _ => {}
        }
    }
}

/// The value of a field.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
