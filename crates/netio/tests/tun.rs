//! The kernel at both ends of two TUN interfaces that are joined by reading from one and writing to the other: what it
//! gives as trains we cut, and what we join it takes.
#![cfg(target_os = "linux")]

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::task::LocalSet;
use vmsgate_netio::{
    Frame, ReadStats, RecvBatch, SendQueue, TunDevice, TunError, TunQueue, TunQueueFd, UdpSocket, WriteStats,
};
use vmsgate_tests::netns::Netns;
use vmsgate_tests::require;

const QUEUES: usize = 2;
const PORT: u16 = 7563;

/// A network namespace with a TUN interface in it.
struct Host {
    netns: Netns,
    device: TunDevice,
}

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    read: ReadStats,
    longest_train: usize,
    written: WriteStats,
}

#[test]
fn tcp_and_udp_trains_cross_two_interfaces_unharmed() -> Result<()> {
    if !require::can_run(&[]) {
        return Ok(());
    }
    let a = Host::create("tun-a", "10.77.0.1/24", "fd77::1/64")?;
    let b = Host::create("tun-b", "10.77.0.2/24", "fd77::2/64")?;
    let (a, b, a_queues, b_queues) = (a.netns, b.netns, a.device.queues, b.device.queues);

    let (stop, stopped) = tokio::sync::oneshot::channel();
    let bridge = thread::spawn(move || bridge(a_queues, b_queues, stopped));
    for to in ["10.77.0.2", "fd77::2"] {
        exchange_tcp(&a, &b, to.parse()?).with_context(|| format!("TCP to {to}"))?;
        exchange_udp(&a, &b, to.parse()?).with_context(|| format!("UDP to {to}"))?;
    }
    drop(stop);
    let tallies = bridge.join().expect("the bridge does not panic")?;

    for (direction, tally) in ["a to b", "b to a"].iter().zip(tallies) {
        println!("{direction}: {tally:?}");
        ensure!(tally.longest_train >= 10, "{direction}: the kernel gave no trains");
        ensure!(tally.written.merged > 2000, "{direction}: the kernel was given no trains");
        let Tally { read, written, .. } = tally;
        let dropped = read.dropped_short + read.dropped_train + read.dropped_header + read.dropped_checksum;
        ensure!(dropped == 0 && written.dropped_refused == 0 && written.dropped_down == 0);
        ensure!(read.packets == written.packets, "{direction}: packets were lost in between");
    }
    Ok(())
}

#[test]
fn an_interface_is_its_makers_alone_and_vanishes_with_its_queues() -> Result<()> {
    if !require::can_run(&[]) {
        return Ok(());
    }
    let netns = Netns::create("tun-life")?;
    let create = || netns.run(|| TunDevice::create("vg-tun%d", QUEUES));
    let device = create()??;
    assert_eq!(device.name, "vg-tun0");
    assert_eq!(create()??.name, "vg-tun1");
    let same = netns.run(|| TunDevice::create("vg-tun0", QUEUES))?;
    assert!(matches!(same, Err(TunError::NameInUse { .. })), "{same:?}");

    let TunDevice { name, mut queues } = device;
    queues.truncate(1);
    netns.ip(&format!("link show {name}"))?;
    drop(queues);
    // A program that another test is just starting may still hold a copy of the queue, until it is replaced (exec).
    let deadline = Instant::now() + Duration::from_secs(10);
    while netns.ip(&format!("link show {name}")).is_ok() {
        ensure!(Instant::now() < deadline, "{name} is still there");
    }
    Ok(())
}

#[test]
fn a_queue_tells_that_its_interface_was_deleted() -> Result<()> {
    if !require::can_run(&[]) {
        return Ok(());
    }
    let Host { netns, device } = Host::create("tun-gone", "10.77.0.1/24", "fd77::1/64")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let queue = device.queues.into_iter().next().context("a queue")?.into_async()?;
        netns.ip(&format!("link del {}", device.name))?;
        let told = tokio::time::timeout(Duration::from_secs(10), queue.readable()).await?;
        let mut batch = queue.batch();
        batch.room(40).fill(0);
        batch.push(1, 40);
        for result in [told, queue.write(&mut batch).map(drop)] {
            let error = result.err().context("an error")?;
            assert!(error.to_string().contains("deleted"), "{error}");
        }
        Ok(())
    })
}

impl Host {
    fn create(label: &str, v4: &str, v6: &str) -> Result<Self> {
        let netns = Netns::create(label)?;
        let device = netns.run(|| TunDevice::create("tun%d", QUEUES))??;
        assert_eq!(device.queues.len(), QUEUES);
        let name = &device.name;
        netns.ip(&format!("link set {name} up\naddr add {v4} dev {name}\naddr add {v6} dev {name} nodad"))?;
        Ok(Self { netns, device })
    }
}

