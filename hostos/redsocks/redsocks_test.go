package redsocks

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const full = `base {
	log_debug = off;
	log_info = on;
	log = stderr;
	daemon = off;
	redirector = iptables;
}

redsocks {
	type = socks5;
	ip = 10.9.8.7;
	port = 1080;
	login = "u";
	password = "p \"q\" \\ #;{}";
	local_ip = 127.0.0.1;
	local_port = 12345;
}

dnsu2t {
	remote_ip = 1.1.1.1;
	remote_port = 53;
	local_ip = 127.0.0.1;
	local_port = 53;
}
`

var fullProxy = Proxy{Type: "socks5", IP: "10.9.8.7", Port: 1080, Login: "u", Password: `p "q" \ #;{}`, DNS: "1.1.1.1:53"}

func TestFile(t *testing.T) {
	if got := fullProxy.File(); got != full {
		t.Errorf("got %s", got)
	}
	if got, sound := Parse(full); got == nil || *got != fullProxy || !sound {
		t.Errorf("got %+v, sound %v", got, sound)
	}
	small := Proxy{Type: "http-connect", IP: "3proxy.example.com", Port: 3128}
	file := small.File()
	if !strings.Contains(file, `ip = "3proxy.example.com";`) || strings.Contains(file, "login") || strings.Contains(file, "dnsu2t") {
		t.Errorf("got %s", file)
	}
	if got, sound := Parse(file); got == nil || *got != small || !sound {
		t.Errorf("got %+v, sound %v", got, sound)
	}
}

func TestParse(t *testing.T) {
	ok := &Proxy{Type: "socks5", IP: "1.2.3.4", Port: 80}
	for text, want := range map[string]*Proxy{
		"redsocks{type=socks5;ip=1.2.3.4;port=80;}":                                            ok,
		"// c\nredsocks/* {\n */{\ttype = socks5 ; ip= \"1.2.3.4\"//\n;port = 80;}other{a=b;}": ok,
		"redsocks {type = socks5; ip = 1.2.3.4; port = 80; login = \"\"; }":                    ok,
		"redsocks {type = socks5; ip = 1.2.3.4; port = 80; } dnsu2t { remote_ip = 1; }":        ok,
		"redsocks {type = socks5; ip = 1.2.3.4; port = 80; login = \"a\\nb\"; }":               {Type: "socks5", IP: "1.2.3.4", Port: 80, Login: "a\nb"},
		"":       nil,
		"base{}": nil,
		"redsocks {type = socks5; ip = 1.2.3.4; port 80; }":                      nil,
		"redsocks {type = socks9; ip = 1.2.3.4; port = 80; }":                    nil,
		"redsocks {type = socks5; ip = 1.2.3; port = 80; }":                      nil,
		"redsocks {type = socks5; ip = 1.2.3.4; port = 0; }":                     nil,
		"redsocks {type = socks5; ip = 1.2.3.4; port = 65536; }":                 nil,
		"redsocks {type = socks5; ip = 1.2.3.4; port = 0120; }":                  nil, // 80 to redsocks
		"redsocks {type = socks5; ip = 1.2.3.4; }":                               nil,
		"redsocks {type = socks5; ip = 1.2.3.4; port = 80; login = \"\\x\"; }":   nil, // unknown escape
		"redsocks {type = socks5; ip = 1.2.3.4; port = 80; login = \"{\"; }":     nil, // redsocks reads a mark
		"redsocks {type = socks5; ip = 1.2.3.4; port = 80; login = \"a\x00\"; }": nil,
		"redsocks {type = socks5; ip = 1.2.3.4; port = 80; login = \"a":          nil,
		"redsocks {type = socks5; ip = 1.2.3.4; port = 80; login = \"a\\":        nil,
	} {
		if got, sound := Parse(text); !reflect.DeepEqual(got, want) || sound != (want != nil) {
			t.Errorf("%q: got %+v, sound %v, want %+v", text, got, sound, want)
		}
	}
}

// docs/spec/host.md 8: lines that redsocks would refuse are skipped, except those of a login or password.
func TestParseUnsound(t *testing.T) {
	const head, most = "redsocks {\n\ttype = socks5;\n\tip = 1.2.3.4;\n", "\tport = 80;\n\tlogin = \"u\";\n"
	want := Proxy{Type: "socks5", IP: "1.2.3.4", Port: 80, Login: "u"}
	for _, text := range []string{
		head + "\tfoo = bar\n" + most + "}\n", head + "foo bar\n" + most + "}", head + most + "\tfoo = bar\n}\n", head + most + "\tfoo = bar }\n",
		head + "\tfoo = \n" + most + "}", head + "\tfoo\n" + most + "}", head + "\t= ;\n" + most + "}", head + "# c\n" + most + "}", head + "foo = \"a\\x\";\n" + most + "}",
		head + "\tport = 80\n\tlogin = \"u\"\n}", head + most, head + most + "} /* ", head + most + "} }", head + most + "} stray", "stray\n" + head + most + "}",
		"stray {\n" + strings.Repeat("x\n", 3) + "}\n" + head + most + "}", head + most + "}\ndnsu2t {\n\tremote_ip = 1.1.1.1\n", "\"\" {\n" + head + most + "}",
	} {
		got, sound := Parse(text)
		if got == nil || *got != want || sound {
			t.Errorf("%q: got %+v, sound %v", text, got, sound)
			continue
		}
		if again, sound := Parse(got.File()); *again != want || !sound {
			t.Errorf("%q is repaired to %+v, sound %v", text, again, sound)
		}
	}
	for _, line := range []string{"login = \"a\\x\";", "password = \"p", "password = a b;", "login \"u\";"} {
		if got, _ := Parse(head + most + line + "\n}\n"); got != nil {
			t.Errorf("%s: got %+v", line, got)
		}
	}
}

