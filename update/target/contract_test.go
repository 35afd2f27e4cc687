package target

import (
	"maps"
	"slices"
	"testing"
)

// facts is a device for contracts.
var facts = ContractFacts{
	{Type: "sw.supervisor", Version: "17.0.1"},
	{Type: "sw.application", Slug: "balena-supervisor", Version: "17.0.1"},
	{Type: "hw.device-type", Slug: "raspberrypi3"},
	{Type: "arch.sw", Slug: "armv7hf"},
	{Type: "sw.l4t", Version: "32.4.0"},
	{Type: "sw.os", Slug: "balena-os", Version: "2.113.18+rev3"},
	{Type: "sw.kernel", Slug: "linux", Version: "5.15.76"},
}

// contracted is a state with one service of each name, with a contract.
func contracted(t *testing.T, contracts map[string]string, labels Map) (*State, []Problem) {
	t.Helper()
	services := Map{}
	for name, contract := range contracts {
		services[name] = Map{"id": 1, "image_id": 1, "image": "a", "environment": Map{}, "labels": labels, "contract": tree(t, contract)}
	}
	return decodeV3(t, encode(t, Map{"name": "", "config": Map{}, "apps": Map{"a": Map{
		"id": 1, "name": "shop", "releases": Map{"c": Map{"id": 1, "services": services}}}}}))
}

func TestRequirements(t *testing.T) {
	f := func(contract string, want bool) {
		t.Helper()
		s, problems := contracted(t, map[string]string{"web": contract}, Map{})
		if len(problems) > 0 {
			t.Fatalf("%s: %v", contract, problems)
		}
		problems = CheckContracts(s, facts)
		app := s.Apps["a"]
		if (app.Rejected == "") != want || (len(problems) == 0) != want || len(app.Release.Services) != 1 {
			t.Fatalf("%s: rejected %q, problems %v, want met %v", contract, app.Rejected, problems, want)
		}
	}
	f(`null`, true)
	f(`{}`, true)
	f(`{"type":"sw.container","slug":"x"}`, true)
	f(`{"requires":[]}`, true)
	f(`{"requires":[{"type":"sw.supervisor"}]}`, true)
	f(`{"requires":[{"type":"sw.supervisor","version":">=12"}]}`, true)
	f(`{"requires":[{"type":"sw.supervisor","version":"<17"}]}`, false)
	f(`{"requires":[{"type":"sw.supervisor","version":"rubbish"}]}`, false)
	f(`{"requires":[{"type":"sw.supervisor","slug":"x"}]}`, false)
	f(`{"requires":[{"type":"hw.device-type","slug":"raspberrypi3"}]}`, true)
	f(`{"requires":[{"type":"hw.device-type","slug":"raspberrypi4"}]}`, false)
	f(`{"requires":[{"type":"hw.device-type","version":"1"}]}`, false)
	f(`{"requires":[{"type":"arch.sw","slug":"armv7hf","other":7}]}`, true)
	f(`{"requires":[{"type":"sw.os","slug":"balena-os","version":"2.113.18"}]}`, true)
	f(`{"requires":[{"type":"sw.os","data":{}}]}`, true)
	f(`{"requires":[{"type":"sw.os","data":{"a":1}}]}`, false)
	f(`{"requires":[{"type":"sw.l4t","version":"32.4.*"},{"type":"sw.kernel","version":"^5"}]}`, true)
	f(`{"requires":[{"type":"sw.l4t","version":"32.4.*"},{"type":"sw.kernel","version":"^6"}]}`, false)
	f(`{"requires":[{"or":[{"type":"sw.os","version":"<2"},{"type":"arch.sw","slug":"armv7hf"}]}]}`, true)
	f(`{"requires":[{"or":[{"type":"sw.os","version":"<2"},{"type":"arch.sw","slug":"amd64"}]}]}`, false)
	f(`{"requires":[{"or":[]}]}`, false)
}

