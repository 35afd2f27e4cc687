// Package registry asks an image registry for the layers of an image and their sizes, before the image is
// downloaded (HTTP API version 2, with Docker schema 2 and OCI manifests).
package registry

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"resin-supervisor/update/target"
)

// Refused is an error by which the registry refuses an image, as opposed to a failure to ask the registry.
type Refused string

// Error returns the reason.
func (r Refused) Error() string { return string(r) }

// Get fetches an http or https URL with the headers Authorization, Accept and, unless it is empty, Range. challenge
// is the header WWW-Authenticate of the answer. Get follows redirects, but never from https to http, and never
// sends auth to another host. It limits the size of an answer, and returns no body if the server ignores the
// range.
type Get func(ctx context.Context, u *url.URL, auth, accept, byteRange string) (status int, body []byte, challenge string, err error)

// Query describes one image and how to ask for it.
type Query struct {
	Image        target.Reference
	Name, Secret string // the device's login; empty for none
	Plain        bool   // use http instead of https
	// Rank returns how well an image for a platform runs on this device, 0 for not at all. Of several
	// platforms the one with the highest rank is used.
	Rank func(architecture, variant string) int
}

// Layer is one layer of an image.
type Layer struct {
	Diff string // digest of the unpacked layer, as the engine knows it
	Size int64  // bytes to download

	session *session
	gzip    string // digest of the download if it is a gzip file, else empty
	plain   bool   // it is not compressed
}

const (
	// timeout limits the queries for one image, or for the size of one layer.
	timeout = time.Minute
	// acceptedTypes are the supported manifest types.
	acceptedTypes = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, " +
		"application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*"
	// maxLayer limits the size of a layer, in bytes, so that sums of sizes cannot overflow.
	maxLayer = 1 << 40
)

// document has the used fields of all JSON documents of a registry.
type document struct {
	Manifests []descriptor // of an image index for several platforms
	Config    descriptor   // of a manifest
	Layers    []descriptor
	RootFS    struct { // of a configuration
		Diffs []string `json:"diff_ids"`
	}
	Token       string // of a token server
	AccessToken string `json:"access_token"` // the same, from other token servers
}

// descriptor refers to a manifest, configuration or layer.
type descriptor struct {
	MediaType, Digest string
	Size              int64
	Platform          struct{ Architecture, OS, Variant string }
}

// Layers returns the layers of an image, lowest first. The error may wrap Refused.
func (get Get) Layers(ctx context.Context, q Query) ([]Layer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	layers, err := newSession(get, &q).layers(ctx)
	if err != nil {
		err = fmt.Errorf("inspect image %s in its registry: %w", q.Image, err)
	}
	return layers, err
}

// session makes the calls of one query.
type session struct {
	get Get
	*Query
	base url.URL // of the repository
	auth string  // Authorization header, once the registry has asked for it
}

// newSession finds the registry of an image, which is Docker Hub when the name has none.
func newSession(get Get, q *Query) *session {
	s := &session{get: get, Query: q, base: url.URL{Scheme: "https", Host: q.Image.Registry}}
	repo := q.Image.Repo
	if s.base.Host == "" || s.base.Host == "docker.io" {
		s.base.Host = "registry-1.docker.io"
		if !strings.Contains(repo, "/") {
			repo = "library/" + repo
		}
	}
	if q.Plain {
		s.base.Scheme = "http"
	}
	s.base.Path = root + repo
	return s
}

// root is the path prefix of repositories.
const root = "/v2/"

func (s *session) layers(ctx context.Context) ([]Layer, error) {
	m, err := s.document(ctx, "/manifests/"+cmp.Or(s.Image.Digest, s.Image.Tag, "latest"))
	if err == nil && len(m.Manifests) > 0 {
		digest := s.choose(m.Manifests)
		if digest == "" {
			return nil, Refused("the registry has it for other processors only")
		}
		m, err = s.document(ctx, "/manifests/"+digest)
	}
	c := m
	if err == nil && m.Config.Digest == "" {
		err = errors.New("the registry has it in an unsupported format")
	}
	if err == nil {
		c, err = s.document(ctx, "/blobs/"+m.Config.Digest)
	}
	if err != nil {
		return nil, err
	}
	return s.pair(m.Layers, c.RootFS.Diffs)
}

