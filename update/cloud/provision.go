package cloud

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// settleIn registers the device, which has to come before the first poll, and waits for what came with the image.
// Registration is tried until it succeeds, or until it is clear that the cloud knows the device and will not have
// a step that is left: finish goes on with that (docs/spec/cloud.md 2.7). It returns false when ctx ended first.
func (d *Device) settleIn(ctx context.Context) bool {
	last := ""
	for answers := 0; ; {
		err := d.provision(ctx, true)
		if isAnswer(err) {
			answers++
		} else {
			answers = 0
		}
		if err == nil || isLasting(err, answers) && (d.known || d.o.Identity().RegisteredAt != 0) {
			break
		}
		if text := err.Error(); text != last && ctx.Err() == nil {
			last = text
			d.o.Log.Warn().Err(err).Msg("device is not ready for its cloud yet, trying on")
		}
		if !rest(ctx, max(d.o.Identity().BootstrapDelay, 100*time.Millisecond)) {
			return false
		}
	}
	d.awaitPreload(ctx)
	return ctx.Err() == nil
}

// lastingAnswers is after how many answers in a row there is no sense in waiting for another one.
const lastingAnswers = 20

// isAnswer tells whether the call that failed was answered.
func isAnswer(err error) bool { return refused(err) != 0 || errors.Is(err, errForeign) }

// isLasting tells whether the step that failed will go on failing. It does not say so of a key or
// device that the cloud does not know: without those a poll is in vain too.
func isLasting(err error, answers int) bool {
	return !isUnknown(err) && (isFinal(refused(err)) || answers >= lastingAnswers)
}

// isFinal tells whether the answer to the same call will be the same whenever it is made.
func isFinal(status int) bool {
	return status >= 400 && status < 500 && status != fasthttp.StatusRequestTimeout && status != fasthttp.StatusTooManyRequests
}

// finish carries out what of provisioning may follow the first poll. It goes before polls as long as it is not
// done, so that a device that is to be pinned does not run another release in between, but no poll waits for
// its success (docs/spec/cloud.md 2.7, 8.2). The identity stays: reports are sent beside it.
func (d *Device) finish(ctx context.Context) {
	p := &d.poller
	if _, _, pin := d.o.Targets.PinRequest(); !pin && d.o.Identity().provisioned() {
		p.again, p.unfinished = nil, 0
		return
	}
	err := d.provision(ctx, false)
	if err == nil {
		err = d.pin(ctx)
	}
	if err == nil {
		p.again, p.unfinished = nil, 0
		return
	}
	if p.unfinished++; p.unfinished == 1 && ctx.Err() == nil {
		d.o.Log.Warn().Err(err).Msg("provisioning is not complete, will retry beside polls")
	}
	p.again = time.After(backoff(p.unfinished, d.interval()))
}

// provisioned tells whether nothing of registration is left to be done.
func (i Identity) provisioned() bool { return i.RegisteredAt != 0 && i.DeviceID != 0 && i.APIKey == "" }

// provision makes one attempt. Where the device stands is in config.json alone, so that a crash at
// any point repeats the step with the same identity:
//
//	no registered_at                -> register, or find out that we are registered
//	registered_at, no deviceId      -> exchange keys
//	registered_at, deviceId, apiKey -> exchange keys, the identity stays
//	registered_at, deviceId         -> done
//
// With regenerate, a device that the cloud does not know becomes another one.
func (d *Device) provision(ctx context.Context, regenerate bool) error {
	i := d.o.Identity()
	id, at := i.DeviceID, i.RegisteredAt
	var err error
	switch {
	case i.provisioned():
		return nil
	case at == 0:
		id, err = d.register(ctx, i, regenerate)
		at = time.Now().UnixMilli()
	case id == 0:
		id, err = d.exchange(ctx, i, regenerate)
	default:
		id, err = d.exchange(ctx, i, false)
	}
	if err != nil {
		return err
	}
	if err := d.o.Save(map[string]any{"registered_at": at, "deviceId": id, "apiKey": nil}); err != nil {
		return err
	}
	d.o.Log.Info().Int64("device", id).Msg("device is registered")
	return nil
}

