package logs

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/update/view"
)

// cloud opens streams into memory and keeps them.
type cloud struct {
	identity string
	refuse   error // of new streams
	slow     time.Duration
	streams  []*memory
	opened   []time.Duration // since the start, each attempt
	start    time.Time
	mu       sync.Mutex
}

func (c *cloud) open(context.Context) (Stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened = append(c.opened, time.Since(c.start))
	if c.refuse != nil {
		return nil, c.refuse
	}
	m := &memory{as: c.identity, slow: c.slow, ended: make(chan struct{}), gate: make(chan struct{})}
	close(m.gate)
	c.streams = append(c.streams, m)
	return m, nil
}

// all are the streams so far. It waits until all goroutines wait.
func (c *cloud) all() []*memory {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.streams)
}

func (c *cloud) stream(i int) *memory { return c.all()[i] }

func (c *cloud) count() int { return len(c.all()) }

// attempts are the times of all attempts to open one.
func (c *cloud) attempts() []time.Duration {
	c.all()
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.opened)
}

// turn makes the cloud refuse streams, or accept them again.
func (c *cloud) turn(refuse error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuse = refuse
}

func (c *cloud) who() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.identity
}

func (c *cloud) become(identity string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.identity = identity
}

// memory is a stream into memory.
type memory struct {
	as       string
	mu       sync.Mutex
	body     bytes.Buffer
	writes   int
	closed   bool
	finished bool
	ended    chan struct{}
	err      error
	gate     chan struct{} // writes wait until it is closed
	slow     time.Duration // that a write takes
}

func (m *memory) Write(p []byte) (int, error) {
	m.mu.Lock()
	gate := m.gate
	m.mu.Unlock()
	<-gate
	time.Sleep(m.slow)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil || m.closed {
		return 0, errors.New("broken")
	}
	if len(p) > 0 {
		m.writes++
	}
	return m.body.Write(p)
}

func (m *memory) Finish() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.finished = true
}

// whole reports whether the body and the gzip stream in it are complete.
func (m *memory) whole() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	z, err := gzip.NewReader(bytes.NewReader(m.body.Bytes()))
	if err == nil {
		_, err = io.Copy(io.Discard, z)
	}
	return m.finished && err == nil
}

func (m *memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

func (m *memory) isClosed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed
}

// block makes writes wait until the returned gate is closed.
func (m *memory) block() chan struct{} {
	gate := make(chan struct{})
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gate = gate
	return gate
}

func (m *memory) Ended() <-chan struct{} { return m.ended }

func (m *memory) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// end makes the cloud end the stream with an error.
func (m *memory) end() {
	m.mu.Lock()
	m.err = errors.New("ended")
	m.mu.Unlock()
	close(m.ended)
}

// timeOut makes the cloud end the stream as it does with every one.
func (m *memory) timeOut() { close(m.ended) }

// messages are the messages of the lines that arrived.
func (m *memory) messages(t *testing.T) (got []string) {
	t.Helper()
	for _, line := range m.lines(t) {
		text, _ := line["message"].(string)
		got = append(got, text)
	}
	return got
}

// lines are the lines that arrived.
func (m *memory) lines(t *testing.T) (got []map[string]any) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.body.Len() == 0 {
		return nil
	}
	r, err := gzip.NewReader(bytes.NewReader(m.body.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil && err != io.ErrUnexpectedEOF {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var l map[string]any
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		got = append(got, l)
	}
	return got
}

// documents are kept in memory.
type documents struct {
	mu   sync.Mutex
	text []byte
}

func (d *documents) get() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text
}

func (d *documents) set(text []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.text = text
}

func (d *documents) Load(_ string, _ int, v any) (bool, error) {
	return true, json.Unmarshal(d.get(), v)
}

func (d *documents) Save(_ string, _ int, v any) error {
	text, err := json.Marshal(v)
	d.set(text)
	return err
}

// piped runs a test with a pipe into a cloud, with a fake clock.
func piped(t *testing.T, f func(t *testing.T, p *Pipe, c *cloud)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{identity: "me", start: time.Now()}
		p := New(Options{Mode: ToCloud, Identity: c.who, Open: c.open, Docs: &documents{text: []byte("{}")}, Log: zerolog.Nop()})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); p.Run(ctx) }()
		f(t, p, c)
		stop()
		<-done
	})
}

