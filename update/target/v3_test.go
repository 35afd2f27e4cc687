package target

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
)

func decodeV3(t testing.TB, entry []byte) (*State, []Problem) {
	t.Helper()
	s, problems, err := DecodeV3(encode(t, map[string]json.RawMessage{"zzz": []byte("7"), device: entry}), device)
	if err != nil {
		t.Fatal(err)
	}
	return s, problems
}

func TestDecodeV3(t *testing.T) {
	s, problems := decodeV3(t, []byte(entryV3))
	wantEqual(t, problems, []Problem(nil))
	wantEqual(t, s, &State{
		Name:   "greenhouse-7",
		Config: map[string]string{"RESIN_SUPERVISOR_POLL_INTERVAL": "600000", "BALENA_HOST_CONFIG_gpu_mem": "32"},
		Apps: map[string]*App{
			"other": {UUID: "other", ID: 7, Name: "other", Class: "fleet"},
			shop: {UUID: shop, ID: 2101, Name: "greenhouse", Class: "fleet", Release: &Release{
				Commit: "5b1e0c77", ID: 88001,
				Volumes:  map[string]Map{"state": {}},
				Networks: map[string]Map{"back": {"internal": true}},
				Services: map[string]*Service{"pump": {
					Name: "pump", ID: 501, ImageID: 90210, Running: true,
					Image:       "registry2.example.com/v2/0a1b2c3d@" + digest,
					Environment: map[string]string{"RATE": "3"},
					Labels:      map[string]string{"io.balena.features.supervisor-api": "1"},
					Composition: Map{"restart": "always", "volumes": []any{"state:/var/lib/pump"}},
					Contract: Map{"type": "sw.container", "requires": []any{
						map[string]any{"type": "sw.supervisor", "version": ">=12"},
					}},
				}},
			}},
		},
	})
}

// The rows of the table in docs/spec/cloud.md 3.5. The first letters of a path say whether it is below the release, the
// app or the entry.
const (
	inApp     = "apps/" + shop + "/"
	inRelease = inApp + "releases/5b1e0c77/"
	inService = inRelease + "services/pump/"
)

// cloud.md 38, 41: the values that each rule allows.
func TestRulesAccept(t *testing.T) {
	long, faces := strings.Repeat("n", 255), strings.Repeat("\U0001F600", 127)
	f := func(path string, values ...any) {
		t.Helper()
		for _, value := range values {
			if _, problems := decodeV3(t, with(t, entryV3, path, value)); len(problems) > 0 {
				t.Errorf("%s = %v was refused: %v", path, value, problems)
			}
		}
	}
	ids := []any{0, 1, 2147483647, "0", "12", "007", 3.0}
	app := tree(t, `{"id":1,"name":""}`)
	service := tree(t, entryV3).(map[string]any)["apps"].(map[string]any)[shop].(map[string]any)["releases"].(map[string]any)["5b1e0c77"].(map[string]any)["services"].(map[string]any)["pump"]
	f("name", "", long, faces, "tab\there")
	f("config", Map{})
	f("config/_a:B9", "", "any\ntext")
	f("config/"+long, "x")
	f("apps", Map{})
	f("apps/"+long, app)
	f(inApp+"id", ids...)
	f(inApp+"name", "", long)
	f(inApp+"class", "fleet", "app", "block", nil, gone{})
	f(inApp+"is_host", true, false, nil, gone{})
	f(inApp+"parent_app", "", long, nil, gone{})
	f(inApp+"releases", Map{}, nil, gone{})
	f(inApp+"extra", 1, nil, Map{})
	f(inApp+"releases", Map{long: Map{"id": 1}})
	f(inRelease+"id", ids...)
	for _, part := range []string{"services", "volumes", "networks"} {
		f(inRelease+part, Map{}, nil, gone{})
	}
	for _, name := range []string{"a", "9", "A_b.c-d", long} {
		f(inRelease+"services/"+name, service)
		f(inRelease+"volumes/"+name, Map{}, nil, Map{"driver": 1})
		f(inRelease+"networks/"+name, Map{}, nil)
	}
	f(inService+"id", ids...)
	f(inService+"image_id", ids...)
	f(inService+"image", "a", long, "busybox:1")
	f(inService+"running", true, false, nil, gone{})
	f(inService+"environment", Map{}, nil, Map{"_": "", "a_B9": "x\ny", long: ""}, Map{"discovery.type": "single-node", "n": nil})
	f(inService+"labels", Map{}, nil, Map{"n": nil, "!#$%&()*+,-./:;<=>?@[\\]^_{|}~": "", long: "é"})
	f(inService+"composition", Map{}, nil, gone{}, Map{"anything": []any{1, nil}})
	f(inService+"contract", Map{}, nil, gone{}, Map{"requires": []any{}})
}

