//! nginx with TLS: files for everybody, files behind a password, and redirects.

use std::net::SocketAddr;
use std::path::Path;

use tokio::process::Command;

use super::{Certificate, Server, ServerError, directory, free_address};

/// Where Debian puts it.
const PROGRAM: &str = "/usr/sbin/nginx";

/// A running web server: `/open/` is for everybody, `/closed/` for one user, `/led/...` leads elsewhere. Dropping it ends
/// it.
#[derive(Debug)]
pub struct WebServer {
    server: Server,
}

impl WebServer {
    /// Starts a server that shows this certificate. `/closed/` is for this user with this password; `/led/away` leads to
    /// `away`, `/led/around` to itself.
    pub async fn start(certificate: &Certificate, user: (&str, &str), away: &str) -> Result<Self, ServerError> {
        let (directory, address) = (directory()?, free_address(None)?);
        let at = directory.path();
        let (chain, key) = certificate.write(at)?;
        for folder in ["files/open", "files/closed", "temporary"] {
            std::fs::create_dir_all(at.join(folder))?;
        }
        std::fs::write(at.join("users"), format!("{}:{{PLAIN}}{}\n", user.0, user.1))?;
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {}/temporary/{kind};", at.display()));
        let configuration = format!(
            "daemon off; master_process off; pid {at}/nginx.pid;\n\
             events {{}}\n\
             http {{\n\
             log_format asked '$request_method $uri $status $http_range';\n\
             access_log {at}/asked.log asked;\n\
             {temporary}\n\
             server {{\n\
             listen {address} ssl; ssl_certificate {chain}; ssl_certificate_key {key}; root {at}/files;\n\
             location /closed/ {{ auth_basic closed; auth_basic_user_file {at}/users; }}\n\
             location /led/away {{ return 302 {away}; }}\n\
             location /led/around {{ return 302 /led/around; }}\n\
             }}\n}}\n",
            at = at.display(),
            temporary = temporary.join("\n"),
            chain = chain.display(),
            key = key.display(),
        );
        std::fs::write(at.join("nginx.conf"), configuration)?;
        let mut command = Command::new(PROGRAM);
        command.arg("-e").arg(at.join("error.log")).arg("-c").arg(at.join("nginx.conf"));
        Ok(Self { server: Server::start(command, directory, address).await? })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Puts a file there; `path` such as `closed/clip.gcode`.
    pub fn put(&self, path: &str, bytes: &[u8]) -> Result<(), ServerError> {
        self.replace(path, |part| std::fs::write(part, bytes))
    }

    /// Puts a file of this size there that holds zeros and takes no room.
    pub fn put_sparse(&self, path: &str, size_bytes: u64) -> Result<(), ServerError> {
        self.replace(path, |part| std::fs::File::create(part)?.set_len(size_bytes))
    }

    /// A file is there whole or not at all, for whoever reads it meanwhile.
    fn replace(&self, path: &str, write: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<(), ServerError> {
        let part = self.server.path().join("part");
        write(&part)?;
        Ok(std::fs::rename(part, self.server.path().join("files").join(path))?)
    }

    /// What was asked of it, a line for each request: method, path, status, range.
    pub fn asked(&self) -> Result<Vec<String>, ServerError> {
        let text = std::fs::read_to_string(self.server.path().join("asked.log"))?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}
