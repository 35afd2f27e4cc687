package fakecloud

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// odata answers the few queries of the resource API that a device makes (docs/spec/cloud.md 2.5, 2.6,
// 8.2, A.1). Anything that is not exactly one of them is refused.
func (c *Cloud) odata(at Endpoint, w http.ResponseWriter, r Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	self := c.byKey(r.key())
	fleet, provisioning := c.fleetOf(r.key())
	if self == nil && !provisioning {
		unauthorized(w)
		return
	}
	may := func(d *Device) bool {
		return d != nil && !d.Gone && (d == self || provisioning && d.Application == fleet)
	}
	filter, selected := r.Query.Get("$filter"), r.Query.Get("$select")
	result := []any{}
	switch at {
	case LookUp:
		uuid, ok := quoted(filter, "uuid eq ")
		if !ok || selected != "id" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if d := c.byUUID(uuid); may(d) {
			result = append(result, map[string]any{"id": d.ID})
		}
	case PatchDevice:
		c.patchDevice(w, r, may)
		return
	case ConfigVar:
		c.configVar(w, r, may)
		return
	case ReadTags:
		id, err := strconv.Atoi(strings.TrimPrefix(filter, "device eq "))
		d := c.find(func(d *Device) bool { return d.ID == id })
		if err != nil || selected != "id,tag_key,value" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if may(d) {
			for i, key := range sorted(d.Tags) {
				result = append(result, map[string]any{"id": 100 + i, "tag_key": key, "value": d.Tags[key]})
			}
		}
	case FindRelease:
		for _, known := range c.releases {
			if filter == "belongs_to__application eq "+strconv.Itoa(known.application)+" and commit eq '"+known.commit+"' and status eq 'success'" {
				result = append(result, map[string]any{"id": known.id})
			}
		}
	case FindApp:
		for uuid := range c.known {
			for _, d := range c.devices {
				if app := object(object(d.target["apps"])[uuid]); app != nil && r.Path == "/v7/application("+strconv.Itoa(wholeOf(app["id"]))+")" {
					result = []any{map[string]any{"uuid": uuid}}
				}
			}
		}
	}
	answer(w, http.StatusOK, map[string]any{"d": result})
}

// quoted is the text in quotes after a prefix.
func quoted(filter, prefix string) (string, bool) {
	rest, ok := strings.CutPrefix(filter, prefix+"'")
	if !ok || !strings.HasSuffix(rest, "'") {
		return "", false
	}
	return rest[:len(rest)-1], true
}

func (c *Cloud) patchDevice(w http.ResponseWriter, r Request, may func(*Device) bool) {
	id, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(r.Path, "/v7/device("), ")"))
	d := c.find(func(d *Device) bool { return d.ID == id })
	body, bad := r.object()
	if err != nil || bad != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if !may(d) {
		unauthorized(w)
		return
	}
	for name, value := range body {
		text, isText := value.(string)
		switch {
		case name == "device_name" && isText:
			d.Name = text
		case name == "is_pinned_on__release" && slices.ContainsFunc(c.releases, func(r release) bool { return r.id == wholeOf(value) }):
			d.Pinned = wholeOf(value)
		default:
			w.WriteHeader(http.StatusBadRequest)
			return
		}
	}
	w.WriteHeader(http.StatusOK)
}

func (c *Cloud) configVar(w http.ResponseWriter, r Request, may func(*Device) bool) {
	body, err := r.object()
	name, isName := body["name"].(string)
	value, isValue := body["value"].(string)
	id := wholeOf(body["device"])
	d := c.find(func(d *Device) bool { return d.ID == id })
	if err != nil || !isName || !isValue || !strings.HasPrefix(name, "RESIN_") && !strings.HasPrefix(name, "BALENA_") {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if !may(d) {
		unauthorized(w)
		return
	}
	if _, there := d.Config[name]; there {
		deny(w, http.StatusConflict, `"name" must be unique.`)
		return
	}
	d.Config[name] = value
	answer(w, http.StatusCreated, map[string]any{"id": 900 + len(d.Config)})
}

// tags sets tags of a device (docs/spec/cloud.md A.2): all of a body, or none.
func (c *Cloud) tags(w http.ResponseWriter, r Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.byKey(r.key())
	body, err := r.object()
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if d == nil || object(body[d.UUID]) == nil || len(body) != 1 {
		unauthorized(w)
		return
	}
	for key, value := range object(body[d.UUID]) {
		_, isText := value.(string)
		if !isText || key == "" || strings.ContainsFunc(key, unicode.IsSpace) || strings.HasPrefix(key, "io.resin.") || strings.HasPrefix(key, "io.balena.") {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
	}
	for key, value := range object(body[d.UUID]) {
		d.Tags[key] = value.(string)
	}
	w.WriteHeader(http.StatusOK)
}
