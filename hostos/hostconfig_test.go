package hostos

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"

	"resin-supervisor/hostos/redsocks"
)

// hostBed is a host whose files are in a temporary directory.
type hostBed struct {
	*HostConfig
	t        *testing.T
	boot     string
	restarts int
}

func newHostBed(t *testing.T) *hostBed {
	t.Helper()
	dir := t.TempDir()
	b := &hostBed{t: t, boot: filepath.Join(dir, "boot")}
	for _, name := range []string{b.boot, filepath.Join(dir, "root/etc")} {
		if err := os.MkdirAll(name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "root/etc/hostname"), []byte(" old-name\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	config := openConfig(t, configFile(t, preprovisioned))
	b.HostConfig = NewHostConfig(config, filepath.Join(dir, "root"), b.boot, func() error { b.restarts++; return nil }, zerolog.Nop())
	return b
}

func (b *hostBed) file(name string) string {
	b.t.Helper()
	data, err := os.ReadFile(filepath.Join(b.boot, "system-proxy", name))
	if err != nil && !os.IsNotExist(err) {
		b.t.Fatal(err)
	}
	return string(data)
}

func (b *hostBed) set(c redsocks.Change) {
	b.t.Helper()
	if err := b.SetHost(nil, c); err != nil {
		b.t.Fatal(err)
	}
}

func to[T any](v T) *T { return &v }

var firstProxy = redsocks.Change{Type: to("socks5"), IP: to("10.9.8.7"), Port: to(1080)}

// docs/spec/device-api.md 4: 123, 124.
func TestHostname(t *testing.T) {
	b := newHostBed(t)
	if name, err := b.Hostname(); err != nil || name != "old-name" {
		t.Fatalf("host name %q (%v)", name, err)
	}
	for name, want := range map[string]string{"h1": "h1", "": "0123456", "a-1.b": "a-1.b"} {
		if err := b.SetHost(&name, redsocks.Change{}); err != nil {
			t.Fatal(err)
		}
		if got := b.config.Get().Hostname; got != want {
			t.Errorf("%q became %q", name, got)
		}
	}
	before := content(t, b.config.path)
	for _, name := range []string{"-a", "a-", "a..b", ".", "a b", "a_b", "ä", "a\n", strings.Repeat("a", 64), strings.Repeat("a", 40) + "." + strings.Repeat("b", 40)} {
		refused := redsocks.Refused("")
		if err := b.SetHost(&name, firstProxy); !errors.As(err, &refused) {
			t.Errorf("%q: %v", name, err)
		}
		if err := b.CheckHost(&name, redsocks.Change{}); !errors.As(err, &refused) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if content(t, b.config.path) != before || b.file("redsocks.conf") != "" || b.restarts != 0 {
		t.Error("a refused name changed something")
	}
}

// docs/spec/device-api.md 4: 125 to 130 and A13.
func TestProxyFiles(t *testing.T) {
	b := newHostBed(t)
	want := func(what string, p *redsocks.Proxy, direct string) {
		t.Helper()
		got, list, err := b.Proxy()
		if err != nil || !reflect.DeepEqual(got, p) || b.file("no_proxy") != direct || got != nil && !reflect.DeepEqual(list, redsocks.ParseNoProxy(direct)) {
			t.Errorf("%s: %+v %q %v, no_proxy %q", what, got, list, err, b.file("no_proxy"))
		}
	}
	want("at first", nil, "")
	if err := b.SetHost(nil, redsocks.Change{IP: to("x")}); err != redsocks.ErrIncomplete || b.restarts != 0 {
		t.Fatal(err)
	}
	b.set(firstProxy)
	p := redsocks.Proxy{Type: "socks5", IP: "10.9.8.7", Port: 1080}
	want("the first", &p, "")
	b.set(redsocks.Change{IP: to("x"), Login: to("u"), NoProxy: &[]string{"10.0.0.1", "10.1.0.0/16"}})
	p.IP, p.Login = "x", "u"
	want("a part", &p, "10.0.0.1\n10.1.0.0/16\n")
	conf := filepath.Join(b.boot, "system-proxy/redsocks.conf")
	before, err := os.Stat(conf)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time nothing differs
		b.set(redsocks.Change{NoProxy: &[]string{"10.0.0.2"}})
		want("only exceptions", &p, "10.0.0.2\n")
	}
	b.set(redsocks.Change{NoProxy: &[]string{}})
	want("no exceptions", &p, "")
	b.set(redsocks.Change{Login: to("u")}) // as it is
	if after, err := os.Stat(conf); err != nil || !os.SameFile(before, after) {
		t.Errorf("redsocks.conf was written again (%v)", err)
	}
	b.set(redsocks.Change{DNS: to(redsocks.DefaultDNS), NoProxy: &[]string{"10.0.0.3"}})
	b.set(redsocks.Change{Clear: true})
	want("cleared", nil, "")
	b.set(redsocks.Change{Clear: true, NoProxy: &[]string{"10.0.0.3"}})
	want("cleared again", nil, "")
	b.set(redsocks.Change{DNS: to(redsocks.DefaultDNS)}) // without a proxy
	want("DNS alone", nil, "")
	if b.restarts != 10 {
		t.Errorf("the services were restarted %d times", b.restarts)
	}
	left, err := os.ReadDir(filepath.Join(b.boot, "system-proxy"))
	if err != nil || len(left) != 0 {
		t.Errorf("left %v (%v)", left, err)
	}
}

// docs/spec/host.md 8: a file that redsocks would refuse is still shown, and any change repairs it.
func TestProxyFileIsMended(t *testing.T) {
	const odd = "redsocks {\n\ttype = socks5;\n\tip = 10.9.8.7;\n\tport = 1080;\n\tfoo = bar\n}\n"
	for name, c := range map[string]redsocks.Change{"a field": {Port: to(1080)}, "exceptions": {NoProxy: &[]string{"10.0.0.1"}}} {
		b := newHostBed(t)
		b.set(firstProxy)
		sound := b.file("redsocks.conf")
		if err := os.WriteFile(filepath.Join(b.boot, "system-proxy/redsocks.conf"), []byte(odd), 0o644); err != nil {
			t.Fatal(err)
		}
		if p, _, err := b.Proxy(); err != nil || p == nil || *p != (redsocks.Proxy{Type: "socks5", IP: "10.9.8.7", Port: 1080}) {
			t.Errorf("%s: the proxy is %+v, %v", name, p, err)
		}
		if err := b.SetHost(nil, redsocks.Change{Port: to(0)}); err == nil || b.file("redsocks.conf") != odd {
			t.Errorf("%s: %v changed %s", name, err, b.file("redsocks.conf"))
		}
		b.set(c)
		if b.file("redsocks.conf") != sound {
			t.Errorf("%s changes it to %s", name, b.file("redsocks.conf"))
		}
	}
}

// An incomplete file is shown as a proxy without settings, and a change does not build on it.
func TestProxyFileThatIsNone(t *testing.T) {
	b := newHostBed(t)
	b.set(firstProxy)
	conf := filepath.Join(b.boot, "system-proxy/redsocks.conf")
	if err := os.WriteFile(conf, []byte("redsocks { type = socks5; }"), 0o644); err != nil {
		t.Fatal(err)
	}
	if p, _, err := b.Proxy(); err != nil || p == nil || *p != (redsocks.Proxy{}) {
		t.Errorf("got %+v %v", p, err)
	}
	if err := b.SetHost(nil, redsocks.Change{IP: to("x")}); err != redsocks.ErrIncomplete {
		t.Error(err)
	}
	b.set(firstProxy)
	if p, _, err := b.Proxy(); err != nil || p == nil || p.IP != "10.9.8.7" {
		t.Errorf("got %+v %v", p, err)
	}
}

func TestHostWithoutBootPartition(t *testing.T) {
	b := newHostBed(t)
	if err := os.RemoveAll(b.boot); err != nil {
		t.Fatal(err)
	}
	if p, _, err := b.Proxy(); p != nil || err != nil {
		t.Errorf("got %+v %v", p, err)
	}
	if err := b.SetHost(nil, firstProxy); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(b.boot); !os.IsNotExist(err) {
		t.Error("the boot partition was made")
	}
	b.set(redsocks.Change{Clear: true}) // there is nothing to clear
	if err := os.Remove(filepath.Join(b.root, "etc/hostname")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Hostname(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// The start removes a temporary file that a crash left.
func TestHostSweeps(t *testing.T) {
	b := newHostBed(t)
	b.set(firstProxy)
	left := filepath.Join(b.boot, "system-proxy/.resin-tmp-0123")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	NewHostConfig(b.config, b.root, b.boot, nil, zerolog.Nop())
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Error("the temporary file is still there")
	}
	if b.file("redsocks.conf") == "" {
		t.Error("redsocks.conf was removed")
	}
}

// docs/spec/cloud.md 7.5 (8): redsocks.conf or no_proxy that is not a file counts as an unusable proxy, and the next
// change replaces it.
func TestNoFileInPlaceOfTheProxy(t *testing.T) {
	exceptions := firstProxy
	exceptions.NoProxy = to([]string{"10.0.0.0/8"})
	for name, make := range map[string]func(path string) error{
		"a folder": func(path string) error { return os.MkdirAll(filepath.Join(path, "in"), 0o755) },
		"a FIFO":   func(path string) error { return syscall.Mkfifo(path, 0o600) },
	} {
		for change, c := range map[string]redsocks.Change{"set": exceptions, "clear": {Clear: true}} {
			t.Run(name+", "+change, func(t *testing.T) {
				b := newHostBed(t)
				b.set(exceptions)
				for _, file := range []string{"redsocks.conf", "no_proxy"} {
					path := filepath.Join(b.boot, "system-proxy", file)
					if err := errors.Join(os.Remove(path), make(path)); err != nil {
						t.Fatal(err)
					}
				}
				if p, direct, err := b.Proxy(); err != nil || p == nil || *p != (redsocks.Proxy{}) || len(direct) > 0 {
					t.Errorf("the proxy is %+v, %v, %v", p, direct, err)
				}
				b.set(c)
				p, direct, err := b.Proxy()
				if set := change == "set"; err != nil || (p != nil) != set || set && (p.IP != "10.9.8.7" || len(direct) != 1) {
					t.Errorf("the proxy became %+v, %v, %v", p, direct, err)
				}
				if _, err := os.Lstat(filepath.Join(b.boot, "system-proxy/redsocks.conf.broken-1/in")); (err == nil) != (name == "a folder") {
					t.Errorf("set aside: %v", err)
				}
			})
		}
	}
}
