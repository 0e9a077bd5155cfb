//! A camera's H.264 stream, made by ffmpeg, and the judge that decodes it at the far end.
//!
//! The judge compares a checksum of every decoded picture with those of the original, so that one lost, repeated or
//! damaged frame is found and named. A stream that merely plays is not enough.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use crate::process;

/// How often the recorder sends a piece: 25 a second, one for each picture.
pub const TICK: Duration = Duration::from_millis(40);

const PICTURES_PER_SECOND: u32 = 25;

/// What a camera filmed: moving picture at a steady rate, MPEG-TS.
#[derive(Debug, Clone, Copy)]
pub struct Film {
    name: &'static str,
    seconds: u32,
    size: &'static str,
    rate: &'static str,
}

/// What recorders play: 20 s of 720p at about 4 Mbit/s.
pub const CAMERA: Film = Film { name: "camera", seconds: 20, size: "1280x720", rate: "4M" };

/// Long enough for something to happen: 60 s of 360p at about 2 Mbit/s.
pub const MINUTE: Film = Film { name: "minute", seconds: 60, size: "640x360", rate: "2M" };

/// One recorded clip.
#[derive(Debug, Clone)]
pub struct Clip {
    path: PathBuf,
    bytes: Arc<[u8]>,
    /// One line for each picture: time stamp, size, MD5.
    pictures: Arc<str>,
}

impl Clip {
    /// Makes the clip in `folder`, or reads the one an earlier test made there.
    ///
    /// # Errors
    /// When ffmpeg fails.
    pub fn make(folder: &Path, film: Film) -> Result<Self> {
        let path = folder.join(format!("{}.ts", film.name));
        // Tests of one process and of several want it at the same time; one makes it.
        let lock = File::create(folder.join(format!("{}.lock", film.name)))?;
        lock.lock().context("Failed to wait for another test's encoder")?;
        if !path.exists() {
            let unfinished = folder.join(format!("{}.{}.ts", film.name, std::process::id()));
            encode(&unfinished, film)?;
            fs::rename(&unfinished, &path).context("Failed to put the clip in place")?;
        }
        drop(lock);
        let bytes = fs::read(&path)?.into();
        let pictures: Arc<str> = decode(Command::new("ffmpeg"), &path.display().to_string(), &|_| {})?.into();
        let clip = Self { path, bytes, pictures };
        ensure!(
            clip.frames() == (film.seconds * PICTURES_PER_SECOND) as usize,
            "the clip has {} frames; delete {} to make it anew",
            clip.frames(),
            clip.path.display()
        );
        Ok(clip)
    }

    /// The stream as it is sent.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How much of it to send in each [`TICK`] to play at the speed it was filmed.
    #[must_use]
    pub fn bytes_per_tick(&self) -> usize {
        self.bytes.len().div_ceil(self.frames())
    }

    /// How many pictures it has.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.pictures.lines().count()
    }

    /// Plays `url` with ffmpeg, started by `ffmpeg` (a command for that program, wherever it is to run), and compares
    /// every picture with the original.
    ///
    /// # Errors
    /// When ffmpeg reports any error or warning, or a picture is missing, repeated or different.
    pub fn watch(&self, ffmpeg: Command, url: &str) -> Result<()> {
        self.watch_along(ffmpeg, url, |_| {})
    }

    /// The same, and says with each picture how many there were.
    ///
    /// # Errors
    /// As [`Self::watch`].
    pub fn watch_along(&self, ffmpeg: Command, url: &str, seen: impl Fn(usize)) -> Result<()> {
        let seen = decode(ffmpeg, url, &seen)?;
        let differing = self.pictures.lines().zip(seen.lines()).position(|(sent, seen)| sent != seen);
        if let Some(at) = differing {
            bail!("{url}: frame {at} is not the one that was sent");
        }
        ensure!(
            seen.lines().count() == self.frames(),
            "{url}: {} of {} frames arrived",
            seen.lines().count(),
            self.frames()
        );
        Ok(())
    }
}

fn encode(path: &Path, film: Film) -> Result<()> {
    let Film { seconds, size, rate, .. } = film;
    let source = format!("testsrc2=size={size}:rate={PICTURES_PER_SECOND}:duration={seconds}");
    process::capture(
        Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", &source])
            .args([
                "-c:v",
                "libx264",
                "-preset",
                "ultrafast",
                "-pix_fmt",
                "yuv420p",
                "-g",
                "50",
                "-b:v",
                rate,
            ])
            .args(["-minrate", rate, "-maxrate", rate, "-bufsize", rate, "-x264-params", "nal-hrd=cbr"])
            .args(["-f", "mpegts"])
            .arg(path),
    )?;
    Ok(())
}

/// One line for each decoded picture. Anything that the demuxer or the decoder complains about is an error; what the
/// transport says about connections that it made anew is not, for a byte that is lost with one is found by them.
fn decode(mut ffmpeg: Command, url: &str, seen: &dyn Fn(usize)) -> Result<String> {
    let mut child = ffmpeg
        .args(["-v", "warning", "-nostdin", "-threads", "1", "-i", url, "-map", "0:v"])
        .args(["-fps_mode", "passthrough", "-flush_packets", "1", "-f", "framemd5", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("Failed to start ffmpeg")?;
    let (stdout, stderr) =
        (child.stdout.take().context("no output")?, child.stderr.take().context("no errors")?);
    let complaints = thread::spawn(move || io::read_to_string(stderr));
    let mut pictures = String::new();
    let mut count = 0;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        if !line.starts_with('#') {
            pictures += &line;
            pictures.push('\n');
            count += 1;
            seen(count);
        }
    }
    let status = child.wait()?;
    let complaints = complaints.join().ok().context("the reader panicked")??;
    let is_transport = |line: &&str| line.starts_with("[http @") || line.starts_with("[tcp @");
    let complaints: Vec<_> =
        complaints.lines().filter(|line| !line.trim().is_empty() && !is_transport(line)).collect();
    ensure!(
        status.success() && complaints.is_empty(),
        "ffmpeg on {url}: {status}\n{}",
        complaints.join("\n")
    );
    Ok(pictures)
}
