package action_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

const (
	aborted  = "aborted by a newer operation"
	stopCall = "POST /containers/{id}/stop"
)

// later makes a call and hands on its answer when it comes.
func (r *rig) later(path string, body any) <-chan harness.Answer {
	answer := make(chan harness.Answer, 1)
	go func() {
		a, err := r.TryCall(harness.Request{Method: "POST", Path: path, Body: body})
		if err != nil {
			a.Body = err.Error()
		}
		answer <- a
	}()
	return answer
}

// stops waits until the engine was asked to stop a container n times since before.
func (r *rig) stops(t *testing.T, before, n int) {
	t.Helper()
	harness.Until(t, harness.Soon, "a container being stopped", func() error {
		if now := len(r.Proxy.Times(stopCall)); now < before+n {
			return fmt.Errorf("%d stops", now-before)
		}
		return nil
	})
}

// put writes a file into web's volume, and has tells whether it is there.
func (r *rig) put(t *testing.T, path string) {
	t.Helper()
	harness.MustAsk(t, r.Containers()["web"], http.MethodPut, "/file?path="+path, "x")
}

func (r *rig) has(t *testing.T, path string) bool {
	t.Helper()
	harness.VersionOf(t, r.Containers()["web"])
	status, _, err := harness.Ask(r.Containers()["web"], http.MethodGet, "/file?path="+path, "")
	if err != nil {
		t.Fatal(err)
	}
	return status == http.StatusOK
}

// renewed fails the test unless exactly the named services have other containers than before, and all
// run.
func (r *rig) renewed(t *testing.T, before map[string]string, services ...string) {
	t.Helper()
	r.WaitSettled(harness.Soon)
	fresh := map[string]bool{}
	for _, s := range services {
		fresh[s] = true
	}
	for name, c := range r.Containers() {
		if (c.ID != before[name]) != fresh[name] || !c.State.Running {
			t.Errorf("%s: new %v, want %v; %s", name, c.ID != before[name], fresh[name], c.State.Status)
		}
	}
}

// slowly gives a service an image that takes minutes to download unless its network is made faster.
func slowly(t *testing.T, s harness.Service, imageID int) (harness.Service, *harness.Throttle) {
	t.Helper()
	registry := harness.SharedRegistry(t)
	net := registry.Slow(t, 20_000)
	image := registry.Push(t, harness.ServerImage(fmt.Sprintf("action/slow%d:v2", imageID)).WithBlob(2_000_000))
	return s.Using(net.Of(image).Name, imageID), net
}

func (r *rig) downloads(t *testing.T) {
	t.Helper()
	harness.Until(t, harness.Soon, "the download", func() error {
		if d := r.Device(); d.Status != "Downloading" {
			return fmt.Errorf("%+v", d)
		}
		return nil
	})
}

// device-api.md 76; issue: restart, purge and stop while the same app downloads a release. All are
// done at once, and the release comes in the end.
func TestActionsDuringADownload(t *testing.T) {
	r := newRig(t)
	r.put(t, "/data/old")
	r.shop.Commit, r.shop.Release = "aaaa2", 21
	web, net := slowly(t, r.shop.Services[0], 2001)
	r.shop.Services = []harness.Service{web, r.shop.Services[1]}
	r.PostTarget(r.target())
	r.downloads(t)

	before := r.IDs()
	r.Post("/v2/applications/31/stop-service", map[string]any{"serviceName": "db"}).Want(t, 200, "OK")
	if now := r.Containers(); now["db"].State.Running || now["db"].ID != before["db"] || !now["web"].State.Running {
		t.Error("db was not stopped, or something else was done, during the download")
	}
	r.Post("/v2/applications/31/start-service", map[string]any{"serviceName": "db"}).Want(t, 200, "OK")
	r.Post("/v1/restart", map[string]any{"appId": 31}).Want(t, 200, "OK")
	restarted := r.Containers()
	for _, name := range []string{"web", "db"} {
		if c := restarted[name]; c.ID == before[name] || !c.State.Running || name == "web" && !strings.HasSuffix(c.Name, "aaaa1") {
			t.Errorf("after the restart during a download %s is %s, %s", name, c.Name, c.State.Status)
		}
	}
	if !r.has(t, "/data/old") {
		t.Error("the restart emptied the volume")
	}
	r.Post("/v1/purge", map[string]any{"appId": 31}).Want(t, 200, granted)
	if r.has(t, "/data/old") {
		t.Error("the purge left data")
	}
	r.downloads(t)
	net.SetRate(50_000_000)
	r.WaitSettled(harness.Soon)
	if c := r.Containers()["web"]; !strings.HasSuffix(c.Name, "aaaa2") {
		t.Errorf("in the end web is %s", c.Name)
	}
}

