package harness

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// Container is what the engine says about one container.
type Container struct {
	ID           string `json:"Id"`
	Name         string // without the leading slash
	Created      string
	Image        string // image id
	RestartCount int
	State        struct {
		Status, Error, StartedAt, FinishedAt string
		Running, Dead                        bool
		ExitCode, Pid                        int
	}
	Config struct {
		Image                string
		Env, Cmd, Entrypoint []string
		Labels               map[string]string
		Tty                  bool
		StopSignal, Hostname string
		StopTimeout          *int
		Healthcheck          *struct{ Test []string }
		User, WorkingDir     string
		ExposedPorts         map[string]struct{}
	}
	HostConfig struct {
		NetworkMode, IpcMode string
		Binds                []string
		Mounts               []map[string]any
		ShmSize              int64
		RestartPolicy        struct {
			Name              string
			MaximumRetryCount int
		}
		PortBindings map[string][]struct{ HostIp, HostPort string }
		Privileged   bool
		CapAdd       []string
		Tmpfs        map[string]string
		Init         *bool
		Memory       int64
	}
	Mounts          []struct{ Type, Name, Source, Destination string }
	NetworkSettings struct {
		Networks map[string]struct {
			IPAddress string
			Aliases   []string
		}
	}
}

// Service is the compose service the container was made for.
func (c Container) Service() string { return c.Config.Labels["io.balena.service-name"] }

// AppID is the app the container belongs to, as text.
func (c Container) AppID() string { return c.Config.Labels["io.balena.app-id"] }

// Env is one variable of the container's environment.
func (c Container) Env(name string) string {
	for _, line := range c.Config.Env {
		if value, ok := strings.CutPrefix(line, name+"="); ok {
			return value
		}
	}
	return ""
}

// HasEnv tells whether the variable is set at all.
func (c Container) HasEnv(name string) bool {
	return slices.ContainsFunc(c.Config.Env, func(line string) bool { return strings.HasPrefix(line, name+"=") })
}

// IP is an address of the container, empty when it has none.
func (c Container) IP() string {
	for _, n := range c.NetworkSettings.Networks {
		if n.IPAddress != "" {
			return n.IPAddress
		}
	}
	return ""
}

// Container reads one container by id or name.
func (e *Engine) Container(id string) (Container, error) {
	var c Container
	_, err := e.Do(http.MethodGet, "/containers/"+id+"/json", nil, &c)
	c.Name = strings.TrimPrefix(c.Name, "/")
	return c, err
}

// StartContainer makes a container and starts it, as someone at the engine would.
func (e *Engine) StartContainer(t testing.TB, name string, body map[string]any) Container {
	t.Helper()
	e.Must(t, http.MethodPost, "/containers/create?name="+name, body, nil)
	e.Must(t, http.MethodPost, "/containers/"+name+"/start", nil, nil)
	c, err := e.Container(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Running is nil when the container of that id or name runs.
func (e *Engine) Running(id string) error {
	c, err := e.Container(id)
	if err == nil && !c.State.Running {
		err = fmt.Errorf("%s is %s: %s", id, c.State.Status, c.State.Error)
	}
	return err
}

// Gone is nil when the engine does not have the container.
func (e *Engine) Gone(id string) error {
	_, err := e.Container(id)
	var status *StatusError
	if errors.As(err, &status) && status.Status == http.StatusNotFound {
		return nil
	}
	return fmt.Errorf("container %.40s is still there (%v)", id, err)
}

// Containers reads all containers, running or not, sorted by name.
func (e *Engine) Containers() ([]Container, error) { return e.list("") }

// Supervised reads the containers that carry the supervisor's label, sorted by name.
func (e *Engine) Supervised() ([]Container, error) {
	return e.list(`{"label":["io.balena.supervised"]}`)
}

func (e *Engine) list(filters string) ([]Container, error) {
	path := "/containers/json?all=1"
	if filters != "" {
		path += "&filters=" + url.QueryEscape(filters)
	}
	var rows []struct{ Id string }
	if _, err := e.Do(http.MethodGet, path, nil, &rows); err != nil {
		return nil, err
	}
	var all []Container
	for _, row := range rows {
		c, err := e.Container(row.Id)
		if status, ok := err.(*StatusError); ok && status.Status == http.StatusNotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Container) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}
