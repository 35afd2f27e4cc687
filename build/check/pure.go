package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
)

// pureRooms decide and compare; the same input must give the same answer on every machine.
var pureRooms = []string{"update/settings", "update/target", "update/current", "update/plan", "update/compose"}

// impure is what a pure room must not import; net/netip, which only parses and compares, it may.
var impure = []string{"os", "os/*", "net", "net/*", "syscall", "golang.org/x/sys/*", "io/fs", "log", "log/*",
	"github.com/rs/zerolog", "github.com/rs/zerolog/*", "github.com/valyala/fasthttp", "github.com/valyala/fasthttp/*"}

// clock is what of package time reads the clock or waits for it.
var clock = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// purity lists the imports and clock readings of pure rooms.
func purity(packages []Package) ([]Problem, error) {
	var found []Problem
	for _, p := range packages {
		room := roomOf(p.ImportPath)
		if !slices.Contains(pureRooms, room) {
			continue
		}
		for _, path := range p.Imports {
			if path != "net/netip" && slices.ContainsFunc(impure, func(entry string) bool { return matches(entry, path) }) {
				found = append(found, Problem(fmt.Sprintf("%s imports %s: %s", room, path, pureIs)))
			}
		}
		for _, name := range p.GoFiles {
			readings, err := clockReadings(filepath.Join(p.Dir, name), nil)
			if err != nil {
				return found, err
			}
			for _, r := range readings {
				found = append(found, Problem(fmt.Sprintf("%s reads the clock (%s): %s", room, r, pureIs)))
			}
		}
	}
	return found, nil
}

// clockReadings lists the uses of the clock in a Go file, each with its place. src is as
// parser.ParseFile takes it.
func clockReadings(name string, src any) ([]string, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	local := importedAs(file, "time")
	var found []string
	ast.Inspect(file, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok || local == "" || !slices.Contains(clock, s.Sel.Name) {
			return true
		}
		if x, ok := s.X.(*ast.Ident); ok && x.Name == local {
			at := set.Position(s.Pos())
			found = append(found, fmt.Sprintf("time.%s at %s:%d", s.Sel.Name, filepath.Base(at.Filename), at.Line))
		}
		return true
	})
	return found, nil
}

// importedAs is the name under which a file knows a package, empty when it does not import it. The
// last element of path must be the package's name.
func importedAs(file *ast.File, path string) string {
	for _, i := range file.Imports {
		if p, err := strconv.Unquote(i.Path.Value); err != nil || p != path {
			continue
		}
		if i.Name != nil {
			return i.Name.Name
		}
		return filepath.Base(path)
	}
	return ""
}
