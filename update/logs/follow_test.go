package logs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/update/view"
)

// containers are the containers of a test. Their output is read as from an engine.
type containers struct {
	mu      sync.Mutex
	written map[string][]Output
	ends    map[string]chan struct{} // closed when the container stops
	since   map[string][]time.Time   // of each reading
	fail    error                    // of the next reading
	lossy   bool                     // a reading that ends because the container stops lacks the last lines
}

func (c *containers) start(id string) view.LogSource {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ends == nil {
		c.ends, c.written, c.since = map[string]chan struct{}{}, map[string][]Output{}, map[string][]time.Time{}
	}
	c.ends[id] = make(chan struct{})
	return view.LogSource{ID: id, ServiceID: 5, ServiceName: "s" + id, StartedAt: time.Now(), Running: true}
}

func (c *containers) stop(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.ends[id])
}

func (c *containers) write(id, text string, stderr bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written[id] = append(c.written[id], Output{Text: []byte(text), At: time.Now(), Stderr: stderr})
}

// readings is how often a container was read.
func (c *containers) readings(id string) int {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.since[id])
}

// read looks for new lines each millisecond.
func (c *containers) read(ctx context.Context, id string, _ bool, since time.Time, fn func(Output)) error {
	c.mu.Lock()
	c.since[id] = append(c.since[id], since)
	fail, end, lossy := c.fail, c.ends[id], c.lossy
	c.fail = nil
	c.mu.Unlock()
	for n := 0; ; {
		c.mu.Lock()
		news := c.written[id][n:]
		n += len(news)
		c.mu.Unlock()
		for _, o := range news {
			if !o.At.Before(since) {
				fn(o)
			}
		}
		if fail != nil {
			return fail
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end:
			c.mu.Lock()
			rest := c.written[id][n:]
			c.mu.Unlock()
			if lossy {
				return nil
			}
			for _, o := range rest {
				fn(o)
			}
			return nil
		case <-time.After(time.Millisecond):
		}
	}
}

// run is one run of the agent.
type run struct {
	*Pipe
	stop func()
}

type bench struct {
	containers
	cloud *cloud
	docs  *documents
	file  string
}

func newBench(t *testing.T) *bench {
	return &bench{
		cloud: &cloud{identity: "me", start: time.Now()},
		docs:  &documents{text: []byte("{}")},
		file:  filepath.Join(t.TempDir(), "run", "logs.json"),
	}
}

func (b *bench) run(t *testing.T, sources ...view.LogSource) run {
	r := launch(t, b.options())
	r.Attach(sources)
	return r
}

func (b *bench) options() Options {
	return Options{
		Mode:     ToCloud,
		Read:     b.read,
		Identity: b.cloud.who,
		Open:     b.cloud.open,
		Docs:     b.docs,
		Volatile: b.file,
		Log:      zerolog.Nop(),
	}
}

// launch runs a pipe with these options.
func launch(t *testing.T, o Options) run {
	p := New(o)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()
	synctest.Wait()
	return run{p, func() { stop(); <-done }}
}

// all are the messages of all streams so far.
func (b *bench) all(t *testing.T) (got []string) {
	synctest.Wait()
	for _, m := range b.cloud.all() {
		got = append(got, m.messages(t)...)
	}
	return got
}

func (b *bench) want(t *testing.T, want ...string) {
	t.Helper()
	if got := b.all(t); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

const through = gracePeriod + time.Second // until lines have arrived

// cloud.md 75: what is read, what is not.
func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		old := b.start("old")
		b.write("old", "before the agent", false)
		time.Sleep(time.Hour)
		none, errs := b.start("none"), b.start("errs")
		none.Level, errs.Level = "none", "err"
		r := b.run(t, old, none, errs)
		for _, id := range []string{"old", "none", "errs"} {
			b.write(id, id+" out", false)
			time.Sleep(10 * time.Millisecond)
			b.write(id, id+" err", true)
			time.Sleep(10 * time.Millisecond)
		}
		r.Attach([]view.LogSource{old, none, errs}) // again: no second reading
		time.Sleep(through)
		b.want(t, "old out", "old err", "errs err")
		if b.readings("none") != 0 || b.readings("old") != 1 {
			t.Errorf("read %d times and %d times", b.readings("none"), b.readings("old"))
		}
		r.stop()
	})
}