// cloud.md 38, 41: the values that each rule refuses in an app, without effect on others.
func TestRulesRejectApp(t *testing.T) {
	tooLong := strings.Repeat("n", 256)
	f := func(path string, values ...any) {
		t.Helper()
		for _, value := range values {
			s, problems := decodeV3(t, with(t, entryV3, path, value))
			app, other := s.Apps[shop], s.Apps["other"]
			if len(problems) == 0 || problems[0].App != shop {
				t.Errorf("%s = %v: problems %v", path, value, problems)
			}
			if app != nil && (app.Rejected == "" || app.Release != nil && len(app.Release.Services) > 0) {
				t.Errorf("%s = %v was taken", path, value)
			}
			if other == nil || other.Rejected != "" || len(s.Config) != 2 {
				t.Errorf("%s = %v harmed the rest", path, value)
			}
		}
	}
	badIDs := []any{-1, 1.5, 1e300, "", "-1", "1.0", "0x10", "1e3", " 1", "+1", "ten", true, nil, gone{}, Map{}, []any{1}, "99999999999999999999"}
	texts := []any{1, true, nil, gone{}, Map{}, []any{}, tooLong}
	objects := []any{1, "", true, []any{}}
	f("apps/"+shop, nil, 1, "x", []any{})
	f(inApp+"id", badIDs...)
	f(inApp+"name", texts...)
	f(inApp+"class", "Fleet", "", "host", 1, Map{})
	f(inApp+"is_host", "true", 1, Map{})
	f(inApp+"parent_app", 1, tooLong)
	f(inApp+"releases", objects...)
	f(inApp+"releases", Map{tooLong: Map{"id": 1}}, Map{"": Map{"id": 1}}, Map{"c": nil}, Map{"c": 1})
	f(inRelease+"id", badIDs...)
	for _, part := range []string{"services", "volumes", "networks"} {
		f(inRelease+part, objects...)
		for _, name := range []string{"", "_a", ".a", "-a", "a b", "a:b", "é", tooLong} {
			f(inRelease+part+"/"+name, Map{})
		}
		f(inRelease+part+"/x", 1, "", []any{})
	}
	f(inRelease+"services/x", nil)
	f(inService+"id", badIDs...)
	f(inService+"image_id", badIDs...)
	f(inService+"image", append(texts, "", "not a name", "a@sha256:12")...)
	f(inService+"running", "true", 1, Map{})
	f(inService+"environment", append(objects, gone{})...)
	for _, name := range []string{"", "9a", ".a", "a-b", "a b", "é", tooLong} {
		f(inService+"environment/"+name, "x")
	}
	f(inService+"environment/A", 1, true, Map{}, []any{})
	f(inService+"labels", append(objects, gone{})...)
	for _, name := range []string{"", "a b", `a"b`, "a'b", "a`b", "a\x7f", "a\tb", "é", tooLong} {
		f(inService+"labels/"+name, "x")
	}
	f(inService+"labels/a", 1, true, Map{}, []any{})
	f(inService+"composition", objects...)
	f(inService+"contract", objects...)
}

// cloud.md 38: the values that each rule refuses in a document.
func TestRulesRejectDocument(t *testing.T) {
	tooLong := strings.Repeat("n", 256)
	f := func(path string, values ...any) {
		t.Helper()
		for _, value := range values {
			s, _, err := DecodeV3Entry(with(t, entryV3, path, value))
			var invalid *InvalidError
			if !errors.As(err, &invalid) || s != nil || len(invalid.Lines) == 0 {
				t.Errorf("%s = %v: %v, want an invalid document", path, value, err)
			}
		}
	}
	f("name", "a\nb", "a\rb", tooLong, strings.Repeat("\U0001F600", 128), 1, nil, gone{}, Map{})
	f("config", nil, gone{}, 1, "", []any{})
	for _, name := range []string{"", "9a", ":a", "a-b", "a.b", "é", tooLong} {
		f("config/"+name, "x")
	}
	f("config/a", 1, true, nil, Map{}, []any{})
	f("apps", nil, gone{}, 1, "", []any{})
}

