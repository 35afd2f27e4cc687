package api_test

import (
	"slices"
	"testing"

	"resin-supervisor/test/harness"
)

// device-api.md 137 (A5): what is ours and nobody needs goes; everything else stays.
// engine.md 43.
func TestCleanUpVolumes(t *testing.T) {
	f := newFleet(t)
	f.shop.Volumes["spare"] = map[string]any{} // named by the target, mounted by nobody
	f.shop.Commit = "aaaa2"
	f.Apply(f.target())
	make := func(name string, labels map[string]string) {
		t.Helper()
		f.Engine.Must(t, "POST", "/volumes/create", map[string]any{"Name": name, "Labels": labels}, nil)
	}
	ours := map[string]string{"io.balena.supervised": "true"}
	make("31_old", ours)
	make("32_old", ours)
	make("31_borrowed", ours)
	make("31_foreign", nil)
	make("foreign", nil)
	make("extra-firmware", nil)
	f.Engine.Must(t, "POST", "/containers/create?name=borrower", map[string]any{"Image": f.shop.Services[0].Image,
		"HostConfig": map[string]any{"Binds": []string{"31_borrowed:/data"}}}, nil)
	f.put(t, "web", "/data/kept", "precious")
	before := f.IDs()
	harness.Until(t, harness.Soon, "the volumes to be known", func() error { return f.Settled() })

	left := func(when string, want ...string) {
		t.Helper()
		var names []string
		for name := range f.Engine.Volumes(t) {
			names = append(names, name)
		}
		slices.Sort(names)
		if slices.Sort(want); !slices.Equal(names, want) {
			t.Errorf("%s there are %q, want %q", when, names, want)
		}
	}
	all := []string{"31_data", "31_spare", "32_keep", "31_borrowed", "31_foreign", "foreign", "extra-firmware"}
	left("before", append(all, "31_old", "32_old")...)
	f.CallAs(f.keyOf(t, "web"), "GET", "/v2/cleanup-volumes", nil).Want(t, 200, `{"status":"success"}`)
	left("after the clean-up of shop", append(all, "32_old")...)
	f.Get("/v2/cleanup-volumes").Want(t, 200, `{"status":"success"}`)
	left("after the clean-up of everything", all...)
	f.changed(t, before)
	if !f.has(t, "web", "/data/kept") {
		t.Error("the data of web is gone")
	}
}
