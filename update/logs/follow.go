package logs

import (
	"context"
	"sync"
	"time"

	"resin-supervisor/update/view"
)

// follower reads the output of containers. For each it opens one stream of the engine.
type follower struct {
	o      Options
	wanted func() Mode // where lines go now
	// emit passes a line on. Without room it drops the line if wait is nil, else it waits for room until wait ends. It
	// reports whether there is room for many more lines.
	emit func(wait context.Context, l *view.LogLine, m mark) (roomy bool)

	mu          sync.Mutex
	ctx         context.Context // ends all reading; nil before the start and after the end
	mode        Mode
	tracks      map[string]*track // by container
	sources     []view.LogSource
	hostStarted time.Time // the last start of a unit of the host, zero while none is known
	baseline    time.Time // older lines belong to nobody or are already delivered
	resumed     bool      // baseline is from the positions of an earlier run
	saved       time.Time // when the positions were saved durably, zero if they were not
	changed     bool      // positions changed since they were saved
	changedLong bool      // positions changed since they were saved durably
	readers     sync.WaitGroup
}

// track is the state of reading one container. Arrays have an element for each output.
type track struct {
	src        view.LogSource
	started    time.Time   // the start of the container that the positions are about
	from       time.Time   // output from this time on is wanted
	read       [2]position // newest line read
	done       [2]position // newest line delivered
	readBefore [2]position // newest line read before the current stream, which repeats some lines
	repeated   [2]int      // lines with the time of readBefore that the current stream repeated
	skipping   [2]bool     // the newest line of the current stream was read before

	opened  time.Time // when the current stream was opened
	backlog bool      // the stream still has lines that were written earlier

	local   bool // read for listeners
	reading bool
	update  chan struct{}      // holds a token: src has changed
	cancel  context.CancelFunc // ends its reader
}

// hostID stands for the units of the host in the list of containers.
const hostID = "host"

const (
	maxDisorder  = 2 * time.Second // between the two outputs of a container
	backlogAge   = 5 * time.Second // a line of this age was written earlier
	liveAge      = time.Second     // below this age, the backlog is over
	maxDelay     = time.Minute     // from the start of a container until the agent knows of it
	drainTimeout = 10 * time.Second
	reopenMin    = 5 * time.Second // after a stream that broke (docs/spec/cloud.md 5.6)
	reopenMax    = 15 * time.Minute
)

func newFollower(o Options, wanted func() Mode, emit func(context.Context, *view.LogLine, mark) bool) *follower {
	return &follower{o: o, wanted: wanted, emit: emit, tracks: make(map[string]*track)}
}

// start begins to read. Lines for the cloud continue at the position of an earlier run of the agent.
func (f *follower) start(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ctx, f.baseline, f.mode = ctx, time.Now(), f.wanted()
	if p := f.o.load(); f.mode == ToCloud && p.At > 0 {
		f.baseline, f.resumed, f.saved = time.Unix(0, p.At), true, time.Now()
		for id, c := range p.Containers {
			f.tracks[id] = &track{
				src:     view.LogSource{ID: id},
				started: time.Unix(0, c.Started),
				from:    time.Unix(0, c.From),
				read:    c.Outputs,
				done:    c.Outputs,
				update:  make(chan struct{}, 1),
			}
		}
		if f.tracks[hostID] != nil && f.o.ReadHost != nil {
			f.hostStarted = time.Now() // units may have run while the agent did not
		}
	}
	f.sync()
}

// stop waits for the readers, whose context has ended, and saves the positions.
func (f *follower) stop() {
	f.mu.Lock()
	f.ctx = nil
	f.mu.Unlock()
	f.readers.Wait()
	f.save(true)
}

// checkMode reads the mode again. After a change, only lines that are written from now on are passed on.
func (f *follower) checkMode() {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.wanted()
	if f.ctx == nil || f.mode == m {
		return
	}
	if f.mode == ToCloud {
		f.o.store(positions{}, true)
	}
	for _, t := range f.tracks {
		if t.cancel != nil {
			t.cancel()
		}
	}
	f.mode, f.baseline, f.resumed, f.tracks = m, time.Now(), false, make(map[string]*track)
	f.changed, f.changedLong, f.saved = false, false, time.Time{}
	f.sync()
}

