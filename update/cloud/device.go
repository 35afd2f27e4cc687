package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/update/view"
)

// Identity is what config.json says of the device and its cloud (docs/spec/cloud.md 1.2). Text is empty
// and a number 0 when it is not set.
type Identity struct {
	_ [0]func() // nobody compares it: no code for that

	Endpoint                     string // origin of the cloud API
	UUID, APIKey, DeviceAPIKey   string
	DeviceID, ApplicationID      int64
	RegisteredAt                 int64 // milliseconds since 1970
	Name                         string
	PollInterval, BootstrapDelay time.Duration
}

// Facts is what the device tells the cloud of itself (docs/spec/cloud.md 4.3); a nil or empty one is not
// known.
type Facts struct {
	_ [0]func() // nobody compares it: no code for that

	DeviceType            string
	OSVersion, OSVariant  *string
	SupervisorVersion     string
	IPAddress, MACAddress string // separated by blanks
	APIPort               int
	APISecret             string
}

// Terms is what the configuration says of talking to the cloud (docs/spec/cloud.md 6.2).
type Terms struct {
	Instant  bool          // poll at start and when the cloud asks for it
	Metrics  bool          // of the hardware are reported
	Patience time.Duration // for an answer of the cloud API
}

// Targets takes target states, as package update does.
type Targets interface {
	// SetCloudTarget makes the target durable, together with its etag, and applies it; changed is
	// false when it is the one that was stored last. An error of type *view.InvalidTargetError says
	// that nothing of it can be used.
	SetCloudTarget(body []byte, etag string, force bool) (changed bool, err error)
	// Heard notes that the stored target is the one the cloud has now.
	Heard()
	// CloudETag is the etag of the stored target, empty when there is none.
	CloudETag() string
	// Trigger tries to reach the target anew.
	Trigger(force, cancel bool) bool
	// AwaitPreload waits until what came with the image was looked at.
	AwaitPreload(ctx context.Context)
	// View is the current state; PinRequest the wish of a preload, PinDone forgets it.
	View() *view.State
	PinRequest() (app int, commit string, wanted bool)
	PinDone() error
}

// Documents is durable storage for small documents, as package store provides it.
type Documents interface {
	Load(name string, version int, v any) (found bool, err error)
	Save(name string, version int, v any) error
}

// Options is what a Device is built from. All functions may be called from any goroutine.
type Options struct {
	// Client returns a client of an origin.
	Client func(origin string) (*Client, error)
	// Identity reads config.json from memory, Reload from the file, and Save changes keys of it: it is
	// durable when it returns. A nil value removes a key.
	Identity func() Identity
	Reload   func() error
	Save     func(change map[string]any) error
	// FormerKeys are earlier keys of the device, the newest first: what the host put in place of a lost one is not known
	// to the cloud.
	FormerKeys func() []string
	Facts      func() Facts
	Terms      func() Terms
	// Metrics samples the hardware: fields of a report; with those of docs/spec/cloud.md 4.8 that are not
	// always collected if all are wanted.
	Metrics func(all bool) map[string]any
	// Initial lists the variables, without prefix, by which the device differs from the defaults and
	// of which the target's configuration says nothing (docs/spec/cloud.md 2.6).
	Initial func(config map[string]string) map[string]string
	// LateBoot says that Initial has boot configuration that was not acted upon before.
	LateBoot bool
	Targets  Targets
	Docs     Documents
	Cache    string // file of the last report that the cloud took
	Say      func(text string, stderr bool)
	Log      zerolog.Logger
}

// Device keeps a device in touch with its cloud: it registers it, polls its target state, reports its
// current state and sends its tags.
type Device struct {
	o      Options
	poller poller
	report reporter
	tags   tags
	known  bool         // the cloud said so when the device registered
	told   introduction // as it was read or stored last
	polled atomic.Int64
	began  time.Time
}

// NewDevice makes a device that does nothing before Run.
func NewDevice(o Options) (*Device, error) {
	d := &Device{o: o, began: time.Now()}
	d.poller = poller{wake: make(chan struct{}, 1)}
	d.report = reporter{d: d, wake: make(chan struct{}, 1), refused: make(map[string]refusedField)}
	d.tags.wake = make(chan struct{}, 1)
	return d, d.tags.open(o.Docs)
}

