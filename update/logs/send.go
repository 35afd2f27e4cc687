package logs

import (
	"cmp"
	"context"
	"errors"
	"time"
)

// Times of a stream (docs/spec/cloud.md 5.2).
const (
	retryFirst = 5 * time.Second
	retryMost  = 300 * time.Second
	grace      = 5 * time.Second        // nothing is sent, so that a refusal loses nothing
	flushEach  = 100 * time.Millisecond // from the first line on until it is sent
	silence    = 60 * time.Second       // without a line the stream is closed
	lifetime   = 4 * time.Minute        // then a busy stream is ended, before the cloud does it in the middle of a line
)

// sender is the life of the streams to the cloud, one after the other.
type sender struct {
	pipe     *Pipe
	queue    *queue
	last     time.Time // when the last attempt began
	failures int       // since the last stream that came through its grace
	identity string    // of the last attempt
}

// send moves the queue to the cloud until ctx ends.
func (p *Pipe) send(ctx context.Context) {
	s := &sender{pipe: p, queue: p.queue}
	for s.await(ctx) {
		s.last = time.Now()
		if err := s.session(ctx); err != nil && ctx.Err() == nil {
			s.failures++
			p.o.Log.Info().Err(err).Int("failures", s.failures).Msg("log stream broke off")
		}
		p.queue.shrink()
	}
}

// await waits until there are lines, an identity to send them with, and the time for the next
// attempt has come. It returns false at the end of ctx.
func (s *sender) await(ctx context.Context) bool {
	for {
		var due <-chan time.Time
		if identity := s.pipe.identity(); identity != "" && !s.queue.empty() {
			if identity != s.identity {
				s.identity, s.failures, s.last = identity, 0, time.Time{}
			}
			wait := time.Until(s.last.Add(retryAfter(s.failures)))
			if wait <= 0 {
				return ctx.Err() == nil
			}
			timer := time.NewTimer(wait)
			defer timer.Stop()
			due = timer.C
		}
		select {
		case <-ctx.Done():
			return false
		case <-s.pipe.wake:
		case <-s.queue.some:
		case <-due:
		}
	}
}

// retryAfter is the time between the beginnings of two attempts: 5 s after one failure, 10 s after
// two, and so on (docs/spec/cloud.md 10: 70).
func retryAfter(failures int) time.Duration {
	if failures == 0 {
		return 0
	}
	return min(retryFirst<<min(failures-1, 10), retryMost)
}

// identity is what lines are sent with now, empty when they are not sent.
func (p *Pipe) identity() string {
	p.mu.Lock()
	mode := p.mode
	p.mu.Unlock()
	if mode == ToListeners || mode == Nowhere && p.queue.empty() {
		return ""
	}
	return p.o.Identity()
}

// stays tells whether the stream that is open is still the right one.
func (s *sender) stays() bool { return s.pipe.identity() == s.identity }

// session is one stream. It returns nil when it is closed without a failure.
func (s *sender) session(ctx context.Context) error {
	stream, err := s.pipe.o.Open(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	f := &flow{sender: s, stream: stream, z: newDeflater()}
	ok, err := s.linger(ctx, stream, grace)
	if ok {
		s.failures = 0
		err = f.run(ctx)
	}
	switch {
	case f.over() && ok: // the answer says more than a write that failed meanwhile
		err = stream.Err()
	case !f.over() && err == nil:
		f.finish()
	}
	return err
}

// errEarly says that a stream ended, for whatever reason, before it could be of use.
var errEarly = errors.New("the cloud ended the log stream at once")

// linger waits. It returns false when the stream ended meanwhile or is not the right one any more.
func (s *sender) linger(ctx context.Context, stream Stream, d time.Duration) (bool, error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return true, nil
		case <-ctx.Done():
			return false, nil
		case <-stream.Ended():
			return false, cmp.Or(stream.Err(), errEarly)
		case <-s.pipe.wake:
			if !s.stays() {
				return false, nil
			}
		}
	}
}

// flow is a stream through which lines run.
type flow struct {
	*sender
	stream Stream
	z      *deflater
	save   <-chan time.Time // fires when places are to be saved
}

// run sends lines until there are none for a while.
func (f *flow) run(ctx context.Context) error {
	idle := time.NewTimer(silence)
	defer idle.Stop()
	defer func() { f.pipe.follower.save(false) }()
	for {
		if !f.queue.empty() {
			if err := f.burst(ctx); err != nil {
				return err
			}
			if ctx.Err() != nil || !f.stays() || time.Since(f.last) >= lifetime {
				return nil
			}
			idle.Reset(silence)
		}
		select {
		case <-ctx.Done(): // what came meanwhile is sent
		case <-idle.C:
			return nil
		case <-f.stream.Ended():
			return f.stream.Err()
		case <-f.save:
			f.save = nil
			f.pipe.follower.save(false)
		case <-f.queue.some:
		case <-f.pipe.wake:
		}
		if ctx.Err() != nil && f.queue.empty() || !f.stays() {
			return nil
		}
	}
}

// over tells whether the cloud ended the stream: what is written to it is lost.
func (f *flow) over() bool {
	select {
	case <-f.stream.Ended():
		return true
	default:
		return false
	}
}

// finish ends the body as a whole one: a server refuses a body that breaks off.
func (f *flow) finish() {
	f.z.finish()
	if _, err := f.stream.Write(f.z.take()); err == nil {
		f.stream.Finish()
	}
}

// burst sends what comes within the time until the next flush, and flushes. Whole blocks need not
// wait for it.
func (f *flow) burst(ctx context.Context) error {
	timer := time.NewTimer(flushEach)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
		case <-f.stream.Ended():
			return f.stream.Err()
		case <-f.queue.full:
			if err := f.drain(true); err != nil {
				return err
			}
			continue
		}
		if err := f.drain(false); err != nil {
			return err
		}
		f.z.flush()
		_, err := f.stream.Write(f.z.take())
		return err
	}
}

// drain sends the blocks of the queue: the whole ones, or all.
func (f *flow) drain(whole bool) error {
	for f.stays() && !f.over() {
		b := f.queue.take(whole)
		if b == nil {
			return nil
		}
		f.z.write(b.text)
		if _, err := f.stream.Write(f.z.take()); err != nil {
			f.queue.unsent(b)
			return err
		}
		f.pipe.follower.delivered(b.marks)
		f.queue.sent(b)
		if f.save == nil {
			f.save = time.After(saveAfter)
		}
	}
	return nil
}
