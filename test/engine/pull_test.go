package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"resin-supervisor/test/harness"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/engine/doc"
)

// split parts a reference into repository and tag or digest.
func split(ref string) (repo, tag string) {
	if repo, digest, ok := strings.Cut(ref, "@"); ok {
		return repo, digest
	}
	i := strings.LastIndex(ref, ":")
	return ref[:i], ref[i+1:]
}

// pull pulls the reference and returns the percents it reported.
func pull(ctx context.Context, c *engine.Client, ref string) (percents []int, err error) {
	repo, tag := split(ref)
	err = c.Pull(ctx, repo, tag, nil, func(n int) { percents = append(percents, n) })
	return percents, err
}

func rising(percents []int) bool {
	for i := 1; i < len(percents); i++ {
		if percents[i] <= percents[i-1] {
			return false
		}
	}
	return len(percents) > 1 && percents[0] == 0 && percents[len(percents)-1] == 100
}

func TestPullByTagReportsProgress(t *testing.T) {
	c, e := bed(t)
	image := harness.SharedRegistry(t).Push(t, harness.ServerImage("pull/tag:tag-1").WithBlob(8<<20))
	e.RemoveImage(t, image.Name)
	percents, err := pull(t.Context(), c, image.Name)
	if err != nil || !rising(percents) || len(percents) < 4 {
		t.Fatalf("%v, %v", percents, err)
	}
	got, err := c.Image(t.Context(), image.Name)
	if err != nil || !slices.Contains(got.RepoTags, image.Name) || !slices.Contains(got.Config.Env, "VERSION=tag-1") {
		t.Fatalf("%+v, %v", got, err)
	}
	percents, err = pull(t.Context(), c, image.Name)
	if err != nil || !slices.Equal(percents, []int{0, 100}) {
		t.Fatalf("up to date: %v, %v", percents, err)
	}
}

func TestPullOfAnImageWhoseBaseIsThere(t *testing.T) {
	c, e := bed(t)
	base := harness.SharedRegistry(t).Push(t, harness.ServerImage("pull/base:base-1"))
	image := harness.SharedRegistry(t).Push(t, harness.ServerImage("pull/top:top-1").WithBlob(8<<20))
	e.RemoveImage(t, image.Name)
	harness.Must(t, second(pull(t.Context(), c, base.Name)))
	percents, err := pull(t.Context(), c, image.Name)
	if err != nil || !rising(percents) || len(percents) < 4 {
		t.Fatalf("%v, %v", percents, err)
	}
}

func TestPullByDigestThenTag(t *testing.T) {
	c, _ := bed(t)
	image := harness.SharedRegistry(t).PushDigest(t, harness.ServerImage("pull/digest:digest-1"))
	harness.Must(t, second(pull(t.Context(), c, image.Name)))
	got, err := c.Image(t.Context(), image.Name)
	if err != nil || len(got.RepoTags) != 0 || !slices.Contains(got.RepoDigests, image.Name) {
		t.Fatalf("%+v, %v", got, err)
	}
	repo, _ := split(image.Name)
	for range 2 { // that it has the tag already is no error
		harness.Must(t, c.TagImage(t.Context(), got.Id, repo, ""))
	}
	all, err := c.Images(t.Context())
	at := slices.IndexFunc(all, func(i doc.ImageSummary) bool { return i.Id == got.Id })
	if err != nil || at < 0 || !slices.Equal(all[at].RepoTags, []string{repo + ":latest"}) ||
		!slices.Equal(all[at].RepoDigests, []string{image.Name}) || all[at].Size == 0 {
		t.Fatalf("%+v, %v", all, err)
	}
}

func TestPullSendsTagAndAuth(t *testing.T) {
	_, e := bed(t)
	p := newTap(t, e.Socket)
	c := engine.New(p.socket)
	image := harness.SharedRegistry(t).Push(t, harness.ServerImage("pull/auth:auth-1"))
	repo, tag := split(image.Name)
	harness.Must(t, c.Pull(t.Context(), repo, tag, &doc.AuthConfig{Username: "d_1", Password: "key", ServerAddress: "reg"}, nil))
	harness.Must(t, c.Pull(t.Context(), repo, tag, nil, nil))
	want := "POST /v1.41/images/create?fromImage=" + url.QueryEscape(repo) + "&tag=auth-1 HTTP/1.1"
	if n := p.count(want); n != 2 {
		t.Fatalf("%d of %s in %q", n, want, p.requests())
	}
	auth := 0
	for _, r := range p.requests() {
		auth += strings.Count(r, "X-Registry-Auth: eyJ1c2VybmFtZSI6ImRfMSIs")
	}
	if auth != 1 {
		t.Errorf("%d of 2 pulls carried credentials, want the first alone: %q", auth, p.requests())
	}
}

