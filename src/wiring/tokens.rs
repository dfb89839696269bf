//! The file with the tokens of the admin plane, which is read again and again.

use std::convert::Infallible;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portcullis_admin::{Access, Tokens};
use rustix::fs::OFlags;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::records::{Audit, audit};

/// The file.
#[derive(Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    service: String,
    content: Mutex<Content>,
    look: Notify,
}

/// What was read of it.
#[derive(Debug, Default)]
struct Content {
    /// What was judged last, good or not.
    known: Vec<u8>,
    /// Something else, seen once: it may be half of a write.
    other: Option<Vec<u8>>,
}

/// Reads a token file.
///
/// # Errors
/// Why it cannot be used.
pub(crate) fn read_tokens(path: &Path) -> Result<Tokens, String> {
    judge(path, &content(path))
}

/// What was read of it, as tokens.
fn judge(path: &Path, read: &io::Result<Vec<u8>>) -> Result<Tokens, String> {
    let tokens = match read {
        Ok(content) => match std::str::from_utf8(content) {
            Ok(text) => Tokens::parse(text),
            Err(_) => Err("it is not text".to_owned()),
        },
        Err(error) => Err(error.to_string()),
    };
    tokens.map_err(|why| format!("reading --admin-token-file {}: {why}", path.display()))
}

/// Neither a FIFO, which would be waited for, nor more than a list of tokens can be.
fn content(path: &Path) -> io::Result<Vec<u8>> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32);
    let file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut content = Vec::new();
    file.take(MOST + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MOST {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(content)
}

impl TokenFile {
    /// Reads it for the first time.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn open(path: &Path, service: &str) -> Result<(Self, Tokens), String> {
        let read = content(path);
        let tokens = judge(path, &read)?;
        // What was judged, not what may be there by now.
        let known = read.unwrap_or_default();
        let file = Self {
            path: path.to_owned(),
            service: service.to_owned(),
            content: Mutex::new(Content { known, other: None }),
            look: Notify::new(),
        };
        Ok((file, tokens))
    }

    /// Looks at it as soon as it can.
    pub(super) fn look_now(&self) {
        self.look.notify_one();
    }

    /// A mount that hangs must not stop the control thread, so the file is read elsewhere; and it is small, so that it is
    /// simply read again and again.
    pub(super) async fn keep(self: &Arc<Self>, access: &Access) -> Infallible {
        loop {
            let _ = timeout(INTERVAL, self.look.notified()).await;
            let this = Arc::clone(self);
            // A panic would be a defect, and must not be the end of all renewals.
            match spawn_blocking(move || this.look_again()).await {
                Ok(Some(Ok(tokens))) => {
                    let count = tokens.count();
                    access.renew(tokens);
                    tracing::info!(count, "tokens of the admin plane read again");
                    self.tell("done", "", &format!("{count} tokens are good from now on"));
                }
                Ok(Some(Err(why))) => {
                    tracing::error!("{why}; the tokens read before are still good");
                    self.tell("failed", "malformed", &why);
                }
                Ok(None) | Err(_) => {}
            }
        }
    }

    /// The tokens, or what is wrong with them; none where nothing has changed, or is only just changing.
    fn look_again(&self) -> Option<Result<Tokens, String>> {
        let read = content(&self.path);
        let now = match &read {
            Ok(content) => content.clone(),
            Err(error) => error.to_string().into_bytes(),
        };
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        if content.known == now {
            content.other = None;
            return None;
        }
        if content.other.as_ref() != Some(&now) {
            content.other = Some(now);
            return None;
        }
        *content = Content {
            known: now,
            other: None,
        };
        Some(judge(&self.path, &read))
    }

    fn tell(&self, result: &'static str, reason: &'static str, detail: &str) {
        let read_again = Audit {
            action: "admin_tokens",
            result,
            reason,
            detail,
            actor: None,
        };
        audit(&self.service, &read_again);
    }
}

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// Bytes of the file.
const MOST: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ONE: &str = "0123456789abcdef";

    #[test]
    fn what_is_seen_once_may_be_half_of_a_write_and_what_is_seen_twice_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        fs::write(&path, ONE).unwrap();
        let (file, _) = TokenFile::open(&path, "shop").unwrap();
        assert!(file.look_again().is_none());
        fs::write(&path, "ops write fedcba9876543210").unwrap();
        assert!(file.look_again().is_none());
        fs::write(
            &path,
            "ops write fedcba9876543210\nweb read 0123456789abcdef",
        )
        .unwrap();
        assert!(file.look_again().is_none());
        assert_eq!(file.look_again().unwrap().unwrap().count(), 2);
        assert!(file.look_again().is_none());
        fs::remove_file(&path).unwrap();
        assert!(file.look_again().is_none());
        assert!(file.look_again().unwrap().is_err());
        assert!(file.look_again().is_none(), "told once");
        // What was judged before is judged again: it is not what is known any more.
        fs::write(&path, ONE).unwrap();
        assert!(file.look_again().is_none());
        assert_eq!(file.look_again().unwrap().unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_list_of_tokens_is_neither_waited_for_nor_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        let refused = |path: &Path| read_tokens(path).unwrap_err();
        assert!(refused(&path).contains("no regular file"));
        assert!(refused(folder.path()).contains("no regular file"));
        assert!(refused(Path::new("/dev/zero")).contains("no regular file"));
        fs::remove_file(&path).unwrap();
        fs::write(&path, vec![b'a'; 2 << 20]).unwrap();
        assert!(refused(&path).contains("larger than 1 MiB"));
    }
}
