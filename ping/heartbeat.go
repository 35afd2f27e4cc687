package ping

import (
	"context"
	"net"
	"strconv"
	"sync"
	"time"
)

// interval is the pause between two tries, and the longest a try may take (docs/spec/cloud.md 9.2).
const interval = 10 * time.Second

// Options say whom to reach. Only Host and Port are needed.
type Options struct {
	Host     string // of the cloud API; empty when there is none (unmanaged)
	Port     int
	Interval time.Duration // between tries, and the longest of one; 10 s when 0
	VPN      *VPN          // nil counts as down
	// Dial connects; it is where a caller resolves names its own way. Nil is the system's.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Changed is told the first known result and each later change, one call at a time, by Run.
	Changed func(connected bool)
}

// Heartbeat tries to connect to the cloud API while the VPN is down and the check is enabled, and
// knows the result. It starts enabled (docs/spec/cloud.md 9.2, docs/spec/device-api.md 2.9).
type Heartbeat struct {
	options Options
	mu      sync.Mutex
	state   state
	off     bool          // as the configuration says
	wake    chan struct{} // holds a token after the state was changed by anything but a try
}

// New makes a heartbeat that tries nothing before Run.
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

// Enable turns the check on or off; the last caller wins (docs/spec/device-api.md 2.9).
func (h *Heartbeat) Enable(on bool) {
	h.happen(func() event {
		if on {
			return enable
		}
		return disable
	})
}

// Configure turns the check on or off when the configuration says another thing than before: what
// Enable did meanwhile stays as it is until then.
func (h *Heartbeat) Configure(on bool) {
	h.mu.Lock()
	differs := h.off == on
	h.off = !on
	h.mu.Unlock()
	if differs {
		h.Enable(on)
	}
}

// Connected reports whether the device counts as connected: the VPN is up, the check is disabled,
// there is no cloud, or the last try was answered.
func (h *Heartbeat) Connected() bool {
	return h.current().connected()
}

// Run makes the tries until ctx ends. While none are due it waits without a timer.
func (h *Heartbeat) Run(ctx context.Context) {
	told := waiting
	for ctx.Err() == nil {
		told = h.tell(told)
		if !h.current().tries() {
			h.rest(ctx, nil)
			continue
		}
		due := time.NewTimer(h.options.Interval)
		if h.try(ctx) {
			told = h.tell(told)
			h.rest(ctx, due.C)
		}
		due.Stop()
	}
}

// tell calls Changed when the result differs from the one told before, and returns what is told now.
func (h *Heartbeat) tell(told state) state {
	now := h.current()
	if now == waiting || told != waiting && told.connected() == now.connected() {
		return told
	}
	h.options.Changed(now.connected())
	return now
}

// rest waits until the next try is due or the state was changed.
func (h *Heartbeat) rest(ctx context.Context, due <-chan time.Time) {
	select {
	case <-due:
	case <-h.wake:
	case <-ctx.Done():
	}
}

// try makes one connection and takes its result. It returns false when the state was changed or ctx
// ended first: the result does not count then.
func (h *Heartbeat) try(ctx context.Context) bool {
	limited, cancel := context.WithTimeout(ctx, h.options.Interval)
	defer cancel()
	result := make(chan event, 1)
	go func() { result <- h.dial(limited) }()
	e := silent
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
		return silent
	}
	_ = conn.Close()
	return answered
}

// followVPN takes over what the VPN is now.
func (h *Heartbeat) followVPN() {
	h.happen(func() event {
		if h.options.VPN.Connected() {
			return vpnUp
		}
		return vpnDown
	})
}

// happen changes the state by what decide finds; decide runs inside the lock, so that of two callers
// the later one decides on the newer facts.
func (h *Heartbeat) happen(decide func() event) {
	h.mu.Lock()
	old := h.state
	h.state = next(old, decide())
	same := h.state == old
	h.mu.Unlock()
	if same {
		return
	}
	select {
	case h.wake <- struct{}{}:
	default: // a token is waiting already
	}
}

func (h *Heartbeat) current() state {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state
}
