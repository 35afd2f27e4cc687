package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// importList is the committed list of what the ARMv6 program is made of, so that a new import is a
// line in a diff. Internal packages of the standard library are left out: they change with the
// toolchain.
const importList = "build/imports-armv6.txt"

// Ban is an import that must not be in the program, with what it would cost.
type Ban struct {
	Path string
	Why  string
}

// bannedAnywhere must not be reached even through a dependency. Costs are of the ARMv6 file.
var bannedAnywhere = []Ban{
	{"text/template", "any use costs 4.2 MiB: it calls methods by name, and the linker then keeps all of them"},
	{"html/template", "it is text/template and more"},
	{"regexp", "costs 240 KiB; parse by hand"},
	{"os/exec", "costs 92 KiB; the program talks to the host over sockets and files"},
	{"encoding/xml", "costs 30 KB compressed and is needed by nothing"},
	{"time/tzdata", "costs 384 KiB; the agent works in UTC"},
	{"plugin", "keeps the linker from dropping methods"},
	{"expvar", "starts a web server of its own"},
	{"net/http/pprof", "starts a web server of its own"},
}

// bannedInOurs are reached through fasthttp or zerolog, where the linker drops nearly all of them; used
// by our own hand they stay.
var bannedInOurs = []Ban{
	{"net/http", "its client costs 640 KiB, its server 512 KiB; fasthttp is linked in already"},
	{"net/http/*", "its client costs 640 KiB, its server 512 KiB; fasthttp is linked in already"},
	{"log", "logs go through zerolog, with fields"},
	{"log/slog", "costs 76 KiB beside zerolog, which logs already"},
	{"flag", "costs 32 KiB for a few arguments"},
}

// checkImports looks for banned imports and compares the list with the committed one.
func checkImports(t *Tree) ([]Problem, string, error) {
	deps, err := dependencies()
	if err != nil {
		return nil, "", err
	}
	packages, err := t.Packages()
	if err != nil {
		return nil, "", err
	}
	problems := banned(deps, packages)
	committed, err := os.ReadFile(importList)
	if err != nil {
		return problems, "", fmt.Errorf("%w (make imports writes it)", err)
	}
	list := listed(deps)
	problems = append(problems, difference(lines(string(committed)), list)...)
	return problems, fmt.Sprintf("%d packages linked, %d of them listed", len(deps), len(list)), nil
}

// dependencies lists the import paths of everything linked into the ARMv6 program.
func dependencies() ([]string, error) {
	out, err := command(armv6, "go", "list", "-deps", ".")
	return lines(out), err
}

// banned lists the banned imports among all that is linked, and among what our packages import
// themselves.
func banned(deps []string, packages []Package) []Problem {
	var found []Problem
	for _, ban := range bannedAnywhere {
		if slices.Contains(deps, ban.Path) {
			found = append(found, Problem(fmt.Sprintf("%s is linked in: %s", ban.Path, ban.Why)))
		}
	}
	for _, p := range packages {
		if slices.Contains(tools, roomOf(p.ImportPath)) {
			continue
		}
		for _, path := range p.Imports {
			i := slices.IndexFunc(bannedInOurs, func(b Ban) bool { return matches(b.Path, path) })
			if i >= 0 {
				found = append(found, Problem(fmt.Sprintf("%s imports %s: %s", roomOf(p.ImportPath), path, bannedInOurs[i].Why)))
			}
		}
	}
	return found
}

// listed is the part of deps that belongs into the committed list, sorted.
func listed(deps []string) []string {
	var list []string
	for _, path := range deps {
		if roomOf(path) == "" && !slices.Contains(strings.Split(path, "/"), "internal") && !strings.HasPrefix(path, "vendor/") {
			list = append(list, path)
		}
	}
	slices.Sort(list)
	return list
}

// difference says what a new list has more or less than the committed one.
func difference(committed, now []string) []Problem {
	var found []Problem
	for _, path := range now {
		if !slices.Contains(committed, path) {
			found = append(found, Problem("new import "+path+": if it is worth its bytes, run make imports and commit the difference"))
		}
	}
	for _, path := range committed {
		if !slices.Contains(now, path) {
			found = append(found, Problem("no longer imported: "+path+": run make imports and commit the difference"))
		}
	}
	return found
}

func rewriteImports(*Tree) error {
	deps, err := dependencies()
	if err != nil {
		return err
	}
	return os.WriteFile(importList, []byte(strings.Join(listed(deps), "\n")+"\n"), 0o644)
}

func lines(s string) []string { return strings.Fields(s) }
