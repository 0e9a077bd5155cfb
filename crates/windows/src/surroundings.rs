//! What this machine's own network has: its addresses, its routers, and hosts with a route of their own.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr::null_mut;
use std::slice;

use windows_sys::Win32::Foundation::{HANDLE, NO_ERROR};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    CancelMibChangeNotify2, ConvertInterfaceIndexToLuid, ConvertInterfaceLuidToAlias, FreeMibTable,
    GetIpForwardTable2, GetUnicastIpAddressTable, MIB_IPFORWARD_ROW2, MIB_IPFORWARD_TABLE2,
    MIB_NOTIFICATION_TYPE, MIB_UNICASTIPADDRESS_ROW, MIB_UNICASTIPADDRESS_TABLE, NotifyRouteChange2,
};
use windows_sys::Win32::NetworkManagement::Ndis::NET_LUID_LH;
use windows_sys::Win32::Networking::WinSock::{AF_INET, AF_INET6, AF_UNSPEC, SOCKADDR_INET};

use crate::check_error;

/// Room for the longest name of an interface, `IF_MAX_STRING_SIZE` and a zero.
const NAME_ROOM: usize = 257;

/// Addresses around this machine, each with the name of the interface there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The machine's own addresses.
    pub own: BTreeMap<IpAddr, String>,
    /// Routers that some route of the machine goes through.
    pub routers: BTreeMap<IpAddr, String>,
    /// Single hosts that a route of their own leads to.
    pub hosts: BTreeMap<IpAddr, String>,
}

impl Surroundings {
    /// Asks Windows; needs no rights. What belongs to the interface `except` is left out.
    ///
    /// # Errors
    /// When Windows does not tell.
    pub fn look(except: &str) -> io::Result<Self> {
        let mut names = BTreeMap::new();
        let mut name_of =
            |index: u32| -> String { names.entry(index).or_insert_with(|| name(index)).clone() };
        let mut found = Self::default();
        for (address, index) in own_addresses()? {
            let name = name_of(index);
            if name != except {
                found.own.insert(address, name);
            }
        }
        for Route { destination, prefix, next, index } in routes()? {
            let name = name_of(index);
            if name == except {
                continue;
            }
            if let Some(next) = next {
                found.routers.insert(next, name.clone());
            }
            let is_host = prefix == if destination.is_ipv4() { 32 } else { 128 };
            // Windows has such routes for its own addresses and for broadcasts too.
            if is_host && !found.own.contains_key(&destination) {
                found.hosts.insert(destination, name);
            }
        }
        Ok(found)
    }
}

/// Calls when a route of this machine has changed, until it is dropped. An address comes and goes with routes.
#[derive(Debug)]
pub struct RouteChanges {
    handle: HANDLE,
    /// What Windows calls with.
    _call: Box<Call>,
}

struct Call(Box<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").finish_non_exhaustive()
    }
}

#[expect(unsafe_code, reason = "the handle belongs to the process, not to a thread")]
// SAFETY: it may be cancelled by any thread, and what is called is `Send` and `Sync`.
unsafe impl Send for RouteChanges {}

impl RouteChanges {
    /// # Errors
    /// When Windows refuses.
    #[expect(unsafe_code, reason = "a call of the Win32 interface")]
    pub fn listen(call: impl Fn() + Send + Sync + 'static) -> io::Result<Self> {
        let call = Box::new(Call(Box::new(call)));
        let mut handle = null_mut();
        let context: *const Call = &raw const *call;
        // SAFETY: `call` stays where it is until the notices are cancelled in `drop`.
        let error =
            unsafe { NotifyRouteChange2(AF_UNSPEC, Some(changed), context.cast(), false, &raw mut handle) };
        check_error(error)?;
        Ok(Self { handle, _call: call })
    }
}

impl Drop for RouteChanges {
    #[expect(unsafe_code, reason = "a call of the Win32 interface")]
    fn drop(&mut self) {
        // SAFETY: the handle is of `listen`; the call waits until no notice is under way.
        unsafe { CancelMibChangeNotify2(self.handle) };
    }
}

