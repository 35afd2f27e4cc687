package action_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// answered is a request for web, or for its app, and when it was made and answered.
type answered struct {
	path       string
	asked, got time.Time
	status     int
	body       string
}

// history is when containers of web were started and died, by the events of the engine.
type history []harness.Event

// startedIn tells whether web was started in a time.
func (h history) startedIn(a answered) bool {
	for _, e := range h {
		if at := time.Unix(0, e.TimeNano); e.Action == "start" && !at.Before(a.asked) && !at.After(a.got) {
			return true
		}
	}
	return false
}

// wasIn tells whether web ran, or did not, at some moment of a time.
func (h history) wasIn(a answered, running bool) bool {
	now, since := true, time.Time{} // it ran before the first event
	for _, e := range h {
		at := time.Unix(0, e.TimeNano)
		if now == running && at.After(a.asked) && !since.After(a.got) {
			return true
		}
		now, since = e.Action == "start", at
	}
	return now == running && !since.After(a.got)
}

// isTrue tells whether what the answer says happened.
func (h history) isTrue(a answered) bool {
	if a.status != 200 {
		return a.status == 423 || a.status == 503
	}
	switch a.path {
	case "/v2/applications/31/stop-service":
		return h.wasIn(a, false)
	case "/v2/applications/31/start-service":
		return h.wasIn(a, true)
	case "/v2/applications/31/restart-service":
		return h.startedIn(a)
	}
	return true
}

// Actions of the API, new targets, and containers that somebody kills, in any order: no action is lost, each answer is
// true, at no time two containers of a service run, and in the end the last release does.
func TestEverythingInAnyOrder(t *testing.T) {
	r := newRig(t)
	events := r.Engine.Record(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var mu sync.Mutex
	var all []answered
	act := func(path string, body any) {
		a := answered{path: path, asked: time.Now()}
		got := <-r.later(path, body)
		a.got, a.status, a.body = time.Now(), got.Status, got.Body
		mu.Lock()
		defer mu.Unlock()
		all = append(all, a)
	}
	web, app := map[string]any{"serviceName": "web"}, map[string]any{"appId": 31}
	var group sync.WaitGroup
	for n := range uint64(2) {
		draw := rand.New(rand.NewPCG(seed, n))
		group.Go(func() {
			for range 8 {
				act("/v2/applications/31/"+[]string{"stop-service", "start-service", "restart-service"}[draw.IntN(3)], web)
			}
		})
	}
	group.Go(func() {
		draw := rand.New(rand.NewPCG(seed, 2))
		for range 4 {
			act([]string{"/v1/restart", "/v1/purge", "/v2/applications/31/restart", "/v2/applications/31/purge"}[draw.IntN(4)], app)
		}
	})
	over := make(chan struct{})
	var outsider sync.WaitGroup
	outsider.Go(func() { // somebody kills containers, and cleans volumes up
		draw := rand.New(rand.NewPCG(seed, 3))
		for {
			select {
			case <-over:
				return
			case <-time.After(time.Duration(draw.IntN(1500)) * time.Millisecond):
			}
			list, err := r.Engine.Supervised()
			for _, c := range list {
				if err == nil && c.Service() == "web" && c.State.Running {
					_, _ = r.Engine.Do("POST", "/containers/"+c.ID+"/kill", nil, nil) // it may be gone by now
				}
			}
			if _, err := r.TryCall(harness.Request{Method: "GET", Path: "/v2/cleanup-volumes"}); err != nil {
				t.Errorf("cleanup of volumes: %v", err)
			}
		}
	})
	release := 2
	for ; release < 7; release++ {
		r.PostTarget(r.release(release))
		time.Sleep(time.Duration(rand.IntN(2000)) * time.Millisecond)
	}
	group.Wait()
	close(over)
	outsider.Wait()
	r.Apply(r.release(release))
	if c := r.single(t, release); !c.State.Running {
		t.Error("web does not run")
	}
	once(t, events)
	var of history
	for _, e := range events.Events("container", "") {
		if e.Service() == "web" && (e.Action == "start" || e.Action == "die") {
			of = append(of, e)
		}
	}
	if len(all) != 20 {
		t.Errorf("%d answers", len(all))
	}
	for _, a := range all {
		if !of.isTrue(a) {
			t.Errorf("%s from %s to %s: %d %s, which is not true", a.path, a.asked.Format(time.StampMilli), a.got.Format(time.StampMilli), a.status, a.body)
		}
	}
	if t.Failed() {
		for _, e := range of {
			t.Log(fmt.Sprintf("%s %s %.12s", time.Unix(0, e.TimeNano).Format(time.StampMilli), e.Action, e.Actor.ID))
		}
	}
}
