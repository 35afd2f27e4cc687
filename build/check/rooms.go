package main

import (
	"fmt"
	"slices"
	"strings"
)

// Room is one package of the product and what of the product it may import.
type Room struct {
	Path string   // below the module; "." is main
	May  []string // rooms it may import; "x/*" is every room below x
	Why  string   // what the rule keeps true, said when it is broken
}

// leaves import nothing of ours, so that every room may rely on them.
var leaves = []string{"build/version", "hostos/file", "hostos/netlink", "hostos/inotify", "hostos/dbus", "hostos/redsocks", "hostos/retry",
	"update/engine/doc", "update/settings", "update/target", "update/view", "update/delta", "update/process"}

const (
	leaf   = "a leaf imports nothing of ours: several rooms stand on it, and a way back up would be a cycle"
	edge   = "rooms at the edge know leaves only, never update, api or one another: who puts the parts together hands them what they need"
	pureIs = "it is pure, and sees data only; whatever else it must know is an argument"
)

// state are the rooms that know what is: the current state, what the ledger keeps, and how users are told.
var state = []string{"update/compose", "update/current", "update/engine", "update/engine/doc", "update/target", "update/settings", "update/view",
	"update/delta", "update/userlog", "update/observe", "update/ledger", "update/lock", "hostos/file"}

// rooms is the floor plan. A room that is not in it has no place yet.
var rooms = []Room{
	{".", []string{"api", "api/client", "api/device", "hostos", "update/key", "update/lock", "update/store", "build/version"},
		"main has the start list and the stop list; what the parts know of one another is in api/device and update"},
	{"api", []string{"api/overview", "update/view", "hostos/redsocks", "hostos/retry", "build/version"}, "the API knows the rest through the interfaces it declares itself, and plain view structs"},
	{"api/overview", []string{"update/view"}, "documents know the view they are made of, and nothing else"},
	{"api/client", []string{"api/overview", "update/view", "hostos/retry"}, "the client shares the documents of the API it speaks to, and nothing else"},
	{"api/device", []string{"*"}, "it is the device as the API, the cloud and the update engine see it, and may ask all of them"},
	{"update", with(state, "update/desired", "update/reconcile", "update/execute", "update/view/build", "update/process"),
		"the facade knows its rooms; the host, the boards and the API come to it as options"},
	{"update/reconcile", with(state, "update/desired", "update/plan", "update/reconcile/backoff", "update/view/build"),
		"the loop decides; what it does goes through one function, and it never sees the engine's client but for its errors"},
	{"update/reconcile/backoff", []string{"update/plan", "hostos/retry"}, "back-off knows steps and the time it is given"},
	{"update/execute", with(state, "update/desired", "update/plan", "update/registry", "update/backup", "hostos/inotify"), "a step is carried out, and nothing is decided"},
	{"update/desired", []string{"update/compose", "update/current", "update/engine/doc", "update/ledger", "update/settings", "update/target", "update/userlog", "update/view", "hostos/file"},
		"what is wanted does not depend on how it is brought about"},
	{"update/ledger", []string{"update/compose", "update/current", "update/observe", "update/settings", "update/target", "hostos/file"}, "the ledger records, and decides nothing"},
	{"update/observe", []string{"hostos/retry", "update/compose", "update/current", "update/engine", "update/engine/doc", "update/userlog", "update/view"}, "it follows the engine and changes nothing there"},
	{"update/userlog", []string{"update/compose", "update/current", "update/delta", "update/engine", "update/settings", "update/target"}, "phrases know what they speak of, and nothing else"},
	{"update/view/build", []string{"update/compose", "update/current", "update/plan", "update/target", "update/view"}, pureIs},
	{"update/compose", []string{"update/target", "update/engine/doc"}, pureIs},
	{"update/current", []string{"update/engine/doc", "update/compose"}, pureIs},
	{"update/backup", nil, pureIs},
	{"update/plan", []string{"update/settings", "update/target", "update/current", "update/compose"}, pureIs},
	{"update/engine", []string{"update/engine/doc"}, "the engine client knows nothing of apps"},
	{"update/lock", leaves, edge},
	{"update/store", leaves, edge},
	{"update/key", leaves, edge},
	{"update/cloud", leaves, edge},
	{"update/logs", leaves, edge},
	{"update/registry", leaves, edge},
	{"hostos", leaves, edge},
	{"ping", leaves, edge},
	{"arm/board", leaves, edge},
	{"arm/led", leaves, edge},
	{"arm/boot", leaves, edge},
}

// with is a list and more.
func with(list []string, more ...string) []string { return append(slices.Clone(list), more...) }

// tools are programs that the build uses. They are no part of the product, and no room may import
// them.
var tools = []string{"build/check", "build/image", "build/demo"}

// checkRooms holds every import between rooms against the floor plan.
func checkRooms(t *Tree) ([]Problem, string, error) {
	packages, err := t.Packages()
	if err != nil {
		return nil, "", err
	}
	problems := edges(packages)
	pure, err := purity(packages)
	return append(problems, pure...), fmt.Sprintf("%d packages", len(packages)), err
}

// edges lists the imports that the floor plan does not allow, and the rooms it does not know.
func edges(packages []Package) []Problem {
	var found []Problem
	for _, p := range packages {
		from := roomOf(p.ImportPath)
		if slices.Contains(tools, from) {
			continue
		}
		room, known := lookUp(from)
		if !known {
			found = append(found, Problem(from+" is not in the floor plan: add it to build/check/rooms.go, with what it may import and why"))
			continue
		}
		for _, path := range p.Imports {
			if to := roomOf(path); to != "" && !room.allows(to) {
				found = append(found, Problem(fmt.Sprintf("%s imports %s: %s", from, to, room.Why)))
			}
		}
	}
	return found
}

// roomOf is the room of an import path, empty when it is not ours.
func roomOf(path string) string {
	if path == module {
		return "."
	}
	room, ours := strings.CutPrefix(path, module+"/")
	if !ours {
		return ""
	}
	return room
}

func lookUp(path string) (Room, bool) {
	if slices.Contains(leaves, path) {
		return Room{Path: path, Why: leaf}, true
	}
	i := slices.IndexFunc(rooms, func(r Room) bool { return r.Path == path })
	if i < 0 {
		return Room{}, false
	}
	return rooms[i], true
}

func (r Room) allows(to string) bool {
	return slices.ContainsFunc(r.May, func(may string) bool { return matches(may, to) })
}

// matches compares a path with an entry of a table: the path itself, or x/* for all below x.
func matches(entry, path string) bool {
	if prefix, ok := strings.CutSuffix(entry, "*"); ok {
		return strings.HasPrefix(path, prefix)
	}
	return entry == path
}
