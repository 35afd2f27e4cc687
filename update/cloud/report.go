package cloud

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"resin-supervisor/hostos/file"
)

// fields is a report, or a part of one: JSON by name of the field.
type fields map[string]json.RawMessage

// metrics are the fields whose change alone is no reason to report before its time, each with the size
// of the steps that count, 0 for any (docs/spec/cloud.md 4.8).
var metrics = map[string]int{"cpu_usage": 20, "cpu_temp": 5, "memory_usage": 10, "memory_total": 0,
	"storage_block_device": 0, "storage_total": 0, "storage_usage": 0, "cpu_id": 0}

// When reports are sent (docs/spec/cloud.md 4.9, 4.10).
const (
	reportPause   = 10 * time.Second
	metricsPeriod = 300 * time.Second
)

// reporter belongs to the goroutine of sendReports, but for wake and allowed.
type reporter struct {
	d       *Device
	wake    chan struct{}
	allowed atomic.Bool // what was refused may be tried again: there is another target

	taken   fields    // the whole report that the cloud took last
	sent    time.Time // when the last report was taken, or the agent looked in vain for something new
	reports bool      // at least one was sent since the start
	refused map[string]refusedField
	lean    time.Time // until when apps are reported without former releases
}

// refusedField is a value that the cloud refused and that is not sent again for a while.
type refusedField struct {
	value json.RawMessage
	until time.Time
}

// Changed says that there may be something new to report. It never waits.
func (d *Device) Changed() { poke(d.report.wake) }

func (r *reporter) allow() {
	r.allowed.Store(true)
	poke(r.wake)
}

// sendReports reports the current state when it changed, the metrics now and then, until ctx ends. A
// timer runs only until the next report is due.
func (d *Device) sendReports(ctx context.Context) {
	r := &d.report
	r.load()
	for failures := 0; ; {
		wait := metricsPeriod
		err := r.send(ctx, failures)
		if err == nil {
			failures = 0
			if !r.pause(ctx) {
				return
			}
			wait = nextMetrics(time.Since(r.sent))
		} else {
			if failures++; failures == 1 && ctx.Err() == nil {
				d.o.Log.Warn().Err(err).Msg("report failed, trying on")
			}
			if !rest(ctx, reportDelay(failures, err, d.interval(), time.Now())) {
				return
			}
			continue
		}
		due := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-r.wake:
		case <-due.C:
		}
		if due.Stop(); ctx.Err() != nil {
			return
		}
	}
}

// pause keeps the least distance to the last report.
func (r *reporter) pause(ctx context.Context) bool {
	left := reportPause - time.Since(r.sent)
	return !r.reports || left <= 0 || rest(ctx, left)
}

// nextMetrics is the time until the metrics are looked at again.
func nextMetrics(since time.Duration) time.Duration {
	return max(metricsPeriod-since, reportPause)
}

// reportDelay is the time until a failed report is tried again (docs/spec/cloud.md 4.11).
func reportDelay(failures int, err error, limit time.Duration, now time.Time) time.Duration {
	if after := retryAfter(afterOf(err), now); after > 0 {
		return min(after, limit)
	}
	return backoff(failures, limit)
}

// send reports what differs from what the cloud knows; nothing that differs is no error. From the
// second refusal on the report is taken apart.
func (r *reporter) send(ctx context.Context, failures int) error {
	now := time.Now()
	if r.allowed.Swap(false) {
		clear(r.refused)
		r.lean = time.Time{}
	}
	full, err := r.build(now.Before(r.lean))
	if err != nil {
		return err
	}
	news := r.news(full, now)
	due := r.sent.IsZero() || now.Sub(r.sent) >= metricsPeriod
	if len(news) == 0 || !due && onlyMetrics(news) {
		if due {
			r.sent, r.reports = now, false // look again in a period, but do not hold up what changes
		}
		return nil
	}
	if err = r.patch(ctx, news); err != nil && failures > 0 && isRefusal(err) {
		err = r.narrow(ctx, news, err)
	} else if err == nil {
		maps.Copy(r.taken, news)
		for name := range r.taken {
			if full[name] == nil {
				delete(r.taken, name) // it is gone, and news should it come back
			}
		}
	}
	if err != nil {
		return err
	}
	r.sent, r.reports = time.Now(), true
	r.save()
	return nil
}

// build is the whole report as of now.
func (r *reporter) build(lean bool) (fields, error) {
	o := &r.d.o
	f, terms := o.Facts(), o.Terms()
	all := o.Metrics(terms.Metrics)
	if !terms.Metrics {
		for name := range metrics {
			all[name] = nil
		}
	}
	maps.Copy(all, map[string]any{
		"status": "Idle", "os_version": f.OSVersion, "os_variant": f.OSVariant, "supervisor_version": f.SupervisorVersion,
		"provisioning_progress": nil, "provisioning_state": "", "ip_address": f.IPAddress, "api_port": f.APIPort, "api_secret": f.APISecret,
	})
	if f.MACAddress != "" {
		all["mac_address"] = f.MACAddress
	}
	if s := o.Targets.View(); !s.Synced {
		if r.taken["apps"] != nil {
			all["apps"] = r.taken["apps"] // what the engine has is not known yet
		}
	} else if apps := reportApps(s, lean); len(apps) > 0 && !s.LocalMode {
		all["apps"] = apps
	}
	full := make(fields, len(all))
	for name, value := range all {
		raw, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		full[name] = raw
	}
	return full, nil
}

