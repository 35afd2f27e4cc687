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
	"resin-supervisor/hostos/retry"
)

// fields is a report, or a part of one: JSON by name of the field.
type fields map[string]json.RawMessage

// metrics are the fields that do not trigger a report by themselves. The value is the size of the steps that count
// as a change, 0 for any change (docs/spec/cloud.md 4.8).
var metrics = map[string]int{"cpu_usage": 20, "cpu_temp": 5, "memory_usage": 10, "memory_total": 0,
	"storage_block_device": 0, "storage_total": 0, "storage_usage": 0, "cpu_id": 0}

// When reports are sent (docs/spec/cloud.md 4.9, 4.10).
const (
	reportPause   = 10 * time.Second
	metricsPeriod = 300 * time.Second
)

// reporter belongs to the goroutine of sendReports, except wake and retryRefused.
type reporter struct {
	d            *Device
	wake         chan struct{}
	retryRefused atomic.Bool // there is another target: send refused values again

	accepted     fields    // the last report that the cloud accepted
	sent         time.Time // time of the last accepted report, or of the last check that found no change
	reported     bool      // a report was accepted at sent
	refused      map[string]refusedField
	reducedUntil time.Time // until then apps are reported without former releases
}

// refusedField is a value that the cloud refused. It is not sent again before until.
type refusedField struct {
	value json.RawMessage
	until time.Time
}

// Changed tells the reporter that the state may have changed. It never blocks.
func (d *Device) Changed() { notify(d.report.wake) }

func (r *reporter) forgetRefusals() {
	r.retryRefused.Store(true)
	notify(r.wake)
}

