//! A counting fault proxy between the operator and everything it writes to: the API server and the printers.
//!
//! Every request is named; a [`Script`] says what goes wrong with which of them: an answer is lost, late or another, a
//! watch breaks, or the operator's life ends, before the write is forwarded or after its answer has come. From that
//! moment nothing of that life gets through any more, so what is stored is exactly what a lost machine leaves behind.
//! It judges nothing, and what it forwards it never changes.

mod api;
mod device;
mod guard;
mod hook;
mod names;
mod script;
#[cfg(test)]
mod tests;
mod watch;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

pub use hook::{Deed, Hook, NoRule, Rule, Which};
pub use script::{Held, Read, Script, Write};

/// How late something comes that is late: whoever waits for it has given up. The operator waits 4 s for the API server.
const LATE: Duration = Duration::from_millis(4_500);

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, io::Error>;

/// A running proxy on a loopback port. Dropping it ends it and every connection through it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Plain HTTP in front of an API server, forwarded with the rights of `client`; watches stream. Leases and events
    /// are not counted as writes but as reads: they bear no decision of the farm.
    pub async fn api(client: kube::Client, script: Script) -> io::Result<Self> {
        Self::start(move |stream| api::serve(stream, client.clone(), script.clone())).await
    }

    /// Plain HTTP in front of one printer, connection by connection. `name` stands in the names of its writes.
    pub async fn device(name: &str, target: SocketAddr, script: Script) -> io::Result<Self> {
        let name: std::sync::Arc<str> = name.into();
        Self::start(move |stream| device::serve(stream, target, name.clone(), script.clone())).await
    }

    async fn start<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> io::Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => {
                            // Small answers must not wait for more.
                            let _ = stream.set_nodelay(true);
                            connections.spawn(serve(stream));
                        }
                        Err(_) => tokio::task::yield_now().await,
                    },
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Ok(Self { address, accepting })
    }

    /// Its address, for example `http://127.0.0.1:41234`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Writes a kubeconfig that leads through this proxy into `directory`, and gives its path.
    pub fn kubeconfig(&self, directory: &Path) -> io::Result<PathBuf> {
        let path = directory.join(format!("kubeconfig-{}.json", self.address.port()));
        let config = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{ "name": "proxy", "cluster": { "server": self.url() } }],
            "users": [{ "name": "proxy", "user": {} }],
            "contexts": [{ "name": "proxy", "context": { "cluster": "proxy", "user": "proxy" } }],
        });
        std::fs::write(&path, config.to_string())?;
        Ok(path)
    }
}

/// A script between a simulated Bambu printer and its clients: what [`Proxy::device`] is for printers that speak HTTP.
pub fn guard(name: &str, script: Script) -> std::sync::Arc<dyn printernizer_simulator::CommandGuard> {
    std::sync::Arc::new(guard::Guard { printer: name.to_owned(), script })
}

/// A body that is there as a whole.
fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