// register makes the device known to the cloud (docs/spec/cloud.md 2.4).
func (d *Device) register(ctx context.Context, i Identity, regenerate bool) (id int64, err error) {
	if i.APIKey == "" || i.ApplicationID == 0 || i.UUID == "" {
		return 0, errors.New("register: config.json has no apiKey, applicationId or uuid")
	}
	f := d.o.Facts()
	var made struct {
		ID int64 `json:"id"`
	}
	err = d.call(ctx, call{method: "POST", path: "/device/register", auth: bearer(i.APIKey), body: struct {
		Application       int64   `json:"application"`
		UUID              string  `json:"uuid"`
		DeviceType        string  `json:"device_type"`
		APIKey            string  `json:"api_key"`
		SupervisorVersion string  `json:"supervisor_version"`
		OSVersion         *string `json:"os_version,omitempty"`
		OSVariant         *string `json:"os_variant,omitempty"`
		MACAddress        string  `json:"mac_address,omitempty"`
	}{i.ApplicationID, i.UUID, f.DeviceType, i.DeviceAPIKey, f.SupervisorVersion, f.OSVersion, f.OSVariant, f.MACAddress}}, &made)
	if refused(err) == fasthttp.StatusConflict {
		d.known = true
		return d.exchange(ctx, i, regenerate)
	}
	if err == nil && made.ID == 0 {
		err = errors.New("register: the answer has no id")
	}
	return made.ID, err
}

// exchange makes sure that the cloud knows the device's own key, and returns the device's id
// (docs/spec/cloud.md 2.5). Only definite answers to both keys that the device is not known lead to another
// identity: after an outage there must not be two devices (Q3).
func (d *Device) exchange(ctx context.Context, i Identity, regenerate bool) (id int64, err error) {
	if i.DeviceAPIKey != "" {
		if id, err = d.lookUp(ctx, i.UUID, i.DeviceAPIKey); err == nil {
			return id, nil
		}
	}
	own := err
	if i.APIKey == "" {
		if isUnknown(err) && d.recall(ctx, i) {
			return d.o.Identity().DeviceID, nil
		}
		return 0, fmt.Errorf("exchange keys: config.json has no apiKey (%w)", err)
	}
	if id, err = d.lookUp(ctx, i.UUID, i.APIKey); err == nil {
		path := "/api-key/device/" + strconv.FormatInt(id, 10) + "/device-key"
		var a answer
		a, err = d.ask(ctx, call{method: "POST", path: path, auth: bearer(i.APIKey), body: map[string]string{"apiKey": i.DeviceAPIKey}})
		if err == nil && a.status != fasthttp.StatusOK {
			err = &refusal{path, a}
		}
	}
	switch {
	case err == nil:
		return id, nil
	case own != nil && !isUnknown(own): // the key may well be known
		return 0, own
	case !regenerate || !isUnknown(err):
		return 0, err
	}
	d.known = false
	d.o.Log.Warn().Err(err).Msg("the cloud does not know this device, it registers anew")
	if err := d.o.Save(map[string]any{"uuid": newID(), "deviceApiKey": newID(), "registered_at": nil, "deviceId": nil}); err != nil {
		return 0, err
	}
	return 0, errors.New("the device has a new identity, still to be registered")
}

// recall goes back to an earlier key of the device, of which the cloud says that it is good: the one in config.json
// was refused (docs/spec/host.md 3.2). It tells whether there was one.
func (d *Device) recall(ctx context.Context, i Identity) bool {
	for _, key := range d.o.FormerKeys() {
		id, err := d.lookUp(ctx, i.UUID, key)
		if err != nil {
			continue
		}
		if err = d.o.Save(map[string]any{"deviceApiKey": key, "deviceId": id}); err == nil {
			d.o.Log.Warn().Msg("the cloud refused the deviceApiKey of config.json, the one before is back")
			return true
		}
		d.o.Log.Error().Err(err).Msg("the cloud knows an earlier deviceApiKey, which was not stored")
	}
	return false
}

var errUnknown = errors.New("the cloud has no such device")

// errForeign says that somebody else answered, such as a page that asks for a login.
var errForeign = errors.New("the answer is not the cloud's")

func isUnknown(err error) bool {
	status := refused(err)
	return errors.Is(err, errUnknown) || status == fasthttp.StatusUnauthorized || status == fasthttp.StatusNotFound
}

// lookUp is the id of the device as the holder of a key sees it.
func (d *Device) lookUp(ctx context.Context, uuid, key string) (int64, error) {
	var list found
	err := d.call(ctx, call{path: "/v7/device", query: odata("id", "uuid eq '"+uuid+"'"), auth: bearer(key)}, &list)
	switch {
	case err != nil:
		return 0, err
	case list.D == nil || len(list.D) > 0 && list.D[0].ID == 0:
		return 0, fmt.Errorf("look the device up: %w", errForeign)
	case len(list.D) == 0:
		return 0, errUnknown
	}
	return list.D[0].ID, nil
}

// newID makes a uuid or key (docs/spec/cloud.md 2.2).
func newID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// preloadPatience is how long the engine, which a preload needs, may take before the cloud is heard
// all the same.
const preloadPatience = time.Minute

// awaitPreload waits for what came with the image, which comes before what the cloud says.
func (d *Device) awaitPreload(ctx context.Context) {
	waiting, cancel := context.WithTimeout(ctx, preloadPatience)
	defer cancel()
	d.o.Targets.AwaitPreload(waiting)
}

