package hostos

import (
	"os"
	"path/filepath"
	"strings"

	"resin-supervisor/build/version"
	"resin-supervisor/hostos/dbus"
)

// Environment is the container contract of the supervisor (docs/spec/cloud.md 0.4): where its surroundings are. Off
// balenaOS a partition that is nowhere, and that nobody named, is a folder of the state directory.
type Environment struct {
	_ [0]func() // nobody compares it: the compiler writes no code to do so

	Socket     string // of the container engine
	ListenPort string // as the environment says it, empty when it does not
	Root       string // where the root of the host is mounted
	Boot       string // boot partition
	Data       string // data partition
	State      string // state partition
	StateDir   string // where the supervisor keeps what is its own
	ConfigPath string // config.json
	OSRelease  string // os-release of the host
	Interfaces string // where the kernel lists network interfaces
	VPNStatus  string // folder in which the VPN client says that it is connected
	LED        string // file of the LED, empty when nobody named one
	Image      string // of the supervisor, empty when it is not known
	Container  string // of the supervisor, empty when it runs in none
	ExtraCerts string // file with certificates to trust, empty for none
	OwnCert    string // certificate to trust, in base64, empty for none
	Version    string // of the supervisor
	Bus        *dbus.Bus
	// HostGivesConfig says that the host is a balenaOS, which gives every device its config.json.
	HostGivesConfig bool
}

// ReadEnvironment reads the variables that get knows. It takes empty values, and the words null and undefined, for unset.
func ReadEnvironment(get func(string) string) Environment {
	value := func(name, fallback string) string {
		switch v := get(name); v {
		case "", "null", "undefined":
			return fallback
		default:
			return v
		}
	}
	root := value("ROOT_MOUNTPOINT", "/mnt/root")
	osRelease := value("HOST_OS_VERSION_PATH", filepath.Join(root, "etc/os-release"))
	release, _ := ReadOSRelease(osRelease) // who needs it logs the error
	stateDir := value("SUPERVISOR_STATE_DIR", "/data")
	partition := func(variable, name string) string {
		dir := onHost(root, value(variable, filepath.Join("/mnt", name)))
		if _, err := os.Stat(dir); os.IsNotExist(err) && value(variable, "") == "" && !release.IsBalenaOS() {
			return filepath.Join(stateDir, name)
		}
		return dir
	}
	boot := partition("BOOT_MOUNTPOINT", "boot")
	config := filepath.Join(boot, "config.json")
	if named := value("CONFIG_MOUNT_POINT", ""); named != "" {
		config = filepath.Join(onHost(root, filepath.Dir(named)), filepath.Base(named))
	}
	return Environment{
		Socket:     strings.TrimPrefix(value("DOCKER_SOCKET", "/var/run/docker.sock"), "unix://"),
		ListenPort: value("LISTEN_PORT", ""),
		Root:       root,
		Boot:       boot,
		Data:       partition("DATA_MOUNTPOINT", "data"),
		ConfigPath: config,
		OSRelease:  osRelease,
		Interfaces: value("MAC_ADDRESS_PATH", "/sys/class/net"),
		VPNStatus:  value("VPN_STATUS_PATH", filepath.Join(root, "run/openvpn/vpn_status")),
		StateDir:   stateDir,

		State: partition("STATE_MOUNTPOINT", "state"),
		Bus: dbus.New(value("DBUS_SYSTEM_BUS_ADDRESS", ""),
			"/run/dbus/system_bus_socket", filepath.Join(root, "run/dbus/system_bus_socket")),
		Version:         version.With(value("SUPERVISOR_TAG_EXTRA", "")),
		Image:           value("SUPERVISOR_IMAGE", ""),
		Container:       value("SUPERVISOR_CONTAINER_ID", ""),
		ExtraCerts:      value("NODE_EXTRA_CA_CERTS", ""),
		OwnCert:         value("BALENA_ROOT_CA", ""),
		LED:             value("LED_FILE", ""),
		HostGivesConfig: release.IsBalenaOS(),
	}
}

// onHost is where a directory of the host is. BalenaOS names it as the host sees it, and mounts the host's
// root alone (docs/spec/host.md 1.2): a directory that is no mount and holds nothing as it is named, or is not
// there, is the one below that root, where there is one.
func onHost(root, dir string) string {
	if entries, _ := os.ReadDir(dir); len(entries) > 0 || IsMountPoint(dir) {
		return dir
	}
	below := filepath.Join(root, dir)
	if info, err := os.Stat(below); err == nil && info.IsDir() {
		return below
	}
	return dir
}