// cloud.md 76: after a stop, a kill, and a power cut, which loses the file in memory.
func TestResume(t *testing.T) {
	f := func(name string, cut func(b *bench, r run, lose func()), want ...string) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				src := b.start("a")
				r := b.run(t, src)
				b.write("a", "one", false)
				b.write("a", "one as well", false) // at the same time
				time.Sleep(through + 2*saveAfter)
				durable := b.docs.get()
				b.write("a", "two", true)
				time.Sleep(2 * saveAfter)
				cut(b, r, func() { b.docs.set(durable); os.Remove(b.file) })
				b.write("a", "three", false)
				time.Sleep(time.Hour)
				again := b.run(t, src)
				b.write("a", "four", true)
				time.Sleep(through)
				b.want(t, want...)
				again.stop()
			})
		})
	}
	f("stop", func(_ *bench, r run, _ func()) { r.stop() }, "one", "one as well", "two", "three", "four")
	f("kill", func(b *bench, r run, _ func()) {
		kept, _ := os.ReadFile(b.file)
		durable := b.docs.get()
		r.stop() // a kill would not save what this saves
		os.WriteFile(b.file, kept, 0o600)
		b.docs.set(durable)
	}, "one", "one as well", "two", "three", "four")
	f("power cut", func(_ *bench, r run, lose func()) { r.stop(); lose() }, "one", "one as well", "two", "two", "three", "four")
}

// Lines that were read but not sent before the agent stopped are sent by its next run.
func TestUnsentLinesAreReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		src := b.start("a")
		b.cloud.turn(errors.New("no"))
		r := b.run(t, src)
		for i := range 5 {
			b.write("a", fmt.Sprint(i), i%2 == 0)
			time.Sleep(time.Minute)
		}
		r.stop()
		b.cloud.turn(nil)
		again := b.run(t, src)
		time.Sleep(through)
		b.want(t, "0", "1", "2", "3", "4")
		again.stop()
	})
}

// A backlog that is larger than the queue arrives completely.
func TestBacklogWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		src := b.start("a")
		r := b.run(t, src)
		time.Sleep(through)
		r.stop()
		const n = 20000
		for i := range n {
			b.write("a", fmt.Sprintf("line %d", i), false)
		}
		time.Sleep(time.Millisecond)
		again := b.run(t, src)
		time.Sleep(through)
		if got := b.all(t); len(got) != n || got[n-1] != fmt.Sprintf("line %d", n-1) {
			t.Errorf("%d lines came", len(got))
		}
		again.stop()
	})
}

// Lines that a container writes while a slow cloud still receives the backlog arrive as well.
func TestLinesBehindABacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		src := b.start("a")
		r := b.run(t, src)
		time.Sleep(through)
		r.stop()
		const past, live = 10000, 6000
		for i := range past {
			b.write("a", fmt.Sprintf("line %d", i), false)
		}
		time.Sleep(time.Millisecond)
		b.cloud.slow = 100 * time.Millisecond
		again := b.run(t, src)
		for i := range live {
			time.Sleep(5 * time.Millisecond)
			b.write("a", fmt.Sprintf("line %d", past+i), false)
		}
		time.Sleep(through)
		if got := b.all(t); len(got) != past+live || got[len(got)-1] != fmt.Sprintf("line %d", past+live-1) {
			t.Errorf("%d lines came, the last one is %q", len(got), got[len(got)-1])
		}
		again.stop()
	})
}

