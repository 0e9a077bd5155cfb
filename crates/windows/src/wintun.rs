//! A network interface by Wintun (wintun.net), whose library lies beside the program.
//!
//! Its packets are in two rings of memory; an event tells when the empty one of them is empty no more.

use std::cell::Cell;
use std::ffi::c_void;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::Notify;
use windows_sys::Win32::Foundation::{
    ERROR_BUFFER_OVERFLOW, ERROR_NO_MORE_ITEMS, FreeLibrary, GetLastError, HANDLE, HMODULE, WAIT_OBJECT_0,
};
use windows_sys::Win32::System::LibraryLoader::{
    GetProcAddress, LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR, LOAD_LIBRARY_SEARCH_SYSTEM32, LoadLibraryExW,
};
use windows_sys::Win32::System::Threading::{CreateEventW, INFINITE, SetEvent, WaitForMultipleObjects};
use windows_sys::core::{GUID, PCSTR, PCWSTR};

use crate::wide;

/// Of each ring, between Wintun's 128 KiB and 64 MiB: 30 ms of a gigabit line.
const RING_BYTES: u32 = 4 << 20;
/// What Windows lists it as.
const KIND: &str = "Vmsgate";

/// An interface with its packets. It is gone when this is dropped, with its addresses and routes.
#[derive(Debug)]
pub struct Wintun {
    news: Arc<Notify>,
    /// Whether nothing was left when it was looked last.
    is_drained: Cell<bool>,
    stop: OwnedHandle,
    waiting: Option<JoinHandle<()>>,
    session: Session,
}

impl Wintun {
    /// Makes the interface `name` with the library in that file. To be called by an administrator.
    ///
    /// # Errors
    /// When the file is no such library, or Windows refuses the interface.
    #[expect(unsafe_code, reason = "a call of the Win32 interface")]
    pub fn create(library: &Path, name: &str, guid: u128) -> io::Result<Self> {
        let session = Session::start(library, name, guid)?;
        // SAFETY: no attributes, no name; the answer is a handle of ours or null.
        let stop = unsafe { CreateEventW(null(), 1, 0, null()) };
        if stop.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded, so the handle is open and nobody else's.
        let stop = unsafe { OwnedHandle::from_raw_handle(stop) };
        let news = Arc::new(Notify::new());
        let events = Events([stop.as_raw_handle(), session.read_event()?]);
        let tell = news.clone();
        let waiting = thread::Builder::new().name("wintun".to_owned()).spawn(move || events.wait(&tell))?;
        Ok(Self { news, is_drained: Cell::new(false), stop, waiting: Some(waiting), session })
    }

    /// Waits until there may be a packet.
    pub async fn readable(&self) {
        if self.is_drained.get() {
            self.news.notified().await;
            self.is_drained.set(false);
        }
    }

    /// Copies the next packet into `room`; answers its length, if there is one.
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn receive(&self, room: &mut [u8]) -> io::Result<Option<usize>> {
        let received = self.session.receive(room)?;
        self.is_drained.set(received.is_none());
        Ok(received)
    }

    /// Whether there was room for the packet.
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn send(&self, packet: &[u8]) -> io::Result<bool> {
        self.session.send(packet)
    }
}

impl Drop for Wintun {
    #[expect(unsafe_code, reason = "a call of the Win32 interface")]
    fn drop(&mut self) {
        // SAFETY: the handle is open as long as `stop` is there.
        unsafe { SetEvent(self.stop.as_raw_handle()) };
        // The session's event must outlive whoever waits for it.
        if let Some(waiting) = self.waiting.take() {
            let _ = waiting.join();
        }
    }
}

/// The end, and a packet.
struct Events([HANDLE; 2]);

#[expect(unsafe_code, reason = "handles of events belong to the process, not to a thread")]
// SAFETY: both may be waited for by any thread, and outlive the one that does: see `Wintun::drop`.
unsafe impl Send for Events {}

