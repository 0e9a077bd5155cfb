//! nginx, the real web server.
//!
//! nginx serves `GET /file` (the shared random file), `GET /slow` (the same in about five seconds), `GET /steady` (an
//! endless download at a steady rate), `GET /film` (what [`Web::show`] was given, at the speed of a film) and `PUT /upload/NAME` on the management server's port 80.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    curl::checksum,
    process::{Process, User, command},
    topology::{Family, Server, Topology},
    video::Clip,
};

/// Size of the shared file.
pub const FILE_BYTES: usize = 100_000_000;

/// Rate of the steady download: 40 Mbit/s, an operator with a wall of cameras.
const STEADY_BYTES_PER_SECOND: &str = "5000k";
/// The shared file takes five seconds: long enough for something to happen meanwhile.
const SLOW_BYTES_PER_SECOND: &str = "20m";
/// A little faster than `video::MINUTE` plays.
const FILM_BYTES_PER_SECOND: &str = "280k";
/// Far more than a test can fetch, and sparse.
const STEADY_BYTES: u64 = 20_000_000_000;

/// The running web server.
#[derive(Debug)]
pub struct Web {
    _nginx: Process,
    folder: PathBuf,
    /// SHA-256 of the shared file.
    pub checksum: String,
}

impl Web {
    /// Starts nginx on the management server's addresses, with its files in `folder`.
    ///
    /// # Errors
    /// When nginx cannot be started.
    pub fn start(topology: &Topology, folder: &Path) -> Result<Self> {
        let (root, uploads) = (folder.join("web"), folder.join("uploads"));
        for path in [&root, &uploads, &folder.join("nginx")] {
            fs::create_dir_all(path)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
        }
        let content = random_file(&root.join("file"))?;
        File::create(root.join("steady"))?.set_len(STEADY_BYTES)?;
        let config = folder.join("nginx/nginx.conf");
        fs::write(&config, configuration(folder))?;
        let mut nginx = command(&topology.recording, User::Root, "nginx");
        nginx.arg("-c").arg(&config).arg("-e").arg("stderr");
        let nginx = Process::start("nginx", nginx)?;
        nginx.wait_for_line("nginx to listen", |line| line.contains("start worker processes"))?;
        Ok(Self { _nginx: nginx, folder: folder.to_owned(), checksum: content })
    }

    /// SHA-256 of what was uploaded under `name`.
    ///
    /// # Errors
    /// When nothing was.
    pub fn uploaded(&self, name: &str) -> Result<String> {
        let path = self.folder.join("uploads/upload").join(name);
        let mut file = File::open(&path).with_context(|| format!("nothing was uploaded as {name}"))?;
        Ok(checksum(&mut file, |_| {})?.1)
    }

    /// Puts a clip where `GET /film` finds it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn show(&self, clip: &Clip) -> Result<()> {
        Ok(fs::write(self.folder.join("web/film"), clip.bytes())?)
    }

    /// The shared file, to upload it.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.join("web/file")
    }
}

fn configuration(folder: &Path) -> String {
    let listen: String = Family::BOTH
        .map(|family| std::net::SocketAddr::new(Server::Mgmt.address(family), 80))
        .iter()
        .map(|address| format!("    listen {address};\n"))
        .collect();
    let folder = folder.display();
    format!(
        "daemon off;
error_log stderr notice;
pid {folder}/nginx/pid;
worker_processes 1;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}/nginx/body;
  proxy_temp_path {folder}/nginx/proxy;
  fastcgi_temp_path {folder}/nginx/fastcgi;
  uwsgi_temp_path {folder}/nginx/uwsgi;
  scgi_temp_path {folder}/nginx/scgi;
  client_max_body_size 0;
  sendfile on;
  server {{
{listen}    root {folder}/web;
    location = /slow {{ alias {folder}/web/file; limit_rate {SLOW_BYTES_PER_SECOND}; }}
    location /steady {{ limit_rate {STEADY_BYTES_PER_SECOND}; }}
    location = /film {{ limit_rate {FILM_BYTES_PER_SECOND}; }}
    location /upload/ {{ root {folder}/uploads; dav_methods PUT; create_full_put_path on; }}
  }}
}}
"
    )
}

/// Fills a file with bytes that no compression or repetition could fake, and returns their SHA-256.
fn random_file(path: &Path) -> Result<String> {
    let mut random = fastrand::Rng::with_seed(0x7563);
    let mut content = vec![0; FILE_BYTES];
    random.fill(&mut content);
    fs::write(path, &content).with_context(|| format!("Failed to write {}", path.display()))?;
    Ok(checksum(&mut content.as_slice(), |_| {})?.1)
}
