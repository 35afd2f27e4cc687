package harness

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// Volume is what the engine says about one volume.
type Volume struct {
	Name, Driver, Mountpoint, CreatedAt string
	Labels, Options                     map[string]string
}

// Volumes reads all volumes by name.
func (e *Engine) Volumes(t testing.TB) map[string]Volume {
	t.Helper()
	var answer struct{ Volumes []Volume }
	e.Must(t, http.MethodGet, "/volumes", nil, &answer)
	all := map[string]Volume{}
	for _, v := range answer.Volumes {
		all[v.Name] = v
	}
	return all
}

// Network is what the engine says about one network.
type Network struct {
	ID         string `json:"Id"`
	Name       string
	Driver     string
	Internal   bool
	ConfigOnly bool
	Labels     map[string]string
	Options    map[string]string
	IPAM       struct {
		Config []struct{ Subnet, Gateway string }
	}
}

// Networks reads all networks except the engine's own three.
func (e *Engine) Networks(t testing.TB) []Network {
	t.Helper()
	var all []Network
	e.Must(t, http.MethodGet, "/networks", nil, &all)
	return slices.DeleteFunc(all, func(n Network) bool {
		return n.Name == "bridge" || n.Name == "host" || n.Name == "none"
	})
}

// Network reads the network of that name; found is false when there is none.
func (e *Engine) Network(t testing.TB, name string) (network Network, found bool) {
	t.Helper()
	for _, n := range e.Networks(t) {
		if n.Name == name {
			return n, true
		}
	}
	return Network{}, false
}

// ImageID is the engine's id of an image, empty when it has no image of that name.
func (e *Engine) ImageID(t testing.TB, ref string) string {
	t.Helper()
	var image struct{ Id string }
	if status, err := e.Do(http.MethodGet, "/images/"+ref+"/json", nil, &image); err != nil && status != http.StatusNotFound {
		t.Fatalf("engine: inspect image %s: %v", ref, err)
	}
	return image.Id
}

// Pull fetches an image by tag or digest, at once or not at all.
func (e *Engine) Pull(t testing.TB, ref string) {
	t.Helper()
	if err := e.TryPull(ref); err != nil {
		t.Fatalf("engine: pull %s: %v", ref, err)
	}
}

// TryPull is Pull that may fail.
func (e *Engine) TryPull(ref string) error {
	repo, tag, ok := strings.Cut(ref, "@")
	if !ok {
		cut := strings.LastIndex(ref, ":")
		repo, tag = ref[:cut], ref[cut+1:]
	}
	if _, err := e.Do(http.MethodPost, "/images/create?fromImage="+repo+"&tag="+tag, nil, nil); err != nil {
		return err
	}
	// A pull that fails after its first progress line ends with status 200 all the same.
	_, err := e.Do(http.MethodGet, "/images/"+ref+"/json", nil, nil)
	return err
}

// RemoveImage takes an image away by name, with force; a missing one is fine.
func (e *Engine) RemoveImage(t testing.TB, ref string) {
	t.Helper()
	if status, err := e.Do(http.MethodDelete, "/images/"+ref+"?force=1", nil, nil); err != nil && status != http.StatusNotFound {
		t.Fatalf("engine: remove image %s: %v", ref, err)
	}
}
