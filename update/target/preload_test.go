package target

import (
	"errors"
	"strconv"
	"strings"
	"testing"
)

// legacyFile is an apps.json from the time of single-container apps.
const legacyFile = `[{"appId":"12","name":"old","commit":"abc","imageId":"r.io/old/abc",
	"env":{"A":"1","RESIN_X":"2"},
	"config":{"RESIN_APP_RESTART_POLICY":"no","RESIN_SUPERVISOR_HANDOVER_TIMEOUT":"9","RESIN_HOST_CONFIG_a":"b"}}]`

// lookUp answers for uuids, or fails as on a managed device that is offline.
func lookUp(managed bool) func(int) (string, error) {
	if !managed {
		return nil
	}
	return func(int) (string, error) { return "", errors.New("no route to host") }
}

func preload(t testing.TB, body string, managed bool) *Preload {
	t.Helper()
	p, problems, err := DecodePreload([]byte(body), lookUp(managed))
	if err != nil || len(problems) > 0 {
		t.Fatalf("%v %v in %s", err, problems, body)
	}
	return p
}

func TestPreloadV3(t *testing.T) {
	entry := string(with(t, entryV3, "apps/other", gone{}))
	want, _ := decodeV3(t, []byte(entry))
	want.Name = ""
	wantEqual(t, preload(t, entry, true), &Preload{State: want})
	pinned := string(with(t, entry, "pinDevice", true))
	wantEqual(t, preload(t, pinned, true), &Preload{State: want, Pin: true, PinApp: 2101, PinCommit: "5b1e0c77"})
}

func TestPreloadNothing(t *testing.T) {
	for _, body := range []string{`{}`, ` {"apps":{}} `, `{"config":{},"apps":{}}`, `{"config":null}`, `{"pinDevice":true}`, `[]`} {
		if p := preload(t, body, true); p != nil {
			t.Errorf("%s: %v, want nothing", body, p)
		}
	}
	if p := preload(t, `{"config":{"A":"b"}}`, true); p == nil || p.State.Config["A"] != "b" {
		t.Errorf("config alone: %v", p)
	}
}

func TestPinIsForTheFirstFleet(t *testing.T) {
	app := func(class string) string {
		return `{"id":1,"name":"n","class":"` + class + `","releases":{"c":{"id":1}}}`
	}
	p := preload(t, `{"pinDevice":true,"apps":{"z":`+app("app")+`,"y":`+strings.Replace(app("fleet"), `"c"`, `"d"`, 1)+`,"a":`+app("fleet")+`}}`, true)
	if p.PinCommit != "d" || p.PinApp != 1 {
		t.Fatalf("pinned to %d %s", p.PinApp, p.PinCommit)
	}
	p = preload(t, `{"pinDevice":true,"apps":{"z":`+app("app")+`}}`, true)
	if !p.Pin || p.PinCommit != "" {
		t.Fatalf("no fleet: %+v", p)
	}
}

func TestPreloadV2(t *testing.T) {
	local := tree(t, posted).(map[string]any)["local"].(map[string]any)
	delete(local, "name")
	local["pinDevice"] = true
	body := string(encode(t, local))
	want := decodeLocal(t, posted).State
	want.Name = ""
	wantEqual(t, preload(t, body, false), &Preload{State: want, Pin: true, PinApp: 7, PinCommit: "c0ffee"})
	_, _, err := DecodePreload([]byte(body), lookUp(true))
	if err == nil || err.Error() != "Cannot migrate from v2 apps.json without Internet connectivity. Please use balenaCLI v13.5.1+ for offline preload support." {
		t.Fatalf("managed: %v", err)
	}
	p, _, err := DecodePreload([]byte(body), func(id int) (string, error) { return "uuid-of-" + strconv.Itoa(id), nil })
	if err != nil || p.State.Apps["uuid-of-7"] == nil || p.PinApp != 7 || p.PinCommit != "c0ffee" {
		t.Fatalf("online: %+v %v", p, err)
	}
}

