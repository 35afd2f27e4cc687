package logs

import (
	"cmp"
	"context"
	"errors"
	"time"
)

// Times of a stream (docs/spec/cloud.md 5.2).
const (
	retryMin    = 5 * time.Second
	retryMax    = 300 * time.Second
	gracePeriod = 5 * time.Second        // nothing is sent yet, so that no line is lost if the cloud refuses the stream
	flushEach   = 100 * time.Millisecond // from the first line until it is sent
	idleTimeout = 60 * time.Second       // without a line for so long, the stream is closed
	maxLifetime = 4 * time.Minute        // the stream is ended before the cloud ends it in the middle of a line
)

// sender opens the streams to the cloud, one at a time.
type sender struct {
	pipe     *Pipe
	queue    *queue
	last     time.Time // when the last attempt began
	failures int       // since the last stream that outlasted its grace period
	identity string    // of the last attempt
}

// send sends the queue to the cloud until ctx ends.
func (p *Pipe) send(ctx context.Context) {
	s := &sender{pipe: p, queue: p.queue}
	for s.waitForLines(ctx) {
		s.last = time.Now()
		if err := s.session(ctx); err != nil && ctx.Err() == nil {
			s.failures++
			p.o.Log.Info().Err(err).Int("failures", s.failures).Msg("log stream to the cloud broke off, will retry")
		}
		p.queue.shrink()
	}
}

// waitForLines waits until there are lines and an identity, and it is time for the next attempt. It returns false when ctx
// has ended.
func (s *sender) waitForLines(ctx context.Context) bool {
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

// retryAfter is the time from one attempt to the next: 5 s after one failure, 10 s after two, and so on
// (docs/spec/cloud.md 10: 70).
func retryAfter(failures int) time.Duration {
	if failures == 0 {
		return 0
	}
	return min(retryMin<<min(failures-1, 10), retryMax)
}

// identity is the identity to send lines with; empty if lines are not sent now.
func (p *Pipe) identity() string {
	p.mu.Lock()
	mode := p.mode
	p.mu.Unlock()
	if mode == ToListeners || mode == Nowhere && p.queue.empty() {
		return ""
	}
	return p.o.Identity()
}

// isCurrent reports whether the open stream is still the one to send lines to.
func (s *sender) isCurrent() bool { return s.pipe.identity() == s.identity }

// session opens one stream and sends lines. It returns nil if the stream was closed without a failure.
func (s *sender) session(ctx context.Context) error {
	stream, err := s.pipe.o.Open(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	f := &flow{sender: s, stream: stream, z: newDeflater()}
	ok, err := s.waitGracePeriod(ctx, stream)
	if ok {
		s.failures = 0
		err = f.run(ctx)
	}
	switch {
	case f.hasEnded() && ok: // the answer says more than the error of a write
		err = stream.Err()
	case !f.hasEnded() && err == nil:
		f.finish()
	}
	return err
}

var errTooEarly = errors.New("the cloud ended the log stream before a line was sent")

// waitGracePeriod returns false if the stream ended or is no longer the current one.
func (s *sender) waitGracePeriod(ctx context.Context, stream Stream) (bool, error) {
	timer := time.NewTimer(gracePeriod)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return true, nil
		case <-ctx.Done():
			return false, nil
		case <-stream.Ended():
			return false, cmp.Or(stream.Err(), errTooEarly)
		case <-s.pipe.wake:
			if !s.isCurrent() {
				return false, nil
			}
		}
	}
}

// flow is an open stream after its grace period.
type flow struct {
	*sender
	stream Stream
	z      *deflater
	save   <-chan time.Time // fires when it is time to save the positions
}

// run sends lines until there are no new ones for a while, or the stream is too old.
func (f *flow) run(ctx context.Context) error {
	idle := time.NewTimer(idleTimeout)
	defer idle.Stop()
	defer func() { f.pipe.follower.save(false) }()
	for {
		if !f.queue.empty() {
			if err := f.sendAndFlush(ctx); err != nil {
				return err
			}
			if ctx.Err() != nil || !f.isCurrent() || time.Since(f.last) >= maxLifetime {
				return nil
			}
			idle.Reset(idleTimeout)
		}
		select {
		case <-ctx.Done(): // lines that are in the queue are still sent
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
		if ctx.Err() != nil && f.queue.empty() || !f.isCurrent() {
			return nil
		}
	}
}

// hasEnded reports whether the cloud ended the stream: lines that are written now would be lost.
func (f *flow) hasEnded() bool {
	select {
	case <-f.stream.Ended():
		return true
	default:
		return false
	}
}

// finish completes the body: a server refuses an incomplete one.
func (f *flow) finish() {
	f.z.finish()
	if _, err := f.stream.Write(f.z.take()); err == nil {
		f.stream.Finish()
	}
}

// sendAndFlush sends the lines that arrive until the next flush, and flushes. Full blocks are sent at once.
func (f *flow) sendAndFlush(ctx context.Context) error {
	timer := time.NewTimer(flushEach)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
		case <-f.stream.Ended():
			return f.stream.Err()
		case <-f.queue.full:
			if err := f.sendBlocks(true); err != nil {
				return err
			}
			continue
		}
		if err := f.sendBlocks(false); err != nil {
			return err
		}
		f.z.flush()
		_, err := f.stream.Write(f.z.take())
		return err
	}
}

// sendBlocks sends the blocks of the queue: the full ones, or all.
func (f *flow) sendBlocks(fullOnly bool) error {
	for f.isCurrent() && !f.hasEnded() {
		b := f.queue.take(fullOnly)
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