/// Joins the interfaces queue by queue until told to stop; answers what went from `a` to `b` and back.
fn bridge(
    a: Vec<TunQueueFd>,
    b: Vec<TunQueueFd>,
    stopped: tokio::sync::oneshot::Receiver<()>,
) -> Result<[Tally; 2]> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = LocalSet::new();
    let there = Rc::new(RefCell::new(Tally::default()));
    let back = Rc::new(RefCell::new(Tally::default()));
    runtime.block_on(tasks.run_until(async {
        for (a, b) in a.into_iter().zip(b) {
            let (a, b) = (Rc::new(a.into_async()?), Rc::new(b.into_async()?));
            tasks.spawn_local(carry(a.clone(), b.clone(), there.clone()));
            tasks.spawn_local(carry(b, a, back.clone()));
        }
        let _ = stopped.await;
        anyhow::Ok(())
    }))?;
    Ok([there.take(), back.take()])
}

async fn carry(from: Rc<TunQueue>, to: Rc<TunQueue>, tally: Rc<RefCell<Tally>>) -> Result<()> {
    let (mut frame, mut batch) = (Frame::new(), to.batch());
    loop {
        from.readable().await?;
        let (read, written) = (frame.stats(), batch.stats());
        while from.try_read(&mut frame)? {
            let mut tally = tally.borrow_mut();
            tally.longest_train = tally.longest_train.max(frame.segments());
            while let Some(segment) = frame.next_segment() {
                if !batch.has_room(segment.len) {
                    ensure!(to.write(&mut batch)?, "the interface takes no more");
                }
                let (packet, spare) = segment.buffer.split_at_mut(segment.len);
                spare.fill(0);
                batch.room(packet.len()).copy_from_slice(packet);
                // One flow at a time crosses.
                batch.push(1, packet.len());
            }
        }
        ensure!(to.write(&mut batch)?, "the interface takes no more");
        tally.borrow_mut().add((read, frame.stats()), (written, batch.stats()));
    }
}

/// Sends random bytes there and others back, and compares.
fn exchange_tcp(a: &Netns, b: &Netns, to: IpAddr) -> Result<()> {
    let (mut request, mut answer) = (vec![0; 8 << 20], vec![0; 8 << 20]);
    fastrand::Rng::with_seed(1).fill(&mut request);
    fastrand::Rng::with_seed(2).fill(&mut answer);
    let listener = b.run(|| TcpListener::bind(SocketAddr::new(to, PORT)))??;
    thread::scope(|scope| {
        let server = scope.spawn(|| -> Result<()> {
            let (mut stream, _) = listener.accept()?;
            stream.set_read_timeout(Some(Duration::from_secs(20)))?;
            ensure!(receive(&mut stream, request.len())? == request, "the request was changed");
            stream.write_all(&answer)?;
            Ok(())
        });
        let address = SocketAddr::new(to, PORT);
        let mut client = a.run(|| TcpStream::connect_timeout(&address, Duration::from_secs(20)))??;
        client.set_read_timeout(Some(Duration::from_secs(20)))?;
        client.write_all(&request)?;
        ensure!(receive(&mut client, answer.len())? == answer, "the answer was changed");
        server.join().expect("the server does not panic")
    })
}

fn receive(stream: &mut TcpStream, len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Sends one train of datagrams and compares what arrives.
fn exchange_udp(a: &Netns, b: &Netns, to: IpAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let address = SocketAddr::new(to, PORT);
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse()?;
    let bind = |netns: &Netns, address| {
        netns.run(|| {
            let _runtime = runtime.enter();
            UdpSocket::bind(address)
        })
    };
    let (sender, receiver) = (bind(a, any)??, bind(b, address)??);
    let datagrams: Vec<Vec<u8>> = (0..40).map(|n| vec![n; if n == 39 { 17 } else { 1000 }]).collect();
    runtime.block_on(async {
        let mut queue = SendQueue::new();
        for datagram in &datagrams {
            queue.reserve(address, datagram.len()).copy_from_slice(datagram);
            queue.commit(datagram.len());
        }
        queue.flush(&sender).await?;
        let (mut received, mut batch) = (Vec::new(), RecvBatch::new());
        while received.len() < datagrams.len() {
            tokio::time::timeout(Duration::from_secs(20), receiver.recv_batch(&mut batch)).await??;
            received.extend(batch.datagrams().map(|datagram| datagram.bytes.to_vec()));
        }
        ensure!(received == datagrams, "datagrams were changed or exchanged");
        Ok(())
    })
}

impl Tally {
    fn add(&mut self, read: (ReadStats, ReadStats), written: (WriteStats, WriteStats)) {
        let ((before, after), sum) = (read, &mut self.read);
        sum.frames += after.frames - before.frames;
        sum.packets += after.packets - before.packets;
        sum.dropped_short += after.dropped_short - before.dropped_short;
        sum.dropped_train += after.dropped_train - before.dropped_train;
        sum.dropped_header += after.dropped_header - before.dropped_header;
        sum.dropped_checksum += after.dropped_checksum - before.dropped_checksum;
        let ((before, after), sum) = (written, &mut self.written);
        sum.frames += after.frames - before.frames;
        sum.packets += after.packets - before.packets;
        sum.merged += after.merged - before.merged;
        sum.dropped_down += after.dropped_down - before.dropped_down;
        sum.dropped_refused += after.dropped_refused - before.dropped_refused;
    }
}
