package api

import (
	"resin-supervisor/update/view"
)

// appsState shows how far the release of each app of the target is (docs/spec/device-api.md 2.19).
func (h *handlers) appsState(c *call) Answer {
	state, refusal, ok := h.syncedView()
	if !ok {
		return refusal
	}
	summaries := map[string]AppSummary{}
	fleet := map[string]bool{}
	for i := range state.Apps {
		app := &state.Apps[i]
		// Of two apps with one name the fleet app is shown (docs/spec/device-api.md A16).
		if !app.InTarget || !c.caller.covers(app.ID) || fleet[app.Name] {
			continue
		}
		summaries[app.Name] = summarize(app)
		fleet[app.Name] = isFleet(app)
	}
	return document(summaries)
}

func summarize(app *view.App) AppSummary {
	s := AppSummary{
		AppID:        app.ID,
		AppUUID:      app.UUID,
		UpdateStatus: "done",
		Services:     map[string]ServiceSummary{},
	}
	if app.TargetCommit != "" {
		s.Commit = &app.TargetCommit
	}
	if app.Rejected != "" {
		s.UpdateStatus = "rejected"
		return s
	}
	for i := range app.Services {
		s.Services[app.Services[i].Name] = summarizeService(app, &app.Services[i])
	}
	s.UpdateStatus = updateStatus(app, s.Services)
	if app.RolledBack != "" {
		s.UpdateStatus = "aborted"
	}
	return s
}

// summarizeService shows the container of the target release or, after a rollback, of the previous one. Without a
// container it shows the image, and without an image a download that has not started.
func summarizeService(app *view.App, service *view.Service) ServiceSummary {
	s := ServiceSummary{Image: service.Image, ReleaseID: app.ReleaseID}
	fits := ofRelease(app, service)
	if app.RolledBack != "" {
		fits = ofService(service.Name)
	}
	if c := newest(app, fits); c != nil {
		s.Status = c.Status
		return s
	}
	for i := range app.Images {
		image := &app.Images[i]
		if image.ServiceName == service.Name && (image.ImageID == service.ImageID || image.Name == service.Image) {
			s.Status, s.DownloadProgress = image.Status, image.Progress
			return s
		}
	}
	zero := 0
	s.Status, s.DownloadProgress = stateDownloading, &zero
	return s
}

// ofRelease selects the containers of a service that belong to the target release.
func ofRelease(app *view.App, service *view.Service) func(*view.Container) bool {
	return func(c *view.Container) bool {
		if c.ServiceName != service.Name {
			return false
		}
		if c.Commit != "" && app.TargetCommit != "" {
			return c.Commit == app.TargetCommit
		}
		return c.ReleaseID == app.ReleaseID
	}
}

// updateStatus is how far a release is: the first rule that holds for any service decides
// (docs/spec/cloud.md 4.6).
func updateStatus(app *view.App, services map[string]ServiceSummary) string {
	var downloading, downloaded, applying bool
	for _, target := range app.Services {
		s := services[target.Name]
		switch s.Status {
		case stateDownloading:
			downloading = true
		case stateDownloaded:
			downloaded = true
		case stateInstalled:
			// A service that must not run is complete (docs/spec/device-api.md A17).
			applying = applying || target.Running
		case "Installing", "Awaiting handover":
			applying = true
		}
	}
	switch {
	case downloading:
		return "downloading"
	case downloaded:
		return "downloaded"
	case applying:
		return "applying changes"
	}
	return "done"
}
