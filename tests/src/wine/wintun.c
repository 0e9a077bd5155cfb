/* Plays wintun.dll where there is no Windows: the interface's packets are datagrams on loopback, between this port and
   the next, where somebody has the interface on this system. The functions are those of Wintun's own header. */
#include <winsock2.h>
#include <windows.h>

#define PORT 49001
#define SLOTS 1024
#define LONGEST 2048
#define EXPORT __declspec(dllexport)

static struct { DWORD length; BYTE bytes[LONGEST]; } ring[SLOTS];
static volatile LONG filled, taken, ended;
static SOCKET way = INVALID_SOCKET;
static HANDLE news, reader;
static BYTE out[LONGEST];
static DWORD out_length;

static struct sockaddr_in at(u_short port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static DWORD WINAPI fill(void *unused) {
    BYTE packet[LONGEST];
    int length;
    while (!ended) {
        length = recv(way, (char *)packet, sizeof packet, 0);
        /* An error may be of what was sent before the other end was there. */
        if (length <= 0 || filled - taken == SLOTS)
            continue;
        ring[filled % SLOTS].length = length;
        memcpy(ring[filled % SLOTS].bytes, packet, length);
        InterlockedIncrement(&filled);
        SetEvent(news);
    }
    return 0;
}

EXPORT void *WINAPI WintunCreateAdapter(const WCHAR *name, const WCHAR *kind, const GUID *identifier) {
    WSADATA data;
    struct sockaddr_in here = at(PORT), there = at(PORT + 1);
    if (!name[0] || !kind[0] || !identifier || WSAStartup(MAKEWORD(2, 2), &data))
        return NULL;
    way = socket(AF_INET, SOCK_DGRAM, 0);
    if (bind(way, (struct sockaddr *)&here, sizeof here) || connect(way, (struct sockaddr *)&there, sizeof there)) {
        SetLastError(WSAGetLastError());
        return NULL;
    }
    return &way;
}

EXPORT void WINAPI WintunCloseAdapter(void *adapter) { WSACleanup(); }

EXPORT void *WINAPI WintunStartSession(void *adapter, DWORD capacity) {
    news = CreateEventW(NULL, FALSE, FALSE, NULL);
    reader = CreateThread(NULL, 0, fill, NULL, 0, NULL);
    return adapter == &way && capacity >= 0x20000 ? &ring : NULL;
}

EXPORT void WINAPI WintunEndSession(void *session) {
    InterlockedIncrement(&ended);
    closesocket(way);
    WaitForSingleObject(reader, INFINITE);
    CloseHandle(reader);
    CloseHandle(news);
}

EXPORT HANDLE WINAPI WintunGetReadWaitEvent(void *session) { return news; }

EXPORT BYTE *WINAPI WintunReceivePacket(void *session, DWORD *length) {
    if (filled == taken) {
        SetLastError(ERROR_NO_MORE_ITEMS);
        return NULL;
    }
    *length = ring[taken % SLOTS].length;
    return ring[taken % SLOTS].bytes;
}

EXPORT void WINAPI WintunReleaseReceivePacket(void *session, const BYTE *packet) {
    if (packet == ring[taken % SLOTS].bytes)
        InterlockedIncrement(&taken);
}

EXPORT BYTE *WINAPI WintunAllocateSendPacket(void *session, DWORD length) {
    if (length > LONGEST) {
        SetLastError(ERROR_BUFFER_OVERFLOW);
        return NULL;
    }
    out_length = length;
    return out;
}

EXPORT void WINAPI WintunSendPacket(void *session, const BYTE *packet) {
    send(way, (const char *)packet, out_length, 0);
}
