package target

import (
	"maps"
	"slices"
	"strings"
)

// ContractFacts lists what this device offers to the contracts of services (docs/spec/cloud.md 3.8). Unknown facts are
// left out.
type ContractFacts []Fact

// Fact is one thing the device offers. Slug and Version are empty when the type has none.
type Fact struct {
	Type    string // sw.supervisor, sw.os, hw.device-type, ...
	Slug    string
	Version string // semver, with any text after the third number
}

// CheckContracts checks the contracts of all services against the device (docs/spec/cloud.md 3.8). An optional service
// with an unmet contract is removed from its release. Any other rejects its app. Each affected app has one Problem with
// a text for users; its Rejected is set if it is rejected. Apps that are rejected already are skipped. The check changes
// the state, so the caller keeps the decoded state and checks a new copy whenever a fact changes.
func CheckContracts(s *State, facts ContractFacts) []Problem {
	var problems []Problem
	for _, uuid := range slices.Sorted(maps.Keys(s.Apps)) {
		app := s.Apps[uuid]
		if app.Rejected != "" || app.Release == nil {
			continue
		}
		if text := facts.checkApp(app); text != "" {
			problems = append(problems, Problem{App: uuid, Text: text})
		}
	}
	return problems
}

// checkApp checks one app as CheckContracts does, and returns the text for users, empty when all contracts are met.
func (facts ContractFacts) checkApp(app *App) string {
	var required, optional []string
	for _, name := range slices.Sorted(maps.Keys(app.Release.Services)) {
		service := app.Release.Services[name]
		if facts.meetAll(service.Contract["requires"]) {
			continue
		}
		if flag, _ := label(service, "features.optional"); Truthy(flag) {
			optional = append(optional, name)
		} else {
			required = append(required, name)
		}
	}
	if len(required) > 0 {
		app.Rejected = "Services with unmet requirements: " + strings.Join(required, ", ")
		return app.Name + ": " + app.Rejected
	}
	if len(optional) == 0 {
		return ""
	}
	for _, name := range optional {
		delete(app.Release.Services, name)
	}
	return "Not running containers because of contract violations: " + strings.Join(optional, ". ")
}

// meetAll reports whether every requirement of a list is met. A missing list is met.
func (facts ContractFacts) meetAll(requires any) bool {
	list, _ := requires.([]any)
	return !slices.ContainsFunc(list, func(r any) bool { return !facts.meet(r) })
}

// meet reports whether one requirement is met.
func (facts ContractFacts) meet(requirement any) bool {
	fields, _ := requirement.(map[string]any)
	if choices, ok := fields["or"].([]any); ok {
		return slices.ContainsFunc(choices, facts.meet)
	}
	return slices.ContainsFunc(facts, func(f Fact) bool { return f.matches(fields) })
}

// matches reports whether a fact has all properties of a requirement. No fact has the property data.
func (f Fact) matches(requirement Map) bool {
	if requirement["type"] != f.Type {
		return false
	}
	if slug, ok := requirement["slug"].(string); ok && slug != f.Slug {
		return false
	}
	if data, ok := requirement["data"].(map[string]any); ok && len(data) > 0 {
		return false
	}
	wanted, ok := requirement["version"].(string)
	return !ok || inRange(f.Version, wanted)
}

// contract is the optional contract of a service, nil when it is empty. A contract of another shape adds a line.
func (n node) contract(service string) Map {
	own := &check{}
	c := node{check: own, path: "contract", value: n.value, present: n.present}
	fields := c.object()
	if fields != nil {
		c.get("type").string()
		c.get("slug").string()
		c.get("requires").requirements()
	}
	for _, line := range own.all() {
		n.check.add("The contract for service " + service + " failed validation, with error: " + line)
	}
	if len(fields) == 0 {
		return nil
	}
	return fields
}

// string checks an optional string of any length.
func (n node) string() {
	if _, ok := n.value.(string); !ok && !n.empty() {
		n.expected("string")
	}
}

// requirements checks an optional list of requirements.
func (n node) requirements() {
	list, ok := n.value.([]any)
	if !ok && !n.empty() {
		n.expected("list")
	}
	for _, element := range list {
		rootOf(n.check, n.path, element).requirement()
	}
}

func (n node) requirement() {
	if !n.isObject() {
		return
	}
	if or := n.get("or"); or.present {
		if or.empty() {
			or.expected("list")
		}
		or.requirements()
		return
	}
	if kind, _ := n.get("type").value.(string); !isRequirementType(kind) {
		n.get("type").expected("requirement type")
	}
	n.get("slug").string()
	n.get("version").string()
	n.get("data").object()
}

// isRequirementType reports whether contracts know a type of requirement.
func isRequirementType(kind string) bool {
	switch kind {
	case "sw.supervisor", "sw.l4t", "sw.os", "sw.kernel", "hw.device-type", "arch.sw":
		return true
	}
	return false
}
