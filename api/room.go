package api

import (
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// The bounds of what all bodies hold that are being read, in bytes.
const (
	tinyBody      = 4 << 10 // kept without asking for room
	roomForBodies = 4 << 20
	inflater      = 48 << 10 // what unpacking holds
)

const (
	// bodyPause is how long a client may send next to nothing before its body makes room for another.
	bodyPause = 5 * time.Second
	// bodyStep is how many bytes count as something.
	bodyStep = 1 << 10
)

// room is the memory that the bodies being read share. A body that comes slowly lies in it meanwhile; when
// there is none left, those whose clients have stopped sending go.
type room struct {
	pause time.Duration
	mu    sync.Mutex
	used  int
	held  map[*share]struct{}
}

func newRoom() *room { return &room{pause: bodyPause, held: map[*share]struct{}{}} }

// share is what of the room one body holds.
type share struct {
	_     incomparable
	room  *room
	conn  net.Conn // of the client, nil for none
	size  int
	taken int       // in all
	heard int       // bytes since last
	last  time.Time // when the client had sent something
	gone  bool
}

var (
	errBusy = &bodyError{fasthttp.StatusServiceUnavailable, textBusy}
	errSlow = &bodyError{fasthttp.StatusRequestTimeout, "request timeout"}
)

// share is for the body of one request; its client has been heard just now.
func (r *room) share(conn net.Conn) *share { return &share{room: r, conn: conn, last: time.Now()} }

// take makes room for n more bytes.
func (s *share) take(n int) error {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	switch {
	case s.gone:
		return errSlow
	case s.room.used+n > roomForBodies:
		s.room.clearLocked(s)
	}
	if s.room.used+n > roomForBodies {
		return errBusy
	}
	s.room.used += n
	s.size += n
	s.taken += n
	s.room.held[s] = struct{}{}
	return nil
}

// clearLocked ends the reading of bodies that no longer come, for one that does.
func (r *room) clearLocked(but *share) {
	now := time.Now()
	for s := range r.held {
		if s != but && s.conn != nil && now.Sub(s.last) >= r.pause {
			s.gone = true
			_ = s.conn.SetReadDeadline(now)
			s.leaveLocked()
		}
	}
}

// hear notes that the client has sent n bytes.
func (s *share) hear(n int) {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	if s.heard += n; s.heard >= bodyStep {
		s.heard, s.last = 0, time.Now()
	}
}

// read says that all of the body is there: the client is not waited for any more.
func (s *share) read() {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	s.conn = nil
}

// leave gives back the room, once or more often.
func (s *share) leave() {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	s.leaveLocked()
}

func (s *share) leaveLocked() {
	s.room.used -= s.size
	s.size = 0
	delete(s.room.held, s)
}

// store holds what is kept of one body.
type store struct {
	share *share
	bytes []byte
}

func (s *store) add(c byte) error {
	if len(s.bytes) == cap(s.bytes) {
		if err := s.grow(); err != nil {
			return err
		}
	}
	s.bytes = append(s.bytes, c)
	return nil
}

// grow doubles the space, to a power of two.
func (s *store) grow() error {
	size := max(512, 2*cap(s.bytes))
	if size > tinyBody {
		if err := s.share.take(size - cap(s.bytes)); err != nil {
			return err
		}
	}
	s.bytes = append(make([]byte, 0, size), s.bytes...)
	return nil
}
