package logs

import (
	"context"
	"sync"
	"time"

	"resin-supervisor/update/view"
)

// follower reads the output of containers, one stream of the engine each.
type follower struct {
	o      Options
	wanted func() Mode // for whom lines are read now
	// emit passes a line on. With patience it waits for room; else a line without room is dropped. It
	// tells whether there is room for many more.
	emit func(patience context.Context, l *view.LogLine, m mark) (roomy bool)

	mu       sync.Mutex
	ctx      context.Context // ends all reading; nil before the start and after the end
	mode     Mode
	tracks   map[string]*track // by container
	sources  []view.LogSource
	hosted   time.Time // when a unit of the host started last, zero while none is known to have
	baseline time.Time // what is older belongs to nobody, or was delivered
	resumed  bool      // baseline is from the places of an earlier run
	saved    time.Time // when the durable places were saved, zero when there are none
	dirty    bool      // places changed since they were saved
	stale    bool      // the durable ones did
	readers  sync.WaitGroup
}

// track is what is known of the output of one container.
type track struct {
	src     view.LogSource
	started time.Time // the run of the container that the spots are about
	from    time.Time // from when on its output is wanted
	read    [2]spot   // newest line read, by output
	done    [2]spot   // newest line delivered
	skip    [2]spot   // read before the present stream, which repeats some lines
	again   [2]int    // lines of the time of skip that the present stream repeated
	dropped [2]bool   // the newest line of the present stream was read before

	opened time.Time // when the present stream was opened
	behind bool      // its lines are still those of the past

	local   bool // read for listeners
	reading bool
	changed chan struct{}      // holds a token: src is another one
	cancel  context.CancelFunc // ends its reader
}

// hostID is the units of the host among the containers.
const hostID = "host"

const (
	slack     = 2 * time.Second // by which the two outputs of a container may be out of order, at most
	lag       = 5 * time.Second // the age from which on a line is one of the past
	near      = time.Second     // the age below which the past is over
	doubt     = time.Minute     // how late a container may be known to have started anew
	lastWords = 10 * time.Second
	againMin  = 5 * time.Second // after a stream that broke off (docs/spec/cloud.md 5.6)
	againMax  = 15 * time.Minute
)

func newFollower(o Options, wanted func() Mode, emit func(context.Context, *view.LogLine, mark) bool) *follower {
	return &follower{o: o, wanted: wanted, emit: emit, tracks: make(map[string]*track)}
}

// start begins to read. Lines for the cloud go on where an earlier run of the agent was.
func (f *follower) start(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ctx, f.baseline, f.mode = ctx, time.Now(), f.wanted()
	if p := f.o.load(); f.mode == ToCloud && p.At > 0 {
		f.baseline, f.resumed, f.saved = time.Unix(0, p.At), true, time.Now()
		for id, at := range p.Containers {
			f.tracks[id] = &track{
				src: view.LogSource{ID: id}, started: time.Unix(0, at.Started), from: time.Unix(0, at.From),
				read: at.Outputs, done: at.Outputs, changed: make(chan struct{}, 1),
			}
		}
		if f.tracks[hostID] != nil && f.o.ReadHost != nil {
			f.hosted = time.Now() // units may have run meanwhile
		}
	}
	f.sync()
}

// stop waits for the readers, which the context has ended, and saves the places.
func (f *follower) stop() {
	f.mu.Lock()
	f.ctx = nil
	f.mu.Unlock()
	f.readers.Wait()
	f.save(true)
}

// review looks again at whom lines are read for. Who comes new gets what is written from now on.
func (f *follower) review() {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.wanted()
	if f.ctx == nil || f.mode == m {
		return
	}
	if f.mode == ToCloud {
		f.o.store(places{}, true)
	}
	for _, t := range f.tracks {
		if t.cancel != nil {
			t.cancel()
		}
	}
	f.mode, f.baseline, f.resumed, f.tracks = m, time.Now(), false, make(map[string]*track)
	f.dirty, f.stale, f.saved = false, false, time.Time{}
	f.sync()
}

