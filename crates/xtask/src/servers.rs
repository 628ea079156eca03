//! Redis servers for one run of the tests: on free loopback ports, in a temporary folder, gone
//! with us.

use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{Read, Seek, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::run::Result;
use crate::tls::Certificates;

/// How often a server is started anew because another program took its port in between.
const ATTEMPTS: u32 = 10;
/// How long a server may take to answer, in steps of a patient wait.
const STEPS: u32 = 1500;
const STEP: Duration = Duration::from_millis(20);

/// Runs the server `$2…`, and kills it and removes the folder `$1` when our end of its standard
/// input closes: that happens whatever ends us, SIGKILL included.
///
/// The signals that end us are ignored here, as the end of the input follows from them.
const KEEPER: &str = r#"
trap '' HUP INT TERM
folder=$1; shift
exec 3<&0
"$@" 3<&- </dev/null & server=$!
{ read -r _ <&3; kill -KILL "$server"; } 2>/dev/null & watcher=$!
wait "$server"; status=$?
kill -KILL "$watcher" 2>/dev/null
[ "$status" -ne 137 ] || rm -rf "$folder"
exit "$status"
"#;

/// The servers, running until this is dropped.
#[derive(Debug)]
pub(crate) struct Servers {
    binary: PathBuf,
    plain: Server,
    password: Server,
    secret: String,
    tls: Server,
    authority: PathBuf,
    // Last, so that the servers have ended when it goes.
    _folder: TempDir,
}

impl Servers {
    /// Starts them and waits until each answers.
    pub(crate) fn start(binary: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("larder-test-")
            .tempdir()
            .map_err(|error| format!("no temporary folder can be made: {error}"))?;
        let pem = Certificates::make(folder.path())?;
        let secret = format!("secret-{:016x}", RandomState::new().build_hasher().finish());
        let start = |kind| Server::start(binary, folder.path(), kind);
        Ok(Self {
            binary: binary.to_owned(),
            plain: start(Kind::Plain)?,
            password: start(Kind::Password(&secret))?,
            tls: start(Kind::Tls(&pem))?,
            authority: pem.authority,
            secret,
            _folder: folder,
        })
    }

    /// Tells the tests where the servers are.
    pub(crate) fn describe_to(&self, command: &mut Command) {
        command
            .env("LARDER_TEST_REDIS_SERVER", &self.binary)
            .env("LARDER_TEST_REDIS_URL", format!("redis://127.0.0.1:{}", self.plain.port))
            .env(
                "LARDER_TEST_REDIS_PASSWORD_URL",
                format!("redis://:{}@127.0.0.1:{}", self.secret, self.password.port),
            )
            .env("LARDER_TEST_REDIS_TLS_URL", format!("rediss://localhost:{}", self.tls.port))
            .env("LARDER_TEST_REDIS_CA", &self.authority);
    }
}

/// What a server asks of its clients.
#[derive(Debug, Clone, Copy)]
enum Kind<'a> {
    Plain,
    Password(&'a str),
    Tls(&'a Certificates),
}

impl Kind<'_> {
    fn name(self) -> &'static str {
        match self {
            Kind::Plain => "plain",
            Kind::Password(_) => "password",
            Kind::Tls(_) => "tls",
        }
    }

    /// Its lines in the server's configuration.
    fn config(self, port: u16) -> String {
        match self {
            Kind::Plain => format!("port {port}\n"),
            Kind::Password(secret) => format!("port {port}\nrequirepass {secret}\n"),
            Kind::Tls(Certificates { authority, certificate, key }) => format!(
                "port 0\ntls-port {port}\ntls-auth-clients no\n\
                 tls-ca-cert-file \"{}\"\ntls-cert-file \"{}\"\ntls-key-file \"{}\"\n",
                authority.display(),
                certificate.display(),
                key.display()
            ),
        }
    }

    /// Whether the server at this port serves us; a TLS one need only let us connect.
    fn answers(self, port: u16) -> bool {
        let greeting = match self {
            Kind::Plain => "PING\r\n".to_owned(),
            Kind::Password(secret) => format!("AUTH {secret}\r\nPING\r\n"),
            Kind::Tls(_) => return TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok(),
        };
        let converse = || {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(greeting.as_bytes())?;
            let mut said = String::new();
            let mut chunk = [0; 64];
            while !said.ends_with("+PONG\r\n") {
                match stream.read(&mut chunk)? {
                    0 => return Ok(false),
                    read => said.push_str(&String::from_utf8_lossy(&chunk[..read])),
                }
            }
            Ok::<_, std::io::Error>(true)
        };
        converse().unwrap_or(false)
    }
}

/// One server under its keeper.
#[derive(Debug)]
struct Server {
    keeper: Child,
    port: u16,
}

/// Why a server is not there.
enum Failure {
    /// Another program was faster: another port may do.
    PortTaken,
    Other(String),
}

impl Server {
    fn start(binary: &Path, parent: &Path, kind: Kind<'_>) -> Result<Self> {
        for attempt in 0..ATTEMPTS {
            let folder = parent.join(format!("{}-{attempt}", kind.name()));
            match Self::attempt(binary, parent, &folder, kind) {
                Ok(server) => return Ok(server),
                Err(Failure::PortTaken) => {}
                Err(Failure::Other(why)) => {
                    return Err(format!("the {} redis-server did not start: {why}", kind.name()));
                }
            }
        }
        Err(format!("the {} redis-server found its port taken {ATTEMPTS} times", kind.name()))
    }

    fn attempt(
        binary: &Path,
        parent: &Path,
        folder: &Path,
        kind: Kind<'_>,
    ) -> std::result::Result<Self, Failure> {
        let other = |error: std::io::Error| Failure::Other(error.to_string());
        fs::create_dir(folder).map_err(other)?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|it| it.local_addr())
            .map_err(other)?
            .port();
        let config = folder.join("redis.conf");
        let lines = format!(
            "bind 127.0.0.1 -::1\ndaemonize no\nsave \"\"\nappendonly no\ndir \"{}\"\n{}",
            folder.display(),
            kind.config(port)
        );
        fs::write(&config, lines).map_err(other)?;
        let mut log = File::options()
            .create_new(true)
            .read(true)
            .append(true)
            .open(folder.join("log"))
            .map_err(other)?;
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "sh"])
            .args([parent, binary, &config])
            .stdin(Stdio::piped())
            .stdout(log.try_clone().map_err(other)?)
            .stderr(log.try_clone().map_err(other)?)
            .spawn()
            .map_err(other)?;
        let mut server = Self { keeper, port };
        let mut read = String::new();
        for _ in 0..STEPS {
            let ended = server.keeper.try_wait().map_err(other)?.is_some();
            read.clear();
            log.rewind().and_then(|()| log.read_to_string(&mut read)).map_err(other)?;
            if read.contains("Ready to accept connections") && kind.answers(port) {
                return Ok(server);
            }
            if ended {
                let taken = read.contains("Address already in use");
                return Err(if taken { Failure::PortTaken } else { Failure::Other(read) });
            }
            thread::sleep(STEP);
        }
        Err(Failure::Other(format!("it does not answer: {read}")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // An error here would mean that the keeper is gone already.
        let _ = self.keeper.wait();
    }
}
