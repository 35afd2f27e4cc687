package api

import (
	"context"
	"errors"

	"github.com/valyala/fasthttp"

	"resin-supervisor/update/view"
)

// reboot and shutdown answer when it is settled that the device goes down, a second before it does
// (docs/spec/device-api.md 2.5, 2.6).
func (h *handlers) reboot(c *call) Answer { return h.goDown(c, h.apps.Reboot) }

func (h *handlers) shutdown(c *call) Answer { return h.goDown(c, h.apps.Shutdown) }

func (h *handlers) goDown(c *call, how func(context.Context, bool) error) Answer {
	err := h.carryOut(func(ctx context.Context) error { return how(ctx, c.force()) })
	var locked *view.LockedError
	switch {
	case err == nil:
		return Answer{fasthttp.StatusAccepted, encode(data{Data: "OK"})}
	case errors.As(err, &locked):
		return Answer{fasthttp.StatusLocked, encode(data{Error: locked.Text})}
	}
	return Answer{fasthttp.StatusInternalServerError, encode(data{Error: err.Error()})}
}
