package fakecloud

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Device is one device as the cloud knows it; copies are handed out.
type Device struct {
	ID          int
	UUID        string
	Key         string
	Application int
	Name        string
	Registered  map[string]any    // body it registered with, nil when it was there before
	State       map[string]any    // what it reported, as the cloud keeps it
	Apps        map[string]any    // apps of the last report that had any
	Config      map[string]string // variables it posted
	Tags        map[string]string
	Pinned      int  // release id, 0 for none
	Gone        bool // frozen

	target map[string]any
	text   json.RawMessage // the target word for word, nil when it is of no importance
}

type release struct {
	id, application int
	commit          string
}

// ProvisioningKey opens a fleet: devices may register with the key.
func (c *Cloud) ProvisioningKey(application int, key string) {
	c.Set(func(c *Cloud) {
		if c.fleets == nil {
			c.fleets = make(map[int]string)
		}
		c.fleets[application] = key
	})
}

// Add makes a device that is registered already.
func (c *Cloud) Add(uuid, key string, application int) Device {
	d := &Device{UUID: uuid, Key: key, Application: application}
	c.Set(func(c *Cloud) { c.join(d) })
	return *d
}

// join gives a device its id. The caller holds mu.
func (c *Cloud) join(d *Device) {
	c.lastID++
	d.ID = cmp.Or(c.FirstID, 4711) + c.lastID - 1
	d.State, d.Config, d.Tags = map[string]any{}, map[string]string{}, map[string]string{}
	if d.target = c.waiting[d.UUID]; d.target == nil {
		d.target = map[string]any{"name": "device-" + d.UUID[:min(7, len(d.UUID))], "config": map[string]any{}, "apps": map[string]any{}}
	}
	c.devices = append(c.devices, d)
}

// Devices are copies of all devices, in the order in which they came.
func (c *Cloud) Devices() []Device {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []Device
	for _, d := range c.devices {
		list = append(list, d.copy())
	}
	return list
}

// Device is a copy of the device; the test ends when there is none.
func (c *Cloud) Device(t testing.TB, uuid string) Device {
	t.Helper()
	for _, d := range c.Devices() {
		if d.UUID == uuid {
			return d
		}
	}
	t.Fatalf("the cloud does not know device %s", uuid)
	return Device{}
}

func (d *Device) copy() Device {
	c := *d
	c.State, c.Config, c.Tags, c.Apps = maps.Clone(d.State), maps.Clone(d.Config), maps.Clone(d.Tags), maps.Clone(d.Apps)
	return c
}

// Change changes a device, such as its key or whether it is gone.
func (c *Cloud) Change(uuid string, change func(d *Device)) {
	c.Set(func(c *Cloud) {
		if d := c.byUUID(uuid); d != nil {
			change(d)
		}
	})
}

// Assign gives a device its target: the object below the device's uuid (docs/spec/cloud.md 3.5). The
// releases and images that it names are known from then on. A device that the cloud does not know yet
// has it as soon as it registers.
func (c *Cloud) Assign(uuid string, entry map[string]any) {
	raw, err := json.Marshal(entry)
	if err != nil {
		panic(err)
	}
	c.Set(func(c *Cloud) {
		var target map[string]any
		if err := json.Unmarshal(raw, &target); err != nil {
			panic(err)
		}
		c.learn(target)
		if d := c.byUUID(uuid); d != nil {
			d.target, d.text = target, nil
			return
		}
		if c.waiting == nil {
			c.waiting = make(map[string]map[string]any)
		}
		c.waiting[uuid] = target
	})
}

// AssignText is Assign with the target of a known device word for word.
func (c *Cloud) AssignText(t testing.TB, uuid string, entry json.RawMessage) {
	t.Helper()
	var target map[string]any
	if err := json.Unmarshal(entry, &target); err != nil {
		t.Fatal(err)
	}
	c.Assign(uuid, target)
	c.Change(uuid, func(d *Device) { d.text = entry })
}

// Learn makes the cloud know the releases and images of a target that no device has.
func (c *Cloud) Learn(target map[string]any) { c.Set(func(c *Cloud) { c.learn(target) }) }

// Delete makes the cloud forget a device and the key that belongs to it.
func (c *Cloud) Delete(uuid string) {
	c.Set(func(c *Cloud) {
		c.devices = slices.DeleteFunc(c.devices, func(d *Device) bool { return d.UUID == uuid })
	})
}

