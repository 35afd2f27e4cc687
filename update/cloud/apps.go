package cloud

import (
	"encoding/json"
	"maps"

	"resin-supervisor/update/view"
)

// The report's form of apps (docs/spec/cloud.md 4.5). What is empty is left out.
type reportApp struct {
	ReleaseUUID string                    `json:"release_uuid,omitempty"`
	Releases    map[string]*reportRelease `json:"releases,omitempty"`
}

type reportRelease struct {
	UpdateStatus string                    `json:"update_status"`
	Services     map[string]*reportService `json:"services,omitempty"`
}

type reportService struct {
	Image    string `json:"image"`
	Status   string `json:"status"`
	Progress *int   `json:"download_progress,omitempty"`
}

const downloading = "Downloading"

// reportApps is what the report says of the apps of the target. lean leaves out what is not of the
// releases in the target.
func reportApps(s *view.State, lean bool) map[string]*reportApp {
	apps := make(map[string]*reportApp)
	for i := range s.Apps {
		if a := &s.Apps[i]; a.InTarget {
			if r := appOf(a, lean); r.ReleaseUUID != "" || len(r.Releases) > 0 {
				apps[a.UUID] = r
			}
		}
	}
	return apps
}

func appOf(a *view.App, lean bool) *reportApp {
	r := &reportApp{ReleaseUUID: a.Commit, Releases: make(map[string]*reportRelease)}
	put := func(commit, service string, s *reportService) {
		if commit == "" || service == "" || s.Image == "" || lean && commit != a.TargetCommit {
			return
		}
		if r.Releases[commit] == nil {
			r.Releases[commit] = &reportRelease{Services: make(map[string]*reportService)}
		}
		r.Releases[commit].Services[service] = s
	}
	if lean && a.Commit != a.TargetCommit {
		r.ReleaseUUID = ""
	}
	if a.Rejected == "" {
		for _, s := range a.Services {
			put(a.TargetCommit, s.Name, &reportService{Image: s.Image, Status: downloading, Progress: new(int)})
		}
	}
	if a.Agent != nil { // it runs: who else would say so
		put(a.TargetCommit, a.Agent.Name, &reportService{Image: a.Agent.Image, Status: "Running"})
	}
	for _, m := range a.Images {
		put(m.Commit, m.ServiceName, &reportService{Image: m.Name, Status: m.Status, Progress: m.Progress})
	}
	for _, c := range a.Containers {
		put(c.Commit, c.ServiceName, &reportService{Image: c.Image, Status: c.Status})
	}
	for _, release := range r.Releases {
		release.UpdateStatus = updateStatus(release.Services)
	}
	if a.Rejected != "" && a.TargetCommit != "" && a.TargetCommit != a.Commit {
		r.Releases[a.TargetCommit] = &reportRelease{UpdateStatus: "rejected"}
	}
	return r
}

// withFinished is a part of a report in which the download progress of an image ends at 100, once: when it is
// on the device and was not at the last report. The cloud keeps the last value that it was told, whatever
// the service does since (docs/spec/cloud.md 4.5).
func withFinished(part, taken fields) fields {
	var apps, before map[string]*reportApp
	if json.Unmarshal(part["apps"], &apps) != nil {
		return part
	}
	_ = json.Unmarshal(taken["apps"], &before) // what cannot be read was not reported
	all := 100
	for uuid, app := range apps {
		for commit, release := range app.Releases {
			for name, s := range release.Services {
				if old := before[uuid].service(commit, name); s.Progress == nil && (old == nil || old.Progress != nil || old.Image != s.Image) {
					s.Progress = &all
				}
			}
		}
	}
	part = maps.Clone(part)
	part["apps"], _ = json.Marshal(apps) // it was JSON before
	return part
}

// service is what a report says of a service, nil when it says nothing.
func (a *reportApp) service(commit, name string) *reportService {
	if a == nil || a.Releases[commit] == nil {
		return nil
	}
	return a.Releases[commit].Services[name]
}

// updateStatus is the status of a release with such services (docs/spec/cloud.md 4.6).
func updateStatus(services map[string]*reportService) string {
	rank, words := 0, [...]string{"done", "applying changes", "downloaded", "downloading"}
	for _, s := range services {
		switch {
		case s.Progress != nil && *s.Progress != 100:
			rank = 3
		case s.Status == "Downloaded":
			rank = max(rank, 2)
		case s.Status == "Installing" || s.Status == "Installed" || s.Status == "Awaiting handover":
			rank = max(rank, 1)
		}
	}
	return words[rank]
}
