package cloud

import (
	"context"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"resin-supervisor/update/view"
)

// tags is the queue of tags that services set (docs/spec/cloud.md A.2).
type tags struct {
	wake chan struct{}
	docs Documents

	mu   sync.Mutex // held while saving
	doc  tagsDocument
	last time.Time // when one was set or taken
	held time.Time // since when the sender waits for setting tags to rest, zero when it does not
}

// tagsDocument holds what is wanted and what the cloud took.
type tagsDocument struct {
	Target   map[string]string `json:"target"`
	Reported map[string]string `json:"reported"`
}

const (
	tagsName    = "tags"
	tagsVersion = 1
	// tagsPause is how long setting tags must have rested: what is set in one go is sent in one go.
	tagsPause = 10 * time.Second
	// tagsMost is how long that may take: a service that never rests is heard all the same.
	tagsMost = time.Minute
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

// SetTags sets tags of the device. They are durable when it returns and sent later; view.ErrTooManyTags
// refuses more than are kept. The cloud keeps
// the names that begin with io.resin. or io.balena. for itself: they are left out (docs/spec/cloud.md Q13).
func (d *Device) SetTags(set map[string]string) error {
	own := maps.Clone(set)
	maps.DeleteFunc(own, func(key, _ string) bool {
		reserved := strings.HasPrefix(key, "io.resin.") || strings.HasPrefix(key, "io.balena.")
		if reserved {
			d.o.Log.Warn().Str("tag", key).Msg("a tag of the cloud's own cannot be set")
		}
		return reserved
	})
	err := d.tags.set(own)
	if err == nil {
		poke(d.tags.wake)
	}
	return err
}

// set adds tags to those that wait, and writes nothing when all are set already. When there is no room for
// more, those that the cloud has are forgotten first: they would only be sent again.
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

// change makes a changed queue durable.
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

// pending are the tags that the cloud does not have, and how long they are to wait for others.
func (t *tags) pending(now time.Time) (map[string]string, time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	news := make(map[string]string)
	for key, value := range t.doc.Target {
		if old, known := t.doc.Reported[key]; !known || old != value {
			news[key] = value
		}
	}
	if len(news) == 0 {
		t.held = time.Time{}
	} else if t.held.IsZero() {
		t.held = now
	}
	return news, min(tagsPause-now.Sub(t.last), tagsMost-now.Sub(t.held))
}

// took notes tags that the cloud has, or, where it will not have them, that they are not wanted.
func (t *tags) took(sent map[string]string, wanted bool) error {
	return t.change(func(doc tagsDocument) error {
		t.held = time.Time{}
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
		news, wait := d.tags.pending(time.Now())
		if len(news) == 0 {
			select {
			case <-d.tags.wake:
			case <-ctx.Done():
			}
			continue
		}
		if wait > 0 {
			rest(ctx, wait)
			continue
		}
		err := d.patchTags(ctx, news)
		if isRefused(err) {
			err = d.sift(ctx, news)
		}
		if err == nil {
			failures = 0
			continue
		}
		if failures++; failures == 1 && ctx.Err() == nil {
			d.o.Log.Warn().Err(err).Msg("tags were not sent, trying on")
		}
		rest(ctx, reportDelay(failures, err, d.interval(), time.Now()))
	}
}

func (d *Device) patchTags(ctx context.Context, news map[string]string) error {
	body := map[string]map[string]string{d.o.Identity().UUID: news}
	err := d.call(ctx, call{method: "PATCH", path: "/device/v3/tags", body: body}, nil)
	if err == nil {
		err = d.tags.took(news, true)
	}
	return err
}

// isRefused tells whether the cloud will not have what was sent, whenever it is sent.
func isRefused(err error) bool {
	status := refused(err)
	return status == fasthttp.StatusBadRequest || status == fasthttp.StatusRequestEntityTooLarge
}

// sift sends tags one by one and drops those that the cloud refuses.
func (d *Device) sift(ctx context.Context, news map[string]string) error {
	for key, value := range news {
		one := map[string]string{key: value}
		err := d.patchTags(ctx, one)
		if isRefused(err) {
			d.o.Log.Error().Err(err).Str("tag", key).Msg("the cloud refuses a tag, it is dropped")
			err = d.tags.took(one, false)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Tags asks the cloud for the tags of the device.
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
