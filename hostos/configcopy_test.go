package hostos

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"
)

// cabinet stores documents in memory.
type cabinet struct {
	docs map[string]string
	full bool
}

func (c *cabinet) Load(name string, _ int, v any) (bool, error) {
	text, found := c.docs[name]
	if !found {
		return false, nil
	}
	return true, json.Unmarshal([]byte(text), v)
}

func (c *cabinet) Save(name string, _ int, v any) error {
	if c.full {
		return errors.New("no space left on device")
	}
	text, err := json.Marshal(v)
	c.docs[name] = string(text)
	return err
}

// copy returns the text of the copy of config.json.
func (c *cabinet) copy(t *testing.T) string {
	t.Helper()
	var saved configCopy
	if _, err := c.Load(copyName, 1, &saved); err != nil {
		t.Fatal(err)
	}
	return saved.Text
}

func keepConfig(t *testing.T, path string, docs *cabinet) (*Config, string) {
	t.Helper()
	c, notice, err := KeepConfig(path, docs, true, zerolog.Nop())
	if err == nil {
		err = c.EnsureIdentity()
	}
	if err != nil {
		t.Fatal(err)
	}
	return c, notice
}

// docs/spec/host.md 3.2: whatever happened to the file, the device gets its identity back.
func TestIdentityComesBack(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"zeros":        func(path string) error { return os.WriteFile(path, make([]byte, 512), 0o644) },
		"half":         func(path string) error { return os.WriteFile(path, []byte(preprovisioned[:100]), 0o644) },
		"nothing":      func(path string) error { return os.WriteFile(path, nil, 0o644) },
		"a list":       func(path string) error { return os.WriteFile(path, []byte(`["uuid"]`), 0o644) },
		"null":         func(path string) error { return os.WriteFile(path, []byte(`null`), 0o644) },
		"other bytes":  func(path string) error { return os.WriteFile(path, []byte("\x7fELF\x02"), 0o644) },
		"empty object": func(path string) error { return os.WriteFile(path, []byte("{}\n"), 0o644) },
		"missing":      os.Remove,
		"a FIFO":       func(path string) error { return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)) },
		"a folder":     func(path string) error { return errors.Join(os.Remove(path), os.MkdirAll(path+"/in", 0o755)) },
	} {
		t.Run(name, func(t *testing.T) {
			path, docs := configFile(t, preprovisioned), &cabinet{docs: map[string]string{}}
			before, notice := keepConfig(t, path, docs)
			if notice != "" {
				t.Fatalf("notice of a valid file: %s", notice)
			}
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			broken := name != "missing" && name != "empty object"
			after, notice := keepConfig(t, path, docs)
			if after.Get() != before.Get() || content(t, path) != preprovisioned {
				t.Errorf("the device is %+v, its file\n%s", after.Get(), content(t, path))
			}
			if !strings.Contains(notice, "config.json") || strings.Contains(notice, path+".broken-1") != broken ||
				strings.Contains(notice, "missing") != (name == "missing") {
				t.Errorf("notice: %q", notice)
			}
			if _, err := os.Lstat(path + ".broken-1"); (err == nil) != broken {
				t.Errorf("the broken file: %v", err)
			}
			if _, notice := keepConfig(t, path, docs); notice != "" {
				t.Errorf("notice of the restored file: %s", notice)
			}
		})
	}
}

