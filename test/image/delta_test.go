package image_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// shipment is a device of a cloud with deltas, on an engine that says it is balenaEngine, and the
// registries its images come from.
type shipment struct {
	*harness.Supervisor
	t       *testing.T
	cloud   *fakecloud.Cloud
	open    *harness.Registry // where images are pushed
	guarded *harness.Registry // where they are pulled, with a token
	release int
}

// delta is the configuration that turns deltas on.
var delta = map[string]string{"RESIN_SUPERVISOR_DELTA": "1", "RESIN_SUPERVISOR_DELTA_VERSION": "3",
	"RESIN_SUPERVISOR_DELTA_RETRY_INTERVAL": "300"}

func newShipment(t *testing.T) *shipment {
	t.Helper()
	issuer := fakecloud.NewIssuer(t)
	d := &shipment{t: t, open: harness.SharedRegistry(t), cloud: &fakecloud.Cloud{
		Token: func(r fakecloud.Request) (int, string) { return http.StatusOK, issuer.Token(r) },
	}}
	origin := d.cloud.Start(t)
	d.guarded = d.open.Guarded(t, origin+fakecloud.TokenPath, issuer.Name, issuer.Certificates)
	d.Supervisor = harness.NewSupervisor(t, harness.Setup{WithProxy: true, Cloud: d.cloud,
		Config: map[string]any{"deltaEndpoint": origin + "/"}})
	d.Proxy.Rewrite("GET /version", asBalenaEngine)
	return d
}

// asBalenaEngine adds the component by which a balenaEngine is known.
func asBalenaEngine(body []byte) []byte {
	doc := map[string]any{}
	if json.Unmarshal(body, &doc) != nil {
		return body
	}
	components, _ := doc["Components"].([]any)
	doc["Components"] = append(components, map[string]any{"Name": "balenaEngine", "Version": "20.10.43"})
	changed, _ := json.Marshal(doc)
	return changed
}

// image pushes an image and names it as the device pulls it.
func (d *shipment) image(tag string, broken bool) harness.Image {
	d.t.Helper()
	i := harness.ServerImage("delta/web:" + tag)
	if broken {
		i = i.WithBlob(2000)
		i.Broken = true
	}
	return d.guarded.Of(d.open.PushDigest(d.t, i))
}

// ship makes the device go on to another image.
func (d *shipment) ship(i harness.Image) {
	d.t.Helper()
	d.release++
	target := shop(d.release, i.Service("web", 1))
	target.Config = delta
	if d.release == 1 {
		begin(d.t, d.Supervisor, target)
		return
	}
	retarget(d.t, d.Supervisor, target)
}

// marks splits the pulls since a mark into those with a token of the agent's and the others.
func (d *shipment) pulls(since int) (byToken, plain int) {
	for _, p := range d.Proxy.Pulls()[since:] {
		if p.Auth.RegistryToken != "" {
			byToken++
		} else {
			plain++
		}
	}
	return byToken, plain
}

func (d *shipment) expect(since, byToken, plain int, serves string) {
	d.t.Helper()
	if a, b := d.pulls(since); a != byToken || b != plain {
		d.t.Errorf("%d pulls of deltas and %d of whole images, want %d and %d", a, b, byToken, plain)
	}
	if got := harness.VersionOf(d.t, d.Supervisor.Containers()["web"]); got != serves {
		d.t.Errorf("web serves %q, want %q", got, serves)
	}
}

