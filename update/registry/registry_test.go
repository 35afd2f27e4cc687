package registry

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"resin-supervisor/update/target"
)

// server is a registry with documents by URL.
type server struct {
	docs  map[string]string
	login string            // who may read, empty for anybody
	asked map[string]string // Authorization of every call, by URL
	hint  string            // WWW-Authenticate
}

func (s *server) get(_ context.Context, u *url.URL, auth, _, byteRange string) (int, []byte, string, error) {
	s.asked[u.String()] = auth
	if strings.HasPrefix(u.String(), "https://tokens.example/") {
		return 200, []byte(`{"access_token":"t` + u.Query().Get("scope") + `","expires_in":300}`), "", nil
	}
	if auth != s.login {
		return 401, nil, s.hint, nil
	}
	doc, known := s.docs[u.String()]
	switch {
	case !known:
		return 404, nil, "", nil
	case byteRange != "":
		return 206, []byte(doc[len(doc)-4:]), "", nil
	}
	return 200, []byte(doc), "", nil
}

const (
	base    = "https://registry.example/v2/shop/web"
	digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// newServer has an image of two layers: one is a gzip file that is much smaller than its content, one is not
// compressed.
func newServer() *server {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	w.Write(make([]byte, 5_000_000))
	w.Close()
	return &server{asked: map[string]string{}, docs: map[string]string{
		base + "/manifests/v1": fmt.Sprintf(`{"schemaVersion":2,"config":{"digest":"sha256:c"},"layers":[
			{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","digest":"%s","size":%d},
			{"mediaType":"application/vnd.oci.image.layer.v1.tar+zstd","digest":"%s","size":1000}]}`, digestA, packed.Len(), digestB),
		base + "/blobs/sha256:c":   `{"architecture":"arm","rootfs":{"type":"layers","diff_ids":["sha256:d1","sha256:d2"]}}`,
		base + "/blobs/" + digestA: packed.String(),
		base + "/blobs/" + digestB: "zstd, whose end says nothing",
	}}
}

func query(t *testing.T, image string) Query {
	t.Helper()
	ref, err := target.ParseReference(image)
	if err != nil {
		t.Fatal(err)
	}
	return Query{Image: ref, Rank: func(arch, variant string) int { return strings.Index("-386-amd64-", arch) }}
}

func TestLayersAndTheirSizes(t *testing.T) {
	s := newServer()
	layers, err := Get(s.get).Layers(t.Context(), query(t, "registry.example/shop/web:v1"))
	if err != nil {
		t.Fatal(err)
	}
	if len(layers) != 2 || layers[0].Diff != "sha256:d1" || layers[1].Diff != "sha256:d2" || layers[1].Size != 1000 {
		t.Fatalf("layers: %+v", layers)
	}
	if n := layers[0].Unpacked(t.Context()); n != 5_000_000 {
		t.Errorf("the layer takes %d bytes, want the size at the end of the file", n)
	}
	if n := layers[1].Unpacked(t.Context()); n != 2250 {
		t.Errorf("the other one takes %d bytes, want the estimate", n)
	}
	// A registry without ranges, and a gzip file whose last member is small.
	for _, end := range []string{"", "\x10\x00\x00\x00"} {
		s.docs[base+"/blobs/"+digestA] = end
		if end == "" {
			delete(s.docs, base+"/blobs/"+digestA)
		}
		if n, size := layers[0].Unpacked(t.Context()), layers[0].Size; n != size*2+size/4 {
			t.Errorf("with the end %q the layer takes %d bytes, want the estimate for %d", end, n, size)
		}
	}
}

// The size of an uncompressed layer is exact. An image in an unsupported format is not reported as missing.
func TestFormsOfImages(t *testing.T) {
	s := newServer()
	s.docs[base+"/manifests/v1"] = strings.Replace(s.docs[base+"/manifests/v1"], "tar+zstd", "tar", 1)
	layers, err := Get(s.get).Layers(t.Context(), query(t, "registry.example/shop/web:v1"))
	if err != nil || layers[1].Unpacked(t.Context()) != 1000 {
		t.Errorf("%+v %v", layers, err)
	}
	s.docs[base+"/manifests/v1"] = `{"schemaVersion":1,"architecture":"amd64","fsLayers":[{"blobSum":"sha256:a"}]}`
	_, err = Get(s.get).Layers(t.Context(), query(t, "registry.example/shop/web:v1"))
	if refused := Refused(""); err == nil || errors.As(err, &refused) {
		t.Errorf("schema 1: %v", err)
	}
}

func TestListOfPlatforms(t *testing.T) {
	s := newServer()
	s.docs[base+"/manifests/"+digestA] = s.docs[base+"/manifests/v1"]
	entry := func(os, arch, digest string) string {
		return fmt.Sprintf(`{"digest":%q,"platform":{"os":%q,"architecture":%q}}`, digest, os, arch)
	}
	list := func(entries ...string) {
		s.docs[base+"/manifests/v1"] = `{"schemaVersion":2,"manifests":[` + strings.Join(entries, ",") + `]}`
	}
	list(entry("linux", "386", "sha256:none"), entry("windows", "amd64", "sha256:none"), entry("linux", "amd64", digestA))
	if layers, err := Get(s.get).Layers(t.Context(), query(t, "registry.example/shop/web:v1")); err != nil || len(layers) != 2 {
		t.Errorf("%v, %v", layers, err)
	}
	list(entry("linux", "s390x", digestA), entry("unknown", "unknown", digestA))
	_, err := Get(s.get).Layers(t.Context(), query(t, "registry.example/shop/web:v1"))
	if refused := Refused(""); !errors.As(err, &refused) || !strings.Contains(err.Error(), "other processors") {
		t.Errorf("%v", err)
	}
}

// Credentials are sent only where the registry asks for them, and in the form that it asks for.
func TestLogin(t *testing.T) {
	const basic, token = "Basic ZF8xOnNlY3JldA==", "Bearer trepository:shop/web:pull"
	f := func(hint, login, want string) {
		t.Helper()
		s := newServer()
		s.hint, s.login = hint, login
		q := query(t, "registry.example/shop/web:v1")
		q.Name, q.Secret = "d_1", "secret"
		_, err := Get(s.get).Layers(t.Context(), q)
		if text := fmt.Sprint(err); !strings.Contains(text, want) {
			t.Errorf("%s: %v, want %s", hint, err, want)
		}
		for u, auth := range s.asked {
			if strings.HasPrefix(auth, "Basic") && !strings.HasPrefix(u, "https://") {
				t.Errorf("the secret went to %s", u)
			}
		}
	}
	f(`Basic realm="registry"`, basic, "<nil>")
	f(`Basic realm="registry"`, "Basic other", "denies access")
	f(`Bearer realm="https://tokens.example/t",service="reg \"x\"",scope="repository:shop/web:pull"`, token, "<nil>")
	f(`Bearer realm="https://tokens.example/t",service="registry.example"`, "Bearer other", "denies access")
	f(`Bearer realm="http://tokens.example/t",service="registry.example"`, token, "without TLS")
	f(`Bearer realm="%"`, token, "without TLS")
	f(``, token, "denies access")
}

// Names of Docker Hub are short.
func TestWhereImagesAre(t *testing.T) {
	f := func(image, want string) {
		t.Helper()
		q := query(t, image)
		s := newSession(nil, &q)
		if got := s.base.String(); got != want {
			t.Errorf("%s is at %s, want %s", image, got, want)
		}
	}
	f("busybox:1", "https://registry-1.docker.io/v2/library/busybox")
	f("docker.io/a/b", "https://registry-1.docker.io/v2/a/b")
	f("registry.example:5000/a", "https://registry.example:5000/v2/a")
}

// Any answer of a registry yields the number of layers that it describes, with sizes that can be added.
func FuzzDocuments(f *testing.F) {
	s := newServer()
	f.Add(s.docs[base+"/manifests/v1"], s.docs[base+"/blobs/sha256:c"])
	f.Add(`{"manifests":[{"digest":"v1","platform":{"os":"linux","architecture":"amd64"}}]}`, `{}`)
	f.Add(`{"config":{"digest":"c"},"layers":[{},{}]}`, `{"rootfs":{"diff_ids":[""]}}`)
	f.Add(`{"config":{"digest":"c"},"layers":[{"size":-9223372036854775808},{"size":9223372036854775807}]}`, `{"rootfs":{"diff_ids":["",""]}}`)
	f.Fuzz(func(t *testing.T, manifest, config string) {
		get := func(_ context.Context, u *url.URL, _, _, byteRange string) (int, []byte, string, error) {
			if byteRange != "" {
				return 206, []byte(config), "", nil
			}
			if strings.Contains(u.Path, "/blobs/") {
				return 200, []byte(config), "", nil
			}
			return 200, []byte(manifest), "", nil
		}
		layers, err := Get(get).Layers(t.Context(), query(t, "registry.example/shop/web:v1"))
		var c struct {
			RootFS struct {
				Diffs []string `json:"diff_ids"`
			}
		}
		if err == nil && (json.Unmarshal([]byte(config), &c) != nil || len(layers) != len(c.RootFS.Diffs)) {
			t.Fatalf("%d layers of %q", len(layers), config)
		}
		for _, l := range layers {
			if n := l.Unpacked(t.Context()); l.Size < 0 || n < 0 || n > 1<<42 {
				t.Fatalf("a layer of %d bytes takes %d", l.Size, n)
			}
		}
	})
}

// For any challenge, the secret is sent only to the server that the challenge names, and never without TLS.
func FuzzChallenge(f *testing.F) {
	f.Add(`Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull"`)
	f.Add(`Basic realm="x"`)
	f.Add(`Bearer realm="//host/x?y=z#`)
	f.Add(`Bearer realm="https:opaque"`)
	f.Fuzz(func(t *testing.T, challenge string) {
		tokens := 0
		get := func(_ context.Context, u *url.URL, auth, _, _ string) (int, []byte, string, error) {
			switch {
			case auth == "":
				return 401, nil, challenge, nil
			case u.Host == "registry.example" && u.Path == "/v2/shop/web/manifests/v1":
				return 404, nil, "", nil
			}
			if tokens++; u.Scheme != "https" || u.Host == "" || tokens > 1 {
				t.Fatalf("%q sends the secret to %q", challenge, u)
			}
			return 200, []byte(`{"token":"x"}`), "", nil
		}
		q := query(t, "registry.example/shop/web:v1")
		q.Name, q.Secret = "d_1", "secret"
		if _, err := Get(get).Layers(t.Context(), q); err == nil {
			t.Fatal("Layers succeeded without an image")
		}
	})
}
