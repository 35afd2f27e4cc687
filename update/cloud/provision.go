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

	"resin-supervisor/hostos/retry"
)

// prepare registers the device, which must happen before the first poll, and waits for the preload. It retries
// until registration succeeds, or until the cloud knows the device and permanently refuses a remaining step:
// finishProvisioning retries that step later (docs/spec/cloud.md 2.7). It returns false if ctx ended first.
func (d *Device) prepare(ctx context.Context) bool {
	last := ""
	for answers := 0; ; {
		err := d.provision(ctx, true)
		if isAnswered(err) {
			answers++
		} else {
			answers = 0
		}
		if err == nil || isPermanent(err, answers) && (d.knownToCloud || d.o.Identity().RegisteredAt != 0) {
			break
		}
		if text := err.Error(); text != last && ctx.Err() == nil {
			last = text
			d.o.Log.Warn().Err(err).Msg("cannot register the device with the cloud, will retry")
		}
		if !retry.Sleep(ctx, max(d.o.Identity().BootstrapDelay, 100*time.Millisecond)) {
			return false
		}
	}
	d.awaitPreload(ctx)
	return ctx.Err() == nil
}

// permanentAfter is how many failed answers in a row make a failure permanent.
const permanentAfter = 20

// isAnswered reports whether the server answered the call that failed.
func isAnswered(err error) bool { return statusOf(err) != 0 || errors.Is(err, errNotCloud) }

// isPermanent reports whether retrying the failed step is useless. An unknown key or device is not permanent:
// polls would fail too, so registration must continue.
func isPermanent(err error, answers int) bool {
	return !isUnknown(err) && (isFinalStatus(statusOf(err)) || answers >= permanentAfter)
}

// isFinalStatus reports whether the same call would always get this status.
func isFinalStatus(status int) bool {
	return status >= 400 && status < 500 && status != fasthttp.StatusRequestTimeout && status != fasthttp.StatusTooManyRequests
}

// finishProvisioning does the provisioning steps that may follow the first poll. Until they succeed it runs before
// each poll, so that a device to be pinned does not run another release first. A failure does not stop the poll
// (docs/spec/cloud.md 2.7, 8.2). It never changes the identity, because reports are sent at the same time.
func (d *Device) finishProvisioning(ctx context.Context) {
	p := &d.poller
	if _, _, pin := d.o.Targets.PinRequest(); !pin && d.o.Identity().provisioned() {
		p.retryProvision, p.provisionFailures = nil, 0
		return
	}
	err := d.provision(ctx, false)
	if err == nil {
		err = d.pin(ctx)
	}
	if err == nil {
		p.retryProvision, p.provisionFailures = nil, 0
		return
	}
	if p.provisionFailures++; p.provisionFailures == 1 && ctx.Err() == nil {
		d.o.Log.Warn().Err(err).Msg("provisioning is not complete, will retry while polls continue")
	}
	p.retryProvision = time.After(backoff(p.provisionFailures, d.interval()))
}

// provisioned reports whether registration is complete.
func (i Identity) provisioned() bool { return i.RegisteredAt != 0 && i.DeviceID != 0 && i.APIKey == "" }

// provision makes one attempt. Only config.json records the progress, so after a crash the same step is repeated
// with the same identity:
//
//	no registered_at                -> register, or find out that the device is registered
//	registered_at, no deviceId      -> exchange keys
//	registered_at, deviceId, apiKey -> exchange keys, the identity stays
//	registered_at, deviceId         -> done
//
// With regenerate, a device that the cloud does not know gets a new identity.
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
		id, err = d.exchangeKeys(ctx, i, regenerate)
	default:
		id, err = d.exchangeKeys(ctx, i, false)
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
	if statusOf(err) == fasthttp.StatusConflict {
		d.knownToCloud = true
		return d.exchangeKeys(ctx, i, regenerate)
	}
	if err == nil && made.ID == 0 {
		err = errors.New("register: the answer has no id")
	}
	return made.ID, err
}

