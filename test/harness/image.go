package harness

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Image describes a container image made of one of our own static programs. It is built without an
// engine, so that it can be put straight into a registry.
type Image struct {
	Name    string // reference: [registry/]repository:tag
	Program string // fixture: app or oneshot
	Version string // environment variable VERSION of the image
	Content string // images of equal content have one id; default the name

	Env      map[string]string
	Labels   map[string]string
	Cmd      []string // after the entrypoint
	Volumes  []string
	Exposed  []string
	User     string
	WorkDir  string
	StopWith string // stop signal
	Health   map[string]any
	Machine  string // processor architecture in the engine's words, default amd64

	Blob int64 // bytes of an extra, incompressible layer that no other image shares
	// Broken makes the extra layer one that can be downloaded and not be unpacked.
	Broken bool
}

// ServerImage is an image of the fixture app, an HTTP server; its tag is its version.
func ServerImage(name string) Image {
	_, tag, _ := strings.Cut(name[strings.LastIndex(name, "/")+1:], ":")
	return Image{Name: name, Program: "app", Version: tag}
}

// OneshotImage is an image of the fixture that exits at once.
func OneshotImage(name string) Image {
	i := ServerImage(name)
	i.Program = "oneshot"
	return i
}

// WithBlob is the same image with an extra layer of the given size that no engine has seen before,
// also when a test runs twice.
func (i Image) WithBlob(size int64) Image {
	i.Blob = size
	i.Content = fmt.Sprintf("%s %d", i.content(), time.Now().UnixNano())
	return i
}

// SameAs is the same image under another name: one engine id, two references.
func (i Image) SameAs(name string) Image {
	i.Content, i.Name = i.content(), name
	return i
}

// content is what makes the image's id differ from that of an image of another name.
func (i Image) content() string {
	if i.Content != "" {
		return i.Content
	}
	return i.Name
}

// layer is one file system layer: its tar digest, and the blob a registry keeps.
type layer struct {
	diffID  string
	tar     []byte
	blob    []byte
	blobSum string
}

func sum(data []byte) string {
	h := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(h[:])
}

// newLayer packs files; level is the gzip level.
func newLayer(files map[string][]byte, level int) (layer, error) {
	var raw, packed bytes.Buffer
	w := tar.NewWriter(&raw)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		header := &tar.Header{Name: name, Mode: 0o755, Size: int64(len(files[name])), Format: tar.FormatUSTAR}
		if strings.HasSuffix(name, "/") {
			header.Typeflag, header.Mode = tar.TypeDir, 0o1777
		}
		if err := w.WriteHeader(header); err != nil {
			return layer{}, err
		}
		if _, err := w.Write(files[name]); err != nil {
			return layer{}, err
		}
	}
	if err := w.Close(); err != nil {
		return layer{}, err
	}
	z, err := gzip.NewWriterLevel(&packed, level)
	if err != nil {
		return layer{}, err
	}
	if _, err = z.Write(raw.Bytes()); err == nil {
		err = z.Close()
	}
	return layer{sum(raw.Bytes()), raw.Bytes(), packed.Bytes(), sum(packed.Bytes())}, err
}

// programLayers caches the layer of each fixture: it is the same in every image.
var programLayers sync.Map

func programLayer(program string) (layer, error) {
	if l, ok := programLayers.Load(program); ok {
		return l.(layer), nil
	}
	path, err := fixture(program)
	if err != nil {
		return layer{}, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return layer{}, err
	}
	l, err := newLayer(map[string][]byte{"main": data, "tmp/": nil, "data/": nil}, gzip.BestSpeed)
	if err == nil {
		programLayers.Store(program, l)
	}
	return l, err
}

func (i Image) layers() ([]layer, error) {
	l, err := programLayer(i.Program)
	if err != nil || i.Blob == 0 {
		return []layer{l}, err
	}
	seed := sha256.Sum256([]byte(i.content()))
	noise := make([]byte, i.Blob)
	rand.NewChaCha8(seed).Read(noise)
	if i.Broken {
		return []layer{l, {sum(seed[:]), noise, noise, sum(noise)}}, nil
	}
	b, err := newLayer(map[string][]byte{"blob": noise}, gzip.NoCompression)
	return []layer{l, b}, err
}

// config is the image's configuration document.
func (i Image) config(layers []layer) []byte {
	env := []string{"PATH=/", "VERSION=" + i.Version}
	for _, name := range slices.Sorted(maps.Keys(i.Env)) {
		env = append(env, name+"="+i.Env[name])
	}
	config := map[string]any{"Env": env, "Entrypoint": []string{"/main"}, "Cmd": i.Cmd, "Labels": i.Labels,
		"User": i.User, "WorkingDir": i.WorkDir, "StopSignal": i.StopWith}
	if len(i.Volumes) > 0 {
		config["Volumes"] = set(i.Volumes)
	}
	if len(i.Exposed) > 0 {
		config["ExposedPorts"] = set(i.Exposed)
	}
	if i.Health != nil {
		config["Healthcheck"] = i.Health
	}
	var diffs []string
	history := []any{map[string]any{"created_by": "a setting", "empty_layer": true}}
	for _, l := range layers {
		diffs = append(diffs, l.diffID)
		history = append(history, map[string]any{"created_by": "a layer"})
	}
	data, _ := json.Marshal(map[string]any{
		"architecture": cmp.Or(i.Machine, "amd64"), "os": "linux", "config": config, "created": "2026-01-01T00:00:00Z", "comment": i.content(),
		"history": history, "rootfs": map[string]any{"type": "layers", "diff_ids": diffs},
	})
	return data
}

func set(keys []string) map[string]struct{} {
	m := map[string]struct{}{}
	for _, k := range keys {
		m[k] = struct{}{}
	}
	return m
}

// Load puts the image into the package's engine, without a registry.
func (i Image) Load(t testing.TB) Image {
	t.Helper()
	return i.LoadInto(t, SharedEngine(t))
}

// LoadInto puts the image into an engine, without a registry.
func (i Image) LoadInto(t testing.TB, e *Engine) Image {
	t.Helper()
	archive, err := i.archive()
	if err != nil {
		t.Fatalf("make image %s: %v", i.Name, err)
	}
	e.Must(t, http.MethodPost, "/images/load?quiet=1", bytes.NewReader(archive), nil)
	if e.ImageID(t, i.Name) == "" {
		t.Fatalf("load image %s: the engine does not have it", i.Name)
	}
	return i
}

// archive is the image in the form of docker save.
func (i Image) archive() ([]byte, error) {
	layers, err := i.layers()
	if err != nil {
		return nil, err
	}
	config := i.config(layers)
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	var names []string
	for n, l := range layers {
		names = append(names, fmt.Sprintf("layer%d.tar", n))
		addFile(w, names[n], l.tar)
	}
	addFile(w, "config.json", config)
	index, err := json.Marshal([]any{map[string]any{"Config": "config.json", "RepoTags": []string{i.Name}, "Layers": names}})
	if err != nil {
		return nil, err
	}
	addFile(w, "manifest.json", index)
	return out.Bytes(), w.Close()
}

// addFile writes to memory, which cannot fail.
func addFile(w *tar.Writer, name string, data []byte) {
	w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))})
	w.Write(data)
}
