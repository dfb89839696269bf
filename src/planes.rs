//! The two planes of the control thread: bound before anything runs, served as long as the process lives.

use std::fs::{self, Metadata};
use std::io;
use std::net::TcpListener as StdListener;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_admin::{Door, Secure};
use rustix::fs::Mode;
use rustix::process::umask;
use tokio::net::{TcpListener, UnixListener};

use crate::config::AdminAddress;
use crate::listener::bind;
use crate::upstream::OwnSocket;

/// The admin plane's listener.
#[derive(Debug)]
pub(crate) enum AdminSocket {
    /// TCP.
    Tcp(StdListener),
    /// A socket in the file system.
    Unix(UnixSocket),
}

/// A Unix socket, which is taken away again at the end.
#[derive(Debug)]
pub(crate) struct UnixSocket {
    listener: StdUnixListener,
    path: PathBuf,
    /// Device and inode: at the end, what is there may be another process's.
    identity: (u64, u64),
}

/// Binds the admin plane.
///
/// # Errors
/// What the system says, with the address and a hint.
pub(crate) fn bind_admin(address: &AdminAddress) -> Result<AdminSocket, String> {
    match address {
        AdminAddress::Tcp(address) => {
            bind("the admin plane (--admin)", *address).map(AdminSocket::Tcp)
        }
        AdminAddress::Unix(path) => bind_unix(path).map(AdminSocket::Unix).map_err(|error| {
            format!(
                "binding the admin plane (--admin) to unix:{}: {error}{}",
                path.display(),
                hint(&error)
            )
        }),
    }
}

/// Nobody but this user (and root) may connect. The mode comes from the mask, so that there is no moment without it; no other
/// thread is there yet to be surprised.
fn bind_unix(path: &Path) -> io::Result<UnixSocket> {
    clear(path)?;
    let before = umask(Mode::from_raw_mode(0o177));
    let bound = StdUnixListener::bind(path);
    umask(before);
    let listener = bound?;
    listener.set_nonblocking(true)?;
    Ok(UnixSocket {
        listener,
        path: path.to_owned(),
        identity: identity(&fs::symlink_metadata(path)?),
    })
}

/// Takes away what a process left that could not do so itself; never a socket somebody answers at, nor anything else.
fn clear(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => Err(io::ErrorKind::AlreadyExists.into()),
        Ok(_) => match StdUnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
            _ => Err(io::ErrorKind::AddrInUse.into()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => " (another process listens there)",
        io::ErrorKind::AlreadyExists => " (what is there is no socket)",
        io::ErrorKind::NotFound => " (the folder must be there; in a pod, mount an emptyDir)",
        io::ErrorKind::PermissionDenied => " (the folder must be writable for this user)",
        _ => "",
    }
}

fn identity(facts: &Metadata) -> (u64, u64) {
    (facts.dev(), facts.ino())
}

impl AdminSocket {
    /// Where it listens, with the port that the system picked.
    pub(crate) fn address(&self) -> io::Result<AdminAddress> {
        Ok(match self {
            Self::Tcp(listener) => AdminAddress::Tcp(listener.local_addr()?),
            Self::Unix(socket) => AdminAddress::Unix(socket.path.clone()),
        })
    }

    /// The socket, where it is one.
    pub(crate) fn socket(&self) -> Option<OwnSocket> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(socket) => Some(OwnSocket {
                path: socket.path.clone(),
                identity: Some(socket.identity),
            }),
        }
    }

    /// The door that clients come in by.
    pub(crate) fn door(&self, secure: Option<Arc<dyn Secure>>) -> Result<Door, String> {
        match self {
            Self::Tcp(listener) => tcp(listener, secure),
            Self::Unix(socket) => socket
                .listener
                .try_clone()
                .and_then(UnixListener::from_std)
                .map(Door::Unix)
                .map_err(listening),
        }
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let is_ours =
            fs::symlink_metadata(&self.path).is_ok_and(|facts| identity(&facts) == self.identity);
        if is_ours {
            // A file that stays is taken away by the next one who binds there.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A door over TCP.
pub(crate) fn tcp(listener: &StdListener, secure: Option<Arc<dyn Secure>>) -> Result<Door, String> {
    listener
        .try_clone()
        .and_then(TcpListener::from_std)
        .map(|listener| Door::Tcp(listener, secure))
        .map_err(listening)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what map_err hands over"
)]
fn listening(error: io::Error) -> String {
    format!("listening: {error}")
}
