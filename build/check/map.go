package main

import (
	"fmt"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mapPage is the page with the map of rooms, which stands between two marks.
const (
	mapPage  = "docs/ARCHITECTURE.md"
	mapBegin = "<!-- make map -->\n"
	mapEnd   = "<!-- end of the map -->\n"
)

// checkMap wants the map of rooms to be the one that the tree has.
func checkMap(t *Tree) ([]Problem, string, error) {
	page, want, err := pageWithMap(t)
	if err != nil {
		return nil, "", err
	}
	if page != want {
		return []Problem{"the map of rooms in " + mapPage + " is not that of the tree: run make map"}, "", nil
	}
	return nil, mapPage, nil
}

func rewriteMap(t *Tree) error {
	_, want, err := pageWithMap(t)
	if err != nil {
		return err
	}
	return os.WriteFile(mapPage, []byte(want), 0o644)
}

// pageWithMap is the page as it is, and as it should be.
func pageWithMap(t *Tree) (page, want string, err error) {
	text, err := os.ReadFile(mapPage)
	if err != nil {
		return "", "", err
	}
	before, rest, begun := strings.Cut(string(text), mapBegin)
	_, after, ended := strings.Cut(rest, mapEnd)
	if !begun || !ended {
		return "", "", fmt.Errorf("%s has no place for the map of rooms", mapPage)
	}
	table, err := roomTable(t)
	return string(text), before + mapBegin + table + mapEnd + after, err
}

// roomTable lists the rooms of the product with the first sentence of each and the rooms it imports.
func roomTable(t *Tree) (string, error) {
	packages, err := t.Packages()
	if err != nil {
		return "", err
	}
	slices.SortFunc(packages, func(a, b Package) int { return strings.Compare(a.ImportPath, b.ImportPath) })
	var out strings.Builder
	out.WriteString("| room | what it is | stands on |\n| --- | --- | --- |\n")
	for _, p := range packages {
		room := roomOf(p.ImportPath)
		if slices.Contains(tools, room) {
			continue
		}
		about, err := sentence(p)
		if err != nil {
			return "", err
		}
		var below []string
		for _, path := range p.Imports {
			if to := roomOf(path); to != "" {
				below = append(below, to)
			}
		}
		if room == "." {
			room = "main.go"
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s |\n", room, about, strings.Join(below, ", "))
	}
	return out.String(), nil
}

// sentence is the first one of a package's comment.
func sentence(p Package) (string, error) {
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			return "", err
		}
		if file.Doc != nil {
			return new(doc.Package).Synopsis(file.Doc.Text()), nil
		}
	}
	return "", fmt.Errorf("%s has no comment", p.ImportPath)
}
