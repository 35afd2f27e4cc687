package harness

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"resin-supervisor/test/harness/fakecloud"
)

// Setup says how a supervisor is run. Every field may be left out.
type Setup struct {
	Engine *Engine // default the package's own, see SharedEngine
	Socket string  // DOCKER_SOCKET, default the engine's own socket
	// WithProxy puts a proxy between the supervisor and its engine: Supervisor.Proxy.
	WithProxy bool
	Binary    string            // default Binary(t)
	Runner    string            // program that runs the binary, such as an emulator
	Config    map[string]any    // laid over the default config.json
	Apps      any               // apps.json, nil for none
	Env       map[string]string // laid over the default environment
	Bus       *Bus              // the host's system bus, default none
	// Cloud makes it a device of a cloud, which it trusts; the cloud is started unless it runs. The
	// device is registered there and polls every two seconds, unless Config says otherwise.
	Cloud *fakecloud.Cloud
	// WithoutContainers says that the device never has containers, so that other devices can use the engine
	// at the same time. It leaves the engine as it is when the test ends.
	WithoutContainers bool
	// Launch runs it as a container, as the start script of that release of balenaOS does; default what
	// RESIN_SUPERVISOR_LAUNCH says, else it is a process of the host.
	Launch string
	// Unprovisioned leaves the device to register itself, with ProvisioningKey, into the fleet Fleet.
	Unprovisioned bool
}

// What a device of a cloud knows of it.
const (
	ProvisioningKey = "fleetkey0123456789abcdef01234567"
	DeviceKey       = "devicekey0123456789abcdef0123456"
	Fleet           = 2101
)

// Supervisor is one device: directories of its own and the supervisor's process. It can be killed
// and started again with the same directories.
type Supervisor struct {
	Engine *Engine
	Proxy  *Proxy // nil without Setup.WithProxy
	Bus    *Bus   // that of Setup
	UUID   string
	Port   int
	Dir    string // holds root, boot, state, data and documents

	t      testing.TB
	setup  Setup
	env    []string
	ca     string
	image  string // with Launch: what the container is made from
	proc   *Process
	key    string
	target Target
	client *http.Client
}

// NewSupervisor prepares a device without starting its supervisor. Everything is taken away when
// the test ends.
func NewSupervisor(t testing.TB, setup Setup) *Supervisor {
	t.Helper()
	shared(t)
	if setup.Engine == nil {
		setup.Engine = SharedEngine(t)
	}
	if setup.Launch == "" && setup.Binary == "" && setup.Runner == "" {
		setup.Launch = os.Getenv(EnvLaunch)
	}
	if setup.Binary == "" {
		setup.Binary = Binary(t)
	}
	if setup.Bus != nil {
		env := map[string]string{"DBUS_SYSTEM_BUS_ADDRESS": setup.Bus.Address}
		maps.Copy(env, setup.Env)
		setup.Env = env
	}
	s := &Supervisor{Engine: setup.Engine, UUID: "0123456789abcdef0123456789abcdef", Bus: setup.Bus, t: t, Dir: t.TempDir()}
	if setup.WithProxy {
		s.Proxy = NewProxy(t, setup.Engine)
		setup.Socket = s.Proxy.Socket
	}
	if setup.Socket == "" {
		setup.Socket = setup.Engine.Socket
	}
	s.setup = setup
	s.client = &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}, Timeout: 60 * time.Second}
	s.Port = freePort(t)
	s.join()
	s.layOut()
	s.environ()
	t.Cleanup(s.clean)
	return s
}

// StartSupervisor prepares a device, starts its supervisor and waits until it answers.
func StartSupervisor(t testing.TB, setup Setup) *Supervisor {
	t.Helper()
	s := NewSupervisor(t, setup)
	s.Start()
	return s
}