#[expect(unsafe_code, reason = "called by Windows")]
unsafe extern "system" fn changed(
    context: *const c_void,
    _: *const MIB_IPFORWARD_ROW2,
    _: MIB_NOTIFICATION_TYPE,
) {
    // SAFETY: Windows hands back what `listen` gave it, which lives until the notices are cancelled.
    let call = unsafe { &*context.cast::<Call>() };
    (call.0)();
}

/// A table that Windows lent.
struct Table<T>(*mut T);

impl<T> Drop for Table<T> {
    #[expect(unsafe_code, reason = "a call of the Win32 interface")]
    fn drop(&mut self) {
        // SAFETY: it came from a call that says to free it so, and nobody keeps a part of it.
        unsafe { FreeMibTable(self.0.cast()) };
    }
}

#[expect(unsafe_code, reason = "calls of the Win32 interface")]
fn own_addresses() -> io::Result<Vec<(IpAddr, u32)>> {
    let mut table: *mut MIB_UNICASTIPADDRESS_TABLE = null_mut();
    // SAFETY: the table is filled, or the call fails.
    check_error(unsafe { GetUnicastIpAddressTable(AF_UNSPEC, &raw mut table) })?;
    let table = Table(table);
    // SAFETY: the call succeeded, so there is a table with as many rows as it says, until it is freed below.
    let rows: &[MIB_UNICASTIPADDRESS_ROW] = unsafe {
        let first = &raw const (*table.0).Table;
        slice::from_raw_parts(first.cast(), (*table.0).NumEntries as usize)
    };
    Ok(rows.iter().filter_map(|row| Some((address(&row.Address)?, row.InterfaceIndex))).collect())
}

struct Route {
    destination: IpAddr,
    prefix: u8,
    next: Option<IpAddr>,
    index: u32,
}

#[expect(unsafe_code, reason = "calls of the Win32 interface")]
fn routes() -> io::Result<Vec<Route>> {
    let mut table: *mut MIB_IPFORWARD_TABLE2 = null_mut();
    // SAFETY: the table is filled, or the call fails.
    check_error(unsafe { GetIpForwardTable2(AF_UNSPEC, &raw mut table) })?;
    let table = Table(table);
    // SAFETY: the call succeeded, so there is a table with as many rows as it says, until it is freed below.
    let rows: &[MIB_IPFORWARD_ROW2] = unsafe {
        let first = &raw const (*table.0).Table;
        slice::from_raw_parts(first.cast(), (*table.0).NumEntries as usize)
    };
    let route = |row: &MIB_IPFORWARD_ROW2| {
        let prefix = &row.DestinationPrefix;
        Some(Route {
            destination: address(&prefix.Prefix)?,
            prefix: prefix.PrefixLength,
            next: address(&row.NextHop).filter(|next| !next.is_unspecified()),
            index: row.InterfaceIndex,
        })
    };
    Ok(rows.iter().filter_map(route).collect())
}

#[expect(unsafe_code, reason = "a union of the Win32 interface")]
fn address(address: &SOCKADDR_INET) -> Option<IpAddr> {
    // SAFETY: all members begin with the family, and the family says which one it is.
    unsafe {
        match address.si_family {
            AF_INET => Some(Ipv4Addr::from(u32::from_be(address.Ipv4.sin_addr.S_un.S_addr)).into()),
            AF_INET6 => Some(Ipv6Addr::from(address.Ipv6.sin6_addr.u.Byte).into()),
            _ => None,
        }
    }
}

/// What people know an interface by.
#[expect(unsafe_code, reason = "calls of the Win32 interface")]
fn name(index: u32) -> String {
    let mut luid = NET_LUID_LH { Value: 0 };
    let mut name = [0_u16; NAME_ROOM];
    // SAFETY: each is filled, or the call fails; the name has as much room as is said.
    let known = unsafe {
        ConvertInterfaceIndexToLuid(index, &raw mut luid) == NO_ERROR
            && ConvertInterfaceLuidToAlias(&raw const luid, name.as_mut_ptr(), NAME_ROOM) == NO_ERROR
    };
    let text = name.split(|unit| *unit == 0).next().unwrap_or_default();
    if known && !text.is_empty() { String::from_utf16_lossy(text) } else { format!("interface {index}") }
}
