package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// Spec says what an image holds.
type Spec struct {
	Tag          string // name:tag
	Architecture string // as Go names it: amd64, arm, arm64
	Variant      string // v6 or v7 on arm
	Version      string // label org.opencontainers.image.version, left out when empty
	Health       []string
	Created      time.Time
	Files        []File // the first is the entry point
}

// File is one program in the root folder of the image.
type File struct {
	Name string
	Data []byte
}

// The health check runs as often as the stock agent's does (docs/spec/device-api.md 1.1).
const (
	healthInterval = 5 * time.Minute
	healthStart    = time.Minute
	healthTimeout  = 30 * time.Second
	healthRetries  = 3
)

const mediaType = "application/vnd.oci.image."

// Archive returns the image as an uncompressed tar file.
func (s Spec) Archive() ([]byte, error) {
	if len(s.Files) == 0 {
		return nil, errors.New("no file given")
	}
	layer, err := s.pack(s.Files, 0o755)
	if err != nil {
		return nil, err
	}
	config := encode(s.config(digest(layer)))
	manifest := encode(map[string]any{
		"schemaVersion": 2,
		"mediaType":     mediaType + "manifest.v1+json",
		"config":        descriptor("config.v1+json", config),
		"layers":        []any{descriptor("layer.v1.tar", layer)},
	})
	entry := descriptor("manifest.v1+json", manifest)
	entry["annotations"] = map[string]string{"io.containerd.image.name": s.Tag, "org.opencontainers.image.ref.name": tagOf(s.Tag)}
	entry["platform"] = s.platform()
	return s.pack([]File{
		{"oci-layout", encode(map[string]string{"imageLayoutVersion": "1.0.0"})},
		{"index.json", encode(map[string]any{"schemaVersion": 2, "mediaType": mediaType + "index.v1+json", "manifests": []any{entry}})},
		{"manifest.json", encode([]any{map[string]any{
			"Config": blob(config), "RepoTags": []string{s.Tag}, "Layers": []string{blob(layer)}}})},
		{blob(config), config},
		{blob(manifest), manifest},
		{blob(layer), layer},
	}, 0o644)
}

// config is the image's configuration document (OCI image specification; Healthcheck is the engine's
// own addition to it).
func (s Spec) config(diff string) map[string]any {
	run := map[string]any{"Entrypoint": []string{"/" + s.Files[0].Name}, "WorkingDir": "/"}
	if s.Version != "" {
		run["Labels"] = map[string]string{"org.opencontainers.image.version": s.Version}
	}
	if len(s.Health) > 0 {
		run["Healthcheck"] = map[string]any{
			"Test":     append([]string{"CMD"}, s.Health...),
			"Interval": healthInterval, "StartPeriod": healthStart, "Timeout": healthTimeout, "Retries": healthRetries,
		}
	}
	c := s.platform()
	c["created"] = s.Created.Format(time.RFC3339)
	c["config"] = run
	c["rootfs"] = map[string]any{"type": "layers", "diff_ids": []string{diff}}
	c["history"] = []any{map[string]any{"created": s.Created.Format(time.RFC3339), "created_by": "build/image"}}
	return c
}

func (s Spec) platform() map[string]any {
	p := map[string]any{"os": "linux", "architecture": s.Architecture}
	if s.Variant != "" {
		p["variant"] = s.Variant
	}
	return p
}

// pack writes files into a tar file, all with the same mode, owner and time.
func (s Spec) pack(files []File, mode int64) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := tar.Header{Typeflag: tar.TypeReg, Name: f.Name, Size: int64(len(f.Data)), Mode: mode, ModTime: s.Created, Format: tar.FormatUSTAR}
		if err := w.WriteHeader(&h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.Data); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

func descriptor(kind string, data []byte) map[string]any {
	return map[string]any{"mediaType": mediaType + kind, "digest": digest(data), "size": len(data)}
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func blob(data []byte) string { return "blobs/sha256/" + strings.TrimPrefix(digest(data), "sha256:") }

// tagOf is the part of name:tag behind the last colon; a colon before a slash belongs to a port.
func tagOf(ref string) string {
	i := strings.LastIndexByte(ref, ':')
	if i < 0 || strings.Contains(ref[i:], "/") {
		return "latest"
	}
	return ref[i+1:]
}

// encode is JSON with sorted keys; the values above can always be encoded.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
