//! What the operating system says about the process: memory, descriptors, processor time.

use std::fs;

use serde::{Deserialize, Serialize};

/// Clock ticks per second in `/proc`: `USER_HZ`, which is 100 on every architecture that this runs on.
const TICKS: f64 = 100.0;

/// Each is absent where `/proc` does not tell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessStatus {
    pub resident_bytes: Option<u64>,
    pub open_descriptors: Option<u64>,
    pub descriptor_limit: Option<u64>,
    pub cpu_seconds: Option<f64>,
}

impl ProcessStatus {
    pub fn now() -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).ok();
        // The descriptor that the folder is read through counts itself.
        let open =
            fs::read_dir("/proc/self/fd").ok().map(|entries| (entries.count() as u64).saturating_sub(1));
        ProcessStatus {
            resident_bytes: read("status").as_deref().and_then(resident),
            open_descriptors: open,
            descriptor_limit: read("limits").as_deref().and_then(descriptor_limit),
            cpu_seconds: read("stat").as_deref().and_then(cpu_seconds),
        }
    }
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// None also when there is no limit.
fn descriptor_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    // The name in parentheses may hold anything; behind it follow the fields from the third on.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some((f64::from(ticks()?) + f64::from(ticks()?)) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_told_as_the_kernel_has_it() {
        let before = ProcessStatus::now();
        let held: Vec<_> = (0..50).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        let memory = vec![1_u8; 64 << 20];
        let after = ProcessStatus::now();
        // Other tests of this program run meanwhile.
        assert!(after.open_descriptors.unwrap() >= 50, "{before:?} {after:?}");
        assert!(after.resident_bytes.unwrap() >= 64 << 20, "{before:?} {after:?}");
        assert!(after.descriptor_limit.unwrap() >= after.open_descriptors.unwrap(), "{after:?}");
        drop((held, std::hint::black_box(memory)));
    }

    #[test]
    fn fields_are_found_by_their_names_and_places() {
        assert_eq!(resident("VmPeak:\t    99 kB\nVmRSS:\t    12 kB\n"), Some(12 * 1024));
        assert_eq!(resident("VmPeak:\t    99 kB\n"), None);
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 1048576              files\n";
        assert_eq!(descriptor_limit(limits), Some(1024));
        assert_eq!(
            descriptor_limit("Max open files            unlimited            unlimited  files\n"),
            None
        );
        let stat = "7 (a ) name) S 1 7 7 0 -1 4194560 100 0 0 0 250 150 9 9 20 0 3 0 100 1 1";
        assert_eq!(cpu_seconds(stat), Some(4.0));
        assert_eq!(cpu_seconds("7 (cut off) S 1"), None);
    }
}
