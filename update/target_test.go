package update

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/desired"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/ledger"
	"resin-supervisor/update/lock"
	"resin-supervisor/update/settings"
	"resin-supervisor/update/store"
	"resin-supervisor/update/target"
	"resin-supervisor/update/userlog"
)

// newRemote is a manager without an engine that takes targets of a cloud, and what it says of targets that it cannot use.
// It runs until the test ends.
func newRemote(t *testing.T, dir string) (*Manager, func() []string) {
	t.Helper()
	m, said := notRunning(t, dir)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); m.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	if err := m.SetFacts(compose.Facts{}); err != nil { // it is past its start then
		t.Fatal(err)
	}
	return m, said
}

// notRunning is the manager of newRemote before its loop runs.
func notRunning(t *testing.T, dir string) (*Manager, func() []string) {
	t.Helper()
	docs, err := store.Open(filepath.Join(dir, "state"), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var said []string
	m, err := New(Options{
		Engine: engine.New("/nowhere"), Docs: docs, Locks: lock.New(dir), Log: zerolog.Nop(),
		Say: func(text string, _ bool) {
			mu.Lock()
			defer mu.Unlock()
			if strings.HasPrefix(text, userlog.NotMoved) {
				said = append(said, text)
			}
		},
		Device: Device{Endpoint: cloudOrigin, UUID: func() string { return "abc" }},
		Host:   Host{StoreSettings: func(settings.Settings) error { return nil }, Reboot: ledger.Reboot{Breadcrumb: filepath.Join(dir, "tmp/reboot")}, TargetConfig: filepath.Join(dir, "tmp/config")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return m, func() []string {
		mu.Lock()
		defer mu.Unlock()
		now := said
		said = nil
		return now
	}
}

const cloudOrigin = "https://api.example.com"

// storedApps is the target that applies after a restart of the agent.
func storedApps(t *testing.T, dir string) *target.State {
	t.Helper()
	docs, err := store.Open(filepath.Join(dir, "state"), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	targets, err := desired.Open(desired.Options{Docs: docs, Endpoint: cloudOrigin, UUID: func() string { return "abc" }, Say: userlog.NewVoice(nil), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	return targets.Active()
}

// cloud.md 3.4 (Q4): a target that says the same as the one before, in whichever words and with whichever etag, is none:
// it is not applied again, so that what failed waits on, and nothing is said again. Each target that is applied is
// written for the host; that it lets what failed begin again is shown in package reconcile.
func TestSameTargetInOtherWords(t *testing.T) {
	const (
		web = `"web":{"id":1,"image_id":2,"image":"a/b","environment":{"A":"1","B":"<2>"},"labels":{},"composition":{"command":["x","y"],"ports":["80:80"]}}`
		bad = `"bb":{"id":"x","name":"broken"}`
	)
	first := `{"abc":{"name":"n","config":{"RESIN_SUPERVISOR_DELTA":"1","BALENA_SUPERVISOR_LOG_CONTROL":"0"},"apps":{"aa":{"id":1,"name":"shop","releases":{"c1":{"id":2,"services":{` + web + `}}}},` + bad + `}}}`
	same := `{"abc": {"apps": {` + bad + `, "aa": {"releases":{"c1":{"services":{"web":{"composition":{"ports":["80:80"],"command":["x","y"]},"labels":{},"environment":{"B":"\u003c2\u003e","A":"1"},"image":"a/b","image_id":"2","id":1}},"id":2}},"name":"shop","id":1}},
		"config":{"BALENA_SUPERVISOR_LOG_CONTROL":"0","RESIN_SUPERVISOR_DELTA":"1"},"name":"n"}}`
	dir := t.TempDir()
	m, said := newRemote(t, dir)
	written := filepath.Join(dir, "tmp/config") // whenever a target is applied
	f := func(body, etag string, want bool) {
		t.Helper()
		if err := os.RemoveAll(written); err != nil {
			t.Fatal(err)
		}
		changed, err := m.SetCloudTarget([]byte(body), etag, false)
		if err != nil || changed != want {
			t.Fatalf("changed %v, want %v (%v)", changed, want, err)
		}
		if _, err := os.Stat(written); (err == nil) != want {
			t.Errorf("changed %v, and applied: %v", changed, err == nil)
		}
		if words := said(); len(words) > 0 != want {
			t.Errorf("changed %v, and said: %q", changed, words)
		}
		if got := m.CloudETag(); got != etag {
			t.Errorf("etag %q, want %q", got, etag)
		}
	}
	f(first, "", true)
	f(first, "", false)
	f(same, "", false)
	f(first, `W/"1"`, false)
	f(same, `W/"2"`, false)
	m, said = newRemote(t, dir) // after a restart
	f(first, `W/"3"`, false)
	f(same, "", false)
	f(strings.Replace(first, `"y"`, `"z"`, 1), "", true)
	f(first, "", true)
	f(strings.Replace(first, `LOG_CONTROL":"0"`, `LOG_CONTROL":"1"`, 1), "", true)
	f(strings.Replace(first, `"name":"n"`, `"name":"m"`, 1), "", true)
}

// cloud.md 39 (Q6): an app of which the cloud makes nonsense is not taken for one that left the target.
func TestUnreadableAppStays(t *testing.T) {
	const rest = `"bb":{"id":2,"name":"other"}`
	const good = `{"abc":{"name":"n","config":{},"apps":{"aa":{"id":1,"name":"shop","releases":{"c1":{"id":2,"volumes":{"data":{}}}}},` + rest + `}}}`
	dir := t.TempDir()
	for _, app := range []string{`null`, `{"id":"x","name":"shop"}`, `{"id":1}`, `[]`, `{"id":1,"name":"shop","x":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`} {
		m, _ := newRemote(t, dir)
		body := `{"abc":{"name":"n","config":{},"apps":{"aa":` + app + `,` + rest + `}}}`
		for _, step := range []struct {
			body     string
			rejected bool
		}{{good, false}, {body, true}, {body + " ", true}, {good, false}} {
			if _, err := m.SetCloudTarget([]byte(step.body), "", false); err != nil {
				t.Fatal(err)
			}
			for name, s := range map[string]*target.State{"now": m.targets.Active(), "after a restart": storedApps(t, dir)} {
				aa, bb := s.Apps["aa"], s.Apps["bb"]
				if aa == nil || (aa.Rejected != "") != step.rejected || aa.Release.Commit != "c1" || aa.Release.Volumes["data"] == nil || bb == nil || bb.Rejected != "" {
					t.Errorf("%s: %s: %+v %+v", step.body, name, aa, bb)
				}
			}
		}
		gone := `{"abc":{"name":"n","config":{},"apps":{` + rest + `}}}`
		if _, err := m.SetCloudTarget([]byte(gone), "", false); err != nil || m.targets.Active().Apps["aa"] != nil {
			t.Errorf("an app that left the target stays (%v)", err)
		}
	}
}

// The same in the first target that the device hears of: what another supervisor left is its.
func TestUnreadableAppOfTheFirstTarget(t *testing.T) {
	dir := t.TempDir()
	m, _ := newRemote(t, dir)
	body := `{"abc":{"name":"n","config":{},"apps":{"aa":null,"bb":{"id":2,"name":"other"}}}}`
	if changed, err := m.SetCloudTarget([]byte(body), "", false); err != nil || !changed {
		t.Fatal(changed, err)
	}
	for name, s := range map[string]*target.State{"now": m.targets.Active(), "after a restart": storedApps(t, dir)} {
		aa, bb := s.Apps["aa"], s.Apps["bb"]
		if aa == nil || aa.Rejected == "" || aa.ID != target.UnknownID || aa.Release != nil || bb == nil || bb.Rejected != "" {
			t.Errorf("%s: %+v %+v", name, aa, bb)
		}
	}
}

// Facts that come when the loop has ended do not hold up the end of the agent.
func TestFactsAtTheEnd(t *testing.T) {
	m, _ := notRunning(t, t.TempDir())
	ended, end := context.WithCancel(context.Background())
	end()
	m.loop.Run(ended)
	if err := m.SetFacts(compose.Facts{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// A document that is of no use is told of once for as long as it stays, and again when it comes back.
func TestUselessTargetIsToldOfAgain(t *testing.T) {
	m, said := newRemote(t, t.TempDir())
	const good, bad = `{"abc":{"name":"n","config":{},"apps":{}}}`, `{"abc":{"name":"n","config":{},"apps":null}}`
	for _, step := range []struct {
		body string
		more bool
	}{{bad, true}, {bad, false}, {good, false}, {bad, true}} {
		said()
		_, _ = m.SetCloudTarget([]byte(step.body), "", false)
		if words := said(); len(words) > 0 != step.more {
			t.Errorf("%s: said %q", step.body, words)
		}
	}
}

// The calls of the engine are counted with what the loop did.
func TestCountsOfTheEngine(t *testing.T) {
	m, _ := newRemote(t, t.TempDir())
	before := m.Counts()
	if _, err := m.engine.Negotiate(t.Context()); err == nil {
		t.Fatal("an engine answers nowhere")
	}
	if got := m.Counts(); got.EngineCalls <= before.EngineCalls || got.EngineErrors <= before.EngineErrors {
		t.Errorf("%d calls and %d errors, before %d and %d", got.EngineCalls, got.EngineErrors, before.EngineCalls, before.EngineErrors)
	}
}
