package agent

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/rs/zerolog"

	"resin-supervisor/build/version"
	"resin-supervisor/hostos"
	"resin-supervisor/hostos/dbus"
	"resin-supervisor/update/key"
	"resin-supervisor/update/store"
)

// Environment is the container contract of the supervisor (docs/spec/cloud.md 0.4): where its surroundings are. Off
// balenaOS a partition that is nowhere, and that nobody named, is a folder of the state directory.
type Environment struct {
	_ [0]func() // nobody compares it: no code for that

	socket, port, root, boot, data, config, osRelease, macs, vpn, stateDir string
	image, container, extraCerts, ownCert, led, state, version             string
	bus                                                                    *dbus.Bus
	hostGives                                                              bool // the host is a balenaOS, which gives every device its config.json
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
	release, _ := hostos.ReadOSRelease(osRelease) // that it is unknown is said later
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
		socket:    strings.TrimPrefix(value("DOCKER_SOCKET", "/var/run/docker.sock"), "unix://"),
		port:      value("LISTEN_PORT", ""),
		root:      root,
		boot:      boot,
		data:      partition("DATA_MOUNTPOINT", "data"),
		config:    config,
		osRelease: osRelease,
		macs:      value("MAC_ADDRESS_PATH", "/sys/class/net"),
		vpn:       value("VPN_STATUS_PATH", filepath.Join(root, "run/openvpn/vpn_status")),
		stateDir:  stateDir,

		state: partition("STATE_MOUNTPOINT", "state"),
		bus: dbus.New(value("DBUS_SYSTEM_BUS_ADDRESS", ""),
			"/run/dbus/system_bus_socket", filepath.Join(root, "run/dbus/system_bus_socket")),
		version:    version.With(value("SUPERVISOR_TAG_EXTRA", "")),
		image:      value("SUPERVISOR_IMAGE", ""),
		container:  value("SUPERVISOR_CONTAINER_ID", ""),
		extraCerts: value("NODE_EXTRA_CA_CERTS", ""),
		ownCert:    value("BALENA_ROOT_CA", ""),
		led:        value("LED_FILE", ""),
		hostGives:  release.IsBalenaOS(),
	}
}

// onHost is where a directory of the host is. BalenaOS names it as the host sees it, and mounts the host's
// root alone (docs/spec/host.md 1.2): a directory that is no mount and holds nothing as it is named, or is not
// there, is the one below that root, where there is one.
func onHost(root, dir string) string {
	if entries, _ := os.ReadDir(dir); len(entries) > 0 || hostos.IsMountPoint(dir) {
		return dir
	}
	below := filepath.Join(root, dir)
	if info, err := os.Stat(below); err == nil && info.IsDir() {
		return below
	}
	return dir
}

// GlobalKey reads the global API key of the supervisor that runs, or makes that of the first that will.
func (e Environment) GlobalKey() (string, error) {
	docs, err := store.Visit(e.stateDir, zerolog.New(os.Stderr))
	if err != nil {
		return "", err
	}
	ring, err := key.Open(docs)
	if err != nil {
		return "", err
	}
	return ring.Global(), nil
}

// Port is the port of the device API: config.json says it, else the environment. Of a file that is of no use the
// supervisor's copy counts, as for the daemon.
func (e Environment) Port() int {
	s := hostos.Settings{ListenPort: 48484}
	if config, err := hostos.OpenConfig(e.config); err == nil {
		s = config.Get()
	}
	if s.UUID == "" {
		if docs, err := store.Visit(e.stateDir, zerolog.Nop()); err == nil {
			s = hostos.KeptSettings(docs, s)
		}
	}
	return s.APIPort(e.port)
}
