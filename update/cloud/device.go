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

	"resin-supervisor/hostos/retry"
	"resin-supervisor/update/view"
)

// Identity holds the values of config.json that identify the device and its cloud (docs/spec/cloud.md 1.2).
// Values that are not set are empty or 0.
type Identity struct {
	_ [0]func() // nobody compares it: the compiler writes no code to do so

	Endpoint                     string // URL of the cloud API, without a path
	UUID, APIKey, DeviceAPIKey   string
	DeviceID, ApplicationID      int64
	RegisteredAt                 int64 // milliseconds since 1970
	Name                         string
	PollInterval, BootstrapDelay time.Duration
}

// Facts describes the device to the cloud (docs/spec/cloud.md 4.3). A nil or empty fact is unknown.
type Facts struct {
	DeviceType            string
	OSVersion, OSVariant  *string
	SupervisorVersion     string
	IPAddress, MACAddress string // several are separated by spaces
	APIPort               int
	APISecret             string
}

// Terms holds the configuration variables that concern the cloud (docs/spec/cloud.md 6.2).
type Terms struct {
	Instant  bool          // poll at start and when the cloud asks for it
	Metrics  bool          // report hardware metrics
	Patience time.Duration // timeout of calls of the cloud API
}

// Targets receives target states. Package update implements it.
type Targets interface {
	// SetCloudTarget stores the target durably, together with its etag, and applies it. changed is
	// false if it equals the stored target. An error of type *view.InvalidTargetError means that the
	// target is unusable.
	SetCloudTarget(body []byte, etag string, force bool) (changed bool, err error)
	// Heard records that the stored target is still the cloud's target.
	Heard()
	// CloudETag returns the etag of the stored target, empty when there is none.
	CloudETag() string
	// Retry starts another attempt to reach the target.
	Retry(force, cancel bool)
	// AwaitPreload waits until the preload is processed.
	AwaitPreload(ctx context.Context)
	// View returns the current state.
	View() *view.State
	// PinRequest returns the release that the preload wants the device pinned to.
	PinRequest() (app int, commit string, wanted bool)
	// PinDone deletes the pin request.
	PinDone() error
}

// Documents stores small documents durably. Package store implements it.
type Documents interface {
	Load(name string, version int, v any) (found bool, err error)
	Save(name string, version int, v any) error
}

// Options configures a Device. All functions are safe for concurrent use.
type Options struct {
	// Client returns a client of a server.
	Client func(origin string) (*Client, error)
	// Identity returns the values of config.json from memory.
	Identity func() Identity
	// Reload reads config.json again.
	Reload func() error
	// Save changes keys of config.json durably. A nil value removes a key.
	Save func(change map[string]any) error
	// FormerKeys returns earlier keys of the device, the newest first. The cloud does not know a key that the
	// host generated in place of a lost one.
	FormerKeys func() []string
	Facts      func() Facts
	Terms      func() Terms
	// Metrics samples the hardware and returns fields of a report. With all it includes the optional metrics
	// of docs/spec/cloud.md 4.8.
	Metrics func(all bool) map[string]any
	// Initial returns the variables, without prefix, that differ from their defaults and are missing in
	// config, the target's configuration (docs/spec/cloud.md 2.6).
	Initial func(config map[string]string) map[string]string
	// LateBoot means that Initial includes boot configuration that earlier versions did not support.
	LateBoot bool
	Targets  Targets
	Docs     Documents
	Cache    string // path of the file with the last accepted report
	Say      func(text string, stderr bool)
	Log      zerolog.Logger
}

// Device connects a device with its cloud: it registers the device, polls its target state, reports its
// current state and sends its tags.
type Device struct {
	o            Options
	poller       poller
	report       reporter
	tags         tags
	knownToCloud bool         // the cloud answered that the device is registered already
	introduced   introduction // as last loaded or saved
	polled       atomic.Int64
	started      time.Time
}

// NewDevice makes a Device. Run starts it.
func NewDevice(o Options) (*Device, error) {
	d := &Device{o: o, started: time.Now()}
	d.poller = poller{wake: make(chan struct{}, 1)}
	d.report = reporter{d: d, wake: make(chan struct{}, 1), refused: make(map[string]refusedField)}
	d.tags.wake = make(chan struct{}, 1)
	return d, d.tags.open(o.Docs)
}

// Run talks to the cloud until ctx ends.
func (d *Device) Run(ctx context.Context) {
	if !d.prepare(ctx) {
		return
	}
	var parts sync.WaitGroup
	parts.Go(func() { d.sendReports(ctx) })
	parts.Go(func() { d.sendTags(ctx) })
	d.poll(ctx)
	parts.Wait()
}

// Healthy reports whether a scheduled poll succeeded within the last two intervals. The start counts as a
// successful poll (docs/spec/cloud.md 9.2).
func (d *Device) Healthy(now time.Time) bool {
	return now.Sub(d.started)-time.Duration(d.polled.Load()) < 2*d.interval()
}

// interval returns the time between polls, at least a second.
func (d *Device) interval() time.Duration { return max(d.o.Identity().PollInterval, time.Second) }

// call calls the cloud API with the device's key, unless r has other credentials. It decodes the answer into out.
func (d *Device) call(ctx context.Context, r call, out any) error {
	a, err := d.ask(ctx, r)
	if err == nil && !a.ok() {
		err = &statusError{r.path, a}
	}
	if err == nil && out != nil && json.Unmarshal(a.body, out) != nil {
		err = fmt.Errorf("%s: %w", r.path, errNotCloud)
	}
	return err
}

// ask is call for callers that handle the answer themselves.
func (d *Device) ask(ctx context.Context, r call) (answer, error) {
	i := d.o.Identity()
	c, err := d.o.Client(i.Endpoint)
	if err != nil {
		return answer{}, err
	}
	if r.auth == "" {
		r.auth = bearer(i.DeviceAPIKey)
	}
	r.timeout = max(r.timeout, d.o.Terms().Patience)
	return c.do(ctx, r)
}

func bearer(key string) string { return "Bearer " + key }

// odata builds an OData query of a resource.
func odata(selected, filter string) url.Values {
	return url.Values{"$select": {selected}, "$filter": {filter}}
}

// found is the answer to an OData query.
type found struct {
	D []struct {
		ID    int64  `json:"id"`
		UUID  string `json:"uuid"`
		Key   string `json:"tag_key"`
		Value string `json:"value"`
	} `json:"d"`
}

// resourceKey returns the credentials for queries of resources (docs/spec/cloud.md A.1).
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

// backoff returns the delay after the nth failure in a row, n from 1: 15, 30, 60 s ... up to the limit
// (docs/spec/cloud.md 3.2, 4.11).
func backoff(n int, limit time.Duration) time.Duration {
	return retry.Backoff(n, 15*time.Second, limit)
}

// retryAfter reads a Retry-After header, in seconds or as a date. It returns 0 if the header is empty or invalid
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

// jitter returns a random delay below a minute and below the interval, so that devices that were switched on
// together do not poll together.
func jitter(interval time.Duration) time.Duration {
	return rand.N(min(interval, time.Minute))
}

// notify puts a token into the channel unless one is there already.
func notify(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// retryAfterOf returns the Retry-After header of the answer in a statusError.
func retryAfterOf(err error) string {
	if r := (*statusError)(nil); errors.As(err, &r) {
		return r.retryAfter
	}
	return ""
}
