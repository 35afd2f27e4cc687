package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Registry is a real image registry on a loopback address, which engines talk to without TLS.
type Registry struct {
	Addr string // host:port, the registry part of image references

	dir  string
	proc *Process
}

func newRegistry(dir string) (*Registry, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	r := &Registry{Addr: addr, dir: dir}
	config := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\n",
		filepath.Join(dir, "data"), addr)
	if err := os.WriteFile(r.configPath(), []byte(config), 0o644); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Registry) configPath() string { return filepath.Join(r.dir, "config.yml") }

// freeAddr is a loopback address nobody listens on in this network namespace.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func (r *Registry) ensureRunning() error {
	if r.proc != nil && r.proc.alive() {
		return nil
	}
	path, err := lookTool("docker-registry")
	if err != nil {
		return err
	}
	log := filepath.Join(r.dir, "log")
	if r.proc, err = start("docker-registry", log, exec.Command(path, "serve", r.configPath())); err != nil {
		return err
	}
	err = poll(20*time.Second, func() error {
		res, err := http.Get("http://" + r.Addr + "/v2/")
		if err == nil {
			res.Body.Close()
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("start the registry: %w\n%s", err, tail(log, 20))
	}
	return nil
}

func (r *Registry) stop() { r.proc.end(syscall.SIGKILL, 10*time.Second) }

// Stop ends the registry; its images stay for the next Start.
func (r *Registry) Stop(t testing.TB) {
	t.Helper()
	if err := r.proc.end(syscall.SIGKILL, 10*time.Second); err != nil {
		t.Fatal(err)
	}
}

// Start brings a stopped registry back.
func (r *Registry) Start(t testing.TB) {
	t.Helper()
	if err := r.ensureRunning(); err != nil {
		t.Fatal(err)
	}
}

// Push puts an image into the registry under repository:tag and answers the image with the
// reference an engine pulls it by.
func (r *Registry) Push(t testing.TB, i Image) Image {
	t.Helper()
	if _, _, err := r.push(i); err != nil {
		t.Fatalf("push image %s: %v", i.Name, err)
	}
	i.Name = r.Addr + "/" + i.Name
	return i
}

// PushDigest is Push with a reference by digest, the form the cloud sends.
func (r *Registry) PushDigest(t testing.TB, i Image) Image {
	t.Helper()
	_, digest, err := r.push(i)
	if err != nil {
		t.Fatalf("push image %s: %v", i.Name, err)
	}
	repo, _, _ := strings.Cut(i.Name, ":")
	i.Name = r.Addr + "/" + repo + "@" + digest
	return i
}

// manifestKind is what the description of one image is.
const manifestKind = "application/vnd.docker.distribution.manifest.v2+json"

func (r *Registry) push(i Image) (manifest []byte, digest string, err error) {
	repo, tag, ok := strings.Cut(i.Name, ":")
	if !ok {
		return nil, "", fmt.Errorf("name has no tag")
	}
	layers, err := i.layers()
	if err != nil {
		return nil, "", err
	}
	config := i.config(layers)
	descriptors := []any{}
	for _, l := range layers {
		if err := r.pushBlob(repo, l.blobSum, l.blob); err != nil {
			return nil, "", err
		}
		descriptors = append(descriptors, descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip", l.blobSum, len(l.blob)))
	}
	if err := r.pushBlob(repo, sum(config), config); err != nil {
		return nil, "", err
	}
	manifest, err = json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": manifestKind, "layers": descriptors,
		"config": descriptor("application/vnd.docker.container.image.v1+json", sum(config), len(config))})
	if err != nil {
		return nil, "", err
	}
	_, err = r.send(http.MethodPut, "http://"+r.Addr+"/v2/"+repo+"/manifests/"+tag, manifestKind, manifest)
	return manifest, sum(manifest), err
}

func descriptor(kind, digest string, size int) map[string]any {
	return map[string]any{"mediaType": kind, "digest": digest, "size": size}
}

func (r *Registry) pushBlob(repo, digest string, data []byte) error {
	base := "http://" + r.Addr + "/v2/" + repo + "/blobs/"
	if res, err := http.Head(base + digest); err == nil {
		res.Body.Close()
		if res.StatusCode == http.StatusOK {
			return nil
		}
	}
	res, err := r.send(http.MethodPost, base+"uploads/", "", nil)
	if err != nil {
		return err
	}
	to, err := res.Location()
	if err != nil {
		return err
	}
	query := to.Query()
	query.Set("digest", digest)
	to.RawQuery = query.Encode()
	_, err = r.send(http.MethodPut, to.String(), "application/octet-stream", data)
	return err
}

func (r *Registry) send(method, to, kind string, body []byte) (*http.Response, error) {
	req, err := http.NewRequest(method, to, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		u, _ := url.Parse(to)
		err = fmt.Errorf("%s %s: %d %s", method, u.Path, res.StatusCode, answer)
	}
	return res, err
}
