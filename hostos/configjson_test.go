package hostos

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

const preprovisioned = `{
  "uuid": "0123456789abcdef0123456789abcdef", "deviceApiKey": "feedfacefeedfacefeedfacefeedface",
  "deviceId": 4711, "registered_at": 1700000000000, "apiEndpoint": "https://api.example.com",
  "listenPort": "48484", "developmentMode": "true", "appUpdatePollInterval": "900000",
  "os": {"network": {"wifi": {"randomMacAddressScan": false}}, "big": 12345678901234567890.10},
  "wifiSsid": "a <b> & ü \u2028", "nothing": null
}`

func configFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func openConfig(t *testing.T, path string) *Config {
	t.Helper()
	c, err := OpenConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// parsed reads the file and keeps the text of numbers.
func parsed(t *testing.T, text string) map[string]any {
	t.Helper()
	var doc map[string]any
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&doc); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return doc
}

func update(t *testing.T, c *Config, change map[string]any) {
	t.Helper()
	if err := c.Update(change); err != nil {
		t.Fatal(err)
	}
}

// untouched runs f and fails if the file was replaced.
func untouched(t *testing.T, path string, f func()) {
	t.Helper()
	before, _ := os.Stat(path)
	text := content(t, path)
	f()
	after, err := os.Stat(path)
	if err != nil || !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) || content(t, path) != text {
		t.Fatalf("the file was written: %s", content(t, path))
	}
}

func TestUnchangedValuesWriteNothing(t *testing.T) {
	path := configFile(t, preprovisioned)
	untouched(t, path, func() {
		c := openConfig(t, path)
		if err := c.EnsureIdentity(); err != nil {
			t.Fatal(err)
		}
		update(t, c, map[string]any{
			"uuid": "0123456789abcdef0123456789abcdef", "deviceId": int64(4711), "apiKey": nil, "listenPort": 48484,
			"developmentMode": true, "appUpdatePollInterval": 900000, "wifiSsid": "a <b> & ü \u2028",
			"os": json.RawMessage(`{"network":{"wifi":{"randomMacAddressScan":false}},"big":12345678901234567890.10}`),
		})
	})
}