// cloud.md 40, 41: members that may be absent, and ids as text.
func TestDefaults(t *testing.T) {
	s, problems := decodeV3(t, []byte(`{"name":"","config":{},"apps":{
		"a":{"id":"12","name":"n","releases":{"c":{"id":"34","services":{
			"web":{"id":"5","image_id":"6","image":"a","environment":{},"labels":{}}}}}},
		"b":{"id":1,"name":"n","class":null,"releases":{"c":{"id":2,"services":null,"volumes":null,"networks":null}}}}}`))
	wantEqual(t, problems, []Problem(nil))
	none := map[string]Map{}
	wantEqual(t, s.Apps, map[string]*App{
		"a": {UUID: "a", ID: 12, Name: "n", Class: "fleet", Release: &Release{
			Commit: "c", ID: 34, Volumes: none, Networks: none, Services: map[string]*Service{"web": {
				Name: "web", ID: 5, ImageID: 6, Image: "a:latest", Running: true,
				Environment: map[string]string{}, Labels: map[string]string{}, Composition: Map{},
			}},
		}},
		"b": {UUID: "b", ID: 1, Name: "n", Class: "fleet", Release: &Release{
			Commit: "c", ID: 2, Volumes: none, Networks: none, Services: map[string]*Service{},
		}},
	})
}

func TestFirstReleaseCounts(t *testing.T) {
	f := func(releases, want string) {
		t.Helper()
		s, problems := decodeV3(t, []byte(`{"name":"","config":{},"apps":{"a":{"id":1,"name":"n","releases":`+releases+`}}}`))
		if len(problems) > 0 || s.Apps["a"].Release.Commit != want {
			t.Fatalf("%s: release %+v (%v), want %s", releases, s.Apps["a"].Release, problems, want)
		}
	}
	f(`{"zz":{"id":1},"aa":{"id":2}}`, "zz")
	f(`{"aa":{"id":1},"zz":null}`, "aa")
	f(`{"mm":{"id":1},"aa":7,"zz":8}`, "mm")
}

func TestRejectedAppKeepsItsHead(t *testing.T) {
	s, problems := decodeV3(t, with(t, entryV3, inService+"image", 7))
	line := "Expecting string at apps." + shop + ".releases.5b1e0c77.services.pump.image but instead got: 7"
	wantEqual(t, problems, []Problem{{App: shop, Text: line}})
	wantEqual(t, s.Apps[shop], &App{
		UUID: shop, ID: 2101, Name: "greenhouse", Class: "fleet", Rejected: line,
		Release: newRelease("5b1e0c77", 88001),
	})
	s, _ = decodeV3(t, with(t, entryV3, inApp+"id", -1))
	if s.Apps[shop] != nil {
		t.Fatal("an app without an id was kept")
	}
}

func TestUnusableBodies(t *testing.T) {
	for _, body := range []string{
		``, ` `, `{`, `nul`, `null`, `7`, `[]`, `{}`, `{"other":{}}`, `{} {}`, `{"` + device + `"}`, "\xff",
		strings.Repeat("[", 20000), strings.Repeat(`{"a":`, 20000), strings.Repeat(" ", maxDocument) + entryV3,
	} {
		var invalid *InvalidError
		if s, _, err := DecodeV3([]byte(body), device); err == nil || s != nil || errors.As(err, &invalid) {
			t.Errorf("%.40q: %v, want an error that says nothing of rules", body, err)
		}
	}
	for _, entry := range []string{`null`, `7`, `[]`, `""`} {
		var invalid *InvalidError
		if _, _, err := DecodeV3([]byte(`{"`+device+`":`+entry+`}`), device); !errors.As(err, &invalid) {
			t.Errorf("%s: %v, want an invalid document", entry, err)
		}
	}
}

func TestBoundsOfOneApp(t *testing.T) {
	deep := any(1.0)
	for range maxDepth {
		deep = []any{deep}
	}
	s, problems := decodeV3(t, with(t, entryV3, inService+"composition/deep", deep))
	if s.Apps[shop] != nil || len(problems) != 1 || s.Apps["other"] == nil {
		t.Fatalf("too deep: %v", problems)
	}
	s, problems = decodeV3(t, []byte(strings.Replace(entryV3, `"restart": "always"`, `"x": 1e999`, 1)))
	if s.Apps[shop] != nil || len(problems) != 1 || s.Apps["other"] == nil {
		t.Fatalf("a number beyond all bounds: %v", problems)
	}
	many := Map{}
	for i := range 1000 {
		many[strings.Repeat("a", i+1)+"-"] = "x"
	}
	_, problems = decodeV3(t, with(t, entryV3, inService+"environment", many))
	if len(problems) != maxLines+1 || problems[maxLines].Text != "And 968 more" {
		t.Fatalf("%d problems, the last %v", len(problems), problems[len(problems)-1])
	}
	for _, p := range problems {
		if len(p.Text) > 1000 {
			t.Fatalf("a line of %d bytes", len(p.Text))
		}
	}
}

