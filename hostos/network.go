package hostos

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/rs/zerolog"

	"resin-supervisor/hostos/netlink"
)

// Network knows the device's addresses from memory; the kernel says when to read them again.
type Network struct {
	macPath string
	log     zerolog.Logger
	now     atomic.Pointer[addresses]
	changes chan struct{}
}

type addresses struct{ ips, macs []string }

// WatchNetwork reads the addresses, macPath being /sys/class/net, and keeps them current until ctx
// ends. Without the kernel's messages it logs why and stays with what it read.
func WatchNetwork(ctx context.Context, macPath string, log zerolog.Logger) *Network {
	n := &Network{macPath: macPath, log: log, changes: make(chan struct{}, 1)}
	n.now.Store(&addresses{ips: []string{}, macs: []string{}})
	ready := make(chan struct{})
	go n.follow(ctx, ready)
	<-ready
	return n
}

// Addresses returns the IP addresses and the hardware addresses to report (docs/spec/cloud.md 4.7). The
// caller must not change the slices.
func (n *Network) Addresses() (ips, macs []string) {
	now := n.now.Load()
	return now.ips, now.macs
}

// Changes carries a token after the addresses became others; several changes may share one.
func (n *Network) Changes() <-chan struct{} {
	return n.changes
}

// follow closes ready once the addresses were read, and announces later differences on changes.
func (n *Network) follow(ctx context.Context, ready chan<- struct{}) {
	started := false
	err := netlink.Watch(ctx, func() {
		differs := n.read()
		if !started {
			started = true
			close(ready)
		} else if differs {
			n.announce()
		}
	})
	if err != nil {
		n.log.Error().Err(err).Msg("network changes are not seen any more")
	}
	if !started {
		n.read()
		close(ready)
	}
}

func (n *Network) announce() {
	select {
	case n.changes <- struct{}{}:
	default: // a token is waiting already
	}
}

// read takes the addresses anew and reports whether they differ. What cannot be read stays as it was.
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
