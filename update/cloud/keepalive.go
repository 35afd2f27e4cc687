package cloud

import (
	"crypto/tls"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// KeepAlive keeps the connection of the last call for the next one. Calls come in bursts, and on a small
// processor the TLS handshake is most of the cost of a call. It has no timer: its owner calls Close after a few
// seconds without calls. It is safe for concurrent use. A nil KeepAlive keeps nothing.
type KeepAlive struct {
	// Ended is called after each call or stream. It must not block.
	Ended func()

	mu   sync.Mutex
	conn net.Conn // nil when there is none
	to   string   // scheme and host of the server
}

// Close closes the connection, if there is one.
func (k *KeepAlive) Close() { k.keep("", nil) }

// take returns the kept connection to a server, nil when there is none or it is closed.
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
	if !isIdle(conn) {
		conn.Close()
		return nil
	}
	return conn
}

// keep stores a connection and closes the one before.
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

// isIdle reports whether the server has neither closed the connection nor sent unexpected data.
func isIdle(conn net.Conn) (idle bool) {
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
		for err == unix.EINTR { // a signal interrupted the call, such as the runtime's preemption signal
			n, err = unix.Poll(events, 0)
		}
		idle = n == 0 && err == nil
		return true
	})
	return idle
}