// A valid file wins over the copy. A file that lost a part of its identity gets that part back.
func TestSoundFileWinsOverTheCopy(t *testing.T) {
	const managed = `{"uuid":"u1","deviceApiKey":"k1","deviceId":7,"registered_at":9,"apiEndpoint":"https://a.example.com","wifiSsid":"old"}`
	for name, test := range map[string]struct{ file, want, notice string }{
		"other settings": {`{"uuid":"u1","deviceApiKey":"k1","deviceId":7,"registered_at":9,"apiEndpoint":"https://a.example.com","wifiSsid":"new"}`, "", ""},
		"another device": {`{"uuid":"u2","deviceApiKey":"k2","registered_at":10,"apiEndpoint":"https://a.example.com"}`, "", "identity-before"},
		"another cloud":  {`{"uuid":"u1","deviceApiKey":"k3","apiEndpoint":"https://b.example.com"}`, "", ""},
		"left its cloud": {`{"uuid":"u1","wifiSsid":"old"}`, "", ""},
		"to be set up":   {`{"uuid":"u1","deviceApiKey":"k4","apiKey":"p","applicationId":3,"apiEndpoint":"https://a.example.com"}`, "", ""},
		"lost its keys": {`{"uuid":"u1","apiEndpoint":"https://a.example.com","wifiSsid":"new"}`,
			`{"apiEndpoint":"https://a.example.com","deviceApiKey":"k1","deviceId":7,"registered_at":9,"uuid":"u1","wifiSsid":"new"}`,
			"deviceApiKey, deviceId, registered_at"},
		"lost its uuid": {`{"uuid":null,"deviceApiKey":"k1","deviceId":"7","registered_at":9,"apiEndpoint":"https://a.example.com"}`,
			`{"apiEndpoint":"https://a.example.com","deviceApiKey":"k1","deviceId":"7","registered_at":9,"uuid":"u1"}`, "uuid"},
	} {
		t.Run(name, func(t *testing.T) {
			path, docs := configFile(t, managed), &cabinet{docs: map[string]string{}}
			keepConfig(t, path, docs)
			if err := os.WriteFile(path, []byte(test.file), 0o644); err != nil {
				t.Fatal(err)
			}
			_, notice := keepConfig(t, path, docs)
			want := test.want
			if want == "" {
				want = test.file
			}
			if got := content(t, path); got != want || docs.copy(t) != want {
				t.Errorf("file\n%s\ncopy\n%s\nwant\n%s", got, docs.copy(t), want)
			}
			if (notice == "") != (test.notice == "") || !strings.Contains(notice, test.notice) {
				t.Errorf("notice %q, want %q", notice, test.notice)
			}
		})
	}
}

