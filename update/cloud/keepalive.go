package cloud

import (
	"crypto/tls"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// KeepAlive keeps the connection of the last call for the next one, since calls come in bursts and a TLS handshake
// is most of what a call costs a small processor. It has no timer: who made it calls Close when it was quiet for a
// few seconds. It is safe for concurrent use; the nil one keeps nothing.
type KeepAlive struct {
	// Ended is called when a call or stream is over. It must not wait.
	Ended func()

	mu   sync.Mutex
	conn net.Conn // nil when there is none
	to   string   // scheme and host that it leads to
}

// Close closes the connection, if there is one.
func (k *KeepAlive) Close() { k.keep("", nil) }

// take hands out the connection to a server, nil when there is none that is still open.
func (k *KeepAlive) take(to string) net.Conn {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	conn := k.conn
	if conn == nil || k.to != to {
		k.mu.Unlock()
		return nil
	}
	k.conn = nil
	k.mu.Unlock()
	if !isQuiet(conn) {
		conn.Close()
		return nil
	}
	return conn
}

// keep takes a connection over in place of the one before.
func (k *KeepAlive) keep(to string, conn net.Conn) {
	if k == nil {
		conn.Close()
		return
	}
	k.mu.Lock()
	before := k.conn
	k.conn, k.to = conn, to
	k.mu.Unlock()
	if before != nil {
		before.Close()
	}
}

func (k *KeepAlive) ended() {
	if k != nil && k.Ended != nil {
		k.Ended()
	}
}

// isQuiet tells whether the other side neither closed a connection nor sent anything that nobody asked for.
func isQuiet(conn net.Conn) (quiet bool) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Read(func(fd uintptr) bool {
		events := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}}
		n, err := unix.Poll(events, 0)
		for err == unix.EINTR { // a signal waits, such as the runtime's to a thread that was busy for long
			n, err = unix.Poll(events, 0)
		}
		quiet = n == 0 && err == nil
		return true
	})
	return quiet
}
