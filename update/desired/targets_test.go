package desired

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/rs/zerolog"

	"resin-supervisor/update/settings"
	"resin-supervisor/update/store"
	"resin-supervisor/update/userlog"
)

func openedTargets(t *testing.T, dir, endpoint string) *Targets {
	t.Helper()
	docs, err := store.Open(filepath.Join(dir, "state"), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	got, err := Open(Options{Docs: docs, Endpoint: endpoint, UUID: func() string { return "abc" }, Say: userlog.NewVoice(nil), PreloadPath: filepath.Join(dir, "apps.json"), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

const preloaded = `{"config":{"BALENA_SUPERVISOR_OVERRIDE_LOCK":"1"},"apps":{"aa":{"id":1,"name":"shop","releases":{"c1":{"id":2,"services":{}}}}}}`

func openedSettings(t *Targets) settings.Settings {
	s, _, _ := t.Settings()
	return s
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// cloud.md 90: a preload is taken over once, survives a restart, and leaves a backup.
func TestPreloadIsTakenOver(t *testing.T) {
	dir := t.TempDir()
	if s := openedTargets(t, dir, "").Active(); s != nil {
		t.Fatalf("a target without anything to take it from: %v", s)
	}
	put(t, filepath.Join(dir, "apps.json"), preloaded)
	got := openedTargets(t, dir, "")
	if s := got.Active(); s == nil || s.Apps["aa"] == nil || s.Apps["aa"].Release.Commit != "c1" {
		t.Fatalf("preloaded target: %v", s)
	}
	if !openedSettings(got).OverrideLock {
		t.Error("the preloaded configuration has no effect")
	}
	if body, _ := os.ReadFile(filepath.Join(dir, "apps.json")); string(body) != "{}" {
		t.Errorf("apps.json afterwards: %s", body)
	}
	if body, _ := os.ReadFile(filepath.Join(dir, "apps.json.preloaded")); string(body) != preloaded {
		t.Errorf("backup: %s", body)
	}
	if s := openedTargets(t, dir, "").Active(); s == nil || s.Apps["aa"] == nil {
		t.Errorf("target after a restart: %v", s)
	}
}

func TestInvalidPreloadChangesNothing(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "apps.json"), preloaded)
	openedTargets(t, dir, "")
	put(t, filepath.Join(dir, "apps.json"), `{"apps":{"bb":{"id":"x"}}}`)
	if s := openedTargets(t, dir, "").Active(); s == nil || s.Apps["aa"] == nil {
		t.Errorf("target after an invalid preload: %v", s)
	}
	if body, _ := os.ReadFile(filepath.Join(dir, "apps.json")); string(body) == "{}" {
		t.Error("an invalid preload was consumed")
	}
}

// A managed device takes a preload once: its cloud says what comes later. cloud.md 90: one image that
// is missing is enough to refuse it all.
func TestManagedDeviceTakesOnePreload(t *testing.T) {
	const managed = "https://api.example.com"
	dir := t.TempDir()
	path := filepath.Join(dir, "apps.json")
	const withImages = `{"apps":{"aa":{"id":1,"name":"shop","releases":{"c1":{"id":2,"services":{"web":{"id":1,"image_id":2,"image":"a/b","environment":{},"labels":{}}}}}}},"pinDevice":true}`
	put(t, path, withImages)
	take := func(have bool) bool {
		t.Helper()
		taken, err := openedTargets(t, dir, managed).Preload(nil, func(string) bool { return have })
		if err != nil {
			t.Fatal(err)
		}
		return taken
	}
	if take(false) || openedTargets(t, dir, managed).Active() != nil {
		t.Error("a preload without its image was taken")
	}
	if body, _ := os.ReadFile(path); string(body) != withImages {
		t.Error("a refused preload was put away")
	}
	if !take(true) {
		t.Error("a preload with its image was not taken")
	}
	if pin := openedTargets(t, dir, managed).stored.Pin; pin == nil || pin.App != 1 || pin.Commit != "c1" {
		t.Errorf("wish to pin the device: %v", pin)
	}
	put(t, path, `{"apps":{"bb":{"id":2,"name":"x","releases":{"c1":{"id":2}}}}}`)
	if take(true) {
		t.Error("a second preload was taken")
	}
	if s := openedTargets(t, dir, managed).Active(); s == nil || s.Apps["bb"] != nil || s.Apps["aa"] == nil {
		t.Errorf("target after a second preload: %v", s)
	}
}

// A stored target that cannot be read is a problem only when it would apply: one of an earlier cloud says nothing of
// this device.
func TestStoredTargetThatCannotBeRead(t *testing.T) {
	const present = "https://api.example.com"
	for source, problems := range map[string]int{present: 1, localSource: 1, "https://old.example.com": 0} {
		dir := t.TempDir()
		docs, err := store.Open(filepath.Join(dir, "state"), zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		stored := targetDocument{Sources: map[string]json.RawMessage{source: json.RawMessage(`{"apps":5}`)}, Config: map[string]string{}}
		if err := docs.Save(targetName, targetVersion, stored); err != nil {
			t.Fatal(err)
		}
		if got := openedTargets(t, dir, present); len(got.unusable) != problems {
			t.Errorf("problems of an unreadable target of %s: %v", source, got.unusable)
		}
	}
}
