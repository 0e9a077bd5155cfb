//! A camera's H.264 stream, made by ffmpeg, and the judge that decodes it at the far end.
//!
//! The judge compares a checksum of every decoded picture with those of the original, so that one lost, repeated or
//! damaged frame is found and named. A stream that merely plays is not enough.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use crate::process;

/// How often the recorder sends a piece: 25 a second, one for each picture.
pub const TICK: Duration = Duration::from_millis(40);

const SECONDS: u32 = 20;
const PICTURES_PER_SECOND: u32 = 25;

/// One recorded clip: 20 s of moving 720p picture at about 4 Mbit/s, MPEG-TS.
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
    pub fn make(folder: &Path) -> Result<Self> {
        let path = folder.join("camera.ts");
        // Tests of one process and of several want it at the same time; one makes it.
        let lock = File::create(folder.join("camera.lock"))?;
        lock.lock().context("Failed to wait for another test's encoder")?;
        if !path.exists() {
            let unfinished = folder.join(format!("camera.{}.ts", std::process::id()));
            encode(&unfinished)?;
            fs::rename(&unfinished, &path).context("Failed to put the clip in place")?;
        }
        drop(lock);
        let bytes = fs::read(&path)?.into();
        let pictures: Arc<str> = decode(Command::new("ffmpeg"), &path.display().to_string())?.into();
        let clip = Self { path, bytes, pictures };
        ensure!(
            clip.frames() == (SECONDS * PICTURES_PER_SECOND) as usize,
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
        self.bytes.len().div_ceil((SECONDS * PICTURES_PER_SECOND) as usize)
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
        let seen = decode(ffmpeg, url)?;
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

fn encode(path: &Path) -> Result<()> {
    let source = format!("testsrc2=size=1280x720:rate={PICTURES_PER_SECOND}:duration={SECONDS}");
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
                "4M",
            ])
            .args(["-minrate", "4M", "-maxrate", "4M", "-bufsize", "4M", "-x264-params", "nal-hrd=cbr"])
            .args(["-f", "mpegts"])
            .arg(path),
    )?;
    Ok(())
}

/// One line for each decoded picture. Anything ffmpeg complains about is an error.
fn decode(mut ffmpeg: Command, url: &str) -> Result<String> {
    let output = ffmpeg
        .args(["-v", "warning", "-nostdin", "-threads", "1", "-i", url, "-map", "0:v"])
        .args(["-fps_mode", "passthrough", "-f", "framemd5", "-"])
        .output()
        .context("Failed to start ffmpeg")?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success() && complaints.trim().is_empty(),
        "ffmpeg on {url}: {}\n{complaints}",
        output.status
    );
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect())
}