// engine.md 85; D20. The way of a delta with a real registry that wants tokens; the delta itself is an
// ordinary image, since only balenaEngine can apply one.
func TestDeltas(t *testing.T) {
	d := newShipment(t)
	v1 := d.image("v1", false)
	d.ship(v1)
	d.WaitSettled(harness.Soon)
	// engine.md 2: a whole image is pulled with the device's name and key, which the engine shows to
	// the realm of the registry.
	d.expect(0, 0, 1, "v1")
	first := d.Proxy.Pulls()[0]
	if first.Auth.Username != "d_"+d.UUID || first.Auth.Password != harness.DeviceKey || first.Auth.ServerAddress != d.guarded.Addr {
		t.Errorf("credentials of the first pull: %+v", first.Auth)
	}
	if len(d.cloud.Asked(fakecloud.DeltaPath)) != 0 {
		t.Error("a delta was asked for without an image to start from")
	}
	delta := d.image("v2-from-delta", false)
	byTag := d.guarded.Addr + "/delta/web:v2-from-delta"
	last := v1
	t.Run("a delta is pulled with the token", func(t *testing.T) {
		tokens := len(d.cloud.Asked(fakecloud.TokenPath))
		d.cloud.Set(func(c *fakecloud.Cloud) {
			c.Delta = func(fakecloud.Request) (int, string) { return http.StatusOK, byTag }
		})
		v2 := d.image("v2", false)
		since := len(d.Proxy.Pulls())
		d.ship(v2)
		d.WaitSettled(harness.Soon)
		d.expect(since, 1, 0, "v2-from-delta")
		asked := d.cloud.Asked(fakecloud.DeltaPath)
		if len(asked) != 1 || asked[0].Query.Get("src") != v1.Name || asked[0].Query.Get("dest") != v2.Name ||
			!strings.HasPrefix(asked[0].Bearer, "Bearer ey") || !strings.HasPrefix(asked[0].Agent, "Supervisor/") {
			t.Errorf("delta requests: %+v", asked)
		}
		token := d.cloud.Asked(fakecloud.TokenPath)[tokens]
		if token.User != "d_"+d.UUID || token.Password != harness.DeviceKey || token.Query.Get("service") != d.guarded.Addr ||
			!slices.Equal(token.Query["scope"], []string{"repository:delta/web:pull", "repository:delta/web:pull"}) {
			t.Errorf("token request: %+v", token)
		}
		// The image made from a delta is known by the tag, and asked for no more.
		repo, _, _ := strings.Cut(v2.Name, "@")
		if d.Engine.ImageID(t, repo+":latest") != d.Engine.ImageID(t, byTag) || !recorded(d.Supervisor, v2) {
			t.Error("the image of the delta is not tagged or not recorded as the one that was wanted")
		}
		last = v2
	})
	for _, row := range []struct {
		name           string
		statuses       []int // of the delta server, in turn; the last one stays
		broken         bool  // whether the delta cannot be applied
		spoilt         bool  // whether the first pull is told to have failed
		byToken, plain int
		delta          bool // whether the delta is what runs in the end
		fails          bool // whether update_failed shows meanwhile
	}{
		{name: "no delta: whole image", statuses: []int{404}, plain: 1},
		{name: "refused: asked again", statuses: []int{401, 401, 200}, byToken: 1, delta: true, fails: true},
		{name: "broken server: asked again", statuses: []int{500, 200}, byToken: 1, delta: true, fails: true},
		{name: "still being made: asked again without a failure", statuses: []int{504, 502, 200}, byToken: 1, delta: true},
		{name: "applied at the second attempt", statuses: []int{200}, spoilt: true, byToken: 2, delta: true},
		{name: "never applied: whole image", statuses: []int{200}, broken: true, byToken: 3, plain: 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			tag := fmt.Sprintf("r%d", d.release)
			name := d.guarded.Addr + "/delta/web:" + tag + "-delta"
			d.image(tag+"-delta", row.broken)
			next := d.image(tag, false)
			var turn atomic.Int32
			before := len(d.cloud.Asked(fakecloud.DeltaPath))
			d.cloud.Set(func(c *fakecloud.Cloud) {
				c.Delta = func(fakecloud.Request) (int, string) {
					n := min(int(turn.Add(1)), len(row.statuses)) - 1
					return row.statuses[n], name
				}
			})
			if row.spoilt {
				var once atomic.Bool
				d.Proxy.Rewrite(pull, func(body []byte) []byte {
					if once.Swap(true) {
						return body
					}
					return []byte(`{"errorDetail":{"message":"spoilt"},"error":"spoilt"}`)
				})
			}
			since := len(d.Proxy.Pulls())
			d.ship(next)
			failed := false
			harness.Until(t, harness.Soon, "the release", func() error {
				failed = failed || d.Device().UpdateFailed
				return d.Settled()
			})
			want := tag
			if row.delta {
				want += "-delta"
			}
			d.expect(since, row.byToken, row.plain, want)
			asked := d.cloud.Asked(fakecloud.DeltaPath)[before:]
			if len(asked) != len(row.statuses) || asked[0].Query.Get("src") != last.Name {
				t.Errorf("delta requests: %+v, want %d from %s", asked, len(row.statuses), last.Name)
			}
			if failed != row.fails {
				t.Errorf("update_failed was shown: %v, want %v", failed, row.fails)
			}
			last = next
		})
	}
	// engine.md 81: what the deltas came from is gone, with the names of the deltas themselves.
	awaitGone(t, d.Engine, v1.Name, delta.Name, byTag)
}

