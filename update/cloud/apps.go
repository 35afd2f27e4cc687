package cloud

import (
	"encoding/json"
	"maps"

	"resin-supervisor/update/view"
)

// reportApp is an app as the report describes it (docs/spec/cloud.md 4.5). Empty parts are omitted.
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

// reportApps describes the apps of the target for the report. With reduced it describes the target releases
// only.
func reportApps(s *view.State, reduced bool) map[string]*reportApp {
	apps := make(map[string]*reportApp)
	for i := range s.Apps {
		if a := &s.Apps[i]; a.InTarget {
			if r := appOf(a, reduced); r.ReleaseUUID != "" || len(r.Releases) > 0 {
				apps[a.UUID] = r
			}
		}
	}
	return apps
}

func appOf(a *view.App, reduced bool) *reportApp {
	r := &reportApp{ReleaseUUID: a.Commit, Releases: make(map[string]*reportRelease)}
	put := func(commit, service string, s *reportService) {
		if commit == "" || service == "" || s.Image == "" || reduced && commit != a.TargetCommit {
			return
		}
		if r.Releases[commit] == nil {
			r.Releases[commit] = &reportRelease{Services: make(map[string]*reportService)}
		}
		r.Releases[commit].Services[service] = s
	}
	if reduced && a.Commit != a.TargetCommit {
		r.ReleaseUUID = ""
	}
	if a.Rejected == "" {
		for _, s := range a.Services {
			put(a.TargetCommit, s.Name, &reportService{Image: s.Image, Status: downloading, Progress: new(int)})
		}
	}
	if a.Agent != nil { // the supervisor's own service, which runs because this code runs
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

// withFullProgress returns the part of a report with download progress 100 for each image that arrived since the
// last accepted report. Without this the cloud would show the last reported progress forever
// (docs/spec/cloud.md 4.5).
func withFullProgress(part, accepted fields) fields {
	var apps, before map[string]*reportApp
	if json.Unmarshal(part["apps"], &apps) != nil {
		return part
	}
	_ = json.Unmarshal(accepted["apps"], &before) // on error no app counts as reported
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

// service returns the report of a service, nil when there is none.
func (a *reportApp) service(commit, name string) *reportService {
	if a == nil || a.Releases[commit] == nil {
		return nil
	}
	return a.Releases[commit].Services[name]
}

// updateStatus returns the status of a release with these services (docs/spec/cloud.md 4.6).
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