// attach sets the list of containers.
func (f *follower) attach(sources []view.LogSource) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sources = sources
	f.sync()
}

// attachHost records that a unit of the host has started.
func (f *follower) attachHost() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hostStarted = time.Now()
	f.sync()
}

// sync starts and ends readers as the sources require. The caller holds mu.
func (f *follower) sync() {
	if f.ctx == nil || f.mode == Nowhere {
		return
	}
	if !f.hostStarted.IsZero() {
		f.read(view.LogSource{ID: hostID, StartedAt: f.hostStarted, Running: true})
	}
	if f.sources == nil {
		return
	}
	present := map[string]bool{hostID: true}
	for _, src := range f.sources {
		if src.Level != "none" && !src.StartedAt.IsZero() {
			present[src.ID] = true
			f.read(src)
		}
	}
	for id, t := range f.tracks {
		switch {
		case present[id]:
		case t.reading && !t.src.StartedAt.IsZero():
			t.src.Running = false // the stream usually ends by itself
			cancel := t.cancel
			time.AfterFunc(drainTimeout, cancel)
			t.src.StartedAt = time.Time{}
		case !t.reading:
			delete(f.tracks, id)
		}
	}
}

// read starts a reader for a container, or updates the one that it has. The caller holds mu.
func (f *follower) read(src view.LogSource) {
	t := f.tracks[src.ID]
	if t == nil {
		t = &track{update: make(chan struct{}, 1), local: f.mode == ToListeners}
		f.tracks[src.ID] = t
	}
	if t.src == src {
		return
	}
	restarted := !t.src.StartedAt.Equal(src.StartedAt)
	t.src = src
	if t.reading {
		signal(t.update)
	} else if restarted {
		t.reading = true
		ctx, cancel := context.WithCancel(f.ctx)
		t.cancel = cancel
		f.readers.Go(func() {
			defer cancel()
			f.follow(ctx, t)
		})
	}
}

// since is the time from which a container's output is read. The caller holds mu.
func (f *follower) since(t *track) time.Time {
	newest := max(t.read[0].At, t.read[1].At)
	begin := t.src.StartedAt.Add(-maxDisorder)
	restarted := !t.started.Equal(t.src.StartedAt)
	if t.from.IsZero() {
		t.from = f.baseline
		if f.resumed && begin.Before(f.baseline) {
			t.from = begin
		}
	}
	switch {
	case newest == 0:
		return t.from
	case restarted && t.src.ID != hostID && t.src.StartedAt.Add(maxDelay).Before(time.Unix(0, newest)): // the clock went back
		t.read = [2]position{}
		return begin
	}
	return time.Unix(0, newest).Add(-maxDisorder)
}

// open prepares a track for a new stream.
func (f *follower) open(t *track) (src view.LogSource, since time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	since = f.since(t)
	t.started, t.readBefore, t.repeated, t.opened = t.src.StartedAt, t.read, [2]int{}, time.Now()
	t.backlog = true
	f.changed, f.changedLong = true, true
	return t.src, since
}

// follow reads a container while it runs.
//
// A stream that ends because the container stopped may lack the last lines, or all lines of a container that ran only for
// a moment (seen with Docker 20.10). So follow reads again until there are no new lines.
func (f *follower) follow(ctx context.Context, t *track) {
	delay, ended := reopenMin, false
	for {
		src, since := f.open(t)
		before := t.read
		err := f.stream(ctx, t, src, since, &delay)
		nothingNew := ended && t.read == before
		if ended = err == nil && src.ID != hostID && !nothingNew; ended {
			continue
		}
		// A final end: the output is read again only after a restart.
		final := err == nil && src.ID == hostID || err == ErrUnreadable
		switch {
		case err == nil || ctx.Err() != nil || nothingNew:
		case final:
			f.o.Log.Info().Err(err).Str("service", src.ServiceName).Msg("cannot read the output of a container, will try again when it restarts")
		default:
			f.o.Log.Info().Err(err).Str("service", src.ServiceName).Msg("output of a container or of the host broke off, will retry")
		}
		if !f.waitToReopen(ctx, t, delay, final) {
			return
		}
		delay = min(2*delay, reopenMax)
	}
}

