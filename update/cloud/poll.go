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

// poller holds the requests for immediate polls and the state of polling.
type poller struct {
	wake chan struct{}

	mu                sync.Mutex
	asked             bool
	force, cancel     bool
	unusableETag      string           // etag of the last unusable target, so that it is not downloaded again
	failures          int              // failed scheduled polls in a row; owned by the goroutine of poll, as the fields below
	provisionFailures int              // failed attempts in a row to complete provisioning
	retryProvision    <-chan time.Time // fires for the next attempt, nil when provisioning is complete
}

// lenientAfter is how many failed polls in a row make polls use at least the default timeout. Otherwise a
// configured timeout that is too short could never be corrected by a new target.
const lenientAfter = 3

// fetchedTarget is a target as received.
type fetchedTarget struct {
	body []byte
	etag string
}

var errGone = errors.New("the device is deleted or frozen in the cloud")

// Trigger requests a poll now. Several requests may share one poll. Trigger returns false and does nothing if
// instant updates are off, unless forced (docs/spec/cloud.md 3.3).
func (d *Device) Trigger(force, cancel bool) (accepted bool) {
	if !force && !d.o.Terms().Instant {
		return false
	}
	p := &d.poller
	p.mu.Lock()
	p.asked, p.force, p.cancel = true, p.force || force, p.cancel || cancel
	p.mu.Unlock()
	notify(p.wake)
	return true
}

func (p *poller) take() (asked, force, cancel bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked, force, cancel = p.asked, p.force, p.cancel
	p.asked, p.force, p.cancel = false, false, false
	return asked, force, cancel
}

// poll polls the target on schedule and on request, one poll at a time, until ctx ends
// (docs/spec/cloud.md 3.2, 3.3). A requested poll does not change the schedule.
func (d *Device) poll(ctx context.Context) {
	p := &d.poller
	due := time.NewTimer(0)
	defer due.Stop()
	if !d.o.Terms().Instant {
		due.Reset(d.interval() + jitter(d.interval()))
		d.finishProvisioning(ctx)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.retryProvision:
			d.finishProvisioning(ctx)
		case <-d.poller.wake:
			if asked, force, cancel := d.poller.take(); asked {
				if err := d.pollOnce(ctx, true, force, cancel); err != nil {
					d.o.Log.Warn().Err(err).Msg("requested poll failed")
				}
			}
		case <-due.C:
			err := d.pollOnce(ctx, false, false, false)
			if err == nil {
				p.failures = 0
				d.polled.Store(int64(time.Since(d.started)))
			} else if p.failures++; ctx.Err() == nil {
				d.o.Log.Warn().Err(err).Int("failures", p.failures).Msg("poll failed")
			}
			due.Reset(pollDelay(p.failures, d.interval(), jitter))
		}
	}
}

// pollDelay returns the time to the next scheduled poll.
func pollDelay(failures int, interval time.Duration, jitter func(time.Duration) time.Duration) time.Duration {
	if failures > 0 {
		return backoff(failures, interval)
	}
	return interval + jitter(interval)
}

// pollOnce makes one poll and delivers the target (docs/spec/cloud.md 3.4).
func (d *Device) pollOnce(ctx context.Context, asked, force, cancel bool) error {
	d.finishProvisioning(ctx)
	etag, err := d.etagToSend()
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
		d.o.Targets.Retry(force, cancel)
	}
	return err
}

// etagToSend returns the etag of the target that the device has. It is empty until introduce has succeeded, which
// needs the target.
func (d *Device) etagToSend() (string, error) {
	if done, err := d.introduction(); err != nil || !d.isComplete(done) {
		return "", err
	}
	return cmp.Or(d.poller.unusableETag, d.o.Targets.CloudETag()), nil
}

// get downloads the target (docs/spec/cloud.md 3.1). It returns nil without an error if the target still has
// the etag.
func (d *Device) get(ctx context.Context, etag string) (*fetchedTarget, error) {
	i := d.o.Identity()
	path := "/device/v3/" + i.UUID + "/state"
	r := call{path: path, etag: etag, perStep: true, follow: true}
	if d.poller.failures >= lenientAfter {
		r.timeout = defaultTimeout
	}
	a, err := d.ask(ctx, r)
	if err == nil && a.status == fasthttp.StatusUnauthorized && d.restoreFormerKey(ctx, i) {
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
		return nil, &statusError{path, a}
	}
	return &fetchedTarget{a.body, a.etag}, nil
}

// deliver passes a target to Targets. A target that is stored or unusable is not downloaded again; after any other
// error it is.
func (d *Device) deliver(f *fetchedTarget, force bool) (changed bool, err error) {
	changed, err = d.o.Targets.SetCloudTarget(f.body, f.etag, force)
	invalid := (*view.InvalidTargetError)(nil)
	if errors.As(err, &invalid) {
		d.o.Log.Error().Err(err).Msg("target state is unusable, keeping the one before")
		d.poller.unusableETag = f.etag
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("store the target state: %w", err)
	}
	d.poller.unusableETag = ""
	if changed {
		d.report.forgetRefusals()
		debug.FreeOSMemory() // decoding the target takes more memory than anything else here
	}
	return changed, nil
}