// docs/spec/host.md 3.2: before the supervisor starts, balenaOS generates a missing uuid and deviceApiKey. If the file
// shows that the earlier ones were lost, they are restored. In every case they stay recoverable.
func TestIdentityThatTheHostReplaced(t *testing.T) {
	const managed = `{"uuid":"u1","deviceApiKey":"k1","deviceId":7,"registered_at":9,"apiEndpoint":"https://a.example.com","wifiSsid":"old"}`
	for name, test := range map[string]struct {
		copy, file, want, notice string
		former, made             bool // made: the result if the host generates no identity
		keys                     string
	}{
		"the key": {file: `{"uuid":"u1","deviceApiKey":"host","deviceId":7,"registered_at":9,"apiEndpoint":"https://a.example.com"}`,
			notice: "identity-before", former: true, keys: "k1"},
		"the key and the id": {file: `{"uuid":"u1","deviceApiKey":"host","registered_at":"9","apiEndpoint":"https://a.example.com"}`,
			notice: "identity-before", former: true, keys: "k1"},
		"the uuid": {file: `{"uuid":"host","deviceApiKey":"k1","deviceId":"7","registered_at":9,"apiEndpoint":"https://a.example.com"}`,
			want: `{"apiEndpoint":"https://a.example.com","deviceApiKey":"k1","deviceId":"7","registered_at":9,"uuid":"u1"}`, notice: "lost uuid", made: true},
		"all but the cloud": {file: `{"uuid":"host","deviceApiKey":"host","apiEndpoint":"https://a.example.com"}`,
			want:   `{"apiEndpoint":"https://a.example.com","deviceApiKey":"k1","deviceId":7,"registered_at":9,"uuid":"u1"}`,
			notice: "lost uuid, deviceApiKey, deviceId, registered_at", made: true},
		"all":               {file: `{"uuid":"host"}`, want: managed, notice: "held no settings", made: true},
		"all but a setting": {file: `{"uuid":"host","wifiSsid":"old"}`, notice: "identity-before", former: true},
		"another registration of the same device": {file: `{"uuid":"u1","deviceApiKey":"k2","registered_at":99,"apiEndpoint":"https://a.example.com"}`,
			notice: "identity-before", former: true, keys: "k1"},
		"another registration, of which the copy knows nothing": {
			copy:   `{"uuid":"u1","deviceApiKey":"k1","deviceId":7,"apiEndpoint":"https://a.example.com"}`,
			file:   `{"uuid":"u1","deviceApiKey":"k2","registered_at":99,"apiEndpoint":"https://a.example.com"}`,
			notice: "identity-before", former: true, keys: "k1"},
		"to be set up":   {file: `{"uuid":"host","deviceApiKey":"host","apiKey":"p","applicationId":3,"apiEndpoint":"https://a.example.com"}`, former: true},
		"another cloud":  {file: `{"uuid":"u1","deviceApiKey":"k2","deviceId":8,"registered_at":10,"apiEndpoint":"https://b.example.com"}`, former: true},
		"left its cloud": {file: `{"uuid":"u1","wifiSsid":"old"}`, former: true},
	} {
		for _, hostGives := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, host makes identities %v", name, hostGives), func(t *testing.T) {
				before := cmp.Or(test.copy, managed)
				path, docs := configFile(t, before), &cabinet{docs: map[string]string{}}
				keepConfig(t, path, docs)
				if err := os.WriteFile(path, []byte(test.file), 0o644); err != nil {
					t.Fatal(err)
				}
				want, notice, former := cmp.Or(test.want, test.file), test.notice, test.former
				if test.made && !hostGives {
					want, notice, former = test.file, "identity-before", true
				}
				c, got, err := KeepConfig(path, docs, hostGives, zerolog.Nop())
				if err != nil {
					t.Fatal(err)
				}
				if content(t, path) != want || docs.copy(t) != want {
					t.Errorf("file\n%s\ncopy\n%s\nwant\n%s", content(t, path), docs.copy(t), want)
				}
				if (got == "") != (notice == "") || !strings.Contains(got, notice) {
					t.Errorf("notice %q, want %q", got, notice)
				}
				var copied formerCopies
				if _, err := docs.Load(formerName, 1, &copied); err != nil || fmt.Sprint(copied.Texts) != fmt.Sprint(map[bool][]string{true: {before}}[former]) {
					t.Errorf("earlier files: %s (%v)", copied.Texts, err)
				}
				if keys := strings.Join(c.FormerKeys(), " "); keys != test.keys {
					t.Errorf("earlier keys %q, want %q", keys, test.keys)
				}
				if _, notice, _ := KeepConfig(path, docs, hostGives, zerolog.Nop()); notice != "" {
					t.Errorf("notice of the next start: %s", notice)
				}
			})
		}
	}
}