// cloud.md 6.2: the retry interval is the time between two requests for a delta that is still being made. The
// other variables of retries and of applying are of the second version of deltas and change nothing here.
func TestDeltaRetryInterval(t *testing.T) {
	d := newShipment(t)
	d.ship(d.image("wait1", false))
	d.WaitSettled(harness.Soon)
	d.cloud.Set(func(c *fakecloud.Cloud) {
		c.Delta = func(fakecloud.Request) (int, string) { return http.StatusGatewayTimeout, "" }
	})
	next := d.image("wait2", false)
	aim := func(interval, count string) {
		target := shop(2, next.Service("web", 1))
		target.Config = maps.Clone(delta)
		target.Config["RESIN_SUPERVISOR_DELTA_RETRY_INTERVAL"], target.Config["RESIN_SUPERVISOR_DELTA_RETRY_COUNT"] = interval, count
		target.Config["RESIN_SUPERVISOR_DELTA_APPLY_TIMEOUT"] = "1"
		retarget(t, d.Supervisor, target)
	}
	asked := func(atLeast int) {
		t.Helper()
		harness.Until(t, harness.Soon, "requests for the delta", func() error {
			if n := len(d.cloud.Asked(fakecloud.DeltaPath)); n < atLeast {
				return fmt.Errorf("%d, want %d", n, atLeast)
			}
			return nil
		})
	}
	aim("3600000", "1")
	asked(1)
	var line map[string]any
	harness.Until(t, harness.Soon, "the word of it", func() error {
		lines := d.LogLines("the delta is still being made")
		if len(lines) == 0 {
			return errors.New("none")
		}
		line = lines[0]
		return nil
	})
	at, errA := time.Parse(time.RFC3339, fmt.Sprint(line["time"]))
	again, errB := time.Parse(time.RFC3339, fmt.Sprint(line["retry"]))
	if wait := again.Sub(at); errA != nil || errB != nil || wait < time.Hour-2*time.Second || wait > time.Hour+2*time.Second {
		t.Errorf("asked again after %v: %v", wait, line)
	}
	if n := len(d.cloud.Asked(fakecloud.DeltaPath)); n != 1 {
		t.Errorf("%d requests", n)
	}
	aim("0", "1")
	asked(5)
	if d.Device().UpdateFailed || len(d.Proxy.Pulls()) != 1 {
		t.Errorf("it was given up: %+v", d.Proxy.Pulls())
	}
	d.cloud.Set(func(c *fakecloud.Cloud) {
		c.Delta = func(fakecloud.Request) (int, string) { return http.StatusNotFound, "" }
	})
	d.WaitSettled(harness.Soon)
}

// engine.md 85: an engine that cannot apply deltas is asked for none.
func TestNoDeltaOnAnotherEngine(t *testing.T) {
	d := newShipment(t)
	d.Proxy.Rewrite("GET /version", func(body []byte) []byte { return body })
	d.ship(d.image("other1", false))
	d.WaitSettled(harness.Soon)
	d.ship(d.image("other2", false))
	d.WaitSettled(harness.Soon)
	d.expect(0, 0, 2, "other2")
	if asked := d.cloud.Asked(fakecloud.DeltaPath); len(asked) != 0 {
		t.Errorf("deltas were asked for: %+v", asked)
	}
}

// docs/spec/cloud.md 0.2: which servers are trusted.
func TestTrustInTheDeltaServer(t *testing.T) {
	registry := harness.SharedRegistry(t)
	for _, row := range []struct {
		name    string
		env     func(file, text string) map[string]string
		trusted bool
	}{
		{"not known", func(string, string) map[string]string { return nil }, false},
		{"in a file", func(file, _ string) map[string]string { return map[string]string{"NODE_EXTRA_CA_CERTS": file} }, true},
		{"as text", func(_, text string) map[string]string { return map[string]string{"BALENA_ROOT_CA": text} }, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			home, deltas := &fakecloud.Cloud{}, &fakecloud.Cloud{}
			home.Start(t)
			origin, certificate := deltas.StartTLS(t)
			file := filepath.Join(t.TempDir(), "ca.pem")
			if err := os.WriteFile(file, certificate, 0o644); err != nil {
				t.Fatal(err)
			}
			s := harness.NewSupervisor(t, harness.Setup{WithProxy: true, Cloud: home,
				Config: map[string]any{"deltaEndpoint": origin}, Env: row.env(file, string(bytes.TrimSpace(certificate)))})
			s.Proxy.Rewrite("GET /version", asBalenaEngine)
			fresh := func(tag string) harness.Image { // no engine has it
				return registry.PushDigest(t, harness.ServerImage("trust/web:"+tag).WithBlob(1000))
			}
			first := shop(1, fresh("v1").Service("web", 1))
			second := shop(2, fresh("v2").Service("web", 1))
			first.Config, second.Config = maps.Clone(delta), maps.Clone(delta)
			begin(t, s, first)
			s.WaitSettled(harness.Soon)
			retarget(t, s, second)
			if row.trusted {
				s.WaitSettled(harness.Soon)
				if len(deltas.Asked(fakecloud.DeltaPath)) != 1 || harness.VersionOf(t, s.Containers()["web"]) != "v2" {
					t.Errorf("delta requests: %+v", deltas.Asked(fakecloud.DeltaPath))
				}
				return
			}
			harness.Until(t, harness.Soon, "the failure", s.UpdateFailed)
			if len(deltas.Asked(fakecloud.DeltaPath)) != 0 {
				t.Error("a server that is not trusted was given a token")
			}
			harness.Until(t, harness.Soon, "the reason", func() error {
				if !strings.Contains(s.Log(), "x509: certificate signed by unknown authority") {
					return errors.New("the log does not say it")
				}
				return nil
			})
		})
	}
}
