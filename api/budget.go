package api

import (
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// The memory that bodies hold while they are read, in bytes.
const (
	freeBytes   = 4 << 10  // of each body, outside the budget
	bodyBudget  = 4 << 20  // of all bodies together
	inflateCost = 48 << 10 // of decompression
)

const (
	// stallTimeout is how long a client may send less than progressBytes before its body can be dropped in favour
	// of another.
	stallTimeout  = 5 * time.Second
	progressBytes = 1 << 10
)

// budget is the memory that all bodies share while they are read. When it is used up, it drops the bodies of
// clients that have stopped sending.
type budget struct {
	stallTimeout time.Duration
	mu           sync.Mutex
	used         int
	reservations map[*reservation]struct{}
}

func newBudget() *budget {
	return &budget{stallTimeout: stallTimeout, reservations: map[*reservation]struct{}{}}
}

// reservation is what one body holds of the budget.
type reservation struct {
	budget       *budget
	conn         net.Conn // of the client, nil when it need not send any more
	size         int
	total        int // all that was ever reserved
	received     int // bytes since lastProgress
	lastProgress time.Time
	dropped      bool
}

var (
	errBusy    = &bodyError{fasthttp.StatusServiceUnavailable, textBusy}
	errTimeout = &bodyError{fasthttp.StatusRequestTimeout, "request timeout"}
)

// newReservation is for the body of one request, whose client has just sent something.
func (b *budget) newReservation(conn net.Conn) *reservation {
	return &reservation{budget: b, conn: conn, lastProgress: time.Now()}
}

// reserve adds n bytes.
func (r *reservation) reserve(n int) error {
	r.budget.mu.Lock()
	defer r.budget.mu.Unlock()
	switch {
	case r.dropped:
		return errTimeout
	case r.budget.used+n > bodyBudget:
		r.budget.dropStalledLocked(r)
	}
	if r.budget.used+n > bodyBudget {
		return errBusy
	}
	r.budget.used += n
	r.size += n
	r.total += n
	r.budget.reservations[r] = struct{}{}
	return nil
}

// dropStalledLocked drops the bodies, other than that of keep, whose clients have stopped sending.
func (b *budget) dropStalledLocked(keep *reservation) {
	now := time.Now()
	for r := range b.reservations {
		if r != keep && r.conn != nil && now.Sub(r.lastProgress) >= b.stallTimeout {
			r.dropped = true
			_ = r.conn.SetReadDeadline(now)
			r.releaseLocked()
		}
	}
}

// addProgress records that the client has sent n bytes.
func (r *reservation) addProgress(n int) {
	r.budget.mu.Lock()
	defer r.budget.mu.Unlock()
	if r.received += n; r.received >= progressBytes {
		r.received, r.lastProgress = 0, time.Now()
	}
}

// complete says that the whole body has come: it cannot stall any more.
func (r *reservation) complete() {
	r.budget.mu.Lock()
	defer r.budget.mu.Unlock()
	r.conn = nil
}

// release returns the memory to the budget. A second call does nothing.
func (r *reservation) release() {
	r.budget.mu.Lock()
	defer r.budget.mu.Unlock()
	r.releaseLocked()
}

func (r *reservation) releaseLocked() {
	r.budget.used -= r.size
	r.size = 0
	delete(r.budget.reservations, r)
}

// bodyBuffer holds what is kept of one body.
type bodyBuffer struct {
	reservation *reservation
	bytes       []byte
}

func (b *bodyBuffer) add(c byte) error {
	if len(b.bytes) == cap(b.bytes) {
		if err := b.grow(); err != nil {
			return err
		}
	}
	b.bytes = append(b.bytes, c)
	return nil
}

// grow doubles the capacity, which is always a power of two.
func (b *bodyBuffer) grow() error {
	size := max(512, 2*cap(b.bytes))
	if size > freeBytes {
		if err := b.reservation.reserve(size - cap(b.bytes)); err != nil {
			return err
		}
	}
	b.bytes = append(make([]byte, 0, size), b.bytes...)
	return nil
}