func wantMessages(t *testing.T, m *memory, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := m.messages(t); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// cloud.md 69: nothing is sent for five seconds, then all in order, flushed at most each 100 ms.
func TestGraceAndFlush(t *testing.T) {
	piped(t, func(t *testing.T, p *Pipe, c *cloud) {
		p.Say("one", false)
		synctest.Wait()
		if c.count() != 1 || c.attempts()[0] != 0 {
			t.Fatalf("opened %v", c.attempts())
		}
		m := c.stream(0)
		time.Sleep(4 * time.Second)
		p.Say("two", true)
		time.Sleep(999 * time.Millisecond)
		wantMessages(t, m)
		time.Sleep(time.Millisecond + flushEach)
		wantMessages(t, m, "one", "two")
		writes := m.writes
		for i := range 9 { // within one flush
			time.Sleep(10 * time.Millisecond)
			p.Say(fmt.Sprint(i), false)
		}
		time.Sleep(10 * time.Millisecond)
		wantMessages(t, m, "one", "two")
		time.Sleep(flushEach)
		wantMessages(t, m, "one", "two", "0", "1", "2", "3", "4", "5", "6", "7", "8")
		if n := m.writes - writes; n > 2 {
			t.Errorf("%d writes for one flush", n)
		}
	})
}

// cloud.md 70: refusals lose nothing, and attempts come after 5, 10, 20 s and so on up to 300.
func TestBackOffAfterRefusals(t *testing.T) {
	piped(t, func(t *testing.T, p *Pipe, c *cloud) {
		c.turn(errors.New("no"))
		p.Say("kept", false)
		time.Sleep(2500 * time.Second)
		var gaps []time.Duration
		for i := 1; i < len(c.attempts()); i++ {
			gaps = append(gaps, (c.attempts()[i]-c.attempts()[i-1])/time.Second)
		}
		if want := []time.Duration{5, 10, 20, 40, 80, 160, 300, 300, 300, 300, 300, 300, 300}; !slices.Equal(gaps, want) {
			t.Errorf("gaps %d, want %d", gaps, want)
		}
		c.turn(nil)
		time.Sleep(300*time.Second + gracePeriod + flushEach)
		wantMessages(t, c.stream(0), "kept")
		time.Sleep(time.Second)
		c.stream(0).end() // after a working stream the back-off starts again
		p.Say("next", false)
		time.Sleep(2*gracePeriod + flushEach)
		wantMessages(t, c.stream(1), "next")
	})
}

// cloud.md 70: no line is lost if the cloud answers within the grace period.
func TestAnswerWithinGrace(t *testing.T) {
	piped(t, func(t *testing.T, p *Pipe, c *cloud) {
		p.Say("kept", false)
		time.Sleep(time.Second)
		c.stream(0).end()
		synctest.Wait()
		if c.stream(0).body.Len() != 0 || !c.stream(0).isClosed() {
			t.Error("something was sent, or the stream was not closed")
		}
		time.Sleep(4*time.Second + gracePeriod + flushEach)
		wantMessages(t, c.stream(1), "kept")
	})
}

// cloud.md 71: after a broken connection a stream is opened again.
func TestCutStream(t *testing.T) {
	piped(t, func(t *testing.T, p *Pipe, c *cloud) {
		p.Say("one", false)
		time.Sleep(20 * time.Second)
		c.stream(0).end()
		time.Sleep(time.Second)
		if c.count() != 1 {
			t.Fatal("a stream is opened though there is nothing to send")
		}
		p.Say("two", false)
		time.Sleep(gracePeriod + flushEach)
		wantMessages(t, c.stream(1), "two")
	})
}

// cloud.md 71: lines that could not be written to a stream go into the next one, in order.
func TestStreamThatBreaksOffInAWrite(t *testing.T) {
	piped(t, func(t *testing.T, p *Pipe, c *cloud) {
		p.Say("one", false)
		time.Sleep(gracePeriod + time.Second)
		m := c.stream(0)
		gate := m.block()
		p.Say("two", false)
		time.Sleep(time.Second)
		p.Say("three", false)
		m.end()
		close(gate)
		time.Sleep(2*gracePeriod + time.Second)
		wantMessages(t, c.stream(1), "two", "three")
		if p.queue.size != 0 {
			t.Errorf("%d bytes are still counted", p.queue.size)
		}
	})
}

// cloud.md 72: after a minute without a line the stream is closed; the next line opens one.
func TestSilenceClosesTheStream(t *testing.T) {
	piped(t, func(t *testing.T, p *Pipe, c *cloud) {
		p.Say("one", false)
		time.Sleep(gracePeriod + 40*time.Second)
		p.Say("two", false)
		time.Sleep(idleTimeout)
		synctest.Wait()
		if c.stream(0).isClosed() {
			t.Fatal("closed too early")
		}
		time.Sleep(2 * flushEach)
		synctest.Wait()
		if !c.stream(0).isClosed() || !c.stream(0).whole() || c.count() != 1 {
			t.Fatalf("closed %v, whole %v, %d streams", c.stream(0).isClosed(), c.stream(0).whole(), c.count())
		}
		p.Say("three", false)
		time.Sleep(gracePeriod + flushEach)
		wantMessages(t, c.stream(0), "one", "two")
		wantMessages(t, c.stream(1), "three")
	})
}

// cloud.md 73: a full queue drops new lines, and one line says how many.
func TestFloodWhileBlocked(t *testing.T) {
	piped(t, func(t *testing.T, p *Pipe, c *cloud) {
		p.Say("first", false)
		time.Sleep(gracePeriod + time.Second)
		m := c.stream(0)
		gate := m.block() // the cloud stops reading
		p.Say("second", false)
		time.Sleep(time.Second)
		text := strings.Repeat("x", 1000)
		size := len(appendLine(nil, &view.LogLine{Message: text + "0000", Timestamp: time.Now().UnixMilli(), IsSystem: true}, false))
		const n = 1000
		for i := range n {
			p.Say(fmt.Sprintf("%s%04d", text, i), false)
		}
		if q := p.queue.size; q > maxQueue || q < maxQueue-2*size {
			t.Errorf("%d bytes wait", q)
		}
		close(gate)
		time.Sleep(time.Second)
		synctest.Wait()
		got := m.messages(t)[2:]
		kept := len(got) - 1
		if want := maxQueue / size; kept > want || kept < want-1 {
			t.Errorf("%d lines kept, want %d", kept, want)
		}
		for i, line := range got[:kept] {
			if line != fmt.Sprintf("%s%04d", text, i) {
				t.Fatalf("line %d is %.20q", i, line[len(line)-4:])
			}
		}
		if want := fmt.Sprintf("Warning: Suppressed %d message(s) due to high load", n-kept); got[kept] != want {
			t.Errorf("got %q, want %q", got[kept], want)
		}
		p.Say("last", false)
		time.Sleep(time.Second)
		synctest.Wait()
		if after := m.messages(t)[2+len(got):]; !slices.Equal(after, []string{"last"}) {
			t.Errorf("after it: %q", after)
		}
		if p.queue.size != 0 {
			t.Errorf("%d bytes are still counted", p.queue.size)
		}
	})
}

// cloud.md 78: without an identity no stream is opened and lines wait. A new identity is used at once.
func TestIdentity(t *testing.T) {
	piped(t, func(t *testing.T, p *Pipe, c *cloud) {
		c.become("")
		p.Say("early", false)
		time.Sleep(time.Hour)
		if len(c.attempts()) != 0 {
			t.Fatal("a stream was opened without an identity")
		}
		c.become("one")
		p.Check()
		time.Sleep(gracePeriod + flushEach)
		wantMessages(t, c.stream(0), "early")
		c.become("two")
		p.Check()
		p.Say("late", false)
		time.Sleep(gracePeriod + flushEach)
		wantMessages(t, c.stream(0), "early")
		wantMessages(t, c.stream(1), "late")
		if !c.stream(0).isClosed() || c.stream(1).as != "two" {
			t.Errorf("closed %v, as %s", c.stream(0).isClosed(), c.stream(1).as)
		}
	})
}

// host.md 8: the cloud ends each stream after some minutes. This is no failure: the next line opens another one at once, and
// the agent's log does not mention it. If it happens before a line is sent, there is a back-off.
func TestCloudEndsTheStream(t *testing.T) {
	var log bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{identity: "me", start: time.Now()}
		p := New(Options{Mode: ToCloud, Identity: c.who, Open: c.open, Docs: &documents{text: []byte("{}")}, Log: zerolog.New(&log)})
		ctx, stop := context.WithCancel(t.Context())
		go p.Run(ctx)
		p.Say("one", false)
		time.Sleep(gracePeriod + time.Second)
		c.stream(0).timeOut()
		synctest.Wait()
		if !c.stream(0).isClosed() {
			t.Error("the stream stays open")
		}
		p.Say("two", false)
		time.Sleep(gracePeriod + flushEach)
		wantMessages(t, c.stream(1), "two")
		if gap := c.attempts()[1] - c.attempts()[0]; gap != gracePeriod+time.Second || log.Len() > 0 {
			t.Errorf("opened again after %v, log %q", gap, log.String())
		}
		gate := c.stream(1).block() // while a line is written
		p.Say("three", false)
		time.Sleep(time.Second)
		c.stream(1).timeOut()
		c.stream(1).mu.Lock()
		c.stream(1).closed = true
		c.stream(1).mu.Unlock()
		close(gate)
		time.Sleep(gracePeriod + time.Second)
		wantMessages(t, c.stream(2), "three")
		if log.Len() > 0 {
			t.Errorf("log %q", log.String())
		}
		c.stream(2).timeOut()
		synctest.Wait()
		before := c.count()
		p.Say("four", false)
		synctest.Wait()
		c.stream(before).timeOut()
		time.Sleep(4 * time.Second)
		if n := c.count(); n != before+1 || log.Len() == 0 {
			t.Errorf("%d streams at once, log %q", n-before, log.String())
		}
		time.Sleep(time.Second + gracePeriod + flushEach)
		wantMessages(t, c.stream(before+1), "four")
		stop()
	})
}

