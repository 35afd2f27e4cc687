package reconcile

import (
	"testing"

	"resin-supervisor/update/target"
)

func TestOnHostNetwork(t *testing.T) {
	f := func(composition target.Map, want bool) {
		t.Helper()
		release := &target.Release{Services: map[string]*target.Service{"a": {}, "b": {Composition: composition}}}
		state := &target.State{Apps: map[string]*target.App{"x": {}, "y": {Release: release}}}
		if got := onHostNetwork(state); got != want {
			t.Errorf("%v: %v", composition, got)
		}
	}
	f(nil, false)
	f(target.Map{"network_mode": "host"}, true)
	f(target.Map{"networkMode": " host "}, true)
	f(target.Map{"network_mode": "bridge"}, false)
	f(target.Map{"network_mode": "service:a"}, false)
	f(target.Map{"network_mode": []any{"host"}}, false)
	f(target.Map{"networks": []any{"host"}}, false)
	if onHostNetwork(nil) {
		t.Error("without a target")
	}
}
