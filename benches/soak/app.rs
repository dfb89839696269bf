//! The applications behind the sidecar. They live in the soak's own process, so that it knows what each of them did to which
//! request.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::books::Books;
use crate::serve::Talk;

/// One of the two.
pub(crate) struct App {
    pub(crate) number: usize,
    pub(crate) address: SocketAddr,
    /// How long it keeps an unused connection.
    pub(crate) patience: Duration,
    pub(crate) books: Arc<Books>,
    /// The requests that it works on.
    working: Mutex<HashSet<u64>>,
    /// Changes when all its connections are to end.
    life: watch::Sender<u64>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

/// A request that the application works on, until dropped.
pub(crate) struct Working<'a> {
    app: &'a App,
    id: u64,
}

impl App {
    pub(crate) async fn start(
        number: usize,
        patience: Duration,
        books: Arc<Books>,
    ) -> io::Result<Arc<Self>> {
        let listener = outside_the_ephemeral_ports().await?;
        let app = Arc::new(Self {
            number,
            address: listener.local_addr()?,
            patience,
            books,
            working: Mutex::default(),
            life: watch::Sender::new(0),
            accepting: Mutex::default(),
        });
        app.accept(listener);
        Ok(app)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends all connections, with whatever is on them, and comes back at the same address.
    pub(crate) async fn restart(self: &Arc<Self>, away: Duration) -> io::Result<usize> {
        let accepting = lock(&self.accepting).take();
        if let Some(accepting) = accepting {
            accepting.abort();
            // The listener is closed when this is over.
            let _ = accepting.await;
        }
        // Nothing can come between the books and the end: both are done before any connection is polled again.
        let killed: Vec<u64> = lock(&self.working).iter().copied().collect();
        self.books.connections_end(self.number, Some(&killed));
        self.life.send_modify(|life| *life += 1);
        tokio::time::sleep(away).await;
        let listener = TcpListener::bind(self.address).await?;
        self.books.connections_end(self.number, Some(&[]));
        self.accept(listener);
        Ok(killed.len())
    }

    fn accept(self: &Arc<Self>, listener: TcpListener) {
        let app = Arc::clone(self);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (app, life) = (Arc::clone(&app), app.life.subscribe());
                tokio::spawn(async move { app.serve(stream, life).await });
            }
        });
        *lock(&self.accepting) = Some(accepting);
    }

    async fn serve(&self, stream: TcpStream, mut life: watch::Receiver<u64>) {
        // It is about the sidecar, and not about delayed acknowledgements.
        let _ = stream.set_nodelay(true);
        let mut talk = Talk::new(stream, self);
        tokio::select! {
            biased;
            _ = life.changed() => {}
            // A sidecar that leaves, because its client did, is part of the play.
            _ = talk.run() => {}
        }
    }

    pub(crate) fn works_on(&self, id: u64) -> Working<'_> {
        self.books.is_at(id);
        lock(&self.working).insert(id);
        Working { app: self, id }
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        lock(&self.app.working).remove(&self.id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A port that no client of this machine is given while its application is away; and a sidecar that tries to connect to such a
/// port could even meet itself.
async fn outside_the_ephemeral_ports() -> io::Result<TcpListener> {
    loop {
        let port = fastrand::u16(20_000..32_000);
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            bound => return bound,
        }
    }
}