// A container that restarts is read again, also the lines before the agent knows of the restart.
func TestRestartedContainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		src := b.start("a")
		r := b.run(t, src)
		b.write("a", "first run", false)
		time.Sleep(time.Minute)
		b.write("a", "last words", false)
		b.stop("a")
		time.Sleep(time.Second)
		dead := src
		dead.Running = false
		r.Attach([]view.LogSource{dead})
		time.Sleep(time.Minute)
		anew := b.start("a")
		b.write("a", "second run", false)
		time.Sleep(time.Second)
		r.Attach([]view.LogSource{anew})
		time.Sleep(through)
		b.want(t, "first run", "last words", "second run")
		b.write("a", "gone", false)
		b.stop("a")
		time.Sleep(time.Second) // its stream ends before the agent knows why
		r.Attach([]view.LogSource{})
		time.Sleep(time.Minute)
		b.want(t, "first run", "last words", "second run", "gone")
		if n := len(r.follower.tracks); n != 0 {
			t.Errorf("%d containers are still known", n)
		}
		r.stop()
	})
}

// A stream that ends because the container stopped may lack its last lines. They arrive all the same, and none arrives
// twice.
func TestLastLinesOfAContainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.lossy = true
		src := b.start("a")
		r := b.run(t, src)
		b.write("a", "first", false)
		time.Sleep(time.Second)
		b.write("a", "last", false)
		b.write("a", "words", true)
		b.stop("a")
		src.Running = false
		r.Attach([]view.LogSource{src})
		time.Sleep(through)
		b.want(t, "first", "last", "words")
		once := b.start("once")
		r.Attach([]view.LogSource{src, once})
		synctest.Wait()
		b.write("once", "lived for a moment", false)
		b.stop("once")
		once.Running = false
		r.Attach([]view.LogSource{src, once})
		time.Sleep(through)
		b.want(t, "first", "last", "words", "lived for a moment")
		if n := b.readings("once"); n > 3 {
			t.Errorf("read %d times", n)
		}
		r.stop()
	})
}

// A line in pieces that is read again is not passed on again.
func TestPiecesReadAgain(t *testing.T) {
	var got []string
	at := time.Unix(5, 0)
	f := newFollower(Options{}, nil, func(_ context.Context, l *view.LogLine, _ mark) bool {
		got = append(got, l.Message)
		return true
	})
	tr, src := &track{local: true}, view.LogSource{ID: "a"}
	for range 2 {
		for _, o := range []Output{
			{Text: []byte("one"), At: at},
			{Text: []byte("two"), Rest: true},
			{Text: []byte("three"), At: at.Add(1)},
		} {
			f.line(t.Context(), tr, src, o)
		}
		tr.readBefore, tr.repeated = tr.read, [2]int{}
	}
	if !slices.Equal(got, []string{"one", "two", "three"}) {
		t.Errorf("got %q", got)
	}
}

// A broken stream is opened again at its position, with a back-off.
func TestBrokenReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		src := b.start("a")
		b.write("a", "one", false)
		b.fail = errors.New("cut")
		r := b.run(t, src)
		time.Sleep(4 * time.Second)
		if n := b.readings("a"); n != 1 {
			t.Errorf("read %d times", n)
		}
		b.write("a", "two", false)
		time.Sleep(through)
		b.want(t, "one", "two")
		if n := b.readings("a"); n != 2 {
			t.Errorf("read %d times", n)
		}
		r.stop()
	})
}

// Output that the engine cannot read is asked for only once for each start of the container.
func TestUnreadableOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		src := b.start("a")
		b.fail = ErrUnreadable
		r := b.run(t, src)
		time.Sleep(time.Hour)
		if n := b.readings("a"); n != 1 {
			t.Errorf("read %d times", n)
		}
		src.StartedAt = time.Now()
		b.fail = ErrUnreadable
		r.Attach([]view.LogSource{src})
		time.Sleep(time.Hour)
		if n := b.readings("a"); n != 2 {
			t.Errorf("read %d times in two runs", n)
		}
		r.stop()
	})
}

// After a boot with a clock that is behind, lines are read from the start of the container: rather twice than not at all.
func TestClockThatWentBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(Options{}, nil, nil)
		boot := time.Now()
		f.baseline = boot
		tr := &track{started: boot.Add(-time.Hour), read: [2]position{{At: boot.Add(time.Hour).UnixNano(), N: 1}}}
		tr.src.StartedAt = boot
		if since := f.since(tr); !since.Equal(boot.Add(-maxDisorder)) || tr.read[0].At != 0 {
			t.Errorf("read from %v on, boot was at %v", since, boot)
		}
	})
}
