package main

import (
	"slices"
	"strings"
	"testing"
)

// one wants exactly one problem, and in it all of the words.
func one(t *testing.T, found []Problem, words ...string) {
	t.Helper()
	if len(found) != 1 {
		t.Fatalf("found %q, want one problem with %q", found, words)
	}
	for _, w := range words {
		if !strings.Contains(string(found[0]), w) {
			t.Errorf("found %q, want it to say %q", found[0], w)
		}
	}
}

func none(t *testing.T, found []Problem) {
	t.Helper()
	if len(found) != 0 {
		t.Errorf("found %q, want nothing", found)
	}
}

func pkg(path string, imports ...string) []Package {
	return []Package{{ImportPath: path, Imports: imports}}
}

func TestEdges(t *testing.T) {
	none(t, edges(pkg("resin-supervisor", "resin-supervisor/api/device", "resin-supervisor/api/client", "os")))
	one(t, edges(pkg("resin-supervisor", "resin-supervisor/update")), ". imports update:")
	none(t, edges(pkg("resin-supervisor/api/device", "resin-supervisor/api", "resin-supervisor/arm/led", "os")))
	none(t, edges(pkg("resin-supervisor/update", "resin-supervisor/update/reconcile", "resin-supervisor/hostos/file")))
	one(t, edges(pkg("resin-supervisor/update/reconcile", "resin-supervisor/update/execute")), "update/reconcile imports update/execute:")
	none(t, edges(pkg("resin-supervisor/update/store", "resin-supervisor/hostos/file")))
	none(t, edges(pkg("resin-supervisor/build/check", "resin-supervisor/update")))
	one(t, edges(pkg("resin-supervisor/update/plan", "resin-supervisor/update/engine")), "update/plan", "update/engine", pureIs)
	one(t, edges(pkg("resin-supervisor/update/engine", "resin-supervisor/update/target")), "update/engine", "apps")
	one(t, edges(pkg("resin-supervisor/update/compose", "resin-supervisor/hostos/file")), "update/compose")
	one(t, edges(pkg("resin-supervisor/hostos/file", "resin-supervisor/build/version")), "hostos/file", leaf)
	one(t, edges(pkg("resin-supervisor/ping", "resin-supervisor/hostos")), "ping imports hostos", edge)
	one(t, edges(pkg("resin-supervisor/api", "resin-supervisor/update")), "api imports update:")
	one(t, edges(pkg("resin-supervisor/update", "resin-supervisor/hostos")), "update imports hostos:")
	one(t, edges(pkg("resin-supervisor/update", "resin-supervisor/build/check")), "build/check")
	one(t, edges(pkg("resin-supervisor/util")), "util", "floor plan")
}

func TestPurity(t *testing.T) {
	f := func(path string) []Problem {
		found, err := purity(pkg("resin-supervisor/update/plan", path))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	none(t, f("strings"))
	none(t, f("net/netip"))
	one(t, f("os"), "update/plan imports os")
	one(t, f("net/url"), "net/url")
	one(t, f("golang.org/x/sys/unix"), "x/sys")
}

func TestClockReadings(t *testing.T) {
	f := func(src string, want ...string) {
		t.Helper()
		got, err := clockReadings("x.go", src)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%s: got %q, want %q", src, got, want)
		}
	}
	f("package p; import \"time\"; var t = time.Now()", "time.Now at x.go:1")
	f("package p; import clock \"time\"; func f() { clock.Sleep(1) }", "time.Sleep at x.go:1")
	f("package p; import \"time\"; func f(t time.Time) bool { return t.After(t.Add(time.Second)) }")
	f("package p; type T struct{ Now int }; func f(time T) int { return time.Now }")
}

func TestBanned(t *testing.T) {
	none(t, banned([]string{"net/http", "log"}, pkg("resin-supervisor/api", "strings")))
	none(t, banned(nil, pkg("resin-supervisor/build/demo", "net/http")))
	one(t, banned([]string{"text/template"}, nil), "text/template", "4.2 MiB")
	one(t, banned(nil, pkg("resin-supervisor/api", "net/http")), "api imports net/http")
	one(t, banned(nil, pkg("resin-supervisor/api", "net/http/httputil")), "net/http/httputil")
}

func TestImportList(t *testing.T) {
	got := listed([]string{"strings", "internal/abi", "crypto/internal/boring", "vendor/golang.org/x/net/idna", "resin-supervisor/api", "bufio"})
	if strings.Join(got, " ") != "bufio strings" {
		t.Errorf("listed %q", got)
	}
	none(t, difference([]string{"a", "b"}, []string{"a", "b"}))
	one(t, difference([]string{"a"}, []string{"a", "b"}), "new import b")
	one(t, difference([]string{"a", "b"}, []string{"a"}), "no longer imported: b")
}