// pin carries out the wish of a preload to stay at its release (docs/spec/cloud.md 8.2).
func (d *Device) pin(ctx context.Context) error {
	app, commit, wanted := d.o.Targets.PinRequest()
	if !wanted {
		return nil
	}
	if app == 0 || commit == "" {
		d.o.Log.Warn().Int("app", app).Str("commit", commit).Msg("request to pin the device is not complete, it is dropped")
		return d.o.Targets.PinDone()
	}
	var list found
	filter := "belongs_to__application eq " + strconv.Itoa(app) + " and commit eq '" + commit + "' and status eq 'success'"
	if err := d.call(ctx, call{path: "/v7/release", query: odata("id", filter)}, &list); err != nil {
		return err
	}
	if len(list.D) == 0 {
		d.o.Log.Warn().Str("commit", commit).Msg("the cloud has no release to pin the device to, the request is dropped")
		return d.o.Targets.PinDone()
	}
	err := d.call(ctx, call{method: "PATCH", path: d.path("device", d.o.Identity().DeviceID), body: map[string]int64{"is_pinned_on__release": list.D[0].ID}}, nil)
	if err != nil {
		return err
	}
	return d.o.Targets.PinDone()
}

// introduction is the durable note of which cloud was told how the device is configured.
type introduction struct {
	Endpoint string `json:"endpoint"`
	Boot     bool   `json:"boot"`               // boot configuration was told too, of which earlier agents knew nothing
	LateBoot bool   `json:"lateBoot,omitempty"` // also of what came late to it
}

const (
	introductionName    = "introduction"
	introductionVersion = 1
)

// introduce tells a cloud that the device is new to what of its configuration is out of the ordinary, so that the
// first target does not reset it (docs/spec/cloud.md 2.6). It returns the target that f is after that.
func (d *Device) introduce(ctx context.Context, f *fetched) (*fetched, error) {
	i := d.o.Identity()
	done, err := d.introduction()
	if err != nil || d.covers(done) {
		return f, err
	}
	config, err := configOf(f.body, i.UUID)
	if err != nil {
		return nil, err
	}
	initial := d.o.Initial(config)
	if i.DeviceID == 0 {
		if len(initial) > 0 {
			err = errors.New("the target would reset configuration of which the cloud cannot be told before the device's id is known")
		}
		return f, err
	}
	posted := false
	for name, value := range initial {
		err := d.call(ctx, call{method: "POST", path: "/v7/device_config_variable", body: struct {
			Value  string `json:"value"`
			Device int64  `json:"device"`
			Name   string `json:"name"`
		}{value, i.DeviceID, "RESIN_" + name}}, nil)
		switch status := refused(err); {
		case err == nil, status == fasthttp.StatusConflict: // an earlier attempt got so far
			posted = true
		case isFinal(status): // one that the cloud will not have must not keep the device from its target
			d.o.Log.Error().Err(err).Str("variable", name).Msg("the cloud refuses a variable of the initial configuration, it is left out")
			d.o.Say("Unable to report initial configuration variable "+name+" to API", true)
		default:
			return nil, err
		}
	}
	if posted { // f says nothing of what was just told, and would reset it
		if f, err = d.get(ctx, ""); err != nil {
			return nil, err
		}
	}
	if i.Name != "" && done.Endpoint != i.Endpoint {
		err := d.call(ctx, call{method: "PATCH", path: d.path("device", i.DeviceID), body: map[string]string{"device_name": i.Name}}, nil)
		if err != nil {
			d.o.Log.Warn().Err(err).Msg("device name was not set in the cloud")
			d.o.Say("Unable to report initial device name to API", true)
		}
	}
	done = introduction{i.Endpoint, true, d.o.LateBoot}
	if err = d.o.Docs.Save(introductionName, introductionVersion, done); err == nil {
		d.told = done
	}
	return f, err
}

// introduction is the note of which cloud was told. It is read once.
func (d *Device) introduction() (introduction, error) {
	if d.told == (introduction{}) {
		if _, err := d.o.Docs.Load(introductionName, introductionVersion, &d.told); err != nil {
			return introduction{}, err
		}
	}
	return d.told, nil
}

// covers tells whether the note says that the cloud was told all there is to tell.
func (d *Device) covers(done introduction) bool {
	return done.Endpoint == d.o.Identity().Endpoint && done.Boot && (done.LateBoot || !d.o.LateBoot)
}

// configOf is the configuration that a target has for a device.
func configOf(target []byte, uuid string) (map[string]string, error) {
	var devices map[string]struct {
		Config map[string]string `json:"config"`
	}
	if err := json.Unmarshal(target, &devices); err != nil {
		return nil, fmt.Errorf("target state: %w", err)
	}
	if devices[uuid].Config == nil {
		return nil, errors.New("target state has no configuration for the device")
	}
	return devices[uuid].Config, nil
}
