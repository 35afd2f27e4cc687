package target

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// posted is the example of docs/spec/device-api.md 2.31 with some compose keys.
const posted = `{"local":{"name":"Bench","config":{"SUPERVISOR_LOCAL_MODE":"1"},"apps":{"7":{
	"name":"shop","commit":"c0ffee","releaseId":"3","services":{"31":{
		"serviceName":"web","serviceId":31,"imageId":41,"image":"shop/web:latest","running":true,
		"environment":{"A":"b"},"labels":{"l":"m"},"restart":"always","ports":["80:80"],"build":{"context":"."}}},
	"volumes":{"data":{}},"networks":{"back":{"driver":"bridge"}}}}},"force":false}`

func decodeLocal(t testing.TB, body string) *Local {
	t.Helper()
	l, err := DecodeLocal([]byte(body))
	if err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return l
}

func TestDecodeLocal(t *testing.T) {
	wantEqual(t, decodeLocal(t, posted), &Local{HasName: true, State: &State{
		Name:   "Bench",
		Config: map[string]string{"SUPERVISOR_LOCAL_MODE": "1"},
		Apps: map[string]*App{"7": {UUID: "7", ID: 7, Name: "shop", Class: "fleet", Release: &Release{
			Commit: "c0ffee", ID: 3,
			Volumes:  map[string]Map{"data": {}},
			Networks: map[string]Map{"back": {"driver": "bridge"}},
			Services: map[string]*Service{"web": {
				Name: "web", ID: 31, ImageID: 41, Image: "shop/web:latest", Running: true,
				Environment: map[string]string{"A": "b"},
				Labels:      map[string]string{"l": "m"},
				Composition: Map{
					"restart": "always", "ports": []any{"80:80"}, "build": map[string]any{"context": "."},
				},
			}},
		}}},
	}})
}

func TestLocalWithoutSomething(t *testing.T) {
	f := func(body string, hasName bool, apps int) {
		t.Helper()
		l := decodeLocal(t, body)
		if l.HasName != hasName || len(l.State.Apps) != apps || l.State.Config == nil {
			t.Fatalf("%s: name %v, %d apps, want %v, %d", body, l.HasName, len(l.State.Apps), hasName, apps)
		}
	}
	f(`{"local":{}}`, false, 0)
	f(`{"local":{"apps":{}}}`, false, 0)
	f(`{"local":{"name":"","config":{}}}`, true, 0)
	f(`{"local":{"name":null,"config":null}}`, false, 0)
	f(`{"local":{"name":"n"},"dependent":{"apps":{},"devices":{}}}`, true, 0)
	f(`{"local":{"apps":{"0":{"name":""}}}}`, false, 1)
	l := decodeLocal(t, `{"local":{"apps":{"7":{"name":"n","services":null,"commit":""}}}}`)
	if l.State.Apps["7"].Release != nil {
		t.Fatal("an app without commit got a release")
	}
}

func TestLocalForce(t *testing.T) {
	for value, want := range map[string]bool{`true`: true, `1`: true, `"On"`: true, `"1"`: true, `"TRUE"`: true,
		`false`: false, `0`: false, `2`: false, `"yes"`: false, `null`: false, `{}`: false} {
		if l := decodeLocal(t, `{"force":`+value+`,"local":{}}`); l.Force != want {
			t.Errorf("force %s: %v", value, l.Force)
		}
	}
	if l := decodeLocal(t, `{"`+device+`":`+entryV3+`,"force":true}`); !l.Force {
		t.Error("force beside a v3 entry")
	}
}

func TestLocalV3(t *testing.T) {
	l := decodeLocal(t, `{"`+device+`":`+entryV3+`}`)
	want, _ := decodeV3(t, []byte(entryV3))
	wantEqual(t, l, &Local{HasName: true, State: want})
}

