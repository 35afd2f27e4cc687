package harness

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// EnvLaunch makes every supervisor of a test binary run as a container, as the start script of the
// balenaOS with that supervisor version does: 8.0.2 or 6.12.1.
const EnvLaunch = "RESIN_SUPERVISOR_LAUNCH"

// EnvImage names the image of a release, a file of docker save, perhaps with gzip.
const EnvImage = "RESIN_SUPERVISOR_IMAGE"

// Launches are the balenaOS releases whose start scripts the harness knows.
var Launches = []string{"8.0.2", "6.12.1"}

// containerName is what the start script calls the container (docs/spec/host.md 1.2).
const containerName = "balena_supervisor"

// hostRoot is where the container has the root of the host.
const hostRoot = "/mnt/root"

// rootCA is where a host has the certificate of its cloud, below its root.
const rootCA = "/usr/share/ca-certificates/balena/balenaRootCA.crt"

// capabilities stand in for --privileged, which needs more than a container on a test machine may get.
var capabilities = []string{"NET_ADMIN", "SYS_ADMIN", "SYS_BOOT", "SYS_PTRACE", "SYSLOG"}

// ReleaseImage is the image that make release makes of the program under test, in the engine.
func ReleaseImage(t testing.TB, e *Engine) string {
	t.Helper()
	const name = "resin-supervisor:under-test"
	if e.ImageID(t, name) != "" {
		return name
	}
	path := os.Getenv(EnvImage)
	if path == "" {
		return PackImage(t, e, name)
	}
	archive, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	loaded := e.load(t, archive)
	e.Must(t, http.MethodPost, "/images/"+loaded+"/tag?repo=resin-supervisor&tag=under-test", nil, nil)
	return name
}

// PackImage makes an image of the program under test as make release does, under another name and so with
// another id, and puts it into the engine.
func PackImage(t testing.TB, e *Engine, name string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image.tar")
	program := filepath.Join(t.TempDir(), "resin-supervisor")
	if err := os.Symlink(Binary(t), program); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "run", "./build/image", "-o", file, "-platform", "amd64", "-tag", name, "-version", name,
		"-healthcheck", "/resin-supervisor healthcheck", program)
	cmd.Dir = filepath.Join(testModule(), "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("pack %s: %v\n%s", name, err, out)
	}
	archive, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	e.load(t, archive)
	return name
}

// load puts an archive of docker save into the engine and answers the name that it gives the image.
func (e *Engine) load(t testing.TB, archive []byte) string {
	t.Helper()
	stream, err := e.stream(http.MethodPost, "/images/load?quiet=1", bytes.NewReader(archive))
	if err != nil {
		t.Fatalf("load image: %v", err)
	}
	defer stream.Close()
	decoder, said := json.NewDecoder(stream), struct{ Stream, Error string }{}
	for decoder.Decode(&said) == nil {
		if name, ok := strings.CutPrefix(strings.TrimSpace(said.Stream), "Loaded image: "); ok {
			return name
		}
	}
	t.Fatalf("load image: the engine says %+v", said)
	return ""
}

// partitions are where a host mounts what the harness has in folders of its own.
var partitions = map[string]string{
	"boot": "root/mnt/boot", "state": "root/mnt/state", "data": "root/mnt/data", "documents": "root/resin-data/balena-supervisor",
}