func TestUpdateKeepsForeignKeys(t *testing.T) {
	path := configFile(t, preprovisioned)
	c := openConfig(t, path)
	update(t, c, map[string]any{"appUpdatePollInterval": 60000, "persistentLogging": true, "deviceId": nil})
	want := parsed(t, preprovisioned)
	want["appUpdatePollInterval"], want["persistentLogging"] = json.Number("60000"), true
	delete(want, "deviceId")
	text := content(t, path)
	if got := parsed(t, text); !reflect.DeepEqual(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	if strings.ContainsAny(text, "\n\t") || strings.Contains(text, `": `) || !strings.Contains(text, "12345678901234567890.10") {
		t.Fatalf("not compact or changed: %s", text)
	}
	s := c.Get()
	if s.PollInterval != time.Minute || !s.PersistentLogging || s.DeviceID != 0 {
		t.Fatalf("settings %+v", s)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o644 {
		t.Fatalf("mode became %v", info.Mode())
	}
}

func TestUpdateSeesEditsOfOthers(t *testing.T) {
	path := configFile(t, `{"uuid":"u","country":"GB"}`)
	c := openConfig(t, path)
	if err := os.WriteFile(path, []byte(`{"uuid":"u","country":"NZ","hostname":"kiosk"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	update(t, c, map[string]any{"deviceId": 7})
	want := map[string]any{"uuid": "u", "country": "NZ", "hostname": "kiosk", "deviceId": json.Number("7")}
	if got := parsed(t, content(t, path)); !reflect.DeepEqual(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	if c.Get().Hostname != "kiosk" {
		t.Fatal("settings do not show the edit")
	}
}

func TestReload(t *testing.T) {
	path := configFile(t, `{"uuid":"u"}`)
	c := openConfig(t, path)
	for _, step := range []struct {
		text  string
		valid bool
		want  string
	}{{`{"uuid":"v"}`, true, "v"}, {`{"uuid":`, false, "v"}, {`{"uuid":"w"}`, true, "w"}} {
		if err := os.WriteFile(path, []byte(step.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := c.Reload(); (err == nil) != step.valid || c.Get().UUID != step.want {
			t.Fatalf("%s: %v, uuid %q", step.text, err, c.Get().UUID)
		}
	}
}

func TestConcurrentUpdatesAllLand(t *testing.T) {
	path := configFile(t, `{}`)
	c := openConfig(t, path)
	keys := []string{"a", "b", "c", "d", "e", "f"}
	var all sync.WaitGroup
	for _, key := range keys {
		all.Go(func() {
			if err := c.Update(map[string]any{key: 1}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := parsed(t, content(t, path)); len(got) != len(keys) {
		t.Fatalf("got %v", got)
	}
}

func TestBadFilesAreErrorsAndStay(t *testing.T) {
	for _, text := range []string{``, `null`, `[]`, `{"uuid":`, `{} {}`, `{"listenPort":"http"}`} {
		path := configFile(t, text)
		untouched(t, path, func() {
			if _, err := OpenConfig(path); err == nil || !strings.Contains(err.Error(), path) {
				t.Fatalf("%q: got %v", text, err)
			}
		})
	}
	if _, err := OpenConfig(t.TempDir()); err == nil {
		t.Fatal("a directory was read as a file")
	}
}

func TestBadUpdatesChangeNothing(t *testing.T) {
	path := configFile(t, preprovisioned)
	c := openConfig(t, path)
	for _, change := range []map[string]any{
		{"listenPort": 70000, "uuid": "x"}, {"apiEndpoint": "ftp://x", "uuid": "x"}, {"uuid": func() {}}, {"deviceId": "none", "uuid": "x"},
	} {
		untouched(t, path, func() {
			if err := c.Update(change); err == nil {
				t.Fatalf("%v was accepted", change)
			}
		})
	}
	if c.Get().UUID == "x" {
		t.Fatal("settings show a refused change")
	}
}

func TestMissingFileIsMadeByTheFirstWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	c := openConfig(t, path)
	if _, err := os.Stat(path); err == nil {
		t.Fatal("reading made the file")
	}
	if err := c.EnsureIdentity(); err != nil {
		t.Fatal(err)
	}
	doc := parsed(t, content(t, path))
	if len(doc) != 1 || doc["uuid"] != c.Get().UUID {
		t.Fatalf("got %v", doc)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v", info.Mode())
	}
}

func TestEnsureIdentity(t *testing.T) {
	for name, test := range map[string]struct {
		before    string
		uuid, key bool // generated
	}{
		"unmanaged":         {`{"x":"y"}`, true, false},
		"managed, new":      {`{"apiEndpoint":"https://api.example.com","x":"y"}`, true, true},
		"managed with uuid": {`{"apiEndpoint":"https://api.example.com","uuid":"older-and-longer-than-32-characters","x":"y"}`, false, true},
		"uuid null":         {`{"uuid":null,"x":"y"}`, true, false},
	} {
		path := configFile(t, test.before)
		c := openConfig(t, path)
		if err := c.EnsureIdentity(); err != nil {
			t.Fatal(err)
		}
		s, before := openConfig(t, path).Get(), parsed(t, test.before)
		if s != c.Get() {
			t.Fatalf("%s: file %+v, memory %+v", name, s, c.Get())
		}
		if isIdentity(s.UUID) != test.uuid || !test.uuid && s.UUID != before["uuid"] {
			t.Errorf("%s: uuid %q", name, s.UUID)
		}
		if isIdentity(s.DeviceAPIKey) != test.key || s.UUID == s.DeviceAPIKey {
			t.Errorf("%s: deviceApiKey %q", name, s.DeviceAPIKey)
		}
		if parsed(t, content(t, path))["x"] != "y" {
			t.Errorf("%s: foreign key lost", name)
		}
	}
}

func isIdentity(s string) bool {
	return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == ""
}

func TestEmptyHostnameIsTheUUID(t *testing.T) {
	for _, empty := range []any{"", nil} {
		c := openConfig(t, configFile(t, preprovisioned))
		update(t, c, map[string]any{"hostname": "kiosk-3"})
		if got := c.Get().Hostname; got != "kiosk-3" {
			t.Fatalf("got %q", got)
		}
		update(t, c, map[string]any{"hostname": empty})
		if got := c.Get().Hostname; got != "0123456" {
			t.Fatalf("%v: got %q", empty, got)
		}
	}
}

func TestFollowersAreToldOfChanges(t *testing.T) {
	c, err := OpenConfig(filepath.Join(t.TempDir(), "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	reported := 0
	c.Follow(func() { reported++ })
	f := func(want int, change map[string]any) {
		t.Helper()
		if err := c.Update(change); err != nil {
			t.Fatal(err)
		}
		if reported != want {
			t.Errorf("called %d times, want %d", reported, want)
		}
	}
	f(1, map[string]any{"uuid": "abc"})
	f(1, map[string]any{"uuid": "abc"})
	f(1, map[string]any{"foreign": "x"})
	f(2, map[string]any{"deviceId": 5})
}
