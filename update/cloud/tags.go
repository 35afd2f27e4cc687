package cloud

import (
	"context"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"resin-supervisor/hostos/retry"
	"resin-supervisor/update/view"
)

// tags is the queue of tags to send (docs/spec/cloud.md A.2).
type tags struct {
	wake chan struct{}
	docs Documents

	mu           sync.Mutex // held while saving
	doc          tagsDocument
	last         time.Time // time of the last change
	pendingSince time.Time // since then tags wait to be sent, zero when none do
}

// tagsDocument holds the tags that were set and those that the cloud accepted.
type tagsDocument struct {
	Target   map[string]string `json:"target"`
	Reported map[string]string `json:"reported"`
}

const (
	tagsName    = "tags"
	tagsVersion = 1
	// tagsQuiet is how long tags must stay unchanged before they are sent, so that tags that are set together
	// are sent together.
	tagsQuiet = 10 * time.Second
	// tagsMaxWait is how long tags wait at most when they change all the time.
	tagsMaxWait = time.Minute
)

// Tag is a tag of the device in the cloud.
type Tag struct {
	ID    int64  `json:"id"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (t *tags) open(docs Documents) error {
	t.docs = docs
	t.doc = tagsDocument{Target: map[string]string{}, Reported: map[string]string{}}
	_, err := docs.Load(tagsName, tagsVersion, &t.doc)
	return err
}

// SetTags sets tags of the device. They are durable when it returns, and are sent later. The error is
// view.ErrTooManyTags if the queue is full. Names that begin with io.resin. or io.balena. belong to the cloud and
// are skipped (docs/spec/cloud.md Q13).
func (d *Device) SetTags(set map[string]string) error {
	own := maps.Clone(set)
	maps.DeleteFunc(own, func(key, _ string) bool {
		reserved := strings.HasPrefix(key, "io.resin.") || strings.HasPrefix(key, "io.balena.")
		if reserved {
			d.o.Log.Warn().Str("tag", key).Msg("skipped a tag: names that begin with io.resin. or io.balena. are reserved")
		}
		return reserved
	})
	err := d.tags.set(own)
	if err == nil {
		notify(d.tags.wake)
	}
	return err
}

// set adds tags to the queue, and writes nothing if all are set already. If the queue is full, it first drops the
// tags that the cloud already has.
func (t *tags) set(set map[string]string) error {
	return t.change(func(doc tagsDocument) error {
		maps.Copy(doc.Target, set)
		if !fits(doc.Target) {
			for key, value := range doc.Reported {
				if wanted, waits := doc.Target[key]; !waits || wanted == value {
					delete(doc.Target, key)
					delete(doc.Reported, key)
				}
			}
		}
		if !fits(doc.Target) {
			return view.ErrTooManyTags
		}
		return nil
	})
}

func fits(set map[string]string) bool {
	size := 0
	for key, value := range set {
		size += len(key) + len(value)
	}
	return len(set) <= view.MostTags && size <= view.MostTagBytes
}

// change applies f to a copy of the queue and stores the copy.
func (t *tags) change(f func(tagsDocument) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := tagsDocument{maps.Clone(t.doc.Target), maps.Clone(t.doc.Reported)}
	if err := f(next); err != nil {
		return err
	}
	if maps.Equal(next.Target, t.doc.Target) && maps.Equal(next.Reported, t.doc.Reported) {
		return nil
	}
	if err := t.docs.Save(tagsName, tagsVersion, next); err != nil {
		return err
	}
	t.doc, t.last = next, time.Now()
	return nil
}

// pending returns the tags that the cloud does not have, and how long they still wait for others.
func (t *tags) pending(now time.Time) (map[string]string, time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	changes := make(map[string]string)
	for key, value := range t.doc.Target {
		if old, known := t.doc.Reported[key]; !known || old != value {
			changes[key] = value
		}
	}
	if len(changes) == 0 {
		t.pendingSince = time.Time{}
	} else if t.pendingSince.IsZero() {
		t.pendingSince = now
	}
	return changes, min(tagsQuiet-now.Sub(t.last), tagsMaxWait-now.Sub(t.pendingSince))
}

// record marks sent tags as accepted by the cloud, or drops them if they are not wanted.
func (t *tags) record(sent map[string]string, wanted bool) error {
	return t.change(func(doc tagsDocument) error {
		t.pendingSince = time.Time{}
		for key, value := range sent {
			if wanted {
				doc.Reported[key] = value
			} else if doc.Target[key] == value {
				delete(doc.Target, key)
			}
		}
		return nil
	})
}

// sendTags sends tags until ctx ends.
func (d *Device) sendTags(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; {
		changes, wait := d.tags.pending(time.Now())
		if len(changes) == 0 {
			select {
			case <-d.tags.wake:
			case <-ctx.Done():
			}
			continue
		}
		if wait > 0 {
			retry.Sleep(ctx, wait)
			continue
		}
		err := d.patchTags(ctx, changes)
		if isRefused(err) {
			err = d.sendEach(ctx, changes)
		}
		if err == nil {
			failures = 0
			continue
		}
		if failures++; failures == 1 && ctx.Err() == nil {
			d.o.Log.Warn().Err(err).Msg("cannot send tags, will retry")
		}
		retry.Sleep(ctx, reportDelay(failures, err, d.interval(), time.Now()))
	}
}

func (d *Device) patchTags(ctx context.Context, changes map[string]string) error {
	body := map[string]map[string]string{d.o.Identity().UUID: changes}
	err := d.call(ctx, call{method: "PATCH", path: "/device/v3/tags", body: body}, nil)
	if err == nil {
		err = d.tags.record(changes, true)
	}
	return err
}

// isRefused reports whether the cloud will never accept these tags.
func isRefused(err error) bool {
	status := statusOf(err)
	return status == fasthttp.StatusBadRequest || status == fasthttp.StatusRequestEntityTooLarge
}

// sendEach sends tags one by one and drops those that the cloud refuses.
func (d *Device) sendEach(ctx context.Context, changes map[string]string) error {
	for key, value := range changes {
		one := map[string]string{key: value}
		err := d.patchTags(ctx, one)
		if isRefused(err) {
			d.o.Log.Error().Err(err).Str("tag", key).Msg("dropped a tag that the cloud refuses")
			err = d.tags.record(one, false)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Tags gets the tags of the device from the cloud.
func (d *Device) Tags(ctx context.Context) ([]Tag, error) {
	i := d.o.Identity()
	var list found
	err := d.call(ctx, call{path: "/v7/device_tag", auth: i.resourceKey(),
		query: odata("id,tag_key,value", "device eq "+strconv.FormatInt(i.DeviceID, 10))}, &list)
	all := make([]Tag, 0, len(list.D))
	for _, t := range list.D {
		all = append(all, Tag{t.ID, t.Key, t.Value})
	}
	return all, err
}
