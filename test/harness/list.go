package harness

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// Kinds of lists of images for several platforms.
const (
	DockerList = "application/vnd.docker.distribution.manifest.list.v2+json"
	OCIIndex   = "application/vnd.oci.image.index.v1+json"
)

// PushList puts images for several processors into the registry under the one name repository:tag, and
// answers the first with the reference that an engine pulls the one for its own processor by.
func (r *Registry) PushList(t testing.TB, kind, name string, images ...Image) Image {
	t.Helper()
	repo, tag, _ := strings.Cut(name, ":")
	entries := []any{}
	for _, i := range images {
		machine := i.Machine
		if machine == "" {
			machine = "amd64"
		}
		i.Name = repo + ":" + tag + "-" + machine
		manifest, digest, err := r.push(i)
		if err != nil {
			t.Fatalf("push image %s: %v", i.Name, err)
		}
		entry := descriptor(manifestKind, digest, len(manifest))
		entry["platform"] = map[string]string{"os": "linux", "architecture": machine}
		entries = append(entries, entry)
	}
	list, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": kind, "manifests": entries})
	if err == nil {
		_, err = r.send(http.MethodPut, "http://"+r.Addr+"/v2/"+repo+"/manifests/"+tag, kind, list)
	}
	if err != nil {
		t.Fatalf("push list %s: %v", name, err)
	}
	images[0].Name = r.Addr + "/" + name
	return images[0]
}
