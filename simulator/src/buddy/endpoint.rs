//! The printer's listening socket: three connections at most, gone while the printer is off or refused.
//!
//! The port stays reserved by a second socket that never listens, so that nothing else can take it while the printer
//! refuses. A connection beyond the limit waits a moment in the backlog and is then reset.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use socket2::{Domain, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};

use super::{Link, Printer, connection::Connection, routes};

const BACKLOG: i32 = 16;
/// How long a connection beyond the limit waits for another one to end.
const BACKLOG_PATIENCE: Duration = Duration::from_millis(200);

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

    /// Serves the printer for ever; abort it to end.
    pub(crate) async fn serve(mut self, printer: Arc<Printer>) {
        let mut changed = printer.changed.subscribe();
        loop {
            changed.borrow_and_update();
            let boots = match printer.link() {
                Link::Up(boots) | Link::Silent(boots) => boots,
                Link::Refusing => {
                    self.first_listener = None;
                    printer.endpoint_boots.send_replace(None);
                    if changed.changed().await.is_err() {
                        return;
                    }
                    continue;
                }
            };
            match self.first_listener.take().map_or_else(|| listen(self.address), Ok) {
                Ok(listener) => serve_while_up(&listener, &printer, boots).await,
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

/// Accepts until the printer refuses or was rebooted; then all its connections end.
async fn serve_while_up(listener: &TcpListener, printer: &Arc<Printer>, boots: u32) {
    let slots = Arc::new(Semaphore::new(printer.network.connections));
    let mut connections = JoinSet::new();
    let mut changed = printer.changed.subscribe();
    printer.endpoint_boots.send_replace(Some(boots));
    loop {
        changed.borrow_and_update();
        match printer.link() {
            Link::Up(now) | Link::Silent(now) if now == boots => {}
            _ => break,
        }
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => admit(stream, &slots, printer, boots, &mut connections).await,
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

async fn admit(
    stream: TcpStream,
    slots: &Arc<Semaphore>,
    printer: &Arc<Printer>,
    boots: u32,
    connections: &mut JoinSet<()>,
) {
    let Ok(Ok(slot)) = timeout(BACKLOG_PATIENCE, Arc::clone(slots).acquire_owned()).await else {
        // Reset, not closed: nobody has read anything.
        let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        return;
    };
    let _ = stream.set_nodelay(true);
    let printer = Arc::clone(printer);
    connections.spawn(async move {
        let mut connection = Connection::new(stream, printer.network);
        routes::serve(&printer, &mut connection, boots).await;
        // The slot is free before the client can see the end of its connection.
        drop(slot);
        connection.close().await;
    });
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
