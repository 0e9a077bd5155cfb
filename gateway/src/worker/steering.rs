//! The classic-BPF program that steers datagrams to the worker they belong to.
//!
//! Everything but an initiation names its worker in the receiver index (the six upper bits, see
//! [`vmsgate_tunnel::gateway::shard`]). Initiations spread by source, an IPv4 address or an IPv6 /64, so that the
//! limit on one source is kept at one place. A place beyond the group means: the kernel chooses by its own hash.

use vmsgate_netio::Instruction;

// Class, size, mode and operation of an instruction (linux/bpf_common.h).
const LOAD_WORD: u16 = 0x20;
const LOAD_BYTE: u16 = 0x30;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const MULTIPLY: u16 = 0x24;
const SHIFT_RIGHT: u16 = 0x74;
const MODULO: u16 = 0x94;
const XOR_WITH_X: u16 = 0xac;
const COPY_TO_X: u16 = 0x07;
const RETURN: u16 = 0x16;

/// Loads from here on count from the IP header instead of the UDP payload (`SKF_NET_OFF`).
const IP: u32 = -0x10_0000_i32 as u32;
/// Most significant byte of the receiver index (WireGuard paper, section 5.4).
const RECEIVER_OF_DATA: u32 = 7;
const RECEIVER_OF_RESPONSE: u32 = 11;
/// Bits below the worker in that byte.
const SLOT_BITS: u32 = 2;
/// 2^32 divided by the golden ratio: neighbours end far apart.
const SPREAD: u32 = 0x9e37_79b1;

/// For a group of `workers` sockets. Jumps count from the instruction that follows.
pub fn program(workers: u8) -> [Instruction; 22] {
    [
        plain(LOAD_BYTE, 0),
        jump_if(4, 4, 0), // transport data
        jump_if(3, 3, 0), // cookie reply
        jump_if(2, 0, 5), // handshake response; else an initiation
        plain(LOAD_BYTE, RECEIVER_OF_RESPONSE),
        plain(JUMP, 1),
        plain(LOAD_BYTE, RECEIVER_OF_DATA),
        plain(SHIFT_RIGHT, SLOT_BITS),
        plain(RETURN, 0),
        plain(LOAD_BYTE, IP),
        plain(SHIFT_RIGHT, 4),
        jump_if(4, 0, 2),
        plain(LOAD_WORD, IP.wrapping_add(12)),
        plain(JUMP, 4),
        plain(LOAD_WORD, IP.wrapping_add(8)),
        plain(COPY_TO_X, 0),
        plain(LOAD_WORD, IP.wrapping_add(12)),
        plain(XOR_WITH_X, 0),
        plain(MULTIPLY, SPREAD),
        plain(SHIFT_RIGHT, 16),
        plain(MODULO, workers.max(1) as u32),
        plain(RETURN, 0),
    ]
}

const fn plain(code: u16, operand: u32) -> Instruction {
    Instruction { code, jump_true: 0, jump_false: 0, operand }
}

const fn jump_if(equal: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code: JUMP_IF_EQUAL, jump_true, jump_false, operand: equal }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket as StdSocket;

    use vmsgate_netio::{BoundSocket, RecvBatch, UdpSocket};

    use super::*;

    /// Which of `workers` sockets on `address` gets each message.
    async fn places(address: &str, workers: u8, messages: &[Vec<u8>]) -> Vec<usize> {
        let group = BoundSocket::group(address.parse().unwrap(), workers.into()).unwrap();
        group[0].steer(&program(workers)).unwrap();
        let to = group[0].local_addr().unwrap();
        let members: Vec<UdpSocket> = group.into_iter().map(|one| UdpSocket::adopt(one).unwrap()).collect();
        let sender = StdSocket::bind((to.ip(), 0)).unwrap();
        let mut places = Vec::new();
        for message in messages {
            sender.send_to(message, to).unwrap();
            let receive = members.iter().map(|member| {
                Box::pin(async {
                    let mut batch = RecvBatch::new();
                    member.recv_batch(&mut batch).await.unwrap();
                    batch.datagrams().next().unwrap().bytes.to_vec()
                })
            });
            let (received, place) = first(receive.collect()).await;
            assert_eq!(&received, message);
            places.push(place);
        }
        places
    }

    async fn first<F: Future<Output = Vec<u8>> + Unpin>(mut futures: Vec<F>) -> (Vec<u8>, usize) {
        std::future::poll_fn(|context| {
            for (place, future) in futures.iter_mut().enumerate() {
                if let std::task::Poll::Ready(bytes) = std::pin::Pin::new(future).poll(context) {
                    return std::task::Poll::Ready((bytes, place));
                }
            }
            std::task::Poll::Pending
        })
        .await
    }

    fn message(kind: u8, len: usize, receiver_at: usize, worker: u8) -> Vec<u8> {
        let mut bytes = vec![0xff; len];
        bytes[..4].copy_from_slice(&[kind, 0, 0, 0]);
        bytes[receiver_at..receiver_at + 4].copy_from_slice(&[0x12, 0x34, 0x03, worker << 2 | 3]);
        bytes
    }

    #[tokio::test]
    async fn messages_reach_the_worker_that_their_receiver_index_names() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let mut messages = Vec::new();
            for worker in [2, 0, 1, 0, 2] {
                messages.push(message(4, 1452, 4, worker));
                messages.push(message(3, 64, 4, worker));
                messages.push(message(2, 92, 8, worker));
            }
            let expected = [2, 2, 2, 0, 0, 0, 1, 1, 1, 0, 0, 0, 2, 2, 2];
            assert_eq!(places(address, 3, &messages).await, expected, "{address}");
        }
    }

    #[tokio::test]
    async fn initiations_of_one_source_stay_together_and_nonsense_arrives_somewhere() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let initiation = message(1, 148, 4, 1);
            let places = places(address, 3, &vec![initiation; 8]).await;
            assert!(places.iter().all(|place| *place == places[0]), "{places:?}");
        }
        let nonsense = [vec![0], vec![9; 3], message(4, 32, 4, 63), vec![4, 0, 0, 0], vec![2, 0, 0, 0, 0, 0]];
        assert_eq!(places("127.0.0.1:0", 3, &nonsense).await.len(), nonsense.len());
    }
}
