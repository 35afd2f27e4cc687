package host_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"resin-supervisor/api"
	"resin-supervisor/hostos"
)

// bench is the device API of this tree over real files, without apps, so that a fuzzer can ask it
// thousands of times a second.
type bench struct {
	api.Apps
	api.Keys
	rest
	*hostos.HostConfig
	dir  string
	url  string
	good string // the last redsocks.conf that redsocks took
}

// rest is what of a device nobody asks for here.
type rest struct{ api.Device }

func (*bench) WithAllLocks(_ context.Context, _ bool, f func() error) error { return f() }
func (*bench) Facts() api.DeviceFacts                                       { return api.DeviceFacts{DevelopmentMode: true} }

// newBench serves until the fuzz test ends.
func newBench(f *testing.F) *bench {
	f.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "fuzz-") // in memory, where a write that is to last costs nothing
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { os.RemoveAll(dir) })
	b := &bench{dir: dir}
	for _, name := range []string{"root/etc", "boot"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			f.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "root/etc/hostname"), []byte("testhost\n"), 0o644); err != nil {
		f.Fatal(err)
	}
	if err := b.reset(false); err != nil {
		f.Fatal(err)
	}
	config, err := hostos.OpenConfig(filepath.Join(dir, "boot/config.json"))
	if err != nil {
		f.Fatal(err)
	}
	b.HostConfig = hostos.NewHostConfig(config, filepath.Join(dir, "root"), filepath.Join(dir, "boot"), nil, zerolog.Nop())
	listener, err := api.Listen("127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	b.url = "http://" + listener.Addr().String() + path
	ctx, cancel := context.WithCancel(context.Background())
	f.Cleanup(cancel)
	go api.New(b, b, b, zerolog.Nop()).Serve(ctx, listener)
	return b
}

// ConversationEnded takes what the API says after a body that took memory.
func (b *bench) ConversationEnded() {}

const present = "redsocks {\n\ttype = socks5;\n\tip = 10.0.0.1;\n\tport = 1080;\n\tlogin = \"x\\\"y\";\n}\ndnsu2t {\n\tremote_ip = 1.1.1.1;\n\tremote_port = 53;\n}\n"

// reset puts the files as they are without a proxy, or with one.
func (b *bench) reset(withProxy bool) error {
	if err := os.RemoveAll(filepath.Join(b.dir, "boot/system-proxy")); err != nil {
		return err
	}
	err := os.WriteFile(filepath.Join(b.dir, "boot/config.json"), []byte(`{"uuid":"0123456789abcdef0123456789abcdef","keep":[1]}`), 0o644)
	if err != nil || !withProxy {
		return err
	}
	if err := os.MkdirAll(filepath.Join(b.dir, "boot/system-proxy"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.dir, "boot/system-proxy/redsocks.conf"), []byte(present), 0o644)
}

func (b *bench) read(name string) string {
	data, _ := os.ReadFile(filepath.Join(b.dir, "boot", name))
	return string(data)
}

func (b *bench) files() string {
	return b.read("config.json") + "\x00" + b.read("system-proxy/redsocks.conf") + "\x00" + b.read("system-proxy/no_proxy")
}

func (b *bench) ask(t *testing.T, method, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, b.url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(answer)
}

// docs/spec/device-api.md A12: whatever the body of the PATCH, nothing has changed, or the real
// redsocks takes the file and GET answers the same values.
func FuzzHostConfig(f *testing.F) {
	for _, seed := range []string{
		`{"network":{"proxy":{"type":"socks5","ip":"10.9.8.7","port":1080,"login":"a \"b\"","password":"\\ #;{}'","dns":true,"noProxy":["10.0.0.0/8"]},"hostname":"h1"}}`,
		`{"network":{"proxy":{"type":"http-connect","ip":"3proxy.example.com","port":"3128"}}}`,
		`{"network":{"proxy":{"type":"socks4","ip":"x_y","port":"0080","login":17}}}`,
		`{"network":{"proxy":{"type":"http-relay","ip":"1.2.3.4","port":8.0e1,"dns":"a.b:53"}}}`,
		`{"network":{"proxy":{"password":"}\n{"}}}`,
		`{"network":{"proxy":{"login":"\"foo\"","password":"bar\""}}}`,
		`{"network":{"proxy":{"password":"/*"}}}`,
		`{"network":{"proxy":{"login":"\ud800"}}}`,
		`{"network":{"proxy":{"noProxy":["-j","10.0.0.1\n"]}}}`,
		`{"network":{"proxy":null,"hostname":""}}`,
		`{"network":{"proxy":{}}}`, `{"network":{}}`, `{}`, `[]`, ``, `{"network":{"proxy":{"ip":"x","ip":"y"}}}`,
		`{"network":{"proxy":{"type":"socks5","ip":"10.9.8.7","port":1080},"x":"` + strings.Repeat("a", 10_000) + `"}}`, // takes memory of the budget
	} {
		f.Add(seed)
	}
	f.Fuzz(newBench(f).try)
}

