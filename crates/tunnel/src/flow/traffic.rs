//! What is counted: packets and bytes each way.

/// Which way a packet goes, seen from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the recording network.
    Up,
    Down,
}

/// Packets and bytes (whole inner packets) each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    pub packets_up: u64,
    pub bytes_up: u64,
    pub packets_down: u64,
    pub bytes_down: u64,
}

/// Packets that passed together, and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Volume {
    pub packets: u64,
    pub bytes: u64,
}

impl Volume {
    /// One packet of so many bytes.
    pub fn packet(bytes: usize) -> Volume {
        Volume { packets: 1, bytes: bytes as u64 }
    }
}

impl Traffic {
    pub fn add(&mut self, other: Traffic) {
        self.packets_up += other.packets_up;
        self.bytes_up += other.bytes_up;
        self.packets_down += other.packets_down;
        self.bytes_down += other.bytes_down;
    }

    pub fn count(&mut self, direction: Direction, Volume { packets, bytes }: Volume) {
        match direction {
            Direction::Up => {
                self.packets_up += packets;
                self.bytes_up += bytes;
            }
            Direction::Down => {
                self.packets_down += packets;
                self.bytes_down += bytes;
            }
        }
    }
}
