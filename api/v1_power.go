package api

import (
	"context"
	"errors"

	"github.com/valyala/fasthttp"

	"resin-supervisor/update/view"
)

// reboot and shutdown answer when the reboot or shutdown is scheduled, a second before it happens
// (docs/spec/device-api.md 2.5, 2.6).
func (h *handlers) reboot(c *call) Answer { return h.powerAction(c, h.apps.Reboot) }

func (h *handlers) shutdown(c *call) Answer { return h.powerAction(c, h.apps.Shutdown) }

func (h *handlers) powerAction(c *call, action func(context.Context, bool) error) Answer {
	err := h.runAction(func(ctx context.Context) error { return action(ctx, c.force()) })
	var locked *view.LockedError
	switch {
	case err == nil:
		return Answer{fasthttp.StatusAccepted, encode(v1Result{Data: "OK"})}
	case errors.As(err, &locked):
		return Answer{fasthttp.StatusLocked, encode(v1Result{Error: locked.Text})}
	}
	return Answer{fasthttp.StatusInternalServerError, encode(v1Result{Error: err.Error()})}
}
