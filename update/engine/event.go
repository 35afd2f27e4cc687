package engine

import (
	"context"
	"fmt"
	"io"
	"time"

	"resin-supervisor/update/engine/doc"
)

// Events calls fn with each event of containers, images, networks and volumes (docs/spec/engine.md 1.5). It returns nil
// when ctx ends, and an error when the stream breaks.
//
// If since is not zero, the engine first repeats the events from that time on. It remembers a few hundred at most, and none
// from before its start: after a restart of the engine, list the objects again. ready, if not nil, is called when the
// stream is open: an object that is read after that misses no change.
func (c *Client) Events(ctx context.Context, since time.Time, ready func(), fn func(doc.Event)) error {
	types := filter("type", "container", "image", "network", "volume")
	r := get("follow events", "/events", query("filters", types, "since", instant(since))).within(0)
	err := c.events(ctx, r, ready, fn)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (c *Client) events(ctx context.Context, r request, ready func(), fn func(doc.Event)) error {
	a, err := c.open(ctx, r)
	if err != nil {
		return err
	}
	defer a.close()
	if ready != nil {
		ready()
	}
	err = eachObject(a.body, func(e *doc.Event) error {
		fn(*e)
		return nil
	})
	if err == nil {
		err = io.EOF // the engine never ends this stream
	}
	return c.transportError(ctx, r, err)
}

// instant formats a time for the engine's since parameter; the zero time is "".
func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond())
}
