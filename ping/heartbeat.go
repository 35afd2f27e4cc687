package ping

import (
	"context"
	"net"
	"strconv"
	"sync"
	"time"
)

// interval is the time from one probe to the next, and the timeout of a probe (docs/spec/cloud.md 9.2).
const interval = 10 * time.Second

// Options say what to probe. Only Host and Port are required.
type Options struct {
	Host     string // of the cloud API; empty when there is none (unmanaged)
	Port     int
	Interval time.Duration // from one probe to the next, and the timeout of a probe; 10 s when 0
	VPN      *VPN          // nil counts as down
	// Dial connects. A caller sets it to resolve names in its own way; nil uses the system's resolver.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Changed gets the first result and each later change. Run calls it, one call at a time.
	Changed func(connected bool)
}

// Heartbeat probes the cloud API with TCP connections while the VPN is down and the check is enabled. The check starts
// enabled (docs/spec/cloud.md 9.2, docs/spec/device-api.md 2.9).
type Heartbeat struct {
	options Options
	mu      sync.Mutex
	state   state
	off     bool          // the last configuration turned the check off
	wake    chan struct{} // holds a token when anything but a probe has changed the state
}

// New makes a heartbeat. It does not probe before Run.
func New(o Options) *Heartbeat {
	if o.Interval == 0 {
		o.Interval = interval
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.Changed == nil {
		o.Changed = func(bool) {}
	}
	h := &Heartbeat{options: o, state: waiting, wake: make(chan struct{}, 1)}
	if o.Host == "" {
		h.state = unmanaged
	}
	if o.VPN != nil {
		o.VPN.follow(h.followVPN)
		h.followVPN()
	}
	return h
}

// Enable turns the check on or off. The last caller wins (docs/spec/device-api.md 2.9).
func (h *Heartbeat) Enable(on bool) {
	h.handle(func() event {
		if on {
			return enable
		}
		return disable
	})
}

// Configure turns the check on or off when the configuration has changed. An unchanged configuration does not undo
// Enable.
func (h *Heartbeat) Configure(on bool) {
	h.mu.Lock()
	differs := h.off == on
	h.off = !on
	h.mu.Unlock()
	if differs {
		h.Enable(on)
	}
}

// Connected reports whether the device counts as connected: the VPN is up, the check is disabled, there is no cloud, or
// the last probe succeeded.
func (h *Heartbeat) Connected() bool {
	return h.current().connected()
}

// Run probes until ctx ends. While no probes are due it waits without a timer.
func (h *Heartbeat) Run(ctx context.Context) {
	reported := waiting
	for ctx.Err() == nil {
		reported = h.report(reported)
		if !h.current().probing() {
			h.wait(ctx, nil)
			continue
		}
		due := time.NewTimer(h.options.Interval)
		if h.probe(ctx) {
			reported = h.report(reported)
			h.wait(ctx, due.C)
		}
		due.Stop()
	}
}

// report calls Changed when the result differs from the last reported state, and returns the state reported now.
func (h *Heartbeat) report(last state) state {
	now := h.current()
	if now == waiting || last != waiting && last.connected() == now.connected() {
		return last
	}
	h.options.Changed(now.connected())
	return now
}

// wait waits until the next probe is due, or the state has changed.
func (h *Heartbeat) wait(ctx context.Context, due <-chan time.Time) {
	select {
	case <-due:
	case <-h.wake:
	case <-ctx.Done():
	}
}

// probe makes one connection and records the result. It returns false, and drops the result, when the state has changed
// or ctx has ended meanwhile.
func (h *Heartbeat) probe(ctx context.Context) bool {
	limited, cancel := context.WithTimeout(ctx, h.options.Interval)
	defer cancel()
	result := make(chan event, 1)
	go func() { result <- h.dial(limited) }()
	e := failed
	select {
	case e = <-result:
	case <-limited.Done():
	case <-h.wake:
		return false
	}
	if ctx.Err() != nil {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.state = next(h.state, e)
	return true
}

func (h *Heartbeat) dial(ctx context.Context) event {
	address := net.JoinHostPort(h.options.Host, strconv.Itoa(h.options.Port))
	conn, err := h.options.Dial(ctx, "tcp", address)
	if err != nil {
		return failed
	}
	_ = conn.Close()
	return succeeded
}

// followVPN handles the present state of the VPN.
func (h *Heartbeat) followVPN() {
	h.handle(func() event {
		if h.options.VPN.Connected() {
			return vpnUp
		}
		return vpnDown
	})
}

// handle changes the state by an event. It calls read inside the lock, so the last caller has the newest event.
func (h *Heartbeat) handle(read func() event) {
	h.mu.Lock()
	old := h.state
	h.state = next(old, read())
	same := h.state == old
	h.mu.Unlock()
	if same {
		return
	}
	select {
	case h.wake <- struct{}{}:
	default: // the channel holds a token already
	}
}

func (h *Heartbeat) current() state {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state
}
