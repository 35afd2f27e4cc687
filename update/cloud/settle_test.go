package cloud

import (
	"context"
	"encoding/json"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"resin-supervisor/update/view"
)

// settler is a device at its first contact with a cloud. The test sets the answers of the cloud.
type settler struct {
	*Device
	identity Identity
	initial  map[string]string
	answer   func(method, path, key string) (status int, body string)

	mu     sync.Mutex
	calls  []string
	posted []string
	told   *introduction
	stored []string // targets
	waited bool     // for what came with the image
}

func newSettler(t *testing.T, i Identity, answer func(method, path, key string) (status int, body string)) *settler {
	t.Helper()
	i.Endpoint, i.UUID, i.DeviceAPIKey, i.BootstrapDelay = "http://cloud", "abc", "own", time.Millisecond
	s := &settler{identity: i, answer: answer}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go fasthttp.Serve(l, s.serve)
	client, err := New("http://"+l.Addr().String(), "test", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Device, err = NewDevice(Options{
		Client: func(string) (*Client, error) { return client, nil }, Identity: func() Identity { return s.identity },
		Save: func(change map[string]any) error {
			if change["uuid"] != nil {
				t.Errorf("another identity: %v", change)
			}
			return nil
		},
		FormerKeys: func() []string { return nil },
		Facts:      func() Facts { return Facts{} }, Terms: func() Terms { return Terms{Patience: 10 * time.Second, Instant: true} },
		Initial: func(config map[string]string) map[string]string {
			left := maps.Clone(s.initial)
			maps.DeleteFunc(left, func(name, _ string) bool { _, there := config["RESIN_"+name]; return there })
			return left
		},
		Targets: s, Docs: s, Say: func(string, bool) {}, Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *settler) serve(ctx *fasthttp.RequestCtx) {
	s.mu.Lock()
	defer s.mu.Unlock()
	method, path := string(ctx.Method()), string(ctx.Path())
	s.calls = append(s.calls, method+" "+path)
	status, body := s.answer(method, path, strings.TrimPrefix(string(ctx.Request.Header.Peek("Authorization")), "Bearer "))
	if path == "/v7/device_config_variable" && status == 201 {
		var v struct{ Name string }
		_ = json.Unmarshal(ctx.PostBody(), &v)
		s.posted = append(s.posted, v.Name)
	}
	ctx.SetStatusCode(status)
	ctx.SetBodyString(body)
}

func (s *settler) Load(name string, _ int, v any) (bool, error) {
	if name == introductionName && s.told != nil {
		*v.(*introduction) = *s.told
	}
	return s.told != nil, nil
}

func (s *settler) Save(name string, _ int, v any) error {
	if name == introductionName {
		done := v.(introduction)
		s.told = &done
	}
	return nil
}

func (s *settler) SetCloudTarget(body []byte, _ string, _ bool) (bool, error) {
	s.stored = append(s.stored, string(body))
	return true, nil
}
func (s *settler) CloudETag() string               { return "held" }
func (s *settler) Heard()                          {}
func (s *settler) Retry(bool, bool)                {}
func (s *settler) AwaitPreload(context.Context)    { s.waited = true }
func (s *settler) View() *view.State               { return &view.State{} }
func (s *settler) PinRequest() (int, string, bool) { return 0, "", false }
func (s *settler) PinDone() error                  { return nil }

// targetWith returns a target whose configuration has the names.
func targetWith(names ...string) string {
	config := map[string]string{}
	for _, name := range names {
		config[name] = "1"
	}
	raw, _ := json.Marshal(map[string]any{"abc": map[string]any{"config": config}})
	return string(raw)
}

// docs/spec/cloud.md 2.7, checklist 18, 19: a registered device polls even if the cloud refuses a step, unless the cloud
// does not know its key.
func TestPrepare(t *testing.T) {
	type reply struct {
		status int
		body   string
	}
	f := func(name string, i Identity, own, other reply, settles bool) {
		t.Helper()
		s := newSettler(t, i, func(_, path, key string) (int, string) {
			switch {
			case path == "/device/register":
				return 409, "exists"
			case key == "own":
				return own.status, own.body
			}
			return other.status, other.body
		})
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		settled := make(chan bool, 1)
		go func() { settled <- s.prepare(ctx) }()
		done := false
		for n := 0; n < 3*permanentAfter && !done; { // more answers than prepare waits for
			select {
			case done = <-settled:
			case <-time.After(time.Millisecond):
			}
			s.mu.Lock()
			n = len(s.calls)
			s.mu.Unlock()
		}
		if done != settles || done && !s.waited {
			t.Errorf("%s: prepared: %v, waited for the preload: %v", name, done, s.waited)
		}
		if cancel(); !done {
			<-settled
		}
	}
	known := Identity{RegisteredAt: 9, DeviceID: 7, APIKey: "provisioning"}
	noID := Identity{RegisteredAt: 9}
	fresh := Identity{APIKey: "provisioning", ApplicationID: 1}
	refused, denied, away, page := reply{400, "Malformed url"}, reply{401, ""}, reply{503, ""}, reply{200, "<html>"}
	f("a key that is left over and revoked", known, refused, denied, true)
	f("the same, and the cloud is ill", known, away, denied, true)
	f("somebody else answers", noID, page, denied, true)
	f("an answer without a list", noID, reply{200, "{}"}, denied, true)
	f("register says that it is known", fresh, refused, denied, true)
	f("the cloud does not know the key", known, denied, refused, true)
	f("neither key is known", known, denied, denied, false)
	f("no id, and the key is not known", noID, denied, denied, false)
}

// docs/spec/cloud.md 2.6, 2.7, checklist 22: no target is used before the cloud has the configuration that it would reset.
func TestFirstTarget(t *testing.T) {
	known := Identity{RegisteredAt: 9, DeviceID: 7}
	posting, state := 201, 503
	var s *settler
	start := func(i Identity, names ...string) {
		s = newSettler(t, i, func(method, path, _ string) (int, string) {
			if method == "POST" {
				return posting, "{}"
			}
			return state, targetWith(s.posted...)
		})
		s.initial = map[string]string{}
		for _, name := range names {
			s.initial[name] = "1"
		}
	}
	f := func(what string, accepted bool) {
		t.Helper()
		before := len(s.stored)
		err := s.pollOnce(context.Background(), false, false, false)
		if got := len(s.stored) > before; got != accepted || (err == nil) != accepted {
			t.Errorf("%s: target accepted: %v (%v)", what, got, err)
		}
	}
	start(known, "HOST_CONFIG_gpu_mem")
	for range permanentAfter + 1 {
		f("the cloud is ill", false)
	}
	state = 403
	f("the target is refused", false)
	state, posting = 200, 500
	f("the configuration is not taken", false)
	posting = 201
	f("it is taken", true)
	if s.stored[0] != targetWith("RESIN_HOST_CONFIG_gpu_mem") {
		t.Errorf("the target that was used: %s", s.stored[0])
	}
	f("the next", true)
	if !slices.Equal(s.posted, []string{"RESIN_HOST_CONFIG_gpu_mem"}) {
		t.Errorf("posted %v", s.posted)
	}

	start(known, "HOST_CONFIG_gpu_mem")
	posting = 400
	f("a variable is refused for good", true)

	start(Identity{RegisteredAt: 9}, "HOST_CONFIG_gpu_mem")
	f("the cloud cannot be told without an id", false)
	start(Identity{RegisteredAt: 9})
	f("nothing is to be told", true)
	if s.told != nil {
		t.Error("the introduction counts as sent")
	}
}
