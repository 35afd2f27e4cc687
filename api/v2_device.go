package api

import (
	"cmp"
	"context"
	"errors"

	"github.com/valyala/fasthttp"

	"resin-supervisor/update/view"
)

const success = "success"

// version tells the version of the supervisor (docs/spec/device-api.md 2.22).
func (h *handlers) version(*call) Answer {
	return document(struct {
		Status  string `json:"status"`
		Version string `json:"version"`
	}{success, h.known.Facts().SupervisorVersion})
}

// deviceName tells the name the last target gave the device (docs/spec/device-api.md 2.24).
func (h *handlers) deviceName(*call) Answer {
	return document(struct {
		Status string `json:"status"`
		Name   string `json:"deviceName"`
	}{success, cmp.Or(h.apps.View().DeviceName, "local")})
}

// vpn tells whether the host has a VPN and whether it is up (docs/spec/device-api.md 2.25).
func (h *handlers) vpn(*call) Answer {
	type state struct {
		Enabled   bool `json:"enabled"`
		Connected bool `json:"connected"`
	}
	enabled, connected := h.known.VPN(h.life)
	return document(struct {
		Status string `json:"status"`
		VPN    state  `json:"vpn"`
	}{success, state{enabled, connected}})
}

// cleanUpVolumes removes volumes that nobody needs any more (docs/spec/device-api.md 2.28).
func (h *handlers) cleanUpVolumes(c *call) Answer {
	if _, refusal, ok := h.synced(); !ok {
		return refusal
	}
	covers := c.caller.covers
	return h.act(func(ctx context.Context) error { return h.apps.CleanUpVolumes(ctx, covers) }, func() Answer {
		return document(struct {
			Status string `json:"status"`
		}{success})
	})
}

// deviceInfo tells what kind of board this is (docs/spec/device-api.md 2.32).
func (h *handlers) deviceInfo(*call) Answer {
	type info struct {
		Arch       string `json:"arch"`
		DeviceType string `json:"deviceType"`
	}
	facts := h.known.Facts()
	return document(struct {
		Status string `json:"status"`
		Info   info   `json:"info"`
	}{success, info{cmp.Or(facts.Arch, "unknown"), cmp.Or(facts.DeviceType, "unknown")}})
}

// localTarget shows the target state of the apps in scope (docs/spec/device-api.md 2.30).
func (h *handlers) localTarget(c *call) Answer {
	state, err := h.apps.LocalTarget(c.caller.covers)
	if err != nil {
		return problem(err)
	}
	body := append(encoded(`{"status":"success","state":`), state...)
	return Answer{fasthttp.StatusOK, append(body, '}')}
}

// post takes over one target after the other: each costs several times its size.
func (h *handlers) post(body []byte) error {
	h.posting.Lock()
	defer h.posting.Unlock()
	return h.apps.SetLocalTarget(body)
}

// setLocalTarget replaces the target state in local mode (docs/spec/device-api.md 2.31).
func (h *handlers) setLocalTarget(c *call) Answer {
	body := c.raw
	if len(body) == 0 {
		body = []byte("{}")
	}
	err := h.post(body)
	var invalid *view.InvalidTargetError
	switch {
	case errors.Is(err, view.ErrNotLocalMode) || errors.As(err, &invalid):
		return fail(fasthttp.StatusBadRequest, err.Error())
	case err != nil:
		return problem(err)
	}
	return document(status{success, "OK"})
}
