package api

import (
	"cmp"
	"context"
	"errors"

	"github.com/valyala/fasthttp"

	"resin-supervisor/update/view"
)

const success = "success"

// version shows the version of the supervisor (docs/spec/device-api.md 2.22).
func (h *handlers) version(*call) Answer {
	return document(struct {
		Status  string `json:"status"`
		Version string `json:"version"`
	}{success, h.dev.Facts().SupervisorVersion})
}

// deviceName shows the name of the device in the last target (docs/spec/device-api.md 2.24).
func (h *handlers) deviceName(*call) Answer {
	return document(struct {
		Status string `json:"status"`
		Name   string `json:"deviceName"`
	}{success, cmp.Or(h.apps.View().DeviceName, "local")})
}

// vpn shows whether the host's VPN is enabled, and whether it is connected (docs/spec/device-api.md 2.25).
func (h *handlers) vpn(*call) Answer {
	type state struct {
		Enabled   bool `json:"enabled"`
		Connected bool `json:"connected"`
	}
	enabled, connected := h.dev.VPN(h.ctx)
	return document(struct {
		Status string `json:"status"`
		VPN    state  `json:"vpn"`
	}{success, state{enabled, connected}})
}

// cleanUpVolumes removes volumes that nothing uses any more (docs/spec/device-api.md 2.28).
func (h *handlers) cleanUpVolumes(c *call) Answer {
	if _, refusal, ok := h.syncedView(); !ok {
		return refusal
	}
	covers := c.caller.covers
	return h.act(func(ctx context.Context) error { return h.apps.CleanUpVolumes(ctx, covers) }, func() Answer {
		return document(struct {
			Status string `json:"status"`
		}{success})
	})
}

// deviceInfo shows the type of the board (docs/spec/device-api.md 2.32).
func (h *handlers) deviceInfo(*call) Answer {
	type info struct {
		Arch       string `json:"arch"`
		DeviceType string `json:"deviceType"`
	}
	facts := h.dev.Facts()
	return document(struct {
		Status string `json:"status"`
		Info   info   `json:"info"`
	}{success, info{cmp.Or(facts.Arch, "unknown"), cmp.Or(facts.DeviceType, "unknown")}})
}

// localTarget shows the target state of the apps in scope (docs/spec/device-api.md 2.30).
func (h *handlers) localTarget(c *call) Answer {
	state, err := h.apps.LocalTarget(c.caller.covers)
	if err != nil {
		return actionError(err)
	}
	body := append(encoded(`{"status":"success","state":`), state...)
	return Answer{fasthttp.StatusOK, append(body, '}')}
}

// storeTarget stores one target at a time, because each takes several times its size in memory.
func (h *handlers) storeTarget(body []byte) error {
	h.targetMu.Lock()
	defer h.targetMu.Unlock()
	return h.apps.SetLocalTarget(body)
}

// setLocalTarget replaces the target state in local mode (docs/spec/device-api.md 2.31).
func (h *handlers) setLocalTarget(c *call) Answer {
	body := c.raw
	if len(body) == 0 {
		body = []byte("{}")
	}
	err := h.storeTarget(body)
	var invalid *view.InvalidTargetError
	switch {
	case errors.Is(err, view.ErrNotLocalMode) || errors.As(err, &invalid):
		return fail(fasthttp.StatusBadRequest, err.Error())
	case err != nil:
		return actionError(err)
	}
	return document(status{success, "OK"})
}