func TestDirects(t *testing.T) {
	f := func(json string) []Problem {
		found, err := directs([]byte(json))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	const three = `{"Path":"golang.org/x/sys"},{"Path":"github.com/valyala/fasthttp"},{"Path":"github.com/rs/zerolog"}`
	none(t, f(`{"Require":[`+three+`,{"Path":"x","Indirect":true}]}`))
	one(t, f(`{"Require":[`+three+`,{"Path":"github.com/x/y"}]}`), "github.com/x/y")
	one(t, f(`{"Require":[{"Path":"golang.org/x/sys"}]}`), "want github.com/rs/zerolog")
	one(t, f(`{"Require":[`+three+`],"Replace":[{"Old":{"Path":"x"},"New":{"Path":"./y"}}]}`), "x => ./y")
	none(t, f(`{"Require":[`+three+`],"Replace":[{"Old":{"Path":"github.com/molecule-man/go-brrr"},"New":{"Path":"./build/nobrotli"}}]}`))
}

func TestBadShapes(t *testing.T) {
	f := func(name, src string) []Problem {
		found, err := badShapes(name, []byte(src))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	none(t, f("api/x.go", "package p; var x any; type T interface{ M() }"))
	one(t, f("api/x.go", "package p\nvar x interface"+"{}"), "api/x.go:2", "any")
	one(t, f("api/x.go", "package p; func f(c C) { c.SendFile(1) }"), "SendFile")
	none(t, f("test/x.go", "package p; func f(c C) { c.SendFile(1) }"))
	one(t, f("ping/x.go", "package p; func f() { os.ReadFile(a) }"), "ping/x.go:1", "hostos/file")
	none(t, f("hostos/file/x.go", "package p; func f() { os.ReadFile(a) }"))
	none(t, f("ping/x.go", "package p; func f() { unix.Open(a); s.Open(b) }"))
	one(t, f("api/x.go", "package p"+strings.Repeat("\n", maxLines+1)), "two subjects")
}

func TestBadWords(t *testing.T) {
	path := machineWords[0] + "main"
	one(t, badWords("a.md", []byte("first\nsee "+path)), "a.md:2")
	none(t, badWords("a.md", []byte("see /mnt"+path)))
	none(t, badWords("a.bin", []byte("\x00 "+path)))
}

func TestBudgets(t *testing.T) {
	list, err := readBudgets(strings.NewReader("# remark\n\narmv6 100 90 2026-01-02 look at\tit\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0] != (Budget{"armv6", 100, 90, "2026-01-02", "look at it"}) {
		t.Fatalf("read %+v", list)
	}
	none(t, over(list[0], 100))
	one(t, over(list[0], 101), "1 over", "look at it")
	for _, bad := range []string{"armv6 100 90 2026-01-02", "armv6 x 90 2026-01-02 y", "armv6 100 x 2026-01-02 y"} {
		if _, err := readBudgets(strings.NewReader(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestCosts(t *testing.T) {
	got := costs([]Symbol{
		{"resin-supervisor/update/plan.Next", 10},
		{"resin-supervisor/update/plan.(*P).m", 20},
		{"type:*", 30},
		{"slices.SortFunc[go.shape.string]", 50},
		{"$f64.3ff", 5},
		{"runtime.text", 1},
	})
	want := []Symbol{{"slices", 50}, {"(go)", 35}, {"resin-supervisor/update/plan", 30}, {"runtime", 1}}
	if !slices.Equal(got, want) {
		t.Errorf("costs are %v, want %v", got, want)
	}
}

func TestLinkerReport(t *testing.T) {
	none(t, byName("main.main -> fmt.Println\nfmt.Println -> os.Stdout\n"))
	one(t, byName("a -> b\ntext/template.(*state).eval <ReflectMethod> -> reflect.x\n"), "text/template")
	none(t, kept([]Symbol{{"github.com/klauspost/compress/zstd.init", 248}}))
	one(t, kept([]Symbol{{"github.com/valyala/fasthttp.(*fsHandler).handleRequest", 9}}), "file server")
}

func TestFloorPlanIsComplete(t *testing.T) {
	for _, r := range rooms {
		for _, may := range r.May {
			if _, known := lookUp(may); !known && !strings.HasSuffix(may, "*") {
				t.Errorf("%s may import %s, which is no room", r.Path, may)
			}
		}
		if r.Why == "" {
			t.Errorf("%s gives no reason", r.Path)
		}
	}
	for _, p := range pureRooms {
		if _, known := lookUp(p); !known {
			t.Errorf("pure room %s is no room", p)
		}
	}
}

func TestConforms(t *testing.T) {
	has := func(file, test string) bool { return file == "a_test.go" && test == "TestA" }
	f := func(text string) []Problem {
		found, _ := conforms(text, has)
		return found
	}
	none(t, f("## one\n|line|tests|\n|--|--|\n| 1 | `a_test.go: TestA` |\n| 2 | no test: a reason |\n## two\n| 1 | `a_test.go: TestA` |\n"))
	one(t, f("| 1 | `a_test.go: TestA` |\n| 3 | `a_test.go: TestA` |"), "row 3 comes after row 1")
	one(t, f("| 1 | `a_test.go: TestA, TestB` |"), "row 1", "a_test.go: TestB")
	one(t, f("| 1 | `a_test.go: TestA`; `b_test.go: TestA` |"), "b_test.go: TestA")
}

func TestMissingParts(t *testing.T) {
	known := map[string]map[string]bool{"engine.md": parts("## 1. One\n### 1.2 Two\n### 2.5, 2.6 Both\n| D8 | x |\n12. line\n### A.1 Calls\n")}
	f := func(text string, count int, want ...string) {
		t.Helper()
		missing, n := missingParts(text, known)
		if !slices.Equal(missing, want) || n != count {
			t.Errorf("%s: missing %q of %d, want %q of %d", text, missing, n, want, count)
		}
	}
	f("// (docs/spec/engine.md 1.2, D8 and 2.6).", 3)
	f("// engine.md 1: 12 to 13", 3, "engine.md 13")
	f("// (docs/spec/engine.md\n\t// 1.3). 5 is no part", 1, "engine.md 1.3")
	f("engine.md A.1; 12 in engine.md", 2)
	f("see cloud.md", 0, "cloud.md")
}
