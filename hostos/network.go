package hostos

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/rs/zerolog"

	"resin-supervisor/hostos/netlink"
)

// Network keeps the device's addresses in memory, and reads them again when the kernel reports a change.
type Network struct {
	macPath string
	log     zerolog.Logger
	now     atomic.Pointer[addresses]
	changes chan struct{}
}

type addresses struct{ ips, macs []string }

// WatchNetwork reads the addresses and keeps them current until ctx ends. macPath is /sys/class/net. If it cannot
// receive the kernel's messages it logs the error and keeps the addresses that it read.
func WatchNetwork(ctx context.Context, macPath string, log zerolog.Logger) *Network {
	n := &Network{macPath: macPath, log: log, changes: make(chan struct{}, 1)}
	n.now.Store(&addresses{ips: []string{}, macs: []string{}})
	ready := make(chan struct{})
	go n.follow(ctx, ready)
	<-ready
	return n
}

// Addresses returns the IP and hardware addresses to report (docs/spec/cloud.md 4.7). The caller must not change the
// slices.
func (n *Network) Addresses() (ips, macs []string) {
	now := n.now.Load()
	return now.ips, now.macs
}

// Changes receives a token after the addresses changed. Several changes may share one token.
func (n *Network) Changes() <-chan struct{} {
	return n.changes
}

// follow closes ready after the first reading, and reports later changes on the channel changes.
func (n *Network) follow(ctx context.Context, ready chan<- struct{}) {
	started := false
	err := netlink.Watch(ctx, func() {
		differs := n.read()
		if !started {
			started = true
			close(ready)
		} else if differs {
			n.notify()
		}
	})
	if err != nil {
		n.log.Error().Err(err).Msg("cannot watch the network, reported addresses may be out of date until the supervisor restarts")
	}
	if !started {
		n.read()
		close(ready)
	}
}

func (n *Network) notify() {
	select {
	case n.changes <- struct{}{}:
	default: // the channel has a token already
	}
}

// read reads the addresses and reports whether they changed. After an error the last addresses stay.
func (n *Network) read() bool {
	old := n.now.Load()
	ips, err := readIPs()
	if err != nil {
		n.log.Warn().Err(err).Msg("cannot read the IP addresses")
		ips = old.ips
	}
	macs, err := readMACs(n.macPath)
	if err != nil {
		n.log.Warn().Err(err).Msg("cannot read the hardware addresses")
		macs = old.macs
	}
	if slices.Equal(ips, old.ips) && slices.Equal(macs, old.macs) {
		return false
	}
	n.now.Store(&addresses{ips: ips, macs: macs})
	return true
}