// guarded is the registry behind a server that demands credentials.
func guarded(t *testing.T, r *harness.Registry, user, password string) *httptest.Server {
	t.Helper()
	next := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: r.Addr})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if u, p, _ := req.BasicAuth(); u != user || p != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, req)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestPullWithCredentials(t *testing.T) {
	c, _ := bed(t)
	r := harness.SharedRegistry(t)
	image := r.Push(t, harness.ServerImage("pull/guarded:guarded-1"))
	gate := guarded(t, r, "d_1", "s3cret?~")
	repo, tag := split(strings.Replace(image.Name, r.Addr, gate.Listener.Addr().String(), 1))
	auth := &doc.AuthConfig{Username: "d_1", Password: "s3cret?~", ServerAddress: gate.Listener.Addr().String()}
	harness.Must(t, c.Pull(t.Context(), repo, tag, auth, nil))
	auth.Password = "wrong"
	wantStatus(t, "wrong password", c.Pull(t.Context(), repo, tag, auth, nil), http.StatusInternalServerError)
	wantStatus(t, "no password", c.Pull(t.Context(), repo, tag, nil, nil), http.StatusInternalServerError)
}

// spoiled is the registry behind a server that changes the last byte of each large blob.
func spoiled(t *testing.T, r *harness.Registry) *httptest.Server {
	t.Helper()
	next := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: r.Addr})
	next.ModifyResponse = func(res *http.Response) error {
		if res.ContentLength > 4<<20 {
			res.Body = struct {
				*spoiler
				closer
			}{&spoiler{res.Body, res.ContentLength}, res.Body}
		}
		return nil
	}
	s := httptest.NewServer(next)
	t.Cleanup(s.Close)
	return s
}

type closer interface{ Close() error }

type spoiler struct {
	from interface{ Read([]byte) (int, error) }
	left int64
}

func (s *spoiler) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	if s.left -= int64(n); s.left == 0 && n > 0 {
		p[n-1]++
	}
	return n, err
}

func TestPullThatFailsAfterItsAnswerBegan(t *testing.T) {
	c, e := bed(t)
	r := harness.SharedRegistry(t)
	image := r.Push(t, harness.ServerImage("pull/spoiled:1").WithBlob(8<<20))
	ref := strings.Replace(image.Name, r.Addr, spoiled(t, r).Listener.Addr().String(), 1)
	percents, err := pull(t.Context(), c, ref)
	wantStatus(t, "spoiled layer", err, http.StatusInternalServerError)
	if !strings.Contains(fmt.Sprint(err), "verification failed") {
		t.Error(err)
	}
	if len(percents) == 0 || slices.Contains(percents, 100) {
		t.Errorf("reported %v", percents)
	}
	if e.ImageID(t, ref) != "" {
		t.Error("the image is there")
	}
}

func TestRefusedPulls(t *testing.T) {
	c, _ := bed(t)
	r := harness.SharedRegistry(t)
	f := func(what, ref string, want int) {
		t.Helper()
		percents, err := pull(t.Context(), c, ref)
		wantStatus(t, what, err, want)
		if len(percents) > 0 {
			t.Errorf("%s: reported %v", what, percents)
		}
	}
	image := r.Push(t, harness.ServerImage("pull/there:1"))
	repo, _ := split(image.Name)
	f("unknown tag", repo+":2", http.StatusNotFound)
	f("unknown repository", r.Addr+"/pull/nowhere:1", http.StatusNotFound)
	f("unknown digest", repo+"@sha256:"+strings.Repeat("0", 64), http.StatusNotFound)
	f("malformed name", r.Addr+"/Pull/Upper:1", http.StatusBadRequest)
	f("nobody there", "127.0.0.1:1/pull/there:1", http.StatusInternalServerError)
}

func TestEndOfContextStopsTheTransfer(t *testing.T) {
	c, e := bed(t)
	r := harness.SharedRegistry(t)
	slow := r.Slow(t, 1<<20)
	image := slow.Of(r.Push(t, harness.ServerImage("pull/slow:1").WithBlob(16<<20)))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- second(pull(ctx, c, image.Name)) }()
	harness.Until(t, 20*time.Second, "the transfer begins", func() error {
		return unless(slow.Bytes() > 2<<20, "%d bytes", slow.Bytes())
	})
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	harness.Until(t, 20*time.Second, "the registry sees the end", func() error {
		return unless(slow.Open() == 0, "%d connections", slow.Open())
	})
	if n := slow.Bytes(); n > 8<<20 { // of 16; each second lets one through
		t.Errorf("%d bytes came before the transfer ended", n)
	}
	if e.ImageID(t, image.Name) != "" {
		t.Error("the image is there")
	}
}

func unless(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}

func TestPullCutByTheEnginesDeath(t *testing.T) {
	c, e := bed(t)
	r := harness.SharedRegistry(t)
	slow := r.Slow(t, 1<<20)
	image := slow.Of(r.Push(t, harness.ServerImage("pull/cut:1").WithBlob(16<<20)))
	ended := make(chan error)
	go func() { ended <- second(pull(t.Context(), c, image.Name)) }()
	harness.Until(t, 20*time.Second, "the transfer begins", func() error {
		return unless(slow.Bytes() > 2<<20, "%d bytes", slow.Bytes())
	})
	e.Kill(t)
	if err := <-ended; !engine.IsUnknown(err) {
		t.Errorf("got %v", err)
	}
}
