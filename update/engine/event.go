package engine

import (
	"context"
	"fmt"
	"io"
	"time"

	"resin-supervisor/update/engine/doc"
)

// Events calls fn with each event of containers, images, networks and volumes as it happens
// (docs/spec/engine.md 1.5). It returns nil when ctx ends and an error when the stream breaks off.
//
// With since not zero it begins with the events of that instant and after that the engine still
// remembers: a few hundred at most, and none from before its own start, so after a restart of the
// engine the objects must be listed again. ready, if not nil, is called once the engine watches:
// what is read after it cannot miss a change.
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
		err = io.EOF // the stream has no end of its own
	}
	return c.cut(ctx, r, err)
}

// instant writes a time as the engine's since parameter, "" for the zero time.
func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond())
}
