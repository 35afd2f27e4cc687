package api

import (
	"context"

	"github.com/valyala/fasthttp"

	"resin-supervisor/update/view"
)

// restart and purge are like restartV1 and purgeV1, with the app in the path (docs/spec/device-api.md 2.17, 2.18).
func (h *handlers) restart(c *call) Answer { return h.onApp(c, h.apps.RestartApp, done) }

func (h *handlers) purge(c *call) Answer { return h.onApp(c, h.apps.PurgeApp, done) }

// restartService recreates one service from the target (docs/spec/device-api.md 2.16).
func (h *handlers) restartService(c *call) Answer {
	return h.onService(c, func(ctx context.Context, service string) error {
		return h.apps.RestartService(ctx, c.appID, service, c.force())
	})
}

// startService starts the container of one service. It takes no lock (docs/spec/device-api.md 2.16).
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
		return textAnswer(fasthttp.StatusBadRequest, textNoService)
	}
	state, refusal, ok := h.syncedView()
	if !ok {
		return refusal
	}
	app := appByID(state, c.appID)
	if app == nil || !app.InTarget || len(app.Containers) == 0 {
		return textAnswer(fasthttp.StatusNotFound, textAppNotThere)
	}
	container := pickContainer(app, name, imageID)
	if container == nil {
		return textAnswer(fasthttp.StatusNotFound, textServiceMissing)
	}
	if !inTarget(app, container) {
		return textAnswer(fasthttp.StatusNotFound, textNotInTarget)
	}
	return h.act(func(ctx context.Context) error { return action(ctx, container.ServiceName) }, done)
}

// pickContainer is the container with a service name or an image id. When the app has only one container, that one is
// taken whatever the client names; clients rely on it (docs/spec/device-api.md A15).
func pickContainer(app *view.App, name string, imageID int) *view.Container {
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
