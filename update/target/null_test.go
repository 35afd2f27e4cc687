package target

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// YAML turns a key without a value into null. In a volume, a network and an optional part it means unset, in documents
// of the cloud, in local ones and in apps.json.
func TestNullIsUnset(t *testing.T) {
	read := map[string]func(body string) (*State, error){
		"cloud": func(body string) (*State, error) {
			s, problems, err := DecodeV3Entry([]byte(body))
			if len(problems) > 0 {
				err = &InvalidError{Lines: texts(problems)}
			}
			return s, err
		},
		"local": func(body string) (*State, error) {
			l, err := DecodeLocal([]byte(body))
			if err != nil {
				return nil, err
			}
			return l.State, nil
		},
		"preload": func(body string) (*State, error) {
			p, problems, err := DecodePreload([]byte(body), nil)
			if len(problems) > 0 {
				err = &InvalidError{Lines: texts(problems)}
			}
			if err != nil {
				return nil, err
			}
			return p.State, nil
		},
	}
	in := map[string]string{
		"cloud": `{"name":"n","config":{},"apps":{"u":{"id":7,"name":"n",APP"releases":{"c":{"id":1,RELEASE"services":{"web":{
			"id":1,"image_id":1,"image":"a",SERVICE}}}}}}}`,
		"local": `{"local":{"apps":{"7":{"name":"n","commit":"c","releaseId":1,APP RELEASE"services":{"1":{
			"serviceName":"web","imageId":1,"image":"a",SERVICE}}}}}}`,
	}
	in["preload"] = in["cloud"]
	const plain = `"environment":{},"labels":{}`
	document := func(source, app, release, service string) string {
		return strings.NewReplacer("APP", app, "RELEASE", release, "SERVICE", service).Replace(in[source])
	}
	for source, decode := range read {
		f := func(app, release, service, likeRelease, likeService string) {
			t.Helper()
			got, err := decode(document(source, app, release, service))
			want, wantErr := decode(document(source, "", likeRelease, likeService))
			if err != nil || wantErr != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %s%s%s: %v %v, got %s, want %s", source, app, release, service, err, wantErr, encode(t, got), encode(t, want))
			}
		}
		f(`"class":null,"is_host":null,"isHost":null,"parent_app":null,`, "", plain, "", plain)
		f("", `"volumes":null,"networks":null,`, plain, "", plain)
		f("", `"volumes":{"x":null},`, plain, `"volumes":{"x":{}},`, plain)
		f("", `"networks":{"x":null},`, plain, `"networks":{"x":{}},`, plain)
		f("", "", `"environment":null,"labels":null`, "", plain)
		f("", "", `"environment":{"A":null,"B":"b"},"labels":{}`, "", `"environment":{"B":"b"},"labels":{}`)
		f("", "", `"environment":{},"labels":{"a":null}`, "", `"environment":{},"labels":{"a":""}`)
		f("", "", plain+`,"running":null,"contract":null`, "", plain)
		f("", "", plain+`,"contract":{"type":null,"slug":null,"requires":null}`, "", plain+`,"contract":{"type":null,"slug":null,"requires":null}`)
	}
	p := preload(t, strings.Replace(legacyFile, `"env":{"A":"1","RESIN_X":"2"}`, `"env":{"A":null}`, 1), true)
	if env := p.State.Apps["user-app"].Release.Services["main"].Environment; len(env) != 0 {
		t.Errorf("legacy file: environment %v", env)
	}
}

// Variables with a dot in their name reach a service from every document, and local mode shows them.
func TestVariablesWithDots(t *testing.T) {
	s, problems := decodeV3(t, with(t, entryV3, inService+"environment", Map{"discovery.type": "single-node"}))
	wantEqual(t, problems, []Problem(nil))
	wantEqual(t, s.Apps[shop].Release.Services["pump"].Environment, map[string]string{"discovery.type": "single-node"})
	s, _ = decodeV3(t, with(t, entryV3, inService+"composition", Map{"environment": []any{"xpack.security.enabled=false"}}))
	raw, err := EncodeLocal("n", nil, []*App{s.Apps[shop]})
	if err != nil || !json.Valid(raw) || !strings.Contains(string(raw), `"xpack.security.enabled":"false"`) {
		t.Errorf("shown as %s (%v)", raw, err)
	}
}
