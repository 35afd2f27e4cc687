package update

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/store"
	"resin-supervisor/update/target"
)

// newRemote is a manager without an engine that takes targets of a cloud, and what it says.
func newRemote(t *testing.T, dir string) (*Manager, func() []string) {
	t.Helper()
	docs, err := store.Open(filepath.Join(dir, "state"), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	uuid := func() string { return "abc" }
	targets, err := openTargets(Options{Docs: docs, Endpoint: "https://api.example.com", UUID: uuid, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	say, said := recorded()
	ctx, cancel := context.WithCancel(context.Background())
	x := &executor{say: say, targets: targets, reboot: reboot{breadcrumb: filepath.Join(dir, "tmp/reboot")}}
	l := &loop{exec: x, targets: targets, resolve: &resolver{}, calls: make(chan func()), backoff: newBackoff(time.Hour),
		cell: newCell(nil), kept: make(map[string]time.Time), show: func(status) {}, log: zerolog.Nop()}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case f := <-l.calls:
				f()
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return &Manager{cell: newCell(current.Empty()), targets: targets, exec: x, loop: l, life: ctx, log: zerolog.Nop()}, said
}

// cloud.md 3.4 (Q4): a target that says the same as the one before, in whichever words and with
// whichever etag, is none: what failed waits on, and nothing is said again.
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
	step := plan.Step{Kind: plan.Start, Key: "aa web", AppUUID: "aa"}
	failing := func() bool {
		waits := false
		_ = m.loop.call(m.life, func() { waits = m.loop.backoff.until(step).After(time.Now()) })
		return waits
	}
	f := func(body, etag string, want bool) {
		t.Helper()
		_ = m.loop.call(m.life, func() { m.loop.backoff.failed(step, time.Now()) })
		changed, err := m.SetCloudTarget([]byte(body), etag, false)
		if err != nil || changed != want {
			t.Fatalf("changed %v, want %v (%v)", changed, want, err)
		}
		if waits := failing(); waits == want {
			t.Errorf("changed %v, and what failed waits: %v", changed, waits)
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
			for name, s := range map[string]*target.State{"now": m.targets.active(), "after a restart": openedTargets(t, dir, "https://api.example.com").active()} {
				aa, bb := s.Apps["aa"], s.Apps["bb"]
				if aa == nil || (aa.Rejected != "") != step.rejected || aa.Release.Commit != "c1" || aa.Release.Volumes["data"] == nil || bb == nil || bb.Rejected != "" {
					t.Errorf("%s: %s: %+v %+v", step.body, name, aa, bb)
				}
			}
		}
		gone := `{"abc":{"name":"n","config":{},"apps":{` + rest + `}}}`
		if _, err := m.SetCloudTarget([]byte(gone), "", false); err != nil || m.targets.active().Apps["aa"] != nil {
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
	for name, s := range map[string]*target.State{"now": m.targets.active(), "after a restart": openedTargets(t, dir, "https://api.example.com").active()} {
		aa, bb := s.Apps["aa"], s.Apps["bb"]
		if aa == nil || aa.Rejected == "" || aa.ID != target.UnknownID || aa.Release != nil || bb == nil || bb.Rejected != "" {
			t.Errorf("%s: %+v %+v", name, aa, bb)
		}
	}
}

// What is told of the device when the loop has ended does not hold up the end of the agent.
func TestFactsAtTheEnd(t *testing.T) {
	m, _ := newRemote(t, t.TempDir())
	ended, end := context.WithCancel(context.Background())
	end()
	m.life, m.loop = ended, &loop{exec: m.exec, targets: m.targets, calls: make(chan func())}
	if err := m.SetFacts(compose.Facts{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// A document that is of no use is told of once for as long as it stays, and again when it comes back.
func TestUselessTargetIsToldOfAgain(t *testing.T) {
	m, _ := newRemote(t, t.TempDir())
	told := 0
	m.exec.say = func(string, bool) { told++ }
	const good, bad = `{"abc":{"name":"n","config":{},"apps":{}}}`, `{"abc":{"name":"n","config":{},"apps":null}}`
	for _, step := range []struct {
		body string
		more bool
	}{{bad, true}, {bad, false}, {good, false}, {bad, true}} {
		before := told
		_, _ = m.SetCloudTarget([]byte(step.body), "", false)
		if (told > before) != step.more {
			t.Errorf("%s: told %d times", step.body, told-before)
		}
	}
}

// What is remembered of apps goes with them.
func TestAppsThatWentAreForgotten(t *testing.T) {
	m, _ := newRemote(t, t.TempDir())
	m.loop.noted, m.loop.resolve.told, m.loop.status.touched = make(map[string]*target.App), make(map[string]string), make(map[string]string)
	for _, uuid := range []string{"aa", "bb"} {
		m.loop.noted[uuid], m.loop.resolve.told[uuid] = &target.App{}, "text"
		m.loop.status.touched[current.Slot(uuid, "web")] = "start"
	}
	m.loop.looked = map[string]time.Time{"web:2": time.Now()}
	m.loop.setTarget(&target.State{Apps: map[string]*target.App{"bb": {UUID: "bb"}}}, false)
	if len(m.loop.looked) != 0 {
		t.Error("a look for another target is relied upon")
	}
	if l := m.loop; len(l.noted)+len(l.resolve.told)+len(l.status.touched) != 3 || l.noted["bb"] == nil || l.status.touched["bb/web"] == "" {
		t.Errorf("%v %v %v", l.noted, l.resolve.told, l.status.touched)
	}
}