func TestForeignServices(t *testing.T) {
	f := func(uuid string, isHost bool, services string, want ...string) {
		t.Helper()
		entry := strings.NewReplacer("UUID", uuid, "HOST", string(encode(t, isHost)), "SERVICES", services).Replace(
			`{"name":"","config":{},"apps":{"UUID":{"id":1,"name":"n","is_host":HOST,"releases":{"c":{"id":2,"services":{SERVICES}}}}}}`)
		s, problems := decodeV3(t, []byte(entry))
		got := slices.Sorted(maps.Keys(s.Apps[uuid].Release.Services))
		if len(problems) > 0 || !slices.Equal(got, want) {
			t.Fatalf("%s: services %v (%v), want %v", uuid, got, problems, want)
		}
	}
	service := func(name, labels string) string {
		return `"` + name + `":{"id":1,"image_id":1,"image":"a","environment":{},"labels":{` + labels + `}}`
	}
	list := strings.Join([]string{
		service("plain", ""),
		service("data", `"io.balena.image.store":"data","io.balena.image.class":"service"`),
		service("root", `"io.balena.image.store":"root"`),
		service("resin", `"io.resin.image.store":"root"`),
		service("overlay", `"io.balena.image.class":"overlay"`),
		service("blank", `"io.balena.image.class":""`),
	}, ",")
	f("host", true, list, "data", "plain")
	f("user", false, list, "blank", "data", "overlay", "plain", "resin", "root")
	own := strings.Join([]string{service("main", ""), service("balena-supervisor", ""), service("core", ""), service("side", "")}, ",")
	for _, uuid := range []string{
		"52e35121417640b1b28a680504e4039b", "900de4f3cbac4b9bbd232885a35e407b", "2e66a95795c149959c69472a8c2f92b8",
		"531b357e155c480cbec0fdd33041a1f5", "6822565f766e413e96d9bebe2227cdcc",
	} {
		f(uuid, false, own, "side")
	}
	f("user", false, own, "balena-supervisor", "core", "main", "side")
}

// A decoded state and its durable form are equal.
func wantStored(t testing.TB, s *State) {
	t.Helper()
	raw, err := Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	again, problems, err := DecodeV3Entry(raw)
	if err != nil || len(problems) > 0 {
		t.Fatalf("read back: %v %v of %s", err, problems, raw)
	}
	wantEqual(t, again, s)
	twice, _ := Encode(again)
	if string(twice) != string(raw) {
		t.Fatalf("equal states, other bytes:\n%s\n%s", raw, twice)
	}
}

func TestEncode(t *testing.T) {
	s, _ := decodeV3(t, []byte(entryV3))
	wantStored(t, s)
	CheckContracts(s, nil)
	if s.Apps[shop].Rejected == "" {
		t.Fatal("the app is not rejected")
	}
	wantStored(t, s)
	s, _ = decodeV3(t, with(t, entryV3, inService+"image", 7))
	wantStored(t, s)
	s, _ = decodeV3(t, with(t, entryV3, inService+"image", strings.Repeat("a", 255)))
	wantStored(t, s)
	wantStored(t, &State{Config: map[string]string{}, Apps: map[string]*App{}})
}

func TestCloudCannotReject(t *testing.T) {
	s, _ := decodeV3(t, with(t, entryV3, inApp+"rejected", "because"))
	if s.Apps[shop].Rejected != "" {
		t.Fatal("a property of the cloud's document rejected an app")
	}
}

func FuzzDecodeV3(f *testing.F) {
	f.Add([]byte(entryV3))
	f.Add([]byte(`{"name":"","config":{},"apps":{"a":{"id":"1","name":"n","class":"app","releases":{"c":{"id":1},"d":2}}}}`))
	f.Add([]byte(`{"name":1,"config":[],"apps":{"":null}}`))
	f.Fuzz(func(t *testing.T, entry []byte) {
		body := append(append([]byte(`{"`+device+`":`), entry...), '}')
		s, problems, err := DecodeV3(body, device)
		if err != nil {
			return
		}
		for _, app := range s.Apps {
			if app.Rejected != "" && len(problems) == 0 {
				t.Fatal("rejected without a problem")
			}
		}
		CheckContracts(s, ContractFacts{{Type: "sw.os", Version: "2.1"}})
		wantStored(t, s)
	})
}