// docs/spec/cloud.md 5.3: a busy stream is completed before the cloud ends it, and no line is lost.
func TestBusyStreamEndsInTime(t *testing.T) {
	piped(t, func(t *testing.T, p *Pipe, c *cloud) {
		const lines = 60
		for i := range lines {
			p.Say(strconv.Itoa(i), false)
			time.Sleep(10 * time.Second)
		}
		var got []string
		for i, m := range c.all() {
			if i < c.count()-1 && !m.whole() {
				t.Errorf("stream %d did not come to its end", i)
			}
			got = append(got, m.messages(t)...)
		}
		if len(got) != lines || c.count() != 3 {
			t.Errorf("%d lines in %d streams", len(got), c.count())
		}
	})
}

// cloud.md 77, 5.3: when the log is switched off, the cloud still receives the lines before that and the one about it, but
// none that follow until the log is switched on again.
func TestModes(t *testing.T) {
	for _, open := range []bool{true, false} {
		piped(t, func(t *testing.T, p *Pipe, c *cloud) {
			if open {
				p.Say("one", false)
				time.Sleep(gracePeriod + flushEach)
				synctest.Wait()
			}
			p.Say("switch", false)
			p.SetMode(Nowhere)
			p.Say("dropped", false)
			time.Sleep(time.Minute)
			p.SetMode(ToCloud)
			p.Say("two", false)
			time.Sleep(gracePeriod + flushEach)
			if open {
				wantMessages(t, c.stream(0), "one", "switch")
			} else {
				wantMessages(t, c.stream(0), "switch")
			}
			wantMessages(t, c.stream(1), "two")
			if !c.stream(0).isClosed() || !c.stream(0).whole() {
				t.Error("the stream stays open, or has no end")
			}
		})
	}
}

func TestEndSendsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{identity: "me", start: time.Now()}
		p := New(Options{Mode: ToCloud, Identity: c.who, Open: c.open, Docs: &documents{text: []byte("{}")}, Log: zerolog.Nop()})
		ctx, stop := context.WithCancel(t.Context())
		go p.Run(ctx)
		p.Say("one", false)
		time.Sleep(time.Minute)
		p.Say("two", false)
		stop()
		wantMessages(t, c.stream(0), "one", "two")
	})
}