// layOutHost makes the root of a host, with its partitions in place, and lets the harness find them.
func (s *Supervisor) layOutHost() {
	s.t.Helper()
	for _, dir := range []string{"root/var/log/supervisor-log", "root/etc/ssl/certs", "root/usr/share/ca-certificates", "root/mnt", "root/resin-data"} {
		if err := os.MkdirAll(s.Path(dir), 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	for name, place := range partitions {
		if err := os.MkdirAll(s.Path(place), 0o755); err != nil {
			s.t.Fatal(err)
		}
		if err := os.Symlink(place, s.Path(name)); err != nil {
			s.t.Fatal(err)
		}
	}
	if s.setup.Launch == "6.12.1" {
		s.WriteFile("data/apps.json", "{}")
	}
}

// contract is the container of the start script: its binds and variables, complete (docs/spec/host.md 1.2).
// The setup may add variables, and with them the files that they name.
func (s *Supervisor) contract(args []string) map[string]any {
	root, engine := s.Path("root"), "/var/run/balena-engine.sock"
	binds := []string{s.setup.Socket + ":" + engine, root + "/resin-data/balena-supervisor:/data",
		root + "/var/log/supervisor-log:/var/log", root + ":" + hostRoot}
	env := map[string]string{"DOCKER_SOCKET": engine, "BOOT_MOUNTPOINT": "/mnt/boot", "MIXPANEL_TOKEN": "", "DELTA_ENDPOINT": "",
		"LED_FILE": "", "LISTEN_PORT": strconv.Itoa(s.Port), "NODE_EXTRA_CA_CERTS": "", "SUPERVISOR_IMAGE": s.image}
	restart := "no"
	if s.setup.Launch == "6.12.1" {
		binds = append(binds, root+"/mnt/boot/config.json:/boot/config.json", root+"/mnt/data/apps.json:/boot/apps.json",
			"/proc/net/fib_trie:/mnt/fib_trie", root+"/etc/ssl/certs:/etc/ssl/certs:ro",
			root+"/usr/share/ca-certificates:/usr/share/ca-certificates:ro")
		env["DOCKER_ROOT"] = "/mnt/root/var/lib/docker"
		restart = "always"
	}
	for name, value := range s.setup.Env {
		env[name] = value
		if path := strings.TrimPrefix(value, "unix:path="); filepath.IsAbs(path) && !strings.HasPrefix(path, hostRoot) {
			binds = append(binds, path+":"+path)
		}
	}
	list := []string{}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return map[string]any{
		"Image": s.image, "Env": list, "Cmd": args,
		"HostConfig": map[string]any{"Binds": binds, "NetworkMode": "host", "RestartPolicy": map[string]any{"Name": restart},
			"CapAdd": capabilities, "SecurityOpt": []string{"seccomp=unconfined", "apparmor=unconfined"},
			"MaskedPaths": []string{}, "ReadonlyPaths": []string{}},
	}
}

// launch starts the container, which is made unless there is one already.
func (s *Supervisor) launch() (*Process, error) {
	if s.image == "" {
		s.image = ReleaseImage(s.t, s.Engine)
	}
	c, err := s.Engine.Container(containerName)
	if status, ok := err.(*StatusError); ok && status.Status == http.StatusNotFound {
		var made struct{ Id string }
		_, err = s.Engine.Do(http.MethodPost, "/containers/create?name="+containerName, s.contract(nil), &made)
		c.ID = made.Id
	}
	if err != nil {
		return nil, err
	}
	return startJail(s.Engine, c.ID, s.logPath())
}

// Remake removes the supervisor's container by force, and has the next start make one from another image.
func (s *Supervisor) Remake(image string) {
	s.t.Helper()
	s.Engine.Must(s.t, http.MethodDelete, "/containers/"+containerName+"?force=1", nil, nil)
	s.image = image
	s.client.CloseIdleConnections()
}

// runInside runs a command of the binary in the supervisor's container, or while that does not run in one
// made like it.
func (s *Supervisor) runInside(args []string, out, errs *bytes.Buffer) int {
	s.t.Helper()
	if s.proc != nil && s.proc.alive() {
		code, err := s.Engine.exec(s.proc.jail.id, append([]string{"/resin-supervisor"}, args...), out, errs)
		if err != nil {
			s.t.Fatal(err)
		}
		return code
	}
	if s.image == "" {
		s.image = ReleaseImage(s.t, s.Engine)
	}
	var made struct{ Id string }
	doc := s.contract(args)
	delete(doc["HostConfig"].(map[string]any), "RestartPolicy")
	s.Engine.Must(s.t, http.MethodPost, "/containers/create", doc, &made)
	defer s.Engine.Must(s.t, http.MethodDelete, "/containers/"+made.Id+"?force=1", nil, nil)
	p, err := startJail(s.Engine, made.Id, s.Path("command"))
	if err != nil {
		s.t.Fatal(err)
	}
	<-p.Done()
	said := s.ReadFile("command")
	os.Remove(s.Path("command"))
	out.WriteString(said)
	if p.ExitCode() != 0 {
		out.Reset()
		errs.WriteString(said)
	}
	return p.ExitCode()
}

// Share gives the device's host a file of the machine, such as a socket. It is to be called before the
// supervisor starts.
func (s *Supervisor) Share(file, place string) {
	s.t.Helper()
	to := s.Path(place)
	err := os.MkdirAll(filepath.Dir(to), 0o755)
	if err == nil {
		err = os.WriteFile(to, nil, 0o644)
	}
	if err == nil {
		err = syscall.Mount(file, to, "", syscall.MS_BIND, "")
	}
	if err != nil {
		s.t.Fatalf("share %s: %v", file, err)
	}
	s.t.Cleanup(func() { syscall.Unmount(to, syscall.MNT_DETACH) })
}