// exchangeKeys makes sure that the cloud knows the device's own key, and returns the device's id
// (docs/spec/cloud.md 2.5). The device gets a new identity only if the cloud answers for both keys that it does not
// know the device: an outage must not turn one device into two (Q3).
func (d *Device) exchangeKeys(ctx context.Context, i Identity, regenerate bool) (id int64, err error) {
	if i.DeviceAPIKey != "" {
		if id, err = d.lookUp(ctx, i.UUID, i.DeviceAPIKey); err == nil {
			return id, nil
		}
	}
	own := err
	if i.APIKey == "" {
		if isUnknown(err) && d.restoreFormerKey(ctx, i) {
			return d.o.Identity().DeviceID, nil
		}
		return 0, fmt.Errorf("exchange keys: config.json has no apiKey (%w)", err)
	}
	if id, err = d.lookUp(ctx, i.UUID, i.APIKey); err == nil {
		path := "/api-key/device/" + strconv.FormatInt(id, 10) + "/device-key"
		var a answer
		a, err = d.ask(ctx, call{method: "POST", path: path, auth: bearer(i.APIKey), body: map[string]string{"apiKey": i.DeviceAPIKey}})
		if err == nil && a.status != fasthttp.StatusOK {
			err = &statusError{path, a}
		}
	}
	switch {
	case err == nil:
		return id, nil
	case own != nil && !isUnknown(own): // the cloud may know the device key
		return 0, own
	case !regenerate || !isUnknown(err):
		return 0, err
	}
	d.knownToCloud = false
	d.o.Log.Warn().Err(err).Msg("the cloud does not know this device, registering it with a new identity")
	if err := d.o.Save(map[string]any{"uuid": newID(), "deviceApiKey": newID(), "registered_at": nil, "deviceId": nil}); err != nil {
		return 0, err
	}
	return 0, errors.New("the device has a new identity, which is not registered yet")
}

// restoreFormerKey restores an earlier key of the device after the cloud refused the one in config.json
// (docs/spec/host.md 3.2). It reports whether the cloud accepted an earlier key.
func (d *Device) restoreFormerKey(ctx context.Context, i Identity) bool {
	for _, key := range d.o.FormerKeys() {
		id, err := d.lookUp(ctx, i.UUID, key)
		if err != nil {
			continue
		}
		if err = d.o.Save(map[string]any{"deviceApiKey": key, "deviceId": id}); err == nil {
			d.o.Log.Warn().Msg("the cloud refused the deviceApiKey of config.json, restored an earlier one")
			return true
		}
		d.o.Log.Error().Err(err).Msg("cannot store the earlier deviceApiKey that the cloud accepts, will retry")
	}
	return false
}

var errUnknown = errors.New("the cloud has no such device")

// errNotCloud means that another server answered, such as the login page of a network.
var errNotCloud = errors.New("the answer does not come from the cloud API")

func isUnknown(err error) bool {
	status := statusOf(err)
	return errors.Is(err, errUnknown) || status == fasthttp.StatusUnauthorized || status == fasthttp.StatusNotFound
}

