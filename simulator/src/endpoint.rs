//! A printer's listening socket: so many connections at most, gone while the printer is off or refused.
//!
//! Shared by all kinds of printers. The port stays reserved by a second socket that never listens, so that nothing else
//! can take it while the printer refuses. A connection beyond the limit waits a moment in the backlog and is then reset.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use socket2::{Domain, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::timeout,
};

use crate::UnreachableManner;

const BACKLOG: i32 = 16;
/// How long a connection beyond the limit waits for another one to end.
const BACKLOG_PATIENCE: Duration = Duration::from_millis(200);

/// Whether and how the network reaches a printer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// The number changes when connections died in between.
    Up(u32),
    /// Connections are taken and nothing is answered.
    Silent(u32),
    /// Nothing listens.
    Refusing,
}

impl Link {
    /// The link of a printer in this power-up, with this fault if any.
    pub(crate) fn of(powered: bool, unreachable: Option<UnreachableManner>, boots: u32) -> Self {
        match unreachable {
            _ if !powered => Self::Refusing,
            Some(UnreachableManner::Refuse) => Self::Refusing,
            Some(UnreachableManner::Silent) => Self::Silent(boots),
            None => Self::Up(boots),
        }
    }
}

/// What listens on a printer's port.
pub(crate) trait Service: Send + Sync + 'static {
    /// How the network reaches it now.
    fn link(&self) -> Link;
    /// Changes whenever `link` may have.
    fn changes(&self) -> watch::Receiver<u64>;
    /// Where the endpoint says which power-up's connections it takes; `None` while it refuses them.
    fn boots(&self) -> &watch::Sender<Option<u32>>;
    /// Connections served at the same time.
    fn connection_limit(&self) -> usize;
    /// Serves one connection of this power-up. The slot is to be dropped before the client can see the end.
    fn serve(self: Arc<Self>, stream: TcpStream, boots: u32, slot: Slot) -> impl Future<Output = ()> + Send;
}

/// One of the connections a printer takes at the same time.
pub(crate) type Slot = OwnedSemaphorePermit;

/// A loopback port that is this printer's, listening or not.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Keeps the port; never listens.
    _reservation: Socket,
    address: SocketAddr,
    first_listener: Option<TcpListener>,
}

impl Endpoint {
    /// Reserves a port; 0 takes a free one.
    pub(crate) fn reserve(address: SocketAddr) -> io::Result<Self> {
        let reservation = bound_socket(address)?;
        let address = reservation.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        // Whoever listens there already makes this fail; and from now on connections are accepted by the system.
        let first_listener = Some(listen(address)?);
        Ok(Self { _reservation: reservation, address, first_listener })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves for ever; abort it to end.
    pub(crate) async fn serve<S: Service>(mut self, service: Arc<S>) {
        let mut changed = service.changes();
        loop {
            changed.borrow_and_update();
            let boots = match service.link() {
                Link::Up(boots) | Link::Silent(boots) => boots,
                Link::Refusing => {
                    self.first_listener = None;
                    service.boots().send_replace(None);
                    if changed.changed().await.is_err() {
                        return;
                    }
                    continue;
                }
            };
            match self.first_listener.take().map_or_else(|| listen(self.address), Ok) {
                Ok(listener) => serve_while_up(&listener, &service, boots).await,
                // Nothing but a system out of sockets gets here: the printer stays unreachable until something changes.
                Err(_) => {
                    if changed.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// Waits until an endpoint does what `link` says.
pub(crate) async fn settled(link: impl Fn() -> Link, boots: &watch::Sender<Option<u32>>) {
    let mut endpoint = boots.subscribe();
    loop {
        let wanted = match link() {
            Link::Up(boots) | Link::Silent(boots) => Some(boots),
            Link::Refusing => None,
        };
        if *endpoint.borrow_and_update() == wanted || endpoint.changed().await.is_err() {
            return;
        }
    }
}

/// Accepts until the printer refuses or was rebooted; then all its connections end.
async fn serve_while_up<S: Service>(listener: &TcpListener, service: &Arc<S>, boots: u32) {
    let slots = Arc::new(Semaphore::new(service.connection_limit()));
    let mut connections = JoinSet::new();
    let mut changed = service.changes();
    service.boots().send_replace(Some(boots));
    loop {
        changed.borrow_and_update();
        match service.link() {
            Link::Up(now) | Link::Silent(now) if now == boots => {}
            _ => break,
        }
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => admit(stream, &slots, service, boots, &mut connections).await,
                // The process has no sockets left. The connection stays in the backlog: breathe, then try again.
                Err(_) => tokio::time::sleep(BACKLOG_PATIENCE).await,
            },
            Some(_) = connections.join_next() => {}
            _ = changed.changed() => {}
        }
    }
    // Waits until they are gone, so that nothing of the old power-up is left when the new one is announced.
    connections.shutdown().await;
}

async fn admit<S: Service>(
    stream: TcpStream,
    slots: &Arc<Semaphore>,
    service: &Arc<S>,
    boots: u32,
    connections: &mut JoinSet<()>,
) {
    let Ok(Ok(slot)) = timeout(BACKLOG_PATIENCE, Arc::clone(slots).acquire_owned()).await else {
        // Reset, not closed: nobody has read anything.
        let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        return;
    };
    let _ = stream.set_nodelay(true);
    connections.spawn(Arc::clone(service).serve(stream, boots, slot));
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bound_socket(address)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

fn bound_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
