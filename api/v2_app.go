package api

import (
	"context"

	"github.com/valyala/fasthttp"

	"resin-supervisor/update/view"
)

// restart and purge are their older namesakes with the app in the path
// (docs/spec/device-api.md 2.17, 2.18).
func (h *handlers) restart(c *call) Answer { return h.onApp(c, h.apps.RestartApp, done) }

func (h *handlers) purge(c *call) Answer { return h.onApp(c, h.apps.PurgeApp, done) }

// restartService recreates one service from the target (docs/spec/device-api.md 2.16).
func (h *handlers) restartService(c *call) Answer {
	return h.onService(c, func(ctx context.Context, service string) error {
		return h.apps.RestartService(ctx, c.appID, service, c.force())
	})
}

// startService starts the container of one service; no lock forbids it (docs/spec/device-api.md 2.16).
func (h *handlers) startService(c *call) Answer {
	return h.onService(c, func(ctx context.Context, service string) error {
		return h.apps.StartService(ctx, c.appID, service)
	})
}

// stopService stops the container of one service and keeps it (docs/spec/device-api.md 2.16).
func (h *handlers) stopService(c *call) Answer {
	return h.onService(c, func(ctx context.Context, service string) error {
		return h.apps.StopService(ctx, c.appID, service, c.force())
	})
}

// onService finds the service that the body names and runs an action on it.
func (h *handlers) onService(c *call, action func(ctx context.Context, service string) error) Answer {
	name := nameText(c.body["serviceName"])
	imageID, _ := intValue(c.body["imageId"])
	if name == "" && imageID == 0 {
		return refuse(fasthttp.StatusBadRequest, textNoService)
	}
	state, refusal, ok := h.synced()
	if !ok {
		return refusal
	}
	app := appByID(state, c.appID)
	if app == nil || !app.InTarget || len(app.Containers) == 0 {
		return refuse(fasthttp.StatusNotFound, textAppNotThere)
	}
	container := wanted(app, name, imageID)
	if container == nil {
		return refuse(fasthttp.StatusNotFound, textServiceMissing)
	}
	if !inTarget(app, container) {
		return refuse(fasthttp.StatusNotFound, textNotInTarget)
	}
	return h.act(func(ctx context.Context) error { return action(ctx, container.ServiceName) }, done)
}

// wanted is the container meant by a service name or an image id. Clients rely on it that the only
// container of an app is taken whatever they name (docs/spec/device-api.md A15).
func wanted(app *view.App, name string, imageID int) *view.Container {
	if len(app.Containers) == 1 {
		return &app.Containers[0]
	}
	for i := range app.Containers {
		c := &app.Containers[i]
		if imageID != 0 && c.ImageID == imageID || name != "" && c.ServiceName == name {
			return c
		}
	}
	return nil
}
