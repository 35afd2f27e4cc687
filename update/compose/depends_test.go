package compose

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/target"
)

// many is an app with one service for each composition.
func many(t *testing.T, compositions map[string]string) *target.App {
	t.Helper()
	app := release(t, `{}`)
	app.Release.Services = map[string]*target.Service{}
	for name, composition := range compositions {
		app.Release.Services[name] = &target.Service{Name: name, Image: name, Composition: decode(t, composition)}
	}
	return app
}

func TestDependsOn(t *testing.T) {
	f := func(dependsOn string, want []Dependency, warned bool) {
		t.Helper()
		out := resolve(t, many(t, map[string]string{"db": `{}`, "mq": `{}`, "web": `{"depends_on":` + dependsOn + `}`}), doc.Config{})
		if got := out.Services["web"].DependsOn; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v", dependsOn, got)
		}
		if (len(out.Warnings) > 0) != warned {
			t.Errorf("%s: warnings %q", dependsOn, out.Warnings)
		}
	}
	f(`["mq","db","db"]`, []Dependency{{Service: "db", Condition: Started}, {Service: "mq", Condition: Started}}, false)
	f(`"db"`, []Dependency{{Service: "db", Condition: Started}}, false)
	f(`{"db":null,"mq":{"condition":"service_healthy","required":false,"restart":true}}`,
		[]Dependency{{Service: "db", Condition: Started}, {Service: "mq", Condition: Healthy, Optional: true}}, false)
	f(`{"db":{"condition":"service_completed_successfully"}}`, []Dependency{{Service: "db", Condition: Completed}}, false)
	f(`{"db":{"condition":"someday"}}`, []Dependency{{Service: "db", Condition: Started}}, true)
	f(`["gone"]`, nil, true)
	f(`null`, nil, false)
}

func TestDependencyCycles(t *testing.T) {
	f := func(compositions map[string]string, want string) {
		t.Helper()
		out, err := Resolve(many(t, compositions), testFacts(), onDevice(doc.Config{}))
		if err == nil || out != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", compositions, err)
		}
	}
	f(map[string]string{"a": `{"depends_on":["b"]}`, "b": `{"depends_on":["c"]}`, "c": `{"depends_on":["b"]}`}, "b -> c -> b")
	f(map[string]string{"a": `{"depends_on":["a"]}`}, "a -> a")
	f(map[string]string{"a": `{"network_mode":"service:b"}`, "b": `{"depends_on":["a"]}`}, "a -> b -> a")
	longChain := func(n, last int) map[string]string {
		compositions := map[string]string{}
		for i := range n {
			compositions[fmt.Sprintf("s%04d", i)] = fmt.Sprintf(`{"depends_on":["s%04d"]}`, i+1)
		}
		compositions[fmt.Sprintf("s%04d", n-1)] = fmt.Sprintf(`{"depends_on":["s%04d"]}`, last)
		return compositions
	}
	f(longChain(2000, 5), ": s0005 -> s0006 -> s0007 -> s0008 -> s0009 -> s0010 -> s0011 -> s0012 -> s0013 -> ... -> s1999 -> s0005")
	resolve(t, many(t, longChain(2000, 9999)), doc.Config{})
	diamond := many(t, map[string]string{"a": `{"depends_on":["b","c"]}`, "b": `{"depends_on":["d"]}`, "c": `{"depends_on":["d"]}`, "d": `{}`})
	resolve(t, diamond, doc.Config{})
}