// lookUp asks the cloud for the device's id with the given key.
func (d *Device) lookUp(ctx context.Context, uuid, key string) (int64, error) {
	var list found
	err := d.call(ctx, call{path: "/v7/device", query: odata("id", "uuid eq '"+uuid+"'"), auth: bearer(key)}, &list)
	switch {
	case err != nil:
		return 0, err
	case list.D == nil || len(list.D) > 0 && list.D[0].ID == 0:
		return 0, fmt.Errorf("look the device up: %w", errNotCloud)
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

// preloadTimeout limits the wait for the preload, which needs the engine, before the first poll.
const preloadTimeout = time.Minute

// awaitPreload waits for the preload, which takes precedence over the cloud's target.
func (d *Device) awaitPreload(ctx context.Context) {
	waiting, cancel := context.WithTimeout(ctx, preloadTimeout)
	defer cancel()
	d.o.Targets.AwaitPreload(waiting)
}

// pin pins the device to the release of its preload, if the preload asks for that (docs/spec/cloud.md 8.2).
func (d *Device) pin(ctx context.Context) error {
	app, commit, wanted := d.o.Targets.PinRequest()
	if !wanted {
		return nil
	}
	if app == 0 || commit == "" {
		d.o.Log.Warn().Int("app", app).Str("commit", commit).Msg("dropped an incomplete request to pin the device")
		return d.o.Targets.PinDone()
	}
	var list found
	filter := "belongs_to__application eq " + strconv.Itoa(app) + " and commit eq '" + commit + "' and status eq 'success'"
	if err := d.call(ctx, call{path: "/v7/release", query: odata("id", filter)}, &list); err != nil {
		return err
	}
	if len(list.D) == 0 {
		d.o.Log.Warn().Str("commit", commit).Msg("dropped the request to pin the device: the cloud does not have the release")
		return d.o.Targets.PinDone()
	}
	err := d.call(ctx, call{method: "PATCH", path: d.path("device", d.o.Identity().DeviceID), body: map[string]int64{"is_pinned_on__release": list.D[0].ID}}, nil)
	if err != nil {
		return err
	}
	return d.o.Targets.PinDone()
}

// introduction records durably which cloud received the device's initial configuration.
type introduction struct {
	Endpoint string `json:"endpoint"`
	Boot     bool   `json:"boot"`               // it included boot configuration, which earlier versions left out
	LateBoot bool   `json:"lateBoot,omitempty"` // it included the boot configuration of Options.LateBoot
}

const (
	introductionName    = "introduction"
	introductionVersion = 1
)

// introduce sends the device's non-default configuration to a cloud that does not have it yet, so that the first
// target does not reset it (docs/spec/cloud.md 2.6). It returns the target to use: f, or a newer one.
func (d *Device) introduce(ctx context.Context, f *fetchedTarget) (*fetchedTarget, error) {
	i := d.o.Identity()
	done, err := d.introduction()
	if err != nil || d.isComplete(done) {
		return f, err
	}
	config, err := configOf(f.body, i.UUID)
	if err != nil {
		return nil, err
	}
	initial := d.o.Initial(config)
	if i.DeviceID == 0 {
		if len(initial) > 0 {
			err = errors.New("the target would reset configuration that the cloud does not have yet: the device's id is not known")
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
		switch status := statusOf(err); {
		case err == nil, status == fasthttp.StatusConflict: // an earlier attempt set it
			posted = true
		case isFinalStatus(status): // a refused variable must not block the target
			d.o.Log.Error().Err(err).Str("variable", name).Msg("skipped a variable of the initial configuration that the cloud refuses")
			d.o.Say("Unable to report initial configuration variable "+name+" to API", true)
		default:
			return nil, err
		}
	}
	if posted { // f lacks the variables just posted, and would reset them
		if f, err = d.get(ctx, ""); err != nil {
			return nil, err
		}
	}
	if i.Name != "" && done.Endpoint != i.Endpoint {
		err := d.call(ctx, call{method: "PATCH", path: d.path("device", i.DeviceID), body: map[string]string{"device_name": i.Name}}, nil)
		if err != nil {
			d.o.Log.Warn().Err(err).Msg("cannot set the device name in the cloud")
			d.o.Say("Unable to report initial device name to API", true)
		}
	}
	done = introduction{i.Endpoint, true, d.o.LateBoot}
	if err = d.o.Docs.Save(introductionName, introductionVersion, done); err == nil {
		d.introduced = done
	}
	return f, err
}

// introduction returns the record of the last introduction, which it loads once.
func (d *Device) introduction() (introduction, error) {
	if d.introduced == (introduction{}) {
		if _, err := d.o.Docs.Load(introductionName, introductionVersion, &d.introduced); err != nil {
			return introduction{}, err
		}
	}
	return d.introduced, nil
}

// isComplete reports whether the cloud has the complete initial configuration.
func (d *Device) isComplete(done introduction) bool {
	return done.Endpoint == d.o.Identity().Endpoint && done.Boot && (done.LateBoot || !d.o.LateBoot)
}

// configOf returns the configuration of a device in a target.
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
