// Package netlink tells when the machine's network changes: an address or an interface came, went
// or changed. The kernel says so by itself, so nothing is polled.
package netlink

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// settle is how long messages are gathered after the first one, so that an interface coming up
// (a dozen messages over half a second) is one change, and so are all that come up while the engine
// starts an app: each container has one.
const settle = time.Second

const groups = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR

// Watch calls changed once when the subscription stands, so that a first reading misses nothing,
// and then after each burst of changes. It returns nil when ctx ends, else why the subscription
// could not be made or broke. Messages are not decoded: read the addresses anew.
func Watch(ctx context.Context, changed func()) error {
	socket, err := subscribe()
	if err != nil {
		return fmt.Errorf("subscribe to network changes: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = socket.Close() })()
	defer socket.Close()
	for err == nil {
		changed()
		err = next(ctx, socket)
	}
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("read network changes: %w", err)
}

// subscribe opens the socket that the kernel sends its messages to. Non-blocking, so that the
// runtime's poller waits for it and closing it wakes the reader.
func subscribe() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}

// next returns after the next burst of messages. No timer runs before its first one, and what comes
// after that one waits in the socket, so that a burst wakes the process twice and not for each message.
func next(ctx context.Context, socket *os.File) error {
	if err := receive(socket); err != nil {
		return err
	}
	timer := time.NewTimer(settle)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	return drain(socket)
}

// drain drops the messages that are there already.
func drain(socket *os.File) error {
	if err := socket.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		return err
	}
	for {
		err := receive(socket)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return socket.SetReadDeadline(time.Time{})
		}
		if err != nil {
			return err
		}
	}
}

// receive drops one message. Messages that the kernel had to drop itself (ENOBUFS) are changes too;
// the rest of one longer than the buffer is dropped with it.
func receive(socket *os.File) error {
	var buffer [64]byte
	_, err := socket.Read(buffer[:])
	if errors.Is(err, unix.ENOBUFS) {
		return nil
	}
	return err
}