// stream reads a source to its end. Each line resets the delay.
func (f *follower) stream(ctx context.Context, t *track, src view.LogSource, since time.Time, delay *time.Duration) error {
	take := func(o Output) {
		*delay = reopenMin
		f.line(ctx, t, src, o)
	}
	if src.ID != hostID {
		return f.o.Read(ctx, src.ID, src.Tty, since, take)
	}
	return f.o.ReadHost(ctx, t.read[0].Cursor, since, take)
}

// waitToReopen waits until it is time to read a container again. It returns false if it will not be read again.
func (f *follower) waitToReopen(ctx context.Context, t *track, delay time.Duration, final bool) bool {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	for due := false; ; {
		f.mu.Lock()
		restarted := !t.src.StartedAt.Equal(t.started)
		gone := t.src.StartedAt.IsZero()
		if ctx.Err() != nil || gone || !restarted && (final || !t.src.Running) {
			t.reading = false
			if gone && f.tracks[t.src.ID] == t {
				delete(f.tracks, t.src.ID)
			}
			f.mu.Unlock()
			return false
		}
		f.mu.Unlock()
		if restarted || due {
			return true
		}
		select {
		case <-ctx.Done():
		case <-t.update:
		case <-timer.C:
			due = true
		}
	}
}

// line takes one line of a stream.
func (f *follower) line(ctx context.Context, t *track, src view.LogSource, o Output) {
	k := 0
	switch {
	case ctx.Err() != nil:
		return
	case o.Cursor != nil:
		t.read[0] = position{At: o.At.UnixNano(), Cursor: *o.Cursor}
	default:
		if o.Stderr {
			k = 1
		}
		if !o.At.IsZero() || !o.Rest { // else it is a piece of the line before
			t.skipping[k] = !o.At.IsZero() && !t.next(k, o.At.UnixNano())
		}
		if t.skipping[k] || o.Rest && !t.local {
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
	// A line of the backlog waits for room: the engine keeps the lines after it. The backlog is not over while it fills
	// the queue.
	age := time.Since(at)
	if t.backlog = t.backlog || at.Before(t.opened) || age >= backlogAge; !t.backlog {
		ctx = nil
	}
	roomy := f.emit(ctx, &view.LogLine{
		Message:     string(o.Text),
		Timestamp:   at.UnixMilli(),
		IsStdErr:    o.Stderr,
		IsSystem:    src.ID == hostID,
		AppID:       src.AppID,
		ServiceID:   src.ServiceID,
		ServiceName: src.ServiceName,
	}, mark{t, k == 1, t.read[k]})
	t.backlog = t.backlog && !(roomy && age < liveAge)
}

// next records the next line of an output. It returns false if the line was read before.
func (t *track) next(k int, at int64) bool {
	if before := t.readBefore[k]; before.At != 0 {
		switch {
		case at < before.At:
			return false
		case at == before.At && t.repeated[k] < before.N:
			t.repeated[k]++
			return false
		}
		t.readBefore[k] = position{}
	}
	if t.read[k].At != at {
		t.read[k] = position{At: at}
	}
	t.read[k].N++
	return true
}

// delivered records the newest lines that were delivered.
func (f *follower) delivered(marks []mark) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range marks {
		k := 0
		if m.stderr {
			k = 1
		}
		m.track.done[k] = m.position
		f.changed, f.changedLong = true, true
	}
}

// save saves the positions if they changed: in memory, and durably if it is time for that.
func (f *follower) save(durably bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	durably = durably || time.Since(f.saved) >= saveDurably
	if f.mode != ToCloud || !f.changed && !(f.changedLong && durably) {
		return
	}
	if f.changed = false; durably {
		f.saved, f.changedLong = time.Now(), false
	}
	p := positions{At: time.Now().UnixNano(), Containers: make(map[string]progress, len(f.tracks))}
	for id, t := range f.tracks {
		if !t.src.StartedAt.IsZero() {
			p.Containers[id] = progress{Started: t.started.UnixNano(), From: t.from.UnixNano(), Outputs: t.done}
		}
	}
	f.o.store(p, durably)
}