// Any fault refuses the whole document, and the line names the place.
func TestLocalRefuses(t *testing.T) {
	f := func(path string, value any, line string) {
		t.Helper()
		_, err := DecodeLocal(with(t, posted, path, value))
		var invalid *InvalidError
		if !errors.As(err, &invalid) || !slices.Contains(invalid.Lines, line) {
			t.Errorf("%s = %v: %v, want the line %q", path, value, err, line)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "Invalid target state.\n") {
			t.Errorf("message %q", err)
		}
	}
	got := func(what, path, got string) string {
		return "Expecting " + what + " at " + path + " but instead got: " + got
	}
	app, web := "local/apps/7/", "local/apps/7/services/31/"
	f("local", gone{}, got("object", "local", "undefined"))
	f("local", nil, got("object", "local", "null"))
	f("local", []any{}, got("object", "local", "[]"))
	f("local/name", "a\nb", got("string without line break", "local.name", `"a\nb"`))
	f("local/name", 7, got("string", "local.name", "7"))
	f("local/config", "x", got("object", "local.config", "a string"))
	f("local/config/A", 1, got("string", "local.config.A", "a number"))
	f("local/apps", nil, got("object", "local.apps", "null"))
	f("local/apps", []any{1}, got("object", "local.apps", "[...]"))
	f("local/apps/7", nil, got("object", "local.apps.7", "null"))
	for _, key := range []string{"01", shop, "-1", "1.0", "", "0x1", " 7", "99999999999999999999"} {
		f("local/apps/"+key, Map{"name": "n"}, got("numeric app id", "app key", `"`+key+`"`))
	}
	f(app+"name", gone{}, got("string", "local.apps.7.name", "undefined"))
	f(app+"commit", 7, got("string", "local.apps.7.commit", "7"))
	f(app+"releaseId", gone{}, got("non-negative integer", "local.apps.7.releaseId", "undefined"))
	f(app+"releaseId", "x", got("non-negative integer", "local.apps.7.releaseId", `"x"`))
	f(app+"uuid", "", got("string of at least one character", "local.apps.7.uuid", `""`))
	f(app+"services", nil, got("object", "local.apps.7.services", "null"))
	f(app+"services", []any{}, got("object", "local.apps.7.services", "[]"))
	f(app+"services/31", nil, got("object", "local.apps.7.services.31", "null"))
	f(app+"services/x", Map{}, got("numeric id", "key of local.apps.7.services", `"x"`))
	f(app+"services/031", Map{}, got("numeric id", "key of local.apps.7.services", `"031"`))
	f(app+"volumes/data", 5, got("object", "local.apps.7.volumes.data", "5"))
	f(app+"networks/b d", Map{}, got("name of letters, digits, '_', '.' and '-'", "key of local.apps.7.networks", `"b d"`))
	f(web+"serviceName", "b d", got("name of letters, digits, '_', '.' and '-'", "local.apps.7.services.31.serviceName", `"b d"`))
	f(web+"serviceName", gone{}, got("string", "local.apps.7.services.31.serviceName", "undefined"))
	f(web+"imageId", -4, got("non-negative integer", "local.apps.7.services.31.imageId", "-4"))
	f(web+"image", gone{}, got("string", "local.apps.7.services.31.image", "undefined"))
	f(web+"image", "A B", got("image name", "local.apps.7.services.31.image", `"A B"`))
	f(web+"running", "yes", got("boolean", "local.apps.7.services.31.running", `"yes"`))
	f(web+"environment", gone{}, got("object", "local.apps.7.services.31.environment", "undefined"))
	f(web+"environment/A", 1, got("string", "local.apps.7.services.31.environment.A", "a number"))
	f(web+"labels/l", 1, got("string", "local.apps.7.services.31.labels.l", "a number"))
	f(web+"contract", Map{"requires": "x"},
		"The contract for service web failed validation, with error: "+got("list", "contract.requires", `"x"`))
	web32 := tree(t, `{"serviceName":"web","imageId":1,"image":"a","environment":{},"labels":{}}`)
	f(app+"services/32", web32, got("name of no other service", "local.apps.7.services.32.serviceName", `"web"`))
	f("local/apps/8", Map{"name": "n", "uuid": "7"}, "App 8 has the uuid of another app")
}

