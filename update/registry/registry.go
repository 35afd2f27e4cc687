// Package registry reads what an image registry says of an image before anything of it is downloaded:
// which layers it has and how large they are (the registry's HTTP API, version 2, with manifests of
// Docker's schema 2 and of OCI).
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

// Refused is an error that is the registry's own word, and no failure to get at it.
type Refused string

// Error says what the registry says.
func (r Refused) Error() string { return string(r) }

// Get asks for what an http or https URL names, with the headers Authorization, Accept and, unless it is
// empty, Range; challenge is the header WWW-Authenticate of the answer. It follows redirects, without
// showing another host who asks and never from https to http, bounds the size of an answer, and of one that
// is all instead of a part takes nothing.
type Get func(ctx context.Context, u *url.URL, auth, accept, part string) (status int, body []byte, challenge string, err error)

// Query asks for one image.
type Query struct {
	Image        target.Reference
	Name, Secret string // the device's login; empty for none
	Plain        bool   // the registry is spoken to without TLS
	// Rank says how well an image for a platform runs here, 0 for not at all. Of an image that comes for
	// several platforms the one with the highest rank is meant.
	Rank func(architecture, variant string) int
}

// Layer is one layer of an image.
type Layer struct {
	_ [0]func() // nobody compares it: no code for that

	Diff string // digest of the unpacked layer, as the engine knows it
	Size int64  // bytes to be downloaded

	session *session
	gzip    string // digest of what is downloaded, empty when it is packed otherwise
	plain   bool   // it is not packed
}

const (
	// patience bounds one look at an image, and at the size of a layer.
	patience = time.Minute
	// kinds are the documents that are understood.
	kinds = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, " +
		"application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*"
	// maxLayer is the largest size, in bytes, that is believed, so that sums of sizes are sums.
	maxLayer = 1 << 40
)

// document is what is of use here of all that comes as JSON.
type document struct {
	Manifests []part // of a list of images for several platforms
	Config    part   // of a manifest
	Layers    []part
	RootFS    struct { // of a configuration
		Diffs []string `json:"diff_ids"`
	}
	Token string // of a token server
	Other string `json:"access_token"`
}

// part is something that a document names.
type part struct {
	_ [0]func() // nobody compares it: no code for that

	MediaType, Digest string
	Size              int64
	Platform          struct{ Architecture, OS, Variant string }
}

// Layers lists the layers of an image, lowest first. The error may be Refused.
func (get Get) Layers(ctx context.Context, q Query) ([]Layer, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	layers, err := open(get, &q).layers(ctx)
	if err != nil {
		err = fmt.Errorf("look at image %s in its registry: %w", q.Image, err)
	}
	return layers, err
}

// session is the calls of one query.
type session struct {
	get Get
	*Query
	base url.URL // of the repository
	auth string  // what the registry wants to see, once it said so
}

// open finds the registry of an image: where it names none, it is Docker's.
func open(get Get, q *Query) *session {
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

// root is the path of a registry below which repositories are.
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
		err = errors.New("the registry has it in a form that is not understood")
	}
	if err == nil {
		c, err = s.document(ctx, "/blobs/"+m.Config.Digest)
	}
	if err != nil {
		return nil, err
	}
	return s.pair(m.Layers, c.RootFS.Diffs)
}

// choose is the manifest of the platform that runs best here, the first of equal ones, empty for none.
func (s *session) choose(list []part) (digest string) {
	best := 0
	for i := range list {
		e := &list[i]
		if rank := s.Rank(e.Platform.Architecture, e.Platform.Variant); rank > best && e.Platform.OS == "linux" {
			best, digest = rank, e.Digest
		}
	}
	return digest
}

// pair puts what manifest and configuration say of the layers together.
func (s *session) pair(list []part, diffs []string) ([]Layer, error) {
	if len(list) != len(diffs) {
		return nil, errors.New("manifest and configuration are of different images")
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

// read gets something of the repository, and shows who asks if that is wanted.
func (s *session) read(ctx context.Context, path, part string) ([]byte, error) {
	u := s.base
	u.Path += path
	status, body, challenge, err := s.get(ctx, &u, s.auth, kinds, part)
	if err == nil && status == 401 && s.auth == "" {
		if s.auth, err = s.authorize(ctx, challenge); err == nil {
			status, body, _, err = s.get(ctx, &u, s.auth, kinds, part)
		}
	}
	return body, refusal(status, err)
}

// refusal is the error of a call, nil when it has what was asked for.
func refusal(status int, err error) error {
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

// authorize answers a registry that asks who is there: with the device's login, or with a token that
// the server it names gives for that.
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
		return "", errors.New("the registry sends for a token to no server with TLS")
	}
	to.RawQuery = "account=" + s.Name + "&scope=repository:" + s.base.Path[len(root):] + ":pull&service=" +
		url.QueryEscape(parameter(challenge, "service"))
	status, body, _, err := s.get(ctx, to, login, kinds, "")
	said, err := decode(body, refusal(status, err))
	return "Bearer " + cmp.Or(said.Token, said.Other), err
}

// parameter is a quoted parameter of a WWW-Authenticate header, empty when it has none.
func parameter(challenge, name string) string {
	_, value, _ := strings.Cut(challenge, name+`="`)
	value, _, _ = strings.Cut(value, `"`)
	return value
}

// Unpacked is the size in bytes of a layer as it is stored. A gzip stream ends with it, so a few bytes
// of the download tell. Where they do not, because the layer is packed otherwise or in pieces, or the
// registry gives no parts of things, it is an estimate: what systems and programs are made of shrinks to
// less than a half.
func (l Layer) Unpacked(ctx context.Context) int64 {
	guess := l.Size*2 + l.Size/4
	if l.plain {
		return l.Size
	}
	if l.gzip == "" {
		return guess
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	end, err := l.session.read(ctx, "/blobs/"+l.gzip, "bytes=-4")
	if err != nil || len(end) != 4 {
		return guess
	}
	// It is modulo 4 GiB, and of the last piece only: one far below the packed size is neither.
	size := int64(binary.LittleEndian.Uint32(end))
	if size < l.Size-l.Size/16 {
		return guess
	}
	return size
}