// The same with a body that is right as far as it goes: the fuzzer does not have to find JSON.
func FuzzProxyFields(f *testing.F) {
	f.Add("socks5", "10.9.8.7", "1080", `a "b"`, `\ #;{}'`, "1.1.1.1:53", "10.0.0.0/8", "h1")
	f.Add("http-connect", "3proxy.example.com", "3128", "u", "/*", "ns.example.com:53", "example.com", "")
	f.Add("http-relay", "a-b_c.d", "65535", "//", "}", ":53", "10.0.0.1/255.0.0.0", "-")
	f.Add("socks4", "1.2.3", "0", "=", "a\nb", "x:0", "-j", "a.b")
	b := newBench(f)
	f.Fuzz(func(t *testing.T, kind, ip, port, login, password, dns, direct, name string) {
		fields := map[string]any{"type": kind, "ip": ip, "port": port, "login": login, "password": password, "dns": dns, "noProxy": []string{direct}}
		whole := map[string]any{"network": map[string]any{"proxy": fields, "hostname": name}}
		bodies := []any{whole}
		for field, value := range fields { // each alone, so that one that is refused does not hide another
			rest := map[string]any{"type": "socks5", "ip": "10.9.8.7", "port": 1080}
			rest[field] = value
			bodies = append(bodies, map[string]any{"network": map[string]any{"proxy": rest}})
		}
		for _, body := range bodies {
			data, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			b.try(t, string(data))
		}
	})
}

// try sends a body to a device without a proxy and to one with one.
func (b *bench) try(t *testing.T, body string) {
	for _, withProxy := range []bool{false, true} {
		if err := b.reset(withProxy); err != nil {
			t.Fatal(err)
		}
		before := b.files()
		status, answer := b.ask(t, http.MethodPatch, body)
		if status != 200 {
			if b.files() != before {
				t.Fatalf("%d %s changed\n%s\nto\n%s", status, answer, before, b.files())
			}
			continue
		}
		conf := b.read("system-proxy/redsocks.conf")
		if conf != "" && conf != present && conf != b.good {
			accepted(t, conf)
			b.good = conf
		}
		b.same(t, body, withProxy)
	}
}

// withoutQuotes is a login or a password as the device is to know it (docs/spec/host.md 8).
func withoutQuotes(text string) string {
	first, last := strings.HasPrefix(text, `"`), strings.HasSuffix(text, `"`)
	switch others := strings.Count(text, `"`); {
	case first && last && len(text) > 1:
		return text[1 : len(text)-1]
	case first && others == 1 && len(text) > 1:
		return text[1:]
	case last && others == 1 && len(text) > 1:
		return text[:len(text)-1]
	}
	return text
}

// same compares what GET answers with what an accepted body asked for.
func (b *bench) same(t *testing.T, body string, hadProxy bool) {
	t.Helper()
	var wanted, got struct{ Network map[string]json.RawMessage }
	status, answer := b.ask(t, http.MethodGet, "")
	if err := json.Unmarshal([]byte(answer), &got); err != nil || status != 200 {
		t.Fatalf("GET %d %s", status, answer)
	}
	var whole map[string]json.RawMessage // by exact names
	if json.Unmarshal([]byte(body), &whole) != nil || json.Unmarshal(whole["network"], &wanted.Network) != nil {
		t.Fatalf("accepted %q", body)
	}
	var proxy, shown map[string]any
	json.Unmarshal(wanted.Network["proxy"], &proxy)
	json.Unmarshal(got.Network["proxy"], &shown)
	for name, want := range proxy {
		text, isText := want.(string)
		if isText && (name == "login" || name == "password") {
			text = withoutQuotes(text)
			want = text
		}
		switch {
		case name == "type" || name == "ip", (name == "login" || name == "password") && isText && text != "":
			if shown[name] != want {
				t.Fatalf("%s is %v, not %v, after %q", name, shown[name], want, body)
			}
		case name == "dns" && isText && shown != nil: // without a proxy it means nothing
			if shown[name] != want {
				t.Fatalf("dns is %v, not %v, after %q", shown[name], want, body)
			}
		case name == "noProxy" && shown != nil && want != nil:
			if list, isList := want.([]any); isList && len(list) > 0 && !reflect.DeepEqual(shown[name], want) {
				t.Fatalf("noProxy is %v, not %v, after %q", shown[name], want, body)
			}
		}
	}
	if name := ""; json.Unmarshal(wanted.Network["hostname"], &name) == nil && name != "" {
		var config struct{ Hostname string }
		if json.Unmarshal([]byte(b.read("config.json")), &config) != nil || config.Hostname != name {
			t.Fatalf("hostname is %q, not %q", config.Hostname, name)
		}
	}
	if !strings.Contains(b.read("config.json"), `"keep":[1]`) {
		t.Fatalf("config.json is %s", b.read("config.json"))
	}
	if len(proxy) == 0 && wanted.Network["proxy"] == nil && hadProxy != (shown != nil) {
		t.Fatalf("the proxy is %v after %q", shown, body)
	}
}