func TestMalformedContracts(t *testing.T) {
	f := func(contract, why string) {
		t.Helper()
		s, problems := contracted(t, map[string]string{"web": contract}, Map{})
		want := "The contract for service web failed validation, with error: " + why
		if len(problems) == 0 || problems[0].Text != want || s.Apps["a"].Rejected == "" {
			t.Fatalf("%s: %v, want %q", contract, problems, want)
		}
	}
	f(`{"type":7}`, "Expecting string at contract.type but instead got: 7")
	f(`{"slug":{}}`, "Expecting string at contract.slug but instead got: {}")
	f(`{"requires":{}}`, "Expecting list at contract.requires but instead got: {}")
	f(`{"requires":[7]}`, "Expecting object at contract.requires but instead got: 7")
	f(`{"requires":[{}]}`, "Expecting requirement type at contract.requires.type but instead got: undefined")
	f(`{"requires":[{"type":"sw.application"}]}`, `Expecting requirement type at contract.requires.type but instead got: "sw.application"`)
	f(`{"requires":[{"type":"sw.os","version":2}]}`, "Expecting string at contract.requires.version but instead got: 2")
	f(`{"requires":[{"type":"sw.os","slug":[]}]}`, "Expecting string at contract.requires.slug but instead got: []")
	f(`{"requires":[{"type":"sw.os","data":"x"}]}`, `Expecting object at contract.requires.data but instead got: "x"`)
	f(`{"requires":[{"or":{}}]}`, "Expecting list at contract.requires.or but instead got: {}")
	f(`{"requires":[{"or":null}]}`, "Expecting list at contract.requires.or but instead got: null")
	f(`{"requires":[{"or":[{"type":"x"}]}]}`, `Expecting requirement type at contract.requires.or.type but instead got: "x"`)
}

func TestOptionalServices(t *testing.T) {
	const met, unmet = `{"requires":[{"type":"sw.os"}]}`, `{"requires":[{"type":"sw.os","version":">9"}]}`
	f := func(labels Map, contracts map[string]string, rejected, problem string, services ...string) {
		t.Helper()
		s, _ := contracted(t, contracts, labels)
		problems := CheckContracts(s, facts)
		app := s.Apps["a"]
		got := slices.Sorted(maps.Keys(app.Release.Services))
		if app.Rejected != rejected || !slices.Equal(got, services) {
			t.Fatalf("rejected %q, services %v, want %q, %v", app.Rejected, got, rejected, services)
		}
		if problem != "" {
			wantEqual(t, problems, []Problem{{App: "a", Text: problem}})
		}
		if again := CheckContracts(s, facts); len(again) > 0 {
			t.Fatalf("checked again: %v", again)
		}
	}
	all := map[string]string{"a": unmet, "b": met, "c": unmet}
	const why = "Services with unmet requirements: a, c"
	const less = "Not running containers because of contract violations: a. c"
	f(Map{}, all, why, "shop: "+why, "a", "b", "c")
	f(Map{"io.balena.features.optional": "no"}, all, why, "shop: "+why, "a", "b", "c")
	f(Map{"io.balena.features.optional": "1"}, all, "", less, "b")
	f(Map{"io.resin.features.optional": "True"}, all, "", less, "b")
	f(Map{}, map[string]string{"b": met}, "", "", "b")
}

// A contract has no effect on other apps, and an app without a release has no contract.
func TestContractsOfManyApps(t *testing.T) {
	s, _ := decodeV3(t, []byte(entryV3))
	problems := CheckContracts(s, nil)
	if len(problems) != 1 || s.Apps[shop].Rejected == "" || s.Apps["other"].Rejected != "" {
		t.Fatalf("%v", problems)
	}
}

