//! Commands run to their end, and not beyond a limit.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    process::{Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How long a command may take to its end. Longer than any takes; a command that hangs fails its test instead of the run.
const LONGEST: Duration = Duration::from_secs(240);

/// What the standard library waits for without end.
pub trait InTime {
    /// [`Command::output`], which ends the command when it takes too long.
    ///
    /// # Errors
    /// When it cannot be started, or does not end.
    fn output_in_time(&mut self) -> io::Result<Output>;

    /// The same with something to read.
    ///
    /// # Errors
    /// When it cannot be started, or does not end.
    fn output_given(&mut self, input: &str) -> io::Result<Output>;
}

impl InTime for Command {
    fn output_in_time(&mut self) -> io::Result<Output> {
        run(self.stdin(Stdio::null()))
    }

    fn output_given(&mut self, input: &str) -> io::Result<Output> {
        let mut file = tempfile::tempfile()?;
        file.write_all(input.as_bytes())?;
        file.rewind()?;
        run(self.stdin(file))
    }
}

/// Into files: a pipe would be waited for until everything that the command has started, services of Wine among them,
/// has ended too.
fn run(command: &mut Command) -> io::Result<Output> {
    let (stdout, stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let mut child = command.stdout(stdout.try_clone()?).stderr(stderr.try_clone()?).spawn()?;
    let id = child.id();
    let (ended, end) = mpsc::channel();
    thread::spawn(move || ended.send(child.wait()));
    let status = end.recv_timeout(LONGEST).unwrap_or_else(|_| {
        if let Ok(id) = id.try_into() {
            let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("it had not ended after {LONGEST:?}")))
    })?;
    Ok(Output { status, stdout: read(stdout)?, stderr: read(stderr)? })
}

fn read(mut file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}
