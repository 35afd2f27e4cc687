package api

import (
	"github.com/valyala/fasthttp"

	"resin-supervisor/update/view"
)

const (
	stateDownloading = "Downloading"
	stateDownloaded  = "Downloaded"
	stateRunning     = "Running"
	stateInstalled   = "Installed"
	stateIdle        = "Idle"
)

// deviceAnswer is an encoded answer of GET /v1/device, with the revision and the facts that it shows.
type deviceAnswer struct {
	revision uint64
	facts    DeviceFacts
	body     encoded
}

// device shows the device's state (docs/spec/device-api.md 2.11). It encodes the answer once for each view, so frequent
// calls cost no more than a ping.
func (h *handlers) device(*call) Answer {
	state, refusal, ok := h.syncedView()
	if !ok {
		return refusal
	}
	facts := h.dev.Facts()
	last := h.deviceCache.Load()
	if last == nil || last.revision != state.Revision || last.facts != facts {
		last = &deviceAnswer{state.Revision, facts, encode(deviceState(state, facts))}
		h.deviceCache.Store(last)
	}
	return Answer{fasthttp.StatusOK, last.body}
}

func deviceState(state *view.State, facts DeviceFacts) DeviceState {
	d := DeviceState{
		APIPort:           facts.APIPort,
		IPAddress:         facts.IPAddress,
		MACAddress:        facts.MACAddress,
		SupervisorVersion: facts.SupervisorVersion,
		UpdatePending:     state.Pending,
		UpdateFailed:      state.Failed,
		UpdateDownloaded:  state.Downloaded,
	}
	if facts.OSVersion != "" {
		d.OSVersion = &facts.OSVersion
	}
	app := mainApp(state, func(*view.App) bool { return true })
	if app != nil {
		d.Commit = app.Commit
	}
	d.Status, d.DownloadProgress = deviceStatus(state, app)
	return d
}

// deviceStatus is what the device does, or else the status of its first service (docs/spec/device-api.md A3).
func deviceStatus(state *view.State, app *view.App) (string, *int) {
	if mean := meanProgress(state, func(*view.App) bool { return true }); mean != nil {
		percent := int(*mean)
		return stateDownloading, &percent
	}
	if app == nil {
		return stateIdle, nil
	}
	for _, phase := range []string{"Stopping", "Installing", "Starting"} {
		if newest(app, func(c *view.Container) bool { return c.Status == phase }) != nil {
			return phase, nil
		}
		for _, image := range app.Images {
			if image.Status == phase {
				return phase, nil
			}
		}
	}
	if s := firstStatus(app); s != stateRunning {
		return s, nil
	}
	return stateIdle, nil
}

// meanProgress is the mean percentage of all downloads of the apps that fit, nil when nothing is downloaded.
func meanProgress(state *view.State, fits func(*view.App) bool) *float64 {
	sum, n := 0, 0
	for i := range state.Apps {
		if !fits(&state.Apps[i]) {
			continue
		}
		for _, image := range state.Apps[i].Images {
			if image.Status == stateDownloading {
				sum += percentOf(image.Progress)
				n++
			}
		}
	}
	if n == 0 {
		return nil
	}
	mean := float64(sum) / float64(n)
	return &mean
}

func percentOf(progress *int) int {
	if progress == nil {
		return 0
	}
	return *progress
}

// firstStatus is the status of the app's container with the smallest image id or, without containers, of its image
// with the smallest id.
func firstStatus(app *view.App) string {
	status, id := stateIdle, 0
	for _, c := range app.Containers {
		if id == 0 || c.ImageID < id {
			status, id = c.Status, c.ImageID
		}
	}
	if len(app.Containers) > 0 {
		return status
	}
	for _, image := range app.Images {
		if id == 0 || image.ImageID < id {
			status, id = image.Status, image.ImageID
		}
	}
	return status
}
