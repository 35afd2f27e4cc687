package engine

import (
	"context"
	"fmt"
	"testing"
	"time"

	"resin-supervisor/update/engine"
	"resin-supervisor/update/engine/doc"

	"resin-supervisor/test/harness"
)

// follower runs Events in the background.
type follower struct {
	events chan doc.Event
	ended  chan error
	cancel context.CancelFunc
}

// follow returns once the engine watches.
func follow(t *testing.T, c *engine.Client, since time.Time) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &follower{events: make(chan doc.Event, 1000), ended: make(chan error, 1), cancel: cancel}
	ready := make(chan struct{})
	go func() {
		f.ended <- c.Events(ctx, since, func() { close(ready) }, func(e doc.Event) { f.events <- e })
	}()
	t.Cleanup(cancel)
	select {
	case <-ready:
	case err := <-f.ended:
		t.Fatal(err)
	}
	return f
}

// want waits for one event of an object and returns it.
func (f *follower) want(t *testing.T, kind, action, id string) doc.Event {
	t.Helper()
	patience := time.After(20 * time.Second)
	for {
		select {
		case e := <-f.events:
			if e.Type == kind && e.Action == action && e.Actor.ID == id {
				return e
			}
		case err := <-f.ended:
			t.Fatalf("stream ended before %s %s: %v", kind, action, err)
		case <-patience:
			t.Fatalf("no %s %s of %s", kind, action, id)
		}
	}
}

func TestEventsOfAllKinds(t *testing.T) {
	c, _ := bed(t)
	f := follow(t, c, time.Time{})
	body := script("exit 7")
	body.Labels = map[string]string{"io.balena.supervised": "1"}
	before := time.Now()
	id := run(t, c, "events", body)
	f.want(t, "container", "create", id)
	f.want(t, "container", "start", id)
	die := f.want(t, "container", "die", id)
	if die.Actor.Attributes["exitCode"] != "7" || die.Actor.Attributes["io.balena.supervised"] != "1" || die.Actor.Attributes["name"] != "events" {
		t.Errorf("%+v", die)
	}
	if at := time.Unix(0, die.TimeNano); at.Before(before) || at.Unix() != die.Time {
		t.Errorf("%+v, began %v", die, before)
	}
	net, err := c.CreateNetwork(t.Context(), &doc.NetworkCreate{Name: "events"})
	harness.Must(t, err, second(c.CreateVolume(t.Context(), &doc.VolumeCreate{Name: "events"})))
	f.want(t, "network", "create", net.Id)
	f.want(t, "volume", "create", "events")
	image, err := c.Image(t.Context(), shell)
	harness.Must(t, err, c.TagImage(t.Context(), image.Id, "events", ""))
	f.want(t, "image", "tag", image.Id)
	harness.Must(t, c.RemoveContainer(t.Context(), id, true))
	f.want(t, "container", "destroy", id)
	f.cancel()
	if err := <-f.ended; err != nil {
		t.Errorf("end of context: %v", err)
	}
}

func TestNoEventIsLostBetweenTwoStreams(t *testing.T) {
	c, e := bed(t)
	p := newTap(t, e.Socket)
	f := follow(t, engine.New(p.socket), time.Time{})
	id := run(t, c, "gap", script("read x; exit 3"))
	last := f.want(t, "container", "die", id)
	p.cut()
	if err := <-f.ended; !engine.IsUnknown(err) {
		t.Fatalf("broken stream: %v", err)
	}
	harness.Must(t, c.StartContainer(t.Context(), id)) // while nobody listens
	f = follow(t, engine.New(p.socket), time.Unix(0, last.TimeNano))
	f.want(t, "container", "start", id)
	f.want(t, "container", "die", id)
}

func TestEventsAfterARestartOfTheEngine(t *testing.T) {
	c, e := bed(t)
	f := follow(t, c, time.Time{})
	stopped := time.Now()
	e.Kill(t)
	if err := <-f.ended; !engine.IsUnknown(err) {
		t.Fatalf("dead engine: %v", err)
	}
	e.Start(t)
	body := script("exit 5")
	id := run(t, c, "restart", body)
	f = follow(t, c, stopped) // begins after the facts
	f.want(t, "container", "create", id)
	f.want(t, "container", "die", id)
}

func TestManyFollowersEnd(t *testing.T) {
	c, _ := bed(t)
	var all []*follower
	for range 30 {
		all = append(all, follow(t, c, time.Time{}))
	}
	for i, f := range all {
		f.cancel()
		if err := <-f.ended; err != nil {
			t.Error(fmt.Errorf("follower %d: %w", i, err))
		}
	}
}
