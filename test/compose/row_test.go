package compose_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
)

// row is one field of a composition: what is asked for, where the engine shows it, and the same after
// a change. Every row is a service of its own.
type row struct {
	name    string // of the service; default the key
	key     string // compose key or, with a dot in it, label
	value   any
	same    any // another way to say value, which must not make a new container
	changed any
	read    probe
	want    string // JSON of what the engine shows for value
	then    string // JSON of what the engine shows for changed
	// created says why the container is only created and compared, not started: running is false.
	created string
	// inPlace says that a change needs no new container.
	inPlace bool
	more    func(harness.Service) harness.Service // what else the service needs
}

func (r row) service() string {
	if r.name != "" {
		return r.name
	}
	return r.key
}

// with is the row's service with a value; nil leaves the field out.
func (r row) with(value any, id int, image harness.Image) harness.Service {
	s := image.Service(r.service(), id)
	s.Stopped = r.created != "" || r.key == "running" && value == false
	if r.more != nil {
		s = r.more(s)
	}
	switch v := value.(type) {
	case nil:
		return s
	case bool:
		if r.key == "running" {
			return s
		}
	case harness.Image:
		return s.Using(v.Name, s.ImageID)
	case string:
		if strings.Contains(r.key, ".") {
			return s.Labelled(r.key, v)
		}
	}
	return s.Composed(r.key, value)
}

// again is the row's value in its other form.
func (r row) again() any {
	if r.same != nil {
		return r.same
	}
	return r.value
}

// inspected is everything the engine says about one object.
type inspected map[string]any

// probe picks one fact out of it.
type probe func(i inspected) any

// at is the value at a path such as HostConfig/CapAdd, nil when there is none.
func at(path string) probe {
	return func(i inspected) any {
		var v any = map[string]any(i)
		for _, key := range strings.Split(path, "/") {
			m, _ := v.(map[string]any)
			v = m[key]
		}
		return v
	}
}

// set is the list at a path in sorted order.
func set(path string) probe {
	return func(i inspected) any {
		items, ok := at(path)(i).([]any)
		if !ok {
			return nil
		}
		return sorted(items)
	}
}

// sorted is never nil: to the engine, none and empty are the same.
func sorted(items []any) []any {
	items = append([]any{}, items...)
	slices.SortFunc(items, func(a, b any) int { return strings.Compare(asJSON(a), asJSON(b)) })
	return items
}

// variable is one environment variable, nil when it is not set.
func variable(name string) probe {
	return func(i inspected) any {
		items, _ := at("Config/Env")(i).([]any)
		for _, item := range items {
			if value, found := strings.CutPrefix(item.(string), name+"="); found {
				return value
			}
		}
		return nil
	}
}

// binds are the sorted binds without those of the lock directory, which every container has.
func binds(i inspected) any {
	items, _ := at("HostConfig/Binds")(i).([]any)
	return sorted(slices.DeleteFunc(slices.Clone(items), func(item any) bool {
		return strings.HasPrefix(item.(string), "/tmp/balena-supervisor/")
	}))
}

// mounts are HostConfig.Mounts sorted, each as source, target, type and options.
func mounts(i inspected) any {
	items, _ := at("HostConfig/Mounts")(i).([]any)
	return sorted(items)
}

// aliases are the sorted names of the container in a network, without its id; nil when it is not in it.
func aliases(network string) probe {
	return func(i inspected) any {
		items, ok := at("NetworkSettings/Networks/" + shopID + "_" + network + "/Aliases")(i).([]any)
		if !ok {
			return nil
		}
		id, _ := i["Id"].(string)
		return sorted(slices.DeleteFunc(slices.Clone(items), func(item any) bool {
			return strings.HasPrefix(id, item.(string))
		}))
	}
}

// all is several facts in one list.
func all(probes ...probe) probe {
	return func(i inspected) any {
		out := make([]any, len(probes))
		for n, p := range probes {
			out[n] = p(i)
		}
		return out
	}
}

// mode is the network mode with the networks' sorted names, without the app's uuid.
func mode(i inspected) any {
	joined, _ := at("NetworkSettings/Networks")(i).(map[string]any)
	names := []any{}
	for name := range joined {
		names = append(names, bare(name))
	}
	return []any{bare(at("HostConfig/NetworkMode")(i).(string)), sorted(names)}
}

func bare(network string) string { return strings.TrimPrefix(network, shopID+"_") }

func asJSON(v any) string {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err.Error()
	}
	return strings.TrimSpace(out.String())
}

// sameJSON tells whether a value is what a JSON text says.
func sameJSON(value any, text string) bool {
	var want any
	return json.Unmarshal([]byte(text), &want) == nil && asJSON(want) == asJSON(value)
}

// inspect reads an object of the engine.
func inspect(t *testing.T, e *harness.Engine, path string) inspected {
	t.Helper()
	var i inspected
	e.Must(t, http.MethodGet, path, nil, &i)
	return i
}