func p[T any](v T) *T { return &v }

func TestOver(t *testing.T) {
	first := Change{Type: p("socks5"), IP: p("10.9.8.7"), Port: p(1080)}
	plain := Proxy{Type: "socks5", IP: "10.9.8.7", Port: 1080}
	with := func(edit func(*Proxy)) *Proxy { q := fullProxy; edit(&q); return &q }
	for name, c := range map[string]struct {
		change  Change
		present *Proxy
		want    *Proxy
		changed bool
	}{
		"the first":                   {first, nil, &plain, true},
		"nothing":                     {Change{}, &fullProxy, &fullProxy, false},
		"only exceptions":             {Change{NoProxy: p([]string{"10.0.0.0/8"})}, &fullProxy, &fullProxy, false},
		"one field keeps the others":  {Change{IP: p("x")}, &fullProxy, with(func(q *Proxy) { q.IP = "x" }), true},
		"empty clears":                {Change{Login: p(""), Password: p("")}, &fullProxy, with(func(q *Proxy) { q.Login, q.Password = "", "" }), true},
		"DNS off":                     {Change{DNS: p("")}, &fullProxy, with(func(q *Proxy) { q.DNS = "" }), true},
		"DNS without a proxy":         {Change{DNS: p(DefaultDNS)}, nil, nil, false},
		"away":                        {Change{Clear: true}, &fullProxy, nil, true},
		"what is there is not judged": {Change{Port: p(1)}, &Proxy{Type: "socks5", IP: "x", Port: 2, Login: "a\nb"}, &Proxy{Type: "socks5", IP: "x", Port: 1, Login: "a\nb"}, true},
	} {
		got, changed, err := c.change.Apply(c.present)
		if err != nil || changed != c.changed || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v %v %v", name, got, changed, err)
		}
	}
}

// docs/spec/host.md 8: clients may send a login and a password with the quotes of the file.
func TestQuotes(t *testing.T) {
	for given, want := range map[string]string{
		`"foo"`: `foo`, `foo`: `foo`, `"foo`: `foo`, `foo"`: `foo`, `""`: ``, `"`: `"`, ``: ``, `a"b`: `a"b`, `dev "ice"`: `dev "ice"`, `"a"b"`: `a"b`, `""x""`: `"x"`, `"` + "\\" + `"`: "\\",
	} {
		got, _, err := (Change{Login: &given}).Apply(&fullProxy)
		if err != nil || got.Login != want || got.Password != fullProxy.Password {
			t.Errorf("login %s: %+v %v, want %s", given, got, err, want)
		}
		got, _, err = (Change{Password: &given}).Apply(&Proxy{Type: "socks5", IP: "x", Port: 1, Login: `"own"`})
		if err != nil || got.Password != want || got.Login != `"own"` {
			t.Errorf("password %s: %+v %v, want %s", given, got, err, want)
		}
	}
	if _, _, err := (Change{Login: p(`"{"`)}).Apply(&fullProxy); err == nil {
		t.Error("a mark in quotes was accepted")
	}
}

