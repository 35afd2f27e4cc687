package api

import (
	"context"

	"github.com/valyala/fasthttp"

	"resin-supervisor/update/view"
)

// restartV1 recreates the containers of an app (docs/spec/device-api.md 2.8).
func (h *handlers) restartV1(c *call) Answer { return h.onApp(c, h.apps.RestartApp, done) }

// purgeV1 recreates the containers of an app with empty volumes (docs/spec/device-api.md 2.7).
func (h *handlers) purgeV1(c *call) Answer {
	return h.onApp(c, h.apps.PurgeApp, func() Answer { return document(v1Result{Data: "OK"}) })
}

// onApp runs an action on the app of the request.
func (h *handlers) onApp(c *call, action func(context.Context, int, bool) error, then func() Answer) Answer {
	state, refusal, ok := h.syncedView()
	if !ok {
		return refusal
	}
	if appByID(state, c.appID) == nil {
		return fail(fasthttp.StatusServiceUnavailable, textNotInCurrent(c.appID))
	}
	return h.act(func(ctx context.Context) error { return action(ctx, c.appID, c.force()) }, then)
}

// appInfo is the answer of GET /v1/apps/:appId (docs/spec/device-api.md 2.13).
type appInfo struct {
	AppID       int               `json:"appId"`
	Commit      string            `json:"commit,omitempty"`
	ContainerID string            `json:"containerId"`
	ImageID     string            `json:"imageId"` // of the engine
	Image       string            `json:"image,omitempty"`
	ReleaseID   int               `json:"releaseId"`
	Env         map[string]string `json:"env"`
}

// app describes the container of a single-container app.
func (h *handlers) app(c *call) Answer {
	state, refusal, ok := h.syncedView()
	if !ok {
		return refusal
	}
	app := appByID(state, c.appID)
	if app == nil || len(app.Containers) == 0 {
		return textAnswer(fasthttp.StatusBadRequest, textAppNotFound)
	}
	if serviceCount(app) > 1 {
		return textAnswer(fasthttp.StatusBadRequest, textSingleOnly)
	}
	container := newest(app, anyContainer)
	return document(appInfo{
		AppID:       app.ID,
		Commit:      app.Commit,
		ContainerID: container.ID,
		ImageID:     container.EngineImage,
		Image:       container.Image,
		ReleaseID:   container.ReleaseID,
		Env:         publicEnv(container.Env),
	})
}

// publicEnv is an environment without the variables that hold secrets or an outdated device name.
func publicEnv(env map[string]string) map[string]string {
	public := make(map[string]string, len(env))
	for name, value := range env {
		if !isPrivate(name) {
			public[name] = value
		}
	}
	return public
}

func isPrivate(name string) bool {
	switch name {
	case "RESIN_SUPERVISOR_API_KEY", "BALENA_SUPERVISOR_API_KEY",
		"RESIN_API_KEY", "BALENA_API_KEY",
		"RESIN_DEVICE_NAME_AT_INIT", "BALENA_DEVICE_NAME_AT_INIT":
		return true
	}
	return false
}

// startApp and stopApp act on the service of a single-container app (docs/spec/device-api.md 2.12).
func (h *handlers) startApp(c *call) Answer {
	return h.onSingleService(c, func(ctx context.Context, service string) error {
		return h.apps.StartService(ctx, c.appID, service)
	})
}

func (h *handlers) stopApp(c *call) Answer {
	return h.onSingleService(c, func(ctx context.Context, service string) error {
		return h.apps.StopService(ctx, c.appID, service, c.force())
	})
}

// onSingleService runs an action on the only service of the app of the request.
func (h *handlers) onSingleService(c *call, action func(ctx context.Context, service string) error) Answer {
	state, refusal, ok := h.syncedView()
	if !ok {
		return refusal
	}
	app := appByID(state, c.appID)
	if app == nil || !app.InTarget || len(app.Containers) == 0 {
		return textAnswer(fasthttp.StatusBadRequest, textAppNotThere)
	}
	if serviceCount(app) > 1 {
		return textAnswer(fasthttp.StatusBadRequest, textNoService)
	}
	container := newest(app, anyContainer)
	if !inTarget(app, container) {
		return textAnswer(fasthttp.StatusNotFound, textNotInTarget)
	}
	return h.act(
		func(ctx context.Context) error { return action(ctx, container.ServiceName) },
		func() Answer { return h.containerAfter(c.appID, container) },
	)
}

// containerAfter answers with the container of the service after an action, or with the earlier one when there is none
// any more.
func (h *handlers) containerAfter(appID int, before *view.Container) Answer {
	id := before.ID
	if app := appByID(h.apps.View(), appID); app != nil {
		if now := newest(app, ofService(before.ServiceName)); now != nil {
			id = now.ID
		}
	}
	return document(struct {
		ContainerID string `json:"containerId"`
	}{id})
}
