package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"testing"
	"time"
)

func sample() Spec {
	return Spec{
		Tag: "resin-supervisor:20.0.0", Architecture: "arm", Variant: "v6", Version: "20.0.0",
		Health: []string{"/resin-supervisor", "healthcheck"}, Created: time.Unix(1700000000, 0).UTC(),
		Files: []File{{"resin-supervisor", []byte("program")}, {"other", []byte("more")}},
	}
}

// unpack returns the contents of a tar file by name.
func unpack(t *testing.T, b []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	r := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = data
	}
}

func decode(t *testing.T, b []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
}

func TestSaveArchiveLeadsToEveryBlob(t *testing.T) {
	b, err := sample().Archive()
	if err != nil {
		t.Fatal(err)
	}
	files := unpack(t, b)
	var saved []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	decode(t, files["manifest.json"], &saved)
	if len(saved) != 1 || len(saved[0].RepoTags) != 1 || saved[0].RepoTags[0] != "resin-supervisor:20.0.0" {
		t.Fatalf("manifest.json: %s", files["manifest.json"])
	}
	var config struct {
		Architecture, OS, Variant string
		Config                    struct {
			Entrypoint  []string
			Healthcheck struct {
				Test     []string
				Interval time.Duration
			}
		}
		Rootfs struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	decode(t, files[saved[0].Config], &config)
	layer := files[saved[0].Layers[0]]
	if config.Rootfs.DiffIDs[0] != digest(layer) {
		t.Errorf("diff id %s, layer is %s", config.Rootfs.DiffIDs[0], digest(layer))
	}
	if got := config.OS + "/" + config.Architecture + "/" + config.Variant; got != "linux/arm/v6" {
		t.Errorf("platform %s", got)
	}
	if got := config.Config.Entrypoint; len(got) != 1 || got[0] != "/resin-supervisor" {
		t.Errorf("entry point %q", got)
	}
	h := config.Config.Healthcheck
	if len(h.Test) != 3 || h.Test[0] != "CMD" || h.Test[2] != "healthcheck" || h.Interval != 5*time.Minute {
		t.Errorf("health check %+v", h)
	}
	if in := unpack(t, layer); string(in["resin-supervisor"]) != "program" || string(in["other"]) != "more" {
		t.Errorf("layer holds %q", in)
	}
}

func TestIndexLeadsToEveryBlob(t *testing.T) {
	b, err := sample().Archive()
	if err != nil {
		t.Fatal(err)
	}
	files := unpack(t, b)
	type link struct {
		Digest string
		Size   int
	}
	follow := func(l link) []byte {
		data := files["blobs/sha256/"+l.Digest[len("sha256:"):]]
		if len(data) != l.Size || digest(data) != l.Digest {
			t.Errorf("blob %s has %d bytes, digest %s; want %d bytes", l.Digest, len(data), digest(data), l.Size)
		}
		return data
	}
	var index struct{ Manifests []link }
	decode(t, files["index.json"], &index)
	var manifest struct {
		Config link
		Layers []link
	}
	decode(t, follow(index.Manifests[0]), &manifest)
	follow(manifest.Config)
	follow(manifest.Layers[0])
}

func TestSameInputSameBytes(t *testing.T) {
	a, _ := sample().Archive()
	b, _ := sample().Archive()
	if !bytes.Equal(a, b) {
		t.Error("two archives of one input differ")
	}
}

func TestNothingToPack(t *testing.T) {
	if _, err := (Spec{Tag: "a:b"}).Archive(); err == nil {
		t.Error("an image without a program was packed")
	}
}

func TestNames(t *testing.T) {
	f := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f(target("dist/resin-supervisor-linux-armv6"), "resin-supervisor")
	f(target("dist/resin-supervisor"), "resin-supervisor")
	f(tagOf("a:b"), "b")
	f(tagOf("host:5000/a"), "latest")
	f(tagOf("host:5000/a:c"), "c")
}