func TestPreloadLegacy(t *testing.T) {
	p := preload(t, legacyFile, true)
	wantEqual(t, p, &Preload{State: &State{
		Config: map[string]string{"RESIN_APP_RESTART_POLICY": "no", "RESIN_SUPERVISOR_HANDOVER_TIMEOUT": "9", "RESIN_HOST_CONFIG_a": "b"},
		Apps: map[string]*App{"user-app": {UUID: "user-app", ID: 12, Name: "old", Class: "fleet", Release: &Release{
			Commit: "abc", ID: 1, Networks: map[string]Map{}, Volumes: map[string]Map{"resin-data": {}},
			Services: map[string]*Service{"main": {
				Name: "main", ID: 1, ImageID: 1, Image: "r.io/old/abc:latest", Running: true,
				Environment: map[string]string{"A": "1"},
				Labels: map[string]string{
					"io.resin.features.kernel-modules": "1", "io.resin.features.firmware": "1", "io.resin.features.dbus": "1",
					"io.resin.features.supervisor-api": "1", "io.resin.features.resin-api": "1",
					"io.resin.update.strategy": "download-then-kill", "io.resin.update.handover-timeout": "9",
					"io.resin.legacy-container": "1",
				},
				Composition: Map{"privileged": true, "network_mode": "host", "volumes": []any{"resin-data:/data"}, "restart": "no"},
			}},
		}}},
	}})
	wantStored(t, p.State)
	p = preload(t, `[{"appId":1,"name":"a","commit":"c","imageId":"a","config":{"A":"1","B":"1"}},
		{"appId":2,"name":"b","commit":"c","imageId":"b","config":{"B":"2"}}]`, false)
	if len(p.State.Apps) != 2 || p.State.Config["A"] != "1" || p.State.Config["B"] != "2" {
		t.Fatalf("two elements: %s", encode(t, p.State))
	}
	if got := p.State.Apps["user-app"].Release.Services["main"].Composition["restart"]; got != "always" {
		t.Fatalf("restart policy %v", got)
	}
}

// The other apps are used when one is unusable.
func TestPreloadPartly(t *testing.T) {
	p, problems, err := DecodePreload([]byte(entryV3), lookUp(true)) // "other" has no release
	if err != nil || len(problems) != 1 || p.State.Apps["other"].Rejected == "" || p.State.Apps[shop].Rejected != "" {
		t.Fatalf("%v %v", err, problems)
	}
	p, problems, err = DecodePreload([]byte(legacyFile[:len(legacyFile)-1]+`,{"appId":-1},7]`), lookUp(true))
	if err != nil || len(problems) < 2 || len(p.State.Apps) != 1 {
		t.Fatalf("%v %v", err, problems)
	}
}

func TestPreloadRefuses(t *testing.T) {
	for _, body := range []string{
		`null`, `7`, `"x"`, `[7]`, `[{}]`, `{"apps":7}`, `{"apps":null}`, `{"apps":{"a":{}}}`, `{"config":7}`, `{"config":{"a":1}}`,
		`{"apps":{"a":{"id":1,"name":"n"}}}`, `{"config":{"A":"b"},"pinDevice":"yes"}`,
		`{"apps":{"1":{"name":"n"},"abc":{"id":1,"name":"n"}}}`, `[{"appId":1,"name":"n","commit":"","imageId":"a"}]`,
	} {
		var invalid *InvalidError
		if p, _, err := DecodePreload([]byte(body), nil); !errors.As(err, &invalid) || p != nil {
			t.Errorf("%s: %v, want an invalid file", body, err)
		}
	}
	for _, body := range []string{``, `{`, `[`} {
		if _, _, err := DecodePreload([]byte(body), nil); err == nil {
			t.Errorf("%q was taken", body)
		}
	}
}

func FuzzDecodePreload(f *testing.F) {
	f.Add([]byte(entryV3), true)
	f.Add([]byte(legacyFile), true)
	f.Add([]byte(`{"pinDevice":true,"apps":{"7":{"name":"n","commit":"c","releaseId":1,"services":{}}}}`), false)
	f.Fuzz(func(t *testing.T, body []byte, managed bool) {
		p, _, err := DecodePreload(body, lookUp(managed))
		if err == nil && p != nil {
			wantStored(t, p.State)
		}
	})
}