func TestLocalBodies(t *testing.T) {
	for body, isInvalid := range map[string]bool{
		`{}`: true, `{"force":true}`: true, `[]`: true, `null`: true, `7`: true, `{"a":{},"b":{}}`: true,
		`{"` + device + `":{"name":"n","config":{}}}`:                                     true,
		`{"status":"success","state":{"local":{}}}`:                                       true,
		`{"` + device + `":` + strings.Replace(entryV3, `"id": 501`, `"id": ""`, 1) + `}`: true,
		``: false, `{`: false, `{"local":{}} x`: false,
	} {
		var invalid *InvalidError
		if l, err := DecodeLocal([]byte(body)); err == nil || l != nil || errors.As(err, &invalid) != isInvalid {
			t.Errorf("%.60s: %v, want invalid %v", body, err, isInvalid)
		}
	}
}

// wantSameAgain posts the state that the device shows, and checks that nothing changes.
func wantSameAgain(t testing.TB, s *State) {
	t.Helper()
	var apps []*App
	for _, app := range s.Apps {
		apps = append(apps, app)
	}
	raw, err := EncodeLocal(s.Name, s.Config, apps)
	if err != nil {
		return // two apps or services share an id
	}
	wantEqual(t, decodeLocal(t, string(raw)).State, s)
}

func TestEncodeLocal(t *testing.T) {
	wantSameAgain(t, decodeLocal(t, posted).State)
	wantSameAgain(t, decodeLocal(t, `{"local":{"name":"","apps":{"7":{"name":"n"},"8":{"name":"m","commit":"c","releaseId":1}}}}`).State)
	s, _ := decodeV3(t, []byte(entryV3))
	wantSameAgain(t, s)
	s, _ = decodeV3(t, with(t, string(with(t, entryV3, inApp+"class", "app")), inApp+"is_host", true))
	wantSameAgain(t, s)
	raw, err := EncodeLocal("", nil, nil)
	if want := `{"local":{"apps":{},"config":{},"name":""}}`; err != nil || string(raw) != want {
		t.Fatalf("%s (%v), want %s", raw, err, want)
	}
}

func TestEncodeLocalMerges(t *testing.T) {
	s, _ := decodeV3(t, with(t, entryV3, inService+"composition", tree(t, `{"image":"x","running":false,"restart":"no",
		"environment":["RATE=9","B=2","C","9=x"],"labels":{"a":"b","n":1.5,"t":true,"z":null,"bad key":"x"}}`)))
	raw, err := EncodeLocal("n", nil, []*App{s.Apps[shop]})
	if err != nil {
		t.Fatal(err)
	}
	got := decodeLocal(t, string(raw)).State.Apps[shop].Release.Services["pump"]
	want := s.Apps[shop].Release.Services["pump"]
	want.Composition = Map{"restart": "no"}
	want.Environment["B"] = "2"
	want.Labels["a"], want.Labels["n"], want.Labels["t"], want.Labels["z"] = "b", "1.5", "true", ""
	wantEqual(t, got, want)
}

func TestEncodeLocalCollisions(t *testing.T) {
	one, two := &App{UUID: "a", ID: 1, Class: "fleet"}, &App{UUID: "b", ID: 1, Class: "fleet"}
	if _, err := EncodeLocal("", nil, []*App{one, two}); err == nil {
		t.Error("two apps with one id were shown")
	}
	one.Release = newRelease("c", 1)
	one.Release.Services["x"], one.Release.Services["y"] = &Service{Name: "x"}, &Service{Name: "y"}
	if _, err := EncodeLocal("", nil, []*App{one}); err == nil {
		t.Error("two services with one id were shown")
	}
}

func FuzzDecodeLocal(f *testing.F) {
	f.Add([]byte(posted))
	f.Add([]byte(`{"local":{"apps":{"01":null}}}`))
	f.Add([]byte(`{"x":` + entryV3 + `,"force":"on"}`))
	f.Add([]byte(`{"local":{"apps":{"7":{"name":"","uuid":"x","commit":"c","releaseId":1,"services":{"1":{"serviceName":"a"}}}}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		l, err := DecodeLocal(body)
		if err != nil {
			return
		}
		wantStored(t, l.State)
		for _, app := range l.State.Apps {
			if app.Release == nil {
				continue
			}
			for _, s := range app.Release.Services {
				// These are merged, so they differ from the posted ones.
				for _, key := range []string{"environment", "labels"} {
					delete(s.Composition, key)
				}
				if len(inlineComposition(s.Composition)) != len(s.Composition) {
					return
				}
			}
		}
		wantSameAgain(t, l.State)
	})
}
