package doc

import "time"

// Version is the answer of GET /version.
type Version struct {
	Version       string
	ApiVersion    string
	MinAPIVersion string
	Os            string
	Arch          string
	Components    []Component
}

// Component is one part of the engine, for example "Engine" or "balenaEngine".
type Component struct {
	Name    string
	Version string
}

// Info is the part of GET /info that the agent uses.
type Info struct {
	CgroupVersion  string
	OomKillDisable bool
	CPUShares      bool
	Driver         string
	DockerRootDir  string
	Architecture   string
	RegistryConfig struct {
		IndexConfigs map[string]struct{ Secure bool } // by registry
	}
}

// ImageSummary is one entry of GET /images/json.
type ImageSummary struct {
	Id          string
	RepoTags    []string
	RepoDigests []string
	Size        int64 // bytes
}

// Image is the answer of GET /images/{ref}/json.
type Image struct {
	Id           string
	RepoTags     []string
	RepoDigests  []string
	Size         int64 // bytes
	VirtualSize  int64 // bytes
	Architecture string
	Os           string
	Variant      string
	Created      time.Time
	Config       Config
	RootFS       struct{ Layers []string } // digests of the unpacked layers, lowest first
}

// ImageHistory is one entry of GET /images/{id}/history, newest first.
type ImageHistory struct {
	Size int64 // bytes
}

// Distribution is the answer of GET /distribution/{ref}/json: an image in its registry.
type Distribution struct {
	Descriptor struct{ MediaType string }
	Platforms  []struct{ Architecture, OS, Variant string }
}

// ImageDeleted is one entry of the answer of DELETE /images/{ref}.
type ImageDeleted struct {
	Untagged string
	Deleted  string
}

// Network is the answer of GET /networks/{id} and one entry of GET /networks.
type Network struct {
	Name       string
	Id         string
	Created    time.Time
	Driver     string
	Scope      string
	EnableIPv6 bool
	Internal   bool
	ConfigOnly bool
	IPAM       IPAM
	Options    map[string]string
	Labels     map[string]string
}

// NetworkCreate is the body of POST /networks/create.
type NetworkCreate struct {
	Name           string
	CheckDuplicate bool
	Driver         string
	EnableIPv6     bool
	Internal       bool
	ConfigOnly     bool
	IPAM           IPAM
	Options        map[string]string
	Labels         map[string]string
}

// IPAM is the address management of a network.
type IPAM struct {
	Driver  string
	Config  []IPAMPool
	Options map[string]string
}

// IPAMPool is one address pool of a network.
type IPAMPool struct {
	Subnet             string            `json:",omitempty"`
	Gateway            string            `json:",omitempty"`
	IPRange            string            `json:",omitempty"`
	AuxiliaryAddresses map[string]string `json:",omitempty"`
}

// Volume is the answer of GET /volumes/{name} and one entry of GET /volumes.
type Volume struct {
	Name       string
	Driver     string
	Mountpoint string
	Labels     map[string]string
	Options    map[string]string
	CreatedAt  string
}

// VolumeList is the answer of GET /volumes.
type VolumeList struct {
	Volumes  []Volume
	Warnings []string
}

// VolumeCreate is the body of POST /volumes/create.
type VolumeCreate struct {
	Name       string
	Driver     string
	DriverOpts map[string]string
	Labels     map[string]string
}

// Event is one object of the GET /events stream.
type Event struct {
	Type     string // container, image, network, volume, daemon
	Action   string
	Actor    Actor
	Time     int64 `json:"time"`     // seconds
	TimeNano int64 `json:"timeNano"` // nanoseconds
}

// Actor is the object an event is about.
type Actor struct {
	ID         string
	Attributes map[string]string
}

// PullMessage is one object of a pull stream (docs/spec/engine.md 1.3).
type PullMessage struct {
	Status         string         `json:"status"`
	ID             string         `json:"id"`
	ProgressDetail ProgressDetail `json:"progressDetail"`
	Error          string         `json:"error"`
	ErrorDetail    ErrorDetail    `json:"errorDetail"`
}

// ProgressDetail counts bytes of one layer.
type ProgressDetail struct {
	Current int64 `json:"current"`
	Total   int64 `json:"total"`
}

// ErrorDetail is the in-stream error of a pull.
type ErrorDetail struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// AuthConfig is the content of the X-Registry-Auth header (docs/spec/engine.md 1.4).
type AuthConfig struct {
	Username      string `json:"username,omitempty"`
	Password      string `json:"password,omitempty"`
	ServerAddress string `json:"serveraddress,omitempty"`
	RegistryToken string `json:"registrytoken,omitempty"`
}
