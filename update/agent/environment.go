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

// Environment is the container contract of the supervisor (docs/spec/cloud.md 0.4): where its surroundings are.
type Environment struct {
	_ [0]func() // nobody compares it: no code for that

	socket, port, root, boot, data, config, osRelease, macs, vpn, stateDir string
	image, container, extraCerts, ownCert, led, state, version             string
	bus                                                                    *dbus.Bus
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
	boot := onHost(root, value("BOOT_MOUNTPOINT", "/mnt/boot"))
	config := value("CONFIG_MOUNT_POINT", filepath.Join(boot, "config.json"))
	return Environment{
		socket:    strings.TrimPrefix(value("DOCKER_SOCKET", "/var/run/docker.sock"), "unix://"),
		port:      value("LISTEN_PORT", ""),
		root:      root,
		boot:      boot,
		data:      onHost(root, value("DATA_MOUNTPOINT", "/mnt/data")),
		config:    filepath.Join(onHost(root, filepath.Dir(config)), filepath.Base(config)),
		osRelease: value("HOST_OS_VERSION_PATH", filepath.Join(root, "etc/os-release")),
		macs:      value("MAC_ADDRESS_PATH", "/sys/class/net"),
		vpn:       value("VPN_STATUS_PATH", filepath.Join(root, "run/openvpn/vpn_status")),
		stateDir:  value("SUPERVISOR_STATE_DIR", "/data"),

		state: onHost(root, value("STATE_MOUNTPOINT", "/mnt/state")),
		bus: dbus.New(value("DBUS_SYSTEM_BUS_ADDRESS", ""),
			"/run/dbus/system_bus_socket", filepath.Join(root, "run/dbus/system_bus_socket")),
		version:    version.With(value("SUPERVISOR_TAG_EXTRA", "")),
		image:      value("SUPERVISOR_IMAGE", ""),
		container:  value("SUPERVISOR_CONTAINER_ID", ""),
		extraCerts: value("NODE_EXTRA_CA_CERTS", ""),
		ownCert:    value("BALENA_ROOT_CA", ""),
		led:        value("LED_FILE", "/sys/class/leds/led0/brightness"),
	}
}

// onHost is where a directory of the host is. BalenaOS names it as the host sees it, and mounts the host's
// root alone (docs/spec/host.md 1.2): a directory that holds nothing as it is named, or is not there, is the
// one below that root, where there is one.
func onHost(root, dir string) string {
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
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

// Port is the port of the device API: config.json says it, else the environment.
func (e Environment) Port() int {
	config, err := hostos.OpenConfig(e.config)
	if err != nil {
		return hostos.Settings{ListenPort: 48484}.APIPort(e.port)
	}
	return config.Get().APIPort(e.port)
}