// device-api.md 77, A7; issue: two restarts at once, and a purge over a restart. The newer one is
// done, the older one is told that it was not.
func TestNewerActionEndsAnOlderOne(t *testing.T) {
	r := newRig(t)
	r.put(t, "/data/old")
	for _, newer := range []struct{ path, answer string }{{"/v1/restart", "OK"}, {"/v1/purge", granted}} {
		before, stops := r.IDs(), len(r.Proxy.Times(stopCall))
		r.Proxy.Spoil(stopCall, harness.Hang, 0, 2)
		first := r.later("/v1/restart", map[string]any{"appId": 31})
		r.stops(t, stops, 2)
		second := r.later(newer.path, map[string]any{"appId": 31})
		answer := <-first
		answer.Want(t, 503, harness.Failed(aborted))
		r.Proxy.Heal()
		answer = <-second
		answer.Want(t, 200, newer.answer)
		r.renewed(t, before, "web", "db")
	}
	if r.has(t, "/data/old") {
		t.Error("the purge left data")
	}
}

// Restarts of different apps, and many of one, at the same time: each caller gets an answer that is
// true, at least one restart is done, and nothing is lost.
func TestManyActionsAtOnce(t *testing.T) {
	r := newRig(t)
	before := r.IDs()
	var group sync.WaitGroup
	var mu sync.Mutex
	count := map[string]int{}
	for i := range 12 {
		app := 31 + i%2
		group.Go(func() {
			a := r.Post("/v1/restart", map[string]any{"appId": app})
			mu.Lock()
			defer mu.Unlock()
			count[fmt.Sprint(app, " ", a.Status)]++
			if a.Status != 200 && (a.Status != 503 || a.Body != harness.Failed(aborted)) {
				t.Errorf("restart of %d: %d %s", app, a.Status, a.Body)
			}
		})
	}
	group.Wait()
	if count["31 200"] == 0 || count["32 200"] == 0 {
		t.Errorf("answers are %v", count)
	}
	r.renewed(t, before, "web", "db", "main")
}

// Issue: purge while updating, at the moment that a container of the app is being replaced.
func TestPurgeDuringTheReplacementOfAContainer(t *testing.T) {
	r := newRig(t)
	r.put(t, "/data/old")
	before, stops := r.IDs(), len(r.Proxy.Times(stopCall))
	r.Proxy.Spoil(stopCall, harness.Hang, 0, 1)
	r.shop.Commit, r.shop.Release = "aaaa2", 21
	r.shop.Services = []harness.Service{r.shop.Services[0].Setting("NEW", "1"), r.shop.Services[1]}
	r.PostTarget(r.target())
	r.stops(t, stops, 1)
	purge := r.later("/v1/purge", map[string]any{"appId": 31})
	harness.Until(t, harness.Soon, "the purge to begin", func() error {
		if n := len(r.Steps()); n == 0 {
			return fmt.Errorf("%d steps", n)
		}
		return nil
	})
	r.Proxy.Heal()
	answer := <-purge
	answer.Want(t, 200, granted)
	r.renewed(t, before, "web", "db")
	if r.has(t, "/data/old") {
		t.Error("the purge left data")
	}
	if c := r.Containers()["web"]; !strings.HasSuffix(c.Name, "aaaa2") {
		t.Errorf("in the end web is %s", c.Name)
	}
}