// attach takes the containers that there are now.
func (f *follower) attach(sources []view.LogSource) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sources = sources
	f.sync()
}

// attachHost takes the units of the host, one of which started.
func (f *follower) attachHost() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hosted = time.Now()
	f.sync()
}

// sync begins to read what is not read yet. The caller holds mu.
func (f *follower) sync() {
	if f.ctx == nil || f.mode == Nowhere {
		return
	}
	if !f.hosted.IsZero() {
		f.see(view.LogSource{ID: hostID, StartedAt: f.hosted, Running: true})
	}
	if f.sources == nil {
		return
	}
	there := map[string]bool{hostID: true}
	for _, src := range f.sources {
		if src.Level != "none" && !src.StartedAt.IsZero() {
			there[src.ID] = true
			f.see(src)
		}
	}
	for id, t := range f.tracks {
		switch {
		case there[id]:
		case t.reading && !t.src.StartedAt.IsZero():
			t.src.Running = false // the stream ends by itself, but not for certain
			cancel := t.cancel
			time.AfterFunc(lastWords, cancel)
			t.src.StartedAt = time.Time{}
		case !t.reading:
			delete(f.tracks, id)
		}
	}
}

// see takes one container. The caller holds mu.
func (f *follower) see(src view.LogSource) {
	t := f.tracks[src.ID]
	if t == nil {
		t = &track{changed: make(chan struct{}, 1), local: f.mode == ToListeners}
		f.tracks[src.ID] = t
	}
	if t.src == src {
		return
	}
	anew := !t.src.StartedAt.Equal(src.StartedAt)
	t.src = src
	if t.reading {
		signal(t.changed)
	} else if anew {
		t.reading = true
		ctx, cancel := context.WithCancel(f.ctx)
		t.cancel = cancel
		f.readers.Go(func() {
			defer cancel()
			f.follow(ctx, t)
		})
	}
}

// since is from when on a container's output is to be read. The caller holds mu.
func (f *follower) since(t *track) time.Time {
	newest := max(t.read[0].At, t.read[1].At)
	begin := t.src.StartedAt.Add(-slack)
	anew := !t.started.Equal(t.src.StartedAt)
	if t.from.IsZero() {
		t.from = f.baseline
		if f.resumed && begin.Before(f.baseline) {
			t.from = begin
		}
	}
	switch {
	case newest == 0:
		return t.from
	case anew && t.src.ID != hostID && t.src.StartedAt.Add(doubt).Before(time.Unix(0, newest)): // the clock went back
		t.read = [2]spot{}
		return begin
	}
	return time.Unix(0, newest).Add(-slack)
}

// open prepares for a stream of the container's present run.
func (f *follower) open(t *track) (src view.LogSource, since time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	since = f.since(t)
	t.started, t.skip, t.again, t.opened = t.src.StartedAt, t.read, [2]int{}, time.Now()
	t.behind = true
	f.dirty, f.stale = true, true
	return t.src, since
}

// follow reads a container for as long as it runs.
//
// A stream that ends because the container stopped may lack what the container wrote last, which is all of
// it when it lived for a moment (seen with Docker 20.10). So the output is read until nothing new comes.
func (f *follower) follow(ctx context.Context, t *track) {
	wait, ended := againMin, false
	for {
		src, since := f.open(t)
		before := t.read
		err := f.stream(ctx, t, src, since, &wait)
		old := ended && t.read == before
		if ended = err == nil && src.ID != hostID && !old; ended {
			continue
		}
		if err != nil && ctx.Err() == nil && !old {
			f.o.Log.Info().Err(err).Str("service", src.ServiceName).Msg("output of a container or of the host broke off")
		}
		// What is over is read again only when it starts anew.
		over := err == nil && src.ID == hostID || err == ErrUnreadable
		if !f.resume(ctx, t, wait, over) {
			return
		}
		wait = min(2*wait, againMax)
	}
}