// Run talks to the cloud until ctx ends.
func (d *Device) Run(ctx context.Context) {
	if !d.settleIn(ctx) {
		return
	}
	var parts sync.WaitGroup
	parts.Go(func() { d.sendReports(ctx) })
	parts.Go(func() { d.sendTags(ctx) })
	d.poll(ctx)
	parts.Wait()
}

// Healthy tells whether a scheduled poll succeeded within two intervals; the start counts as one
// (docs/spec/cloud.md 9.2).
func (d *Device) Healthy(now time.Time) bool {
	return now.Sub(d.began)-time.Duration(d.polled.Load()) < 2*d.interval()
}

// interval is the time between polls; even a device that is told 0 leaves its cloud a second.
func (d *Device) interval() time.Duration { return max(d.o.Identity().PollInterval, time.Second) }

// call makes a call of the cloud API as the device: with its key, unless r says another.
func (d *Device) call(ctx context.Context, r call, out any) error {
	a, err := d.ask(ctx, r)
	if err == nil && !a.ok() {
		err = &refusal{r.path, a}
	}
	if err == nil && out != nil && json.Unmarshal(a.body, out) != nil {
		err = fmt.Errorf("%s: %w", r.path, errForeign)
	}
	return err
}

// ask is call for who looks at the answer.
func (d *Device) ask(ctx context.Context, r call) (answer, error) {
	i := d.o.Identity()
	c, err := d.o.Client(i.Endpoint)
	if err != nil {
		return answer{}, err
	}
	if r.auth == "" {
		r.auth = bearer(i.DeviceAPIKey)
	}
	r.patience = max(r.patience, d.o.Terms().Patience)
	return c.do(ctx, r)
}

func bearer(key string) string { return "Bearer " + key }

// odata is the query of a resource.
func odata(selected, filter string) url.Values {
	return url.Values{"$select": {selected}, "$filter": {filter}}
}

// found is the answer to a query of resources.
type found struct {
	D []struct {
		ID    int64  `json:"id"`
		UUID  string `json:"uuid"`
		Key   string `json:"tag_key"`
		Value string `json:"value"`
	} `json:"d"`
}

// resourceKey is what resources are asked for with (docs/spec/cloud.md A.1).
func (i Identity) resourceKey() string {
	if i.APIKey != "" {
		return bearer(i.APIKey)
	}
	return bearer(i.DeviceAPIKey)
}

// AppUUID asks the cloud for the uuid of an app (docs/spec/cloud.md 3.11).
func (d *Device) AppUUID(ctx context.Context, id int) (string, error) {
	var list found
	err := d.call(ctx, call{path: d.path("application", int64(id)), query: url.Values{"$select": {"uuid"}}, auth: d.o.Identity().resourceKey()}, &list)
	if err == nil && len(list.D) == 0 {
		err = fmt.Errorf("the cloud has no app %d", id)
	}
	if err != nil {
		return "", err
	}
	return list.D[0].UUID, nil
}

func (d *Device) path(resource string, id int64) string {
	return "/v7/" + resource + "(" + strconv.FormatInt(id, 10) + ")"
}

// retryBase is the first delay after a failure of the cloud.
const retryBase = 15 * time.Second

// backoff is the delay after the nth failure in a row, n from 1: 15, 30, 60 s ... up to the limit
// (docs/spec/cloud.md 3.2, 4.11).
func backoff(n int, limit time.Duration) time.Duration {
	if n > 30 {
		return limit
	}
	return min(limit, retryBase<<(n-1))
}

// retryAfter is what a server asks for in seconds or as a date, 0 when it asks for nothing
// (docs/spec/cloud.md Q7).
func retryAfter(header string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(header, 10, 32); err == nil {
		return time.Duration(min(n, math.MaxInt32)) * time.Second
	}
	if at, err := time.Parse(time.RFC1123, header); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// spread is the random part of a delay, below a minute and below the interval: devices that were
// switched on together do not stay together.
func spread(interval time.Duration) time.Duration {
	return rand.N(min(interval, time.Minute))
}

// rest waits for a time or the end of ctx, and reports whether it was the time.
func rest(ctx context.Context, span time.Duration) bool {
	t := time.NewTimer(span)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// poke leaves a token unless one waits already.
func poke(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// afterOf is what the answer that is the error says of when to come back.
func afterOf(err error) string {
	if r := (*refusal)(nil); errors.As(err, &r) {
		return r.after
	}
	return ""
}
