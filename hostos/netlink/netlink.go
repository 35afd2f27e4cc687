// Package netlink reports changes of the device's addresses and network interfaces. The kernel sends messages about
// them, so nothing is polled.
package netlink

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// batchDelay is how long messages are collected after the first one. An interface that comes up sends about a dozen
// messages in half a second, and an app that starts has one interface per container.
const batchDelay = time.Second

const groups = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR

// Watch calls changed once after subscribing, so that the first reading misses nothing, and then after each burst of
// changes. Messages are not decoded: changed should read the addresses again. Watch returns nil when ctx ends, or
// an error if subscribing or reading fails.
func Watch(ctx context.Context, changed func()) error {
	socket, err := subscribe()
	if err != nil {
		return fmt.Errorf("subscribe to network changes: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = socket.Close() })()
	defer socket.Close()
	for err == nil {
		changed()
		err = waitForBurst(ctx, socket)
	}
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("read network changes: %w", err)
}

// subscribe opens the socket that receives the kernel's messages. It is non-blocking, so that the runtime's poller
// waits for it and closing it wakes the reader.
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

// waitForBurst returns after the next burst of messages. Messages after the first one wait in the socket for batchDelay,
// so that a burst wakes the process only twice.
func waitForBurst(ctx context.Context, socket *os.File) error {
	if err := receive(socket); err != nil {
		return err
	}
	timer := time.NewTimer(batchDelay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	return drain(socket)
}

// drain drops all messages in the socket.
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

// receive reads and drops one message. ENOBUFS, which means that the kernel dropped messages, counts as a message too.
// The kernel discards the rest of a message that is longer than the buffer.
func receive(socket *os.File) error {
	var buffer [64]byte
	_, err := socket.Read(buffer[:])
	if errors.Is(err, unix.ENOBUFS) {
		return nil
	}
	return err
}