// device-api.md 97: who finds an app's locks with another operation waits ten seconds for them, with
// force as well, and so does a reboot.
func TestLocksOfAnotherOperation(t *testing.T) {
	r := newRig(t)
	before := r.IDs()
	stops := len(r.Proxy.Times(stopCall))
	r.Proxy.Spoil(stopCall, harness.Hang, 0, 1)
	slow := r.later("/v2/applications/31/restart-service", map[string]any{"serviceName": "web"})
	r.stops(t, stops, 1)
	const held = "Locks for app 31 are being held by another supervisor operation"
	began := time.Now()
	waiting := []struct {
		answer <-chan harness.Answer
		want   string
	}{
		{r.later("/v2/applications/31/stop-service", map[string]any{"serviceName": "db"}), harness.Failed(held)},
		{r.later("/v2/applications/31/restart-service", map[string]any{"serviceName": "db", "force": true}), harness.Failed(held)},
		{r.later("/v1/reboot", map[string]any{"force": true}), refused(held)},
	}
	// What takes no lock, or another app's, does not wait.
	r.Post("/v2/applications/31/start-service", map[string]any{"serviceName": "db"}).Want(t, 200, "OK")
	if a := r.Post("/v1/apps/32/stop", nil); a.Status != 200 {
		t.Errorf("stop in another app: %d %s", a.Status, a.Body)
	}
	for _, w := range waiting {
		a := <-w.answer
		a.Want(t, 423, w.want)
		if waited := time.Since(began); waited < 9*time.Second {
			t.Errorf("%s after %v", w.want, waited)
		}
	}
	r.stillUp(t)
	r.Proxy.Heal()
	answer := <-slow
	answer.Want(t, 200, "OK")
	if a := r.Post("/v1/apps/32/start", nil); a.Status != 200 {
		t.Errorf("start: %d %s", a.Status, a.Body)
	}
	r.renewed(t, before, "web")
}

// device-api.md 94: a container that a lock keeps although the release has no such service any more.
func TestServiceThatLeftTheRelease(t *testing.T) {
	r := newRig(t)
	file := r.LockUpdates(31, "db")
	web, db := r.shop.Services[0], r.shop.Services[1]
	r.shop.Commit, r.shop.Services = "aaaa2", []harness.Service{web}
	r.PostTarget(r.target())
	for _, action := range []string{"stop-service", "start-service", "restart-service"} {
		r.Post("/v2/applications/31/"+action, map[string]any{"serviceName": "db"}).Want(t, 404, "Service does not exist in target release")
	}
	if c := r.Containers()[db.Name]; !c.State.Running {
		t.Error("db was stopped under the lock")
	}
	os.Remove(file)
	r.WaitSettled(harness.Soon)
}

// device-api.md 152, 112: a service that was stopped by hand runs again after a restart of its app,
// and while the restart runs the state says so.
func TestRestartBringsBackAStoppedService(t *testing.T) {
	r := newRig(t)
	r.Post("/v2/applications/31/stop-service", map[string]any{"serviceName": "db"}).Want(t, 200, "OK")
	before, stops := r.IDs(), len(r.Proxy.Times(stopCall))
	r.Proxy.Spoil(stopCall, harness.Hang, 0, 2)
	restart := r.later("/v1/restart", map[string]any{"appId": 31})
	r.stops(t, stops, 1)
	if a := r.Get("/v2/state/status"); !strings.Contains(a.Body, `"appState":"applying"`) {
		t.Errorf("during a restart the state is %s", a.Body)
	}
	if d := r.Device(); d.UpdatePending || d.UpdateFailed {
		t.Errorf("a restart shows as an update: %+v", d)
	}
	r.Proxy.Heal()
	answer := <-restart
	answer.Want(t, 200, "OK")
	r.renewed(t, before, "web", "db")
}