// news is what of a report the cloud does not know. A metric within the step of what it knows takes
// the known value.
func (r *reporter) news(full fields, now time.Time) fields {
	news := make(fields)
	for name, value := range full {
		old, known := r.taken[name]
		if step := metrics[name]; known && step > 0 && sameStep(old, value, step) {
			full[name] = old
			continue
		}
		if known && bytes.Equal(old, value) {
			continue
		}
		if no, refused := r.refused[name]; refused && now.Before(no.until) && bytes.Equal(no.value, value) {
			continue
		}
		news[name] = value
	}
	return news
}

// sameStep tells whether two numbers lie in the same step.
func sameStep(old, value json.RawMessage, step int) bool {
	var a, b *int
	if json.Unmarshal(old, &a) != nil || json.Unmarshal(value, &b) != nil || a == nil || b == nil {
		return false
	}
	return *a/step == *b/step
}

func onlyMetrics(news fields) bool {
	for name := range news {
		if _, is := metrics[name]; !is {
			return false
		}
	}
	return true
}

// patch sends a part of a report.
func (r *reporter) patch(ctx context.Context, part fields) error {
	part = withFinished(part, r.taken)
	return r.d.call(ctx, call{method: "PATCH", path: "/device/v3/state", body: map[string]fields{r.d.o.Identity().UUID: part}}, nil)
}

// isRefusal tells whether the cloud will not take the same report however often it comes.
func isRefusal(err error) bool {
	switch refused(err) {
	case 400, 401, 413:
		return true
	}
	return false
}

// A refused part is left out so long, unless its value changes or another target comes.
const refusalLasts = time.Hour

// narrow gets through what it can of a refused report (docs/spec/cloud.md Q17): all but the apps, then the
// apps without former releases, such as one that was deleted in the cloud; field by field if the rest
// is what is refused. When not even that goes through, the error is that of the first part.
func (r *reporter) narrow(ctx context.Context, news fields, why error) error {
	device := maps.Clone(news)
	delete(device, "apps")
	if len(device) == 0 {
		device["status"] = json.RawMessage(`"Idle"`) // tells a refused device from refused apps
	}
	err := r.patch(ctx, device)
	switch {
	case err == nil:
		maps.Copy(r.taken, device)
	case refused(err) == 401 || !isRefusal(err):
		return err
	default:
		if err := r.single(ctx, device); err != nil {
			return err
		}
	}
	if news["apps"] == nil {
		return nil
	}
	r.d.o.Log.Warn().AnErr("reason", why).Msg("the cloud refuses the report of the apps, a part of it is left out")
	r.refuse("apps", news["apps"])
	lean, err := r.build(true)
	if err != nil || lean["apps"] == nil {
		return err
	}
	err = r.patch(ctx, fields{"apps": lean["apps"]})
	switch {
	case err == nil:
		r.taken["apps"] = lean["apps"]
		r.lean = time.Now().Add(refusalLasts)
	case isRefusal(err):
		r.refuse("apps", lean["apps"])
		r.lean = time.Now().Add(refusalLasts)
	default:
		return err
	}
	return nil
}

// single sends the fields one by one and leaves out those that are refused.
func (r *reporter) single(ctx context.Context, part fields) error {
	for _, name := range slices.Sorted(maps.Keys(part)) {
		err := r.patch(ctx, fields{name: part[name]})
		switch {
		case err == nil:
			r.taken[name] = part[name]
		case isRefusal(err):
			r.refuse(name, part[name])
			r.d.o.Log.Warn().Err(err).Str("field", name).Msg("the cloud refuses a field of the report, it is left out")
		default:
			return err
		}
	}
	return nil
}

func (r *reporter) refuse(name string, value json.RawMessage) {
	r.refused[name] = refusedField{value, time.Now().Add(refusalLasts)}
}

// cached is the file of the last report that the cloud took. It outlives the agent and not the boot
// (docs/spec/cloud.md 4.12).
type cached struct {
	Endpoint string `json:"endpoint"`
	UUID     string `json:"uuid"`
	Report   fields `json:"report"`
}

func (r *reporter) load() {
	i := r.d.o.Identity()
	var c cached
	raw, err := file.Read(r.d.o.Cache, file.Large)
	if err == nil && json.Unmarshal(raw, &c) == nil && c.Report != nil && c.Endpoint == i.Endpoint && c.UUID == i.UUID {
		r.taken = c.Report
		return
	}
	r.taken = make(fields)
}

func (r *reporter) save() {
	i := r.d.o.Identity()
	raw, err := json.Marshal(cached{i.Endpoint, i.UUID, r.taken})
	if err == nil {
		err = os.MkdirAll(filepath.Dir(r.d.o.Cache), 0o755)
	}
	if err == nil {
		err = file.Write(r.d.o.Cache, raw, 0o600)
	}
	if err != nil {
		r.d.o.Log.Warn().Err(err).Msg("report is not kept for the next start")
	}
}