// choose returns the digest of the manifest with the highest rank, the first of equal ones, empty for none.
func (s *session) choose(list []descriptor) (digest string) {
	best := 0
	for i := range list {
		e := &list[i]
		if rank := s.Rank(e.Platform.Architecture, e.Platform.Variant); rank > best && e.Platform.OS == "linux" {
			best, digest = rank, e.Digest
		}
	}
	return digest
}

// pair combines the layers of a manifest with the digests of a configuration.
func (s *session) pair(list []descriptor, diffs []string) ([]Layer, error) {
	if len(list) != len(diffs) {
		return nil, errors.New("manifest and configuration have different numbers of layers")
	}
	layers := make([]Layer, len(list))
	for n := range list {
		l, from := &layers[n], &list[n]
		l.Diff, l.Size, l.session = diffs[n], min(max(from.Size, 0), maxLayer), s
		l.plain = strings.HasSuffix(from.MediaType, "tar")
		if strings.HasSuffix(from.MediaType, "gzip") {
			l.gzip = from.Digest
		}
	}
	return layers, nil
}

// document reads a JSON document of the repository.
func (s *session) document(ctx context.Context, path string) (*document, error) {
	body, err := s.read(ctx, path, "")
	return decode(body, err)
}

// decode reads a document unless there was an error before.
func decode(body []byte, err error) (*document, error) {
	d := new(document)
	if err == nil {
		err = json.Unmarshal(body, d)
	}
	return d, err
}

// read gets a file of the repository, and logs in if the registry asks for that.
func (s *session) read(ctx context.Context, path, byteRange string) ([]byte, error) {
	u := s.base
	u.Path += path
	status, body, challenge, err := s.get(ctx, &u, s.auth, acceptedTypes, byteRange)
	if err == nil && status == 401 && s.auth == "" {
		if s.auth, err = s.authorize(ctx, challenge); err == nil {
			status, body, _, err = s.get(ctx, &u, s.auth, acceptedTypes, byteRange)
		}
	}
	return body, statusError(status, err)
}

// statusError returns the error of a call, nil if it succeeded.
func statusError(status int, err error) error {
	switch {
	case err != nil || status == 200 || status == 206:
		return err
	case status == 404:
		return Refused("the registry does not have it")
	case status == 401 || status == 403:
		return Refused("the registry denies access to it")
	}
	return errors.New("the registry answers " + strconv.Itoa(status))
}

// authorize returns the Authorization header for a registry's challenge: the device's login, or a token from the
// token server that the challenge names.
func (s *session) authorize(ctx context.Context, challenge string) (string, error) {
	login := ""
	if s.Secret != "" {
		login = "Basic " + base64.StdEncoding.EncodeToString([]byte(s.Name+":"+s.Secret))
	}
	if !strings.HasPrefix(challenge, "Bearer ") {
		return login, nil
	}
	to, err := url.Parse(parameter(challenge, "realm"))
	if err != nil || to.Host == "" || to.Scheme != s.base.Scheme && to.Scheme != "https" {
		return "", errors.New("the registry names an invalid token server, or one without TLS")
	}
	to.RawQuery = "account=" + s.Name + "&scope=repository:" + s.base.Path[len(root):] + ":pull&service=" +
		url.QueryEscape(parameter(challenge, "service"))
	status, body, _, err := s.get(ctx, to, login, acceptedTypes, "")
	token, err := decode(body, statusError(status, err))
	return "Bearer " + cmp.Or(token.Token, token.AccessToken), err
}

// parameter returns a quoted parameter of a WWW-Authenticate header, empty when it is missing.
func parameter(challenge, name string) string {
	_, value, _ := strings.Cut(challenge, name+`="`)
	value, _, _ = strings.Cut(value, `"`)
	return value
}

// Unpacked returns the size of a layer after unpacking, in bytes. It reads the size from the last four bytes of a
// gzip file. If the layer is compressed differently, or the registry does not support ranges, it estimates 2.25
// times the download: programs and libraries typically shrink to less than half.
func (l Layer) Unpacked(ctx context.Context) int64 {
	estimate := l.Size*2 + l.Size/4
	if l.plain {
		return l.Size
	}
	if l.gzip == "" {
		return estimate
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	end, err := l.session.read(ctx, "/blobs/"+l.gzip, "bytes=-4")
	if err != nil || len(end) != 4 {
		return estimate
	}
	// The field holds the size modulo 4 GiB, of the last gzip member only: a value far below the compressed size
	// is wrong.
	size := int64(binary.LittleEndian.Uint32(end))
	if size < l.Size-l.Size/16 {
		return estimate
	}
	return size
}
