package api

import (
	"cmp"
	"slices"
	"sort"
	"strconv"

	"github.com/valyala/fasthttp"

	"resin-supervisor/update/view"
)

// isoTime formats a time in UTC as ISO 8601 with milliseconds.
const isoTime = "2006-01-02T15:04:05.000Z"

// appState shows the containers and images of one app (docs/spec/device-api.md 2.20).
func (h *handlers) appState(c *call) Answer {
	state, _, ok := h.syncedView()
	if !ok {
		return fail(fasthttp.StatusInternalServerError, textStateUnreadable(c.appID))
	}
	app := appByID(state, c.appID)
	if app == nil || !isInstalled(app) {
		return deniedState(c.appID)
	}
	return document(AppState{
		Commit: app.Commit,
		Local:  map[string]LocalServices{strconv.Itoa(app.ID): {localServices(app)}},
	})
}

// localServices lists the containers of an app, and its images without a container, by image id.
func localServices(app *view.App) map[string]LocalService {
	services := map[string]LocalService{}
	for _, c := range oldestFirst(app.Containers) {
		key := strconv.Itoa(c.ImageID)
		if older, found := services[key]; found {
			older.Status = "Handing over"
			services[key] = older
			continue
		}
		services[key] = LocalService{Status: c.Status, ReleaseID: c.ReleaseID}
	}
	for _, image := range app.Images {
		key := strconv.Itoa(image.ImageID)
		if _, known := services[key]; !known {
			services[key] = LocalService{image.Status, image.ReleaseID, image.Progress}
		}
	}
	return services
}

func oldestFirst(containers []view.Container) []view.Container {
	sorted := slices.Clone(containers)
	sort.SliceStable(sorted, func(i, j int) bool { return sorted[i].CreatedAt.Before(sorted[j].CreatedAt) })
	return sorted
}

// stateStatus shows whether an update runs, and the state of one app (docs/spec/device-api.md 2.21).
func (h *handlers) stateStatus(c *call) Answer {
	state, refusal, ok := h.syncedView()
	if !ok {
		return refusal
	}
	inScope := func(a *view.App) bool { return c.caller.covers(a.ID) }
	s := StateStatus{
		Status:                  success,
		AppState:                "applied",
		OverallDownloadProgress: meanProgress(state, inScope),
		Containers:              []StatusContainer{},
		Images:                  []StatusImage{},
	}
	if state.Applying {
		s.AppState = "applying"
	}
	app := mainApp(state, func(a *view.App) bool { return inScope(a) && isInstalled(a) })
	if app == nil {
		return document(s)
	}
	s.Release = app.Commit
	for i := range app.Containers {
		s.Containers = append(s.Containers, statusContainer(&app.Containers[i]))
	}
	for i := range app.Images {
		s.Images = append(s.Images, statusImage(&app.Images[i]))
	}
	sort.SliceStable(s.Images, func(i, j int) bool { return downloadRank(s.Images[i]) < downloadRank(s.Images[j]) })
	return document(s)
}

func downloadRank(i StatusImage) int {
	if i.Status == stateDownloading {
		return 0
	}
	return 1
}

func statusContainer(c *view.Container) StatusContainer {
	return StatusContainer{
		Status:      c.Status,
		ServiceName: c.ServiceName,
		AppID:       c.AppID,
		ImageID:     c.ImageID,
		ServiceID:   c.ServiceID,
		ContainerID: c.ID,
		CreatedAt:   c.CreatedAt.UTC().Format(isoTime),
		Reason:      c.Reason,
	}
}

func statusImage(i *view.Image) StatusImage {
	return StatusImage{
		Name:             i.Name,
		AppID:            i.AppID,
		ServiceName:      i.ServiceName,
		ImageID:          i.ImageID,
		DockerImageID:    i.EngineID,
		Status:           i.Status,
		DownloadProgress: i.Progress,
	}
}

// containerID shows container ids by service (docs/spec/device-api.md 2.23). During a hand-over it shows the new
// container.
func (h *handlers) containerID(c *call) Answer {
	state, refusal, ok := h.syncedView()
	if !ok {
		return refusal
	}
	services := map[string]string{}
	name := cmp.Or(c.query("serviceName"), c.query("service"))
	for i := range state.Apps {
		app := &state.Apps[i]
		if !c.caller.covers(app.ID) {
			continue
		}
		if found := newest(app, ofService(name)); name != "" && found != nil {
			return document(containerAnswer{Status: success, ContainerID: found.ID})
		}
		for _, container := range oldestFirst(app.Containers) {
			services[container.ServiceName] = container.ID
		}
	}
	if name != "" {
		return fail(fasthttp.StatusServiceUnavailable, textServiceName)
	}
	return document(containersAnswer{success, services})
}

type containerAnswer struct {
	Status      string `json:"status"`
	ContainerID string `json:"containerId"`
}

type containersAnswer struct {
	Status   string            `json:"status"`
	Services map[string]string `json:"services"`
}
