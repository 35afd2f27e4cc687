package fakecloud

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// state serves the target (docs/spec/cloud.md 3.1). A device that is frozen gets 304, whatever it holds; one that is
// deleted has no key any more.
func (c *Cloud) state(w http.ResponseWriter, r Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	uuid := strings.TrimSuffix(strings.TrimPrefix(r.Path, "/device/v3/"), "/state")
	d := c.byUUID(uuid)
	if d != nil && d.Gone && d.Key == r.key() {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if d == nil || c.byKey(r.key()) != d {
		unauthorized(w)
		return
	}
	body := encode(map[string]any{uuid: c.served(d)})
	if tag := etag(body); !c.NoETag {
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Vary", "Accept-Encoding")
	if !c.NoGzip && len(body) >= worthPacking && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		z.Write(body)
		z.Close()
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush() // it comes in chunks
		body = packed.Bytes()
	}
	w.Write(body)
}

// worthPacking is from how many bytes on the server compresses an answer.
const worthPacking = 1024

// served is the target of a device with the variables that it posted, and the poll interval that the
// server puts into it.
func (c *Cloud) served(d *Device) any {
	if d.text != nil {
		return d.text
	}
	config, ok := d.target["config"].(map[string]any)
	if !ok {
		return d.target
	}
	all := map[string]any{}
	if c.PollInterval != "" {
		all["RESIN_SUPERVISOR_POLL_INTERVAL"] = c.PollInterval
	}
	for name, value := range d.Config {
		all[name] = value
	}
	maps.Copy(all, config)
	target := maps.Clone(d.target)
	target["config"] = all
	return target
}

// A kind of value in a report.
type kind int

const (
	text kind = iota
	number
	truth
	textOrNull
	numberOrNull
)

// reportFields is the schema of a report (docs/spec/cloud.md 4.3): what is not in it is stripped.
var reportFields = map[string]kind{
	"status": text, "os_version": textOrNull, "os_variant": textOrNull, "supervisor_version": text,
	"provisioning_progress": numberOrNull, "provisioning_state": textOrNull, "ip_address": text, "mac_address": text,
	"api_port": number, "api_secret": textOrNull, "memory_usage": numberOrNull, "memory_total": numberOrNull,
	"storage_usage": numberOrNull, "storage_total": numberOrNull, "storage_block_device": textOrNull,
	"cpu_temp": numberOrNull, "cpu_usage": numberOrNull, "cpu_id": textOrNull, "is_undervolted": truth, "is_online": truth,
	"device_name": text, "name": text,
}

func (k kind) accepts(v any) bool {
	switch v.(type) {
	case string:
		return k == text || k == textOrNull
	case float64:
		return k == number || k == numberOrNull
	case bool:
		return k == truth
	case nil:
		return k == textOrNull || k == numberOrNull
	}
	return false
}

// limits are what the server cuts texts to (docs/spec/cloud.md 4.4).
var limits = map[string]int{"status": 50, "os_version": 70, "supervisor_version": 20, "api_secret": 64, "ip_address": 2000, "mac_address": 900}

// Statuses are the words the server knows for a service (docs/spec/cloud.md 4.6).
var Statuses = []string{"Downloading", "Downloaded", "Installing", "Installed", "Starting", "Running", "Idle", "Handing over",
	"Awaiting handover", "Stopping", "Stopped", "exited", "Deleting", "deleted", "Dead", "paused", "restarting", "removing",
	"configuring", "Unknown"}

// updateStatuses are those of a release.
var updateStatuses = []string{"rejected", "downloading", "downloaded", "applying changes", "aborted", "done"}

// report stores what a device says of itself (docs/spec/cloud.md 4.2 to 4.4).
func (c *Cloud) report(w http.ResponseWriter, r Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	body, err := r.object()
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	d := c.byKey(r.key())
	if d == nil || len(body) == 0 {
		unauthorized(w)
		return
	}
	for uuid, v := range body {
		report, ok := v.(map[string]any)
		if why := invalid(report); !ok || why != "" {
			deny(w, http.StatusBadRequest, why)
			return
		}
		if uuid != d.UUID || !c.authorised(report) {
			unauthorized(w)
			return
		}
	}
	d.store(object(body[d.UUID]))
	empty(w, http.StatusOK)
}

// invalid says what of a report breaks the schema, nothing when it keeps it.
func invalid(report map[string]any) string {
	for name, value := range report {
		if k, known := reportFields[name]; known && !k.accepts(value) {
			return fmt.Sprintf("%s: %v", name, value)
		}
	}
	v, present := report["apps"]
	apps, ok := v.(map[string]any)
	if present && !ok {
		return "apps"
	}
	for uuid, v := range apps {
		app, ok := v.(map[string]any)
		commit, has := app["release_uuid"]
		if _, isText := commit.(string); !ok || has && !isText {
			return "app " + uuid
		}
		v, present := app["releases"]
		releases, ok := v.(map[string]any)
		if present && !ok {
			return "releases of " + uuid
		}
		for commit, v := range releases {
			if why := invalidRelease(v); why != "" {
				return "release " + commit + ": " + why
			}
		}
	}
	return ""
}

func invalidRelease(v any) string {
	r, ok := v.(map[string]any)
	if !ok {
		return "no object"
	}
	if status, has := r["update_status"]; has {
		if word, ok := status.(string); !ok || !slices.Contains(updateStatuses, word) {
			return fmt.Sprintf("update_status %v", status)
		}
	}
	services, present := r["services"]
	if _, ok := services.(map[string]any); present && !ok {
		return "services"
	}
	for name, v := range object(services) {
		s, ok := v.(map[string]any)
		if _, isText := s["image"].(string); !ok || !isText {
			return "service " + name
		}
		if _, isText := s["status"].(string); !isText {
			return "status of " + name
		}
		if progress, has := s["download_progress"]; has && !numberOrNull.accepts(progress) {
			return "progress of " + name
		}
	}
	return ""
}

// authorised tells whether the device may see all that a report names: apps, successful releases,
// and images that are in them. The caller holds mu.
func (c *Cloud) authorised(report map[string]any) bool {
	for uuid, app := range object(report["apps"]) {
		releases, ok := c.known[uuid]
		if !ok {
			return false
		}
		if commit, has := object(app)["release_uuid"].(string); has && releases[commit] == nil {
			return false
		}
		for commit, r := range object(object(app)["releases"]) {
			images, ok := releases[commit]
			if !ok {
				return false
			}
			for _, s := range object(object(r)["services"]) {
				image, _ := object(s)["image"].(string)
				if !images[location(image)] {
					return false
				}
			}
		}
	}
	return true
}

// store keeps a report as the server does.
func (d *Device) store(report map[string]any) {
	for name, value := range report {
		if _, known := reportFields[name]; !known {
			continue
		}
		if s, ok := value.(string); ok && limits[name] > 0 && len(s) > limits[name] {
			value = shortened(s, limits[name], name == "ip_address" || name == "mac_address")
		}
		if name == "os_variant" && value != "dev" && value != "prod" {
			continue
		}
		d.State[name] = value
	}
	apps, given := report["apps"]
	if !given {
		return
	}
	d.Apps = map[string]any{}
	maps.Copy(d.Apps, object(apps))
	for _, app := range d.Apps {
		for _, r := range object(object(app)["releases"]) {
			for _, s := range object(object(r)["services"]) {
				if word, _ := object(s)["status"].(string); !slices.Contains(Statuses, word) {
					delete(object(s), "status")
				}
			}
		}
	}
}

func shortened(s string, most int, atBlank bool) string {
	s = s[:most]
	if i := strings.LastIndexByte(s, ' '); atBlank && i > 0 {
		s = s[:i]
	}
	return s
}
