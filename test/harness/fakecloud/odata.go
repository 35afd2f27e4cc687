package fakecloud

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// odata answers the few queries of the resource API that a device makes (docs/spec/cloud.md 2.5, 2.6,
// 8.2, A.1). Anything that is not exactly one of them is refused.
func (c *Cloud) odata(at Endpoint, w http.ResponseWriter, r Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.Header().Set("Cache-Control", "no-cache")
	if !wellFormed(r.target) {
		answer(w, http.StatusBadRequest, "Malformed url: '"+r.target+"'")
		return
	}
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

// What the real server's parser takes as a URL, as far as devices use it. It reads the URL as it was sent: "$", a
// blank and an apostrophe may be escaped, and "(", ")" and "," may not.
var (
	oDataPath   = regexp.MustCompile(`^/v7/` + oDataName + `(\(([0-9]+|` + oDataText + `)\))?$`)
	oDataSelect = regexp.MustCompile(`^(\$|%24)select=(\*|` + oDataName + `(,` + oDataName + `)*)$`)
	oDataFilter = regexp.MustCompile(`^(\$|%24)filter=` + oDataEqual + `(` + oDataBlank + `and` + oDataBlank + oDataEqual + `)*$`)
)

const (
	oDataName  = `[^:/?#\[\]@!$*&()+,;= %]+`
	oDataText  = `('|%27)([^'&%]|%[013-9A-Fa-f][0-9A-Fa-f]|%2[0-689A-Fa-f])*('|%27)`
	oDataBlank = `( |%20|\+)+`
	oDataEqual = oDataName + oDataBlank + `eq` + oDataBlank + `([0-9]+|` + oDataText + `)`
)

func wellFormed(target string) bool {
	path, query, asked := strings.Cut(target, "?")
	if !oDataPath.MatchString(path) {
		return false
	}
	for option := range strings.SplitSeq(query, "&") {
		if asked && !oDataSelect.MatchString(option) && !oDataFilter.MatchString(option) {
			return false
		}
	}
	return true
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
	now := time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	var made struct {
		Created  string `json:"created_at"`
		Modified string `json:"modified_at"`
		Device   struct {
			ID int `json:"__id"`
		} `json:"device"`
		Name  string `json:"name"`
		ID    int    `json:"id"`
		Value string `json:"value"`
	}
	made.Created, made.Modified, made.Device.ID, made.Name, made.ID, made.Value = now, now, d.ID, name, 900+len(d.Config), value
	answer(w, http.StatusCreated, made)
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
	empty(w, http.StatusOK)
}