func TestOverRefuses(t *testing.T) {
	long := strings.Repeat("a", 256)
	for name, c := range map[string]Change{
		"type":               {Type: p("socks6")},
		"address":            {IP: p("300.1.1.1")},
		"short address":      {IP: p("10.1")},
		"number":             {IP: p("17")},
		"octal":              {IP: p("010.0.0.1")},
		"IPv6":               {IP: p("::1")},
		"blank":              {IP: p("a b")},
		"directive":          {IP: p("1.1.1.1;\n\tpassword = x")},
		"empty label":        {IP: p("a..b")},
		"trailing dot":       {IP: p("a.b.")},
		"hyphen":             {IP: p("-a")},
		"long name":          {IP: p(strings.Repeat("aaaaaaaaa.", 26) + "b")},
		"no address":         {IP: p("")},
		"no type":            {Type: p("")},
		"no port":            {Port: p(0)},
		"negative port":      {Port: p(-1)},
		"port out of range":  {Port: p(65536)},
		"newline":            {Password: p("a\n}\nx = y;")},
		"NUL":                {Login: p("a\x00")},
		"DEL":                {Login: p("a\x7f")},
		"not text":           {Login: p("\xff")},
		"a mark":             {Password: p("{")},
		"a comment":          {Login: p("/*")},
		"too long for SOCKS": {Password: &long},
		"DNS without port":   {DNS: p("1.1.1.1")},
		"DNS port":           {DNS: p("1.1.1.1:0")},
		"DNS address":        {DNS: p(":53")},
		"octal DNS port":     {DNS: p("1.1.1.1:053")},
		"DNS directive":      {DNS: p("1.1.1.1:53;}")},
		"exception":          {NoProxy: &[]string{"10.0.0.1 -j ACCEPT"}},
		"second exception":   {NoProxy: &[]string{"10.0.0.1", "10.0.0.2\n10.0.0.3"}},
		"empty exception":    {NoProxy: &[]string{""}},
		"bits":               {NoProxy: &[]string{"10.0.0.0/33"}},
		"option":             {NoProxy: &[]string{"-j"}},
		"named subnet":       {NoProxy: &[]string{"example.com/8"}},
		"IPv6 exception":     {NoProxy: &[]string{"fe80::/10"}},
	} {
		present := fullProxy
		if got, changed, err := c.Apply(&present); err == nil || changed || got != &present || present != fullProxy {
			t.Errorf("%s: got %+v %v %v", name, got, changed, err)
		}
	}
	for _, c := range []Change{{Type: p("socks5")}, {IP: p("x"), Port: p(1)}, {Login: p("u")}, {Login: p("")}} {
		if _, _, err := c.Apply(nil); !errors.Is(err, ErrIncomplete) {
			t.Errorf("%+v without a proxy: %v", c, err)
		}
	}
	if _, _, err := (Change{Type: p("http-connect"), Password: &long}).Apply(&fullProxy); err != nil {
		t.Errorf("only SOCKS limits passwords to 255 bytes: %v", err)
	}
}

func TestNoProxy(t *testing.T) {
	entries := []string{"10.0.0.1", "10.0.0.0/8", "10.0.0.0/255.0.0.0", "example.com"}
	if _, _, err := (Change{NoProxy: &entries}).Apply(nil); err != nil {
		t.Error(err)
	}
	if got := ParseNoProxy(NoProxyFile(entries)); !slices.Equal(got, entries) {
		t.Errorf("got %q", got)
	}
	if got := ParseNoProxy("\n 10.0.0.1 \r\n\n10.0.0.2"); !slices.Equal(got, []string{"10.0.0.1", "10.0.0.2"}) {
		t.Errorf("got %q", got)
	}
}

// Any change of any proxy is refused without effect, or the file holds the result.
func FuzzChange(f *testing.F) {
	f.Add("socks5", "10.9.8.7", 1080, "u", `p "q" \ #;{}`, "1.1.1.1:53", "10.0.0.0/8")
	f.Add("http-connect", "3proxy.example.com", 65535, "", "/*", "ns:53", "x\ny")
	f.Add("socks4", "10.1", -1, "a\nb", "}", ":53", "-j")
	f.Fuzz(func(t *testing.T, kind, ip string, port int, login, password, dns, direct string) {
		changes := []Change{
			{Type: &kind, IP: &ip, Port: &port, Login: &login, Password: &password, DNS: &dns, NoProxy: &[]string{direct}},
			{Login: &login}, {Password: &password}, {IP: &ip}, {DNS: &dns}, {Port: &port}, {Type: &kind},
		}
		for _, present := range []*Proxy{nil, {Type: "socks5", IP: "10.0.0.1", Port: 1080, Login: "x", DNS: DefaultDNS}} {
			for _, c := range changes {
				got, changed, err := c.Apply(present)
				if err != nil || !changed {
					if got != present {
						t.Fatalf("%+v over %+v changed it to %+v (%v)", c, present, got, err)
					}
					continue
				}
				file := got.File()
				if read, sound := Parse(file); read == nil || *read != *got || !sound {
					t.Fatalf("%+v reads as %+v, sound %v, from\n%s", got, read, sound, file)
				}
				if c.NoProxy != nil && !slices.Equal(ParseNoProxy(NoProxyFile(*c.NoProxy)), *c.NoProxy) {
					t.Fatalf("noProxy %q", *c.NoProxy)
				}
			}
		}
	})
}

// For any file, the parsed proxy can be written and parsed again with the same result.
func FuzzParse(f *testing.F) {
	f.Add(full)
	f.Add("redsocks{type=socks5;ip=\"1.2.3.4\";port=80;login=\"a\\n\\t\\\"\";}")
	f.Add("/* */ redsocks // \n{")
	f.Add("redsocks{\ntype=socks5\nip=\"1.2.3.4\"\nport=80;foo\n login = \"a\" }")
	f.Fuzz(func(t *testing.T, text string) {
		read, _ := Parse(text)
		if read == nil {
			return
		}
		if again, sound := Parse(read.File()); again == nil || *again != *read || !sound {
			t.Fatalf("%+v was %+v, sound %v", again, read, sound)
		}
	})
}
