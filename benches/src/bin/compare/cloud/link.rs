//! A link of limited speed, in its own process and seen from here.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::backdrop::Backdrop;

/// Bytes in a second at 1 Gbit/s.
const SPEED: u32 = 125_000_000;
/// The time that it may catch up with.
const BURST: Duration = Duration::from_millis(10);
const CHUNK: usize = 64 << 10;

/// A link to a server: what is sent through it arrives at 1 Gbit/s. It ends
/// with this.
#[derive(Debug)]
pub(super) struct Link {
    _process: Backdrop,
    pub(super) address: SocketAddr,
}

impl Link {
    pub(super) fn start(to: SocketAddr) -> Result<Self> {
        let (process, address) = Backdrop::start(&["link", &to.to_string()])?;
        Ok(Self { _process: process, address: address.parse()? })
    }
}

/// Where a link leads.
#[derive(Debug, clap::Args)]
pub(crate) struct LinkOptions {
    to: SocketAddr,
}

/// Passes connections on until standard input ends.
pub(super) async fn serve(options: &LinkOptions) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    crate::say(&listener.local_addr()?.to_string())?;
    let input = || io::copy(&mut io::stdin(), &mut io::sink());
    let ended = tokio::task::spawn_blocking(input);
    tokio::select! {
        failed = accept(&listener, options.to) => Ok(failed?),
        ended = ended => Ok(ended?.map(drop)?),
    }
}

async fn accept(listener: &TcpListener, to: SocketAddr) -> io::Result<()> {
    loop {
        let (near, _) = listener.accept().await?;
        // A connection that breaks is seen by those at its ends.
        tokio::spawn(pass_on(near, to));
    }
}

async fn pass_on(near: TcpStream, to: SocketAddr) -> io::Result<()> {
    let far = TcpStream::connect(to).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (near_read, mut near_write) = near.into_split();
    let (mut far_read, far_write) = far.into_split();
    let back = async {
        tokio::io::copy(&mut far_read, &mut near_write).await?;
        near_write.shutdown().await
    };
    tokio::try_join!(slowly(near_read, far_write), back)?;
    Ok(())
}

async fn slowly(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    // When the link is free for the next byte.
    let mut free = Instant::now();
    loop {
        let read = from.read(&mut buffer).await?;
        let Some(chunk) = buffer.get(..read).filter(|chunk| !chunk.is_empty()) else {
            return to.shutdown().await;
        };
        let bytes = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        let earliest = Instant::now().checked_sub(BURST).unwrap_or(free);
        free = free.max(earliest) + Duration::from_secs_f64(f64::from(bytes) / f64::from(SPEED));
        tokio::time::sleep_until(free.into()).await;
        to.write_all(chunk).await?;
    }
}
