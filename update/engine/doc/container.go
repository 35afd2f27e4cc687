// Package doc has the container engine's JSON documents as plain structs: those of Engine API 1.41, and older fields that
// balenaEngine still uses. It has no functions and imports no other package of the agent.
package doc

import "time"

// Create is the body of POST /containers/create (docs/spec/engine.md 2.9). The agent always sends every field.
type Create struct {
	Tty              bool
	Cmd              []string
	Entrypoint       []string
	Volumes          map[string]struct{}
	Env              []string
	ExposedPorts     map[string]struct{}
	Image            string
	User             string
	WorkingDir       string
	Hostname         string
	Domainname       string
	MacAddress       string
	StopSignal       string
	StopTimeout      *int // seconds
	Healthcheck      *Health
	Labels           map[string]string
	HostConfig       HostConfig
	NetworkingConfig NetworkingConfig
}

// NetworkingConfig has the endpoints of a new container.
type NetworkingConfig struct {
	EndpointsConfig map[string]Endpoint
}

// Config is the Config part of an inspected container or image.
type Config struct {
	Hostname     string
	Domainname   string
	User         string
	Tty          bool
	Env          []string
	Cmd          []string
	Entrypoint   []string
	Image        string
	Volumes      map[string]struct{}
	WorkingDir   string
	MacAddress   string
	Labels       map[string]string
	StopSignal   string
	StopTimeout  *int // seconds
	Healthcheck  *Health
	ExposedPorts map[string]struct{}
}

// Health is a health check; durations are in nanoseconds.
type Health struct {
	Test        []string `json:",omitempty"`
	Interval    int64    `json:",omitempty"`
	Timeout     int64    `json:",omitempty"`
	StartPeriod int64    `json:",omitempty"`
	Retries     int      `json:",omitempty"`
}

// HostConfig has the settings of a container that concern its host. Create and inspect use the same document.
type HostConfig struct {
	NetworkMode       string
	Binds             []string
	Mounts            []Mount
	Tmpfs             map[string]string
	PortBindings      map[string][]PortBinding
	RestartPolicy     RestartPolicy
	IpcMode           string
	PidMode           string
	UsernsMode        string
	CgroupnsMode      string `json:",omitempty"`
	UTSMode           string `json:",omitempty"`
	Runtime           string `json:",omitempty"`
	Privileged        bool
	ReadonlyRootfs    bool
	CapAdd            []string
	CapDrop           []string
	SecurityOpt       []string
	Devices           []Device
	DeviceRequests    []DeviceRequest
	DeviceCgroupRules []string `json:",omitempty"`
	Dns               []string
	DnsOptions        []string
	DnsSearch         []string
	ExtraHosts        []string
	GroupAdd          []string
	Sysctls           map[string]string
	Ulimits           []Ulimit
	StorageOpt        map[string]string `json:",omitempty"`
	CgroupParent      string
	CpusetCpus        string
	CpuShares         int64
	CpuQuota          int64
	NanoCpus          int64
	Memory            int64 // bytes
	MemoryReservation int64 // bytes
	OomKillDisable    *bool
	OomScoreAdj       int
	PidsLimit         *int64
	ShmSize           int64      // bytes
	Init              *bool      `json:",omitempty"`
	LogConfig         *LogConfig `json:",omitempty"` // only read, never sent
}

// LogConfig says where the engine keeps a container's output.
type LogConfig struct {
	Type   string
	Config map[string]string
}

// Mount is one entry of HostConfig.Mounts.
type Mount struct {
	Type          string
	Source        string `json:",omitempty"`
	Target        string
	ReadOnly      bool           `json:",omitempty"`
	BindOptions   *BindOptions   `json:",omitempty"`
	VolumeOptions *VolumeOptions `json:",omitempty"`
	TmpfsOptions  *TmpfsOptions  `json:",omitempty"`
}

// BindOptions has the options of a bind mount.
type BindOptions struct {
	Propagation string `json:",omitempty"`
}

// VolumeOptions has the options of a volume mount.
type VolumeOptions struct {
	NoCopy bool `json:",omitempty"`
}

// TmpfsOptions has the options of a tmpfs mount; the size is in bytes.
type TmpfsOptions struct {
	SizeBytes int64  `json:",omitempty"`
	Mode      uint32 `json:",omitempty"`
}

// PortBinding is one address of the host that leads to a container port.
type PortBinding struct {
	HostIp   string
	HostPort string
}

// RestartPolicy says whether the engine starts the container again when its process ends.
type RestartPolicy struct {
	Name              string
	MaximumRetryCount int
}

// Device gives a container a device of the host.
type Device struct {
	PathOnHost        string
	PathInContainer   string
	CgroupPermissions string
}

// DeviceRequest asks a device driver, such as that of a GPU, for devices.
type DeviceRequest struct {
	Driver       string
	Count        int
	DeviceIDs    []string
	Capabilities [][]string
	Options      map[string]string
}

// Ulimit is one resource limit.
type Ulimit struct {
	Name string
	Soft int64
	Hard int64
}

// ContainerSummary is one entry of GET /containers/json.
type ContainerSummary struct {
	Id     string
	Names  []string
	Image  string
	Labels map[string]string
	State  string
	Mounts []MountPoint
}

// MountPoint is a mount of an existing container. Name is the volume's name if Type is "volume".
type MountPoint struct {
	Type        string
	Name        string
	Source      string
	Destination string
	RW          bool
}

// Container is the answer of GET /containers/{id}/json.
type Container struct {
	Id              string
	Created         time.Time
	Name            string // with a leading slash
	Image           string // engine image id
	RestartCount    int
	State           ContainerState
	Config          Config
	HostConfig      HostConfig
	Mounts          []MountPoint
	NetworkSettings NetworkSettings
}

// ContainerState says whether a container runs.
type ContainerState struct {
	Status     string // created, running, paused, restarting, removing, exited, dead
	Running    bool
	Paused     bool
	Restarting bool
	Dead       bool
	Pid        int
	ExitCode   int
	Error      string
	StartedAt  time.Time
	FinishedAt time.Time
	Health     *HealthState
}

// HealthState is the result of the container's health check: starting, healthy, unhealthy, none.
type HealthState struct {
	Status string
}

// NetworkSettings has the networks that a container is connected to, by name.
type NetworkSettings struct {
	Networks map[string]Endpoint
}

// Endpoint is the connection of a container to a network, in create, connect and inspect.
type Endpoint struct {
	IPAMConfig *EndpointIPAM `json:",omitempty"`
	Aliases    []string      `json:",omitempty"`
	MacAddress string        `json:",omitempty"`
	NetworkID  string        `json:",omitempty"` // inspect only
}

// EndpointIPAM has the static addresses of an endpoint.
type EndpointIPAM struct {
	IPv4Address  string   `json:",omitempty"`
	IPv6Address  string   `json:",omitempty"`
	LinkLocalIPs []string `json:",omitempty"`
}

// Created is the answer of the create calls.
type Created struct {
	Id       string
	Warnings []string
	Warning  string
}

// Connect is the body of POST /networks/{name}/connect.
type Connect struct {
	Container      string
	EndpointConfig Endpoint
}

// ContainerUpdate is the body of POST /containers/{id}/update.
type ContainerUpdate struct {
	RestartPolicy RestartPolicy
}