// A new copy never destroys an earlier identity, and only a few earlier ones are kept.
func TestFormerIdentities(t *testing.T) {
	file := func(key string) string {
		return `{"uuid":"u1","deviceApiKey":"` + key + `","deviceId":7,"registered_at":9,"apiEndpoint":"https://a.example.com"}`
	}
	path, docs := configFile(t, file("k0")), &cabinet{docs: map[string]string{}}
	c, _ := keepConfig(t, path, docs)
	docs.full = true
	if err := os.WriteFile(path, []byte(file("k1")), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := c.Reload(); err != nil || docs.copy(t) != file("k0") {
		t.Errorf("the copy on a full disk: %s (%v)", docs.copy(t), err)
	}
	docs.full = false
	for _, key := range []string{"k1", "k2", "k1", "k3", "k4", "k5", "k6"} {
		if err := os.WriteFile(path, []byte(file(key)), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := c.Reload(); err != nil {
			t.Fatal(err)
		}
		if key == "k3" && fmt.Sprint(c.FormerKeys()) != "[k1 k2 k0]" {
			t.Errorf("earlier keys %v", c.FormerKeys())
		}
	}
	if got := fmt.Sprint(c.FormerKeys()); got != "[k5 k4 k3 k1]" {
		t.Errorf("earlier keys %s", got)
	}
}

// The copy follows all changes, but never a file that lost its identity.
func TestCopyFollows(t *testing.T) {
	path, docs := configFile(t, preprovisioned), &cabinet{docs: map[string]string{}}
	c, _ := keepConfig(t, path, docs)
	update(t, c, map[string]any{"hostname": "kiosk"})
	if got := docs.copy(t); got != content(t, path) || !strings.Contains(got, "kiosk") {
		t.Errorf("copy after a write: %s", got)
	}
	others := strings.Replace(content(t, path), "kiosk", "desk", 1)
	for _, text := range []string{others, `{}`, `{"apiEndpoint":"https://api.example.com"}`, `{"uuid":"012`} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_ = c.Reload()
		if got := docs.copy(t); got != others {
			t.Errorf("copy after another process wrote %s: %s", text, got)
		}
	}
	docs.full = true
	if err := os.WriteFile(path, []byte(others), 0o644); err != nil {
		t.Fatal(err)
	}
	update(t, c, map[string]any{"hostname": "shelf"})
	if docs.full = false; c.Reload() != nil || !strings.Contains(docs.copy(t), "shelf") {
		t.Errorf("copy after the disk was full: %s", docs.copy(t))
	}
}

// If the file can be neither read nor written, the device continues with its copy.
func TestUnwritableBootPartition(t *testing.T) {
	path, docs := configFile(t, preprovisioned), &cabinet{docs: map[string]string{}}
	before, _ := keepConfig(t, path, docs)
	dir := filepath.Dir(path)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	c, notice := keepConfig(t, path, docs)
	if c.Get() != before.Get() || !strings.Contains(notice, "cannot be written") {
		t.Errorf("the device is %+v, notice %q", c.Get(), notice)
	}
	if err := c.Update(map[string]any{"hostname": "kiosk"}); err == nil || c.Get().Hostname != "" || docs.copy(t) != preprovisioned {
		t.Errorf("a setting was changed: %v, %+v, %s", err, c.Get(), docs.copy(t))
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	update(t, c, map[string]any{"hostname": "kiosk"})
	if got := parsed(t, content(t, path)); got["uuid"] != before.Get().UUID || got["hostname"] != "kiosk" {
		t.Errorf("the file once it can be written: %v", got)
	}
}

// docs/spec/host.md 9: 3; elsewhere a device makes its own identity.
func TestHostThatGivesNoFile(t *testing.T) {
	path, docs := filepath.Join(t.TempDir(), "config.json"), &cabinet{docs: map[string]string{}}
	if _, _, err := KeepConfig(path, docs, true, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	c, notice, err := KeepConfig(path, docs, false, zerolog.Nop())
	if err != nil || notice != "" {
		t.Fatal(notice, err)
	}
	if err := c.EnsureIdentity(); err != nil || c.Get().UUID == "" || docs.copy(t) != content(t, path) {
		t.Errorf("%v, %+v, copy %s", err, c.Get(), docs.copy(t))
	}
	// A broken file without a copy stays unchanged, and so does one with an invalid value and a copy.
	for _, text := range []string{`{"uuid":`, `{"listenPort":"http"}`} {
		path := configFile(t, text)
		untouched(t, path, func() {
			if _, _, err := KeepConfig(path, &cabinet{docs: map[string]string{}}, false, zerolog.Nop()); err == nil {
				t.Errorf("%s was accepted", text)
			}
		})
	}
	if err := os.WriteFile(path, []byte(`{"listenPort":"http"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	untouched(t, path, func() {
		if _, _, err := KeepConfig(path, docs, false, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), "listenPort") {
			t.Errorf("got %v", err)
		}
	})
}
