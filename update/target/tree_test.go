package target

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

const (
	device = "3f0c5a9be1d24c67a1b2c3d4e5f60718"
	shop   = "9d2a6f0e4b7c4a51b0e1f2a3c4d5e6f7"
	digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

// entryV3 is a device entry with every property.
const entryV3 = `{
	"name": "greenhouse-7",
	"config": { "RESIN_SUPERVISOR_POLL_INTERVAL": "600000", "BALENA_HOST_CONFIG_gpu_mem": "32" },
	"apps": {
		"` + shop + `": {
			"id": 2101, "name": "greenhouse", "class": "fleet", "is_host": false, "parent_app": "x",
			"releases": { "5b1e0c77": {
				"id": 88001,
				"services": { "pump": {
					"id": 501, "image_id": 90210,
					"image": "registry2.example.com/v2/0a1b2c3d:old@` + digest + `",
					"running": true,
					"environment": { "RATE": "3" },
					"labels": { "io.balena.features.supervisor-api": "1" },
					"composition": { "restart": "always", "volumes": ["state:/var/lib/pump"] },
					"contract": { "type": "sw.container", "requires": [ { "type": "sw.supervisor", "version": ">=12" } ] },
					"unknown": 1
				} },
				"volumes": { "state": {} },
				"networks": { "back": { "internal": true } }
			} }
		},
		"other": { "id": 7, "name": "other" }
	} }`

// gone as a value removes the member.
type gone struct{}

// tree is JSON as a free-form value.
func tree(t testing.TB, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// with is the document with another value at a path, whose parts are separated by "/".
func with(t testing.TB, document, path string, value any) []byte {
	t.Helper()
	root := tree(t, document)
	at := root.(map[string]any)
	keys := strings.Split(path, "/")
	for _, key := range keys[:len(keys)-1] {
		next, ok := at[key].(map[string]any)
		if !ok {
			t.Fatalf("no %q of %s in the document", key, path)
		}
		at = next
	}
	last := keys[len(keys)-1]
	if at[last] = value; value == (gone{}) {
		delete(at, last)
	}
	return encode(t, root)
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// wantEqual compares by content.
func wantEqual(t testing.TB, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got\n%s\nwant\n%s", encode(t, got), encode(t, want))
	}
}
