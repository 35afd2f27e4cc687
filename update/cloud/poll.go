package cloud

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"resin-supervisor/update/view"
)

// poller is what immediate polls are asked with.
type poller struct {
	_ [0]func() // nobody compares it: no code for that

	wake chan struct{}

	mu            sync.Mutex
	asked         bool
	force, cancel bool
	known         string           // etag of a target that is of no use and was refused
	failures      int              // scheduled polls in a row; belongs to the goroutine of poll, as what follows does
	unfinished    int              // attempts in a row to complete the provisioning
	again         <-chan time.Time // when it is tried again, nil when it is complete
}

// hopeless is after how many failures in a row a poll is given the time that is usual, whatever the
// configuration says: one that leaves too little could never be corrected.
const hopeless = 3

// fetched is a target as it came.
type fetched struct {
	body []byte
	etag string
}

var errGone = errors.New("the device is deleted or frozen in the cloud")

// Trigger asks for a poll now; several requests may share one. It is ignored, and false, when updates
// are not to be instant and nobody forces (docs/spec/cloud.md 3.3).
func (d *Device) Trigger(force, cancel bool) (accepted bool) {
	if !force && !d.o.Terms().Instant {
		return false
	}
	p := &d.poller
	p.mu.Lock()
	p.asked, p.force, p.cancel = true, p.force || force, p.cancel || cancel
	p.mu.Unlock()
	poke(p.wake)
	return true
}

func (p *poller) take() (asked, force, cancel bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked, force, cancel = p.asked, p.force, p.cancel
	p.asked, p.force, p.cancel = false, false, false
	return asked, force, cancel
}

// poll gets the target on schedule and when somebody asks, one poll at a time, until ctx ends
// (docs/spec/cloud.md 3.2, 3.3). A poll that was asked for does not move the schedule.
func (d *Device) poll(ctx context.Context) {
	p := &d.poller
	due := time.NewTimer(0)
	defer due.Stop()
	if !d.o.Terms().Instant {
		due.Reset(d.interval() + spread(d.interval()))
		d.finish(ctx)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.again:
			d.finish(ctx)
		case <-d.poller.wake:
			if asked, force, cancel := d.poller.take(); asked {
				if err := d.turn(ctx, true, force, cancel); err != nil {
					d.o.Log.Warn().Err(err).Msg("poll that was asked for failed")
				}
			}
		case <-due.C:
			err := d.turn(ctx, false, false, false)
			if err == nil {
				p.failures = 0
				d.polled.Store(int64(time.Since(d.began)))
			} else if p.failures++; ctx.Err() == nil {
				d.o.Log.Warn().Err(err).Int("failures", p.failures).Msg("poll failed")
			}
			due.Reset(pollDelay(p.failures, d.interval(), spread))
		}
	}
}

// pollDelay is the time to the next scheduled poll.
func pollDelay(failures int, interval time.Duration, spread func(time.Duration) time.Duration) time.Duration {
	if failures > 0 {
		return backoff(failures, interval)
	}
	return interval + spread(interval)
}

// turn makes one poll and hands on what came (docs/spec/cloud.md 3.4).
func (d *Device) turn(ctx context.Context, asked, force, cancel bool) error {
	d.finish(ctx)
	etag, err := d.heldETag()
	if err != nil {
		return err
	}
	f, err := d.get(ctx, etag)
	if err == nil && f != nil {
		f, err = d.introduce(ctx, f)
	}
	if err != nil {
		return err
	}
	changed := false
	if f != nil {
		changed, err = d.deliver(f, force)
	}
	if err == nil && !changed && asked {
		d.o.Targets.Trigger(force, cancel)
	}
	return err
}

// heldETag is the etag that says which target the device has, none as long as the cloud is to be told something
// about it (introduce).
func (d *Device) heldETag() (string, error) {
	if done, err := d.introduction(); err != nil || !d.covers(done) {
		return "", err
	}
	return cmp.Or(d.poller.known, d.o.Targets.CloudETag()), nil
}

// get asks for the target (docs/spec/cloud.md 3.1). Neither target nor error means that it is still the one
// of the etag.
func (d *Device) get(ctx context.Context, etag string) (*fetched, error) {
	i := d.o.Identity()
	path := "/device/v3/" + i.UUID + "/state"
	r := call{path: path, etag: etag, steady: true, follow: true}
	if d.poller.failures >= hopeless {
		r.patience = usualPatience
	}
	a, err := d.ask(ctx, r)
	if err == nil && a.status == fasthttp.StatusUnauthorized && d.recall(ctx, i) {
		a, err = d.ask(ctx, r)
	}
	switch {
	case err != nil:
		return nil, err
	case a.status == fasthttp.StatusNotModified && etag == "":
		return nil, errGone
	case a.status == fasthttp.StatusNotModified:
		d.o.Targets.Heard()
		return nil, nil
	case a.status != fasthttp.StatusOK:
		return nil, &refusal{path, a}
	}
	return &fetched{a.body, a.etag}, nil
}

// deliver hands a target on. What is durable, and what cannot be used whoever asks again, is not asked
// for again; after any other error it is.
func (d *Device) deliver(f *fetched, force bool) (changed bool, err error) {
	changed, err = d.o.Targets.SetCloudTarget(f.body, f.etag, force)
	invalid := (*view.InvalidTargetError)(nil)
	if errors.As(err, &invalid) {
		d.o.Log.Error().Err(err).Msg("target state cannot be used")
		d.poller.known = f.etag
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("take the target state: %w", err)
	}
	d.poller.known = ""
	if changed {
		d.report.allow()
		debug.FreeOSMemory() // the target in all its forms is far more than the agent has otherwise
	}
	return changed, nil
}