impl Events {
    #[expect(unsafe_code, reason = "a call of the Win32 interface")]
    fn wait(&self, news: &Notify) {
        // SAFETY: both handles are open until the one who waits here has ended.
        while unsafe { WaitForMultipleObjects(2, self.0.as_ptr(), 0, INFINITE) } == WAIT_OBJECT_0 + 1 {
            news.notify_one();
        }
    }
}

type Handle = *mut c_void;

/// The functions of the library, as its wintun.h has them.
#[derive(Debug, Clone, Copy)]
struct Functions {
    close_adapter: unsafe extern "system" fn(Handle),
    end_session: unsafe extern "system" fn(Handle),
    read_wait_event: unsafe extern "system" fn(Handle) -> HANDLE,
    receive_packet: unsafe extern "system" fn(Handle, *mut u32) -> *mut u8,
    release_receive_packet: unsafe extern "system" fn(Handle, *const u8),
    allocate_send_packet: unsafe extern "system" fn(Handle, u32) -> *mut u8,
    send_packet: unsafe extern "system" fn(Handle, *const u8),
}

type CreateAdapter = unsafe extern "system" fn(PCWSTR, PCWSTR, *const GUID) -> Handle;
type StartSession = unsafe extern "system" fn(Handle, u32) -> Handle;

/// What was made, unmade in the opposite order.
#[derive(Debug)]
struct Session {
    handle: Handle,
    functions: Functions,
    _adapter: Adapter,
}

#[derive(Debug)]
struct Adapter {
    handle: Handle,
    close: unsafe extern "system" fn(Handle),
    _library: Library,
}

#[derive(Debug)]
struct Library(HMODULE);