// sendReports reports the current state when it changes, and the metrics every metricsPeriod, until ctx ends.
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
				d.o.Log.Warn().Err(err).Msg("report failed, will retry")
			}
			if !retry.Sleep(ctx, reportDelay(failures, err, d.interval(), time.Now())) {
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

// pause waits until reportPause has passed since the last report. It returns false if ctx ended first.
func (r *reporter) pause(ctx context.Context) bool {
	left := reportPause - time.Since(r.sent)
	return !r.reported || left <= 0 || retry.Sleep(ctx, left)
}

// nextMetrics returns the time until the next check of the metrics.
func nextMetrics(since time.Duration) time.Duration {
	return max(metricsPeriod-since, reportPause)
}

// reportDelay returns the time until the retry of a failed report (docs/spec/cloud.md 4.11).
func reportDelay(failures int, err error, limit time.Duration, now time.Time) time.Duration {
	if after := retryAfter(retryAfterOf(err), now); after > 0 {
		return min(after, limit)
	}
	return backoff(failures, limit)
}

// send reports the changes since the last accepted report, if there are any. After the second refusal it sends a
// reduced report.
func (r *reporter) send(ctx context.Context, failures int) error {
	now := time.Now()
	if r.retryRefused.Swap(false) {
		clear(r.refused)
		r.reducedUntil = time.Time{}
	}
	full, err := r.build(now.Before(r.reducedUntil))
	if err != nil {
		return err
	}
	changes := r.changes(full, now)
	due := r.sent.IsZero() || now.Sub(r.sent) >= metricsPeriod
	if len(changes) == 0 || !due && onlyMetrics(changes) {
		if due {
			r.sent, r.reported = now, false // check the metrics again in metricsPeriod, report changes without a pause
		}
		return nil
	}
	if err = r.patch(ctx, changes); err != nil && failures > 0 && isRefusal(err) {
		err = r.sendReduced(ctx, changes, err)
	} else if err == nil {
		maps.Copy(r.accepted, changes)
		for name := range r.accepted {
			if full[name] == nil {
				delete(r.accepted, name) // the field is gone: if it comes back, that is a change
			}
		}
	}
	if err != nil {
		return err
	}
	r.sent, r.reported = time.Now(), true
	r.save()
	return nil
}

// build returns the complete report for the current state.
func (r *reporter) build(reduced bool) (fields, error) {
	o := &r.d.o
	f, settings := o.Facts(), o.Terms()
	all := o.Metrics(settings.Metrics)
	if !settings.Metrics {
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
		if r.accepted["apps"] != nil {
			all["apps"] = r.accepted["apps"] // the engine's containers are not known yet
		}
	} else if apps := reportApps(s, reduced); len(apps) > 0 && !s.LocalMode {
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

// changes returns the fields of a report that differ from the last accepted one. A metric that stays within its
// step keeps the accepted value.
func (r *reporter) changes(full fields, now time.Time) fields {
	changes := make(fields)
	for name, value := range full {
		old, known := r.accepted[name]
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
		changes[name] = value
	}
	return changes
}

// sameStep reports whether two numbers are in the same step.
func sameStep(old, value json.RawMessage, step int) bool {
	var a, b *int
	if json.Unmarshal(old, &a) != nil || json.Unmarshal(value, &b) != nil || a == nil || b == nil {
		return false
	}
	return *a/step == *b/step
}

func onlyMetrics(changes fields) bool {
	for name := range changes {
		if _, is := metrics[name]; !is {
			return false
		}
	}
	return true
}

// patch sends a part of a report.
func (r *reporter) patch(ctx context.Context, part fields) error {
	part = withFullProgress(part, r.accepted)
	return r.d.call(ctx, call{method: "PATCH", path: "/device/v3/state", body: map[string]fields{r.d.o.Identity().UUID: part}}, nil)
}

// isRefusal reports whether the cloud will never accept the same report.
func isRefusal(err error) bool {
	switch statusOf(err) {
	case 400, 401, 413:
		return true
	}
	return false
}

// refusalTTL is how long a refused value is left out, unless it changes or another target comes.
const refusalTTL = time.Hour

// sendReduced sends as much of a refused report as the cloud accepts (docs/spec/cloud.md Q17). It first sends all
// fields except the apps, one by one if they are refused together. It then sends the apps without former
// releases, of which the cloud may have deleted one.
func (r *reporter) sendReduced(ctx context.Context, changes fields, why error) error {
	device := maps.Clone(changes)
	delete(device, "apps")
	if len(device) == 0 {
		device["status"] = json.RawMessage(`"Idle"`) // shows whether the device is refused or only its apps
	}
	err := r.patch(ctx, device)
	switch {
	case err == nil:
		maps.Copy(r.accepted, device)
	case statusOf(err) == 401 || !isRefusal(err):
		return err
	default:
		if err := r.sendFields(ctx, device); err != nil {
			return err
		}
	}
	if changes["apps"] == nil {
		return nil
	}
	r.d.o.Log.Warn().AnErr("reason", why).Msg("the cloud refuses the report of the apps, will leave out former releases")
	r.refuse("apps", changes["apps"])
	reduced, err := r.build(true)
	if err != nil || reduced["apps"] == nil {
		return err
	}
	err = r.patch(ctx, fields{"apps": reduced["apps"]})
	switch {
	case err == nil:
		r.accepted["apps"] = reduced["apps"]
		r.reducedUntil = time.Now().Add(refusalTTL)
	case isRefusal(err):
		r.refuse("apps", reduced["apps"])
		r.reducedUntil = time.Now().Add(refusalTTL)
	default:
		return err
	}
	return nil
}

// sendFields sends the fields one by one and leaves out refused ones.
func (r *reporter) sendFields(ctx context.Context, part fields) error {
	for _, name := range slices.Sorted(maps.Keys(part)) {
		err := r.patch(ctx, fields{name: part[name]})
		switch {
		case err == nil:
			r.accepted[name] = part[name]
		case isRefusal(err):
			r.refuse(name, part[name])
			r.d.o.Log.Warn().Err(err).Str("field", name).Msg("the cloud refuses a field of the report, will leave it out")
		default:
			return err
		}
	}
	return nil
}

func (r *reporter) refuse(name string, value json.RawMessage) {
	r.refused[name] = refusedField{value, time.Now().Add(refusalTTL)}
}

// cacheFile is the content of the file with the last accepted report. The file survives a restart of the
// supervisor, but not a reboot (docs/spec/cloud.md 4.12).
type cacheFile struct {
	Endpoint string `json:"endpoint"`
	UUID     string `json:"uuid"`
	Report   fields `json:"report"`
}

func (r *reporter) load() {
	i := r.d.o.Identity()
	var c cacheFile
	raw, err := file.Read(r.d.o.Cache, file.Large)
	if err == nil && json.Unmarshal(raw, &c) == nil && c.Report != nil && c.Endpoint == i.Endpoint && c.UUID == i.UUID {
		r.accepted = c.Report
		return
	}
	r.accepted = make(fields)
}

func (r *reporter) save() {
	i := r.d.o.Identity()
	raw, err := json.Marshal(cacheFile{i.Endpoint, i.UUID, r.accepted})
	if err == nil {
		err = os.MkdirAll(filepath.Dir(r.d.o.Cache), 0o755)
	}
	if err == nil {
		err = file.Write(r.d.o.Cache, raw, 0o600)
	}
	if err != nil {
		r.d.o.Log.Warn().Err(err).Msg("cannot store the last report, the next start sends a complete one")
	}
}