// stream reads what there is of a source up to its end. Each line sets wait back.
func (f *follower) stream(ctx context.Context, t *track, src view.LogSource, since time.Time, wait *time.Duration) error {
	take := func(o Output) {
		*wait = againMin
		f.line(ctx, t, src, o)
	}
	if src.ID != hostID {
		return f.o.Read(ctx, src.ID, src.Tty, since, take)
	}
	return f.o.ReadHost(ctx, t.read[0].Cursor, since, take)
}

// resume tells whether a container whose stream ended is to be read again, when it is time to.
func (f *follower) resume(ctx context.Context, t *track, wait time.Duration, over bool) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for due := false; ; {
		f.mu.Lock()
		anew := !t.src.StartedAt.Equal(t.started)
		gone := t.src.StartedAt.IsZero()
		if ctx.Err() != nil || gone || !anew && (over || !t.src.Running) {
			t.reading = false
			if gone && f.tracks[t.src.ID] == t {
				delete(f.tracks, t.src.ID)
			}
			f.mu.Unlock()
			return false
		}
		f.mu.Unlock()
		if anew || due {
			return true
		}
		select {
		case <-ctx.Done():
		case <-t.changed:
		case <-timer.C:
			due = true
		}
	}
}

// line takes one line that was read.
func (f *follower) line(ctx context.Context, t *track, src view.LogSource, o Output) {
	k := 0
	switch {
	case ctx.Err() != nil:
		return
	case o.Cursor != nil:
		t.read[0] = spot{At: o.At.UnixNano(), Cursor: *o.Cursor}
	default:
		if o.Stderr {
			k = 1
		}
		if !o.At.IsZero() || !o.Rest { // else it is a piece of the line before
			t.dropped[k] = !o.At.IsZero() && !t.next(k, o.At.UnixNano())
		}
		if t.dropped[k] || o.Rest && !t.local {
			return
		}
	}
	if !o.Stderr && (src.Level == "err" || src.Level == "error") {
		return
	}
	at := o.At
	if at.IsZero() {
		at = time.Now()
	}
	// A line of the past waits for room: the engine keeps those that come behind it. The past is not over
	// while what waits of it fills the queue.
	age := time.Since(at)
	if t.behind = t.behind || at.Before(t.opened) || age >= lag; !t.behind {
		ctx = nil
	}
	roomy := f.emit(ctx, &view.LogLine{
		Message: string(o.Text), Timestamp: at.UnixMilli(), IsStdErr: o.Stderr, IsSystem: src.ID == hostID,
		AppID: src.AppID, ServiceID: src.ServiceID, ServiceName: src.ServiceName,
	}, mark{t, k == 1, t.read[k]})
	t.behind = t.behind && !(roomy && age < near)
}

// next notes the next line of an output, and tells whether it was not read before.
func (t *track) next(k int, at int64) bool {
	if skip := t.skip[k]; skip.At != 0 {
		switch {
		case at < skip.At:
			return false
		case at == skip.At && t.again[k] < skip.N:
			t.again[k]++
			return false
		}
		t.skip[k] = spot{}
	}
	if t.read[k].At != at {
		t.read[k] = spot{At: at}
	}
	t.read[k].N++
	return true
}

// delivered notes how far containers were delivered.
func (f *follower) delivered(marks []mark) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range marks {
		k := 0
		if m.stderr {
			k = 1
		}
		m.track.done[k] = m.spot
		f.dirty, f.stale = true, true
	}
}

// save saves the places if they changed, in memory or durably as it is time to.
func (f *follower) save(durably bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	durably = durably || time.Since(f.saved) >= saveDurably
	if f.mode != ToCloud || !f.dirty && !(f.stale && durably) {
		return
	}
	if f.dirty = false; durably {
		f.saved, f.stale = time.Now(), false
	}
	p := places{At: time.Now().UnixNano(), Containers: make(map[string]place, len(f.tracks))}
	for id, t := range f.tracks {
		if !t.src.StartedAt.IsZero() {
			p.Containers[id] = place{Started: t.started.UnixNano(), From: t.from.UnixNano(), Outputs: t.done}
		}
	}
	f.o.store(p, durably)
}