impl Session {
    #[expect(unsafe_code, reason = "functions of a library")]
    fn start(path: &Path, name: &str, guid: u128) -> io::Result<Self> {
        let library = Library::load(path)?;
        // SAFETY: wintun.h declares each function so.
        let (create, start, functions) = unsafe {
            (
                library.function::<CreateAdapter>(c"WintunCreateAdapter".as_ptr().cast())?,
                library.function::<StartSession>(c"WintunStartSession".as_ptr().cast())?,
                Functions {
                    close_adapter: library.function(c"WintunCloseAdapter".as_ptr().cast())?,
                    end_session: library.function(c"WintunEndSession".as_ptr().cast())?,
                    read_wait_event: library.function(c"WintunGetReadWaitEvent".as_ptr().cast())?,
                    receive_packet: library.function(c"WintunReceivePacket".as_ptr().cast())?,
                    release_receive_packet: library
                        .function(c"WintunReleaseReceivePacket".as_ptr().cast())?,
                    allocate_send_packet: library.function(c"WintunAllocateSendPacket".as_ptr().cast())?,
                    send_packet: library.function(c"WintunSendPacket".as_ptr().cast())?,
                },
            )
        };
        let (name, kind, guid) = (wide(name), wide(KIND), GUID::from_u128(guid));
        // SAFETY: texts and identifier outlive the call.
        let adapter = unsafe { create(name.as_ptr(), kind.as_ptr(), &raw const guid) };
        if adapter.is_null() {
            return Err(io::Error::last_os_error());
        }
        let adapter = Adapter { handle: adapter, close: functions.close_adapter, _library: library };
        // SAFETY: the adapter is open.
        let handle = unsafe { start(adapter.handle, RING_BYTES) };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { handle, functions, _adapter: adapter })
    }

    #[expect(unsafe_code, reason = "a function of a library")]
    fn read_event(&self) -> io::Result<HANDLE> {
        // SAFETY: the session runs.
        let event = unsafe { (self.functions.read_wait_event)(self.handle) };
        if event.is_null() { Err(io::Error::last_os_error()) } else { Ok(event) }
    }

    #[expect(unsafe_code, reason = "functions of a library")]
    fn receive(&self, room: &mut [u8]) -> io::Result<Option<usize>> {
        let mut length = 0;
        // SAFETY: the session runs, and `length` is filled.
        let packet = unsafe { (self.functions.receive_packet)(self.handle, &raw mut length) };
        if packet.is_null() {
            return match last_error() {
                ERROR_NO_MORE_ITEMS => Ok(None),
                _ => Err(io::Error::last_os_error()),
            };
        }
        // SAFETY: so many bytes are ours to read until they are released below.
        let bytes = unsafe { std::slice::from_raw_parts(packet, length as usize) };
        let copied = room.get_mut(..bytes.len()).map(|room| room.copy_from_slice(bytes));
        let length = bytes.len();
        // SAFETY: it was received a moment ago, and nobody holds a part of it any more.
        unsafe { (self.functions.release_receive_packet)(self.handle, packet) };
        copied.map(|()| Some(length)).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    #[expect(unsafe_code, reason = "functions of a library")]
    fn send(&self, packet: &[u8]) -> io::Result<bool> {
        let length = u32::try_from(packet.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: the session runs.
        let room = unsafe { (self.functions.allocate_send_packet)(self.handle, length) };
        if room.is_null() {
            return match last_error() {
                ERROR_BUFFER_OVERFLOW => Ok(false),
                _ => Err(io::Error::last_os_error()),
            };
        }
        // SAFETY: so many bytes are ours to write until they are sent, and they are no part of `packet`.
        unsafe {
            room.copy_from_nonoverlapping(packet.as_ptr(), packet.len());
            (self.functions.send_packet)(self.handle, room);
        }
        Ok(true)
    }
}

impl Drop for Session {
    #[expect(unsafe_code, reason = "a function of a library")]
    fn drop(&mut self) {
        // SAFETY: it runs, and nobody uses it any more.
        unsafe { (self.functions.end_session)(self.handle) };
    }
}

impl Drop for Adapter {
    #[expect(unsafe_code, reason = "a function of a library")]
    fn drop(&mut self) {
        // SAFETY: it is open, and its session has ended.
        unsafe { (self.close)(self.handle) };
    }
}

impl Library {
    #[expect(unsafe_code, reason = "a call of the Win32 interface")]
    fn load(path: &Path) -> io::Result<Self> {
        let path = wide(path);
        // What it needs itself is looked for beside it and in Windows' own folder, and nowhere else.
        let places = LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR | LOAD_LIBRARY_SEARCH_SYSTEM32;
        // SAFETY: the path ends with a zero and outlives the call.
        let library = unsafe { LoadLibraryExW(path.as_ptr(), null_mut(), places) };
        if library.is_null() { Err(io::Error::last_os_error()) } else { Ok(Self(library)) }
    }

    /// A function of the library. `F` must be what it is, a pointer to a function.
    #[expect(unsafe_code, reason = "a call of the Win32 interface")]
    unsafe fn function<F: Copy>(&self, name: PCSTR) -> io::Result<F> {
        // SAFETY: the library is loaded, and the name ends with a zero.
        let found = unsafe { GetProcAddress(self.0, name) }.ok_or_else(io::Error::last_os_error)?;
        const { assert!(size_of::<F>() == size_of::<unsafe extern "system" fn() -> isize>()) };
        // SAFETY: both are pointers to functions, and the caller says which kind.
        Ok(unsafe { std::mem::transmute_copy(&found) })
    }
}

impl Drop for Library {
    #[expect(unsafe_code, reason = "a call of the Win32 interface")]
    fn drop(&mut self) {
        // SAFETY: nobody calls its functions any more.
        unsafe { FreeLibrary(self.0) };
    }
}

#[expect(unsafe_code, reason = "a call of the Win32 interface")]
fn last_error() -> u32 {
    // SAFETY: it only reads what this thread has.
    unsafe { GetLastError() }
}