// learn notes the releases and images of a target. The caller holds mu.
func (c *Cloud) learn(target map[string]any) {
	if c.known == nil {
		c.known = make(map[string]map[string]map[string]bool)
	}
	for uuid, app := range object(target["apps"]) {
		if c.known[uuid] == nil {
			c.known[uuid] = make(map[string]map[string]bool)
		}
		for commit, r := range object(object(app)["releases"]) {
			images := c.known[uuid][commit]
			if images == nil {
				images = make(map[string]bool)
				c.known[uuid][commit] = images
				id, _ := object(r)["id"].(float64)
				application, _ := object(app)["id"].(float64)
				c.releases = append(c.releases, release{int(id), int(application), commit})
			}
			for _, s := range object(object(r)["services"]) {
				image, _ := object(s)["image"].(string)
				images[location(image)] = true
			}
		}
	}
}

// DeleteRelease makes the cloud not know a release any more.
func (c *Cloud) DeleteRelease(app, commit string) {
	c.Set(func(c *Cloud) {
		delete(c.known[app], commit)
		c.releases = slices.DeleteFunc(c.releases, func(r release) bool { return r.commit == commit })
	})
}

// location is an image name before its digest.
func location(image string) string {
	name, _, _ := strings.Cut(image, "@")
	return name
}

func object(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

// byUUID and byKey find a device. The caller holds mu.
func (c *Cloud) byUUID(uuid string) *Device {
	return c.find(func(d *Device) bool { return d.UUID == uuid })
}

func (c *Cloud) byKey(key string) *Device {
	return c.find(func(d *Device) bool { return key != "" && d.Key == key && !d.Gone })
}

func (c *Cloud) find(is func(*Device) bool) *Device {
	if i := slices.IndexFunc(c.devices, is); i >= 0 {
		return c.devices[i]
	}
	return nil
}

// fleetOf is the application that a provisioning key opens. The caller holds mu.
func (c *Cloud) fleetOf(key string) (application int, ok bool) {
	for id, k := range c.fleets {
		if k == key {
			return id, true
		}
	}
	return 0, false
}

// register makes a device (docs/spec/cloud.md 2.4).
func (c *Cloud) register(w http.ResponseWriter, r Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fleet, ok := c.fleetOf(r.key())
	if !ok {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"error":"API key required"}`)
		return
	}
	body, err := r.object()
	if err != nil || !registrable(body) || wholeOf(body["application"]) != fleet {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if kind := body["device_type"]; kind == "" || kind == "unknown" {
		deny(w, http.StatusNotFound, "Unknown device type")
		return
	}
	uuid := body["uuid"].(string)
	key, _ := body["api_key"].(string)
	switch {
	case c.byUUID(uuid) != nil:
		deny(w, http.StatusConflict, `"uuid" must be unique.`)
		return
	case key != "" && c.find(func(d *Device) bool { return d.Key == key }) != nil:
		deny(w, http.StatusConflict, `"key" must be unique.`)
		return
	case key == "":
		key = fmt.Sprintf("%032d", len(c.devices)+1)
	}
	d := &Device{UUID: uuid, Key: key, Application: fleet, Registered: body}
	c.join(d)
	answer(w, http.StatusCreated, struct {
		ID   int    `json:"id"`
		UUID string `json:"uuid"`
		Key  string `json:"api_key"`
	}{d.ID, uuid, key})
}

// registrable holds a body against the schema of the register endpoint.
func registrable(body map[string]any) bool {
	for name, value := range body {
		_, isText := value.(string)
		_, isNumber := value.(float64)
		switch name {
		case "application", "user":
			if !isNumber && !isText {
				return false
			}
		case "uuid", "device_type", "api_key":
			if !isText {
				return false
			}
		case "supervisor_version", "os_version", "os_variant", "mac_address":
			if !isText && value != nil {
				return false
			}
		default:
			return false
		}
	}
	uuid, _ := body["uuid"].(string)
	kind, _ := body["device_type"].(string)
	return uuid != "" && kind != "" && wholeOf(body["application"]) > 0
}

// wholeOf is a number given as such or as text, 0 when it is none.
func wholeOf(v any) int {
	switch v := v.(type) {
	case float64:
		return int(v)
	case string:
		n, _ := strconv.Atoi(v)
		return n
	}
	return 0
}

// deviceKey gives a device another key (docs/spec/cloud.md 2.5).
func (c *Cloud) deviceKey(w http.ResponseWriter, r Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(r.Path, "/api-key/device/"), "/device-key"))
	d := c.find(func(d *Device) bool { return d.ID == id })
	fleet, ok := c.fleetOf(r.key())
	if !ok || d == nil || d.Application != fleet {
		unauthorized(w)
		return
	}
	body, err := r.object()
	key, _ := body["apiKey"].(string)
	if err != nil || key == "" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	d.Key = key
	answer(w, http.StatusOK, key)
}
