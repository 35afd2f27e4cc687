package api

// The JSON documents of the API that show the state of the device. The client decodes them into the same types.

// DeviceState is the answer of GET /v1/device (docs/spec/device-api.md 2.11).
type DeviceState struct {
	_                 incomparable
	APIPort           int     `json:"api_port"`
	IPAddress         string  `json:"ip_address,omitempty"`  // space-separated
	MACAddress        string  `json:"mac_address,omitempty"` // space-separated
	OSVersion         *string `json:"os_version"`            // null while unknown
	SupervisorVersion string  `json:"supervisor_version"`
	UpdatePending     bool    `json:"update_pending"`
	UpdateFailed      bool    `json:"update_failed"`
	UpdateDownloaded  bool    `json:"update_downloaded"`
	Commit            string  `json:"commit,omitempty"`
	Status            string  `json:"status"`
	DownloadProgress  *int    `json:"download_progress"` // percent, null when nothing is downloaded
}

// AppSummary is one app in the answer of GET /v2/applications/state (docs/spec/device-api.md 2.19).
type AppSummary struct {
	AppID        int                       `json:"appId"`
	AppUUID      string                    `json:"appUuid"`
	Commit       *string                   `json:"commit"` // of the target release
	UpdateStatus string                    `json:"updateStatus"`
	Services     map[string]ServiceSummary `json:"services"`
}

// ServiceSummary is one service of the target release.
type ServiceSummary struct {
	Status           string `json:"status"`
	Image            string `json:"image"`
	DownloadProgress *int   `json:"downloadProgress"` // percent, null when nothing is downloaded
	ReleaseID        int    `json:"releaseId"`
}

// AppState is the answer of GET /v2/applications/:appId/state (docs/spec/device-api.md 2.20).
type AppState struct {
	Commit string                   `json:"commit,omitempty"`
	Local  map[string]LocalServices `json:"local"` // by app id
}

// LocalServices holds the services of one app, by image id.
type LocalServices struct {
	Services map[string]LocalService `json:"services"`
}

// LocalService is one container or, where there is none, one image.
type LocalService struct {
	Status           string `json:"status"`
	ReleaseID        int    `json:"releaseId"`
	DownloadProgress *int   `json:"download_progress"`
}

// StateStatus is the answer of GET /v2/state/status (docs/spec/device-api.md 2.21).
type StateStatus struct {
	Status                  string            `json:"status"`   // of the call
	AppState                string            `json:"appState"` // applying or applied
	OverallDownloadProgress *float64          `json:"overallDownloadProgress"`
	Containers              []StatusContainer `json:"containers"`
	Images                  []StatusImage     `json:"images"`
	Release                 string            `json:"release,omitempty"`
}

// StatusContainer is one container of the app that StateStatus shows.
type StatusContainer struct {
	_           incomparable
	Status      string `json:"status"`
	ServiceName string `json:"serviceName"`
	AppID       int    `json:"appId"`
	ImageID     int    `json:"imageId"`
	ServiceID   int    `json:"serviceId"`
	ContainerID string `json:"containerId"`
	CreatedAt   string `json:"createdAt"`        // ISO 8601 in UTC with milliseconds
	Reason      string `json:"reason,omitempty"` // of the last step that changed it
}

// StatusImage is one image of the app that StateStatus shows.
type StatusImage struct {
	_                incomparable
	Name             string `json:"name"`
	AppID            int    `json:"appId"`
	ServiceName      string `json:"serviceName"`
	ImageID          int    `json:"imageId"`
	DockerImageID    string `json:"dockerImageId,omitempty"`
	Status           string `json:"status"`
	DownloadProgress *int   `json:"downloadProgress"`
}