func TestInRange(t *testing.T) {
	f := func(text string, in, out string) {
		t.Helper()
		for _, v := range []struct {
			list string
			want bool
		}{{in, true}, {out, false}} {
			for _, version := range comparators(v.list) {
				if inRange(version, text) != v.want {
					t.Errorf("%s in %q: want %v", version, text, v.want)
				}
			}
		}
	}
	f("5", "5.0.0 5.9.9 v5.1 5 5.0.0-rc1", "4.9.9 6.0.0 6.0.0-rc1 x")
	f("5.5.*", "5.5.0 5.5.99", "5.4.9 5.6.0")
	f("5.5.x", "5.5.1", "5.6.0")
	f("5.X", "5.5.1", "6.0.0")
	f("5.5.5", "5.5.5 5.5.5+rev3", "5.5.6 5.5.5-rc1")
	f("=5.5.5", "5.5.5", "5.5.4")
	f("v5.5.5", "5.5.5", "5.5.4")
	f("5.5.5+rev1", "5.5.5+rev3", "5.5.6")
	f(">=5.5.5", "5.5.5 6.0.0 10.0.0 5.5.6-rc1", "5.5.4 5.5.5-rc1")
	f(">= 5.5.5", "5.5.5", "5.5.4")
	f(">5", "6.0.0 6.0.0-rc1", "5.9.9")
	f(">5.5.5", "5.5.6", "5.5.5 5.5.5+rev2")
	f("<6", "5.9.9", "6.0.0 6.0.0-rc1")
	f("<=6", "6.9.9", "7.0.0")
	f("<=6.0.1", "6.0.1", "6.0.2")
	f("<6.0.0", "5.9.9 6.0.0-rc1", "6.0.0")
	f(">=5 <6", "5.5.5", "4.0.0 6.0.0")
	f("<5 || >=7", "4.0.0 7.0.0", "5.0.0 6.9.9")
	f("1.2 - 2.3", "1.2.0 2.3.9", "1.1.9 2.4.0")
	f("1.2.3 - 2.3.4", "1.2.3 2.3.4", "1.2.2 2.3.5")
	f("~1.2.3", "1.2.3 1.2.9", "1.2.2 1.3.0")
	f("~1", "1.0.0 1.9.9", "2.0.0")
	f("^1.2.3", "1.2.3 1.9.0", "1.2.2 2.0.0")
	f("^0.2.3", "0.2.3 0.2.9", "0.3.0")
	f("^0.0.3", "0.0.3", "0.0.4")
	f("^0", "0.9.9", "1.0.0")
	f("*", "0.0.0 9.9.9", "")
	f("", "0.0.0 9.9.9", "")
	f(">*", "", "0.0.0 9.9.9")
	f("1.0.0-beta.2", "1.0.0-beta.2", "1.0.0-beta.11 1.0.0")
	f(">1.0.0-beta.2", "1.0.0-beta.11 1.0.0-beta.x 1.0.0-rc 1.0.0-beta.2.1 1.0.0", "1.0.0-beta.1 1.0.0-alpha 1.0.0-9 1.0.0-beta")
	f(">1.0.0-5", "1.0.0-6 1.0.0-10 1.0.0-a 1.0.0--a", "1.0.0-4 1.0.0-5")
	for _, bad := range []string{"x.y", "5.5.5.5", "5..5", ">", "abc", "5 ||| 6", "=>5", "1.2-beta", "99999999999999999999", "5 || what"} {
		f(bad, "", "5.0.0 5.5.5 99999999999999999999.0.0 0.0.0")
	}
	f("*", "", "nonsense -1 99999999999999999999")
	if !inRange("12 (bookworm)", "12") || inRange("", "*") {
		t.Error("words after a version, or no version")
	}
}

func FuzzInRange(f *testing.F) {
	f.Add("2.113.18+rev3", ">=2.1 <3 || ~4.x - ^5.*")
	f.Add("1.0.0-beta.2", "1.2.3 - 2")
	f.Fuzz(func(t *testing.T, version, text string) {
		v, ok := parseFact(version)
		if ok && v.compare(v) != 0 {
			t.Fatalf("%q differs from itself", version)
		}
		if !ok && inRange(version, text) {
			t.Fatalf("%q is no version but in %q", version, text)
		}
		inRange(version, text)
	})
}