// join makes the device one of the cloud's.
func (s *Supervisor) join() {
	cloud := s.setup.Cloud
	if cloud == nil {
		return
	}
	if cloud.Origin == "" {
		cloud.StartTLS(s.t)
	}
	cloud.ProvisioningKey(Fleet, ProvisioningKey)
	config := map[string]any{"apiEndpoint": cloud.Origin, "deltaEndpoint": cloud.Origin, "applicationId": Fleet,
		"appUpdatePollInterval": 2000, "bootstrapRetryDelay": 300}
	if s.setup.Unprovisioned {
		config["apiKey"] = ProvisioningKey
	} else {
		d := cloud.Add(s.UUID, DeviceKey, Fleet)
		maps.Copy(config, map[string]any{"deviceApiKey": DeviceKey, "deviceId": d.ID, "registered_at": 1700000000000})
	}
	maps.Copy(config, s.setup.Config)
	s.setup.Config = config
	cloud.Set(func(c *fakecloud.Cloud) {
		if c.PollInterval == "" {
			c.PollInterval = fmt.Sprint(config["appUpdatePollInterval"])
		}
	})
	ca := filepath.Join(s.t.TempDir(), "ca.pem")
	env := map[string]string{"NODE_EXTRA_CA_CERTS": ca}
	if s.setup.Launch != "" {
		ca, env["NODE_EXTRA_CA_CERTS"] = s.Path("root", rootCA), hostRoot+"/"+rootCA
	}
	err := os.MkdirAll(filepath.Dir(ca), 0o755)
	if err == nil {
		err = os.WriteFile(ca, cloud.CA, 0o644)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.ca = ca
	maps.Copy(env, s.setup.Env)
	s.setup.Env = env
}

// CAPath is the file in which the device has the certificate of the cloud's authority.
func (s *Supervisor) CAPath() string { return s.ca }

// Cloud is the cloud the device belongs to.
func (s *Supervisor) Cloud() *fakecloud.Cloud { return s.setup.Cloud }

// Assign gives the device a target in its cloud and remembers it for WaitSettled.
func (s *Supervisor) Assign(target Target) {
	s.setup.Cloud.Assign(s.UUID, target.V3())
	s.target = target
}

func freePort(t testing.TB) int {
	t.Helper()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(port)
	return n
}

// Path is a path below the device's directory.
func (s *Supervisor) Path(parts ...string) string {
	return filepath.Join(append([]string{s.Dir}, parts...)...)
}

// layOut makes the partitions of a device.
func (s *Supervisor) layOut() {
	s.t.Helper()
	if s.setup.Launch != "" {
		s.layOutHost()
	}
	for _, dir := range []string{"root/etc", "root/run/openvpn/vpn_status", "root/tmp/balena-supervisor", "boot", "state", "data", "documents"} {
		if err := os.MkdirAll(s.Path(dir), 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	if !s.setup.WithoutContainers { // no container has to find its locks
		if err := syscall.Mount(lockRoot, s.Path("root", lockRoot), "", syscall.MS_BIND, ""); err != nil {
			s.t.Fatalf("bind %s into the device's root: %v", lockRoot, err)
		}
	}
	config := map[string]any{"uuid": s.UUID, "deviceType": "raspberrypi3"}
	maps.Copy(config, s.setup.Config)
	s.WriteJSON("boot/config.json", config)
	s.WriteJSON("boot/device-type.json", map[string]string{"slug": "raspberrypi3", "arch": "armv7hf"})
	s.WriteFile("root/etc/os-release", "ID=\"balena-os\"\nNAME=\"balenaOS\"\nVERSION=\"6.4.1\"\nPRETTY_NAME=\"balenaOS 6.4.1\"\nVARIANT_ID=\"prod\"\n")
	s.WriteFile("root/etc/hostname", "testhost\n")
	if s.setup.Apps != nil {
		s.WriteJSON("data/apps.json", s.setup.Apps)
	}
}

// WriteFile writes a file below the device's directory.
func (s *Supervisor) WriteFile(path, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.Path(path), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// WriteJSON writes a document below the device's directory.
func (s *Supervisor) WriteJSON(path string, doc any) {
	s.t.Helper()
	data, err := json.Marshal(doc)
	if err != nil {
		s.t.Fatal(err)
	}
	s.WriteFile(path, string(data))
}

// ReadFile reads a file below the device's directory; a missing file is the empty text.
func (s *Supervisor) ReadFile(path string) string {
	s.t.Helper()
	data, err := os.ReadFile(s.Path(path))
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	return string(data)
}

// ReadConfig reads the device's config.json.
func (s *Supervisor) ReadConfig() map[string]any {
	s.t.Helper()
	config := map[string]any{}
	if err := json.Unmarshal([]byte(s.ReadFile("boot/config.json")), &config); err != nil {
		s.t.Fatal(err)
	}
	return config
}

// environ is the whole environment of the process: nothing of the machine is inherited, so that the
// supervisor under test touches nothing but its own directories.
func (s *Supervisor) environ() {
	env := map[string]string{
		"PATH": os.Getenv("PATH"), "HOME": s.Dir,
		"DOCKER_SOCKET":           s.setup.Socket,
		"LISTEN_PORT":             strconv.Itoa(s.Port),
		"ROOT_MOUNTPOINT":         s.Path("root"),
		"BOOT_MOUNTPOINT":         s.Path("boot"),
		"STATE_MOUNTPOINT":        s.Path("state"),
		"DATA_MOUNTPOINT":         s.Path("data"),
		"CONFIG_MOUNT_POINT":      s.Path("boot/config.json"),
		"HOST_OS_VERSION_PATH":    s.Path("root/etc/os-release"),
		"VPN_STATUS_PATH":         s.Path("root/run/openvpn/vpn_status"),
		"MAC_ADDRESS_PATH":        "/sys/class/net",
		"LED_FILE":                s.Path("led"),
		"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=" + s.Path("no-bus"),
		"SUPERVISOR_STATE_DIR":    s.Path("documents"),
	}
	maps.Copy(env, s.setup.Env)
	for name, value := range env {
		s.env = append(s.env, name+"="+value)
	}
}

// command is the supervisor's binary with arguments, in the device's environment.
func (s *Supervisor) command(args ...string) *exec.Cmd {
	program := s.setup.Binary
	if s.setup.Runner != "" {
		program, args = s.setup.Runner, append([]string{s.setup.Binary}, args...)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = s.env
	return cmd
}

// RunBy makes later starts of the process go through a program that runs it, such as an emulator.
func (s *Supervisor) RunBy(program string) { s.setup.Runner = program }

// Run runs one of the binary's commands in the device's environment and answers its exit code and
// its two outputs.
func (s *Supervisor) Run(args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	var out, errs bytes.Buffer
	if s.setup.Launch != "" {
		code = s.runInside(args, &out, &errs)
		return code, out.String(), errs.String()
	}
	cmd := s.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	refuseRaces(s.t, errs.String())
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// Overview is what the status command prints, as one line: where it breaks lines depends on the
// length of what it prints, of a port or a path for instance. The test fails when the command does.
func (s *Supervisor) Overview() string {
	s.t.Helper()
	code, out, errs := s.Run("status")
	if code != 0 {
		s.t.Errorf("status ends with code %d: %s", code, errs)
	}
	return strings.Join(strings.Fields(out), " ")
}

// WaitOverview waits until what the status command prints has all the words.
func (s *Supervisor) WaitOverview(within time.Duration, words ...string) {
	s.t.Helper()
	Until(s.t, within, "the status", func() error {
		page := s.Overview()
		for _, text := range words {
			if !strings.Contains(page, text) {
				return fmt.Errorf("no %q in %s", text, page)
			}
		}
		return nil
	})
}

// Launch starts the process and does not wait for it.
func (s *Supervisor) Launch() {
	s.t.Helper()
	begin := s.launch
	if s.setup.Launch == "" {
		begin = func() (*Process, error) { return start("resin-supervisor", s.logPath(), s.command()) }
	}
	proc, err := begin()
	if err != nil {
		s.t.Fatal(err)
	}
	s.proc = proc
}

// Start starts the process and waits until it answers.
func (s *Supervisor) Start() {
	s.t.Helper()
	s.Launch()
	Until(s.t, 20*time.Second, "start of the supervisor", s.Alive)
}

// Alive is nil when the process runs and answers /ping.
func (s *Supervisor) Alive() error {
	if !s.proc.alive() {
		return fmt.Errorf("the supervisor ended with code %d:\n%s", s.proc.ExitCode(), tail(s.logPath(), 20))
	}
	res, err := s.client.Get(s.URL("/ping"))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("/ping answered %d", res.StatusCode)
	}
	return nil
}

// Process is the running or last process.
func (s *Supervisor) Process() *Process { return s.proc }

// Children lists the processes that the process started and that are not waited for yet, by id: the name,
// and Z after it for one that has ended.
func (s *Supervisor) Children() map[int]string {
	children := map[int]string{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		stat, _ := os.ReadFile(path)
		var pid, parent int
		var name, state string
		fmt.Sscanf(string(stat), "%d %s %s %d", &pid, &name, &state, &parent)
		if parent != s.proc.PID() {
			continue
		}
		if children[pid] = strings.Trim(name, "()"); state == "Z" {
			children[pid] += " Z"
		}
	}
	return children
}

// Kill ends the process with SIGKILL, as a power cut would.
func (s *Supervisor) Kill() {
	s.t.Helper()
	if err := s.proc.end(syscall.SIGKILL, 10*time.Second); err != nil {
		s.t.Fatal(err)
	}
	s.client.CloseIdleConnections()
}

// Stop ends the process with SIGTERM and fails the test when it lingers.
func (s *Supervisor) Stop() {
	s.t.Helper()
	if err := s.proc.end(syscall.SIGTERM, 10*time.Second); err != nil {
		s.t.Fatal(err)
	}
	s.client.CloseIdleConnections()
}

// Restart is Stop and Start.
func (s *Supervisor) Restart() {
	s.t.Helper()
	s.Stop()
	s.Start()
}

// Log is everything the process wrote so far, over all its starts.
func (s *Supervisor) Log() string {
	data, _ := os.ReadFile(s.logPath())
	return string(data)
}

func (s *Supervisor) logPath() string { return s.Path("log") }

// LogLines are the log lines with the given message, as JSON objects.
func (s *Supervisor) LogLines(message string) []map[string]any {
	var lines []map[string]any
	for line := range strings.Lines(s.Log()) {
		doc := map[string]any{}
		if json.Unmarshal([]byte(line), &doc) == nil && doc["message"] == message {
			lines = append(lines, doc)
		}
	}
	return lines
}

// Documents are the files in the supervisor's state directory, as paths below the device's directory.
func (s *Supervisor) Documents() []string {
	s.t.Helper()
	var paths []string
	err := filepath.WalkDir(s.Path("documents")+"/", func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			paths = append(paths, strings.TrimPrefix(path, s.Dir+"/"))
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return paths
}

// LockDir is the host directory of a service's update locks (docs/spec/engine.md 7).
func (s *Supervisor) LockDir(appID int, service string) string {
	return filepath.Join(lockRoot, "services", strconv.Itoa(appID), service)
}

// LockUpdates makes a user's update lock for a service and answers its path.
func (s *Supervisor) LockUpdates(appID int, service string) (path string) {
	s.t.Helper()
	return s.LockUpdatesBy("updates.lock", appID, service)
}

// UnlockUpdates removes the lock of LockUpdates, which must still be there.
func (s *Supervisor) UnlockUpdates(appID int, service string) {
	s.t.Helper()
	if err := os.Remove(filepath.Join(s.LockDir(appID, service), "updates.lock")); err != nil {
		s.t.Fatal(err)
	}
}

// LockUpdatesBy is LockUpdates with a file of another name.
func (s *Supervisor) LockUpdatesBy(file string, appID int, service string) (path string) {
	s.t.Helper()
	path = filepath.Join(s.LockDir(appID, service), file)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o644)); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// clean ends the process, shows its log when the test failed, empties the engine and takes the
// directories away.
func (s *Supervisor) clean() {
	if s.proc != nil {
		s.proc.end(syscall.SIGKILL, 10*time.Second)
		s.proc = nil
	}
	refuseRaces(s.t, s.Log())
	if s.t.Failed() {
		s.t.Logf("supervisor log, last lines:\n%s", tail(s.logPath(), 80))
		if s.setup.Cloud != nil {
			s.dumpCloud()
		}
	}
	s.client.CloseIdleConnections()
	if s.setup.WithoutContainers {
		return
	}
	s.Engine.renew(s.t)
	if err := syscall.Unmount(s.Path("root", lockRoot), syscall.MNT_DETACH); err != nil {
		s.t.Errorf("unmount the lock directory: %v", err)
	}
	left, _ := filepath.Glob(lockRoot + "/*")
	for _, path := range left {
		os.RemoveAll(path)
	}
}

// Command is one of the binary's commands in the device's environment, for a test that runs it by
// itself.
func (s *Supervisor) Command(args ...string) *exec.Cmd { return s.command(args...) }
